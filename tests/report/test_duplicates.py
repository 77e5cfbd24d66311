"""Contacts that share something are counted, and named without personal data."""

from __future__ import annotations

import resource
import tracemalloc
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer.contacts import Contact, Mobile
from target_mainbrainer.report import duplicates
from target_mainbrainer.report.duplicates import Duplicates, Shared

A, B = "a@example.com", "b@example.com"
M1, M2 = Mobile(44, 7700900001), Mobile(44, 7700900002)


def shared(*contacts: Contact) -> Shared:
    found = Duplicates()
    for number, contact in enumerate(contacts, start=1):
        found.add(contact, "people", number, key=number * 10)
    return found.found


def test_two_people_with_one_address_are_counted_and_named_by_key() -> None:
    found = shared(
        Contact(email=A, mobile=M1), Contact(email=B), Contact(email=A, mobile=M2), Contact(email=A)
    )
    assert (found.email, found.mobile, found.case) == (3, 0, 0)
    assert found.examples == [
        "key 10 of 'people' and key 40 of 'people' have the same e-mail address"
    ]


def test_two_people_with_one_number_are_counted() -> None:
    found = shared(Contact(mobile=M1), Contact(email=A, mobile=M1), Contact(mobile=M2))
    assert (found.email, found.mobile) == (0, 2)
    assert "the same mobile number" in found.examples[0]


def test_an_address_in_other_letters_is_told_apart() -> None:
    found = shared(Contact(email=A), Contact(email=A.upper()), Contact(email=B))
    assert (found.email, found.case) == (2, 2)
    idn = shared(Contact(email="a@bücher.example"), Contact(email="a@xn--bcher-kva.example"))
    assert (idn.email, idn.case) == (2, 2)


def test_one_contact_that_comes_twice_shares_nothing() -> None:
    found = shared(Contact(email=A, mobile=M1), Contact(email=A, mobile=M1, email_opt_in=True))
    assert found == Shared(0, 0, 0, [], is_complete=True)


def test_contacts_with_ids_share_unless_the_id_is_the_same() -> None:
    same = shared(Contact(contact_id=1, email=A), Contact(contact_id=1, email=A.upper()))
    assert (same.email, same.case) == (0, 0)
    other = shared(Contact(contact_id=1, email=A), Contact(contact_id=2, email=A))
    assert other.email == 2


def test_a_key_that_is_no_short_number_is_named_by_the_records_number() -> None:
    found = Duplicates()
    found.add(Contact(email=A, mobile=M1), "people", 7, key="kari@example.com")
    found.add(Contact(email=A, mobile=M2), "members", 8, key=None)
    (example,) = found.found.examples
    assert example.startswith("record 7 of 'people' and record 8 of 'members' have")


CONTACTS = st.lists(
    st.builds(
        Contact,
        contact_id=st.none() | st.integers(1, 3),
        email=st.sampled_from([None, A, A.upper(), B]),
        mobile=st.sampled_from([None, M1, M2]),
    ),
    max_size=12,
)


@given(CONTACTS)
def test_the_counts_are_those_of_a_plain_search(contacts: list[Contact]) -> None:
    groups: dict[str, defaultdict[object, set[object]]] = {
        "email": defaultdict(set),
        "mobile": defaultdict(set),
    }
    for contact in contacts:
        identity = contact.contact_id or (contact.mobile, contact.email)
        if contact.email is not None:
            groups["email"][contact.email.lower()].add(identity)
        if contact.mobile is not None:
            groups["mobile"][contact.mobile].add(identity)
    found = shared(*contacts)
    for kind, count in (("email", found.email), ("mobile", found.mobile)):
        assert count == sum(len(ids) for ids in groups[kind].values() if len(ids) > 1)


def test_many_contacts_are_found_in_little_memory() -> None:
    """A million contacts need 40 MB on the disk."""
    tracemalloc.start()
    found = Duplicates()
    for number in range(30_000):
        person = number if number % 1000 else 0
        found.add(Contact(email=f"p{person}@example.com", mobile=Mobile(47, number)), "p", number)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1024 * 1024
    assert (found.found.email, found.found.mobile) == (30, 0)


def test_only_so_many_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MOST_CONTACTS", 400)
    monkeypatch.setattr(duplicates, "ROWS_AT_ONCE", 100)
    found = Duplicates()
    for number in range(1000):
        found.add(Contact(email=A, mobile=Mobile(47, number)), "people", number)
    assert (found.found.email, found.found.is_complete) == (400, False)
    assert "Only the first 400 contacts" in list(found.describe())[-1]


def test_a_full_disk_ends_the_looking_and_nothing_else() -> None:
    found = Duplicates()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        for number in range(100_000):
            found.add(Contact(email=A, mobile=Mobile(47, number)), "people", number)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not found.found.is_complete
    assert "contacts were looked at to find those" in list(found.describe())[-1]


def test_one_example_is_in_the_log_and_five_are_in_the_report() -> None:
    found = Duplicates()
    for number in range(20):
        found.add(Contact(email=f"p{number // 2}@example.com", mobile=Mobile(47, number)), "p", 1)
    (line,) = found.describe()
    assert len(found.found.examples) == 5
    assert line.count("have the same") == 1
    assert len(line) < 250


@pytest.mark.parametrize(
    ("key", "is_shown"), [("4711", True), ("007", True), ("4790812501", False), ("a1", False)]
)
def test_a_key_of_a_few_digits_is_shown_also_if_it_is_a_text(key: str, is_shown: bool) -> None:
    found = Duplicates()
    for number in range(2):
        found.add(Contact(email=A, mobile=Mobile(47, number)), "people", 1, key=key)
    assert (f"key {key} of 'people'" in found.found.examples[0]) is is_shown
