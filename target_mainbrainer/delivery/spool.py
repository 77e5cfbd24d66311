"""Records of accepted batches, on disk until it is known whether their batch has failed.

A batch can fail minutes after it was accepted, and then its records go to the rejects file. They
wait in files without a name, beside the rejects file, so that they take no memory and are gone
with the process, however it ends. STATE does not wait for them: with `confirm_batches: report` a
run that is killed leaves batches behind that nothing asks for any more. Where that matters,
`require` lets STATE wait, and a ledger lets the next run ask.
"""

from __future__ import annotations

import os
import tempfile
import threading
import typing as t

import msgspec

from target_mainbrainer.errors import DeliveryError
from target_mainbrainer.singer.records import SourceRecord, StateInterval

if t.TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SEGMENT_BYTES = 16 * 1024 * 1024
"""A file is given up once it is so long, and freed once all batches in it have ended."""


class Segment:
    """One file of the spool."""

    def __init__(self, folder: Path) -> None:
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by the spool
        self.size = 0
        self.batches = 0


class Spooled(t.NamedTuple):
    """Where the records of one batch are."""

    segment: Segment
    start: int
    size: int


class Spool:
    """Keeps records of accepted batches.

    Args:
        folder: Where the files are made, readable for their owner only.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._segments: list[Segment] = []

    def keep(self, source_records: Sequence[SourceRecord]) -> Spooled:
        """Write records down, and return where.

        Raises:
            DeliveryError: There is no room for them.
        """
        data = msgspec.msgpack.encode([(record.number, record.line) for record in source_records])
        with self._lock:
            try:
                if not self._segments or self._segments[-1].size >= SEGMENT_BYTES:
                    self._segments.append(Segment(self._folder))
                segment = self._segments[-1]
                _write(segment.file.fileno(), data, segment.size)
            except OSError as error:
                msg = (
                    f"The records of accepted batches cannot be kept in '{self._folder}' "
                    f"({error.strerror}) until the batches are confirmed. Make room, set another "
                    "'rejects_path', or set 'confirm_batches' to 'none', and run again."
                )
                raise DeliveryError(msg) from None
            spooled = Spooled(segment, segment.size, len(data))
            segment.size += len(data)
            segment.batches += 1
            return spooled

    def take(self, spooled: Spooled) -> list[SourceRecord]:
        """Return the records of a batch, and forget them.

        STATE does not wait for them any more, so they belong to no interval of it.
        """
        data = os.pread(spooled.segment.file.fileno(), spooled.size, spooled.start)
        self.forget(spooled)
        interval = StateInterval()
        return [
            SourceRecord(interval, number, line)
            for number, line in msgspec.msgpack.decode(data, type=list[tuple[int, bytes]])
        ]

    def forget(self, spooled: Spooled) -> None:
        """Free the room of a batch that has ended."""
        segment = spooled.segment
        with self._lock:
            segment.batches -= 1
            if segment.batches:
                return
            if segment is self._segments[-1]:
                segment.file.truncate(0)
                segment.size = 0
            else:
                self._segments.remove(segment)
                segment.file.close()

    def close(self) -> None:
        """Remove everything."""
        with self._lock:
            for segment in self._segments:
                segment.file.close()
            self._segments = []


def _write(descriptor: int, data: bytes, start: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, start)
        rest, start = rest[written:], start + written
