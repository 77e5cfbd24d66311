"""Stream maps, with sentences for what goes wrong, and flattening.

Stream maps are the SDK's. Its errors may be of any type, repeat the record's values, and do not
name the column whose expression has failed. Flattening is not: the SDK's fails at columns without
a type, drops others, and turns lists and objects into JSON in ASCII. Here values stay as they are.
"""

from __future__ import annotations

import copy
import functools
import traceback
import typing as t
from collections.abc import Callable, Container, Iterator, Mapping, Sequence

from singer_sdk.exceptions import MappingError as StreamMapError
from singer_sdk.helpers._flattening import FlatteningOptions, flatten_key
from singer_sdk.mapper import PluginMapper, RemoveRecordTransform, SameRecordTransform, StreamMap

from target_mainbrainer.contacts import Record, Rejection, RejectionCode
from target_mainbrainer.errors import MappingError
from target_mainbrainer.singer.reader import SchemaMessage
from target_mainbrainer.words import shown

Change: t.TypeAlias = "Callable[[Record], Record | Rejection | None]"
Members: t.TypeAlias = "Callable[[Sequence[str], t.Any], Record | None]"


class MappedStream(t.NamedTuple):
    """A stream after stream maps and flattening.

    Attributes:
        name: Its name.
        schema: The columns that it has then.
        key_properties: The key of its records.
        change: Returns the record after both, or None if a map filters it out; None if neither
            changes anything.
        paths: The names that lead to a column inside of an object, by the name of the column.
    """

    name: str
    schema: dict[str, t.Any]
    key_properties: Sequence[str] | None
    change: Change | None
    paths: dict[str, Sequence[str]]


def mapped_streams(
    mapper: PluginMapper, announced: SchemaMessage, flattening: Mapping[str, t.Any]
) -> list[MappedStream]:
    """Return the streams that a stream is mapped to: itself, one of another name, several, or none.

    Args:
        mapper: The SDK's stream maps.
        announced: The stream.
        flattening: The settings that say whether and how to flatten.

    Raises:
        MappingError: The settings cannot be applied to the stream's schema.
    """
    stream, schema, key_properties, _ = announced
    # The SDK does not know columns that are just true.
    columns = {
        name: column if isinstance(column, dict) else {}
        for name, column in schema["properties"].items()
    }
    options = FlatteningOptions.from_dict(flattening)  # type: ignore[arg-type] # all settings
    mapper.flattening_options = FlatteningOptions(enabled=False)
    try:
        mapper.register_raw_stream_schema(stream, schema | {"properties": columns}, key_properties)
        maps = [m for m in mapper.stream_maps[stream] if not isinstance(m, RemoveRecordTransform)]
        streams = [_mapped_stream(stream_map, options) for stream_map in maps]
    except Exception as error:  # noqa: BLE001 - the SDK raises any type at an odd schema
        text = f"Setting 'stream_maps' cannot be applied to stream '{shown(stream)}'. {error}"
        if not isinstance(error, StreamMapError):
            text = (
                f"Stream '{shown(stream)}': its schema cannot be flattened or mapped "
                f"({type(error).__name__}). Do two columns have the same name afterwards?"
            )
        raise MappingError(text) from None
    return streams


def _mapped_stream(stream_map: StreamMap, options: FlatteningOptions) -> MappedStream:
    schema = stream_map.transformed_schema
    paths: dict[str, Sequence[str]] = {}
    if options.enabled:
        columns: Record = {}
        for path, column in _leaves(schema["properties"], _members, options):
            name = _flat_name(path, options)
            if name in columns:
                raise ValueError(name)
            columns[name] = column
            if len(path) > 1:
                paths[name] = path
        schema = schema | {"properties": columns}
    change = None
    if options.enabled or not isinstance(stream_map, SameRecordTransform):
        change = functools.partial(_changed, stream_map, options, schema.get("properties", {}))
    key_properties = stream_map.transformed_key_properties
    return MappedStream(str(stream_map.stream_alias), schema, key_properties, change, paths)


def _changed(
    stream_map: StreamMap, options: FlatteningOptions, columns: Container[str], record: Record
) -> Record | Rejection | None:
    def members(path: Sequence[str], value: object) -> Record | None:
        if isinstance(value, dict) and _flat_name(path, options) not in columns:
            return value
        return None

    try:
        changed = stream_map.transform(copy.copy(record))
        if changed is not None and options.enabled:
            changed = {
                _flat_name(path, options): value
                for path, value in _leaves(changed, members, options)
            }
    except Exception as error:  # noqa: BLE001 - any expression can fail on any record
        column = _failed_column(error)
        what = f"The stream map's expression for '{shown(column)}'" if column else "A stream map"
        reason = f"{what} cannot be applied to it: {_cause(error)}."
        return Rejection(RejectionCode.STREAM_MAP_FAILED, reason)
    return changed


def _leaves(
    whole: Record, members: Members, options: FlatteningOptions, parents: Sequence[str] = ()
) -> Iterator[tuple[Sequence[str], t.Any]]:
    """Yield the parts of a schema or record, and those inside of objects, with the names of each.

    Args:
        whole: The schema's properties, or the record.
        members: Returns the members of a part, given the names that lead there; None without any.
        options: Those of flattening.
        parents: The names that lead to the whole.
    """
    for name, part in whole.items():
        path = [*parents, name]
        inner = members(path, part) if len(path) <= options.max_level else None
        if inner is None:
            yield path, part
        else:
            yield from _leaves(inner, members, options, path)


def _members(_path: object, column: t.Any) -> Record | None:  # noqa: ANN401 - part of a schema
    """Return the columns inside of one that is an object, or an object or something else."""
    if not isinstance(column, dict):
        return None
    for part in (column, *column.get("anyOf", ()), *column.get("oneOf", ())):
        if isinstance(part, dict) and isinstance(members := part.get("properties"), dict):
            return members
    return None


def _flat_name(path: Sequence[str], options: FlatteningOptions) -> str:
    name, *inner = path
    if not inner and len(name) < options.max_key_length:
        return name
    longest = options.max_key_length
    return flatten_key(path[-1], [*path[:-1]], options.separator, max_key_length=longest)


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


def _failed_column(error: Exception) -> str:
    """Return the column at which a map has failed, or `__filter__`; "" if it was something else.

    The SDK's error does not name it, but it is in a frame that the error has passed;
    `tests/singer/test_stream_maps.py` fails when its names change.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "_eval" and "property_name" in frame.f_locals:
            return str(frame.f_locals["property_name"] or "__filter__")
    return ""
