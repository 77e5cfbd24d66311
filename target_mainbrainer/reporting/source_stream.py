"""A stream as the log and the rejects file name it."""

from __future__ import annotations

import typing as t

from target_mainbrainer.singer.decoding import decode_json

if t.TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from target_mainbrainer.reporting.counts import StreamReport
    from target_mainbrainer.singer.source_record import SourceRecord


class SourceStream:
    """A stream as it was announced by its last SCHEMA message.

    Attributes:
        stream: The stream's name.
        schema_line: The SCHEMA message as it was read, for the rejects file.
        original_stream: The stream's name there; a stream map may have given it another.
        report: The stream's counts.
    """

    def __init__(
        self,
        stream: str,
        schema_line: bytes,
        key_properties: Sequence[str],
        sensitive_columns: Collection[str],
        report: StreamReport,
    ) -> None:
        self.stream = stream
        self.schema_line = schema_line
        self.original_stream = decode_json(schema_line).get("stream", stream)
        self.report = report
        self._key = [key for key in key_properties if key not in sensitive_columns]
        self._is_nameable = bool(key_properties) and len(self._key) == len(key_properties)

    def name_of(self, source_record: SourceRecord) -> str:
        """Name a record in the log: by its key, or by its number where the key says too much.

        Only whole numbers are shown, and none of a column that holds a mobile number.
        """
        if self._is_nameable:
            record = decode_json(source_record.line).get("record", {})
            values = [record.get(column) for column in self._key]
            if all(type(value) is int for value in values):
                return " ".join(f"{k}={v}" for k, v in zip(self._key, values, strict=True))
        return f"record {source_record.number}"
