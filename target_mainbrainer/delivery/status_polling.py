"""What became of accepted batches: a 202 only queues (API note, sections 4.2 and 6)."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import typing as t
from collections import Counter
from dataclasses import dataclass, field

from typing_extensions import override

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from target_mainbrainer.api.responses import BatchStatus
    from target_mainbrainer.delivery.state_tracker import StateTracker
    from target_mainbrainer.reporting.counts import StreamReport
    from target_mainbrainer.singer.source_record import SourceRecord, StateInterval

FIRST_LOOK_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 15.0
BUDGET_PAUSE_SECONDS = 0.25
IDS_SHOWN = 5
MOST_WATCHED = 50_000
"""Batches kept in mind; beyond it the oldest is counted as unconfirmed, so memory stays flat."""

logger = logging.getLogger("target-mainbrainer")


@dataclass(order=True)
class PendingBatch:
    """An accepted batch whose fate is not known yet.

    Attributes:
        next_look: When to ask for it, by the clock given to `StatusPoller`.
        number: Which batch it is, in the order of acceptance.
        batch_id: MainBrainer's id of it.
        contacts: How many contacts were sent.
        named_invalid: How many of them the answer refused by name; it is not documented whether
            the status counts them.
        report: Counts of the stream.
        records: How many records STATE waits for, by epoch; empty unless confirmation is
            required. Not the records themselves, which may have to be kept for long.
        pause: Seconds until the next look but one.
        is_unreadable: The last answer, if there was one, did not say anything.
    """

    next_look: float
    number: int
    batch_id: str = field(compare=False)
    contacts: int = field(compare=False)
    named_invalid: int = field(compare=False)
    report: StreamReport = field(compare=False)
    records: Mapping[StateInterval, int] = field(compare=False, default_factory=dict)
    pause: float = field(compare=False, default=FIRST_LOOK_SECONDS)
    is_unreadable: bool = field(compare=False, default=False)


class BatchSummary:
    """Batches that ended alike: how many, how many contacts, and the first few ids."""

    def __init__(self) -> None:
        self.batches = 0
        self.contacts = 0
        self.ids: list[str] = []

    def add(self, watched: PendingBatch) -> None:
        """Count a batch."""
        self.batches += 1
        self.contacts += watched.contacts
        if len(self.ids) < IDS_SHOWN:
            self.ids.append(watched.batch_id)

    @override
    def __str__(self) -> str:
        more = ", ..." if self.batches > len(self.ids) else ""
        batches = "1 batch" if self.batches == 1 else f"{self.batches:,} batches"
        return f"{batches} of {self.contacts:,} contacts ({', '.join(self.ids)}{more})"


class StatusPoller:
    """Asks for the status of accepted batches until each is done, and counts what it hears.

    Args:
        ask: Asks for one batch; None if its status cannot be read now.
        may_ask: Whether the budget has room for a question now.
        is_required: STATE waits for confirmation, and what is not confirmed fails the run.
        ledger: Settles the records of confirmed batches, when confirmation is required.
        clock: Seconds, monotonic.
        askers: Questions under way at once.
    """

    def __init__(
        self,
        ask: Callable[[str], BatchStatus | None],
        may_ask: Callable[[], bool],
        *,
        is_required: bool,
        state_tracker: StateTracker,
        clock: Callable[[], float],
        askers: int,
    ) -> None:
        self._ask = ask
        self._may_ask = may_ask
        self.is_required = is_required
        self._state_tracker = state_tracker
        self._clock = clock
        self._askers = askers
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._watched: list[PendingBatch] = []
        self._being_asked: list[PendingBatch] = []
        self._numbers = itertools.count()
        self._closed = False
        self.failed = BatchSummary()
        self.skipping = BatchSummary()
        self.unconfirmed = BatchSummary()
        self.untracked = 0

    def watch(
        self,
        batch_id: str,
        *,
        contacts: int,
        named_invalid: int,
        report: StreamReport,
        source_records: Sequence[SourceRecord],
    ) -> None:
        """Follow an accepted batch until its fate is known."""
        with self._changed:
            watched = PendingBatch(
                self._clock() + FIRST_LOOK_SECONDS,
                next(self._numbers),
                batch_id,
                contacts,
                named_invalid,
                report,
                Counter(o.interval for o in source_records) if self.is_required else {},
            )
            if len(self._watched) >= MOST_WATCHED and not self.is_required:
                self._give_up(heapq.heappop(self._watched))
            heapq.heappush(self._watched, watched)
            if len(self._threads) < min(self._askers, len(self._watched)):
                thread = threading.Thread(target=self._work, name="confirmer", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify()

    def cannot_follow(self, contacts: int, report: StreamReport, *, is_batch: bool = True) -> None:
        """Count accepted contacts of which nobody can ask what became of them.

        Args:
            contacts: How many they are.
            report: Counts of the stream.
            is_batch: A batch should have had an id; what is sent alone never has one.
        """
        with self._changed:
            report.untracked += contacts
            if is_batch:
                self.untracked += contacts

    def _work(self) -> None:
        while (watched := self._next()) is not None:
            status = None
            try:
                status = self._ask(watched.batch_id)
            except Exception as error:  # noqa: BLE001 - a status alone fails nothing
                logger.debug("A batch status could not be read (%s).", type(error).__name__)
            with self._changed:
                if self._closed:
                    return  # it has been counted already
                self._being_asked.remove(watched)
                watched.is_unreadable = status is None
                if status is None or not self._conclude(watched, status):
                    watched.next_look = self._clock() + watched.pause
                    watched.pause = min(watched.pause * 2, LONGEST_PAUSE_SECONDS)
                    heapq.heappush(self._watched, watched)
                self._changed.notify_all()

    def _next(self) -> PendingBatch | None:
        """Wait for a batch that it is time to ask for; None once nobody wants to know."""
        with self._changed:
            while not self._closed:
                if not self._watched:
                    self._changed.wait()
                elif (wait := self._watched[0].next_look - self._clock()) > 0:
                    self._changed.wait(wait)
                elif self._may_ask():
                    self._being_asked.append(heapq.heappop(self._watched))
                    return self._being_asked[-1]
                else:
                    self._changed.wait(BUDGET_PAUSE_SECONDS)
            return None

    def _conclude(self, watched: PendingBatch, status: BatchStatus) -> bool:
        """Count what became of a batch; return False if it is still being processed."""
        report = watched.report
        if status.failed_reason:
            self.failed.add(watched)
            report.failed += watched.contacts
        elif watched.contacts - watched.named_invalid <= status.processed:
            report.inserted += status.inserted
            report.updated += status.updated
            report.skipped += status.skipped
            if status.skipped:
                self.skipping.add(watched)
            elif watched.records:
                self._state_tracker.settle_counted(watched.records)
        else:
            return False
        return True

    def _give_up(self, watched: PendingBatch) -> None:
        if watched.is_unreadable:
            watched.report.unreadable += watched.contacts
        else:
            watched.report.unconfirmed += watched.contacts
        self.unconfirmed.add(watched)

    @property
    def is_waiting(self) -> bool:
        """Whether the fate of some batch is still open."""
        return bool(self._watched or self._being_asked)

    def wait(self, seconds: float) -> bool:
        """Wait for the open batches; return whether none is open any more."""
        with self._changed:
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self.is_waiting, seconds)

    def close(self) -> None:
        """Ask no more; what is still open counts as unconfirmed."""
        with self._changed:
            self._closed = True
            for watched in (*self._watched, *self._being_asked):
                self._give_up(watched)
            self._watched, self._being_asked = [], []
            self._changed.notify_all()

    def findings(self) -> Iterator[str]:
        """Say which accepted batches did not end as they should."""
        if self.failed.batches:
            yield f"MainBrainer says that {self.failed} failed."
        if self.skipping.batches:
            yield f"MainBrainer skipped contacts in {self.skipping}."
        if self.unconfirmed.batches:
            yield (
                f"MainBrainer accepted {self.unconfirmed} but had not confirmed that when the run "
                "ended ('confirm_timeout_seconds'). It may still be applied."
            )

    def problems(self) -> Iterator[str]:
        """Say what keeps STATE back when confirmation is required."""
        held = "STATE stays before it, so the next run sends it again."
        for finding in self.findings():
            yield f"{finding} {held}"
        if self.untracked:
            yield (
                f"MainBrainer accepted {self.untracked:,} contacts without a batch id, so nobody "
                f"can confirm them, as 'confirm_batches: require' asks. {held}"
            )
