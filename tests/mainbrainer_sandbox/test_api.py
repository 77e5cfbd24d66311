"""The samples of the API pages go in, and their answers come out."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.mainbrainer_sandbox.people import ADA, A, B

if TYPE_CHECKING:
    from tests.mainbrainer_sandbox.conftest import Client

SAMPLE = json.loads((Path(__file__).parent / "samples" / "batch-request.json").read_text())
LIST = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
COUNTRY = {"mobileCountryCode": 44}


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
    """Also when they are sent twice, which inserts nothing."""
    crm.post("/contacts/batch", SAMPLE)
    first, second = before = crm.contacts()
    assert (first["id"], first["mobile"]) == (234567, "+47 90812501")
    assert first["email"] == "apitest@mainbrainer.com"
    assert (first["mobile_opt_in"], first["email_opt_in"]) == (True, True)
    sent = SAMPLE["createUpdateContacts"][0]["propertyfields"]
    values = {one.get("propertyname") or one["propertyid"]: one["propertyvalue"] for one in sent}
    assert first["properties"] == values
    assert first["lists"] == second["lists"] == [LIST]
    # The second sends an empty e-mail address and no email opt-in: null, and no consent.
    assert (second["email"], second["email_opt_in"]) == (None, None)
    assert second["mobile_opt_in"] is True
    again = crm.status(crm.post("/contacts/batch", SAMPLE))["processedObj"]
    assert again["inserted"] == {"count": 0, "contactIds": []}
    assert again["updated"]["count"] == 2
    assert crm.contacts() == before


def test_one_contact_is_answered_as_the_openapi_page_prints(crm: Client) -> None:
    """Section 5. The page's values are placeholders ('email': 'string'), so real ones go in."""
    response = crm.single(listId=LIST, contactId=17, **ADA, mobileNumber=7700900001, **COUNTRY)
    assert response.status_code == 202
    assert response.json()["status"] == "Success"
    nothing: dict[str, object] = {
        "message": None,
        "invalidPropertiesList": [],
        "invalidContactIdList": [],
    }
    assert response.json()["data"] == {"contactId": "17", "status": 0, "balance": None, **nothing}


def test_the_status_of_a_batch_is_as_printed(crm: Client) -> None:
    """Section 6: camelCase, not wrapped, and the ids are integers."""
    response = crm.batch(A, B)
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
    body = {"createUpdateContacts": [A]}
    for path in ("/contacts/batch/", "/Contacts/Batch"):
        accepted = crm.post(path, body).json()["data"]["BatchId"]
        assert crm.get(f"/contacts/{accepted.upper()}/Status").status_code == 200
    for batch_id in ("ce2c2e48-47e4-4aa0-b4e7-c9deebe29852", "x"):
        assert crm.get(f"/contacts/{batch_id}/Status").status_code == 404
    assert crm.get("/contacts/batch").status_code == 405
    assert crm.get("/other").status_code == 404
    text = {"Content-Type": "text/plain"}
    assert crm.post("/contacts/insertupdate", A, headers=text).status_code == 415


def test_a_token_is_answered_as_printed(crm: Client) -> None:
    """Section 7: two hours, and `expires_in` of 120 while both times are full ISO."""
    response = crm.token(validity="Default")
    assert response.status_code == 200
    body = response.json()
    assert body["expires_in"] == 120
    assert body["token_type"] == "Bearer"
    for key in ("issued", "expires"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}\+00:00", body[key])
    names = "access_token token_type expires_in userName issued expires timeZoneOffset locale"
    assert set(body) == {*names.split()}
    bearer = {"Authorization": f"Bearer {body['access_token']}"}
    assert crm.post("/contacts/insertupdate", A, headers=bearer).ok


@pytest.mark.parametrize(
    ("wrong", "status"),
    [({"password": "no"}, 401), *(({name: 7}, 400) for name in ("privateToken", "validity"))],
)
def test_wrong_credentials_get_no_token(crm: Client, wrong: dict[str, object], status: int) -> None:
    response = crm.token(**wrong)
    assert response.status_code == status
    assert "access_token" not in response.text


@pytest.mark.parametrize("token", ["", "Bearer wrong", "Basic c2FuZGJveA=="])
def test_without_a_token_nothing_is_taken(crm: Client, token: str) -> None:
    for path in ("/contacts/batch", "/contacts/insertupdate"):
        response = crm.post(path, {"email": "a@example.com"}, headers={"Authorization": token})
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
    assert crm.contacts() == []
