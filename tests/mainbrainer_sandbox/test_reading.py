"""What a request is refused for, how refusals are worded, and the switches."""

import json
import re
import typing as t
import uuid
from pathlib import Path

import pytest

from mainbrainer_sandbox.switches import SwitchError, Switches
from tests.loads import cases
from tests.mainbrainer_sandbox.crm import ADA, BATCH, LISTS, SINGLE, A, B, Crm, Record, a, prop

BLANK = {"mobileCountryCode": 44, "mobileNumber": 7700900001, "email": ""}
BAD_ID = {"propertyFields": [{"propertyId": "3fa8-x", "propertyValue": "x"}]}
ODD: t.Any = {}
KNOWN = {"known_lists": LISTS[0]}
STRICT = {"unknown_property": "refuse"}
POISON = {"refuse_property": "poison"}
MUCH = {"refuse_property": "poison", "refuse_value": "much"}
REFUSED = {"refuse_email": "refused"}


@cases(
    "switches contacts list_id status",
    *(({}, [A], "nope", 400), ({}, [{**A, **BAD_ID}], None, 202)),
    ({"empty_values": "refuse"}, [a(prop("city", ""))], None, 422),
    *(({}, [BLANK], None, 202), ({}, [], None, 400)),
    *(({}, [A] * 1001, None, 400), ({}, [A] * 1000, None, 202)),
    ({}, [{"email": "no"}, {"email": 7}], None, 400),
    *((STRICT, [a(prop(name))], None, 422) for name in ("shoe size", "street")),
    (STRICT, [a(prop("city"))], None, 202),
    ({"unknown_contact_id": "refuse"}, [{"contactId": 7}], None, 422),
    *((KNOWN, [A], LISTS[1], 422), (KNOWN, [A], LISTS[0].upper(), 202)),
    (POISON, [B, a(prop("poison"))], None, 422),
    *((MUCH, [a(prop("poison", v))], None, s) for v, s in (("little", 202), ("much", 422))),
    *((REFUSED, [{"email": "refused.7@example.com"}], None, 422), (REFUSED, [A], None, 202)),
)
def test_what_is_refused(
    crm: Crm, switches: Record, contacts: list[t.Any], list_id: str | None, status: int
) -> None:
    crm.sandbox.set_switches(**switches)
    response = crm.batch(*contacts, listId=list_id)
    assert response.status_code == status
    if status != 202:
        assert crm.contacts() == []
        assert [one["status"] for one in crm.sandbox.batches()] == [status]


@cases(
    "sent status",
    *(({}, 422), ({"mobileOptIn": True}, 422), ({"contactId": 0}, 422), (7, 400)),
    *(({"mobileNumber": 7700900001}, 422), ({"mobileCountryCode": 44}, 422)),
    *(({"mobileCountryCode": 44, "mobileNumber": odd}, 422) for odd in (10**14, 12)),
    *(({"mobileCountryCode": 44, "mobileNumber": odd}, 400) for odd in ("7", True, 1.5)),
    *(({"contactId": 2**63}, 400), ({"email": ["a@example.com"]}, 400)),
    *(({"email": odd}, 422) for odd in ("a@example", "a b@example.com", f"{'a' * 65}@x.com")),
    *(({**A, "emailOptIn": odd}, 400) for odd in ("true", 1)),
    *(({**A, "propertyFields": odd}, 400) for odd in (["x"], prop("city", 7), ODD)),
    ({**A, "propertyFields": prop(" ")}, 422),
    ({**A, "propertyFields": [{"propertyValue": "x"}]}, 422),
)
def test_a_contact_that_is_wrong_is_refused_alone_too(crm: Crm, sent: t.Any, status: int) -> None:
    assert crm.post(SINGLE, sent).status_code == crm.batch(sent).status_code == status
    assert crm.contacts() == []


@cases(
    "body",
    *(b"{", b"[]", b"[" * 100_000, b'"\xff"', b'{"createUpdateContacts": null}'),
    b'{"createUpdateContacts": [{"contactId": 1e999}]}',
    ids=lambda body: repr(body[:40]),
)
def test_a_body_that_is_no_batch_is_refused(crm: Crm, body: bytes) -> None:
    headers = crm.headers | {"Content-Type": "application/json"}
    assert crm.ask("POST", BATCH, data=body, headers=headers).status_code == 400


@cases("odd", "nowhere", "ftp://example.com", "http://[::1", "http://[c:]/x", 7)
def test_a_webhook_must_be_a_url(crm: Crm, odd: str | int) -> None:
    assert crm.batch(A, webhookUrl=odd).status_code == (400 if odd == 7 else 422)


@cases("spelt", str, str.lower, str.upper, str.title)
def test_keys_are_understood_in_any_casing(crm: Crm, spelt: t.Callable[[str], str]) -> None:
    """The two pages print two casings (C1, C2)."""
    city = {spelt("propertyName"): "city", spelt("propertyValue"): "Oslo"}
    assert crm.batch({**A, spelt("propertyFields"): [city]}).status_code == 202
    assert crm.contact["properties"] == {"city": "Oslo"}


def test_a_contacts_own_list_wins_over_that_of_its_batch(crm: Crm) -> None:
    crm.batch({**A, "listId": LISTS[0]}, listId=LISTS[1])
    assert crm.contact["lists"] == LISTS[:1]


def test_a_refused_batch_creates_no_property(crm: Crm) -> None:
    crm.batch(a(prop("new")), {"email": "no"})
    crm.sandbox.set_switches(unknown_property="refuse")
    assert crm.batch(a(prop("new"))).status_code == 422


# How refusals are said


@cases("names count", ("all", 2), ("first", 1), ("none", 0))
def test_a_refusal_names_as_many_as_the_switch_allows(crm: Crm, names: str, count: int) -> None:
    crm.sandbox.set_switches(refusal_names=names)
    body = crm.batch(A, {"contactId": 5, "email": "no"}, {"contactId": 6, "email": "no"}).json()
    assert len(body["data"]["invalidContactIdList"]) == count
    assert body["message"].count("createUpdateContacts") == count


def test_errors_come_in_the_form_of_choice(crm: Crm) -> None:
    answers = {}
    for form in ("envelope", "problem", "html", "empty"):
        crm.sandbox.set_switches(error_body=form)
        answers[form] = crm.batch({"email": "no"})
        assert answers[form].status_code == 422
    assert answers["envelope"].json()["status"] == "Failed"
    assert answers["problem"].headers["Content-Type"] == "application/problem+json"
    problem = {"createUpdateContacts[0].email": ["It is not an e-mail address."]}
    assert answers["problem"].json()["errors"] == problem
    assert answers["html"].text.startswith("<!DOCTYPE html>")
    assert answers["empty"].content == b""


# What processing does


OPT_IN, YES = "email_opt_in", {**A, "emailOptIn": True}
FULL = YES | a(prop("a", "1"))
NULLS: Record = {**A, "emailOptIn": None, "mobileNumber": None, "propertyFields": prop("a", None)}
ZIP = "8e8b8450-dc1b-4360-8109-7067337b42cb"
BY_ID = [
    {**A, "propertyFields": [{"propertyId": one, **fields[0]}]}
    for one, fields in ((ZIP, prop("zip", "1")), (ZIP.upper(), prop("city", "2")))
]


@cases(
    "switch sent field held",
    ("empty_values clear", [a(prop("a", "1")), a(prop("a", ""))], "properties", {}),
    ("empty_values ignore", [a(prop("a", "1")), a(prop("a", ""))], "properties", {"a": "1"}),
    *(("opt_in_on_insert none", [A], OPT_IN, None), ("opt_in_on_insert true", [A], OPT_IN, True)),
    ("opt_in_on_update keep", [YES, A], OPT_IN, True),
    ("opt_in_on_update reset", [YES, A], OPT_IN, None),
    # Null changes nothing. "In case no Opt-in Status send Blank" (section 8.3).
    *(("", [FULL, NULLS], "properties", {"a": "1"}), ("", [FULL, NULLS], OPT_IN, True)),
    ("", [{**A, "emailOptIn": ""}], OPT_IN, None),
    # An id of a property decides, in any case; lists accumulate.
    ("", [*BY_ID, a(prop("other", "3"))], "properties", {"zip": "2", "other": "3"}),
    ("", [{**A, "listId": one} for one in (*LISTS, LISTS[0], None)], "lists", LISTS),
)
def test_what_a_contact_holds(crm: Crm, switch: str, sent: t.Any, field: str, held: object) -> None:
    crm.sandbox.set_switches(**dict([switch.split()] if switch else []))
    for contact in sent:
        crm.single(**contact)
    assert crm.contact[field] == held


@cases("policy status", ("allow", 202), ("conflict", 409))
def test_a_clash(crm: Crm, policy: str, status: int) -> None:
    """The second contact would get the first one's identity; both wait in the queue still."""
    crm.sandbox.set_switches(clash=policy)
    crm.batch({"contactId": 1, **A}, {"contactId": 2, **B})
    assert crm.batch({"contactId": 2, **A}).status_code == status
    assert crm.emails == ["a@example.com", "a@example.com" if status == 202 else "b@example.com"]
    assert crm.batch({"contactId": 2, **B}).status_code == 202


@cases(
    "policy ids invalid",
    *(("create", [7], []), ("create_new_id", [1000001], []), ("report", [], ["7"])),
)
def test_an_unknown_contact_id(crm: Crm, policy: str, ids: list[int], invalid: list[str]) -> None:
    crm.sandbox.set_switches(unknown_contact_id=policy)
    response = crm.batch({"contactId": 7, **A})
    assert response.status_code == 202
    assert [one["id"] for one in crm.contacts()] == ids
    assert response.json()["data"]["InvalidContactIds"] == invalid


@cases(
    "policy names invalid",
    *(("create", {"city", "shoe size"}, []), ("ignore", {"city"}, [])),
    ("report", {"city"}, ["shoe size"]),
)
def test_an_unknown_property(crm: Crm, policy: str, names: set[str], invalid: list[str]) -> None:
    crm.sandbox.set_switches(unknown_property=policy)
    response = crm.batch(a(prop("city"), prop("shoe size")))
    assert response.status_code == 202
    assert crm.contact["properties"].keys() == names
    found = response.json()["data"]["InvalidProperties"]
    assert [one["propertyName"] for one in found] == invalid


# The switches themselves


@cases(
    "wrong",
    *({"no_such": 1}, {"clash": "maybe"}, {"clash": True}, {"burst": "many"}, {"burst": -1}),
    *({"token_lifetime_seconds": float("nan")}, {"plan": None}),
)
def test_a_wrong_switch_is_an_error_that_names_it(wrong: dict[str, t.Any]) -> None:
    with pytest.raises(SwitchError, match=next(iter(wrong))):
        Switches().changed(**wrong)


# The samples of the API pages go in, and their answers come out


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
