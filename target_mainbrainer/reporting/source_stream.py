"""A stream as its last SCHEMA message announces it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from functools import cached_property

from target_mainbrainer.singer.reader import decode_json

if t.TYPE_CHECKING:
    from target_mainbrainer.reporting.counts import StreamReport
    from target_mainbrainer.reporting.record_labels import RecordLabels


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
