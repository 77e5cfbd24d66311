"""The samples of the API pages go in, and their answers come out."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.mainbrainer_sandbox.conftest import Client

SAMPLE = json.loads((Path(__file__).parent / "samples" / "batch-request.json").read_text())
LIST = "3fa85f64-5717-4562-b3fc-2c963f66afa6"


def test_the_batch_of_the_portal_is_answered_as_it_prints(crm: Client) -> None:
    """Section 4.2, the portal's sample; its malformed property id included."""
    response = crm.post("/contacts/batch", SAMPLE)
    assert response.status_code == 202
    body = response.json()
    uuid.UUID(body["data"].pop("BatchId"))
    assert body == {
        "status": "Success",
        "message": "Batch request accepted",
        "data": {
            "Processed": None,
            "ContactId": None,
            "InvalidProperties": [],
            "InvalidContactIds": [],
        },
    }


def test_the_contacts_of_the_portals_sample_are_as_it_says(crm: Client) -> None:
    crm.post("/contacts/batch", SAMPLE)
    first, second = crm.contacts()
    assert first["id"] == 234567
    assert (first["mobile_country_code"], first["mobile_number"]) == (47, 90812501)
    assert first["email"] == "apitest@mainbrainer.com"
    assert (first["mobile_opt_in"], first["email_opt_in"]) == (True, True)
    assert first["properties"] == {
        "firstname": "jennifer",
        "lastname": "merg",
        "interest": "ice hockey",
        "company": "MainBrainer",
        "Street": "16 Av Street",
        "city": "Oslo",
        "state": "Oslo",
        "3fa85f64-5717-4562-b3fc-123123d23dds": "0236",
    }
    assert first["lists"] == second["lists"] == [LIST]
    # The second sends an empty e-mail address and no email opt-in: null, and no consent.
    assert (second["email"], second["email_opt_in"]) == (None, None)
    assert second["mobile_opt_in"] is True


def test_a_batch_sent_twice_updates_and_inserts_nothing(crm: Client) -> None:
    crm.post("/contacts/batch", SAMPLE)
    before = crm.contacts()
    again = crm.status(crm.post("/contacts/batch", SAMPLE))
    assert again["processedObj"]["inserted"] == {"count": 0, "contactIds": []}
    assert again["processedObj"]["updated"]["count"] == 2
    assert crm.contacts() == before


def test_one_contact_is_answered_as_the_openapi_page_prints(crm: Client) -> None:
    """Section 5. The page's values are placeholders ('email': 'string'), so real ones go in."""
    response = crm.single(
        listId="9fc6ad7d-902a-4834-b161-a4911b883d44",
        contactId=17,
        mobileCountryCode=44,
        mobileNumber=7700900001,
        mobileOptIn=True,
        email="a@example.com",
        emailOptIn=True,
        propertyFields=[
            {
                "propertyId": "8e8b8450-dc1b-4360-8109-7067337b42cb",
                "propertyName": "string",
                "propertyValue": "string",
            }
        ],
    )
    assert response.status_code == 202
    assert response.json()["status"] == "Success"
    assert response.json()["data"] == {
        "contactId": "17",
        "status": 0,
        "message": None,
        "invalidPropertiesList": [],
        "invalidContactIdList": [],
        "balance": None,
    }


def test_the_status_of_a_batch_is_as_printed(crm: Client) -> None:
    """Section 6: camelCase, not wrapped, and the ids are integers."""
    response = crm.batch({"email": "a@example.com"}, {"email": "b@example.com"})
    ids = [one["id"] for one in crm.contacts()]
    assert crm.status(response) == {
        "id": response.json()["data"]["BatchId"],
        "status": 2,
        "statusText": "Completed",
        "statusFailedReason": None,
        "processedObj": {
            "inserted": {"count": 2, "contactIds": ids},
            "updated": {"count": 0, "contactIds": []},
            "skipped": {"count": 0, "contactIds": []},
        },
    }


def test_a_token_is_answered_as_printed(crm: Client) -> None:
    """Section 7: two hours, and `expires_in` of 120 while both times are full ISO."""
    credentials = crm.sandbox.credentials
    response = crm.post(
        "/token",
        {
            "userName": credentials.username,
            "password": credentials.password,
            "privateToken": credentials.private_token,
            "validity": "Default",
        },
    )
    assert response.status_code == 200
    body = response.json()
    assert body["expires_in"] == 120
    assert body["token_type"] == "Bearer"
    for key in ("issued", "expires"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}\+00:00", body[key])
    assert set(body) == {
        "access_token",
        "token_type",
        "expires_in",
        "userName",
        "issued",
        "expires",
        "timeZoneOffset",
        "locale",
    }
    bearer = {"Authorization": f"Bearer {body['access_token']}"}
    assert crm.post("/contacts/insertupdate", {"email": "a@example.com"}, headers=bearer).ok


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        pytest.param({"password": "no"}, 401, id="wrong"),
        pytest.param({"password": None}, 400, id="null"),
        pytest.param({"privateToken": 7}, 400, id="not text"),
        pytest.param({"validity": "Forever"}, 400, id="validity"),
    ],
)
def test_wrong_credentials_get_no_token(crm: Client, wrong: dict[str, object], status: int) -> None:
    credentials = crm.sandbox.credentials
    right = {
        "userName": credentials.username,
        "password": credentials.password,
        "privateToken": credentials.private_token,
    }
    response = crm.post("/token", {**right, **wrong})
    assert response.status_code == status
    assert "access_token" not in response.text


def test_one_wrong_contact_stops_the_whole_batch(crm: Client) -> None:
    """Section 4.3: nothing is updated, and details of the cause come back."""
    response = crm.batch(
        {"email": "good@example.com"}, {"contactId": 5, "email": "no address"}, {"emailOptIn": True}
    )
    assert response.status_code == 422
    body = response.json()
    assert "createUpdateContacts[1].email: It is not an e-mail address." in body["message"]
    assert "createUpdateContacts[2]" in body["message"]
    assert body["data"]["invalidContactIdList"] == ["5"]
    assert crm.contacts() == []


def test_paths_are_matched_in_any_casing_and_batches_by_their_id(crm: Client) -> None:
    body = {"createUpdateContacts": [{"email": "a@example.com"}]}
    for path in ("/contacts/batch/", "/Contacts/Batch"):
        accepted = crm.post(path, body).json()["data"]["BatchId"]
        assert crm.get(f"/contacts/{accepted.upper()}/Status").status_code == 200
    for batch_id in ("ce2c2e48-47e4-4aa0-b4e7-c9deebe29852", "x"):
        assert crm.get(f"/contacts/{batch_id}/Status").status_code == 404
    assert crm.get("/contacts/batch").status_code == 405
    assert crm.get("/other").status_code == 404


def test_a_body_that_is_not_json_by_its_type_is_refused(crm: Client) -> None:
    url = f"{crm.sandbox.url}/contacts/insertupdate"
    headers = {"Content-Type": "text/plain"}
    body = b'{"email": "a@example.com"}'
    assert crm.session.post(url, body, headers=headers, timeout=9).status_code == 415


@pytest.mark.parametrize("token", ["", "Bearer wrong", "Basic c2FuZGJveA=="])
def test_without_a_token_nothing_is_taken(crm: Client, token: str) -> None:
    for path in ("/contacts/batch", "/contacts/insertupdate"):
        response = crm.post(path, {"email": "a@example.com"}, headers={"Authorization": token})
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
    assert crm.contacts() == []


def test_omitted_fields_remain_as_they_were(crm: Client) -> None:
    """Section 8.2, and consent too, as long as the switch says so."""
    crm.single(
        email="a@example.com",
        emailOptIn=True,
        propertyFields=[
            {"propertyName": "city", "propertyValue": "Oslo"},
            {"propertyName": "state", "propertyValue": "Oslo"},
        ],
    )
    crm.single(
        email="a@example.com", propertyFields=[{"propertyName": "city", "propertyValue": "Bergen"}]
    )
    (contact,) = crm.contacts()
    assert contact["properties"] == {"city": "Bergen", "state": "Oslo"}
    assert contact["email_opt_in"] is True
