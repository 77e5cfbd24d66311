"""Which STATE may be written: the newest one before which nothing is left open."""

from __future__ import annotations

import threading
import typing as t
from collections import Counter, deque

from target_mainbrainer.singer.source_record import StateInterval

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from target_mainbrainer.singer.source_record import SourceRecord, State


class StateTracker:
    """Holds every STATE message back until all records before it are settled.

    Attributes:
        has_state: Whether there was any STATE message.
        records_taken: Records before the newest STATE that `take_due` has returned.

    The reading thread counts records and asks for due STATE; senders settle records. Only as many
    epochs are kept as are open.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed: deque[StateInterval] = deque()
        self.interval = StateInterval()
        self.has_state = False
        self.records_taken = 0

    def close_interval(self, state: State) -> None:
        """Note a STATE message at this point of the input."""
        self.interval.state = state
        self.has_state = True
        self._closed.append(self.interval)
        self.interval = StateInterval()

    def settle(self, source_records: Iterable[SourceRecord]) -> None:
        """Count records whose outcome is safe."""
        self.settle_counted(Counter(source_record.interval for source_record in source_records))

    def settle_counted(self, counts: Mapping[StateInterval, int]) -> None:
        """Likewise, for records that are only numbers any more."""
        with self._lock:
            for interval, count in counts.items():
                interval.settled += count

    def take_due(self) -> State | None:
        """Return the newest STATE before which nothing is open, once; None if there is none."""
        due = None
        with self._lock:
            while self._closed and self._closed[0].settled == self._closed[0].read:
                interval = self._closed.popleft()
                self.records_taken += interval.read
                due = interval.state
        return due

    @property
    def open_states(self) -> int:
        """STATE messages that still wait for records."""
        return len(self._closed)
