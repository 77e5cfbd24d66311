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

NUMBER = (44, 7700900001)
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
        (Sent(None, *NUMBER, "a@example.com"), 1),
        (Sent(None, *NUMBER), 2),
        (Sent(email="a@example.com"), 3),
        (Sent(contact_id=1, email="b@example.com"), 1),
        *((Sent(None, 44, 7700900002), None), (Sent(None, 1, 7700900001), None)),
        *((Sent(None, *NUMBER, "b@example.com"), None), (Sent(email="A@example.com"), None)),
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


@pytest.mark.parametrize(
    ("sent", "changes"),
    [
        *((Sent(1), {}), (Sent(1, email="a@example.com"), {}), (Sent(1, list_id="l"), {})),
        (Sent(1, email="b@example.com"), {"email": "b@example.com"}),
        (Sent(1, 44, 7700900009), {"mobile_number": 7700900009}),
        (
            Sent(1, properties={"city": "Oslo", "state": None, "new": "x"}),
            {"properties": {"city": "Oslo", "new": "x"}},
        ),
        (Sent(1, properties={"none": None}), {}),
        (Sent(1, mobile_opt_in=False), {"mobile_opt_in": False}),
        (Sent(1, list_id="x"), {"lists": ["l", "x"]}),
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


def send(contact_id: int | None, mobile: Any, email: str | None, *rest: Any) -> Sent:
    has_identity = contact_id or mobile[1] or email
    fields = [contact_id, *mobile, email if has_identity else "c@example.com", *rest]
    return Sent(*fields)


ids, lists = st.sampled_from([None, None, 100, 101, 7]), st.sampled_from([None, "l", "m"])
sents = st.builds(send, ids, mobiles, emails, consents, consents, values, lists)


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
        fields: dict[str, Any] = {"mobile": mobile, "email": sent.email}
        fields |= {"sms": sent.mobile_opt_in, "mail": sent.email_opt_in}
        contact |= {name: value for name, value in fields.items() if value is not None}
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


@given(st.lists(st.lists(sents, max_size=4), max_size=5))
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
        known = Known([o for o in contacts.values() if o.id in ids or identity_of(o) in keys])
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
