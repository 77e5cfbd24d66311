"""Rejected records: counted, kept on file if there is one, told in the log by groups.

The log holds no personal data; the file does.
"""

from __future__ import annotations

import threading
import typing as t
from collections import Counter

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from target_mainbrainer.contacts import Rejection
    from target_mainbrainer.reporting.counts import StreamReport
    from target_mainbrainer.reporting.rejects_file import RejectsFile
    from target_mainbrainer.reporting.source_stream import SourceStream
    from target_mainbrainer.singer.records import SourceRecord, StateInterval

    Settle: t.TypeAlias = "Callable[[Mapping[StateInterval, int]], None]"

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
