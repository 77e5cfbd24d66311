"""What is counted: each count declared once, with the words that the table and the docs use."""

from __future__ import annotations

import typing as t
from collections import Counter
from dataclasses import dataclass, field, fields

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from target_mainbrainer.contacts.rejection import Rejection


class Count(t.NamedTuple):
    """One number of the summary.

    Attributes:
        name: What it is called in the table and in the report file.
        meaning: What it counts, as the docs say it.
        is_outcome: Every record read ends as exactly one of these.
    """

    name: str
    meaning: str
    is_outcome: bool = False


def _count(meaning: str, *, is_outcome: bool = False) -> t.Any:  # noqa: ANN401 - a field
    return field(default=0, metadata={"count": (meaning, is_outcome)})


def _outcome(meaning: str) -> t.Any:  # noqa: ANN401 - a field
    return _count(meaning, is_outcome=True)


@dataclass
class StreamReport:
    """Counts of one stream. Only the reader adds to `read` and `omitted`, senders to the rest.

    Attributes:
        rejected_by_code: Records refused by us or by the API, by code.
        changed_columns: Contacts known to the ledger of which a field has changed, by field.
        dropped: Identifiers left out of contacts that were kept (`invalid_identifiers: drop`), by
            what was wrong with them.
        ignored_properties: Batches in which the CRM named a property as invalid, by property.
    """

    read: int = _count("records read")
    accepted: int = _outcome("records that MainBrainer has taken, each as a contact of its own")
    merged: int = _outcome(
        "records that went into one contact together with a later one, and were accepted"
    )
    unchanged: int = _outcome("records not sent, because the ledger says they are in as they are")
    omitted: int = _outcome("records deleted in the source and skipped ('deleted_records')")
    rejected_before_sending: int = _count("of the rejected, those refused by the target itself")
    opt_ins_held_back: int = _count(
        "opt-ins that the source gives and that were not sent, because their address or number "
        "is in 'suppression_path'"
    )
    new: int = _count("of the records sent, those whose source key was never in (with a ledger)")
    changed: int = _count("of the records sent, those that differ from what was delivered")
    opt_ins_given: int = _count(
        "opt-ins given as true that were not known to be true; without a ledger, all given as "
        "true; counted before sending, so with those of records 'undelivered'"
    )
    opt_ins_withdrawn: int = _count(
        "opt-ins given as false that were known to be true; without a ledger, all given as false; "
        "counted before sending, too"
    )
    moved: int = _count(
        "of the accepted, those whose e-mail address or mobile number had changed, and whose "
        "contact has followed them ('identity_changes')"
    )
    moves_not_followed: int = _count(
        "records whose e-mail address or mobile number had changed, and that became a second "
        "contact because their first one could not be told"
    )
    old_parts_kept: int = _count(
        "records sent with an e-mail address or mobile number that only MainBrainer has any more"
    )
    missing: int = _count(
        "of the records read, those that were not: gone from a stream that was read in full, and "
        "opted out ('missing_records')"
    )
    inserted: int = _count("contacts that MainBrainer says it has inserted")
    updated: int = _count("contacts that MainBrainer says it has updated")
    skipped: int = _count("contacts that MainBrainer says it has skipped")
    failed: int = _count("contacts in batches that MainBrainer says have failed")
    unconfirmed: int = _count(
        "contacts in batches of which MainBrainer did not say in time what became of them"
    )
    unreadable: int = _count("contacts in batches whose status could not be read")
    untracked: int = _count("contacts accepted without a batch id: there is nothing to ask for")
    rejected_by_code: Counter[str] = field(default_factory=Counter)
    changed_columns: Counter[str] = field(default_factory=Counter)
    dropped: Counter[Rejection] = field(default_factory=Counter)
    ignored_properties: Counter[str] = field(default_factory=Counter)

    @property
    def rejected(self) -> int:
        """Records refused by us or by the API."""
        return self.rejected_by_code.total()

    @property
    def accounted_for(self) -> int:
        """Records that have an outcome."""
        return sum(getattr(self, count.name) for count in COUNTS if count.is_outcome)

    @property
    def undelivered(self) -> int:
        """Records without an outcome."""
        return self.read - self.accounted_for

    @property
    def dropped_by_code(self) -> Counter[str]:
        """Dropped identifiers by the code of what was wrong with them."""
        counts: Counter[str] = Counter()
        for rejection, count in self.dropped.items():
            counts[rejection.code] += count
        return counts

    def as_dict(self) -> dict[str, t.Any]:
        """Return the counts for the report file."""
        return {count.name: getattr(self, count.name) for count in COUNTS} | {
            name: dict(getattr(self, name)) for name in DETAILS
        }


def _counts() -> Iterator[Count]:
    for one in fields(StreamReport):
        if "count" in one.metadata:
            meaning, is_outcome = one.metadata["count"]
            yield Count(one.name, meaning, is_outcome=is_outcome)
        if one.name == "rejected_before_sending":
            yield Count("undelivered", "records read and not sent, because the run ended before")
        if one.name == "omitted":  # the last outcome that is a field
            yield Count(
                "rejected", "records refused, by the target or by MainBrainer", is_outcome=True
            )


COUNTS: t.Final = tuple(_counts())
"""Every number, in the order of the table and the report file: ours, then the CRM's."""

DETAILS: t.Final = {
    "rejected_by_code": "`rejected` by reason",
    "changed_columns": "contacts that the ledger knows and of which a field has changed, by field",
    "dropped_by_code": "identifiers left out of contacts that were kept "
    "('invalid_identifiers: drop'), by reason",
    "ignored_properties": "batches in which MainBrainer named a property as invalid, by property",
}
"""What the report file alone holds of each stream, with its meaning."""

ALWAYS_SHOWN: t.Final = ("read", "accepted", "merged", "rejected", "undelivered")


class RunReport:
    """The counts of all streams."""

    def __init__(self) -> None:
        self.streams: dict[str, StreamReport] = {}

    def stream(self, name: str) -> StreamReport:
        """Return the counts of a stream, which may have had several schemas."""
        return self.streams.setdefault(name, StreamReport())

    def total(self, count: str) -> int:
        """Add up one count over all streams."""
        return sum(getattr(stream, count) for stream in self.streams.values())

    def table(self) -> Iterator[str]:
        """Yield the summary as lines of a table: a row for each stream, a column for each count.

        Counts that are 0 in every stream are left out, but for those that always matter.
        """
        columns = [
            count.name for count in COUNTS if count.name in ALWAYS_SHOWN or self.total(count.name)
        ]
        rows = [["stream", *columns]]
        for name, stream in self.streams.items():
            rows.append([name, *(f"{getattr(stream, column):,}" for column in columns)])
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        for row in rows:
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            yield "  ".join(cells)
