"""Every switch does what its help says; a switch without a test here fails the last test."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mainbrainer_sandbox.switches import DECLARED, UNKNOWN, SwitchError, Switches

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.mainbrainer_sandbox.conftest import Client

    Make = Callable[..., Client]

A, B = {"email": "a@example.com"}, {"email": "b@example.com"}
SAMPLE = json.loads((Path(__file__).parent / "samples" / "batch-request.json").read_text())


def prop(name: str, value: Any = "x") -> list[dict[str, Any]]:
    return [{"propertyName": name, "propertyValue": value}]


# -- what a request is refused for -----------------------------------------------------------

NULL = {**A, "propertyFields": prop("city", None)}
EMPTY = {**A, "propertyFields": prop("city", "")}
NO_OPT_IN = {**A, "emailOptIn": None}
NO_MOBILE = {**A, "mobileNumber": None}
REFUSED = {"email": "refused.7@example.com"}
POISON = {**A, "propertyFields": [{"propertyName": "poison", "propertyValue": "x"}]}
BLANK = {"mobileCountryCode": 44, "mobileNumber": 7700900001, "email": ""}
ODD_ID = {**A, "propertyFields": [{"propertyId": "3fa85f64-x", "propertyValue": "x"}]}


@pytest.mark.parametrize(
    ("switches", "contacts", "request_part", "status"),
    [
        pytest.param({}, [ODD_ID], {}, 202, id="property ids are not checked"),
        pytest.param({"uuid_check": "all"}, [ODD_ID], {}, 400, id="or they are"),
        pytest.param({}, [A], {"listId": "nope"}, 400, id="list ids are checked"),
        pytest.param({"uuid_check": "none"}, [A], {"listId": "nope"}, 202, id="or not"),
        pytest.param({"null_values": "reject"}, [NULL], {}, 422, id="null property"),
        pytest.param({"null_values": "reject"}, [NO_OPT_IN], {}, 422, id="null opt-in"),
        pytest.param({"null_values": "reject"}, [NO_MOBILE], {}, 422, id="null mobile"),
        pytest.param({"empty_values": "reject"}, [EMPTY], {}, 422, id="empty property"),
        pytest.param({}, [BLANK], {}, 202, id="empty e-mail"),
        pytest.param({"empty_identifiers": "reject"}, [BLANK], {}, 422, id="empty e-mail refused"),
        pytest.param({"too_many_status": 413}, [A] * 1001, {}, 413, id="too many 413"),
        pytest.param({"too_many_status": 406}, [A] * 1001, {}, 406, id="too many 406"),
        pytest.param({}, [A] * 1001, {}, 400, id="too many"),
        pytest.param({}, [A] * 1000, {}, 202, id="just enough"),
        pytest.param({}, [], {}, 400, id="none"),
        pytest.param({"empty_batch": "accept"}, [], {}, 202, id="none accepted"),
        pytest.param({"refusal_status": "400"}, [{"email": "no"}], {}, 400, id="always 400"),
        pytest.param({"refusal_status": "422"}, [{"email": 7}], {}, 422, id="always 422"),
        pytest.param({}, [{"email": "no"}, {"email": 7}], {}, 400, id="by cause, both"),
        pytest.param({"invalid_contact": "skip"}, [{"email": "no"}, A], {}, 202, id="skip"),
        pytest.param({"duplicates": "refuse"}, [A, A], {}, 422, id="duplicates"),
        pytest.param({"duplicates": "refuse"}, [A, B], {}, 202, id="no duplicates"),
        pytest.param(
            {"unknown_property": "refuse"},
            [{**A, "propertyFields": prop("shoe size")}],
            {},
            422,
            id="unknown property",
        ),
        pytest.param(
            {"unknown_property": "refuse", "known_properties": "shoe size"},
            [{**A, "propertyFields": prop("shoe size")}],
            {},
            202,
            id="known property",
        ),
        pytest.param(
            {"unknown_property": "refuse"},
            [{**A, "propertyFields": prop("street")}],
            {},
            422,
            id="property in another casing",
        ),
        pytest.param(
            {"unknown_property": "refuse", "property_names": "ignore_case"},
            [{**A, "propertyFields": prop("street")}],
            {},
            202,
            id="property in any casing",
        ),
        pytest.param({"unknown_contact_id": "refuse"}, [{"contactId": 7}], {}, 422, id="id"),
        pytest.param(
            {"known_lists": "3fa85f64-5717-4562-b3fc-2c963f66afa6"},
            [A],
            {"listId": "9fc6ad7d-902a-4834-b161-a4911b883d44"},
            422,
            id="unknown list",
        ),
        pytest.param(
            {"known_lists": "3fa85f64-5717-4562-b3fc-2c963f66afa6", "unknown_list_status": 404},
            [A],
            {"listId": "9fc6ad7d-902a-4834-b161-a4911b883d44"},
            404,
            id="unknown list 404",
        ),
        pytest.param(
            {"known_lists": "3fa85f64-5717-4562-b3fc-2c963f66afa6"},
            [A],
            {"listId": "3FA85F64-5717-4562-B3FC-2C963F66AFA6"},
            202,
            id="known list",
        ),
        pytest.param({"account_status": 403}, [A], {}, 403, id="account"),
        pytest.param(
            {"refuse_property": "poison"}, [B, POISON], {}, 422, id="poison"
        ),
        pytest.param(
            {"refuse_property": "poison", "refuse_value": "much"},
            [{**A, "propertyFields": prop("poison", "little")}],
            {},
            202,
            id="not so much poison",
        ),
        pytest.param(
            {"refuse_property": "poison", "refuse_value": "much", "refuse_status": 400},
            [{**A, "propertyFields": prop("poison", "much")}],
            {},
            400,
            id="too much poison",
        ),
        pytest.param({"refuse_email": "refused"}, [REFUSED], {}, 422, id="e-mail"),
        pytest.param({"refuse_email": "refused"}, [A], {}, 202, id="another e-mail"),
    ],
)  # fmt: skip
def test_what_is_refused(
    make: Make,
    switches: dict[str, Any],
    contacts: list[Any],
    request_part: dict[str, Any],
    status: int,
) -> None:
    crm = make(**switches)
    response = crm.batch(*contacts, **request_part)
    assert response.status_code == status
    if status != 202:
        assert crm.contacts() == []
        assert [one["status"] for one in crm.sandbox.batches()] == [status]


@pytest.mark.parametrize(
    ("contact", "status"),
    [
        pytest.param({}, 422, id="no identifier"),
        pytest.param({"mobileOptIn": True}, 422, id="consent is none"),
        pytest.param({"mobileNumber": 7700900001}, 422, id="no country code"),
        pytest.param({"mobileCountryCode": 44}, 422, id="a country code alone"),
        pytest.param({"mobileCountryCode": 999, "mobileNumber": 7700900001}, 422, id="no country"),
        pytest.param({"mobileCountryCode": 44, "mobileNumber": 10**14}, 422, id="too long"),
        pytest.param({"mobileCountryCode": 44, "mobileNumber": 12}, 422, id="too short"),
        pytest.param({"mobileCountryCode": "44", "mobileNumber": 7700900001}, 400, id="text"),
        pytest.param({"mobileCountryCode": 44, "mobileNumber": True}, 400, id="boolean"),
        pytest.param({"mobileCountryCode": 44, "mobileNumber": 1.5}, 400, id="fraction"),
        pytest.param({"contactId": 0}, 422, id="zero"),
        pytest.param({"contactId": 2**63}, 400, id="beyond int64"),
        pytest.param({"email": "a@example"}, 422, id="no domain"),
        pytest.param({"email": "a b@example.com"}, 422, id="space"),
        pytest.param({"email": f"{'a' * 65}@example.com"}, 422, id="long local part"),
        pytest.param({"email": ["a@example.com"]}, 400, id="array"),
        pytest.param({**A, "emailOptIn": "true"}, 400, id="consent as text"),
        pytest.param({**A, "emailOptIn": 1}, 400, id="consent as number"),
        pytest.param({**A, "propertyFields": {}}, 400, id="properties no array"),
        pytest.param({**A, "propertyFields": ["x"]}, 400, id="property no object"),
        pytest.param(
            {**A, "propertyFields": [{"propertyValue": "x"}]}, 422, id="neither id nor name"
        ),
        pytest.param({**A, "propertyFields": prop(" ")}, 422, id="blank name"),
        pytest.param({**A, "propertyFields": prop("city", 7)}, 400, id="value no text"),
        pytest.param({**A, "propertyFields": prop("n" * 256)}, 422, id="long name"),
        pytest.param(7, 400, id="no object"),
    ],
)
def test_a_contact_that_is_wrong_is_refused_alone_too(
    crm: Client, contact: Any, status: int
) -> None:
    assert crm.post("/contacts/insertupdate", contact).status_code == status
    assert crm.batch(contact).status_code == status
    assert crm.contacts() == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"{", 400, id="cut"),
        pytest.param(b"[]", 400, id="array"),
        pytest.param(b"[" * 100_000, 400, id="deep"),
        pytest.param(b'"\xff"', 400, id="not UTF-8"),
        pytest.param(b'{"createUpdateContacts": null}', 400, id="null"),
        pytest.param(b'{"createUpdateContacts": [{"contactId": 1e999}]}', 400, id="infinite"),
    ],
)
def test_a_body_that_is_no_batch_is_refused(crm: Client, body: bytes, status: int) -> None:
    headers = {"Content-Type": "application/json"}
    url = f"{crm.sandbox.url}/contacts/batch"
    assert crm.session.post(url, data=body, headers=headers, timeout=9).status_code == status


@pytest.mark.parametrize(
    "webhook", ["nowhere", "ftp://example.com", "http://[::1", "http://[c1e0:]/x", 7]
)
def test_a_webhook_must_be_a_url(crm: Client, webhook: Any) -> None:
    assert crm.batch(A, webhookUrl=webhook).status_code in {400, 422}


# -- how refusals are said -------------------------------------------------------------------


@pytest.mark.parametrize(("names", "count"), [("all", 2), ("first", 1), ("none", 0)])
def test_a_refusal_names_whom_it_is_told_to(make: Make, names: str, count: int) -> None:
    crm = make(refusal_names=names)
    body = crm.batch(A, {"contactId": 5, "email": "no"}, {"contactId": 6, "email": "no"}).json()
    assert len(body["data"]["invalidContactIdList"]) == count
    assert body["message"].count("createUpdateContacts") == count


def test_errors_come_in_the_form_of_choice(make: Make) -> None:
    crm = make()
    for form in ("envelope", "problem", "html", "empty"):
        crm.sandbox.set_switches(error_body=form)
        response = crm.batch({"email": "no"})
        assert response.status_code == 422
        if form == "envelope":
            assert response.json()["status"] == "Failed"
        elif form == "problem":
            assert response.headers["Content-Type"] == "application/problem+json"
            assert response.json()["errors"] == {
                "createUpdateContacts[0].email": ["It is not an e-mail address."]
            }
        elif form == "html":
            assert response.text.startswith("<!DOCTYPE html>")
        else:
            assert response.content == b""


def test_planted_refusals_say_what_they_are_told(make: Make) -> None:
    crm = make(
        refuse_property="poison", refuse_message="No luck.", account_message="Not your list."
    )
    body = crm.batch(A, {**B, "propertyFields": prop("poison")}).json()
    assert "createUpdateContacts[1].propertyFields: No luck." in body["message"]
    assert body["data"]["invalidPropertiesList"][0]["propertyName"] == "poison"
    crm.sandbox.set_switches(refuse_property="", account_status=406)
    assert "Not your list." in crm.batch(A).json()["message"]
    crm.sandbox.set_switches(account_status=0)
    assert crm.batch(A).status_code == 202


def test_skipped_contacts_are_skipped_and_the_others_not(make: Make) -> None:
    crm = make(invalid_contact="skip", skip_property="skip me")
    response = crm.batch(
        {"email": "no", "contactId": 5}, {}, {**A, "propertyFields": prop("skip me")}, B
    )
    done = crm.status(response)["processedObj"]
    # One cannot be told which contact without an id was skipped, as with the real one.
    assert done["skipped"] == {"count": 3, "contactIds": [5]}
    assert [one["email"] for one in crm.contacts()] == ["b@example.com"]


# -- how requests are read -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("casing", "openapi", "portal", "other"),
    [("lenient", 1, 1, 1), ("openapi", 1, 0, 0), ("portal", 0, 1, 0)],
)
def test_keys_are_understood_as_spelt(
    make: Make, casing: str, openapi: int, portal: int, other: int
) -> None:
    crm = make(key_casing=casing)
    for spelling, expected in (
        (("propertyFields", "propertyName", "propertyValue"), openapi),
        (("propertyfields", "propertyname", "propertyvalue"), portal),
        (("PROPERTYFIELDS", "PropertyName", "PROPERTYvalue"), other),
    ):
        fields, name, value = spelling
        crm.sandbox.reset()
        assert crm.batch({**A, fields: [{name: "city", value: "Oslo"}]}).status_code == 202
        (contact,) = crm.contacts()
        assert len(contact["properties"]) == expected


def test_the_webhook_key_follows_the_casing_too(make: Make) -> None:
    for casing, key in (("portal", "webhookUrl"), ("openapi", "webHookUrl")):
        crm = make(f"{casing}.db", key_casing=casing)
        other = "webHookUrl" if key == "webhookUrl" else "webhookUrl"
        crm.batch(A, **{key: "http://hook.example.com"})
        crm.batch(A, **{other: "http://hook.example.com"})
        urls = [one["webhook_url"] for one in crm.sandbox.batches()]
        assert urls == ["http://hook.example.com", None]


@pytest.mark.parametrize(
    ("path", "lenient", "strict"),
    [
        ("/contacts/batch", 202, 202),
        ("/contacts/batch/", 202, 404),
        ("/Contacts/Batch", 202, 404),
    ],
)
def test_paths_are_matched_as_told(make: Make, path: str, lenient: int, strict: int) -> None:
    crm = make()
    body = {"createUpdateContacts": [A]}
    assert crm.post(path, body).status_code == lenient
    crm.sandbox.set_switches(paths="strict")
    assert crm.post(path, body).status_code == strict
    accepted = crm.batch(A).json()["data"]["BatchId"]
    assert crm.get(f"/contacts/{accepted}/Status").status_code == 200
    assert crm.get(f"/contacts/{accepted}/status").status_code == 404


def test_headers_can_be_required(make: Make) -> None:
    crm = make(user_agent="required")
    headers = {"User-Agent": None}
    url, body = f"{crm.sandbox.url}/contacts/insertupdate", json.dumps(A)
    kind = {"Content-Type": "application/json"}
    post = crm.session.post
    assert post(url, body, headers={**kind, "User-Agent": "x"}, timeout=9).status_code == 202
    assert post(url, body, headers={**kind, "User-Agent": ""}, timeout=9).status_code == 400
    crm.sandbox.set_switches(user_agent="optional")
    assert post(url, body, headers={**kind, **headers}, timeout=9).status_code == 202
    assert post(url, body, headers={"Content-Type": "text/plain"}, timeout=9).status_code == 415
    crm.sandbox.set_switches(content_type="optional")
    assert post(url, body, headers={"Content-Type": "text/plain"}, timeout=9).status_code == 202


@pytest.mark.parametrize(
    ("switches", "properties", "email", "opt_in"),
    [
        pytest.param({}, {"a": "1"}, "a@example.com", True, id="default"),
        pytest.param({"null_values": "clear"}, {}, None, None, id="null clears"),
        pytest.param(
            {"empty_values": "ignore"}, {"a": "1", "b": "1"}, "a@example.com", True, id="e"
        ),
    ],
)
def test_null_and_empty_do_what_they_are_told(
    make: Make, switches: dict[str, str], properties: Any, email: str | None, opt_in: bool | None
) -> None:
    crm = make(**switches)
    fields = [*prop("a", "1"), *prop("b", "1")]
    contact_id = int(
        crm.single(**A, emailOptIn=True, propertyFields=fields).json()["data"]["contactId"]
    )
    crm.single(
        contactId=contact_id,
        email=None,
        emailOptIn=None,
        propertyFields=[*prop("a", None), *prop("b", "")],
    )
    (contact,) = crm.contacts()
    assert contact["properties"] == properties
    assert (contact["email"], contact["email_opt_in"]) == (email, opt_in)


@pytest.mark.parametrize(("policy", "email"), [("ignore", "a@example.com"), ("clear", None)])
def test_an_empty_email_does_what_it_is_told(make: Make, policy: str, email: str | None) -> None:
    crm = make(empty_identifiers=policy)
    contact_id = int(crm.single(**A).json()["data"]["contactId"])
    crm.single(contactId=contact_id, email="")
    assert [one["email"] for one in crm.contacts()] == [email]


def test_a_blank_opt_in_is_as_good_as_none(crm: Client) -> None:
    """'In case no Opt-in Status send Blank' (section 8.3)."""
    assert crm.single(**A, emailOptIn="").status_code == 202
    assert crm.contacts()[0]["email_opt_in"] is None


# -- what processing does --------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "expected"), [("none", None), ("true", True)])
def test_consent_of_a_new_contact(make: Make, policy: str, expected: bool | None) -> None:
    crm = make(opt_in_on_insert=policy)
    crm.single(**A)
    assert crm.contacts()[0]["email_opt_in"] is expected


@pytest.mark.parametrize(("policy", "expected"), [("keep", True), ("reset", None)])
def test_consent_of_a_known_contact(make: Make, policy: str, expected: bool | None) -> None:
    crm = make(opt_in_on_update=policy)
    crm.single(**A, emailOptIn=True)
    crm.single(**A)
    assert crm.contacts()[0]["email_opt_in"] is expected


@pytest.mark.parametrize(("match", "count"), [("exact", 2), ("ignore_case", 1)])
def test_email_is_matched_as_told(make: Make, match: str, count: int) -> None:
    crm = make(email_match=match)
    crm.batch(A, {"email": "A@Example.com"})
    assert len(crm.contacts()) == count


def test_matching_can_be_changed_under_contacts(crm: Client) -> None:
    crm.single(**A)
    crm.contacts()
    crm.sandbox.set_switches(email_match="ignore_case")
    crm.single(email="A@EXAMPLE.COM")
    assert len(crm.contacts()) == 1


@pytest.mark.parametrize(("match", "count"), [("yes", 2), ("no", 1)])
def test_the_country_code_is_matched_as_told(make: Make, match: str, count: int) -> None:
    crm = make(country_code_match=match)
    crm.batch(
        {"mobileCountryCode": 44, "mobileNumber": 7700900001},
        {"mobileCountryCode": 1, "mobileNumber": 7700900001},
    )
    assert len(crm.contacts()) == count


@pytest.mark.parametrize(
    ("policy", "expected"), [("inner", ["b"]), ("outer", ["a"]), ("both", ["a", "b"])]
)
def test_a_contacts_own_list(make: Make, policy: str, expected: list[str]) -> None:
    crm = make(contact_list=policy, uuid_check="none")
    crm.batch({**A, "listId": "b"}, listId="a")
    assert crm.contacts()[0]["lists"] == expected


def test_lists_accumulate(make: Make) -> None:
    crm = make(uuid_check="none")
    for name in ("a", "b", "a", None):
        crm.batch(A, listId=name)
    assert crm.contacts()[0]["lists"] == ["a", "b"]


@pytest.mark.parametrize(("policy", "count"), [("merge", 1), ("create_both", 2)])
def test_duplicates_in_a_batch(make: Make, policy: str, count: int) -> None:
    crm = make(duplicates=policy)
    status = crm.status(crm.batch(A, A))
    assert status["processedObj"]["inserted"]["count"] == count
    assert len(crm.contacts()) == count


@pytest.mark.parametrize(("policy", "status"), [("allow", 202), ("conflict", 409)])
def test_a_clash(make: Make, policy: str, status: int) -> None:
    """The second contact would get the first one's identity; both wait in the queue still."""
    crm = make(clash=policy)
    crm.batch({"contactId": 1, **A}, {"contactId": 2, **B})
    response = crm.batch({"contactId": 2, **A})
    assert response.status_code == status
    emails = [one["email"] for one in crm.contacts()]
    assert emails == ["a@example.com", "a@example.com" if status == 202 else "b@example.com"]
    assert crm.batch({"contactId": 2, **B}).status_code == 202


def test_an_unknown_contact_id(make: Make) -> None:
    found = {}
    for policy in ("create", "create_new_id", "report"):
        crm = make(f"{policy}.db", unknown_contact_id=policy)
        response = crm.batch({"contactId": 7, **A})
        assert response.status_code == 202
        ids = [one["id"] for one in crm.contacts()]
        found[policy] = (ids, response.json()["data"]["InvalidContactIds"])
    assert found == {"create": ([7], []), "create_new_id": ([1000001], []), "report": ([], ["7"])}


def test_generated_ids_pass_those_that_contacts_brought(crm: Client) -> None:
    crm.batch({"contactId": 1000001}, {"contactId": 1000003})
    crm.batch(A, B, {"email": "c@example.com"})
    ids = {one["email"]: one["id"] for one in crm.contacts() if one["email"]}
    assert list(ids.values()) == [1000002, 1000004, 1000005]


def test_an_unknown_property(make: Make) -> None:
    found = {}
    for policy in ("create", "ignore", "report"):
        crm = make(f"{policy}.db", unknown_property=policy)
        response = crm.batch({**A, "propertyFields": [*prop("city"), *prop("shoe size")]})
        assert response.status_code == 202
        invalid = [one["propertyName"] for one in response.json()["data"]["InvalidProperties"]]
        found[policy] = (sorted(crm.contacts()[0]["properties"]), invalid)
    assert found == {
        "create": (["city", "shoe size"], []),
        "ignore": (["city"], []),
        "report": (["city"], ["shoe size"]),
    }


def test_a_property_id_decides(make: Make) -> None:
    crm = make(known_properties="zip=8e8b8450-dc1b-4360-8109-7067337b42cb,city")
    fields = [
        {
            "propertyId": "8E8B8450-dc1b-4360-8109-7067337b42cb",
            "propertyName": "city",
            "propertyValue": "0236",
        }
    ]
    crm.single(**A, propertyFields=fields)
    assert crm.contacts()[0]["properties"] == {"zip": "0236"}


def test_a_refused_batch_creates_no_property(make: Make) -> None:
    crm = make()
    crm.batch({**A, "propertyFields": prop("new")}, {"email": "no"})
    crm.sandbox.set_switches(unknown_property="refuse")
    assert crm.batch({**A, "propertyFields": prop("new")}).status_code == 422


def test_processing_can_take_its_time(make: Make) -> None:
    crm = make(processing_delay_seconds=0.3)
    response = crm.batch(A)
    batch_id = response.json()["data"]["BatchId"]
    assert crm.get(f"/contacts/{batch_id}/Status").json()["statusText"] == "Queued"
    assert crm.single(**A).json()["data"]["contactId"] is None
    assert crm.sandbox.contacts(settle=False) == []
    assert crm.status(response)["statusText"] == "Completed"


# -- how it answers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "batch_key", "single_key"),
    [
        ("pages", "BatchId", "contactId"),
        ("openapi", "batchId", "contactId"),
        ("portal", "BatchId", "ContactId"),
    ],
)
def test_answers_are_spelt_as_told(make: Make, shape: str, batch_key: str, single_key: str) -> None:
    crm = make(response_shape=shape)
    assert crm.batch(A).json()["data"][batch_key]
    assert crm.single(**A).json()["data"][single_key] == "1000001"


def test_an_answer_without_a_batch_id(make: Make) -> None:
    crm = make(batch_id="absent")
    assert crm.batch(A).json()["data"]["BatchId"] is None
    assert len(crm.contacts()) == 1


def test_one_contact_can_be_queued_too(make: Make) -> None:
    crm = make(single_answer="null")
    assert crm.single(**A).json()["data"]["contactId"] is None
    assert len(crm.contacts()) == 1


def test_states_have_the_numbers_and_words_of_choice(make: Make) -> None:
    crm = make(status_codes="10,20,30,40", status_texts="Q,P,Done,F")
    status = crm.status(crm.batch(A))
    assert (status["status"], status["statusText"]) == (30, "Done")


@pytest.mark.parametrize("status", [404, 400])
def test_an_unknown_batch(make: Make, status: int) -> None:
    crm = make(unknown_status=status)
    for batch_id in ("ce2c2e48-47e4-4aa0-b4e7-c9deebe29852", "x"):
        assert crm.get(f"/contacts/{batch_id}/Status").status_code == status


# -- the switches themselves -----------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"no_such": 1},
        {"clash": "maybe"},
        {"clash": True},
        {"burst": "many"},
        {"burst": -1},
        {"processing_delay_seconds": float("nan")},
        {"status_codes": "1,2"},
        {"status_codes": "a,b,c,d"},
        {"status_texts": "one"},
        {"account_time_zone": "Europe/Atlantis"},
        {"account_time_zone": "../etc"},
        {"plan": None},
    ],
)
def test_a_wrong_switch_is_an_error_that_names_it(wrong: dict[str, Any]) -> None:
    with pytest.raises(SwitchError, match=next(iter(wrong))):
        Switches().changed(**wrong)


def test_every_switch_says_what_is_not_known() -> None:
    for declared in DECLARED.values():
        assert declared.help.endswith(".")
        assert (UNKNOWN in declared.help) == (declared.group == "unknown"), declared.name


def test_every_switch_is_tested() -> None:
    """By name, in this file or in the ones about limits and webhooks."""
    folder = Path(__file__).parent
    used = set()
    for name in ("test_switches.py", "test_limits.py", "test_faults.py"):
        for node in ast.walk(ast.parse((folder / name).read_text())):
            if isinstance(node, ast.keyword) and node.arg:
                used.add(node.arg)
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                used.add(node.value)
    assert set(DECLARED) - used == set()
