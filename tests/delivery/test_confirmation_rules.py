"""How a batch has ended, by what its status says."""

from __future__ import annotations

import pytest

from target_mainbrainer.api.answers import BatchStatus
from target_mainbrainer.delivery.confirmation import BatchEnd, end_of_batch

NAMED = frozenset({7})


@pytest.mark.parametrize(
    ("status", "named", "end"),
    [
        (BatchStatus(), frozenset(), BatchEnd.OPEN),
        (BatchStatus(inserted=9), frozenset(), BatchEnd.OPEN),
        (BatchStatus(inserted=4, updated=6), frozenset(), BatchEnd.CONFIRMED),
        (BatchStatus(inserted=11), frozenset(), BatchEnd.OPEN),
        (BatchStatus(inserted=9, skipped=1), frozenset(), BatchEnd.SKIPPED),
        (BatchStatus(inserted=10, failed_reason="x"), frozenset(), BatchEnd.FAILED),
        # One contact was named as invalid: it may be counted as skipped, or not at all.
        (BatchStatus(inserted=9), NAMED, BatchEnd.CONFIRMED),
        (BatchStatus(inserted=9, skipped=1), NAMED, BatchEnd.CONFIRMED),
        (BatchStatus(inserted=9, skipped=1, skipped_ids=NAMED), NAMED, BatchEnd.CONFIRMED),
        (BatchStatus(inserted=9, skipped=1, skipped_ids=frozenset({8})), NAMED, BatchEnd.SKIPPED),
        (BatchStatus(inserted=8, skipped=1), NAMED, BatchEnd.OPEN),
        (BatchStatus(inserted=8, skipped=2), NAMED, BatchEnd.SKIPPED),
        (BatchStatus(inserted=8), NAMED, BatchEnd.OPEN),
    ],
)
def test_ten_contacts_end_as_their_status_says(
    status: BatchStatus, named: frozenset[int], end: BatchEnd
) -> None:
    assert end_of_batch(status, contacts=10, named=named) is end
