"""How often each column of a stream is empty, for a dry run."""

from __future__ import annotations

import typing as t
from collections import Counter

from target_mainbrainer.mapping.columns import METADATA_PREFIX
from target_mainbrainer.words import shown

if t.TYPE_CHECKING:
    from collections.abc import Mapping


class ColumnShares:
    """Counts the empty values of every column of a stream."""

    def __init__(self) -> None:
        self._records = 0
        self._filled: Counter[str] = Counter()

    def add(self, record: Mapping[str, t.Any]) -> None:
        """Look at a record; absent, null and an empty text all count as empty."""
        self._records += 1
        for name, value in record.items():
            self._filled[name] += value is not None and value != ""

    def as_dict(self) -> dict[str, float]:
        """Return the share of empty values by column, in order; without Singer's own columns."""
        records = max(self._records, 1)
        return {
            name: round(1 - count / records, 4)
            for name, count in self._filled.items()
            if not name.startswith(METADATA_PREFIX)
        }

    def describe(self, stream: str) -> str:
        """Return a line for the log."""
        shares = [f"'{shown(name)}' {share:.0%}" for name, share in self.as_dict().items()]
        return f"Empty values of stream '{shown(stream)}': {', '.join(shares) or 'no columns'}."
