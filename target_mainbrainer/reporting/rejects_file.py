"""Rejected records: on file as a Singer stream that can be loaded again, and in the log by groups.

The file holds personal data, so it is made readable for its owner only; the log holds none.
"""

from __future__ import annotations

import contextlib
import os
import threading
import typing as t
from pathlib import Path

import msgspec

from target_mainbrainer.errors import DeliveryError, SettingsError
from target_mainbrainer.singer.decoding import decode_json

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from target_mainbrainer.contacts.rejection import Rejection
    from target_mainbrainer.reporting.source_stream import SourceStream
    from target_mainbrainer.singer.source_record import SourceRecord

    Settle: t.TypeAlias = "Callable[[Iterable[SourceRecord]], None]"

KEYS_SHOWN = 5
GROUPS_KEPT = 100
"""Different reasons told apart in the log; servers may word each refusal differently."""


class Group:
    """Rejections of one stream with the same code and reason."""

    def __init__(self) -> None:
        self.count = 0
        self.names: list[str] = []


class RejectsFile:
    """Counts rejected records, and keeps them if there is a file to keep them in.

    A record on file is settled once `sync` has flushed it to the disk. Without a file it is never
    settled, so that STATE stays before it.
    """

    def __init__(self, path: str | None, *, allowed: int | None, settle: Settle) -> None:
        self._allowed = allowed
        self._settle = settle
        self._lock = threading.Lock()
        self._schemas: dict[str, bytes] = {}
        self._unsynced: list[SourceRecord] = []
        self._groups: dict[tuple[str, str, str], Group] = {}
        self.count = 0
        self.path = path
        self._file = _open_for_appending(Path(path)) if path else None

    def add(
        self,
        source: SourceStream,
        source_records: Sequence[SourceRecord],
        rejection: Rejection,
        *,
        answer: Mapping[str, t.Any] | None = None,
    ) -> None:
        """Note rejected records, all of them parts of one contact.

        Args:
            source: Where they come from.
            source_records: The records.
            rejection: Code and reason, without personal data.
            answer: What the API said, word for word, for the file only.
        """
        with self._lock:
            self.count += len(source_records)
            source.report.rejected[rejection.code] += len(source_records)
            self._note(source, source_records, rejection)
            if self._file is None:
                return
            note = {"code": rejection.code, "reason": rejection.reason, **(answer or {})}
            tail = b',"rejection":' + msgspec.json.encode(note) + b"}\n"
            lines = [_open_ended(source_record.line) + tail for source_record in source_records]
            if self._schemas.get(source.original_stream) != source.schema_line:
                self._schemas[source.original_stream] = source.schema_line
                lines.insert(0, source.schema_line.rstrip() + b"\n")
            self._write(b"".join(lines))
            self._unsynced.extend(source_records)

    def _write(self, data: bytes) -> None:
        assert self._file is not None  # noqa: S101 - for the type checker
        try:
            self._file.write(data)
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> DeliveryError:
        return DeliveryError(
            f"The rejects file '{self.path}' cannot be written ({error.strerror}). STATE stays "
            "before the records that are not on file; make room or set another 'rejects_path', "
            "and run again."
        )

    def sync(self) -> None:
        """Flush the file to the disk, and settle what is on it.

        Raises:
            DeliveryError: The file cannot be written.
        """
        if not self._unsynced or self._file is None:
            return
        with self._lock:
            try:
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError as error:
                raise self._unwritable(error) from None
            source_records, self._unsynced = self._unsynced, []
        self._settle(source_records)

    def close(self) -> None:
        """Flush and close the file."""
        if self._file is None:
            return
        try:
            self.sync()
        finally:
            with contextlib.suppress(OSError):  # what `sync` could not write
                self._file.close()

    @property
    def is_too_many(self) -> bool:
        """Whether more records are rejected than the settings allow."""
        return self._allowed is not None and self.count > self._allowed

    @property
    def too_many(self) -> str:
        """Why a run with too many rejections has failed."""
        allowed = f"{self._allowed:,}" if self._allowed else "none"
        records = "record was" if self.count == 1 else "records were"
        kept = f" They are in '{self.path}'." if self.path else ""
        advice = (
            ""
            if self.path
            else " Correct them at the source, or set 'rejects_path' to set them aside and go on."
        )
        return (
            f"{self.count:,} {records} rejected, and the settings allow {allowed} ('max_rejects')."
            f"{kept} The reasons stand above.{advice}"
        )

    def _note(
        self, source: SourceStream, source_records: Iterable[SourceRecord], rejection: Rejection
    ) -> None:
        key = (source.stream, rejection.code, rejection.reason)
        if key not in self._groups and len(self._groups) >= GROUPS_KEPT:
            key = (source.stream, rejection.code, "For various reasons.")
        group = self._groups.setdefault(key, Group())
        for source_record in source_records:
            group.count += 1
            if len(group.names) < KEYS_SHOWN:
                group.names.append(source.name_of(source_record))

    def describe(self) -> Iterator[str]:
        """Yield one line for each kind of rejection, most frequent first; no personal data."""
        groups = sorted(self._groups.items(), key=lambda item: -item[1].count)
        for (stream, code, reason), group in groups:
            more = ", ..." if group.count > len(group.names) else ""
            yield (
                f"Rejected {group.count:,} of stream '{stream}', {code}: {reason} "
                f"({', '.join(group.names)}{more})"
            )


def _open_ended(line: bytes) -> bytes:
    r"""Return a RECORD message without its closing brace, so that `rejection` can be added.

    >>> _open_ended(b'{"type": "RECORD"} \n')
    b'{"type": "RECORD"'

    One that was rejected before, and comes back from a rejects file, has that member already.

    >>> _open_ended(b'{"type":"RECORD","record":{"a":1.50},"rejection":{"code":"x"}}')
    b'{"type":"RECORD","record":{"a":1.50}'
    """
    if b'"rejection"' in line:
        try:
            members = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        except msgspec.DecodeError:  # not strict JSON: it stays as it is
            return line.rstrip()[:-1]
        members.pop("rejection", None)
        line = msgspec.json.encode(members)
    return line.rstrip()[:-1]


def _open_for_appending(path: Path) -> t.BinaryIO:
    """Open a rejects file, after taking away what a killed run has left half written.

    That half line was never flushed, so STATE is still before its record and the next run reads
    it again.

    Raises:
        SettingsError: The file cannot be opened for writing.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        file = os.fdopen(descriptor, "r+b")
        size = file.seek(0, os.SEEK_END)
        tail = _last_line(file, size)
        if tail and not tail.endswith(b"\n"):
            if _is_json(tail):
                file.seek(0, os.SEEK_END)
                file.write(b"\n")
            else:
                file.truncate(size - len(tail))
        file.seek(0, os.SEEK_END)
    except OSError as error:
        problem = f"Setting 'rejects_path': '{path}' cannot be written ({error.strerror})."
        raise SettingsError([problem]) from None
    else:
        return file


def _last_line(file: t.BinaryIO, size: int) -> bytes:
    """Return the last line of a file, without reading the rest of it."""
    tail = b""
    while size > 0:
        step = min(65536, size)
        size -= step
        file.seek(size)
        tail = file.read(step) + tail
        newline = tail.rfind(b"\n", 0, len(tail) - 1)
        if newline >= 0:
            return tail[newline + 1 :]
    return tail


def _is_json(line: bytes) -> bool:
    try:
        decode_json(line)
    except ValueError:
        return False
    return True
