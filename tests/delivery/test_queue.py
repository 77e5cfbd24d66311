"""No contact is overtaken by its own past, and everything else may run side by side."""

from __future__ import annotations

import threading
import typing as t

from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer.delivery import queue
from target_mainbrainer.delivery.batch import Batch, Destination
from target_mainbrainer.delivery.queue import BatchQueue

if t.TYPE_CHECKING:
    import pytest


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
