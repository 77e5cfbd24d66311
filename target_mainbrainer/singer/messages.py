"""What a Singer message must have, before anything relies on it."""

from __future__ import annotations

import typing as t

from target_mainbrainer.singer.decoding import decode_json

Message: t.TypeAlias = "dict[str, t.Any]"

MOST_LEVELS = 100
"""Arrays and objects inside each other, in messages that everything else relies on."""


class MalformedMessageError(ValueError):
    """A line is no Singer message; its text follows "Line 5 of the input"."""


class SchemaMessage(t.NamedTuple):
    """What a SCHEMA message announces."""

    stream: str
    schema: dict[str, t.Any]
    key_properties: list[str]


class BatchMessage(t.NamedTuple):
    """What a BATCH message names: the files that hold the records of a stream."""

    stream: str
    format: object
    compression: object
    manifest: list[str]


def decode_message(line: bytes) -> Message:
    """Decode one line. In a record, what is nested too deeply is marked; it costs that record.

    Raises:
        MalformedMessageError: The line is not a JSON object, or another message than a record is
            nested too deeply.
    """
    try:
        message = decode_json(line)
    except ValueError:
        ended = "" if line.endswith(b"\n") else ", and it is cut off: did the tap fail?"
        problem = f"is not valid JSON in UTF-8{ended}"
        raise MalformedMessageError(problem) from None
    if not isinstance(message, dict):
        problem = "is no Singer message, because it is no JSON object"
        raise MalformedMessageError(problem)
    if message.get("type") != "RECORD" and _is_deeper(message, MOST_LEVELS):
        problem = "is a message that is nested too deeply to be read"
        raise MalformedMessageError(problem)
    return message


def batch_message(message: Message) -> BatchMessage:
    """Return what a BATCH message names.

    Raises:
        MalformedMessageError: It names no files.
    """
    require(message, stream=str, encoding=dict, manifest=list)
    manifest = message["manifest"]
    if not all(isinstance(path, str) and path.strip() for path in manifest):
        problem = "is a BATCH message whose 'manifest' is not a list of files"
        raise MalformedMessageError(problem)
    encoding = message["encoding"]
    return BatchMessage(
        message["stream"], encoding.get("format"), encoding.get("compression"), manifest
    )


def _is_deeper(value: object, levels: int) -> bool:
    """Return whether arrays and objects lie inside each other at more levels than so many."""
    if isinstance(value, dict):
        return levels == 0 or any(_is_deeper(item, levels - 1) for item in value.values())
    if isinstance(value, list):
        return levels == 0 or any(_is_deeper(item, levels - 1) for item in value)
    return False


def require(message: Message, **kinds: type | tuple[type, ...]) -> None:
    """Make sure that a message has certain members, each of a certain type.

    Raises:
        MalformedMessageError: One is missing or of another type.
    """
    for name, kind in kinds.items():
        if not isinstance(message.get(name), kind):
            problem = f"is a {message['type']} message without a proper '{name}'"
            raise MalformedMessageError(problem)


def schema_message(message: Message) -> SchemaMessage:
    """Return what a SCHEMA message announces.

    A schema without `properties` announces no columns; without `key_properties`, or with null, the
    stream's records have no key.

    Raises:
        MalformedMessageError: It announces nothing that can be used.
    """
    require(message, stream=str, schema=dict)
    schema = message["schema"]
    if not isinstance(properties := schema.get("properties"), dict) or not all(
        isinstance(column, dict | bool) for column in properties.values()
    ):
        problem = "is a SCHEMA message whose 'schema' has no proper 'properties'"
        raise MalformedMessageError(problem)
    keys = message.get("key_properties") or []
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        problem = "is a SCHEMA message whose 'key_properties' is not a list of column names"
        raise MalformedMessageError(problem)
    return SchemaMessage(message["stream"], schema, keys)
