"""From buffer to STATE: what the reading thread sees of delivery.

```
 reader ── add ──▶ OpenBuffers ── submit ──▶ BatchQueue ──▶ Workers ──▶ Outcomes ──▶ StateTracker
                                                 │ CircuitBreaker, bisect    ├──▶ rejects
                                                 └── Sender ──▶ API          └──▶ StatusPoller
```

The reading thread submits batches and, whenever it waits, ticks: it writes the STATE that is due
and the progress line. It alone writes to stdout.
"""

from __future__ import annotations

import typing as t

from target_mainbrainer.delivery.outcomes import Outcomes
from target_mainbrainer.delivery.queue import BatchQueue
from target_mainbrainer.delivery.sender import Sender
from target_mainbrainer.delivery.status_polling import StatusPoller
from target_mainbrainer.delivery.workers import Workers
from target_mainbrainer.errors import InterruptedRunError

if t.TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Hashable, Iterator, Mapping

    from target_mainbrainer.api.answers import BatchStatus
    from target_mainbrainer.api.client import MainBrainerClient
    from target_mainbrainer.config.settings import Settings
    from target_mainbrainer.delivery.batch import Batch
    from target_mainbrainer.delivery.spool import Spool
    from target_mainbrainer.delivery.state_tracker import StateTracker
    from target_mainbrainer.ledger.stream_ledger import StreamLedger
    from target_mainbrainer.reporting.rejections import Rejections
    from target_mainbrainer.singer.source_record import State

GRACE_SECONDS = 30.0
"""How long a run that has to end waits for what is in flight."""

STATE_INTERVAL_SECONDS = 2.0
PROGRESS_INTERVAL_SECONDS = 10.0
TICK_SECONDS = 0.5


class Delivery:
    """Delivers batches, several at once, and keeps account of every record in them.

    Args:
        settings: The run's settings.
        client: Speaks to MainBrainer; shared by all threads.
        state_tracker: Says which STATE may be written.
        rejects: Takes rejected records.
        spool: Keeps the records of accepted batches until they are confirmed; None to keep none.
        ledgers: Told what was delivered of a stream; none without a ledger.
        max_in_flight: Returns how many batches may be in flight now.
        can_spare_request: Returns whether sending leaves room for a question now.
        stop: Set when the run has to end: ends every wait for a limit or a retry.
        make_durable: Brings to the disk what STATE relies on; called before STATE is written.
        write_state: Writes a STATE message to stdout.
        write_progress: Writes the progress line.
        clock: Seconds, monotonic.

    Attributes:
        outcomes: What the API's answers have come to.
    """

    def __init__(
        self,
        settings: Settings,
        client: MainBrainerClient,
        *,
        state_tracker: StateTracker,
        rejects: Rejections,
        spool: Spool | None,
        ledgers: Mapping[str, StreamLedger],
        max_in_flight: Callable[[], int],
        can_spare_request: Callable[[], bool],
        stop: threading.Event,
        make_durable: Callable[[], None],
        write_state: Callable[[State], None],
        write_progress: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._can_spare_request = can_spare_request
        self._state_tracker = state_tracker
        self._stop = stop
        self._make_durable = make_durable
        self._write_state = write_state
        self._write_progress = write_progress
        self._clock = clock
        self._failures: list[BaseException] = []
        self._confirm_timeout = settings.confirm_timeout_seconds
        self._is_required = settings.confirm_batches == "require"
        self._spool = spool
        self.outcomes = Outcomes(
            state_tracker=state_tracker,
            rejects=rejects,
            spool=self._spool,
            ledgers=ledgers,
            is_followed=settings.confirm_batches != "none",
            is_confirmation_required=self._is_required,
        )
        self._status_poller = None
        if settings.confirm_batches != "none":
            self._status_poller = StatusPoller(
                self._ask_status,
                self._may_ask_status,
                self.outcomes,
                is_required=self._is_required,
                on_failure=self._fail,
                clock=clock,
            )
        self._queue = BatchQueue(max_in_flight)
        self._workers = Workers(
            self._queue,
            Sender(client),
            self.outcomes,
            self._status_poller,
            alone=settings.write_mode == "single",
            on_failure=self._fail,
        )
        self._next_state = clock() + STATE_INTERVAL_SECONDS
        self._next_progress = clock() + PROGRESS_INTERVAL_SECONDS

    def submit(self, batch: Batch) -> None:
        """Queue a batch for delivery, waiting for a place if there is none.

        Raises:
            TargetMainBrainerError: The run cannot go on.
        """
        while not self._queue.put(batch, wait_seconds=TICK_SECONDS):
            self.tick()
        self._workers.start_if_wanted()

    def tick(self) -> None:
        """Do what is due: STATE, the progress line, and the end of a run that cannot go on.

        Raises:
            TargetMainBrainerError: The run cannot go on.
        """
        if self._failures:
            raise self._failures[0]
        now = self._clock()
        if now >= self._next_state:
            self._next_state = now + STATE_INTERVAL_SECONDS
            self.write_due_state()
        if now >= self._next_progress:
            self._next_progress = now + PROGRESS_INTERVAL_SECONDS
            self._write_progress()

    def write_due_state(self) -> None:
        """Write the newest STATE before which nothing is open, if there is a new one."""
        self._make_durable()
        if (state := self._state_tracker.take_due()) is not None:
            self._make_durable()  # what was settled meanwhile, too
            self._write_state(state)

    def drain(self) -> None:
        """Deliver what is queued, and bring its outcome to the disk.

        Raises:
            TargetMainBrainerError: The run cannot go on.
        """
        while not self._queue.wait_until_done(TICK_SECONDS):
            self.tick()
        self.tick()
        self._make_durable()

    def forget_witnesses(self, identifiers: Collection[Hashable]) -> None:
        """Never send contacts once more that have one of these; they are about to change."""
        self._queue.forget_witnesses(identifiers)

    def finish(self) -> None:
        """Deliver what is queued, wait for confirmations, and write the last STATE.

        Raises:
            TargetMainBrainerError: The run cannot go on.
        """
        self._queue.end_input()
        while not self._queue.wait_until_done(TICK_SECONDS):
            self.tick()
        self.tick()
        self._workers.conclude()
        if self._status_poller is not None:
            deadline = self._clock() + self._confirm_timeout
            while not self._status_poller.wait(TICK_SECONDS) and self._clock() < deadline:
                self.tick()
        self._end()

    def interrupt(self, error: InterruptedRunError) -> None:
        """End the run at the next tick, unless it is ending already.

        A signal's handler may call this: it runs in the middle of anything, so it takes no lock.
        """
        self._failures.append(error)

    @property
    def is_ending(self) -> bool:
        """Whether the run has to end before its input has."""
        return bool(self._failures) or self._stop.is_set()

    def abort(self) -> None:
        """End a run that cannot go on: what is in flight finishes, nothing new begins."""
        self._close()
        self._queue.wait_until_done(GRACE_SECONDS)
        self._end()

    @property
    def has_lost_records(self) -> bool:
        """Whether records stand before STATE that are not in and on no file."""
        return self._status_poller is not None and self._status_poller.has_lost_records

    def problems(self) -> Iterator[str]:
        """Say why a run that came to its end has failed, because of accepted contacts."""
        if self._status_poller is not None:
            yield from self._status_poller.problems()
        if self._is_required:
            for finding in self.outcomes.findings():
                yield f"{finding} STATE stays before them, so the next run sends them again."

    def warnings(self) -> Iterator[str]:
        """Say what MainBrainer made of accepted contacts, where that does not fail the run."""
        if self._status_poller is not None:
            yield from self._status_poller.warnings()
        if not self._is_required:
            yield from self.outcomes.findings()

    def _ask_status(self, batch_id: str) -> BatchStatus | None:
        return self._client.batch_status(batch_id, wait=self._is_required)

    def _may_ask_status(self) -> bool:
        # While sending needs the whole budget, questions wait, unless STATE waits too.
        return self._is_required or self._can_spare_request()

    def _fail(self, error: BaseException) -> None:
        """End the run with the first error; nothing new is sent from here on."""
        if isinstance(error, InterruptedRunError) and self._stop.is_set():
            return  # it only follows from the end
        self._failures.append(error)
        self._close()

    def _close(self) -> None:
        self._queue.close()
        self._stop.set()
        self._workers.close()

    def _end(self) -> None:
        self._queue.close()
        if self._status_poller is not None:
            self._status_poller.close()
        if self._spool is not None:
            self._spool.close()
        self.write_due_state()
