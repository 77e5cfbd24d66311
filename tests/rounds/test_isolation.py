"""Exactly the bad contacts are set aside, each refused alone, and few requests find them."""

from __future__ import annotations

import itertools
import random
import typing as t

import pytest

from tests.loads import people
from tests.rounds.sent import contacts_in, judging, refusal, sent, sent_alone

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from tests.broken_server import Reply
    from tests.loads import Load
    from tests.messages import Record


@pytest.fixture(autouse=True)
def _refused_and_kept(load: Load) -> None:
    """The CRM names nobody whom it refuses."""
    load.crm.set_switches(refuse_email="bad", refusal_names="none")
    load.keep_rejects()


@pytest.mark.parametrize(
    ("body", "names"),
    [
        *itertools.product(["envelope", "problem"], ["none", "first", "all"]),
        *[("html", "all"), ("empty", "all")],
    ],
)
def test_exactly_the_bad_ones_are_set_aside(load: Load, body: str, names: str) -> None:
    """1.35 %, some of them neighbours; each was refused alone before it is blamed."""
    load.crm.set_switches(error_body=body, refusal_names=names)
    bad = {5, *random.Random(3).sample(range(1, 1201), 10), 700, 701, 702, 703, 1200}
    ended = load(*people(1200, bad=bad)).ok()
    assert ended.bookmark == 1200
    assert load.rejected_ids() == sorted(bad)
    assert load.numbers() == {*range(1, 1201)} - bad
    refused = {contact["email"] for contact in sent_alone(load.crm, status=422)}
    assert refused == {f"bad{n}@example.com" for n in bad}
    named = names != "none" and body in {"envelope", "problem"}
    assert len(load.crm.requests()) <= (90 if named else 240), "one by one is more"
    rejection = load.rejected()[0]["rejection"]
    assert rejection["code"] == "refused_422"
    assert ("MainBrainer said: " in rejection["reason"]) is (body != "empty")


@pytest.mark.parametrize(
    ("bad", "most"),
    [
        pytest.param(set(random.Random(1).sample(range(1, 2001), 27)), 380, id="1.35 %"),
        pytest.param(set(range(950, 1018)), 300, id="a cluster"),
        pytest.param({1000}, 40, id="one"),
    ],
)
def test_the_search_takes_few_requests(load: Load, bad: set[int], most: int) -> None:
    """It sends batches only, so that the status of each says what became of the contact.

    A good contact is accepted once, but for the few that are sent once more to prove that the
    request is not at fault.
    """
    load(*people(2000, bad=bad)).ok()
    assert load.rejected_ids() == sorted(bad)
    assert load.numbers() == {*range(1, 2001)} - bad
    assert len(load.crm.requests()) <= most
    assert {request.path for request in load.crm.requests()} == {"/contacts/batch"}
    accepted = [len(contacts) for request, contacts in sent(load.crm) if request.status == 202]
    assert 2000 - len(bad) <= sum(accepted) <= 2010 - len(bad)


Judge: t.TypeAlias = "Callable[[list[Record]], Reply | None]"


def refusing(*numbers: int, words: str = "No", status: int = 422, most: int = 0) -> Judge:
    """Refuse a request that has all of these people, or more contacts than so many."""
    them = {f"p{n}@example.com" for n in numbers}

    def judge(contacts: list[Record]) -> Reply | None:
        is_refused = them <= {one["email"] for one in contacts} and len(contacts) > most
        return refusal(words, status) if is_refused else None

    return judge


def test_two_that_are_fine_alone_but_clash_together_both_land(load: Load) -> None:
    load.serve(judging(refusing(3, 7)))
    ended = load(*people(10, every=10)).ok()
    assert (ended.count("accepted"), ended.states) == (10, [{"bookmark": 10}])


# --- Requests that are too large


def test_a_request_that_is_too_large_is_halved(load: Load) -> None:
    server = load.serve(judging(refusing(words="Too large", status=413, most=30)))
    ended = load(*people(400)).ok()
    assert (ended.count("accepted"), ended.bookmark) == (400, 400)
    requests = [contacts_in(request) for request in server.requests]
    landed = [one["email"] for contacts in requests if len(contacts) <= 30 for one in contacts]
    assert sorted(landed) == sorted(f"p{n}@example.com" for n in range(1, 401))
    assert len(requests) <= 28, "each batch, its halves and their halves"


def test_a_contact_that_is_too_large_alone_is_rejected(load: Load) -> None:
    load.serve(judging(refusing(3, words="Too large", status=413)))
    ended = load(*people(10, every=10)).ok()
    assert load.rejected_ids() == [3]
    assert ended.counts["rejected_by_code"] == {"refused_413": 1}


# --- Conflicts


def conflict(times: int) -> Judge:
    """Answer 409 as long as a contact is in the request, alone for a number of times."""
    alone = itertools.count(1)

    def judge(contacts: list[Record]) -> Reply | None:
        is_in = any(one["email"] == "p1@example.com" for one in contacts)
        is_over = is_in and len(contacts) == 1 and next(alone) > times
        return refusal("Busy", 409) if is_in and not is_over else None

    return judge


def test_a_conflict_is_tried_once_more_before_it_counts(load: Load) -> None:
    """Refused with its batch, refused alone, and accepted the next time."""
    server = load.serve(judging(conflict(1)))
    assert load(*people(2, every=2)).ok().count("accepted") == 2
    alone = [contacts_in(request) for request in server.requests]
    assert [one["email"] for (one, *others) in alone if not others].count("p1@example.com") == 2


def test_a_conflict_that_stays_is_a_refusal(load: Load) -> None:
    load.serve(judging(conflict(99)))
    ended = load(*people(20, every=20)).ok()
    assert ended.counts["rejected_by_code"] == {"refused_409": 1}
    assert ended.count("accepted") == 19


# --- Writing one by one


def test_contacts_are_written_one_by_one_only_where_that_is_asked_for(load: Load) -> None:
    load(*people(20), write_mode="single").ok()
    assert {request.path for request in load.crm.requests()} == {"/contacts/insertupdate"}
    assert len(load.numbers()) == 20
