"""Statuses of accepted batches: a 202 only queues a batch (API note, sections 4.2 and 6)."""

from __future__ import annotations

import heapq
import itertools
import typing as t

from typing_extensions import override

from target_mainbrainer.rounds.batches import BatchEnd
from target_mainbrainer.rounds.sending import MAX_ASKED
from target_mainbrainer.words import counted

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from target_mainbrainer.api.answers import BatchStatus
    from target_mainbrainer.privacy import Redactor
    from target_mainbrainer.rounds.batches import AcceptedBatch
    from target_mainbrainer.rounds.sending import Sending

FIRST_LOOK_SECONDS = 1.0
FIRST_AWAITED_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 15.0
ID_CHARACTERS = 8
"""Of a batch id: enough to find it by, in a line that a person reads."""

MAX_PENDING = 50_000
"""Batches followed; beyond it the oldest counts as unconfirmed, so that memory stays flat, unless
STATE waits for it."""


def end_of_batch(
    status: BatchStatus, *, contacts: int, named: frozenset[int] = frozenset()
) -> BatchEnd:
    """Return how a batch has ended.

    It has once every contact is counted; whether those are that the answer to the batch named as
    invalid, is not documented. Counts above what was sent belong to something else.

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


class Summed:
    """Batches that ended alike: how many, how many contacts, and the first one's id."""

    def __init__(self, redact_id: Callable[[str], str]) -> None:
        self._redact_id = redact_id
        self.batches = 0
        self.contacts = 0
        self._first = ""

    def add(self, accepted: AcceptedBatch) -> None:
        """Count a batch."""
        self.batches += 1
        self.contacts += accepted.contacts
        self._first = self._first or self._redact_id(accepted.batch_id or "")[:ID_CHARACTERS]

    @override
    def __str__(self) -> str:
        first = self._first if self.batches == 1 else f"the first is {self._first}"
        return (
            f"{counted(self.batches, 'batch', 'batches')} of {counted(self.contacts, 'contact')} "
            f"({first})"
        )


class Statuses:
    """Asks for the status of accepted batches until each has ended, and counts what it says.

    Args:
        sending: Asks.
        redactor: Makes batch ids, and what MainBrainer says of a batch, safe for the log.
        is_followed: Batches are asked for; otherwise only those that a move waits for.
        is_required: STATE waits for confirmation, and what is not confirmed fails the run.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        sending: Sending,
        redactor: Redactor,
        *,
        is_followed: bool,
        is_required: bool,
        clock: Callable[[], float],
    ) -> None:
        self._sending = sending
        self._redactor = redactor
        self._clock = clock
        self.is_followed = is_followed
        self.is_required = is_required
        self._numbers = itertools.count()
        self._pending: list[tuple[float, int, AcceptedBatch]] = []  # when to ask, a number, it
        self._asked: dict[AcceptedBatch, None] = {}
        self.failed = Summed(redactor.redact_id)
        self.failed_unkept = Summed(redactor.redact_id)
        self.skipping = Summed(redactor.redact_id)
        self.unconfirmed = Summed(redactor.redact_id)
        self.untracked = 0

    @property
    def open_batches(self) -> int:
        """How many batches have not ended, as far as is known."""
        return len(self._pending) + len(self._asked)

    def follow(self, accepted: AcceptedBatch, *, is_awaited: bool = False) -> list[AcceptedBatch]:
        """Ask for an accepted batch until it has ended.

        Args:
            accepted: The batch.
            is_awaited: A move waits for it.

        Returns:
            Batches that are given up instead.
        """
        if accepted.batch_id is None:
            if self.is_followed:
                if accepted.stream is not None:
                    accepted.stream.report.untracked += accepted.taken
                self.untracked += accepted.taken
            return []
        given_up = []
        if len(self._pending) >= MAX_PENDING and not self.is_required:
            given_up.append(self._give_up(heapq.heappop(self._pending)[-1]))
        accepted.pause = FIRST_AWAITED_SECONDS if is_awaited else FIRST_LOOK_SECONDS
        self._ask_later(accepted)
        return given_up

    def _ask_later(self, accepted: AcceptedBatch) -> None:
        at = self._clock() + accepted.pause
        heapq.heappush(self._pending, (at, next(self._numbers), accepted))

    def ask_due(self) -> None:
        """Ask for the batches that it is time to ask for."""
        now = self._clock()
        while self._pending and self._pending[0][0] <= now and len(self._asked) < MAX_ASKED:
            *_, accepted = heapq.heappop(self._pending)
            self._asked[accepted] = None
            self._sending.ask(accepted)

    def note(self, accepted: AcceptedBatch, status: BatchStatus | None) -> BatchEnd:
        """Note an answer; a batch that has not ended is asked for again."""
        if accepted not in self._asked:
            return BatchEnd.OPEN  # it was given up meanwhile
        del self._asked[accepted]
        accepted.is_unreadable = status is None
        end = BatchEnd.OPEN
        if status is not None:
            accepted.status = status
            end = end_of_batch(status, contacts=accepted.contacts, named=accepted.named)
        if end is BatchEnd.OPEN:
            self._ask_later(accepted)
            accepted.pause = min(accepted.pause * 2, LONGEST_PAUSE_SECONDS)
        else:
            self._count(accepted, end)
        return end

    def _count(self, accepted: AcceptedBatch, end: BatchEnd) -> None:
        status, stream = accepted.status, accepted.stream
        if stream is None or status is None:
            return  # no record asked for it
        if end is BatchEnd.FAILED:
            self.failed.add(accepted)
            stream.report.failed += accepted.contacts
            if not accepted.has_records:
                self.failed_unkept.add(accepted)
            return
        stream.report.inserted += status.inserted
        stream.report.updated += status.updated
        stream.report.skipped += status.skipped
        if end is BatchEnd.SKIPPED:
            self.skipping.add(accepted)

    def give_up(self) -> list[AcceptedBatch]:
        """Ask no more; return the batches that have not ended, which count as unconfirmed."""
        left = [*(accepted for *_, accepted in self._pending), *self._asked]
        self._pending, self._asked = [], {}
        return [self._give_up(accepted) for accepted in left]

    def _give_up(self, accepted: AcceptedBatch) -> AcceptedBatch:
        if accepted.stream is not None:
            report = accepted.stream.report
            if accepted.is_unreadable:
                report.unreadable += accepted.contacts
            else:
                report.unconfirmed += accepted.contacts
            self.unconfirmed.add(accepted)
        return accepted

    def reason_of(self, accepted: AcceptedBatch, values: Iterable[str]) -> str:
        """Return why MainBrainer says that a batch has failed, without values of its records."""
        status = accepted.status
        return "" if status is None else self._redactor.redact(status.failed_reason, values)

    @property
    def has_lost_records(self) -> bool:
        """Whether records are before STATE that are neither in MainBrainer nor on file."""
        return bool(self.failed_unkept.batches) and not self.is_required

    def problems(self) -> Iterator[str]:
        """Yield each reason why the run has failed because batches have not ended well."""
        if self.is_required:
            again = "STATE stays before it, so the next run sends it again."
            if self.failed.batches:
                yield f"MainBrainer says that {self.failed} failed. {again}"
            for finding in self._findings():
                yield f"{finding} {again}"
            if self.untracked:
                yield (
                    f"MainBrainer accepted {self.untracked:,} contacts without a batch id, so "
                    f"that they cannot be confirmed, as 'confirm_batches: require' asks. {again}"
                )
        elif self.has_lost_records:
            yield (
                f"MainBrainer says that {self.failed_unkept} failed after it had accepted them. "
                "STATE has advanced, so the next run does not read these records again: load them "
                "once more. Set 'rejects_path' to have such records set aside."
            )

    def warnings(self) -> Iterator[str]:
        """Yield which batches have not ended well, where that does not fail the run."""
        if self.is_required:
            return
        if self.failed.batches > self.failed_unkept.batches:
            yield (
                f"MainBrainer says that {self.failed} failed after it had accepted them. "
                "Their records are in the rejects file."
            )
        for finding in self._findings():
            yield (
                f"{finding} The run still counts it as accepted, because 'confirm_batches' is not "
                "'require'."
            )

    def _findings(self) -> Iterator[str]:
        if self.skipping.batches:
            yield f"MainBrainer skipped contacts in {self.skipping}."
        if self.unconfirmed.batches:
            yield (
                f"MainBrainer accepted {self.unconfirmed} but had not confirmed that when the run "
                "ended ('confirm_timeout_seconds'). It may still be applied."
            )
