"""The rejects file: a Singer stream of rejected records that can be corrected and loaded again.

It holds personal data, so only its owner can read it. One run at a time appends to it, whole lines
in one write each.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import secrets
import stat
import time
import typing as t
from pathlib import Path

import msgspec

from target_mainbrainer.errors import DeliveryError, SettingsError
from target_mainbrainer.singer.reader import decode_json

if t.TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping

    from target_mainbrainer.reporting.source_stream import SourceStream

STARTED_AT = "{started_at}"
"""What stands for the start of the run in `rejects_path`."""

LOCK_WAIT_SECONDS = 10.0
"""How long to wait for another run that is about to end; longer would look like a hanging run."""

_LOCK_PAUSE_SECONDS = 0.1
_READ_BYTES = 1 << 16

logger = logging.getLogger("target-mainbrainer")


def path_for(template: str, started_at: dt.datetime) -> Path:
    """Return the path of a run's rejects file.

    >>> import datetime as dt
    >>> path_for("rejects-{started_at}.singer", dt.datetime(2026, 1, 31, 3, 0, 0, 12000, dt.UTC))
    PosixPath('rejects-20260131T030000.012Z.singer')
    """
    stamp = f"{started_at:%Y%m%dT%H%M%S}.{started_at.microsecond // 1000:03d}Z"
    return Path(template.replace(STARTED_AT, stamp))


class RejectsFile:
    """Appends rejected records to a file, each stream's SCHEMA message before them.

    After a failed write nothing more is written and `sync` fails, too: of what the system has
    failed to write once, it may later say that it is written.

    Args:
        template: Its path; `{started_at}` in it makes it the file of this run alone, which is
            removed at the end if nothing was rejected.
        started_at: When the run started.

    Attributes:
        path: Where it is.
        mark: What every line written by this run holds, and no line of another run.

    Raises:
        SettingsError: The file cannot be used, or another run is using it.
    """

    def __init__(self, template: str, started_at: dt.datetime) -> None:
        self.path = path = path_for(template, started_at)
        self._is_of_this_run = STARTED_AT in template
        run = secrets.token_hex(4)
        self.mark = b'"run":"%s"' % run.encode()
        self._run = run
        self._schemas: dict[str, bytes] = {}
        self._failure: DeliveryError | None = None
        try:
            self._descriptor = _open_locked(path)
            self._size, self._lines = _repair(self._descriptor)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is no path"
            problem = f"Setting 'rejects_path': {str(path)!r} cannot be written ({reason})."
            raise SettingsError([problem]) from None

    def append(
        self, source: SourceStream, record_lines: Iterable[bytes], note: Mapping[str, t.Any]
    ) -> int:
        """Write RECORD messages, with a note why they were rejected.

        Returns:
            The number of the first record's line in the file, counted from 1.

        Raises:
            DeliveryError: The file cannot be written.
        """
        tail = b',"rejection":' + msgspec.json.encode({"run": self._run, **note}) + b"}\n"
        lines = [_open_ended(line) + tail for line in record_lines]
        first = self._lines + 1
        if self._schemas.get(source.original_stream) != source.schema_line:
            self._schemas[source.original_stream] = source.schema_line
            lines.insert(0, source.schema_line.rstrip() + b"\n")
            first += 1
        self._write(b"".join(lines))
        self._lines += len(lines)
        return first

    def _write(self, data: bytes) -> None:
        self._raise_failure()
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            with contextlib.suppress(OSError):  # half a line would be taken for the last one
                os.ftruncate(self._descriptor, self._size)
            raise self._failed(error) from None
        self._size += len(data)

    def sync(self) -> None:
        """Wait until all that was appended is on the disk.

        Raises:
            DeliveryError: It is not, or may not be.
        """
        self._raise_failure()
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise self._failed(error) from None

    def close(self) -> None:
        """Close the file; if it is of this run alone and empty, remove it.

        Raises:
            DeliveryError: The system reports a failure only now.
        """
        try:
            if self._is_of_this_run and self._size == 0:
                self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
        except OSError as error:
            raise self._failed(error) from None

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _failed(self, error: OSError) -> DeliveryError:
        self._failure = DeliveryError(
            f"The rejects file '{self.path}' cannot be written ({error.strerror}). STATE stays "
            "before the records that are not on file; make room or set another 'rejects_path', "
            "and run again."
        )
        return self._failure


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


def _open_locked(path: Path) -> int:
    """Open a file for this run alone; closing it, or the end of the process, gives it back.

    Raises:
        OSError: It cannot be opened.
        SettingsError: Another run is using it.
    """
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    while True:
        # O_NONBLOCK: a FIFO would wait for a reader; it is refused below.
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            _require_regular(descriptor, path)
            if _lock(descriptor, path) and _is_at(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if time.monotonic() > deadline:
            problem = (
                f"Setting 'rejects_path': another run is writing to '{path}'. Give each run a file "
                f"of its own: another path, or '{STARTED_AT}' in it."
            )
            raise SettingsError([problem])
        time.sleep(_LOCK_PAUSE_SECONDS)


def _require_regular(descriptor: int, path: Path) -> None:
    """Refuse devices and FIFOs, which keep nothing."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise SettingsError([f"Setting 'rejects_path': {str(path)!r} is no regular file."])


def _lock(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}:
            raise
        logger.warning(
            "The file system of '%s' knows no locks (%s). See to it that only one run at a time "
            "uses this 'rejects_path'.",
            path,
            error.strerror,
        )
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    """Return whether a file is still what its path leads to: it may have been renamed meanwhile."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _repair(descriptor: int) -> tuple[int, int]:
    """Take away what a killed run has left half written; return the size and number of lines.

    That half line was never flushed, so STATE is still before its record and the next run reads
    it again. A last line that only lacks its end, as editors leave it, gets one.
    """
    size = lines = start_of_last = 0
    while chunk := os.pread(descriptor, _READ_BYTES, size):
        lines += chunk.count(b"\n")
        if (newline := chunk.rfind(b"\n")) >= 0:
            start_of_last = size + newline + 1
        size += len(chunk)
    if start_of_last == size:
        return size, lines
    if _is_json(os.pread(descriptor, size - start_of_last, start_of_last)):
        os.write(descriptor, b"\n")
        return size + 1, lines + 1
    os.ftruncate(descriptor, start_of_last)
    return start_of_last, lines


def _is_json(line: bytes) -> bool:
    try:
        decode_json(line)
    except ValueError:
        return False
    return True
