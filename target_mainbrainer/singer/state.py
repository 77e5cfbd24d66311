"""Records as they were read, and STATE: kept until every record before it is settled.

STATE is written as one whole line then.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import sys
import time
import typing as t
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping

from target_mainbrainer.contacts import PrivateStruct
from target_mainbrainer.errors import DeliveryError

State: t.TypeAlias = "dict[str, t.Any]"

CHUNK_BYTES = 4096
"""The most that a pipe that is ready accepts at once, and whole (POSIX's PIPE_BUF on Linux)."""

PATIENCE_SECONDS = 5.0
"""How long a run that is to end waits for a reader that has stopped reading."""

_PAUSE_SECONDS = 0.5


class StateInterval:
    """The records between two STATE messages.

    Attributes:
        read: Records read so far.
        settled: Records whose outcome is safe: accepted by the CRM, on file, or omitted.
        state: The STATE message that ended this interval, or None while it is open.
    """

    __slots__ = ("read", "settled", "state")

    def __init__(self) -> None:
        self.read = 0
        self.settled = 0
        self.state: State | None = None


class SourceRecord(PrivateStruct, frozen=True, gc=False):
    """The record that a contact, or a part of one, was made of.

    Attributes:
        interval: The interval between two STATE messages that it belongs to.
        number: The record's number in its stream, counted from 1.
        line: The RECORD message as it was read, for the rejects file.
        source_key: `key_text` of the stream's `key_properties`; None without a ledger.
    """

    interval: StateInterval
    number: int
    line: bytes
    source_key: str | None = None


class StateTracker:
    """Keeps every STATE message until all records before it are settled.

    Only as many intervals are kept as are open. One thread uses it.

    Attributes:
        interval: The interval that records are being read into.
        has_state: Whether there was any STATE message.
        records_taken: Records before the newest STATE that `take_due` has returned.
    """

    def __init__(self) -> None:
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

    def expect_no(self, source_record: SourceRecord) -> None:
        """Expect a rejected record to be settled once more, when its "no" is delivered."""
        source_record.interval.settled -= 1

    def settle(self, source_records: Iterable[SourceRecord]) -> None:
        """Count records whose outcome is safe."""
        self.settle_counted(Counter(source_record.interval for source_record in source_records))

    def settle_counted(self, counts: Mapping[StateInterval, int]) -> None:
        """Count records whose outcome is safe, by interval."""
        for interval, count in counts.items():
            interval.settled += count

    def take_due(self) -> State | None:
        """Return the newest STATE before which nothing is open, once; None if there is none."""
        due = None
        while self._closed and self._closed[0].settled == self._closed[0].read:
            interval = self._closed.popleft()
            self.records_taken += interval.read
            due = interval.state
        return due

    @property
    def open_states(self) -> int:
        """STATE messages that still wait for records."""
        return len(self._closed)


class StateWriter:
    """Writes lines to standard output.

    Args:
        is_ending: Whether the run was asked to end, so that no reader is waited for any more.
    """

    def __init__(self, is_ending: Callable[[], bool]) -> None:
        self._is_ending = is_ending
        self._deadline: float | None = None
        self._failure: DeliveryError | None = None

    def write(self, line: str) -> None:
        """Write a line, whole or not at all if it is shorter than a chunk.

        Of a longer line, a reader that stops in the middle of it may have the beginning, but never
        the end: it cannot take it for whole.

        Raises:
            DeliveryError: It cannot be written.
        """
        if self._failure is not None:
            raise self._failure
        try:
            self._write(line)
        except OSError as error:
            with contextlib.suppress(OSError, AttributeError):
                # The rest goes nowhere, so that Python's exit does not fail on it again.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self._failure = DeliveryError(
                f"STATE cannot be written to standard output ({error.strerror}). The next run "
                "reads and sends again everything after the last STATE that was written."
            )
            raise self._failure from None

    def _write(self, line: str) -> None:
        stdout = t.cast("t.TextIO | None", sys.stdout)
        if stdout is None:
            raise OSError(errno.EBADF, "it is closed")
        try:
            descriptor = stdout.fileno()
        except io.UnsupportedOperation:  # not a file: collected in memory
            stdout.write(line)
            return
        rest = memoryview(line.encode())
        while rest:
            self._wait_for_reader(descriptor)
            rest = rest[os.write(descriptor, rest[:CHUNK_BYTES]) :]

    def _wait_for_reader(self, descriptor: int) -> None:
        while not select.select([], [descriptor], [], _PAUSE_SECONDS)[1]:
            if self._is_ending():
                now = time.monotonic()
                self._deadline = self._deadline or now + PATIENCE_SECONDS
                if now >= self._deadline:
                    raise OSError(errno.EPIPE, "nothing reads it")
