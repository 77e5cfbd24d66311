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
from target_mainbrainer.singer.messages import MalformedMessageError, decode_message

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from singer_sdk.singerlib.encoding.base import SingerMessageType

    from target_mainbrainer.singer.messages import Message

CHUNK_BYTES = 1 << 18
TICK_SECONDS = 0.5


class MessageReader(MsgSpecReader):
    """Reads Singer messages, and calls `tick` at least every half second while it does.

    Attributes:
        tick: Called while reading and while waiting; what it raises ends the reading.
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
        except MalformedMessageError as error:
            text = (
                f"Line {self.number} of the input {error}. Check what the tap writes; a tap must "
                "write nothing but Singer messages to its standard output."
            )
            raise InputError(text) from None
        return kind  # type: ignore[no-any-return] # what has a handler is a text

    def handle_again(self, line: bytes, handler: Callable[[Message], None]) -> None:
        """Handle a message that another one stands for: a record out of a BATCH file.

        Raises:
            InputError: It is no record.
        """
        self.line = line
        try:
            handler(decode_message(line))
        except MalformedMessageError:
            text = (
                f"A file that the BATCH message on line {self.number} of the input names holds a "
                "line that is no record. Check what the tap writes."
            )
            raise InputError(text) from None
        self._tick_if_due()

    def _tick_if_due(self) -> None:
        if (now := time.monotonic()) >= self._next_tick:
            self._next_tick = now + TICK_SECONDS
            self.tick()


def _refuse(_message: Message) -> None:
    problem = "is no Singer message: its 'type' is none that Singer knows"
    raise MalformedMessageError(problem)


def _lines(source: t.IO[str] | None) -> Iterator[bytes]:
    """Yield the lines of a file or pipe, and an empty one whenever there is none for a moment.

    Raises:
        InputError: There is nothing to read from.
    """
    if source is None:
        text = "There is no input: standard input is closed. Pipe a tap into the target."
        raise InputError(text)
    try:
        descriptor = source.fileno()
    except (io.UnsupportedOperation, AttributeError):
        for line in source:
            yield line.encode("utf-8", "surrogatepass")
        return
    try:
        yield from _lines_of(descriptor)
    except OSError as error:
        text = f"The input cannot be read any further ({error.strerror})."
        raise InputError(text) from None


def _lines_of(descriptor: int) -> Iterator[bytes]:
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
