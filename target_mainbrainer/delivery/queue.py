"""Which batch may be sent next, so that an older record never overwrites a newer one.

Batches that share an identifier are sent one after the other, in the order of the input; all
others may be in flight together. MainBrainer gives no order between requests (API note, section
8.1), so the order has to come from here.
"""

from __future__ import annotations

import threading
import time
import typing as t
from collections import deque

from target_mainbrainer.delivery.witnesses import Witnesses

if t.TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable

    from target_mainbrainer.delivery.batch import Batch, Destination
    from target_mainbrainer.delivery.witnesses import Witness

READY_BATCHES = 4
"""Batches kept ready for the next free worker."""

MIN_CONTACTS = 1_000
"""So many contacts are taken in any case, so that small batches leave enough to choose witnesses
from."""

MAX_CONTACTS = 20_000
MAX_BYTES = 6 * 1024 * 1024
"""Bounds of what is queued and in flight, so that the memory stays flat. A record takes some eight
times its length while it waits; at 315 bytes both bounds are the same."""


class BatchQueue:
    """The batches between the reader, who puts them in, and the workers, who take them out.

    It is bounded, which is what keeps the memory flat: `put` has to be tried again while it is
    full.

    Args:
        max_in_flight: Returns how many batches may be in flight now. It is asked again whenever
            a batch comes or is done, and may have changed.
    """

    def __init__(self, max_in_flight: Callable[[], int]) -> None:
        self._max_in_flight = max_in_flight
        self._witnesses = Witnesses()
        # Each wakes only who has something to do: a worker for a batch, the reader for a place.
        lock = threading.Lock()
        self._has_batch = threading.Condition(lock)
        self._has_place = threading.Condition(lock)
        self._has_news = threading.Condition(lock)
        self._idle = 0
        self._ready: deque[Batch] = deque()
        self._last_with: dict[Hashable, Batch] = {}
        self._inside = self._contacts = self._bytes = self._newest_bytes = 0
        self._in_hand = 0
        self._put = 0
        self._has_input_ended = False
        self._closed = False

    # The reader

    def put(self, batch: Batch, *, wait_seconds: float) -> bool:
        """Queue a batch; return False if there was no place for it in the given time."""
        with self._has_place:
            if not self._has_place.wait_for(lambda: not self._is_full, wait_seconds):
                return False
            self._put += 1
            batch.number = self._put
            shared = self._last_with.keys() & batch.keys
            batch.follow({self._last_with[key] for key in shared})
            self._enter(batch)
            self._witnesses.forget(batch.keys)
            if batch.is_free:
                self._ready.append(batch)
                self._has_batch.notify()
            self._has_news.notify_all()
            return True

    def end_input(self) -> None:
        """Note that no more batches come."""
        with self._has_place:
            self._has_input_ended = True
            self._has_news.notify_all()

    @property
    def has_input_ended(self) -> bool:
        """Whether no more batches come."""
        return self._has_input_ended or self._closed

    def wants_workers(self, workers: int) -> bool:
        """Return whether a batch could be sent now if there were one more than so many workers."""
        with self._has_batch:
            return len(self._ready) > self._idle and workers < self._max_in_flight()

    def wait_until_done(self, wait_seconds: float) -> bool:
        """Wait until nothing is being sent and, while the queue is open, nothing waits either."""
        with self._has_place:
            return self._has_place.wait_for(
                lambda: (self._in_hand if self._closed else self._inside) == 0, wait_seconds
            )

    def close(self) -> None:
        """Hand out no more batches; what is being sent goes on."""
        with self._has_place:
            self._closed = True
            self._has_batch.notify_all()
            self._has_place.notify_all()
            self._has_news.notify_all()

    # The workers

    def take(self) -> Batch | None:
        """Wait for a batch that may be sent now; None once the queue is closed."""
        with self._has_batch:
            self._idle += 1
            self._has_batch.wait_for(lambda: self._closed or self._may_take)
            self._idle -= 1
            if self._closed:
                return None
            self._in_hand += 1
            return self._ready.popleft()

    def done(self, batch: Batch, witness: Witness | None = None) -> None:
        """Release the batches that waited for this one.

        Args:
            batch: It was taken out of the queue.
            witness: A contact of it that was accepted, to be remembered unless it has come again.
        """
        with self._has_place:
            if witness is not None and all(
                self._last_with.get(key) is batch for key in witness.keys
            ):
                self._witnesses.keep(batch.destination, witness)
            self._in_hand -= 1
            self._leave(batch)

    # The circuit breaker

    def ready(self, destination: Destination) -> list[Batch]:
        """Return the queued batches for a destination that could be sent now."""
        with self._has_batch:
            return [batch for batch in self._ready if batch.destination == destination]

    def reserve(self, batch: Batch) -> bool:
        """Hold back all later batches that share a key with this one, until it is released.

        Returns:
            Whether that was possible: none that does was queued or in flight.
        """
        with self._has_place:
            if self._closed or not self._last_with.keys().isdisjoint(batch.keys):
                return False
            self._enter(batch)
            return True

    def release(self, batch: Batch) -> None:
        """End a reservation."""
        with self._has_place:
            self._leave(batch)

    def witnesses(self, destination: Destination) -> list[Witness]:
        """Return the contacts that passed lately, the newest first."""
        with self._has_batch:
            return self._witnesses.of(destination)

    def forget_witnesses(self, keys: Collection[Hashable]) -> None:
        """Never send contacts once more that have one of these keys; something else does."""
        with self._has_batch:
            self._witnesses.forget(keys)

    def wait_until_filled(self, silence_seconds: float, longest_seconds: float) -> None:
        """Wait until the queue is full, the input has ended, or nothing has come for so long.

        Args:
            silence_seconds: How long nothing may come.
            longest_seconds: How long it may come slowly.
        """
        end = time.monotonic() + longest_seconds
        with self._has_news:
            while not (self._is_full or self.has_input_ended):
                before = self._put
                self._has_news.wait(min(silence_seconds, max(0.0, end - time.monotonic())))
                if self._put == before:
                    return

    # Under the lock

    def _enter(self, batch: Batch) -> None:
        self._last_with.update(dict.fromkeys(batch.keys, batch))
        self._inside += 1
        self._contacts += len(batch.contacts)
        self._bytes += batch.size_bytes
        self._newest_bytes = batch.size_bytes

    def _leave(self, batch: Batch) -> None:
        for key in batch.keys:
            if self._last_with.get(key) is batch:
                del self._last_with[key]
        self._ready.extend(batch.release())
        self._wake_workers()
        self._inside -= 1
        self._contacts -= len(batch.contacts)
        self._bytes -= batch.size_bytes
        self._has_place.notify_all()

    def _wake_workers(self) -> None:
        """Wake as many as there are batches for: one for one, several for several."""
        self._has_batch.notify(max(0, min(len(self._ready), self._max_in_flight() - self._in_hand)))

    @property
    def _is_full(self) -> bool:
        if not self._inside:
            return False
        # The next batch is likely to be as large as the newest one.
        if self._contacts >= MAX_CONTACTS or self._bytes + self._newest_bytes > MAX_BYTES:
            return True
        places = self._max_in_flight() + READY_BATCHES
        return self._inside >= places and self._contacts >= MIN_CONTACTS

    @property
    def _may_take(self) -> bool:
        return bool(self._ready) and self._in_hand < self._max_in_flight()
