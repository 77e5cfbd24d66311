"""The counts of a run, each declared once, with the words that the table and the docs use."""

# ruff: noqa: RUF009 - `_count` and `_details` return fields

from __future__ import annotations

import typing as t
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields

from target_mainbrainer.words import shown

BATCH_FAILED = "batch_failed"
"""The code of rejected records whose batch was accepted and failed afterwards."""


def _count(meaning: str) -> t.Any:  # noqa: ANN401 - a field
    return field(default=0, metadata={"meaning": meaning})


def _details(meaning: str, total: tuple[str, str] | None = None) -> t.Any:  # noqa: ANN401 - a field
    """Return a field of numbers by name, whose total may be a count of the summary."""
    return field(default_factory=Counter, metadata={"details": meaning, "total": total})


_REJECTED = ("rejected", "records refused, by the target or by MainBrainer")
_RESENT = ("resent", "contacts sent in full because it was not certain what MainBrainer has")
_NOT_FOLLOWED = ("not_followed", "people whose contact has not followed their new identity")
_UNDELIVERED = ("undelivered", "records read and not sent, because the run ended first")


@dataclass
class StreamReport:
    """Counts of one stream."""

    read: int = _count("records read")
    accepted: int = _count("records that MainBrainer has accepted, each as a contact of its own")
    merged: int = _count(
        "records that went into one contact together with a later one, and were accepted"
    )
    unchanged: int = _count("records not sent, because MainBrainer has them as they are")
    omitted: int = _count("records left out: deleted in the source ('deleted_records'), or empty")
    rejected_by_code: Counter[str] = _details("`rejected` by reason", _REJECTED)
    rejected_before_sending: int = _count("of the rejected, those refused by the target itself")
    created: int = _count("contacts sent that the ledger did not know")
    updates: int = _count("contacts of which only the changed fields were sent")
    changed_columns: Counter[str] = _details("contacts of which a field has changed, by field")
    resent_by_reason: Counter[str] = _details("`resent` by reason", _RESENT)
    moved: int = _count(
        "people with a new e-mail address or mobile number whose contact has followed them"
    )
    not_followed_by_reason: Counter[str] = _details("`not_followed` by reason", _NOT_FOLLOWED)
    old_parts_kept: int = _count(
        "contacts sent with an e-mail address or mobile number that the source no longer has"
    )
    missing: int = _count("people whom the ledger knows and a full read did not contain")
    gone: int = _count("of the missing, those who were missing in the full read before as well")
    opted_out: int = _count(
        "people who are gone and were opted out; they are not among the records read"
    )
    opt_ins_given: int = _count(
        "opt-ins given as true that were not known to be true (without a ledger: all given as "
        "true), counted before sending"
    )
    opt_ins_withdrawn: int = _count(
        "opt-ins given as false that were known to be true (without a ledger: all given as false), "
        "counted before sending"
    )
    opt_ins_withheld: int = _count(
        "opt-ins given as true and not sent, because 'suppression_path' lists the address or number"
    )
    opt_ins_emptied: int = _count("opt-ins that are empty now; MainBrainer keeps the old value")
    recreated: int = _count(
        "contacts that should have been there and that MainBrainer has inserted again, because "
        "they had been deleted or given another identity by hand"
    )
    already_there: int = _count(
        "contacts that the ledger did not know and that MainBrainer says it has updated"
    )
    inserted: int = _count("contacts that MainBrainer says it has inserted")
    updated: int = _count("contacts that MainBrainer says it has updated")
    skipped: int = _count("contacts that MainBrainer says it has skipped")
    failed: int = _count("contacts in batches that MainBrainer says have failed")
    unconfirmed: int = _count("contacts in batches that MainBrainer did not confirm in time")
    untracked: int = _count(
        "contacts accepted without a batch id, so that their status cannot be asked for"
    )
    ignored_properties: Counter[str] = _details(
        "batches in which MainBrainer named a property as invalid, by property"
    )
    dropped_by_code: Counter[str] = _details(
        "identifiers left out of contacts that were kept ('invalid_identifiers: drop'), by reason"
    )

    @property
    def rejected(self) -> int:
        """Records refused by us or by the API."""
        return self.rejected_by_code.total()

    @property
    def resent(self) -> int:
        """Contacts sent again although they had not changed."""
        return self.resent_by_reason.total()

    @property
    def not_followed(self) -> int:
        """People whose contact has not followed them."""
        return self.not_followed_by_reason.total()

    @property
    def undelivered(self) -> int:
        """Records without an outcome."""
        delivered = self.accepted + self.merged + self.unchanged
        return self.read - delivered - self.omitted - self.rejected

    def as_dict(self) -> dict[str, t.Any]:
        """Return the counts for the report file."""
        return {name: getattr(self, name) for name in COUNTS} | {
            name: dict(getattr(self, name)) for name in DETAILS
        }


def _counts() -> Iterator[tuple[str, str]]:
    """Yield the name of each count in table and report, and what it counts, as the docs say it."""
    for one in fields(StreamReport):
        if "meaning" in one.metadata:
            yield one.name, one.metadata["meaning"]
        elif total := one.metadata.get("total"):
            yield total
        if one.name == "rejected_by_code":  # the last outcome
            yield _UNDELIVERED


COUNTS: t.Final = dict(_counts())
"""Meaning of every number, in the order of table and report file: ours, then the CRM's."""

DETAILS: t.Final = {
    one.name: one.metadata["details"] for one in fields(StreamReport) if "details" in one.metadata
}
"""Details of each stream that only the report file has, with their meaning."""

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

    @property
    def _batch_failed(self) -> int:
        return sum(stream.rejected_by_code[BATCH_FAILED] for stream in self.streams.values())

    @property
    def refused(self) -> int:
        """Records that were sent and not accepted."""
        return self.total("rejected") - self.total("rejected_before_sending") - self._batch_failed

    @property
    def is_all_refused(self) -> bool:
        """Whether contacts were sent and none was accepted: such a run is never OK.

        >>> report = RunReport()
        >>> people = report.stream("people")
        >>> people.rejected_by_code["refused_422"] += 8
        >>> report.is_all_refused
        True
        >>> people.rejected_by_code[BATCH_FAILED] += 1
        >>> report.is_all_refused
        False
        """
        accepted = self.total("accepted") + self._batch_failed
        return self.refused > 0 and accepted == 0

    def table(self) -> Iterator[str]:
        """Yield the summary as lines of a table: a row for each stream, a column for each count.

        Counts that are 0 in every stream are left out, but for those that always matter.
        """
        columns = [name for name in COUNTS if name in ALWAYS_SHOWN or self.total(name)]
        rows = [["stream", *columns]]
        for name, stream in self.streams.items():
            rows.append([shown(name), *(f"{getattr(stream, column):,}" for column in columns)])
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        for row in rows:
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            yield "  ".join(cells)
