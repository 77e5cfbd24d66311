"""A MainBrainer that reads and discards: as little work as HTTP allows, in a process of its own.

`python -m benchmarks.server --latency 0.3 --burst 100` prints its port and answers until its
standard input is closed. It takes every batch, says of every batch that it is done, and enforces
the plan's sliding window, if it is given one. What it saw is told at `/seen`.

With a certificate it speaks TLS, and lets clients wait before it shakes hands (`--setup`), as a
distant or busy server does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import ssl
import sys
import time
import typing as t
from collections import deque

from typing_extensions import override

WINDOW_SECONDS = 10.0

_SEEN = b"/seen"
_ACCEPTED = '{{"status":"Success","data":{{"BatchId":"batch-{number}"}}}}'
_DONE = '{{"id":"batch","status":1,"processedObj":{{"inserted":{{"count":{contacts}}}}}}}'
_WORDS = {200: "OK", 202: "Accepted", 429: "Too Many Requests"}


class Seen(t.TypedDict):
    """What came in since the last question; times are the system's monotonic clock.

    Attributes:
        batches: When each batch was counted that was taken.
        statuses: How many statuses were asked for.
        refused: How many requests were refused with 429.
        most: The most requests that were counted in any 10 seconds.
        body_bytes: All bodies together.
    """

    batches: list[float]
    statuses: int
    refused: int
    most: int
    body_bytes: int


def _nothing_seen() -> Seen:
    return Seen(batches=[], statuses=0, refused=0, most=0, body_bytes=0)


class Discard:
    """What all connections share.

    Args:
        latency: Seconds until a request is answered.
        burst: Requests allowed in any 10 seconds; 0 for no limit.
        late: Seconds, at most, between the coming and the counting of a request.
        contacts: How many a batch has, for its status.
    """

    def __init__(self, latency: float, burst: int, late: float, contacts: int) -> None:
        self._done = _DONE.format(contacts=contacts)
        self.latency = latency
        self._burst = burst
        self._late = late
        self._chance = random.Random(1)  # noqa: S311 - no secret
        self._window: deque[float] = deque()
        self.seen = _nothing_seen()

    def lateness(self) -> float:
        """Return after how many seconds the next request is counted."""
        return self._chance.uniform(0, self._late)

    def answer(self, start: bytes, size: int) -> tuple[int, str]:
        """Count a request, and return status and body of its answer."""
        if _SEEN in start:
            seen, self.seen = self.seen, _nothing_seen()
            return 200, json.dumps(seen)
        now = time.monotonic()
        if not self._has_room(now):
            self.seen["refused"] += 1
            return 429, "{}"
        self.seen["body_bytes"] += size
        if start.startswith(b"GET"):
            self.seen["statuses"] += 1
            return 200, self._done
        self.seen["batches"].append(now)
        return 202, _ACCEPTED.format(number=len(self.seen["batches"]))

    def _has_room(self, now: float) -> bool:
        window = self._window
        while window and window[0] <= now - WINDOW_SECONDS:
            window.popleft()
        if self._burst and len(window) >= self._burst:
            return False
        window.append(now)
        self.seen["most"] = max(self.seen["most"], len(window))
        return True


class Conversation(asyncio.Protocol):
    """One connection, kept alive: skips each body and answers."""

    def __init__(self, discard: Discard) -> None:
        self._discard = discard
        self._head = b""
        self._start = b""
        self._size = 0
        self._left = 0

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = t.cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        while data:
            if self._left:
                skipped = min(self._left, len(data))
                self._left -= skipped
                data = data[skipped:]
            else:
                self._head += data
                head, end, data = self._head.partition(b"\r\n\r\n")
                if not end:
                    return
                self._head = b""
                self._start = head.split(b"\r\n", 1)[0]
                self._size = self._left = _content_length(head)
            if not self._left:
                self._answer()

    def _answer(self) -> None:
        if self._discard.latency and _SEEN not in self._start:
            late = self._discard.lateness()
            later = asyncio.get_running_loop().call_later
            later(late, self._count_and_write, self._start, self._size, self._discard.latency)
        else:
            self._count_and_write(self._start, self._size, 0.0)

    def _count_and_write(self, start: bytes, size: int, latency: float) -> None:
        status, body = self._discard.answer(start, size)
        answer = (
            f"HTTP/1.1 {status} {_WORDS[status]}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
        if latency:
            asyncio.get_running_loop().call_later(latency, self._write, answer)
        else:
            self._write(answer)

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


def _content_length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.split(b"\r\n", 1)[0] or 0)


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on all that comes, until one side closes."""
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def serve(discard: Discard, certificate: str, setup: float) -> None:
    """Answer on a free port of this machine until standard input is closed."""
    loop = asyncio.get_running_loop()
    tls = None
    if certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
    server = await loop.create_server(
        lambda: Conversation(discard), "127.0.0.1", 0, backlog=1024, ssl=tls
    )
    port = server.sockets[0].getsockname()[1]

    async def let_wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Let a client wait before it can shake hands."""
        await asyncio.sleep(setup)
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pass_on(reader, inner_writer), pass_on(inner_reader, writer))

    if setup:
        front = await asyncio.start_server(let_wait, "127.0.0.1", 0, backlog=1024)
        port_shown = front.sockets[0].getsockname()[1]
    else:
        port_shown = port
    sys.stdout.write(f"{port_shown}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)
    sys.stdout.flush()
    os._exit(0)  # without a word about the connections that are still open


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--burst", type=int, default=0)
    parser.add_argument("--late", type=float, default=0.0)
    parser.add_argument("--contacts", type=int, default=0)
    parser.add_argument("--certificate", default="")
    parser.add_argument("--setup", type=float, default=0.0)
    options = parser.parse_args()
    the_discard = Discard(options.latency, options.burst, options.late, options.contacts)
    asyncio.run(serve(the_discard, options.certificate, options.setup))
