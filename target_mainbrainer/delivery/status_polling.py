"""Asks how accepted batches have ended: a 202 only queues (API note, sections 4.2 and 6)."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import typing as t
from dataclasses import dataclass, field

from typing_extensions import override

from target_mainbrainer.delivery.confirmation import BatchEnd, end_of_batch
from target_mainbrainer.privacy.redaction import redact_id
from target_mainbrainer.reporting.wording import counted

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from target_mainbrainer.api.answers import BatchStatus
    from target_mainbrainer.delivery.outcomes import AcceptedBatch, Outcomes

FIRST_LOOK_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 15.0
BUDGET_PAUSE_SECONDS = 0.25
ID_CHARACTERS = 8
"""Of a batch id: enough to find it by, in a line that a person reads."""

MAX_ASKERS = 16
"""Questions under way at once."""

MAX_PENDING = 50_000
"""Batches followed; beyond it the oldest counts as unconfirmed, so that memory stays flat, unless
STATE waits for it."""

logger = logging.getLogger("target-mainbrainer")


@dataclass(order=True)
class PendingBatch:
    """An accepted batch that has not ended, as far as is known.

    Attributes:
        next_look: When to ask for it, by the clock given to `StatusPoller`.
        number: Which batch it is, in the order of acceptance.
        pause: Seconds until the next look but one.
        is_unreadable: The last answer, if there was one, did not say anything.
    """

    next_look: float
    number: int
    accepted: AcceptedBatch = field(compare=False)
    pause: float = field(compare=False, default=FIRST_LOOK_SECONDS)
    is_unreadable: bool = field(compare=False, default=False)

    @property
    def batch_id(self) -> str:
        """MainBrainer's id of the batch."""
        return self.accepted.batch_id or ""


class BatchSummary:
    """Batches that ended alike: how many, how many contacts, and the first one's id."""

    def __init__(self) -> None:
        self.batches = 0
        self.contacts = 0
        self._first = ""

    def add(self, accepted: AcceptedBatch) -> None:
        """Count a batch."""
        self.batches += 1
        self.contacts += accepted.contacts
        self._first = self._first or redact_id(accepted.batch_id or "")[:ID_CHARACTERS]

    @override
    def __str__(self) -> str:
        first = self._first if self.batches == 1 else f"the first is {self._first}"
        return (
            f"{counted(self.batches, 'batch', 'batches')} of {counted(self.contacts, 'contact')} "
            f"({first})"
        )


class StatusPoller:
    """Asks for the status of accepted batches until each has ended, and counts what it says.

    Args:
        ask: Asks for one batch; None if its status cannot be read now.
        may_ask: Whether the budget has room for a question now.
        outcomes: Told how batches have ended.
        is_required: STATE waits for confirmation, and what is not confirmed fails the run.
        on_failure: Told of an error that ends the run.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        ask: Callable[[str], BatchStatus | None],
        may_ask: Callable[[], bool],
        outcomes: Outcomes,
        *,
        is_required: bool,
        on_failure: Callable[[BaseException], None],
        clock: Callable[[], float],
    ) -> None:
        self._ask = ask
        self._may_ask = may_ask
        self._outcomes = outcomes
        self.is_required = is_required
        self._on_failure = on_failure
        self._clock = clock
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._pending: list[PendingBatch] = []
        self._being_asked: list[PendingBatch] = []
        self._numbers = itertools.count()
        self._closed = False
        self.failed = BatchSummary()
        self.failed_unkept = BatchSummary()
        self.skipping = BatchSummary()
        self.unconfirmed = BatchSummary()
        self.untracked = 0

    def follow(self, accepted: AcceptedBatch) -> None:
        """Ask for an accepted batch until it has ended."""
        with self._changed:
            if accepted.batch_id is None or not accepted.is_batch:
                accepted.stream.report.untracked += accepted.taken
                if accepted.is_batch:  # what is sent alone never has an id
                    self.untracked += accepted.taken
                return
            pending = PendingBatch(
                self._clock() + FIRST_LOOK_SECONDS, next(self._numbers), accepted
            )
            if len(self._pending) >= MAX_PENDING and not self.is_required:
                self._give_up(heapq.heappop(self._pending))
            heapq.heappush(self._pending, pending)
            if len(self._threads) < min(MAX_ASKERS, len(self._pending)):
                thread = threading.Thread(target=self._work, name="status", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify()

    def _work(self) -> None:
        while (pending := self._next()) is not None:
            status = None
            try:
                status = self._ask(pending.batch_id)
            except Exception as error:  # noqa: BLE001 - a status alone fails nothing
                logger.debug("A batch status could not be read (%s).", type(error).__name__)
            try:
                self._note(pending, status)
            except BaseException as error:  # noqa: BLE001 - raised again by the reading thread
                self._on_failure(error)

    def _note(self, pending: PendingBatch, status: BatchStatus | None) -> None:
        with self._changed:
            if self._closed:
                return  # it counts as unconfirmed already
            self._being_asked.remove(pending)
            pending.is_unreadable = status is None
            if status is None or not self._conclude(pending.accepted, status):
                pending.next_look = self._clock() + pending.pause
                pending.pause = min(pending.pause * 2, LONGEST_PAUSE_SECONDS)
                heapq.heappush(self._pending, pending)
            self._changed.notify_all()

    def _next(self) -> PendingBatch | None:
        """Wait for a batch that it is time to ask for; None once it is closed."""
        with self._changed:
            while not self._closed:
                if not self._pending:
                    self._changed.wait()
                elif (wait := self._pending[0].next_look - self._clock()) > 0:
                    self._changed.wait(wait)
                elif self._may_ask():
                    self._being_asked.append(heapq.heappop(self._pending))
                    return self._being_asked[-1]
                else:
                    self._changed.wait(BUDGET_PAUSE_SECONDS)
            return None

    def _conclude(self, accepted: AcceptedBatch, status: BatchStatus) -> bool:
        """Count how a batch has ended; return False if it has not."""
        end = end_of_batch(status, contacts=accepted.contacts, named=accepted.named)
        report = accepted.stream.report
        if end is BatchEnd.OPEN:
            return False
        if end is BatchEnd.FAILED:
            self.failed.add(accepted)
            report.failed += accepted.contacts
            if accepted.spooled is None:
                self.failed_unkept.add(accepted)
            self._outcomes.failed(accepted, status.failed_reason)
            return True
        report.inserted += status.inserted
        report.updated += status.updated
        report.skipped += status.skipped
        if end is BatchEnd.SKIPPED:
            self.skipping.add(accepted)
        self._outcomes.ended(accepted, is_confirmed=end is BatchEnd.CONFIRMED)
        return True

    def _give_up(self, pending: PendingBatch) -> None:
        report = pending.accepted.stream.report
        if pending.is_unreadable:
            report.unreadable += pending.accepted.contacts
        else:
            report.unconfirmed += pending.accepted.contacts
        self.unconfirmed.add(pending.accepted)

    @property
    def is_waiting(self) -> bool:
        """Whether some batch has not ended."""
        return bool(self._pending or self._being_asked)

    def wait(self, seconds: float) -> bool:
        """Wait for the open batches; return whether none is open any more."""
        with self._changed:
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self.is_waiting, seconds)

    def close(self) -> None:
        """Ask no more; what is still open counts as unconfirmed."""
        with self._changed:
            self._closed = True
            for pending in (*self._pending, *self._being_asked):
                self._give_up(pending)
            self._pending, self._being_asked = [], []
            self._changed.notify_all()

    @property
    def has_lost_records(self) -> bool:
        """Whether records stand before STATE that are not in and on no file."""
        return bool(self.failed_unkept.batches) and not self.is_required

    def problems(self) -> Iterator[str]:
        """Say why the run has failed, because batches have not ended well."""
        if self.is_required:
            held = "STATE stays before it, so the next run sends it again."
            for finding in (*self._failures(), *self._findings()):
                yield f"{finding} {held}"
            if self.untracked:
                yield (
                    f"MainBrainer accepted {self.untracked:,} contacts without a batch id, so "
                    "that they cannot be confirmed, as 'confirm_batches: require' asks. " + held
                )
        elif self.has_lost_records:
            yield (
                f"MainBrainer says that {self.failed_unkept} failed after it had accepted them. "
                "STATE has gone on, so the next run does not read these records again: load them "
                "once more. Set 'rejects_path' to have such records set aside."
            )

    def warnings(self) -> Iterator[str]:
        """Say which batches have not ended well, where that does not fail the run."""
        if not self.is_required:
            if self.failed.batches > self.failed_unkept.batches:
                yield (
                    f"MainBrainer says that {self.failed} failed after it had accepted them. "
                    "Their records are in the rejects file."
                )
            for finding in self._findings():
                yield (
                    f"{finding} The run counts it as accepted all the same, because "
                    "'confirm_batches' is 'report'."
                )

    def _failures(self) -> Iterator[str]:
        if self.failed.batches:
            yield f"MainBrainer says that {self.failed} failed."

    def _findings(self) -> Iterator[str]:
        if self.skipping.batches:
            yield f"MainBrainer skipped contacts in {self.skipping}."
        if self.unconfirmed.batches:
            yield (
                f"MainBrainer accepted {self.unconfirmed} but had not confirmed that when the run "
                "ended ('confirm_timeout_seconds'). It may still be applied."
            )
