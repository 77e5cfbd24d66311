"""STATE is never ahead of what is settled."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer.delivery.ledger import Ledger, Origin


@given(st.data(), st.lists(st.integers(0, 5), max_size=12))
def test_a_state_is_due_exactly_when_all_records_before_it_are_settled(
    data: st.DataObject, sizes: list[int]
) -> None:
    ledger = Ledger()
    origins = []
    for number, size in enumerate(sizes):
        for _ in range(size):
            ledger.epoch.read += 1
            origins.append((number, Origin(ledger.epoch, 1, b"")))
        ledger.close_epoch({"bookmark": number})
    settled: list[int] = []
    written = -1
    for number, origin in [(-1, None), *data.draw(st.permutations(origins))]:
        if origin is not None:
            ledger.settle([origin])
            settled.append(number)
        due = ledger.take_due()
        open_epochs = [n for n, size in enumerate(sizes) if settled.count(n) < size]
        newest = (open_epochs[0] if open_epochs else len(sizes)) - 1
        if newest > written:
            assert due == {"bookmark": newest}
            written = newest
        else:
            assert due is None


def test_records_after_the_last_state_hold_nothing_back() -> None:
    ledger = Ledger()
    ledger.close_epoch({"bookmark": 1})
    ledger.epoch.read += 1
    assert ledger.take_due() == {"bookmark": 1}
