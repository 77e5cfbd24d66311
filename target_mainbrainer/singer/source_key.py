"""What tells a source's records apart, as one readable text."""

from __future__ import annotations

import json
import typing as t

import msgspec

if t.TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_encode = msgspec.json.Encoder(decimal_format="number").encode


def source_key_reader(
    key_properties: Sequence[str], source_stream: str | None = None
) -> Callable[[Mapping[str, t.Any]], str | None]:
    """Return a function that returns a record's key as JSON, in the order of `key_properties`.

    None is returned without `key_properties`, and if a part of the key is null or missing: such
    records cannot be told apart.

    >>> key_of = source_key_reader(["shop", "id"])
    >>> key_of({"id": 4711, "shop": "oslo", "email": "kari@example.com"})
    '["oslo",4711]'
    >>> key_of({"id": 4711, "shop": None}) is None
    True

    Args:
        key_properties: As announced, after stream maps.
        source_stream: The stream's name in the input if a stream map renames it. It becomes the
            first part of the key, because several streams can go by one alias.
    """
    columns = tuple(key_properties)
    start = [] if source_stream is None else [source_stream]

    def key_of(record: Mapping[str, t.Any]) -> str | None:
        values = [record.get(column) for column in columns]
        if not values or None in values:
            return None
        try:
            return _encode(start + values).decode()
        except (TypeError, ValueError, RecursionError):  # NaN, or half a character
            return json.dumps(start + values, default=str)

    return key_of
