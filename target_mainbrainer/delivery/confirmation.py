"""What a batch's status says of it. No page says which status is the last one."""

from __future__ import annotations

import enum
import typing as t

if t.TYPE_CHECKING:
    from target_mainbrainer.api.answers import BatchStatus


class BatchEnd(enum.Enum):
    """How an accepted batch has ended."""

    OPEN = "open"
    """It has not, or its counts are not those of the contacts that were sent."""

    CONFIRMED = "confirmed"
    SKIPPED = "skipped"
    """At least one contact was skipped that the answer to the batch had not named as invalid."""

    FAILED = "failed"


def end_of_batch(
    status: BatchStatus, *, contacts: int, named: frozenset[int] = frozenset()
) -> BatchEnd:
    """Return how a batch has ended.

    It has once every contact is counted; whether those are that the answer to the batch named
    as invalid, is not documented. Counts above what was sent belong to something else.

    >>> from target_mainbrainer.api.answers import BatchStatus
    >>> end_of_batch(BatchStatus(inserted=1, updated=1), contacts=3).name
    'OPEN'
    >>> end_of_batch(BatchStatus(inserted=2, skipped=1), contacts=3).name
    'SKIPPED'
    >>> end_of_batch(BatchStatus(inserted=2, skipped=1), contacts=3, named=frozenset({7})).name
    'CONFIRMED'

    Args:
        status: What the API says now.
        contacts: How many were sent.
        named: Contact ids that the answer to the batch named as invalid.
    """
    if status.failed_reason:
        return BatchEnd.FAILED
    if not contacts - len(named) <= status.processed <= contacts:
        return BatchEnd.OPEN
    others_skipped = status.skipped_ids - named
    if status.inserted + status.updated >= contacts - len(named) and not others_skipped:
        return BatchEnd.CONFIRMED
    if status.processed == contacts or others_skipped:
        return BatchEnd.SKIPPED
    return BatchEnd.OPEN  # whether the skipped one is the one named shows when all are counted
