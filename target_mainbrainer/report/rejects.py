"""Rejected records: counted, kept in the rejects file if there is one, named in the log.

The rejects file is a Singer stream that can be corrected and loaded again. It contains personal
data, so only its owner can read it; the log contains none.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import os
import stat
import typing as t
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import phonenumbers

from target_mainbrainer.contacts import Rejection, RejectionCode
from target_mainbrainer.errors import DeliveryError, Reason, SettingsError
from target_mainbrainer.mapping.values import integral
from target_mainbrainer.report.counts import RunReport, StreamReport
from target_mainbrainer.settings.declared import Settings
from target_mainbrainer.singer.reader import decode_json
from target_mainbrainer.singer.state import SourceRecord, StateInterval
from target_mainbrainer.words import counted, examples, shown

STARTED_AT = "{started_at}"
"""The placeholder in `rejects_path` for the time at which the run started."""

MOST_DIGITS = 7
"""Longer keys are not shown: telephone numbers and national ids have more digits."""

KEYS_SHOWN = 5
GROUPS_KEPT = 100
"""Different reasons told apart in the log; a server may word each refusal differently."""

SHARE_COUNTS_FROM = 20
"""Below this number of records the share of a stream that is rejected is not looked at."""

_READ_BYTES = 1 << 16
_SEPARATORS = str.maketrans("", "", "+-()./ \u00a0")
_OURS = frozenset(RejectionCode)
_REFUSED, _ALONE, _SAID = "refused_", "Refused alone with status", "MainBrainer said: "


def refusal(status: int, message: str) -> Rejection:
    """Return the rejection of a contact that MainBrainer refused when it was sent alone.

    >>> refusal(422, "No such list.").reason
    'Refused alone with status 422. MainBrainer said: No such list.'
    """
    said = f"{_SAID}{message}" if message else "MainBrainer gave no reason."
    return Rejection(f"{_REFUSED}{status}", f"{_ALONE} {status}. {said}")


def all_refused(report: RunReport, words: str) -> str:
    """Return a clause about a run in which contacts were sent and none was accepted.

    Args:
        report: Its counts.
        words: The status and words that all refusals share; "" if they differ.

    >>> from target_mainbrainer.report.counts import RunReport
    >>> report = RunReport()
    >>> report.stream("people").rejected_by_code["refused_422"] = 8
    >>> all_refused(report, '422 "No such list."')
    'nothing was accepted: all 8 contacts sent were refused in the same words (422 "No such list.")'
    >>> report.stream("people").rejected_by_code["refused_422"] = 1
    >>> all_refused(report, "422")
    'nothing was accepted: the only contact sent was refused (422)'
    """
    count = report.refused
    who = "the only contact sent was" if count == 1 else f"all {count:,} contacts sent were"
    same = " in the same words" if words and count > 1 else ""
    return f"nothing was accepted: {who} refused{same}{f' ({words})' if words else ''}"


def sentence(clause: str) -> str:
    """Return a clause as a sentence.

    >>> sentence("the tap sent no STATE")
    'The tap sent no STATE.'
    """
    return f"{clause[0].upper()}{clause[1:]}."


# The stream, and how the log names its records


@dataclass(frozen=True, eq=False)
class SourceStream:
    """Properties that all records of a stream share until the next SCHEMA message.

    Attributes:
        name: The stream's name.
        schema_line: The SCHEMA message as it was read, for the rejects file.
        labels: Names records in the log.
        report: The stream's counts.
    """

    name: str
    schema_line: bytes
    labels: RecordLabels
    report: StreamReport


class RecordLabels:
    """The names that the log gives to the records of one stream: their keys, if that is harmless.

    Args:
        key_properties: The stream's key.
        sensitive_columns: Columns with telephone numbers, or with values that look like them.
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
        """Return the key of a RECORD message, such as `id=4711`, or None if it must not be shown.

        Shown are whole numbers of a few digits, also those written as texts, that are not
        telephone numbers and that no other column of the record contains.
        """
        try:
            record = decode_json(line)["record"]
            values = [_text(record[column]) for column in self._key]
            others = {_digits(_text(record[column])) for column in record.keys() - {*self._key}}
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError):
            return None
        if not values or any(
            self._is_personal(value) or _digits(value) in others for value in values
        ):
            return None
        return " ".join(f"{shown(k)}={v}" for k, v in zip(self._key, values, strict=True))

    def _is_personal(self, value: str) -> bool:
        digits = value.removeprefix("-")
        if len(digits) > MOST_DIGITS or not (digits.isascii() and digits.isdigit()):
            return True
        return self._country_code is not None and phonenumbers.is_valid_number(
            phonenumbers.PhoneNumber(self._country_code, int(digits))
        )


def _text(value: object) -> str:
    """Return a value as text, a whole number without the fraction that a tap may have written."""
    number = integral(value)
    return str(value if number is None else number)


def _digits(text: str) -> str:
    """Return the digits of what is written as a number, "" of anything else.

    >>> _digits("+47 22 33"), _digits("p22@example.com")
    ('472233', '')
    """
    digits = text.translate(_SEPARATORS)
    return digits if digits.isdecimal() else ""


# The file


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

    Whole lines are appended in one write each. After a failed write nothing more is written and
    `sync` fails, too: the system may later report data as written that it once failed to write.

    Args:
        template: Its path. With `{started_at}` in it, the file belongs to this run alone and is
            removed at the end if nothing was rejected.
        started_at: When the run started.
        run_id: The run's id, which no other run has; it stands in every line.

    Attributes:
        path: Where it is.
        mark: A part of every line that this run writes, and of no line of another run.

    Raises:
        SettingsError: The file cannot be used, or another run is using it.
    """

    def __init__(self, template: str, started_at: dt.datetime, run_id: str) -> None:
        self.path = path_for(template, started_at)
        self._is_of_this_run = STARTED_AT in template
        self.mark = b'"run":"%s"' % run_id.encode()
        self._run_id = run_id
        self._last_schema = b""
        self._failure: DeliveryError | None = None
        try:
            self._descriptor, self._size = _open_locked(self.path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise SettingsError(
                f"Setting 'rejects_path': {str(self.path)!r} cannot be written ({reason})."
            ) from None

    def append(
        self, source: SourceStream, record_lines: Iterable[bytes], note: Mapping[str, t.Any]
    ) -> None:
        """Write RECORD messages, with a note why they were rejected.

        Raises:
            DeliveryError: The file cannot be written.
        """
        tail = b',"rejection":' + msgspec.json.encode({"run": self._run_id, **note}) + b"}\n"
        lines = [_open_ended(line) + tail for line in record_lines]
        if self._last_schema != source.schema_line:
            self._last_schema = source.schema_line
            lines.insert(0, source.schema_line.rstrip() + b"\n")
        data = b"".join(lines)
        with self._failing_for_good(size=self._size):
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        self._size += len(data)

    def sync(self) -> None:
        """Wait until everything appended is on the disk.

        Raises:
            DeliveryError: It is not, or may not be.
        """
        with self._failing_for_good():
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file; if it belongs to this run alone and is empty, remove it.

        Raises:
            DeliveryError: The system reports a failure only now.
        """
        self._failure = None
        with self._failing_for_good():
            if self._is_of_this_run and self._size == 0:
                self.path.unlink(missing_ok=True)
            os.close(self._descriptor)

    @contextlib.contextmanager
    def _failing_for_good(self, size: int | None = None) -> Iterator[None]:
        """Turn the system's error into ours, and raise it again at the next use.

        Args:
            size: Cut the file to this size: half a line would be taken for the last one.
        """
        if self._failure is not None:
            raise self._failure
        try:
            yield
        except OSError as error:
            with contextlib.suppress(OSError):
                if size is not None:
                    os.ftruncate(self._descriptor, size)
            self._failure = DeliveryError(
                f"The rejects file '{self.path}' cannot be written ({error.strerror}). STATE stays "
                "before the records that are not on file. Make room or set another "
                "'rejects_path', and run again."
            )
            raise self._failure from None


def _open_ended(line: bytes) -> bytes:
    r"""Return a RECORD message without its closing brace, so that `rejection` can be added.

    >>> _open_ended(b'{"type": "RECORD"} \n')
    b'{"type": "RECORD"'

    A record that comes back from a rejects file has that member already.

    >>> _open_ended(b'{"type":"RECORD","record":{"a":1.50},"rejection":{"code":"x"}}')
    b'{"type":"RECORD","record":{"a":1.50}'
    """
    if b'"rejection"' in line:
        with contextlib.suppress(msgspec.DecodeError):  # not strict JSON: it stays as it is
            members = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
            members.pop("rejection", None)
            line = msgspec.json.encode(members)
    return line.rstrip()[:-1]


def _open_locked(path: Path) -> tuple[int, int]:
    """Open a file for this run alone; return its descriptor, and its size once it is repaired.

    Closing it, or the end of the process, unlocks it.

    Raises:
        OSError: It cannot be opened or locked, or another run is using it.
        ValueError: It is a device or FIFO, which keeps nothing, or another file.
    """
    # O_NONBLOCK: a FIFO would wait for a reader.
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a regular file")  # noqa: TRY301 - it is closed below
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        size = _repair(descriptor)
        os.fchmod(descriptor, 0o600)
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise OSError(
                "another run is still writing to it; if runs are meant to overlap, put "
                f"'{STARTED_AT}' in the path, so that each has a file of its own"
            ) from None
        raise
    return descriptor, size


def _repair(descriptor: int) -> int:
    """Remove a line that a killed run has left half written, and return the file's size.

    A file that does not begin with a Singer message is another one, and stays as it is.

    That line was never flushed, so STATE is still before its record and the next run reads it
    again. A last line that only lacks its newline, as editors leave it, gets one.
    """
    head, _, _ = os.pread(descriptor, _READ_BYTES, 0).partition(b"\n")
    if head and b'"type"' not in head:
        raise ValueError("it is not a rejects file")
    size = start_of_last = 0
    while chunk := os.pread(descriptor, _READ_BYTES, size):
        if (newline := chunk.rfind(b"\n")) >= 0:
            start_of_last = size + newline + 1
        size += len(chunk)
    if start_of_last == size:
        return size
    try:
        decode_json(os.pread(descriptor, size - start_of_last, start_of_last))
    except ValueError:
        os.ftruncate(descriptor, start_of_last)
        return start_of_last
    os.write(descriptor, b"\n")
    return size + 1


# Rejections


class Rejections:
    """Counts rejected records, and keeps them if there is a file to keep them in.

    A record on file is settled once `sync` has flushed it to the disk. Without a file it is never
    settled, so that STATE stays before it. While most of a stream is rejected, nothing of it is
    settled: the cause is a mistake in the mapping, and STATE must not leave those records behind.

    Args:
        file: Where to keep them, if anywhere.
        settings: How many there may be, and how large a share of a stream's records.

    Attributes:
        count: How many there are.
        is_whole: No more records come, so that short streams may be judged, too.
    """

    def __init__(self, file: RejectsFile | None, settings: Settings) -> None:
        self._file = file
        self._settings = settings
        self._most = settings.rejects_allowed
        self._unsettled: dict[str, tuple[StreamReport, Counter[StateInterval]]] = {}
        self._is_synced = True
        self.is_whole = False
        self._groups: Counter[tuple[str, Rejection]] = Counter()
        self._labels: defaultdict[tuple[str, Rejection], list[str]] = defaultdict(list)
        self.count = 0

    def add(
        self,
        source: SourceStream,
        source_records: Sequence[SourceRecord],
        rejection: Rejection,
        *,
        answer: Mapping[str, t.Any] | None = None,
        is_proven: bool = True,
    ) -> None:
        """Note rejected records, all of them parts of one contact.

        Args:
            source: Where they come from.
            source_records: The records.
            rejection: Code and reason, without personal data. Those with a `RejectionCode` were
                rejected before sending, the others by MainBrainer.
            answer: What the API said, word for word, for the file only.
            is_proven: The records are the cause, not the request. Otherwise they are not filed
                and never settled: STATE stays before them, and the next run reads them again.

        Raises:
            DeliveryError: The file cannot be written.
        """
        count = len(source_records)
        self.count += count
        source.report.rejected_by_code[rejection.code] += count
        if rejection.code in _OURS:
            source.report.rejected_before_sending += count
        try:
            if self._file is not None and is_proven:
                note = {"code": rejection.code, "reason": rejection.reason, **(answer or {})}
                self._file.append(source, [record.line for record in source_records], note)
                self._is_synced = False
                _, counts = self._unsettled.setdefault(source.name, (source.report, Counter()))
                counts.update(record.interval for record in source_records)
        finally:
            self._note(source, source_records, rejection)

    def note_opt_out(
        self, source: SourceStream, record: SourceRecord, rejection: Rejection
    ) -> None:
        """Note that MainBrainer has refused the "no" of a rejected record, too."""
        self._note(source, [record], rejection._replace(code=f"opt-out {rejection.code}"))

    def sync(self) -> Counter[StateInterval]:
        """Flush the file to the disk, and return how many records of which interval are settled.

        Raises:
            DeliveryError: The file cannot be written.
        """
        settled: Counter[StateInterval] = Counter()
        if self._file is None:
            return settled
        if not self._is_synced:
            self._file.sync()
            self._is_synced = True
        for stream, (report, counts) in list(self._unsettled.items()):
            if not self._is_too_large(report):
                settled += counts
                del self._unsettled[stream]
        return settled

    def close(self) -> None:
        """Flush and close the file.

        Raises:
            DeliveryError: The file cannot be written.
        """
        if self._file is not None:
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
        return self._most is not None and self.count > self._most

    def _is_too_large(self, report: StreamReport) -> bool:
        """Return whether too large a share of a stream is rejected, as far as is known now."""
        if self.is_whole and report.read < SHARE_COUNTS_FROM:
            return False
        most = self._settings.max_rejects_percent * report.read
        return 100 * report.rejected_before_sending > most

    def problems(self, report: RunReport) -> Iterator[Reason]:
        """Yield each reason why a run with too many rejections has failed."""
        kept = f" They are in '{self._file.path}'." if self._file else ""
        if self.is_too_many:
            most, own = self._most, self._settings.max_rejects
            way_out = "set 'rejects_path'" if own is None else "raise 'max_rejects'"
            yield Reason(
                "max_rejects",
                f"{counted(self.count, 'record was', 'records were')} rejected, and the settings "
                f"allow {f'{most:,}' if most else 'none'} ('max_rejects').{kept} "
                f"The reasons are above. Correct them at the source, or {way_out}.",
            )
        if report.is_all_refused:
            yield Reason(
                "nothing_accepted",
                f"{sentence(all_refused(report, self.words_of_all))} Check 'list_id', the property "
                "names in 'field_map', and what the account and its token may do.",
            )
        for name, stream in report.streams.items():
            if stream.read >= SHARE_COUNTS_FROM and self._is_too_large(stream):
                yield Reason(
                    "max_rejects_percent",
                    f"{stream.rejected_before_sending:,} of {stream.read:,} records of stream "
                    f"'{shown(name)}' were rejected before sending, more than the "
                    f"{self._settings.max_rejects_percent} % that 'max_rejects_percent' allows."
                    f"{kept} The reasons are above. STATE stays before them.",
                )

    @property
    def words_of_all(self) -> str:
        """The status and words that all refusals by MainBrainer share; "" if they differ.

        For instance `422 "No such list."`.
        """
        refusals = {refusal for _, refusal in self._groups if refusal.code.startswith(_REFUSED)}
        if len(refusals) != 1:
            return ""
        ((code, reason, _),) = refusals
        _, _, words = reason.partition(_SAID)
        status = code.removeprefix(_REFUSED)
        return f'{status} "{words}"' if words else status

    # The log

    def _note(
        self,
        source: SourceStream,
        source_records: Sequence[SourceRecord],
        rejection: Rejection,
    ) -> None:
        key = (source.name, rejection)
        if key not in self._groups and len(self._groups) >= GROUPS_KEPT:
            key = (source.name, rejection._replace(reason="For various reasons."))
        labels = self._labels[key]
        for record in source_records:
            self._groups[key] += 1
            if self._groups[key] > KEYS_SHOWN:
                continue
            label = source.labels.key_of(record.line)
            if label is not None:
                labels.append(label)
            elif not labels:  # these labels are long: one is enough
                labels.append(f"record {record.number:,} of the stream")

    def describe(self) -> Iterator[str]:
        """Yield one line for each kind of rejection, most frequent first; no personal data."""
        for key, count in self._groups.most_common():
            stream, (code, reason, _) = key
            named = examples(self._labels[key], count)
            yield f"Rejected {count:,} of stream '{shown(stream)}', {code}: {reason}{named}"
