"""The record that a contact was made of, as it was read, and what STATE waits for it."""

from __future__ import annotations

import typing as t

import msgspec
from typing_extensions import override

State: t.TypeAlias = "dict[str, t.Any]"


class StateInterval:
    """The records between two STATE messages.

    Attributes:
        read: Records read so far.
        settled: Records whose outcome is safe: taken by the CRM, on file, or omitted.
        state: The STATE message that ended this interval, or None while it goes on.
    """

    __slots__ = ("read", "settled", "state")

    def __init__(self) -> None:
        self.read = 0
        self.settled = 0
        self.state: State | None = None


class SourceRecord(msgspec.Struct, frozen=True, gc=False):
    """The record that a contact, or a part of one, was made of.

    Attributes:
        interval: What STATE waits for this record.
        number: The record's number in its stream, counted from 1.
        line: The RECORD message as it was read, for the rejects file.
        source_key: The values of the stream's `key_properties` as one text; None without a ledger.
    """

    interval: StateInterval
    number: int
    line: bytes
    source_key: str | None = None

    @override
    def __repr__(self) -> str:
        return f"<SourceRecord {self.number}>"

    @override
    def __rich_repr__(self) -> list[tuple[str, t.Any]]:
        """Keep pretty printers from showing the line after all."""
        return []
