"""The record that a contact was made of, as it was read, and the key that identifies it."""

from __future__ import annotations

import json
import typing as t

import msgspec

from target_mainbrainer.contacts import PrivateStruct

if t.TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

State: t.TypeAlias = "dict[str, t.Any]"

_encode = msgspec.json.Encoder(decimal_format="number").encode


class StateInterval:
    """The records between two STATE messages.

    Attributes:
        read: Records read so far.
        settled: Records whose outcome is safe: accepted by the CRM, on file, or omitted.
        state: The STATE message that ended this interval, or None while it is open.
    """

    __slots__ = ("read", "settled", "state")

    def __init__(self) -> None:
        self.read = 0
        self.settled = 0
        self.state: State | None = None


class SourceRecord(PrivateStruct, frozen=True, gc=False):
    """The record that a contact, or a part of one, was made of.

    Attributes:
        interval: The interval between two STATE messages that it belongs to.
        number: The record's number in its stream, counted from 1.
        line: The RECORD message as it was read, for the rejects file.
        source_key: The values of the stream's `key_properties` as one text; None without a ledger.
    """

    interval: StateInterval
    number: int
    line: bytes
    source_key: str | None = None


def source_key_reader(
    key_properties: Sequence[str],
) -> Callable[[Mapping[str, t.Any]], str | None]:
    """Return a function that returns a record's key as JSON, in the order of the columns' names.

    Some taps announce the columns of a key in any order, another one in each run.

    None is returned without `key_properties`, and if a part of the key is null or missing: such
    records cannot be told apart.

    >>> key_of = source_key_reader(["shop", "id"])
    >>> key_of({"id": 4711, "shop": "oslo", "email": "kari@example.com"})
    '[4711,"oslo"]'
    >>> key_of({"id": 4711, "shop": None}) is None
    True

    Args:
        key_properties: As announced, after stream maps.
    """
    columns = sorted(key_properties)

    def key_of(record: Mapping[str, t.Any]) -> str | None:
        values = [record.get(column) for column in columns]
        if not values or None in values:
            return None
        try:
            return _encode(values).decode()
        except (TypeError, ValueError):  # NaN, or half a character
            return json.dumps(values, default=str)

    return key_of
