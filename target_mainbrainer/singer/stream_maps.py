"""Stream maps and flattening: the SDK's, with sentences for what goes wrong.

The SDK's errors may be of any type, repeat the record's values, and do not name the column whose
expression has failed.
"""

from __future__ import annotations

import copy
import typing as t

from singer_sdk.exceptions import MappingError as StreamMapError
from singer_sdk.mapper import RemoveRecordTransform, SameRecordTransform

from target_mainbrainer.contacts import Rejection, RejectionCode
from target_mainbrainer.errors import MappingError
from target_mainbrainer.words import shown

if t.TYPE_CHECKING:
    from singer_sdk.mapper import PluginMapper, StreamMap

    from target_mainbrainer.singer.reader import SchemaMessage

Record: t.TypeAlias = "dict[str, t.Any]"


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
        column = _failed_column(error)
        what = "A stream map"
        if column is not None:
            what = f"The stream map's expression for column '{shown(column)}'"
        if column == "__filter__":
            what = "The stream map's '__filter__'"
        reason = f"{what} cannot be applied to it: {_cause(error)}."
        return Rejection(RejectionCode.STREAM_MAP_FAILED, reason)


def _cause(error: Exception) -> str:
    """Return why an expression has failed, without any value of the record.

    The errors of `simpleeval`, which are the causes of the SDK's, name what is not defined.
    """
    match vars(error.__cause__) if error.__cause__ else {}:
        case {"func_name": str(name)}:
            return f"there is no function '{shown(name)}'"
        case {"name": "fake"}:
            return "'fake' needs the package 'faker', which is not installed"
        case {"name": str(name)}:
            return f"the record lacks '{shown(name)}'"
        case _:
            return type(error.__cause__ or error).__name__


def _failed_column(error: Exception) -> str | None:
    """Return the column at which a map has failed.

    The SDK's error does not name it, but it is in the frames that the error has passed;
    `tests/test_sdk.py` checks the SDK for their names.
    """
    trace = error.__traceback__
    while trace is not None:
        local = trace.tb_frame.f_locals
        match trace.tb_frame.f_code.co_name:
            case "transform_fn" if "prop_key" in local:
                return str(local["prop_key"])
            case "_inner" if "filter_rule" in local:
                return "__filter__"
            case _:
                trace = trace.tb_next
    return None
