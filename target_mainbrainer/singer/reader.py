"""Reads Singer messages as bytes, line by line, and never waits longer than a moment.

The SDK's reader blocks in `for line in stdin`, logs a line that it cannot read, and hands over
text. Here the target gets to act while the tap is silent, no line ever reaches a log, and each
message's own bytes are at hand for the rejects file.
"""

from __future__ import annotations

import io
import os
import select
import sys
import time
import typing as t
from collections import Counter

from singer_sdk.contrib.msgspec import MsgSpecReader
from typing_extensions import override

from target_mainbrainer.errors import InputError
from target_mainbrainer.singer.decoding import decode_json

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from singer_sdk.singerlib.encoding.base import SingerMessageType

CHUNK_BYTES = 1 << 18
TICK_SECONDS = 0.5

Message: t.TypeAlias = "dict[str, t.Any]"


class SingerLines(MsgSpecReader):
    """Reads Singer messages, and calls `tick` at least every half second while it does.

    Attributes:
        tick: Called while reading and while waiting; what it raises ends the reading.
        is_done: Set to stop reading before the end of the input.
        line: The message being handled, as it was read.
        number: Its line number, counted from 1.
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
                kind = self._handle(line, handlers)
                counts[kind] += 1
            self._tick_if_due()
            if self.is_done:
                break
        return counts

    def _handle(self, line: bytes, handlers: dict[str, Callable[[Message], None]]) -> str:
        self.number += 1
        self.line = line
        message = self.decode(line)
        kind = message.get("type")
        handler = handlers.get(kind) if isinstance(kind, str) else None
        if handler is None:
            raise InputError(
                self._complain("is no Singer message: its 'type' is none that Singer knows")
            )
        handler(message)
        return t.cast("str", kind)

    def handle_again(self, line: bytes, handler: Callable[[Message], None]) -> None:
        """Handle a message that another one stands for: a record out of a BATCH file."""
        self.line = line
        handler(self.decode(line))
        self._tick_if_due()

    def _tick_if_due(self) -> None:
        if (now := time.monotonic()) >= self._next_tick:
            self._next_tick = now + TICK_SECONDS
            self.tick()

    def decode(self, line: bytes) -> Message:
        """Decode one message.

        Raises:
            InputError: The line is not a JSON object.
        """
        try:
            message = decode_json(line)
        except ValueError:
            ended = "" if line.endswith(b"\n") else ", and it is cut off: did the tap fail?"
            raise InputError(self._complain(f"is not valid JSON in UTF-8{ended}")) from None
        if not isinstance(message, dict):
            raise InputError(self._complain("is no Singer message, because it is no JSON object"))
        return message

    def require(self, message: Message, **kinds: type | tuple[type, ...]) -> None:
        """Make sure that a message has certain members, each of a certain type.

        Raises:
            InputError: One is missing or of another type.
        """
        for name, kind in kinds.items():
            if not isinstance(message.get(name), kind):
                raise InputError(
                    self._complain(f"is a {message.get('type')} message without a proper '{name}'")
                )

    def _complain(self, problem: str) -> str:
        return (
            f"Line {self.number} of the input {problem}. Check what the tap writes; a tap must "
            "write nothing but Singer messages to its standard output."
        )

    @staticmethod
    @override
    def assert_line_requires(line_dict: Message, requires: set[str]) -> None:
        """Make sure that a message has certain members, without repeating it in the error."""
        if missing := requires - line_dict.keys():
            names = " and ".join(f"'{name}'" for name in sorted(missing))
            # The SDK asks about the schema in a SCHEMA message, too, whose type is another.
            kind = "SCHEMA" if "stream" not in line_dict else line_dict["type"]
            msg = f"A {kind} message of the input lacks {names}. Check what the tap writes."
            raise InputError(msg)


def _lines(source: t.IO[str]) -> Iterator[bytes]:
    """Yield the lines of a file or pipe, and an empty one whenever there is none for a moment."""
    try:
        descriptor = source.fileno()
    except (io.UnsupportedOperation, AttributeError):
        for text in source:
            yield text.encode("utf-8", "surrogatepass")
        return
    rest: list[bytes] = []
    while True:
        if not select.select([descriptor], [], [], TICK_SECONDS)[0]:
            yield b""
            continue
        chunk = os.read(descriptor, CHUNK_BYTES)
        if not chunk:
            break
        head, *tail = chunk.split(b"\n")
        rest.append(head)
        if not tail:
            yield b""
            continue
        yield b"".join(rest) + b"\n"
        last = tail.pop()
        rest = [last]
        for line in tail:
            yield line + b"\n"
    if last := b"".join(rest):
        yield last
