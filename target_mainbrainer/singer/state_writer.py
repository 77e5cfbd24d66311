"""STATE messages out: whole lines on standard output, without waiting for ever for a reader."""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
import time
import typing as t

from target_mainbrainer.errors import DeliveryError

if t.TYPE_CHECKING:
    from collections.abc import Callable

CHUNK_BYTES = 4096
"""What a pipe that is ready takes at once, and whole (POSIX's PIPE_BUF on Linux)."""

PATIENCE_SECONDS = 5.0
"""How long a run that is to end waits for a reader that has stopped reading."""

_PAUSE_SECONDS = 0.5
_CLOSED = "it is closed"
_UNREAD = "nothing reads it"


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
        stdout = t.cast("t.TextIO | None", sys.stdout)
        if stdout is None:
            raise self._failed(_CLOSED)
        try:
            descriptor = stdout.fileno()
        except io.UnsupportedOperation:  # no file: somebody collects it in memory
            stdout.write(line)
            return
        rest = memoryview(line.encode())
        try:
            while rest:
                self._wait_for_reader(descriptor)
                rest = rest[os.write(descriptor, rest[:CHUNK_BYTES]) :]
        except OSError as error:
            _forget(descriptor)
            raise self._failed(error.strerror or type(error).__name__) from None

    def _wait_for_reader(self, descriptor: int) -> None:
        while not select.select([], [descriptor], [], _PAUSE_SECONDS)[1]:
            if self._is_ending():
                now = time.monotonic()
                self._deadline = self._deadline or now + PATIENCE_SECONDS
                if now >= self._deadline:
                    _forget(descriptor)
                    raise self._failed(_UNREAD)

    def _failed(self, reason: str) -> DeliveryError:
        self._failure = DeliveryError(
            f"STATE cannot be written to standard output ({reason}). What came after the last "
            "STATE that was written will be read and sent again by the next run."
        )
        return self._failure


def _forget(descriptor: int) -> None:
    """Let what cannot be written go nowhere, so that Python's exit does not fail on it again."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
