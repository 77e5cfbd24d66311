"""Stream maps and flattening: the SDK's, with sentences for what goes wrong.

The SDK raises whatever it meets, repeats the record's values, and does not say which column's
expression has failed.
"""

from __future__ import annotations

import ast
import copy
import typing as t

from singer_sdk.exceptions import MappingError as StreamMapError
from singer_sdk.mapper import RemoveRecordTransform, SameRecordTransform

from target_mainbrainer.contacts import Rejection, RejectionCode
from target_mainbrainer.errors import MappingError
from target_mainbrainer.words import listed, shown

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.mapper import PluginMapper, StreamMap

    from target_mainbrainer.singer.reader import SchemaMessage

Record: t.TypeAlias = "dict[str, t.Any]"

_NO_COLUMNS = frozenset(
    {
        *("_", "record", "config", "self", "fake", "datetime", "json"),
        *("__stream_name__", "__original_stream_name__"),
    }
)
"""Names that mean something else in an expression."""


def stream_maps_of(mapper: PluginMapper, announced: SchemaMessage) -> list[StreamMap]:
    """Return what a source stream becomes: itself, one under another name, several, or none.

    Raises:
        MappingError: The settings cannot be applied to the stream's schema.
    """
    stream, schema, key_properties = announced
    try:
        mapper.register_raw_stream_schema(stream, schema, key_properties)
    except StreamMapError as error:
        text = f"Setting 'stream_maps' cannot be applied to stream '{shown(stream)}'. {error}"
        raise MappingError(text) from None
    except Exception as error:  # noqa: BLE001 - the SDK raises whatever it meets in a schema
        text = (
            f"Stream '{shown(stream)}': its schema cannot be flattened or mapped "
            f"({type(error).__name__}). Are there two columns of one name once "
            "'flattening_enabled' or 'stream_maps' is applied, or is a part of it no JSON schema?"
        )
        raise MappingError(text) from None
    maps = [m for m in mapper.stream_maps[stream] if not isinstance(m, RemoveRecordTransform)]
    if not all(isinstance(stream_map.stream_alias, str) for stream_map in maps):
        text = f"Setting 'stream_maps': the '__alias__' of stream '{shown(stream)}' is no text."
        raise MappingError(text)
    return maps


def changes_records(stream_map: StreamMap) -> bool:
    """Return whether a stream map does anything to a record."""
    return not isinstance(stream_map, SameRecordTransform) or stream_map.flattening_enabled


def mapped(stream_map: StreamMap, record: Record) -> Record | Rejection | None:
    """Return what a stream map makes of a record, or None if it filters the record out."""
    try:
        return stream_map.transform(copy.copy(record))
    except Exception as error:  # noqa: BLE001 - any expression can fail on any record
        return Rejection(RejectionCode.STREAM_MAP_FAILED, _why(error, record))


def _why(error: Exception, record: Record) -> str:
    """Name the column whose expression has failed, and the columns that the expression names."""
    column, expression = _failed(error)
    what = "A stream map"
    if column == "__filter__":
        what = "The stream map's '__filter__'"
    elif column is not None:
        what = f"The stream map's expression for column '{shown(column)}'"
    names = list(dict.fromkeys(_names_in(expression)))
    lacking = [name for name in names if name not in record and name != "self"]
    used = [name for name in names if name in record]
    if lacking and isinstance(error, StreamMapError):
        return f"{what} cannot be applied to it: the record lacks {listed(lacking[:5])}."
    uses = f" (it uses {listed(used[:5])})" if used else ""
    return f"{what} cannot be applied to it{uses}: {type(error).__name__}."


def _failed(error: Exception) -> tuple[str | None, str]:
    """Return the column at which a map has failed, and its expression.

    The SDK's error does not tell, but the frames that it has passed know; `tests/test_sdk.py`
    holds the SDK to their names.
    """
    trace = error.__traceback__
    while trace is not None:
        local = trace.tb_frame.f_locals
        match trace.tb_frame.f_code.co_name:
            case "transform_fn" if "prop_key" in local:
                return str(local["prop_key"]), str(local["prop_def"])
            case "_inner" if "filter_rule" in local:
                return "__filter__", str(local["filter_rule"])
            case _:
                trace = trace.tb_next
    return None, ""


def _names_in(expression: str) -> Iterator[str]:
    """Yield the names in an expression that may be columns."""
    try:
        tree = ast.parse(expression)
    except (SyntaxError, ValueError):
        return
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and id(node) not in called:
            if node.id not in _NO_COLUMNS:
                yield node.id
        elif (
            isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Name)
            and node.value.id in {"_", "record"}
            and isinstance(node.slice, ast.Constant)
            and isinstance(node.slice.value, str)
        ):
            yield node.slice.value
