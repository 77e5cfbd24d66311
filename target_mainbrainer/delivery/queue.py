"""Which batch may be sent next, so that no contact is ever overtaken by its own past.

Batches that share an identifier are sent one after the other, in the order of the input; all
others may be in flight together. MainBrainer gives no order between requests (API note, section
8.1), so the order has to come from here.
"""

from __future__ import annotations

import threading
import typing as t
from collections import deque

if t.TYPE_CHECKING:
    from collections.abc import Hashable

    from target_mainbrainer.delivery.buffer import PendingContact
    from target_mainbrainer.reporting.source_stream import SourceStream


class Destination(t.NamedTuple):
    """Where a batch goes; what the API says about one destination says nothing about others."""

    list_id: str | None
    webhook_url: str | None


class Batch:
    """Contacts that are delivered together, and the earlier batches they have to wait for."""

    def __init__(
        self,
        entries: list[PendingContact],
        keys: set[Hashable],
        destination: Destination,
        source: SourceStream,
    ) -> None:
        self.entries = entries
        self.keys = keys
        self.destination = destination
        self.source = source
        self._earlier: set[Batch] = set()
        self._later: dict[Batch, None] = {}

    def follow(self, earlier: set[Batch]) -> bool:
        """Wait for earlier batches; return whether there are none."""
        self._earlier = earlier
        for batch in earlier:
            batch._later[self] = None  # noqa: SLF001 - the other end of the same tie
        return not earlier

    def release(self) -> list[Batch]:
        """Let go of the later batches, and return those that now wait for nothing."""
        free = []
        for batch in self._later:
            batch._earlier.discard(self)  # noqa: SLF001
            if not batch._earlier:  # noqa: SLF001
                free.append(batch)
        self._later = {}
        return free


class BatchQueue:
    """The batches between the reader, who puts them in, and the senders, who take them out.

    It is bounded, which is what keeps the memory flat: `put` has to be tried again while it is
    full.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        # Each wakes only who has something to do: a sender for a batch, the reader for a place.
        lock = threading.Lock()
        self._has_batch = threading.Condition(lock)
        self._has_place = threading.Condition(lock)
        self._idle = 0
        self._ready: deque[Batch] = deque()
        self._last_with: dict[Hashable, Batch] = {}
        self._inside = 0
        self._in_hand = 0
        self._closed = False

    def put(self, batch: Batch, *, wait_seconds: float) -> bool:
        """Queue a batch; return False if there was no place for it in the given time."""
        with self._has_place:
            if not self._has_place.wait_for(lambda: self._inside < self._places, wait_seconds):
                return False
            self._inside += 1
            last = self._last_with
            earlier = {last[key] for key in batch.keys if key in last}
            for key in batch.keys:
                last[key] = batch
            if batch.follow(earlier):
                self._ready.append(batch)
                self._has_batch.notify()
            return True

    def take(self) -> Batch | None:
        """Wait for a batch that may be sent now; None once the line is closed."""
        with self._has_batch:
            self._idle += 1
            self._has_batch.wait_for(lambda: self._ready or self._closed)
            self._idle -= 1
            if self._closed:
                return None
            self._in_hand += 1
            return self._ready.popleft()

    def done(self, batch: Batch) -> None:
        """Let the batches go that waited for this one."""
        with self._has_place:
            for key in batch.keys:
                if self._last_with.get(key) is batch:
                    del self._last_with[key]
            freed = batch.release()
            self._ready.extend(freed)
            self._has_batch.notify(len(freed))
            self._inside -= 1
            self._in_hand -= 1
            self._has_place.notify_all()

    def wait_until_done(self, wait_seconds: float) -> bool:
        """Wait until nothing is being sent and, while the line is open, nothing waits either."""
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

    @property
    def is_wanting_senders(self) -> bool:
        """Whether a batch could be sent now if there were another sender."""
        return len(self._ready) > self._idle
