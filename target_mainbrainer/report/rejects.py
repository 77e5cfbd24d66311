"""Rejected records: counted, kept on file if there is one, named in the log by groups."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import secrets
import stat
import threading
import time
import typing as t
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
import phonenumbers

from target_mainbrainer.errors import DeliveryError, SettingsError
from target_mainbrainer.singer.decoding import decode_json

if t.TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from target_mainbrainer.contacts.rejection import Rejection
    from target_mainbrainer.report.counts import StreamReport
    from target_mainbrainer.singer.source_record import SourceRecord, StateInterval

    Settle: t.TypeAlias = "Callable[[Mapping[StateInterval, int]], None]"


@dataclass(frozen=True, eq=False)
class SourceStream:
    """What every record of a stream has in common until the next SCHEMA message.

    Attributes:
        stream: The stream's name.
        schema_line: The SCHEMA message as it was read, for the rejects file.
        labels: Names records in the log.
        report: The stream's counts.
    """

    stream: str
    schema_line: bytes
    labels: RecordLabels
    report: StreamReport

    @cached_property
    def original_stream(self) -> str:
        """The stream's name in the input; a stream map may have given it another."""
        return str(decode_json(self.schema_line).get("stream", self.stream))


MOST_DIGITS = 7
"""Longer numbers are not shown: telephone numbers and national ids are."""


class RecordLabels:
    """Names the records of one stream.

    Args:
        key_properties: The stream's key.
        sensitive_columns: Columns that hold telephone numbers, or look as if they did.
        country_code: Calling code of numbers that are written without one, if there is one.
    """

    def __init__(
        self,
        key_properties: Sequence[str],
        sensitive_columns: Collection[str],
        country_code: int | None = None,
    ) -> None:
        self._key = [] if set(key_properties) & set(sensitive_columns) else list(key_properties)
        self._country_code = country_code

    def key_of(self, line: bytes) -> str | None:
        """Return the key of a RECORD message, such as `id=4711`, or None if it is not to be shown.

        Shown are short whole numbers that are no telephone numbers, and that no other column of
        the record holds too.
        """
        if not self._key:
            return None
        try:
            record = decode_json(line)["record"]
        except (ValueError, TypeError, LookupError):
            return None
        if not isinstance(record, dict):
            return None
        values = [record.get(column) for column in self._key]
        others = {_digits(value) for column, value in record.items() if column not in self._key}
        if all(
            type(value) is int and str(value) not in others and not self._is_personal(value)
            for value in values
        ):
            return " ".join(f"{k}={v}" for k, v in zip(self._key, values, strict=True))
        return None

    def _is_personal(self, number: int) -> bool:
        digits = str(abs(number))
        if len(digits) > MOST_DIGITS:
            return True
        return self._country_code is not None and phonenumbers.is_valid_number(
            phonenumbers.PhoneNumber(self._country_code, abs(number))
        )


def _digits(value: object) -> str:
    """Return the digits of what is written as a number, "" of anything else.

    >>> _digits("+47 22 33"), _digits(4722), _digits("p22@example.com")
    ('472233', '4722', '')
    """
    digits = str(value).translate(_SEPARATORS) if isinstance(value, str | int) else ""
    return digits if digits.isdecimal() else ""


_SEPARATORS = str.maketrans("", "", "+-()./ \u00a0")


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


KEYS_SHOWN = 5
GROUPS_KEPT = 100
"""Different reasons told apart in the log; servers may word each refusal differently."""

SHARE_COUNTS_FROM = 20
"""Records of a stream from which on the share that is rejected says anything."""


class Group:
    """Rejections of one stream with the same code and reason."""

    def __init__(self) -> None:
        self.count = 0
        self.labels: list[str] = []


class Rejections:
    """Counts rejected records, and keeps them if there is a file to keep them in.

    A record on file is settled once `sync` has flushed it to the disk. Without a file it is never
    settled, so that STATE stays before it. While most of a stream is rejected, nothing of it is:
    that is a mistake in the mapping, and STATE must not leave those records behind.

    Args:
        file: Where to keep them, if anywhere.
        allowed: How many there may be; None for any number.
        allowed_percent: How large a share of a stream's records may be rejected before sending.
        settle: Told how many records of which interval are settled.
        advises_file: Advise to set 'rejects_path'. It may be set without a file, in a dry run.
    """

    def __init__(
        self,
        file: RejectsFile | None,
        *,
        allowed: int | None,
        allowed_percent: int,
        settle: Settle,
        advises_file: bool = True,
    ) -> None:
        self._file = file
        self._allowed = allowed
        self._allowed_percent = allowed_percent
        self._settle = settle
        self._advises_file = advises_file
        self._lock = threading.Lock()
        self._unsettled: dict[str, Counter[StateInterval]] = {}
        self._reports: dict[str, StreamReport] = {}
        self._is_synced = True
        self._is_whole = False
        self._groups: dict[tuple[str, str, str], Group] = {}
        self.count = 0

    def add(
        self,
        source: SourceStream,
        source_records: Sequence[SourceRecord],
        rejection: Rejection,
        *,
        answer: Mapping[str, t.Any] | None = None,
        is_ours: bool = False,
    ) -> None:
        """Note rejected records, all of them parts of one contact.

        Args:
            source: Where they come from.
            source_records: The records.
            rejection: Code and reason, without personal data.
            answer: What the API said, word for word, for the file only.
            is_ours: Refused by the target before sending, not by the API.

        Raises:
            DeliveryError: The file cannot be written.
        """
        with self._lock:
            self.count += len(source_records)
            source.report.rejected_by_code[rejection.code] += len(source_records)
            if is_ours:
                source.report.rejected_before_sending += len(source_records)
            line = None
            try:
                if self._file is not None:
                    note = {"code": rejection.code, "reason": rejection.reason, **(answer or {})}
                    lines = [source_record.line for source_record in source_records]
                    line = self._file.append(source, lines, note)
                    self._is_synced = False
                    self._reports[source.stream] = source.report
                    self._unsettled.setdefault(source.stream, Counter()).update(
                        source_record.interval for source_record in source_records
                    )
            finally:
                self._note(source, source_records, rejection, line)

    def end_input(self) -> None:
        """Note that no more records come, so that short streams may be judged, too."""
        self._is_whole = True

    def sync(self) -> None:
        """Flush the file to the disk, and settle what is on it.

        Raises:
            DeliveryError: The file cannot be written.
        """
        if self._file is None or not (self._unsettled or not self._is_synced):
            return
        with self._lock:
            if not self._is_synced:
                self._file.sync()
                self._is_synced = True
            settled = {
                stream: self._unsettled.pop(stream)
                for stream, report in self._reports.items()
                if stream in self._unsettled and not self._is_too_large(report)
            }
        for counts in settled.values():
            self._settle(counts)

    def close(self) -> None:
        """Flush and close the file.

        Raises:
            DeliveryError: The file cannot be written.
        """
        if self._file is None:
            return
        try:
            self.sync()
        finally:
            self._file.close()

    def comes_back(self, line: bytes) -> bool:
        """Return whether a line of the input is one that this run has written to the file."""
        return self._file is not None and self._file.mark in line

    # Too many

    @property
    def is_too_many(self) -> bool:
        """Whether more records are rejected than the settings allow."""
        return self._allowed is not None and self.count > self._allowed

    def _is_too_large(self, report: StreamReport) -> bool:
        """Return whether too large a share of a stream is rejected, as far as can be told now."""
        if self._is_whole and report.read < SHARE_COUNTS_FROM:
            return False
        return 100 * report.rejected_before_sending > self._allowed_percent * report.read

    def problems(self, streams: Mapping[str, StreamReport]) -> Iterator[str]:
        """Say why a run with too many rejections has failed."""
        kept = f" They are in '{self._file.path}'." if self._file else ""
        if self.is_too_many:
            allowed = f"{self._allowed:,}" if self._allowed else "none"
            records = "record was" if self.count == 1 else "records were"
            advice = (
                " Correct them at the source, or set 'rejects_path' to set them aside and go on."
                if self._advises_file
                else ""
            )
            yield (
                f"{self.count:,} {records} rejected, and the settings allow {allowed} "
                f"('max_rejects').{kept} The reasons stand above.{advice}"
            )
        for name, report in streams.items():
            if report.read >= SHARE_COUNTS_FROM and self._is_too_large(report):
                yield (
                    f"{report.rejected_before_sending:,} of {report.read:,} records of stream "
                    f"'{name}' were rejected before sending, more than the "
                    f"{self._allowed_percent} % that 'max_rejects_percent' allows.{kept} This is "
                    "rather a mistake in the settings than in so many records: the reasons stand "
                    "above. STATE stays before them."
                )

    # The log

    def _note(
        self,
        source: SourceStream,
        source_records: Sequence[SourceRecord],
        rejection: Rejection,
        line: int | None,
    ) -> None:
        key = (source.stream, rejection.code, rejection.reason)
        if key not in self._groups and len(self._groups) >= GROUPS_KEPT:
            key = (source.stream, rejection.code, "For various reasons.")
        group = self._groups.setdefault(key, Group())
        for place, source_record in enumerate(source_records):
            group.count += 1
            if len(group.labels) < KEYS_SHOWN:
                label = source.labels.key_of(source_record.line)
                if label is None:
                    label = f"record {source_record.number:,} of the stream"
                    if line is not None and self._file is not None:
                        label += f" on line {line + place:,} of '{self._file.path.name}'"
                group.labels.append(label)

    def describe(self) -> Iterator[str]:
        """Yield one line for each kind of rejection, most frequent first; no personal data."""
        groups = sorted(self._groups.items(), key=lambda item: -item[1].count)
        for (stream, code, reason), group in groups:
            more = ", ..." if group.count > len(group.labels) else ""
            yield (
                f"Rejected {group.count:,} of stream '{stream}', {code}: {reason} "
                f"({', '.join(group.labels)}{more})"
            )
