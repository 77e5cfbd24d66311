"""What stands between the sinks and the buffers of a run with a ledger."""

from __future__ import annotations

import contextlib
import logging
import typing as t

from target_mainbrainer.delivery.comparing import Comparer
from target_mainbrainer.delivery.confirmation import BatchEnd, end_of_batch
from target_mainbrainer.delivery.full_reads import FullReads
from target_mainbrainer.errors import DeliveryError

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from target_mainbrainer.api.answers import BatchStatus
    from target_mainbrainer.config.settings import Settings
    from target_mainbrainer.delivery.buffer import OpenBuffers
    from target_mainbrainer.delivery.full_reads import StreamPlan
    from target_mainbrainer.delivery.moves import Moves
    from target_mainbrainer.delivery.state_tracker import StateTracker
    from target_mainbrainer.ledger.ledger import Ledger
    from target_mainbrainer.ledger.stream_ledger import OpenBatch, StreamLedger

MOST_ASKED_FOR = 50
"""Batches of earlier runs that are asked for at the start; contacts of others are sent again."""

logger = logging.getLogger("target-mainbrainer")


class LedgerIntake:
    """Takes streams and their contacts, compares them, and deals with what is missing.

    Args:
        settings: The run's settings.
        ledger: The run's ledger; closed with this.
        ledgers: The ledgers of the streams, which are put in here as they are taken.
        buffers: Take the contacts that are to be sent.
        state_tracker: Told of records that need not be sent.
        ask: Returns the status of a batch, None if it cannot be told.
        moves: Lets contacts follow people who have moved; None if they are not followed.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        ledgers: dict[str, StreamLedger],
        buffers: OpenBuffers,
        state_tracker: StateTracker,
        *,
        ask: Callable[[str], BatchStatus | None],
        moves: Moves | None,
    ) -> None:
        self._moves = moves
        self._omits_unchanged_opt_in = settings.unchanged_opt_in == "omit"
        self._ledger = ledger
        self._ledgers = ledgers
        self._sends_all = settings.unchanged_contacts == "send"
        self._ask = ask
        self.comparer = Comparer(
            buffers,
            state_tracker,
            ledgers,
            held_back=None if moves is None else moves.held_back,
            omits_unchanged_opt_in=self._omits_unchanged_opt_in,
        )
        self.full_reads = FullReads(
            ledgers,
            self.comparer,
            state_tracker,
            missing_records=settings.missing_records,
            max_drift_percent=settings.max_drift_percent,
            moving=lambda name: 0 if moves is None else moves.held_back.moving(name),
        )
        for note in ledger.notes:
            logger.warning("%s", note)

    def open_stream(self, plan: StreamPlan) -> None:
        """Take a stream for this run, when it is announced for the first time.

        Raises:
            LedgerError: Another run delivers it.
        """
        name = plan.source.stream
        self.full_reads.expect(plan)
        if name in self._ledgers:
            return
        if not plan.key_properties:
            logger.info(
                "Stream '%s' has no key_properties, so the ledger knows its contacts by their "
                "e-mail address and mobile number; a changed one makes another contact.",
                name,
            )
        stream = self._ledger.open_stream(name, sends_all=self._sends_all)
        self._ledgers[name] = stream
        if self._omits_unchanged_opt_in and not stream.count_known():
            logger.warning(
                "The ledger knows no contact yet, so every opt-in of stream '%s' that is true is "
                "sent once, to people as well who have unsubscribed in MainBrainer since. From "
                "the next run on 'unchanged_opt_in: omit' holds those back that have not changed.",
                name,
            )
        for number, batch in enumerate(reversed(stream.open_batches)):
            if number < MOST_ASKED_FOR and self._was_applied(batch):
                stream.batch_ended(batch.batch_id)
            else:
                stream.batch_failed(batch.batch_id)
        stream.flush()

    def _was_applied(self, batch: OpenBatch) -> bool:
        """Return whether all of a batch of an earlier run is known to be in."""
        status = self._ask(batch.batch_id)
        if status is None:
            return False
        return end_of_batch(status, contacts=batch.contacts) is BatchEnd.CONFIRMED

    def end_input(self) -> None:
        """Deal with what is missing; the input has ended whole, and all of it was compared."""
        self.full_reads.end()
        if self._moves is None or self._moves.held_back.is_empty:
            return
        if problems := [*self.full_reads.problems()]:
            raise DeliveryError(" ".join([*problems, "None was moved either."]))
        self._moves.finish()

    @property
    def is_any_waiting(self) -> bool:
        """Whether contacts are left that could not move, because the input did not end whole."""
        return self._moves is not None and not self._moves.held_back.is_empty

    def problems(self) -> Iterator[str]:
        """Say why the run has failed."""
        yield from self.full_reads.problems()
        if self._moves is not None:
            yield from self._moves.steps.problems()

    def warnings(self) -> Iterator[str]:
        """Say what became of contacts that did not move."""
        if self._moves is not None:
            yield from self._moves.steps.warnings()

    def close(self) -> None:
        """Write what is known, and let other runs have the streams.

        Raises:
            LedgerError: It cannot be written.
        """
        with contextlib.ExitStack() as closing:  # goes on when one of them fails
            closing.callback(self._ledger.close)
            for ledger in self._ledgers.values():
                closing.callback(ledger.release)
