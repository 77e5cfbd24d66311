"""No contact is blamed for a fault of the request, and no good run ends for bad contacts."""

from __future__ import annotations

import math
import re
import threading
import typing as t

import pytest

from tests.broken_server import BrokenServer
from tests.loads import emails, people, rejected
from tests.messages import person, record, schema, state
from tests.rounds.sent import contacts_in, judging, refusal, sent, sent_alone
from tests.waiting import wait_until

if t.TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.broken_server import Reply, Serve
    from tests.messages import Ended, Record, RunTarget
    from tests.rounds.process import Start

LIST = "3fa85f64-5717-4562-b3fc-2c963f66afa6"


def is_told(ended: Ended) -> bool:
    """Tell whether the error says that the request is at fault, in one of the ways it may."""
    return bool(re.search(r"MainBrainer refuse|refused in the same words", ended.error))


FAULTS_OF_THE_REQUEST = [
    pytest.param({"known_lists": "8c5f64fa-0000-4562-b3fc-2c963f66afa6"}, id="wrong list"),
    pytest.param({"faults": ["422"]}, id="account 422"),
    pytest.param({"faults": ["409"], "error_body": "empty"}, id="account 409, no words"),
    pytest.param({"faults": ["403"]}, id="account 403"),
    pytest.param({"faults": ["402"], "error_body": "html"}, id="account 402, html"),
]


@pytest.mark.parametrize("switches", FAULTS_OF_THE_REQUEST)
@pytest.mark.parametrize(("mode", "most"), [("batch", 60), ("single", 60)])
def test_a_request_at_fault_blames_nobody(
    run_target: RunTarget,
    start_crm: Callable[..., RunningSandbox],
    rejects: Path,
    switches: dict[str, t.Any],
    mode: str,
    most: int,
) -> None:
    """Each batch may be sent once before the search begins."""
    crm = start_crm(plan="unlimited", **switches)
    count = 2000 if mode == "batch" else 20
    ended = run_target(
        *people(count), api_url=crm.url, access_token=crm.token, list_id=LIST, write_mode=mode
    )
    assert ended.code == 1
    assert is_told(ended)
    assert ended.states == []
    assert rejects.read_text() == ""
    assert len(crm.requests()) <= most


@pytest.mark.parametrize("size", [1, 5, 9])
def test_small_batches_blame_nobody_either(
    run_target: RunTarget, crm: RunningSandbox, rejects: Path, size: int
) -> None:
    crm.set_faults("422")
    ended = run_target(*people(200), batch_size_rows=size)
    assert ended.code == 1
    assert is_told(ended)
    assert ended.states == []
    assert rejects.read_text() == ""
    assert len(crm.requests()) <= math.ceil(200 / size) + 30


@pytest.mark.usefixtures("rejects")
@pytest.mark.parametrize("bad", [1, 7, 9])
def test_a_few_contacts_refused_alike_are_rejected_if_others_are_accepted(
    run_target: RunTarget, crm: RunningSandbox, bad: int
) -> None:
    """Fewer than ten cannot accuse the request."""
    crm.set_switches(refuse_email="bad")
    ended = run_target(*people(20, every=20, bad=range(bad + 1))).ok()
    assert ended.counts["rejected"] == bad
    assert ended.states == [{"bookmark": 20}]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_run_that_was_refused_everything_in_the_same_words_fails(
    run_target: RunTarget, crm: RunningSandbox, tmp_path: Path, count: int
) -> None:
    """Be it one contact: it is settled in a night in which another one is accepted."""
    crm.set_switches(refuse_email="bad")
    path = tmp_path / "rejects.singer"
    own = {"api_url": crm.url, "access_token": crm.token, "rejects_path": str(path)}
    ended = run_target(*people(count, every=count, bad=range(count + 1)), **own)
    assert ended.code == 1
    assert ended.states == []
    assert ended.last.startswith("FAILED: nothing was accepted: ")
    assert path.read_text() == ""
    lines = people(count, every=count, bad=range(count + 1))
    ended = run_target(*lines, person(99), state(bookmark=99), **own, max_rejects_percent=100).ok()
    assert ended.states[-1] == {"bookmark": 99}
    assert ended.counts["rejected"] == count


@pytest.mark.usefixtures("rejects")
def test_a_run_of_which_nothing_was_accepted_is_never_ok(
    run_target: RunTarget, serve: Serve
) -> None:
    """Not even if each contact was refused for a reason of its own."""

    def judge(contacts: list[Record]) -> Reply:
        return refusal(f"Not {contacts[0]['email'].partition('@')[0]}")

    serve(judging(judge))
    ended = run_target(*people(3, every=3), max_rejects_percent=100)
    assert not ended.last.startswith("OK")


def test_contacts_refused_in_words_of_their_own_are_rejected(
    run_target: RunTarget, serve: Serve, rejects: Path
) -> None:
    """However many they are, if others are accepted."""

    def judge(contacts: list[Record]) -> Reply | None:
        for one in contacts:
            if one["email"].startswith("bad"):
                return refusal(f"Not {one['email'].partition('@')[0]}")
        return None

    serve(judging(judge))
    run_target(*people(60, every=60, bad=range(21)), batch_size_rows=10).ok()
    assert {line["record"]["id"] for line in rejected(rejects)} == set(range(1, 21))


# --- A fault that begins in the middle


@pytest.mark.parametrize(
    ("first", "in_flight", "most"),
    [(13, 1, 60), (14, 1, 60), (15, 1, 60), (14, 4, 60), (14, 20, 90)],
)
def test_a_fault_that_begins_in_the_middle_blames_nobody_either(
    run_target: RunTarget, crm: RunningSandbox, rejects: Path, first: int, in_flight: int, most: int
) -> None:
    """What passed before it proves nothing, nor does a contact that was being searched for."""
    crm.set_switches(refuse_email="bad")
    crm.set_faults(f"422@{first}-99999", "latency=0.01-0.03")
    ended = run_target(*people(3000, bad={520}), max_concurrent_requests=in_flight)
    assert ended.code == 1
    assert is_told(ended)
    assert {line["record"]["id"] for line in rejected(rejects)} <= {520}
    assert len(crm.requests()) - first + 1 <= most
    last = ended.states[-1]["bookmark"] if ended.states else 0
    assert {f"p{n}@example.com" for n in range(1, last + 1) if n != 520} <= emails(crm)


@pytest.mark.parametrize("last", [1, 7, 40])
def test_a_fault_that_begins_with_the_last_contacts_blames_none_of_them(
    run_target: RunTarget, crm: RunningSandbox, rejects: Path, last: int
) -> None:
    """However few they are: a contact that passed before shows that it is not their fault."""
    crm.set_faults("422@6-99999")
    ended = run_target(*people(500 + last, every=500), max_concurrent_requests=1)
    assert ended.code == 1
    assert is_told(ended)
    assert rejected(rejects) == []
    assert ended.states[-1] == {"bookmark": 500}


def test_only_what_was_sent_after_a_refusal_shows_that_it_was_the_contacts_fault(
    run_target: RunTarget, serve: Serve, rejects: Path
) -> None:
    """An answer may have been under way while the fault began."""
    alone: list[str] = []
    is_under_way, are_refused = threading.Event(), threading.Event()

    def judge(contacts: list[Record]) -> Reply | None:
        if any(one["email"] == "p1@example.com" for one in contacts) and not alone:
            is_under_way.set()
            are_refused.wait(1)
            return None
        is_under_way.wait(10)
        if len(contacts) == 1:
            alone.append(contacts[0]["email"])
            if len(alone) == 5:
                are_refused.set()
        return refusal()

    serve(judging(judge))
    ended = run_target(*people(10, every=5), batch_size_rows=5, max_concurrent_requests=2)
    assert ended.code == 1
    assert is_told(ended)
    assert rejects.read_text() == ""
    assert ended.states == [{"bookmark": 5}]


def test_one_list_at_fault_does_not_accuse_another(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """The other list's contacts that are in flight land; the run ends."""
    other = "00000000-0000-4000-8000-000000000001"
    crm.set_switches(known_lists=LIST)
    columns = {"id": {"type": "integer"}, "email": {}, "list": {}}
    lines = [
        record(id=n, email=f"p{n}@example.com", list=LIST if n % 2 else other) for n in range(400)
    ]
    ended = run_target(schema(columns), *lines, field_map={"list": "list_id"})
    assert ended.code == 1
    assert other in ended.error
    assert ended.counts["rejected"] == 0


# --- Bad contacts in a row

NEIGHBOURS = [
    (range(1, 11), 10),
    (range(151, 351), 100),
    (range(1, 31), 5),
    (range(1, 151), 100),
    (range(1, 31), 1),
    (range(451, 501), 20),
]


@pytest.mark.parametrize(
    ("bad", "size", "mode"),
    [(*one, "batch") for one in NEIGHBOURS] + [(*one, "single") for one in NEIGHBOURS[:2]],
)
def test_bad_neighbours_never_end_a_good_run(
    run_target: RunTarget, crm: RunningSandbox, rejects: Path, bad: range, size: int, mode: str
) -> None:
    """They are refused alike and one after the other, but not all at hand are."""
    crm.set_switches(refuse_email="bad")
    ended = run_target(*people(500, bad=bad), batch_size_rows=size, write_mode=mode).ok()
    assert ended.states[-1] == {"bookmark": 500}
    assert {line["record"]["id"] for line in rejected(rejects)} == set(bad)
    assert ended.counts["accepted"] == 500 - len(bad)
    assert emails(crm) == {f"p{n}@example.com" for n in range(1, 501) if n not in bad}


# --- Who is sent once more


@pytest.mark.usefixtures("rejects")
def test_a_contact_that_is_sent_once_more_is_sent_as_it_was(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """Good ones come first, so that one of them is asked about the bad ones after them."""
    crm.set_switches(refuse_email="bad")
    run_target(*people(60, bad=range(41, 61)), batch_size_rows=20, max_concurrent_requests=1).ok()
    bodies: dict[str, list[Record]] = {}
    for request, contacts in sent(crm):
        for contact in contacts if request.status == 202 else ():
            bodies.setdefault(contact["email"], []).append(contact)
    assert len(bodies) == 40
    again = [copies for copies in bodies.values() if len(copies) > 1]
    assert again, "nobody was sent once more, so this shows nothing"
    assert all(one == copies[0] for copies in again for one in copies)
    assert len([email for email in bodies if len(bodies[email]) > 1]) <= 10
    assert {one["email"] for one in sent_alone(crm, status=422)} == {
        f"bad{n}@example.com" for n in range(41, 61)
    }


@pytest.mark.usefixtures("rejects")
def test_nobody_is_sent_once_more_after_newer_data_of_them(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """Everybody who passed comes a second time, spelt otherwise, before the bad ones do."""
    crm.set_switches(refuse_email="bad")
    columns = {"id": {"type": "integer"}, "email": {}}
    lines = [record(id=n, email=f"{p}{n}@example.com") for p in "pP" for n in range(40)]
    lines += [record(id=n, email=f"bad{n}@example.com") for n in range(40, 60)]
    ended = run_target(schema(columns), *lines, batch_size_rows=20).ok()
    assert ended.counts["rejected"] == 20
    newer: set[str] = set()
    for _, contacts in sent(crm):
        spelt = {one["email"] for one in contacts}
        assert not newer & spelt
        newer |= {email.lower() for email in spelt if email.startswith("P")}


@pytest.mark.usefixtures("rejects")
def test_merged_records_are_never_undone_by_who_is_sent_once_more(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    crm.set_switches(refuse_email="bad")
    columns = {"id": {"type": "integer"}, "email": {}, "firstname": {}}
    lines = [
        record(id=n, email=f"p{n}@example.com", firstname=word)
        for word in ("old", "new")
        for n in range(40)
    ]
    lines += [record(id=n, email=f"bad{n}@example.com", firstname="x") for n in range(40, 60)]
    ended = run_target(schema(columns), *lines, batch_size_rows=20).ok()
    assert {c["properties"]["firstname"] for c in crm.contacts()} == {"new"}
    assert ended.counts["rejected"] == 20


def test_a_silent_tap_is_not_waited_for(start: Start) -> None:
    """The request is at fault, and the tap says nothing more: the run fails all the same."""
    with BrokenServer(lambda _: refusal()) as server:
        process = start(api_url=server.url, batch_size_rows=15)
        process.feed([schema(), *(person(n) for n in range(30)), state(bookmark=30)])
        wait_until(
            lambda: [len(contacts_in(request)) for request in server.requests].count(1) >= 10,
            "nobody was asked alone",
        )
        process.close_input()
        assert process.end() == []
    assert process.popen.returncode == 1
    assert "MainBrainer refuse" in process.log.read_text()
