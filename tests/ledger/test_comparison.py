"""What a contact is compared by."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer.contacts import Contact, Mobile, PropertyRef, identifiers_of
from target_mainbrainer.ledger.comparison import (
    Digests,
    identity_from,
    identity_text,
)

DIGESTS = Digests(bytes(range(32)))
NAME = PropertyRef(None, "firstname")

emails = st.sampled_from([None, "ola@example.com", "Ola@Example.com", "kari@example.com"])
mobiles = st.sampled_from([None, Mobile(47, 90812501), Mobile(None, 90812501), Mobile(46, 7)])
contacts = st.builds(Contact, mobile=mobiles, email=emails)


@given(contacts, contacts)
def test_identities_are_the_same_as_order_takes_them(one: Contact, other: Contact) -> None:
    is_same = identifiers_of(one) == identifiers_of(other)
    assert (DIGESTS.identity(one) == DIGESTS.identity(other)) == is_same


@given(contacts)
def test_an_id_is_told_from_what_is_no_id(contact: Contact) -> None:
    assert DIGESTS.identity(contact) >= 0
    assert DIGESTS.identity(Contact(contact_id=7, email=contact.email)) < 0


@given(contacts)
def test_an_identity_comes_back_from_its_text(contact: Contact) -> None:
    identity = identity_from(identity_text(contact))
    assert (identity.mobile, identity.email) == (contact.mobile, contact.email)


def test_the_content_is_all_that_is_sent_and_the_list() -> None:
    contact = Contact(email="ola@example.com", email_opt_in=True, properties={NAME: "Ola"})
    contents = {
        DIGESTS.candidate("[1]", contact, None).content,
        DIGESTS.candidate("[1]", contact, "a list").content,
        DIGESTS.candidate("[1]", Contact(email="ola@example.com"), None).content,
        DIGESTS.candidate(
            "[1]",
            Contact(email="ola@example.com", email_opt_in=True, properties={NAME: ""}),
            None,
        ).content,
    }
    assert len(contents) == 4


def test_ledgers_do_not_share_digests() -> None:
    contact = Contact(email="ola@example.com")
    other = Digests(bytes(32))
    assert other.identity(contact) != DIGESTS.identity(contact)
    assert other.candidate("[1]", contact, None) != DIGESTS.candidate("[1]", contact, None)


def test_changed_fields_are_named() -> None:
    before = Contact(email="ola@example.com", properties={NAME: "Ola", PropertyRef(None, "b"): "1"})
    after = Contact(
        email="ola@example.com", properties={NAME: "Per", PropertyRef("8e8b", None): ""}
    )
    fields = DIGESTS.fields(before, "a list")
    assert DIGESTS.changed_fields(fields, before, "a list") == []
    assert DIGESTS.changed_fields(fields, after, "another") == ["list_id", "firstname", "8e8b"]
