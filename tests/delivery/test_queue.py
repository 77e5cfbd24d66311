"""No contact is overtaken by its own past, and everything else may run side by side."""

from __future__ import annotations

import threading
import time
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer.delivery import queue
from target_mainbrainer.delivery.batch import Batch, Destination
from target_mainbrainer.delivery.queue import BatchQueue
from tests.waiting import wait_until


def batch(*keys: t.Hashable) -> Batch:
    return Batch([], set(keys), Destination(None, None), t.cast("t.Any", None))


@given(st.data(), st.lists(st.sets(st.integers(0, 6), min_size=1, max_size=3), max_size=25))
def test_batches_that_share_an_identifier_go_one_after_the_other_in_input_order(
    data: st.DataObject, all_keys: list[set[int]]
) -> None:
    line = BatchQueue(lambda: 96)
    batches = [batch(*keys) for keys in all_keys]
    for item in batches:
        assert line.put(item, wait_seconds=0)
    in_hand: list[Batch] = []
    done: list[Batch] = []
    while len(done) < len(batches):
        may_take = line.wants_workers(0)
        if may_take and (not in_hand or data.draw(st.booleans())):
            taken = line.take()
            assert taken is not None
            assert all(not (taken.keys & other.keys) for other in in_hand)
            earlier = batches[: batches.index(taken)]
            assert all(other in done for other in earlier if other.keys & taken.keys)
            in_hand.append(taken)
        else:
            finished = in_hand.pop(data.draw(st.integers(0, len(in_hand) - 1)))
            line.done(finished)
            done.append(finished)
    assert line.wait_until_done(0)


def test_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MIN_CONTACTS", 0)
    line = BatchQueue(lambda: 1)
    places = 1 + queue.READY_BATCHES
    for number in range(places):
        assert line.put(batch(number), wait_seconds=0)
    assert not line.put(batch("more"), wait_seconds=0)
    taken = line.take()
    assert taken is not None
    assert not line.put(batch("more"), wait_seconds=0), "a batch in hand still takes a place"
    line.done(taken)
    assert line.put(batch("more"), wait_seconds=0)


def test_a_closed_line_hands_out_nothing_more() -> None:
    line = BatchQueue(lambda: 5)
    line.put(batch("a"), wait_seconds=0)
    line.put(batch("b"), wait_seconds=0)
    taken = line.take()
    assert taken is not None
    waiting = threading.Thread(target=line.wait_until_done, args=(5,))
    line.close()
    waiting.start()
    assert line.take() is None
    line.done(taken)
    waiting.join(5)
    assert not waiting.is_alive(), "what is not in hand is not waited for"


def taken_by_threads(line: BatchQueue, count: int) -> list[Batch]:
    """Let so many threads wait for a batch, and return the list they put what they take in."""
    taken: list[Batch] = []

    def take() -> None:
        if (item := line.take()) is not None:
            taken.append(item)

    for _ in range(count):
        threading.Thread(target=take, daemon=True).start()
    return taken


def test_one_batch_that_becomes_free_is_taken_and_several_are_taken_at_once() -> None:
    line = BatchQueue(lambda: 10)
    first = batch("a", "b", "c")
    line.put(first, wait_seconds=0)
    assert line.take() is first
    later = [batch("a"), batch("b"), batch("c")]
    for item in later:
        line.put(item, wait_seconds=0)
    taken = taken_by_threads(line, 4)
    line.done(first)
    wait_until(lambda: len(taken) == 3)
    assert set(taken) == set(later)
    one = batch("d")
    line.put(one, wait_seconds=0)
    wait_until(lambda: taken[-1] is one)


def test_one_free_place_wakes_one_worker() -> None:
    """Those that wake in vain ask how many may be in flight."""
    asked = 0

    def one() -> int:
        nonlocal asked
        asked += 1
        return 1

    line = BatchQueue(one)
    first = batch("first")
    line.put(first, wait_seconds=0)
    assert line.take() is first
    for number in range(12):
        line.put(batch(number), wait_seconds=0)
    taken = taken_by_threads(line, 12)
    wait_until(lambda: not line.wants_workers(0), "not all wait")
    asked = 0
    line.done(first)
    wait_until(lambda: len(taken) == 1)
    time.sleep(0.1)  # for others to wake in vain, which nothing tells
    assert asked <= 6
    line.close()


def test_no_more_are_in_flight_than_may_be_and_that_may_change() -> None:
    allowed = 1
    line = BatchQueue(lambda: allowed)
    batches = [batch(number) for number in range(4)]
    for item in batches:
        line.put(item, wait_seconds=0)
    taken = taken_by_threads(line, 4)
    wait_until(lambda: len(taken) == 1)
    allowed = 3
    line.done(taken[0])
    wait_until(lambda: len(taken) == 4)
    allowed = 0
    line.done(taken[1])
    line.put(batch("late"), wait_seconds=0)
    assert not line.wants_workers(0)
    allowed = 4
    assert line.wants_workers(3)


@pytest.mark.parametrize("bound", ["MAX_CONTACTS", "MAX_BYTES"])
def test_memory_is_bounded_whatever_the_number_of_batches(
    monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(queue, bound, 10)
    line = BatchQueue(lambda: 1000)
    size = {"MAX_CONTACTS": 0, "MAX_BYTES": 4}[bound]

    def large(key: int) -> Batch:
        contacts = t.cast("t.Any", [None] * 6)
        return Batch(contacts, {key}, Destination(None, None), t.cast("t.Any", None), size)

    assert line.put(large(1), wait_seconds=0)
    assert line.put(large(2), wait_seconds=0)
    assert not line.put(large(3), wait_seconds=0)
    first = line.take()
    assert first is not None
    line.done(first)
    assert line.put(large(3), wait_seconds=0)


def test_the_bytes_in_the_queue_never_pass_their_bound_but_for_one_batch_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queue, "MAX_BYTES", 10)
    line = BatchQueue(lambda: 1000)

    def of_bytes(key: int, size: int) -> Batch:
        contacts = [t.cast("t.Any", None)]
        return Batch(contacts, {key}, Destination(None, None), t.cast("t.Any", None), size)

    assert line.put(of_bytes(1, 6), wait_seconds=0)
    assert not line.put(of_bytes(2, 6), wait_seconds=0)
    first = line.take()
    assert first is not None
    line.done(first)
    assert line.put(of_bytes(2, 11), wait_seconds=0)


def test_small_batches_leave_room_for_enough_contacts_to_choose_witnesses_from() -> None:
    line = BatchQueue(lambda: 1)
    count = 0
    while line.put(
        Batch([t.cast("t.Any", None)], {count}, Destination(None, None), t.cast("t.Any", None)),
        wait_seconds=0,
    ):
        count += 1
    assert count == queue.MIN_CONTACTS
