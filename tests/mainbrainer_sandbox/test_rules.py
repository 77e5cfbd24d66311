"""Identification, partial update and consent, by table and against a tiny model."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainbrainer_sandbox.rules import (
    Contact,
    Known,
    Sent,
    apply,
    identities_to_look_up,
    identity_of,
)
from mainbrainer_sandbox.switches import Switches

BOTH = Contact(1, 44, 7700900001, "a@example.com")
MOBILE = Contact(2, 44, 7700900001, None)
EMAIL = Contact(3, None, None, "a@example.com")


def run(
    batch: list[Sent], contacts: list[Contact], switches: Switches | None = None
) -> tuple[Any, dict[int, Contact]]:
    """Apply a batch to contacts; return what was done, and all contacts afterwards."""
    switches = switches or Switches()
    known = Known(contacts)
    ids = itertools.count(100)
    done = apply(batch, known, switches, lambda: next(ids))
    return done, known.by_id


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        pytest.param(
            Sent(mobile_country_code=44, mobile_number=7700900001, email="a@example.com"),
            1,
            id="both",
        ),
        pytest.param(
            Sent(mobile_country_code=44, mobile_number=7700900001), 2, id="mobile and a null e-mail"
        ),
        pytest.param(Sent(email="a@example.com"), 3, id="e-mail and a null mobile"),
        pytest.param(Sent(contact_id=1, email="b@example.com"), 1, id="the id before all else"),
        pytest.param(
            Sent(mobile_country_code=44, mobile_number=7700900002), None, id="another mobile"
        ),
        pytest.param(
            Sent(mobile_country_code=44, mobile_number=7700900001, email="b@example.com"),
            None,
            id="one of two",
        ),
        pytest.param(
            Sent(mobile_country_code=1, mobile_number=7700900001), None, id="another country"
        ),
        pytest.param(Sent(email="A@example.com"), None, id="another casing"),
    ],
)
def test_contacts_are_found_by_the_documented_rules(sent: Sent, found: int | None) -> None:
    """Section 8.1: an e-mail alone never finds a contact that has a mobile too."""
    contacts = [
        Contact(one.id, one.mobile_country_code, one.mobile_number, one.email)
        for one in (BOTH, MOBILE, EMAIL)
    ]
    done, _ = run([sent], contacts)
    assert (done.updated or None) == ([found] if found else None)
    assert len(done.inserted) == (0 if found else 1)


def test_adding_a_mobile_without_the_id_makes_a_second_contact() -> None:
    """Section 8.1, first consequence."""
    batch = [
        Sent(email="a@example.com"),
        Sent(mobile_country_code=44, mobile_number=7700900001, email="a@example.com"),
    ]
    done, _ = run(batch, [])
    assert len(done.inserted) == 2


@pytest.mark.parametrize(
    ("sent", "changes"),
    [
        pytest.param(Sent(contact_id=1), {}, id="nothing sent"),
        pytest.param(Sent(contact_id=1, email="a@example.com"), {}, id="the same again"),
        pytest.param(
            Sent(contact_id=1, email="b@example.com"),
            {"email": "b@example.com"},
            id="e-mail",
        ),
        pytest.param(
            Sent(contact_id=1, mobile_country_code=44, mobile_number=7700900009),
            {"mobile_number": 7700900009},
            id="mobile",
        ),
        pytest.param(
            Sent(contact_id=1, properties={"city": "Oslo", "state": None, "new": "x"}),
            {"properties": {"city": "Oslo", "new": "x"}},
            id="properties",
        ),
        pytest.param(
            Sent(contact_id=1, properties={"none": None}), {}, id="clear what is not there"
        ),
        pytest.param(
            Sent(contact_id=1, mobile_opt_in=False), {"mobile_opt_in": False}, id="opt-out"
        ),
        pytest.param(Sent(contact_id=1, list_id="x"), {"lists": ["l", "x"]}, id="join"),
        pytest.param(Sent(contact_id=1, list_id="l"), {}, id="join again"),
    ],
)
def test_only_what_is_sent_changes(sent: Sent, changes: dict[str, Any]) -> None:
    before = {"city": "Oslo", "state": "S"}
    contact = Contact(1, 44, 7700900001, "a@example.com", True, None, before, ["l"])
    done, contacts = run([sent], [contact])
    assert done.updated == [1]
    assert contacts[1] == msgspec.structs.replace(contact, **changes)
    assert done.history == ([(1, contact)] if changes else []), "what it was before"


@pytest.mark.parametrize("value", [None, True, False])
def test_consent_is_never_made_up(value: bool | None) -> None:
    done, contacts = run([Sent(email="a@example.com", email_opt_in=value)], [])
    contact = contacts[done.inserted[0]]
    assert contact.email_opt_in is value
    assert contact.mobile_opt_in is None


mobiles = st.sampled_from([(None, None), (44, 7700900001), (44, 7700900002), (1, 2025550101)])
emails = st.sampled_from([None, "a@example.com", "b@example.com"])
consents = st.sampled_from([None, True, False])
values = st.dictionaries(st.sampled_from("xyz"), st.sampled_from([None, "1", "2"]), max_size=3)


@st.composite
def sents(draw: st.DrawFn) -> Sent:
    country, number = draw(mobiles)
    email = draw(emails)
    contact_id = draw(st.sampled_from([None, None, 100, 101, 7]))
    if contact_id is None and number is None and email is None:
        email = "c@example.com"
    return Sent(
        contact_id,
        country,
        number,
        email,
        draw(consents),
        draw(consents),
        draw(values),
        draw(st.sampled_from([None, "l", "m"])),
    )


class Model:
    """The pages' rules again, as slow and plain as can be."""

    def __init__(self) -> None:
        self.contacts: dict[int, dict[str, Any]] = {}
        self.next_id = 100

    def upsert(self, sent: Sent) -> None:
        number = sent.mobile_number
        mobile = None if number is None else (sent.mobile_country_code, number)
        if sent.contact_id is not None:
            found = sent.contact_id
        else:
            same = [
                contact_id
                for contact_id, one in self.contacts.items()
                if one["mobile"] == mobile and one["email"] == sent.email
            ]
            found = min(same) if same else self.new_id()
        contact = self.contacts.setdefault(
            found, {"mobile": None, "email": None, "sms": None, "mail": None, "lists": set()}
        )
        if mobile is not None:
            contact["mobile"] = mobile
        if sent.email is not None:
            contact["email"] = sent.email
        if sent.mobile_opt_in is not None:
            contact["sms"] = sent.mobile_opt_in
        if sent.email_opt_in is not None:
            contact["mail"] = sent.email_opt_in
        contact["lists"] |= {sent.list_id} - {None}
        for key, value in sent.properties.items():
            contact[f"property {key}"] = value

    def new_id(self) -> int:
        while self.next_id in self.contacts:
            self.next_id += 1
        return self.next_id


def as_model(contact: Contact) -> dict[str, Any]:
    return {
        "mobile": None
        if contact.mobile_number is None
        else (contact.mobile_country_code, contact.mobile_number),
        "email": contact.email,
        "sms": contact.mobile_opt_in,
        "mail": contact.email_opt_in,
        "lists": set(contact.lists),
        **{f"property {key}": value for key, value in contact.properties.items()},
    }


@given(st.lists(st.lists(sents(), max_size=4), max_size=5))
def test_batches_do_what_the_model_does(batches: list[list[Sent]]) -> None:
    """However requests are cut, the outcome is that of one contact after the other.

    Each batch sees only the contacts that `identities_to_look_up` asks for, as in the store.
    """
    switches = Switches()
    contacts: dict[int, Contact] = {}
    model = Model()

    def new_id() -> int:
        # Where a contact brought its own id, the store skips that too.
        return next(n for n in itertools.count(100) if n not in contacts and n not in fresh)

    for batch in batches:
        ids = {sent.contact_id for sent in batch}
        found = [one for one in contacts.values() if one.id in ids]
        keys = identities_to_look_up(batch, found)
        known = Known(
            [one for one in contacts.values() if one.id in ids or identity_of(one) in keys]
        )
        fresh = known.by_id
        done = apply(batch, known, switches, new_id)
        assert len(done.inserted) + len(done.updated) == len(batch)
        contacts.update(done.touched)
        for sent in batch:
            model.upsert(sent)
    expected = {
        contact_id: {
            key: value for key, value in one.items() if value is not None or " " not in key
        }
        for contact_id, one in model.contacts.items()
    }
    assert {one.id: as_model(one) for one in contacts.values()} == expected


def test_two_contacts_of_one_identity_in_a_batch() -> None:
    batch = [
        Sent(email="a@example.com", properties={"x": "1"}),
        Sent(email="a@example.com", properties={"y": "2"}),
    ]
    merged, contacts = run(batch, [])
    assert (len(merged.inserted), len(merged.updated)) == (1, 1)
    assert contacts[merged.inserted[0]].properties == {"x": "1", "y": "2"}
