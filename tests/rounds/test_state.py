"""STATE is never ahead of what is delivered, and follows it while the run goes on."""

from __future__ import annotations

import typing as t

import pytest

from tests.broken_server import OK, Reply
from tests.loads import people
from tests.messages import person, record, schema, state
from tests.rounds.sent import contacts_in, judging, refusal

if t.TYPE_CHECKING:
    from tests.broken_server import Request
    from tests.loads import Load
    from tests.messages import Record
    from tests.rounds.process import Start


def test_every_state_is_behind_the_contacts_when_it_is_written(start: Start) -> None:
    """In the middle of a run, with refusals, retries and lost answers."""
    faults = "latency=0-0.1 503@p0.05 reset@p0.05 lost@p0.03"
    process = start(faults=faults, batch_size_rows=10, max_concurrent_requests=8)
    process.feed_endlessly()
    for _ in range(2):
        process.next_state()
        assert process.is_behind()
    assert process.states == sorted(set(process.states))
    process.send("KILL")


@pytest.mark.parametrize("batch", range(4))
def test_state_stays_before_a_batch_that_does_not_get_through(load: Load, batch: int) -> None:
    """All others do, some before and some after it."""
    first = f"p{batch * 10 + 1}@example.com"

    def answer(request: Request) -> Reply:
        is_it = any(one["email"] == first for one in contacts_in(request))
        return Reply(then="reset") if is_it else OK

    load.serve(answer)
    load.settings |= {"batch_size_rows": 10, "max_concurrent_requests": 4}
    ended = load(*people(40, every=5), retry_max_seconds=1)
    assert ended.code == 1
    assert ended.bookmark <= batch * 10
    assert ended.count("undelivered") >= 10


def test_state_comes_once_and_in_order(load: Load) -> None:
    ended = load(*people(500, every=7), faults="latency=0-0.05", batch_size_rows=10).ok()
    bookmarks = [written["bookmark"] for written in ended.states]
    assert bookmarks == sorted(set(bookmarks))
    assert bookmarks[-1] == 497


def test_the_newest_of_several_states_is_written(load: Load) -> None:
    before, after = state(bookmark=0, more="x"), (state(bookmark=4), state(bookmark=5))
    assert load(before, *people(3, every=3), *after).ok().states[-1] == {"bookmark": 5}


def test_records_after_the_last_state_hold_nothing_back(load: Load) -> None:
    def judge(contacts: list[Record]) -> Reply | None:
        is_in = any(one["email"] == "p4@example.com" for one in contacts)
        return refusal() if is_in else None

    load.serve(judging(judge))
    ended = load(*people(3, every=3), person(4))
    assert ended.code == 1, "one was rejected, and none may be"
    assert ended.states == [{"bookmark": 3}]


def test_omitted_and_merged_and_rejected_records_hold_nothing_back(load: Load) -> None:
    load.keep_rejects()
    ended = load(
        schema(),
        person(1),
        person(1, firstname="again"),
        person(2, email=None),
        person(3, _sdc_deleted_at="2026-01-01T00:00:00Z"),
        state(bookmark=3),
    ).ok()
    assert ended.states == [{"bookmark": 3}]


def test_a_record_of_one_stream_holds_back_the_state_of_all(load: Load) -> None:
    load.settings |= {"batch_size_rows": 10, "max_concurrent_requests": 1, "retry_max_seconds": 1}
    ended = load(
        schema(),
        schema(stream="members"),
        person(1),
        state(bookmark=1),
        *(record("members", id=n, email=f"m{n}@example.com") for n in range(10)),
        state(bookmark=2),
        *(person(n) for n in range(2, 12)),
        state(bookmark=3),
        faults="503@2-99",
    )
    assert ended.code == 1
    assert ended.states in ([], [{"bookmark": 1}])


# --- A tap that pauses


@pytest.mark.parametrize(
    ("is_quick", "size"),
    [
        pytest.param(False, 7, id="a full batch, with all pauses as they are"),
        pytest.param(False, 100, id="part of one, after ten seconds, as the settings' page says"),
        pytest.param(True, 100, id="part of one after a while, and what comes then"),
    ],
)
def test_contacts_and_state_leave_while_the_tap_is_silent(
    start: Start, is_quick: bool, size: int
) -> None:
    """While the input is still open."""
    process = start(is_quick=is_quick, batch_size_rows=size)
    process.feed([schema(), *(person(n) for n in range(1, 8)), state(bookmark=7)])
    assert process.next_state() == {"bookmark": 7}
    assert len(process.crm.contacts()) == 7
    assert process.popen.poll() is None
    if is_quick:
        process.feed([person(8), state(bookmark=8)])
        assert process.next_state() == {"bookmark": 8}
