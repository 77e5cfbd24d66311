"""Which STATE may be written: the newest one before which nothing is left open."""

from __future__ import annotations

import threading
import typing as t
from collections import Counter, deque

import msgspec
from typing_extensions import override

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
State: t.TypeAlias = "dict[str, t.Any]"


class Epoch:
    """The records between two STATE messages.

    Attributes:
        read: Records read so far.
        settled: Records whose outcome is safe: taken by the CRM, on file, or omitted.
        state: The STATE message that ended this epoch, or None while it goes on.
    """

    __slots__ = ("read", "settled", "state")

    def __init__(self) -> None:
        self.read = 0
        self.settled = 0
        self.state: State | None = None


class Origin(msgspec.Struct, frozen=True, gc=False):
    """The record that a contact, or a part of one, was made of.

    Attributes:
        epoch: What STATE waits for this record.
        number: The record's number in its stream, counted from 1.
        line: The RECORD message as it was read, for the rejects file.
    """

    epoch: Epoch
    number: int
    line: bytes

    @override
    def __repr__(self) -> str:
        return f"<Origin of record {self.number}>"

    @override
    def __rich_repr__(self) -> list[tuple[str, t.Any]]:
        """Keep pretty printers from showing the line after all."""
        return []


class Ledger:
    """Holds every STATE message back until all records before it are settled.

    The reading thread counts records and asks for due STATE; senders settle records. Only as many
    epochs are kept as are open.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed: deque[Epoch] = deque()
        self.epoch = Epoch()

    def close_epoch(self, state: State) -> None:
        """Note a STATE message at this point of the input."""
        self.epoch.state = state
        self._closed.append(self.epoch)
        self.epoch = Epoch()

    def settle(self, origins: Iterable[Origin]) -> None:
        """Count records whose outcome is safe."""
        self.settle_counted(Counter(origin.epoch for origin in origins))

    def settle_counted(self, counts: Mapping[Epoch, int]) -> None:
        """Likewise, for records that are only numbers any more."""
        with self._lock:
            for epoch, count in counts.items():
                epoch.settled += count

    def take_due(self) -> State | None:
        """Return the newest STATE before which nothing is open, once; None if there is none."""
        due = None
        with self._lock:
            while self._closed and self._closed[0].settled == self._closed[0].read:
                due = self._closed.popleft().state
        return due

    @property
    def open_states(self) -> int:
        """STATE messages that still wait for records."""
        return len(self._closed)
