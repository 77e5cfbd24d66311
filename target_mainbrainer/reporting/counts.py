"""What became of every record: counts per stream, the progress line, and the morning's summary."""

from __future__ import annotations

import typing as t
from collections import Counter
from dataclasses import dataclass, field

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from target_mainbrainer.contacts.rejection import Rejection


@dataclass
class StreamReport:
    """Counts of one stream. Only the reader adds to `read` and `omitted`, senders to the rest.

    Attributes:
        read: Records read.
        accepted: Records taken by the CRM.
        merged: Records that went into a contact together with a later one, and were accepted.
        omitted: Records deleted in the source and skipped.
        rejected: Records refused by us or by the API, by code.
        inserted: Contacts inserted, as the CRM reported; likewise `updated` and `skipped`.
        failed: Contacts in batches that the CRM says have failed.
        unconfirmed: Contacts in batches of which the CRM did not say in time what became of them.
        unreadable: Contacts in batches whose status could not be read.
        untracked: Contacts accepted without a batch id, or one by one: nothing to ask for.
        dropped: Identifiers left out of contacts that were kept (`invalid_identifiers: drop`), by
            what was wrong with them.
        ignored_properties: Batches in which the CRM named a property as invalid, by property.
    """

    read: int = 0
    accepted: int = 0
    merged: int = 0
    omitted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    inserted: int = 0
    updated: int = 0
    skipped: int = 0
    failed: int = 0
    unconfirmed: int = 0
    unreadable: int = 0
    untracked: int = 0
    dropped: Counter[Rejection] = field(default_factory=Counter)
    ignored_properties: Counter[str] = field(default_factory=Counter)

    @property
    def accounted_for(self) -> int:
        """Records that have an outcome."""
        return self.accepted + self.merged + self.omitted + self.rejected.total()

    def dropped_by_code(self) -> Counter[str]:
        """Count dropped identifiers by the code of what was wrong with them."""
        counts: Counter[str] = Counter()
        for rejection, count in self.dropped.items():
            counts[rejection.code] += count
        return counts

    def as_dict(self) -> dict[str, t.Any]:
        """Return the counts for the report file."""
        return {
            "read": self.read,
            "accepted": self.accepted,
            "merged": self.merged,
            "omitted": self.omitted,
            "rejected": self.rejected.total(),
            "rejected_by_code": dict(self.rejected),
            "undelivered": self.read - self.accounted_for,
            "inserted": self.inserted,
            "updated": self.updated,
            "skipped": self.skipped,
            "failed": self.failed,
            "unconfirmed": self.unconfirmed,
            "unreadable": self.unreadable,
            "untracked": self.untracked,
            "dropped_by_code": dict(self.dropped_by_code()),
            "ignored_properties": dict(self.ignored_properties),
        }


_COLUMNS = (
    *("read", "accepted", "merged", "omitted", "rejected", "undelivered"),
    *("inserted", "updated", "skipped", "failed", "unconfirmed"),
)
"""What the summary's table shows of the counts: ours, then the CRM's."""


class RunReport:
    """The counts of all streams, and what was spent on them."""

    def __init__(self) -> None:
        self.streams: dict[str, StreamReport] = {}

    def stream(self, name: str) -> StreamReport:
        """Return the counts of a stream, which may have had several schemas."""
        return self.streams.setdefault(name, StreamReport())

    def total(self, count: str) -> int:
        """Add up one count over all streams."""
        if count == "rejected":
            return sum(stream.rejected.total() for stream in self.streams.values())
        return sum(getattr(stream, count) for stream in self.streams.values())

    def table(self) -> Iterator[str]:
        """Yield the summary as lines of a table: a row for each stream, a column for each count."""
        rows = [["stream", *_COLUMNS]]
        for name, stream in self.streams.items():
            counts = stream.as_dict()
            rows.append([name, *(f"{counts[column]:,}" for column in _COLUMNS)])
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        for row in rows:
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            yield "  ".join(cells)
