"""Exactly the bad contacts are set aside, each refused alone, and few requests find them."""

from __future__ import annotations

import itertools
import random
import typing as t

import pytest

from tests.loads import emails, people, rejected
from tests.rounds.sent import contacts_in, judging, refusal, sent, sent_alone

if t.TYPE_CHECKING:
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.broken_server import Reply, Serve
    from tests.messages import Record, RunTarget


@pytest.mark.parametrize(
    ("body", "names"),
    [
        *itertools.product(["envelope", "problem"], ["none", "first", "all"]),
        *[("html", "all"), ("empty", "all")],
    ],
)
def test_exactly_the_bad_ones_are_set_aside(
    run_target: RunTarget, crm: RunningSandbox, rejects: Path, body: str, names: str
) -> None:
    """1.35 %, some of them neighbours; each was refused alone before it is blamed."""
    crm.set_switches(refuse_email="bad", error_body=body, refusal_names=names)
    bad = {5, *random.Random(3).sample(range(1, 1201), 10), 700, 701, 702, 703, 1200}
    ended = run_target(*people(1200, bad=bad)).ok()
    assert ended.states[-1] == {"bookmark": 1200}
    assert {line["record"]["id"] for line in rejected(rejects)} == bad
    assert len(rejected(rejects)) == len(bad)
    assert emails(crm) == {f"p{n}@example.com" for n in range(1, 1201) if n not in bad}
    assert {contact["email"] for contact in sent_alone(crm, status=422)} == {
        f"bad{n}@example.com" for n in bad
    }
    named = names != "none" and body in {"envelope", "problem"}
    assert len(crm.requests()) <= (90 if named else 240), "one by one is more"


@pytest.mark.parametrize(
    ("bad", "most"),
    [
        pytest.param(set(random.Random(1).sample(range(1, 2001), 27)), 380, id="1.35 %"),
        pytest.param(set(range(950, 1018)), 300, id="a cluster"),
        pytest.param({1000}, 40, id="one"),
    ],
)
def test_the_search_takes_few_requests(
    run_target: RunTarget, crm: RunningSandbox, rejects: Path, bad: set[int], most: int
) -> None:
    """The CRM names nobody."""
    crm.set_switches(refuse_email="bad", refusal_names="none")
    run_target(*people(2000, bad=bad)).ok()
    assert {line["record"]["id"] for line in rejected(rejects)} == bad
    assert len(crm.contacts()) == 2000 - len(bad)
    assert len(crm.requests()) <= most


@pytest.mark.usefixtures("rejects")
def test_a_good_contact_is_accepted_once(run_target: RunTarget, crm: RunningSandbox) -> None:
    """But for the few that are sent once more to prove that the request is not at fault."""
    crm.set_switches(refuse_email="bad", refusal_names="none")
    run_target(*people(500, bad={3, 4, 77, 250, 499})).ok()
    accepted = [
        contact["email"]
        for request, contacts in sent(crm)
        if request.status == 202
        for contact in contacts
    ]
    assert len(set(accepted)) == 495
    assert len(accepted) <= 500


def test_the_reason_that_the_api_gives_is_in_the_rejects_file(
    run_target: RunTarget, crm: RunningSandbox, rejects: Path
) -> None:
    crm.set_switches(refuse_email="bad")
    run_target(*people(30, bad={5})).ok()
    (line,) = rejected(rejects)
    assert line["rejection"]["code"] == "refused_422"
    assert "MainBrainer said: " in line["rejection"]["reason"]


def test_two_that_are_fine_alone_but_clash_together_both_land(
    run_target: RunTarget, serve: Serve
) -> None:
    clashing = {"p3@example.com", "p7@example.com"}

    def judge(contacts: list[Record]) -> Reply | None:
        return refusal() if clashing <= {one["email"] for one in contacts} else None

    serve(judging(judge))
    ended = run_target(*people(10, every=10)).ok()
    assert ended.counts["accepted"] == 10
    assert ended.states == [{"bookmark": 10}]


# --- Requests that are too large


def test_a_request_that_is_too_large_is_halved(run_target: RunTarget, serve: Serve) -> None:
    most = 30

    def judge(contacts: list[Record]) -> Reply | None:
        return refusal("Too large", 413) if len(contacts) > most else None

    server = serve(judging(judge))
    ended = run_target(*people(400)).ok()
    assert ended.counts["accepted"] == 400
    assert ended.states[-1] == {"bookmark": 400}
    landed = [
        contact["email"]
        for request in server.requests
        if len(contacts_in(request)) <= most
        for contact in contacts_in(request)
    ]
    assert sorted(landed) == sorted(f"p{n}@example.com" for n in range(1, 401))
    assert len(server.requests) <= 28, "each batch, its halves and their halves"


def test_a_contact_that_is_too_large_alone_is_rejected(
    run_target: RunTarget, serve: Serve, rejects: Path
) -> None:
    def judge(contacts: list[Record]) -> Reply | None:
        is_in = any(one["email"] == "p3@example.com" for one in contacts)
        return refusal("Too large", 413) if is_in else None

    serve(judging(judge))
    ended = run_target(*people(10, every=10)).ok()
    assert [line["record"]["id"] for line in rejected(rejects)] == [3]
    assert ended.counts["rejected_by_code"] == {"refused_413": 1}


# --- Conflicts


class Conflict:
    """Answers 409 as long as a contact is in the request, alone for a number of times."""

    def __init__(self, times: int) -> None:
        self.times = times

    def __call__(self, contacts: list[Record]) -> Reply | None:
        if all(one["email"] != "p1@example.com" for one in contacts):
            return None
        if len(contacts) == 1:
            self.times -= 1
            if self.times < 0:
                return None
        return refusal("Busy", 409)


def test_a_conflict_is_tried_once_more_before_it_counts(
    run_target: RunTarget, serve: Serve
) -> None:
    """Refused with its batch, refused alone, and accepted the next time."""
    server = serve(judging(Conflict(1)))
    ended = run_target(*people(2, every=2)).ok()
    alone = [contacts_in(request) for request in server.requests]
    assert [one["email"] for (one, *others) in alone if not others].count("p1@example.com") == 2
    assert ended.counts["accepted"] == 2


def test_a_conflict_that_stays_is_a_refusal(run_target: RunTarget, serve: Serve) -> None:
    serve(judging(Conflict(99)))
    ended = run_target(*people(20, every=20))
    assert ended.code == 1
    assert ended.counts["rejected_by_code"] == {"refused_409": 1}
    assert ended.counts["accepted"] == 19


# --- Writing one by one


def test_contacts_are_written_one_by_one_only_where_that_is_asked_for(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    run_target(*people(20), write_mode="single").ok()
    assert {request.path for request in crm.requests()} == {"/contacts/insertupdate"}
    assert len(crm.contacts()) == 20


@pytest.mark.usefixtures("rejects")
def test_the_search_sends_batches_only(run_target: RunTarget, crm: RunningSandbox) -> None:
    """So that every answer has a batch id, and the status says what became of the contact."""
    crm.set_switches(refuse_email="bad")
    run_target(*people(50, bad={5, 6})).ok()
    assert {request.path for request in crm.requests()} == {"/contacts/batch"}
