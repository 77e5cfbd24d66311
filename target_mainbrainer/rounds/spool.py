"""Contacts of accepted batches, on disk until it is known how their batch has ended.

A batch can fail minutes after it was accepted, and then its records go to the rejects file; or it
has recreated contacts, which are sent once more. They wait in files without a name, beside the
rejects file if there is one, so that they take no memory and are gone with the process, however it
ends. STATE does not wait for them.
"""

from __future__ import annotations

import os
import tempfile
import typing as t

import msgspec

from target_mainbrainer.contacts import Contact, PrivateStruct
from target_mainbrainer.errors import DeliveryError

if t.TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SEGMENT_BYTES = 16 * 1024 * 1024
"""A file is given up once it is so long, and freed once all batches in it have ended."""


class Kept(PrivateStruct, frozen=True, gc=False, array_like=True):
    """A contact of an accepted batch.

    Attributes:
        records: Which stream of the batch each is of, its number in it, and its line.
        contact: What the source says; empty if it cannot be recreated.
    """

    records: list[tuple[int, int, bytes]]
    contact: Contact = Contact()


class Segment:
    """One file of the spool."""

    def __init__(self, folder: Path | None) -> None:
        self.file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed below
        self.size = 0
        self.batches = 0


class Spooled(t.NamedTuple):
    """Where the contacts of one batch are."""

    segment: Segment
    start: int
    size: int


class Spool:
    """Keeps the contacts of accepted batches.

    Args:
        folder: Where; None for that of the system's temporary files.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._segments: list[Segment] = []

    def keep(self, contacts: Sequence[Kept]) -> Spooled:
        """Write contacts down, and return where.

        Raises:
            DeliveryError: There is no room for them.
        """
        data = msgspec.msgpack.encode(contacts)
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
                "The contacts of accepted batches cannot be kept in "
                f"'{self._folder or tempfile.gettempdir()}' "
                f"({error.strerror}) until the batches are confirmed. Make room, set another "
                "'rejects_path', or set 'confirm_batches' to 'none', and run again."
            )
            raise DeliveryError(message) from None
        spooled = Spooled(segment, segment.size, len(data))
        segment.size += len(data)
        segment.batches += 1
        return spooled

    def take(self, spooled: Spooled) -> list[Kept]:
        """Return the contacts of a batch."""
        data = os.pread(spooled.segment.file.fileno(), spooled.size, spooled.start)
        return msgspec.msgpack.decode(data, type=list[Kept])

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
