"""What a request is refused for, and how its parts are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.mainbrainer_sandbox.conftest import Client

    Make = Callable[..., Client]

A, B = {"email": "a@example.com"}, {"email": "b@example.com"}


def prop(name: str, value: Any = "x") -> list[dict[str, Any]]:
    return [{"propertyName": name, "propertyValue": value}]


EMPTY = {**A, "propertyFields": prop("city", "")}
REFUSED = {"email": "refused.7@example.com"}
POISON = {**A, "propertyFields": [{"propertyName": "poison", "propertyValue": "x"}]}
BLANK = {"mobileCountryCode": 44, "mobileNumber": 7700900001, "email": ""}
ODD_ID = {**A, "propertyFields": [{"propertyId": "3fa85f64-x", "propertyValue": "x"}]}


@pytest.mark.parametrize(
    ("switches", "contacts", "request_part", "status"),
    [
        pytest.param({}, [A], {"listId": "nope"}, 400, id="list id that is no uuid"),
        pytest.param({}, [ODD_ID], {}, 202, id="property id that is no uuid, as the page's own"),
        pytest.param({"empty_values": "refuse"}, [EMPTY], {}, 422, id="empty property"),
        pytest.param({}, [BLANK], {}, 202, id="empty e-mail"),
        pytest.param({}, [A] * 1001, {}, 400, id="too many"),
        pytest.param({}, [A] * 1000, {}, 202, id="just enough"),
        pytest.param({}, [], {}, 400, id="none"),
        pytest.param({}, [{"email": "no"}, {"email": 7}], {}, 400, id="by cause, both"),
        pytest.param(
            {"unknown_property": "refuse"},
            [{**A, "propertyFields": prop("shoe size")}],
            {},
            422,
            id="unknown property",
        ),
        pytest.param(
            {"unknown_property": "refuse"},
            [{**A, "propertyFields": prop("city")}],
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
        pytest.param({"unknown_contact_id": "refuse"}, [{"contactId": 7}], {}, 422, id="id"),
        pytest.param(
            {"known_lists": "3fa85f64-5717-4562-b3fc-2c963f66afa6"},
            [A],
            {"listId": "9fc6ad7d-902a-4834-b161-a4911b883d44"},
            422,
            id="unknown list",
        ),
        pytest.param(
            {"known_lists": "3fa85f64-5717-4562-b3fc-2c963f66afa6"},
            [A],
            {"listId": "3FA85F64-5717-4562-B3FC-2C963F66AFA6"},
            202,
            id="known list",
        ),
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
            {"refuse_property": "poison", "refuse_value": "much"},
            [{**A, "propertyFields": prop("poison", "much")}],
            {},
            422,
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
    ("webhook", "status"),
    [
        ("nowhere", 422),
        ("ftp://example.com", 422),
        ("http://[::1", 422),
        ("http://[c1e0:]/x", 422),
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
    one, other = "3fa85f64-5717-4562-b3fc-2c963f66afa6", "9fc6ad7d-902a-4834-b161-a4911b883d44"
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
