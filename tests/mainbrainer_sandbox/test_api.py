"""The samples of the API pages go in, and their answers come out."""

import json
import re
import uuid
from pathlib import Path

from tests.loads import cases
from tests.mainbrainer_sandbox.crm import ADA, BATCH, LISTS, SINGLE, A, B, Crm, Record

SAMPLE = json.loads((Path(__file__).parent / "samples" / "batch-request.json").read_text())


def test_the_batch_of_the_portal_is_answered_as_it_prints(crm: Crm) -> None:
    """Section 4.2, its malformed property id included; sent once more, it inserts nothing."""
    response = crm.post(BATCH, SAMPLE)
    assert response.status_code == 202
    body = response.json()
    uuid.UUID(body["data"].pop("BatchId"))
    nothing: Record = {"Processed": None, "ContactId": None}
    nothing |= {"InvalidProperties": [], "InvalidContactIds": []}
    assert body == {"status": "Success", "message": "Batch request accepted", "data": nothing}
    first, second = before = crm.contacts()
    assert (first["id"], first["mobile"]) == (234567, "+47 90812501")
    assert first["email"] == "apitest@mainbrainer.com"
    assert (first["mobile_opt_in"], first["email_opt_in"]) == (True, True)
    sent = SAMPLE["createUpdateContacts"][0]["propertyfields"]
    values = {one.get("propertyname") or one["propertyid"]: one["propertyvalue"] for one in sent}
    assert first["properties"] == values
    assert first["lists"] == second["lists"] == [LISTS[0]]
    # The second sends an empty e-mail address and no email opt-in: null, and no consent.
    found = [second[name] for name in ("email", "email_opt_in", "mobile_opt_in")]
    assert found == [None, None, True]
    again = crm.status(crm.post(BATCH, SAMPLE))["processedObj"]
    assert again["inserted"] == {"count": 0, "contactIds": []}
    assert again["updated"]["count"] == 2
    assert crm.contacts() == before


def test_one_contact_is_answered_as_the_openapi_page_prints(crm: Crm) -> None:
    """Section 5. The page's values are placeholders ('email': 'string'), so real ones go in."""
    number = {"mobileNumber": 7700900001, "mobileCountryCode": 44}
    response = crm.single(listId=LISTS[0], contactId=17, **ADA, **number)
    assert response.status_code == 202
    assert response.json()["status"] == "Success"
    nothing: Record = {"message": None, "invalidPropertiesList": [], "invalidContactIdList": []}
    found = {"contactId": "17", "status": 0, "balance": None}
    assert response.json()["data"] == found | nothing


def test_the_status_of_a_batch_is_as_printed(crm: Crm) -> None:
    """Section 6: camelCase, not wrapped, and the ids are integers."""
    response = crm.batch(A, B)
    ids = [one["id"] for one in crm.contacts()]
    expected = {"id": response.json()["data"]["BatchId"], "status": 2, "statusText": "Completed"}
    done = {name: {"count": 0, "contactIds": []} for name in ("inserted", "updated", "skipped")}
    done["inserted"] = {"count": 2, "contactIds": ids}
    more = {"statusFailedReason": None, "processedObj": done}
    assert crm.status(response) == expected | more


def test_one_wrong_contact_stops_the_whole_batch(crm: Crm) -> None:
    """Section 4.3: nothing is updated, and details of the cause come back."""
    response = crm.batch(A, {"contactId": 5, "email": "no address"}, {"emailOptIn": True})
    assert response.status_code == 422
    body = response.json()
    assert "createUpdateContacts[1].email: It is not an e-mail address." in body["message"]
    assert "createUpdateContacts[2]" in body["message"]
    assert body["data"]["invalidContactIdList"] == ["5"]
    assert crm.contacts() == []


def test_paths_are_matched_in_any_casing_and_batches_by_their_id(crm: Crm) -> None:
    for path in ("/contacts/batch/", "/Contacts/Batch"):
        accepted = crm.post(path, {"createUpdateContacts": [A]}).json()["data"]["BatchId"]
        assert crm.get(f"/contacts/{accepted.upper()}/Status").status_code == 200
    for batch_id in ("ce2c2e48-47e4-4aa0-b4e7-c9deebe29852", "x"):
        assert crm.get(f"/contacts/{batch_id}/Status").status_code == 404
    assert crm.get(BATCH).status_code == 405
    assert crm.get("/other").status_code == 404
    assert crm.post(SINGLE, A, **{"Content-Type": "text/plain"}).status_code == 415


def test_a_token_is_answered_as_printed(crm: Crm) -> None:
    """Section 7: two hours, and `expires_in` of 120 while both times are full ISO."""
    response = crm.token(validity="Default")
    assert response.status_code == 200
    body = response.json()
    assert (body["expires_in"], body["token_type"]) == (120, "Bearer")
    for key in ("issued", "expires"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}\+00:00", body[key])
    names = "access_token token_type expires_in userName issued expires timeZoneOffset locale"
    assert set(body) == {*names.split()}
    assert crm.post(SINGLE, A, Authorization=f"Bearer {body['access_token']}").ok


@cases("wrong status", ("password", 401), ("privateToken", 400), ("validity", 400))
def test_wrong_credentials_get_no_token(crm: Crm, wrong: str, status: int) -> None:
    response = crm.token(**{wrong: "no" if status == 401 else 7})
    assert response.status_code == status
    assert "access_token" not in response.text


@cases("token", "", "Bearer wrong", "Basic c2FuZGJveA==")
def test_without_a_token_nothing_is_taken(crm: Crm, token: str) -> None:
    for path in (BATCH, SINGLE):
        response = crm.post(path, A, Authorization=token)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
    assert crm.contacts() == []
