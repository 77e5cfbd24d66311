"""Contacts that share something are counted, and named without personal data."""

import resource
from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer.contacts import Contact, Mobile
from target_mainbrainer.report.duplicates import Duplicates, Shared
from tests.loads import cases

A, B = "a@example.com", "b@example.com"
M1, M2 = Mobile(44, 7700900001), Mobile(44, 7700900002)


def shared(*contacts: Contact) -> Shared:
    found = Duplicates()
    for number, contact in enumerate(contacts, start=1):
        found.add(contact, "people", number, key=number * 10)
    return found.found


@cases(
    "key shown",
    *(("4711", "key 4711"), ("007", "key 007"), (None, "record 7"), ("a1", "record 7")),
    *(("4790812501", "record 7"), ("kari@example.com", "record 7")),
)
def test_a_key_that_is_no_short_number_is_not_shown(key: str | None, shown: str) -> None:
    found = Duplicates()
    for mobile in (M1, M2):
        found.add(Contact(email=A, mobile=mobile), "people", 7, key=key)
    (example,) = found.found.examples
    assert example.startswith(f"{shown} of 'people' and {shown} of 'people' have")


EMAILS, MOBILES = st.sampled_from([None, A, A.upper(), B]), st.sampled_from([None, M1, M2])
IDS = st.none() | st.integers(1, 3)
CONTACTS = st.lists(st.builds(Contact, contact_id=IDS, email=EMAILS, mobile=MOBILES), max_size=12)


@given(CONTACTS)
def test_the_counts_are_those_of_a_plain_search(contacts: list[Contact]) -> None:
    found = shared(*contacts)
    for name, count in (("email", found.email), ("mobile", found.mobile)):
        groups = defaultdict(set)
        for contact in contacts:
            if value := getattr(contact, name):
                value = value.lower() if name == "email" else value
                groups[value].add(contact.contact_id or (contact.mobile, contact.email))
        assert count == sum(len(ids) for ids in groups.values() if len(ids) > 1)


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
    assert "contacts were searched for what they share" in list(found.describe())[-1]


def test_one_example_is_in_the_log_and_five_are_in_the_report() -> None:
    found = Duplicates()
    for number in range(20):
        found.add(Contact(email=f"p{number // 2}@example.com", mobile=Mobile(47, number)), "p", 1)
    (line,) = found.describe()
    assert len(found.found.examples) == 5
    assert line.count("have the same") == 1
    assert len(line) < 250
