"""Requests whose effect is awaited: batches go out side by side, then their statuses are asked for.

A move needs that twice: what the first request has found decides what the second one sends. A
status costs as much of the plan as a request that sends contacts, so a few batches are asked for
first, and the others once most of these have ended.
"""

from __future__ import annotations

import time
import typing as t
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

from target_mainbrainer.api.answers import Accepted
from target_mainbrainer.delivery.confirmation import BatchEnd, end_of_batch

if t.TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from target_mainbrainer.api.answers import BatchStatus
    from target_mainbrainer.delivery.batch import Destination
    from target_mainbrainer.delivery.pending_contact import PendingContact
    from target_mainbrainer.delivery.sender import Sender

FIRST_PAUSE_SECONDS = 0.25
PAUSE_GROWTH = 3
"""Each pause before statuses are asked for is so many times the one before."""

SAMPLE_SIZE = 10
"""So many statuses show whether it is time to ask for the others."""

_TICK_SECONDS = 0.2

_In = t.TypeVar("_In")
_Out = t.TypeVar("_Out")


class Request(t.NamedTuple):
    """One batch to be sent."""

    destination: Destination
    contacts: Sequence[PendingContact]


class Reply:
    """What became of one batch.

    Attributes:
        accepted: What the API said at once; None if it refused the request.
        status: The last status that could be read.
    """

    def __init__(self, contacts: int, accepted: Accepted | None) -> None:
        self._contacts = contacts
        self.accepted = accepted
        self.status: BatchStatus | None = None

    @property
    def end(self) -> BatchEnd:
        """How the batch has ended, as far as that is known."""
        if self.accepted is None or self.status is None:
            return BatchEnd.OPEN
        named = self.accepted.invalid_contacts.ids
        return end_of_batch(self.status, contacts=self._contacts, named=named)

    @property
    def batch_id(self) -> str | None:
        """The batch to ask for; None if there is nothing to ask for."""
        return None if self.accepted is None else self.accepted.batch_id

    @property
    def found(self) -> tuple[int, bool] | None:
        """The id of the only contact sent, and whether it is new; None if that is not told."""
        status = self.status
        if self.end is not BatchEnd.CONFIRMED or status is None:
            return None
        ids = status.inserted_ids | status.updated_ids
        if len(ids) != 1 or status.processed != 1:
            return None
        return next(iter(ids)), bool(status.inserted_ids)


class MoveRequests:
    """Sends batches, and waits for what becomes of them.

    Args:
        sender: Sends contacts.
        ask: Returns the status of a batch, None if it cannot be told.
        most_at_once: Returns how many requests may be under way.
        tick: Does what is due meanwhile; raises if the run cannot go on.
        timeout_seconds: How long a status is awaited.
    """

    def __init__(
        self,
        sender: Sender,
        *,
        ask: Callable[[str], BatchStatus | None],
        most_at_once: Callable[[], int],
        tick: Callable[[], None],
        timeout_seconds: float,
    ) -> None:
        self._sender = sender
        self._ask = ask
        self._most_at_once = most_at_once
        self._tick = tick
        self._timeout_seconds = timeout_seconds

    def deliver(self, requests: Sequence[Request]) -> list[Reply]:
        """Send batches, and return what became of each.

        Raises:
            TargetMainBrainerError: The run cannot go on.
        """
        replies = self._at_once(self._send, requests)
        self._await_ends([reply for reply in replies if reply.batch_id is not None])
        return replies

    def _await_ends(self, replies: Sequence[Reply]) -> None:
        """Ask for statuses until all batches have ended, and all at the end of the time-out."""
        deadline = time.monotonic() + self._timeout_seconds
        pause = FIRST_PAUSE_SECONDS
        is_over = False
        while replies and not is_over:
            next_round = min(time.monotonic() + pause, deadline)
            pause *= PAUSE_GROWTH
            self._wait_until(next_round)
            is_over = next_round >= deadline
            sample, others = replies[:SAMPLE_SIZE], replies[SAMPLE_SIZE:]
            still_open = self._ask_for(sample)
            if is_over or len(still_open) <= len(sample) / 2:
                others = self._ask_for(others)
            # The next sample is of others, so that batches that never end hold up nothing.
            replies = [*others, *still_open]

    def _wait_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            self._tick()
            time.sleep(min(left, _TICK_SECONDS))

    def _ask_for(self, replies: Sequence[Reply]) -> list[Reply]:
        """Ask for the status of batches once; return those that have not ended."""
        self._at_once(self._update_status, replies)
        return [reply for reply in replies if reply.end is BatchEnd.OPEN]

    def _send(self, request: Request) -> Reply:
        answer = self._sender.send(request.destination, request.contacts, alone=False)
        accepted = answer if isinstance(answer, Accepted) else None
        return Reply(len(request.contacts), accepted)

    def _update_status(self, reply: Reply) -> None:
        reply.status = self._ask(t.cast("str", reply.batch_id)) or reply.status

    def _at_once(self, work: Callable[[_In], _Out], items: Sequence[_In]) -> list[_Out]:
        """Do something with all items, several at once, and tick meanwhile."""
        if not items:
            return []
        pool = ThreadPoolExecutor(min(len(items), self._most_at_once()), "mover")
        try:
            futures = [pool.submit(work, item) for item in items]
            running = set(futures)
            while running:
                done, running = wait(running, _TICK_SECONDS, FIRST_COMPLETED)
                for future in done:
                    future.result()
                self._tick()
            return [future.result() for future in futures]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
