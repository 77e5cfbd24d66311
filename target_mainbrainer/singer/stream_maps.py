"""Stream maps and flattening: the SDK's, with sentences for what goes wrong.

The SDK's errors may be of any type, repeat the record's values, and do not name the column whose
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
    """Return the maps of a source stream: to itself, to another name, to several streams, or none.

    Raises:
        MappingError: The settings cannot be applied to the stream's schema.
    """
    stream, schema, key_properties, _ = announced
    try:
        mapper.register_raw_stream_schema(stream, schema, key_properties)
    except Exception as error:  # noqa: BLE001 - the SDK raises any type at an odd schema
        text = f"Setting 'stream_maps' cannot be applied to stream '{shown(stream)}'. {error}"
        if not isinstance(error, StreamMapError):
            text = (
                f"Stream '{shown(stream)}': its schema cannot be flattened or mapped "
                f"({type(error).__name__}). Are there two columns of one name once "
                "'flattening_enabled' or 'stream_maps' is applied, or is a part of it not a JSON "
                "schema?"
            )
        raise MappingError(text) from None
    maps = [m for m in mapper.stream_maps[stream] if not isinstance(m, RemoveRecordTransform)]
    if not all(isinstance(stream_map.stream_alias, str) for stream_map in maps):
        text = f"Setting 'stream_maps': the '__alias__' of stream '{shown(stream)}' is not a text."
        raise MappingError(text)
    return maps


def changes_records(stream_map: StreamMap) -> bool:
    """Return whether a stream map changes records at all."""
    return not isinstance(stream_map, SameRecordTransform) or stream_map.flattening_enabled


def mapped(stream_map: StreamMap, record: Record) -> Record | Rejection | None:
    """Return the record after a stream map, or None if the map filters it out."""
    try:
        return stream_map.transform(copy.copy(record))
    except Exception as error:  # noqa: BLE001 - any expression can fail on any record
        column, expression = _failed(error)
        what = "A stream map"
        if column is not None:
            what = f"The stream map's expression for column '{shown(column)}'"
        if column == "__filter__":
            what = "The stream map's '__filter__'"
        cause = _cause(error, expression, stream_map, record)
        return Rejection(RejectionCode.STREAM_MAP_FAILED, f"{what} cannot be applied to it{cause}.")


def _cause(error: Exception, expression: str, stream_map: StreamMap, record: Record) -> str:
    """Return why an expression has failed, without any value of the record."""
    called, names = _names_in(expression)
    lacking = [name for name in names if name not in record and name != "self"]
    used = [name for name in names if name in record]
    if unknown := [name for name in called if name not in getattr(stream_map, "functions", called)]:
        return f": there is no function {listed(unknown[:5])}"
    if "fake" in expression and getattr(stream_map, "fake", None) is None:
        return ": 'fake' needs the package 'faker', which is not installed"
    if lacking and isinstance(error, StreamMapError):
        return f": the record lacks {listed(lacking[:5])}"
    uses = f" (it uses {listed(used[:5])})" if used else ""
    return f"{uses}: {type(error).__name__}"


def _failed(error: Exception) -> tuple[str | None, str]:
    """Return the column at which a map has failed, and its expression.

    The SDK's error does not name them, but they are in the frames that it has passed;
    `tests/test_sdk.py` checks the SDK for their names.
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


def _names_in(expression: str) -> tuple[list[str], list[str]]:
    """Return the functions that an expression calls, and the names in it that may be columns.

    >>> _names_in("md5(email) + config['salt']"), _names_in("_['zip']")
    ((['md5'], ['email']), ([], ['zip']))
    """
    try:
        nodes = [*ast.walk(ast.parse(expression))]
    except (SyntaxError, ValueError):
        return [], []
    functions = [node.func for node in nodes if isinstance(node, ast.Call)]
    called: dict[str, None] = {}
    names: dict[str, None] = {}
    for node in nodes:
        match node:
            case ast.Name(id=name) if node in functions:
                called[name] = None
            case ast.Name(id=name) if name not in _NO_COLUMNS:
                names[name] = None
            case ast.Subscript(
                value=ast.Name(id="_" | "record"), slice=ast.Constant(value=str(name))
            ):
                names[name] = None
            case _:
                pass
    return [*called], [*names]
