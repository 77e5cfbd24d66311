"""Batches: where they go, what they are to do, and what is remembered of those accepted."""

from __future__ import annotations

import enum
import typing as t
from array import array
from collections import Counter
from dataclasses import dataclass, field
from functools import partial

from target_mainbrainer.api.answers import BatchStatus
from target_mainbrainer.report.rejects import SourceStream
from target_mainbrainer.singer.state import StateInterval


class Destination(t.NamedTuple):
    """Where a batch goes; a refusal of one destination says nothing about another."""

    list_id: str | None
    webhook_url: str | None


class Kind(enum.Enum):
    """Expected effect of a batch; a status is compared with it."""

    CREATE = "create"
    UPDATE = "update"
    OTHER = "other"
    """One or the other; this is not known without a ledger."""


class BatchEnd(enum.Enum):
    """How an accepted batch has ended."""

    OPEN = "open"
    """It has not, or its counts are not those of the contacts that were sent."""

    CONFIRMED = "confirmed"
    SKIPPED = "skipped"
    """At least one contact was skipped that the answer to the batch had not named as invalid."""

    FAILED = "failed"


@dataclass(eq=False)
class AcceptedBatch:
    """Contacts that were accepted together and may still fail; kept for long, so no contacts.

    Attributes:
        number: In the ledger; 0 without one.
        batch_id: MainBrainer's id of the batch, None if it gave none.
        contacts: How many contacts were sent.
        named: The contact ids among them that the answer named as invalid.
        taken: How many contacts count as accepted.
        merged: How many records count as merged.
        intervals: How many records STATE waits for; none unless confirmation is required.
        is_for_records: Records ask for it, if only for the "no" of those that are rejected.
        kept: Where its contacts are in the spool until its status is known, if they are kept.
        streams: The SCHEMA messages that announced their records.
        rows: The ledger's rows that were delivered in it.
        is_followed: Its status is asked for.
        pause: Seconds until its status is asked for again.
        status: The last status that could be read.
        end: How it has ended, as MainBrainer says.
        has_recreated: Contacts were inserted that should have been there.
    """

    stream: SourceStream | None
    destination: Destination
    kind: Kind
    contacts: int
    batch_id: str | None
    number: int = 0
    named: frozenset[int] = frozenset()
    taken: int = 0
    merged: int = 0
    intervals: Counter[StateInterval] = field(default_factory=Counter)
    is_for_records: bool = False
    kept: int | None = None
    streams: list[SourceStream] = field(default_factory=list)
    rows: array[int] = field(default_factory=partial(array, "q"))
    pause: float = 0.0
    status: BatchStatus | None = None
    is_followed: bool = False
    end: BatchEnd = BatchEnd.OPEN
    has_recreated: bool = False

    @property
    def is_awaited(self) -> bool:
        """Whether its status may still show how it has ended."""
        return self.batch_id is not None and self.end is BatchEnd.OPEN

    @property
    def may_be_incomplete(self) -> bool:
        """Whether contacts that are sent later may lack what was sent, or what they had before.

        An opt-out of a person who is not there makes a contact that nothing completes.
        """
        is_empty = self.has_recreated and self.stream is None
        return is_empty or self.end is not BatchEnd.CONFIRMED
