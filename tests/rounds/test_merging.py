"""Records of one person become one contact, which is what two upserts in a row would make."""

from __future__ import annotations

import itertools
import typing as t

import pytest

from tests.loads import rejected
from tests.messages import record, schema, state
from tests.rounds.sent import contacts_in, judging, refusal, sent, value_of

if t.TYPE_CHECKING:
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.broken_server import Reply, Serve
    from tests.messages import Record, RunTarget

COLUMNS = {
    "id": {"type": "integer"},
    **{name: {} for name in ("contact_id", "email", "mobile", "email_opt_in", "bad", "city")},
}


def test_records_of_one_person_are_merged_and_counted(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """The last value of each field counts, and what a later record lacks stays."""
    ended = run_target(
        schema(COLUMNS),
        record(id=1, email="ola@example.com", city="Oslo", email_opt_in=False),
        record(id=2, email="kari@example.com"),
        record(id=3, email="ola@example.com", city="Hamar"),
        state(bookmark=3),
    ).ok()
    assert (ended.counts["accepted"], ended.counts["merged"]) == (2, 1)
    assert ended.states == [{"bookmark": 3}]
    (ola,) = [one for one in crm.contacts() if one["email"] == "ola@example.com"]
    assert ola["properties"] == {"city": "Hamar", "id": "3"}
    assert ola["email_opt_in"] is False
    assert len(sent(crm)) == 1


def test_no_request_has_anybody_twice(run_target: RunTarget, crm: RunningSandbox) -> None:
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
    pairs = list(itertools.permutations(people, 2))
    lines = [record(id=n, **one) for n, one in enumerate(itertools.chain(*pairs))]
    run_target(schema(COLUMNS), *lines).ok()
    for _, contacts in sent(crm):
        for one, other in itertools.combinations(contacts, 2):
            assert not may_be_one(one, other)


def may_be_one(one: Record, other: Record) -> bool:
    """Tell whether two contacts may be the same one, as far as their request says."""
    identities = [
        (contact.get("mobileNumber"), (contact.get("email") or "").casefold())
        for contact in (one, other)
    ]
    ids = [contact.get("contactId") for contact in (one, other)]
    if None not in ids:
        return ids[0] == ids[1]
    if ids == [None, None]:
        return identities[0] == identities[1]
    return any(a == b and a for a, b in zip(*identities, strict=True))


def test_a_bad_record_of_a_person_takes_no_good_one_with_it(
    run_target: RunTarget, crm: RunningSandbox, rejects: Path
) -> None:
    """An opt-out, then a bad record of the same person, then another good one."""
    crm.set_switches(refuse_property="bad")
    ended = run_target(
        schema(COLUMNS),
        record(id=0, email="p0@example.com"),
        record(id=1, email="ola@example.com", email_opt_in=False),
        record(id=2, email="ola@example.com", bad="yes", city="Bergen"),
        record(id=3, email="ola@example.com", city="Oslo"),
        state(bookmark=3),
    ).ok()
    assert [line["record"]["id"] for line in rejected(rejects)] == [2]
    (ola,) = [c for c in crm.contacts() if c["email"] == "ola@example.com"]
    assert ola["email_opt_in"] is False
    assert ola["properties"] == {"city": "Oslo", "id": "3"}
    assert ended.states == [{"bookmark": 3}]


@pytest.mark.parametrize(
    "bad",
    [{0}, {11}, {0, 11}, {3, 4, 5}, {0, 2, 4, 6, 8, 10}],
    ids=["first", "last", "first and last", "in the middle", "every second"],
)
def test_the_good_records_of_a_person_are_written_in_their_order(
    run_target: RunTarget, crm: RunningSandbox, rejects: Path, bad: set[int]
) -> None:
    crm.set_switches(refuse_property="bad", refusal_names="none")
    lines = [
        record(id=n, email="ola@example.com", **({"bad": "yes"} if n in bad else {}))
        for n in range(12)
    ]
    run_target(schema(COLUMNS), record(id=99, email="kari@example.com"), *lines).ok()
    assert sorted(line["record"]["id"] for line in rejected(rejects)) == sorted(bad)
    written = [
        int(value_of(contact, "id") or "")
        for request, contacts in sent(crm)
        if request.status == 202
        for contact in contacts
        if contact["email"] == "ola@example.com"
    ]
    assert written == sorted(written)
    (ola,) = [one for one in crm.contacts() if one["email"] == "ola@example.com"]
    assert ola["properties"]["id"] == str(max(set(range(12)) - bad))


def test_one_bad_record_of_a_hundred_of_one_person_costs_few_requests(
    run_target: RunTarget, crm: RunningSandbox, rejects: Path
) -> None:
    crm.set_switches(refuse_property="bad", refusal_names="none")
    lines = [
        record(id=n, email="ola@example.com", **({"bad": "yes"} if n == 63 else {}))
        for n in range(100)
    ]
    run_target(schema(COLUMNS), record(id=999, email="kari@example.com"), *lines).ok()
    assert [line["record"]["id"] for line in rejected(rejects)] == [63]
    assert len(crm.requests()) <= 22


def test_a_merged_contact_is_taken_apart_only_after_it_was_refused_alone(
    run_target: RunTarget, serve: Serve
) -> None:
    def judge(contacts: list[Record]) -> Reply | None:
        return refusal() if len(contacts) > 1 else None

    server = serve(judging(judge))
    run_target(
        schema(COLUMNS),
        record(id=1, email="ola@example.com", city="Oslo"),
        record(id=2, email="kari@example.com"),
        record(id=3, email="ola@example.com"),
    ).ok()
    found = [
        (value_of(contact, "id"), value_of(contact, "city"))
        for request in server.requests
        for contact in contacts_in(request)
        if contact["email"] == "ola@example.com"
    ]
    assert set(found) == {("3", "Oslo")}
