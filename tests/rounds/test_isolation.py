"""Exactly the bad contacts are set aside, and none is blamed for a fault of the request."""

import itertools
import math
import random
import threading
import typing as t
from collections.abc import Callable

import pytest

from tests.broken_server import Reply
from tests.loads import Load, Record, cases, people, wait_until
from tests.rounds.process import Start
from tests.rounds.sent import contacts_in, in_letters, judging, refusal, refused_alone, sent


@pytest.fixture(autouse=True)
def _refused_and_kept(load: Load) -> None:
    load.crm.set_switches(refuse_email="bad")
    load.keep_rejects()


SOME = {5, *random.Random(3).sample(range(1, 1201), 10), 700, 701, 702, 703, 1200}
FORMS = itertools.product(["envelope", "problem"], ["none", "first", "all"])
TWO_THOUSAND = ("envelope", "none", 2000)


@cases(
    "body names count bad most",
    *((*form, 1200, SOME, 240 if form[1] == "none" else 90) for form in FORMS),
    *((body, "all", 1200, SOME, 240) for body in ("html", "empty")),
    (*TWO_THOUSAND, {1000}, 40),
    (*TWO_THOUSAND, {*range(950, 1018)}, 300),
    (*TWO_THOUSAND, {*random.Random(1).sample(range(1, 2001), 27)}, 380),
)
def test_exactly_the_bad_ones_are_set_aside(
    load: Load, body: str, names: str, count: int, bad: set[int], most: int
) -> None:
    """In few requests, which are batches; each is refused alone before it is blamed.

    1.35 %, some of them neighbours, one, or a cluster. A good contact is accepted once, but for
    the few that are sent once more to prove that the request is not at fault.
    """
    load.crm.set_switches(error_body=body, refusal_names=names)
    assert load(people(count, bad=bad)).ok().bookmark == count
    assert load.rejected_ids() == sorted(bad)
    assert load.numbers() == {*range(1, count + 1)} - bad
    assert refused_alone(load.crm) == {f"bad{n}@example.com" for n in bad}
    assert len(load.crm.requests()) <= most, "one by one is more"
    assert {request.path for request in load.crm.requests()} == {"/contacts/batch"}
    accepted = [len(contacts) for request, contacts in sent(load.crm) if request.status == 202]
    assert 0 <= sum(accepted) - (count - len(bad)) <= 10
    rejection = load.rejected()[0]["rejection"]
    assert rejection["code"] == "refused_422"
    assert ("MainBrainer said: " in rejection["reason"]) is (body != "empty")


Judge: t.TypeAlias = Callable[[list[Record]], Reply | None]


def refusing(*numbers: int, words: str = "No", status: int = 422, most: int = 0) -> Judge:
    """Refuse a request that has all of these people, or more contacts than so many."""
    them = {f"p{n}@example.com" for n in numbers}

    def judge(contacts: list[Record]) -> Reply | None:
        is_refused = them <= {one["email"] for one in contacts} and len(contacts) > most
        return refusal(words, status) if is_refused else None

    return judge


def test_two_that_are_fine_alone_but_clash_together_both_land(load: Load) -> None:
    load.serve(judging(refusing(3, 7)))
    ended = load(people(10, every=10)).ok()
    assert (ended.count("accepted"), ended.states) == (10, [{"bookmark": 10}])


# --- Requests that are too large


def test_a_request_that_is_too_large_is_halved(load: Load) -> None:
    server = load.serve(judging(refusing(words="Too large", status=413, most=30)))
    ended = load(people(400)).ok()
    assert (ended.count("accepted"), ended.bookmark) == (400, 400)
    requests = [contacts_in(request) for request in server.requests]
    landed = [one["email"] for contacts in requests if len(contacts) <= 30 for one in contacts]
    assert sorted(landed) == sorted(f"p{n}@example.com" for n in range(1, 401))
    assert len(requests) <= 28, "each batch, its halves and their halves"


def test_a_contact_that_is_too_large_alone_is_rejected(load: Load) -> None:
    load.serve(judging(refusing(3, words="Too large", status=413)))
    ended = load(people(10, every=10)).ok()
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


@cases("refusals rejected", (1, {}), (99, {"refused_409": 1}))
def test_a_conflict_is_tried_once_more(load: Load, refusals: int, rejected: Record) -> None:
    """Refused with its batch and alone, and then accepted, or not."""
    server = load.serve(judging(conflict(refusals)))
    ended = load(people(20, every=20)).ok()
    assert ended.counts["rejected_by_code"] == rejected
    assert ended.count("accepted") == 20 - len(rejected)
    alone = [contacts_in(request) for request in server.requests]
    assert [one["email"] for (one, *others) in alone if not others].count("p1@example.com") == 2


# A request at fault


LIST = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
OTHER_LIST = "00000000-0000-4000-8000-000000000001"


@cases(
    "faults switches",
    ("", {"known_lists": "8c5f64fa-0000-4562-b3fc-2c963f66afa6"}),
    *(("409", {"error_body": "empty"}), ("402", {"error_body": "html"})),
    *(("422", {}), ("403", {})),
)
@cases(
    "mode count size",
    ("batch", 2000, 100),
    ("single", 20, 1),
    *(("batch", 200, size) for size in (1, 5, 9)),
)
def test_a_faulty_request_rejects_no_contact(
    load: Load, faults: str, switches: Record, mode: str, count: int, size: int
) -> None:
    """A wrong list, or the account. Each batch may be sent once before the search begins."""
    load.crm.set_switches(**switches)
    load.settings |= {"list_id": LIST, "write_mode": mode, "batch_size_rows": size}
    ended = load(people(count), faults=faults)
    ended.failed("refuse")
    assert (ended.states, load.rejected()) == ([], [])
    assert len(load.crm.requests()) <= math.ceil(count / size) + 30


def in_words_of_its_own(contacts: list[Record]) -> Reply | None:
    """Refuse a bad contact in a way that no other is refused."""
    bad = [one["email"][3:].partition("@")[0] for one in contacts if one["email"][0] == "b"]
    return refusal(f"Not {in_letters(int(bad[0]))}") if bad else None


@cases("bad good", (3, 0), (20, 40))
def test_contacts_refused_in_words_of_their_own(load: Load, bad: int, good: int) -> None:
    """However many they are; a run of which nothing was accepted is never OK."""
    load.serve(judging(in_words_of_its_own))
    some = people(bad + good, every=60, bad=range(bad + 1))
    ended = load(some, batch_size_rows=10, max_rejects_percent=100)
    assert ended.last.startswith("OK" if good else "FAILED")
    if good:
        assert load.rejected_ids() == [*range(1, bad + 1)]
    else:
        ended.failed("all 3 contacts sent were refused. ")


# --- A fault that begins in the middle


@cases("first in_flight most", (13, 1, 60), (14, 1, 60), (15, 1, 60), (14, 4, 60), (14, 20, 90))
def test_a_late_fault_rejects_no_contact(load: Load, first: int, in_flight: int, most: int) -> None:
    """What passed before it proves nothing, nor does a contact that was being searched for."""
    faults = f"422@{first}-99999 latency=0.01-0.03"
    ended = load(people(3000, bad={520}), faults=faults, max_concurrent_requests=in_flight)
    ended.failed("refuse")
    assert load.rejected_ids() in ([], [520])
    assert len(load.crm.requests()) - first + 1 <= most
    assert {*range(1, ended.bookmark + 1)} - {520} <= load.numbers()


def test_only_what_was_sent_after_a_refusal_shows_whose_fault_it_was(load: Load) -> None:
    """An answer may have been under way while the fault began."""
    alone: list[str] = []
    is_under_way, are_refused = threading.Event(), threading.Event()

    def judge(contacts: list[Record]) -> Reply | None:
        if any(one["email"] == "p1@example.com" for one in contacts) and not alone:
            is_under_way.set()
            are_refused.wait(30)
            return None
        is_under_way.wait(10)
        if len(contacts) == 1:
            alone.append(contacts[0]["email"])
            if len(alone) == 5:
                are_refused.set()
        return refusal()

    load.serve(judging(judge))
    ended = load(people(10, every=5), batch_size_rows=5, max_concurrent_requests=2)
    ended.failed("refuse")
    assert (ended.states, load.rejected()) == ([{"bookmark": 5}], [])


def test_one_list_at_fault_does_not_stop_another(load: Load) -> None:
    """The other list's contacts that are in flight land; the run ends."""
    load.crm.set_switches(known_lists=LIST)
    lines = f"0-199 p# list={LIST}, 200-399 p# list={OTHER_LIST}"
    ended = load(lines, field_map={"list": "list_id"}).failed(OTHER_LIST)
    assert ended.count("rejected") == 0


# --- Bad contacts in a row


@cases(
    "bad size mode",
    *((range(1, 11), 10, "batch"), (range(151, 351), 100, "batch"), (range(1, 31), 5, "batch")),
    *((range(1, 151), 100, "batch"), (range(1, 31), 1, "batch"), (range(451, 501), 20, "batch")),
    *((range(1, 11), 10, "single"), (range(151, 351), 100, "single")),
)
def test_bad_neighbours_never_end_a_good_run(load: Load, bad: range, size: int, mode: str) -> None:
    """They are refused alike and one after the other, but not all at hand are."""
    load.settings["max_rejects_percent"] = 0  # which counts those alone that were not sent
    ended = load(people(500, bad=bad), batch_size_rows=size, write_mode=mode).ok()
    assert (ended.bookmark, ended.count("accepted")) == (500, 500 - len(bad))
    assert load.rejected_ids() == [*bad]
    assert load.numbers() == {*range(1, 501)} - {*bad}


# --- Who is sent once more


def test_a_contact_that_is_sent_once_more_is_sent_as_it_was_but_for_a_yes(load: Load) -> None:
    """Good ones come first, so that one of them is asked about the bad ones after them.

    Its batch may fail afterwards, and its yes be given again after the person has unsubscribed, so
    that only the batch may give it. Found by year 8452063.
    """
    load.settings |= {"batch_size_rows": 20, "max_concurrent_requests": 1}
    load("1-40 p# yes nosms, 41-60 bad# yes nosms").ok()
    bodies: dict[str, list[Record]] = {}
    for request, contacts in sent(load.crm):
        for contact in contacts if request.status == 202 else ():
            bodies.setdefault(contact["email"], []).append(contact)
    assert len(bodies) == 40
    again = [copies for copies in bodies.values() if len(copies) > 1]
    assert [copies[0]["email"] for copies in again] == ["p40@example.com"], "the last one"
    for first, *copies in again:
        assert first.pop("emailOptIn") is True
        assert all(copy == first for copy in copies)
    assert refused_alone(load.crm) == {f"bad{n}@example.com" for n in range(41, 61)}


@cases("letters", "pP", "pp")
def test_no_contact_is_sent_again_after_its_newer_data(load: Load, letters: str) -> None:
    """Everybody who passed comes a second time, spelt otherwise or not, before the bad ones do."""
    text = f"0-39 {letters[0]}# =old, 0-39 {letters[1]}# =new, 40-59 bad#"
    assert load(text, batch_size_rows=20).ok().count("rejected") == 20
    newer: set[str] = set()
    for _, contacts in sent(load.crm):
        assert not newer & {one["email"] for one in contacts}
        newer |= {one["email"].lower() for one in contacts if one["email"].startswith("P")}
    if letters == "pp":
        assert {c["properties"]["firstname"] for c in load.crm.contacts()} == {"new"}


def test_a_silent_tap_is_not_waited_for(load: Load, start: Start) -> None:
    """The request is at fault, and the tap writes nothing more: the run fails all the same."""
    server = load.serve(lambda _: refusal())
    process = start(api_url=server.url, batch_size_rows=15)
    process.feed("0-29 p#")
    wait_until(
        lambda: [len(contacts_in(request)) for request in server.requests].count(1) >= 10,
        "no contact was sent alone",
    )
    process.close_input()
    process.failed("MainBrainer refuse")
    assert process.states == []
