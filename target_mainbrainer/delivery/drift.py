"""How many known contacts of a stream may have moved or be missing before that is a mistake."""

from __future__ import annotations

DRIFT_COUNTS_FROM = 10
"""So many contacts of a stream may have moved or be missing whatever the percentage."""


def drift_limit(known: int, max_drift_percent: int) -> int:
    """Return how many of the known contacts of a stream may have moved or be missing.

    >>> drift_limit(1_000, 5), drift_limit(20, 5)
    (50, 10)
    """
    return max(DRIFT_COUNTS_FROM, known * max_drift_percent // 100)
