"""The setting `stream_maps`: that every expression in it can be parsed."""

from __future__ import annotations

import ast
import typing as t

if t.TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NULLS = (None, "__NULL__")
_OPTIONS = ("__alias__", "__source__", "__filter__", "__else__", "__key_properties__")


def stream_map_problems(stream_maps: object) -> Iterator[str]:
    """Say what is wrong with the setting, as far as it can be seen without a stream.

    The SDK finds these at a stream's SCHEMA message, or at each record.

    >>> list(stream_map_problems({"people": {"email": "mail.lower("}}))
    ["Setting 'stream_maps.people.email' is no expression that can be parsed."]
    """
    if not isinstance(stream_maps, dict):
        return
    for stream, what in stream_maps.items():
        place = f"stream_maps.{stream}"
        if stream == "__else__":
            yield from _else_problems(place, what)
        elif stream.startswith("__"):
            yield f"Setting '{place}' is no option; only '__else__' is."
        elif isinstance(what, dict):
            yield from _problems_of(place, what)
        elif what not in NULLS:
            yield f"Setting '{place}' must be an object, or null to leave the stream out."


def _problems_of(place: str, stream_map: Mapping[str, t.Any]) -> Iterator[str]:
    for column, what in stream_map.items():
        here = f"{place}.{column}"
        if column == "__else__":
            yield from _else_problems(here, what)
        elif column == "__key_properties__":
            if what is not None and not (
                isinstance(what, list) and all(isinstance(key, str) for key in what)
            ):
                yield f"Setting '{here}' must be a list of column names, or null."
        elif what is None and column in {"__alias__", "__source__"}:
            yield f"Setting '{here}' must be a text."
        elif what in NULLS:
            continue
        elif not isinstance(what, str):
            yield f"Setting '{here}' must be an expression (a text), or null."
        elif column != "__source__" and not _is_expression(what):
            yield f"Setting '{here}' is no expression that can be parsed."


def _else_problems(place: str, what: object) -> Iterator[str]:
    if what not in NULLS:
        yield f"Setting '{place}' must be null ('__NULL__'), or be left out."


def _is_expression(text: str) -> bool:
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return bool(body) and isinstance(body[0], ast.Expr)
