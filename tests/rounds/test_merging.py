"""Records of one person become one contact, which is what two upserts in a row would make."""

from __future__ import annotations

import itertools
import typing as t

import pytest

from tests.messages import record, schema, state
from tests.rounds.sent import contacts_in, judging, may_be_one, refusal, sent, value_of

if t.TYPE_CHECKING:
    from tests.loads import Load
    from tests.messages import Record

NAMES = ("contact_id", "email", "mobile", "email_opt_in", "bad", "city")
COLUMNS = schema({"id": {"type": "integer"}, **{name: {} for name in NAMES}})


def ola(number: int, **columns: t.Any) -> str:
    return record(id=number, email="ola@example.com", **columns)


def ola_of(load: Load) -> Record:
    (found,) = [one for one in load.crm.contacts() if one["email"] == "ola@example.com"]
    return found


KARI = record(id=99, email="kari@example.com")


def test_records_of_one_person_are_merged_and_counted(load: Load) -> None:
    """The last value of each field counts, and what a later record lacks stays."""
    ended = load(
        COLUMNS,
        ola(1, city="Oslo", email_opt_in=False),
        KARI,
        ola(3, city="Hamar"),
        state(bookmark=3),
    ).ok()
    assert (ended.count("accepted"), ended.count("merged")) == (2, 1)
    assert ended.states == [{"bookmark": 3}]
    assert ola_of(load)["properties"] == {"city": "Hamar", "id": "3"}
    assert ola_of(load)["email_opt_in"] is False
    assert len(sent(load.crm)) == 1


def test_no_request_has_anybody_twice(load: Load) -> None:
    """Nor anybody who may be somebody else in it: MainBrainer gives no order within a request."""
    people: list[Record] = [
        {"email": "ola@example.com"},
        {"contact_id": 7, "email": "ola@example.com"},
        {"email": "Ola@example.com"},
        {"contact_id": 7},
        {"mobile": "+4790812501"},
        {"contact_id": 8, "mobile": "+4790812501"},
        {"email": "ola@example.com", "mobile": "+4790812501"},
        {"email": "kari@example.com"},
    ]
    pairs = itertools.chain(*itertools.permutations(people, 2))
    load(COLUMNS, *(record(id=n, **one) for n, one in enumerate(pairs))).ok()
    for _, contacts in sent(load.crm):
        for one, other in itertools.combinations(contacts, 2):
            assert not may_be_one(one, other)


def test_a_bad_record_of_a_person_takes_no_good_one_with_it(load: Load) -> None:
    """An opt-out, then a bad record of the same person, then another good one."""
    load.keep_rejects()
    load.crm.set_switches(refuse_property="bad")
    ended = load(
        COLUMNS,
        KARI,
        ola(1, email_opt_in=False),
        ola(2, bad="yes", city="Bergen"),
        ola(3, city="Oslo"),
        state(bookmark=3),
    ).ok()
    assert load.rejected_ids() == [2]
    assert ola_of(load)["email_opt_in"] is False
    assert ola_of(load)["properties"] == {"city": "Oslo", "id": "3"}
    assert ended.states == [{"bookmark": 3}]


@pytest.mark.parametrize(
    ("count", "bad", "most"),
    [
        pytest.param(12, {0}, 99, id="first"),
        pytest.param(12, {11}, 99, id="last"),
        pytest.param(12, {0, 11}, 99, id="first and last"),
        pytest.param(12, {3, 4, 5}, 99, id="in the middle"),
        pytest.param(12, {0, 2, 4, 6, 8, 10}, 99, id="every second"),
        pytest.param(100, {63}, 22, id="one of a hundred costs few requests"),
    ],
)
def test_the_good_records_of_a_person_are_written_in_their_order(
    load: Load, count: int, bad: set[int], most: int
) -> None:
    load.keep_rejects()
    load.crm.set_switches(refuse_property="bad", refusal_names="none")
    lines = [ola(n, **({"bad": "yes"} if n in bad else {})) for n in range(count)]
    load(COLUMNS, record(id=999, email="kari@example.com"), *lines).ok()
    assert load.rejected_ids() == sorted(bad)
    written = [
        int(value_of(contact, "id") or "")
        for request, contacts in sent(load.crm)
        if request.status == 202
        for contact in contacts
        if contact["email"] == "ola@example.com"
    ]
    assert written == sorted(written)
    assert ola_of(load)["properties"]["id"] == str(max({*range(count)} - bad))
    assert len(load.crm.requests()) <= most


def test_a_merged_contact_is_taken_apart_only_after_it_was_refused_alone(load: Load) -> None:
    server = load.serve(judging(lambda contacts: refusal() if len(contacts) > 1 else None))
    load(COLUMNS, ola(1, city="Oslo"), KARI, ola(3)).ok()
    found = {
        (value_of(contact, "id"), value_of(contact, "city"))
        for request in server.requests
        for contact in contacts_in(request)
        if contact["email"] == "ola@example.com"
    }
    assert found == {("3", "Oslo")}
