"""What a request is refused for, how its parts are read, and how refusals are said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.mainbrainer_sandbox.people import A, B, prop

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.mainbrainer_sandbox.conftest import Client

    Make = Callable[..., Client]

UUIDS = ["3fa85f64-5717-4562-b3fc-2c963f66afa6", "9fc6ad7d-902a-4834-b161-a4911b883d44"]
BLANK = {"mobileCountryCode": 44, "mobileNumber": 7700900001, "email": ""}
ODD: Any = {}
KNOWN = {"known_lists": UUIDS[0]}
MUCH = {"refuse_property": "poison", "refuse_value": "much"}


def has(name: str, value: Any = "x") -> dict[str, Any]:
    return {**A, "propertyFields": prop(name, value)}


@pytest.mark.parametrize(
    ("switches", "contacts", "list_id", "status"),
    [
        ({}, [A], "nope", 400),
        (
            {},
            [{**A, "propertyFields": [{"propertyId": "3fa8-x", "propertyValue": "x"}]}],
            None,
            202,
        ),
        ({"empty_values": "refuse"}, [has("city", "")], None, 422),
        *(({}, [BLANK], None, 202), ({}, [], None, 400)),
        *(({}, [A] * 1001, None, 400), ({}, [A] * 1000, None, 202)),
        ({}, [{"email": "no"}, {"email": 7}], None, 400),
        ({"unknown_property": "refuse"}, [has("shoe size")], None, 422),
        ({"unknown_property": "refuse"}, [has("city")], None, 202),
        ({"unknown_property": "refuse"}, [has("street")], None, 422),
        ({"unknown_contact_id": "refuse"}, [{"contactId": 7}], None, 422),
        *((KNOWN, [A], UUIDS[1], 422), (KNOWN, [A], UUIDS[0].upper(), 202)),
        ({"refuse_property": "poison"}, [B, has("poison")], None, 422),
        *((MUCH, [has("poison", "little")], None, 202), (MUCH, [has("poison", "much")], None, 422)),
        ({"refuse_email": "refused"}, [{"email": "refused.7@example.com"}], None, 422),
        ({"refuse_email": "refused"}, [A], None, 202),
    ],
)
def test_what_is_refused(
    make: Make,
    switches: dict[str, Any],
    contacts: list[Any],
    list_id: str | None,
    status: int,
) -> None:
    crm = make(**switches)
    response = crm.batch(*contacts, listId=list_id)
    assert response.status_code == status
    if status != 202:
        assert crm.contacts() == []
        assert [one["status"] for one in crm.sandbox.batches()] == [status]


@pytest.mark.parametrize(
    ("contact", "status"),
    [
        *(({}, 422), ({"mobileOptIn": True}, 422), ({"contactId": 0}, 422), (7, 400)),
        *(({"mobileNumber": 7700900001}, 422), ({"mobileCountryCode": 44}, 422)),
        *(({"mobileCountryCode": 44, "mobileNumber": odd}, 422) for odd in (10**14, 12)),
        *(({"mobileCountryCode": 44, "mobileNumber": odd}, 400) for odd in ("7", True, 1.5)),
        ({"contactId": 2**63}, 400),
        *(({"email": odd}, 422) for odd in ("a@example", "a b@example.com", f"{'a' * 65}@x.com")),
        ({"email": ["a@example.com"]}, 400),
        *(({**A, "emailOptIn": odd}, 400) for odd in ("true", 1)),
        *(({**A, "propertyFields": odd}, 400) for odd in (["x"], prop("city", 7), ODD)),
        *(({**A, "propertyFields": odd}, 422) for odd in (prop(" "), prop("n" * 256))),
        ({**A, "propertyFields": [{"propertyValue": "x"}]}, 422),
    ],
)
def test_a_contact_that_is_wrong_is_refused_alone_too(
    crm: Client, contact: Any, status: int
) -> None:
    assert crm.post("/contacts/insertupdate", contact).status_code == status
    assert crm.batch(contact).status_code == status
    assert crm.contacts() == []


@pytest.mark.parametrize(
    "body",
    [
        *(b"{", b"[]", b"[" * 100_000, b'"\xff"', b'{"createUpdateContacts": null}'),
        b'{"createUpdateContacts": [{"contactId": 1e999}]}',
    ],
    ids=lambda body: repr(body[:40]),
)
def test_a_body_that_is_no_batch_is_refused(crm: Client, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    url = f"{crm.sandbox.url}/contacts/batch"
    assert crm.session.post(url, data=body, headers=headers, timeout=9).status_code == 400


@pytest.mark.parametrize(
    ("webhook", "status"),
    [
        *(
            (odd, 422)
            for odd in ("nowhere", "ftp://example.com", "http://[::1", "http://[c1e0:]/x")
        ),
        (7, 400),
    ],
)
def test_a_webhook_must_be_a_url(crm: Client, webhook: Any, status: int) -> None:
    assert crm.batch(A, webhookUrl=webhook).status_code == status


@pytest.mark.parametrize(
    "keys",
    [
        ("propertyFields", "propertyName", "propertyValue"),
        ("propertyfields", "propertyname", "propertyvalue"),
        ("PROPERTYFIELDS", "PropertyName", "PROPERTYvalue"),
    ],
)
def test_keys_are_understood_in_any_casing(crm: Client, keys: tuple[str, str, str]) -> None:
    """The two pages print two casings (C1, C2)."""
    fields, name, value = keys
    assert crm.batch({**A, fields: [{name: "city", value: "Oslo"}]}).status_code == 202
    assert crm.contacts()[0]["properties"] == {"city": "Oslo"}


def test_null_changes_nothing(crm: Client) -> None:
    crm.single(**A, emailOptIn=True, propertyFields=prop("a", "1"))
    (before,) = crm.contacts()
    crm.single(**A, emailOptIn=None, mobileNumber=None, propertyFields=prop("a", None))
    assert crm.contacts() == [before]


def test_a_blank_opt_in_is_as_good_as_none(crm: Client) -> None:
    """'In case no Opt-in Status send Blank' (section 8.3)."""
    assert crm.single(**A, emailOptIn="").status_code == 202
    assert crm.contacts()[0]["email_opt_in"] is None


def test_a_contacts_own_list_wins_and_lists_accumulate(crm: Client) -> None:
    one, other = UUIDS
    crm.batch({**A, "listId": one}, listId=other)
    assert crm.contacts()[0]["lists"] == [one]
    for name in (other, one, None):
        crm.batch(A, listId=name)
    assert crm.contacts()[0]["lists"] == [one, other]


def test_a_property_id_decides(crm: Client) -> None:
    number = "8e8b8450-dc1b-4360-8109-7067337b42cb"
    crm.single(**A, propertyFields=[{"propertyId": number, **prop("zip", "1")[0]}])
    crm.single(**A, propertyFields=[{"propertyId": number.upper(), **prop("city", "2")[0]}])
    crm.single(**A, propertyFields=prop("other", "3"))
    assert crm.contacts()[0]["properties"] == {"zip": "2", "other": "3"}


def test_a_refused_batch_creates_no_property(crm: Client) -> None:
    crm.batch({**A, "propertyFields": prop("new")}, {"email": "no"})
    crm.sandbox.set_switches(unknown_property="refuse")
    assert crm.batch({**A, "propertyFields": prop("new")}).status_code == 422


# How refusals are said


@pytest.mark.parametrize(("names", "count"), [("all", 2), ("first", 1), ("none", 0)])
def test_a_refusal_names_whom_it_is_told_to(
    make: Callable[..., Client], names: str, count: int
) -> None:
    crm = make(refusal_names=names)
    body = crm.batch(A, {"contactId": 5, "email": "no"}, {"contactId": 6, "email": "no"}).json()
    assert len(body["data"]["invalidContactIdList"]) == count
    assert body["message"].count("createUpdateContacts") == count


def test_errors_come_in_the_form_of_choice(make: Callable[..., Client]) -> None:
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
