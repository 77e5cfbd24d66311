"""STATE is never ahead of what is settled."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer.singer.records import SourceRecord
from target_mainbrainer.singer.state import StateTracker


@given(st.data(), st.lists(st.integers(0, 5), max_size=12))
def test_a_state_is_due_exactly_when_all_records_before_it_are_settled(
    data: st.DataObject, sizes: list[int]
) -> None:
    state_tracker = StateTracker()
    source_records = []
    for number, size in enumerate(sizes):
        for _ in range(size):
            state_tracker.interval.read += 1
            source_records.append((number, SourceRecord(state_tracker.interval, 1, b"")))
        state_tracker.close_interval({"bookmark": number})
    settled: list[int] = []
    written = -1
    for number, source_record in [(-1, None), *data.draw(st.permutations(source_records))]:
        if source_record is not None:
            state_tracker.settle([source_record])
            settled.append(number)
        due = state_tracker.take_due()
        open_epochs = [n for n, size in enumerate(sizes) if settled.count(n) < size]
        newest = (open_epochs[0] if open_epochs else len(sizes)) - 1
        if newest > written:
            assert due == {"bookmark": newest}
            written = newest
        else:
            assert due is None


def test_records_after_the_last_state_hold_nothing_back() -> None:
    state_tracker = StateTracker()
    state_tracker.close_interval({"bookmark": 1})
    state_tracker.interval.read += 1
    assert state_tracker.take_due() == {"bookmark": 1}
