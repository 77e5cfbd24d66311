"""Singer messages in: read as bytes, line by line, decoded, and checked before they are used.

The SDK's reader blocks in `for line in stdin`, logs a line that it cannot read, and passes on
text. Here the target gets to act while the tap is silent, no line ever reaches a log, and each
message's own bytes are at hand for the rejects file.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import json
import os
import select
import stat
import sys
import time
import typing as t
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from urllib.parse import unquote

import msgspec
from singer_sdk.contrib.msgspec import MsgSpecReader, decoder
from singer_sdk.helpers._batch import BatchConfig, BatchFileFormat, StorageTarget
from singer_sdk.singerlib.encoding.base import SingerMessageType
from typing_extensions import override

from target_mainbrainer.errors import InputError
from target_mainbrainer.words import shown

Message: t.TypeAlias = "dict[str, t.Any]"

CHUNK_BYTES = 1 << 18
TICK_SECONDS = 0.5
LEFTOVER_SECONDS = 30.0

_TOO_DEEP = "is a message that is nested too deeply to be read"


class MessageReader(MsgSpecReader):
    """Reads Singer messages, and calls `tick` at least every half second while it does.

    Attributes:
        tick: Called while reading and while waiting; an exception from it ends the reading.
        is_done: Set to stop reading before the end of the input.
        line: The message being handled, as it was read.
        number: The number of its line, counted from 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tick: Callable[[], None] = lambda: None
        self.is_done = False
        self.line = b""
        self.number = 0
        self._next_tick = 0.0

    @override
    def process_lines(
        self,
        file_input: t.IO[str] | None,
        callbacks: dict[str, Callable[[Message], None]],
    ) -> Counter[str]:
        """Hand each message to the callback of its type.

        Raises:
            InputError: A line is not a Singer message.
        """
        counts: Counter[str] = Counter()
        handlers = {t.cast("SingerMessageType", kind).value: c for kind, c in callbacks.items()}
        for line in _lines(file_input or sys.stdin):
            if line and not line.isspace():
                self.number += 1
                counts[self._handle(line, handlers)] += 1
            self._tick_if_due()
            if self.is_done:
                break
        return counts

    def _handle(self, line: bytes, handlers: dict[str, Callable[[Message], None]]) -> str:
        self.line = line
        try:
            message = decode_message(line)
            kind: t.Any = message.get("type")
            (handlers.get(kind, _refuse) if isinstance(kind, str) else _refuse)(message)
        except (MalformedMessageError, RecursionError) as error:
            problem = _TOO_DEEP if isinstance(error, RecursionError) else error
            raise InputError(
                f"Line {self.number} of the input {problem}. Check the output of the tap: it must "
                "write nothing but Singer messages to its standard output."
            ) from None
        return kind  # type: ignore[no-any-return] # what has a handler is a text

    def handle_again(self, line: bytes, handler: Callable[[Message], None]) -> None:
        """Handle a message in place of the one that was read: a record from a BATCH file.

        Raises:
            InputError: It is not a record.
        """
        self.line = line
        try:
            handler(decode_message(line))
        except MalformedMessageError:
            raise InputError(
                f"A file of the BATCH message on line {self.number} of the input contains a line "
                "that is not a record. Check the output of the tap."
            ) from None
        self._tick_if_due()

    def _tick_if_due(self) -> None:
        if (now := time.monotonic()) >= self._next_tick:
            self._next_tick = now + TICK_SECONDS
            self.tick()


def _refuse(_message: Message) -> None:
    raise MalformedMessageError("is not a Singer message: Singer has no messages of its 'type'")


def _lines(source: t.IO[str] | None) -> Iterator[bytes]:
    """Yield the lines of a file or pipe, and an empty one whenever there is none for a moment.

    Raises:
        InputError: There is nothing to read from.
    """
    if source is None:
        raise InputError("There is no input: standard input is closed. Pipe a tap into the target.")
    try:
        descriptor = source.fileno()
    except (io.UnsupportedOperation, AttributeError):
        for line in source:
            yield line.encode("utf-8", "surrogatepass")
        return
    try:
        yield from _lines_of(descriptor)
    except OSError as error:
        raise InputError(f"The input cannot be read any further ({error.strerror}).") from None


def _lines_of(descriptor: int) -> Iterator[bytes]:
    rest = b""
    while True:
        if not select.select([descriptor], [], [], TICK_SECONDS)[0]:
            yield b""
            continue
        chunk = os.read(descriptor, CHUNK_BYTES)
        if not chunk:
            break
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line + b"\n" for line in lines)
        if not lines:
            yield b""
    if rest:
        yield rest


# Input that a failed run does not need any more ------------------------------------------------


def drop_leftover(source: t.IO[str] | None, *, is_over: Callable[[], bool]) -> None:
    """Read to the end of a pipe and drop everything, for half a minute at most.

    A target that ends while the tap still writes breaks its pipe: the tap fails, too, and the
    reason for it all is buried under its complaints.

    Args:
        source: The input; only pipes are read.
        is_over: Returns whether to stop before.
    """
    deadline = time.monotonic() + LEFTOVER_SECONDS
    with contextlib.suppress(OSError, ValueError, AttributeError):  # it is closed, or no file
        descriptor = source.fileno()  # type: ignore[union-attr] # no input at all has none
        mode = os.fstat(descriptor).st_mode
        is_open = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
        while is_open and not is_over() and time.monotonic() < deadline:
            if select.select([descriptor], [], [], TICK_SECONDS)[0]:
                is_open = bool(os.read(descriptor, CHUNK_BYTES))


# Decoding ------------------------------------------------------------------------------------


class MalformedMessageError(ValueError):
    """A line is not a Singer message; the text follows "Line 5 of the input"."""


def decode_json(line: bytes) -> t.Any:  # noqa: ANN401 - any JSON value
    r"""Decode a line of JSON, fractions as `Decimal` with the digits they have.

    A line that the quick decoder refuses gets a second try: Python's own encoder writes NaN and
    unpaired surrogates, so taps do, and one such value should cost one record, not the run.

    >>> decode_json(b'{"price": 12.50, "name": "\\ud800"}')
    {'price': Decimal('12.50'), 'name': '\ud800'}

    Raises:
        ValueError: It is not JSON in UTF-8, or contains an integer of more than 4,300 digits.
        ArithmeticError: It contains a number that is beyond even `Decimal`.
        RecursionError: It is nested more deeply than Python can read.
    """
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError):
        text = line.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    return json.loads(text, parse_float=Decimal)


def decode_message(line: bytes) -> Message:
    """Decode one line.

    Raises:
        MalformedMessageError: The line is not a JSON object.
        RecursionError: It is nested too deeply.
    """
    try:
        message = decode_json(line)
    except (ValueError, ArithmeticError):
        ended = "" if line.endswith(b"\n") else ", and it is cut off, as by a tap that failed"
        raise MalformedMessageError(f"is not valid JSON in UTF-8{ended}") from None
    if not isinstance(message, dict):
        raise MalformedMessageError("is not a Singer message, because it is not a JSON object")
    return message


# Messages ------------------------------------------------------------------------------------


class SchemaMessage(t.NamedTuple):
    """The contents of a SCHEMA message."""

    stream: str
    schema: dict[str, t.Any]
    key_properties: list[str]
    bookmark_properties: object = None


class _Schema(msgspec.Struct):
    """Part that every schema has."""

    properties: dict[str, dict[str, t.Any] | bool]


_Name = t.Annotated[str, msgspec.Meta(pattern="^[^\0\ud800-\udfff]*$")]
"""PostgreSQL cannot keep NUL, and no file half a character."""
_Path = t.Annotated[str, msgspec.Meta(pattern=r"\S")]


def require(message: Message, **kinds: t.Any) -> None:  # noqa: ANN401 - types
    """Check that a message has these members, each of its type.

    Raises:
        MalformedMessageError: One is missing or of another type.
    """
    for name, kind in kinds.items():
        try:
            msgspec.convert(message.get(name), kind)
        except (msgspec.ValidationError, UnicodeEncodeError) as error:
            raise MalformedMessageError(
                f"is a {message['type']} message without a proper '{name}' ({error})"
            ) from None


def schema_message(message: Message) -> SchemaMessage:
    """Return the contents of a SCHEMA message.

    Without `key_properties`, or with null, the stream's records have no key.

    Raises:
        MalformedMessageError: It announces nothing usable.
    """
    require(message, stream=_Name, schema=_Schema, key_properties=list[str] | None)
    keys, bookmarks = message.get("key_properties") or [], message.get("bookmark_properties")
    return SchemaMessage(message["stream"], message["schema"], keys, bookmarks)


# BATCH messages: the lines of their files, as the RECORD messages that they stand for ------------


def record_messages(message: Message, batch_config: dict[str, t.Any] | None) -> Iterator[bytes]:
    """Yield the records of a BATCH message's files as RECORD messages, one at a time.

    Only JSON lines, plain or with gzip, are read; the SDK's taps write them by default.

    Raises:
        MalformedMessageError: It names no files.
        InputError: A file cannot be read.
    """
    require(message, stream=str, encoding=dict, manifest=list[_Path])
    stream, encoding, manifest = message["stream"], message["encoding"], message["manifest"]
    compression = encoding.get("compression")
    if encoding.get("format") != BatchFileFormat.JSONL or compression not in ("none", "gzip", None):
        raise InputError(
            f"A BATCH message of stream '{shown(stream)}' is encoded in a way that is not "
            "supported. Set the tap's 'batch_config' to 'jsonl' with 'gzip' or 'none'."
        )
    storage = BatchConfig.from_dict(batch_config).storage if batch_config else None
    start = b'{"type":"RECORD","stream":' + json.dumps(stream).encode() + b',"record":'
    for path in manifest:
        try:
            head, tail = StorageTarget.split_url(_plain_address(path))
            with (storage or StorageTarget.from_url(head)).open(tail, mode="rb") as file:
                lines = gzip.GzipFile(fileobj=file) if compression == "gzip" else file
                for line in lines:
                    if content := line.strip().removeprefix(codecs.BOM_UTF8):
                        yield start + content + b"}\n"
        except Exception as error:  # noqa: BLE001 - each kind of storage has errors of its own
            # Its address may contain a password, so it stays out.
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise InputError(
                f"A file of a BATCH message of stream '{shown(stream)}' cannot be read: {reason}."
            ) from None


def _plain_address(path: str) -> str:
    """Return the address of a local file as the SDK reads it: without a host and escapes."""
    if not path.startswith("file://"):
        return path
    plain = "file:///" + path.removeprefix("file://").removeprefix("localhost").lstrip("/")
    is_there = Path(plain.removeprefix("file://")).exists()
    return plain if is_there else unquote(plain)
