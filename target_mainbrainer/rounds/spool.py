"""Records of accepted batches, on disk until it is known whether their batch has failed.

A batch can fail minutes after it was accepted, and then its records go to the rejects file. They
wait in files without a name, beside the rejects file, so that they take no memory and are gone
with the process, however it ends. STATE does not wait for them.
"""

from __future__ import annotations

import os
import tempfile
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

    def __init__(self, folder: Path | None) -> None:
        self.file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed below
        self.size = 0
        self.batches = 0


class Spooled(t.NamedTuple):
    """Where the records of one batch are."""

    segment: Segment
    start: int
    size: int


class Spool:
    """Keeps data of accepted batches, in a folder or among the system's temporary files."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._segments: list[Segment] = []

    def keep(self, records: Sequence[SourceRecord]) -> Spooled:
        """Write records down, and return where.

        Raises:
            DeliveryError: There is no room for them.
        """
        return self.keep_data(
            msgspec.msgpack.encode([(record.number, record.line) for record in records])
        )

    def keep_data(self, data: bytes) -> Spooled:
        """Write bytes down, and return where.

        Raises:
            DeliveryError: There is no room for them.
        """
        try:
            if not self._segments or self._segments[-1].size >= SEGMENT_BYTES:
                self._segments.append(Segment(self._folder))
            segment = self._segments[-1]
            rest, start = memoryview(data), segment.size
            while rest:
                written = os.pwrite(segment.file.fileno(), rest, start)
                rest, start = rest[written:], start + written
        except OSError as error:
            message = (
                "The records of accepted batches cannot be kept in "
                f"'{self._folder or tempfile.gettempdir()}' "
                f"({error.strerror}) until the batches are confirmed. Make room, set another "
                "'rejects_path', or set 'confirm_batches' to 'none', and run again."
            )
            raise DeliveryError(message) from None
        spooled = Spooled(segment, segment.size, len(data))
        segment.size += len(data)
        segment.batches += 1
        return spooled

    def take(self, spooled: Spooled) -> list[SourceRecord]:
        """Return the records of a batch, and forget them. They belong to no interval of STATE."""
        interval = StateInterval()
        return [
            SourceRecord(interval, number, line)
            for number, line in msgspec.msgpack.decode(
                self.take_data(spooled), type=list[tuple[int, bytes]]
            )
        ]

    def take_data(self, spooled: Spooled) -> bytes:
        """Return bytes that were written down, and forget them."""
        data = os.pread(spooled.segment.file.fileno(), spooled.size, spooled.start)
        self.forget(spooled)
        return data

    def forget(self, spooled: Spooled) -> None:
        """Free the room of a batch that has ended."""
        segment = spooled.segment
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
        for segment in self._segments:
            segment.file.close()
        self._segments = []
