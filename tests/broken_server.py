"""A server on loopback that breaks HTTP itself, as asked.

It reads what is sent as a proper server, and writes bytes as they are: half a header, for example.
"""

import contextlib
import http.client
import json
import socket
import struct
import threading
import typing as t
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from typing_extensions import override

JSON = "application/json"


@dataclass(frozen=True)
class Request:
    """What the server received.

    Attributes:
        number: Which request to this server it is, from 0.
        headers: Their names in lower case.
        connection: Which connection it came on, from 0.
    """

    number: int
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def token(self) -> str:
        """The bearer token, "" if there is none."""
        return self.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass(frozen=True)
class Reply:
    """What to do about a request.

    Attributes:
        raw: The bytes to send.
        then: What to do after that.
        pause: Seconds between one byte of the body and the next.
    """

    raw: bytes = b""
    then: t.Literal["keep", "close", "reset", "stall", "repeat"] = "keep"
    pause: float = 0.0


def reply(
    status: int, body: object = b"", content_type: str = JSON, headers: t.Any = None
) -> Reply:
    """Answer properly; a body that is not bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"Content-Type": content_type, "Content-Length": str(len(content)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    reason = http.client.responses.get(status, "Odd")
    return Reply(f"HTTP/1.1 {status} {reason}\r\n{head}\r\n".encode() + content)


ACCEPTED: t.Final = {"status": "Success", "message": "ok", "data": {"BatchId": "ce2c2e48"}}
OK = reply(202, ACCEPTED)
PAGE = reply(200, b"<html><title>Sign in</title></html>", content_type="text/html")
RESET = Reply(then="reset")
GONE = Reply(then="close")
STALL = Reply(then="stall")
HALF = Reply(OK.raw[:-20], then="close")
HALF_RESET = Reply(OK.raw[:-20], then="reset")
CUT_JSON = reply(202, json.dumps(ACCEPTED).encode()[:-9])
NOISE = Reply(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", then="close")
BAD_GZIP = reply(202, b"not packed at all", headers={"Content-Encoding": "gzip"})


def redirect(status: int, location: str) -> Reply:
    """Point elsewhere."""
    return reply(status, headers={"Location": location})


class BrokenServer(ThreadingHTTPServer):
    """Answers each request with what a function makes of it; keeps what it received.

    Attributes:
        connections: How many there have been.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, answer: Callable[[Request], Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.requests: list[Request] = []
        self.connections = 0
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.host = f"127.0.0.1:{self.server_port}"
        self.url = f"http://{self.host}"
        self._sockets: list[socket.socket] = []

    @override
    def __enter__(self) -> t.Self:
        threading.Thread(target=self.serve_forever, args=[0.01], daemon=True).start()
        return self

    @override
    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()
        self.drop_connections()

    @override
    def process_request(self, request: t.Any, client_address: t.Any) -> None:
        self._sockets.append(request)
        self.connections += 1
        super().process_request(request, (client_address, self.connections - 1))

    @override
    def handle_error(self, request: t.Any, client_address: t.Any) -> None:
        """Keep quiet: connections are broken on purpose."""

    def drop_connections(self) -> None:
        """Close all connections; new ones are accepted."""
        for connection in [*self._sockets]:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """Reads requests properly, and answers as it is told."""

    server: BrokenServer
    protocol_version = "HTTP/1.1"

    @override
    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def do_POST(self) -> None:
        """Answer a request of any method."""
        server, headers = self.server, {k.lower(): value for k, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        with server.lock:
            sent = (self.command, self.path, headers, body, self.client_address[1])
            request = Request(len(server.requests), *sent)
            server.requests.append(request)
        self._do(server.answer(request))

    do_GET = do_POST  # noqa: N815

    def _do(self, answer: Reply) -> None:
        head, gap, body = answer.raw.partition(b"\r\n\r\n")
        self.wfile.write(answer.raw if not answer.pause else head + gap)
        for byte in body if answer.pause else b"":
            self.wfile.write(bytes([byte]))
            self.server.closing.wait(answer.pause)
        while answer.then == "repeat":
            self.wfile.write(b"x" * 65536)
        if answer.then == "stall":
            self.server.closing.wait(30)
        if answer.then == "reset":
            # Lingering for no time makes the kernel send RST instead of FIN.
            option = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
        self.close_connection = answer.then != "keep"


def script(*replies: Reply, after: Reply = OK) -> Callable[[Request], Reply]:
    """Give these replies one after the other, and another one ever after."""
    return lambda request: replies[request.number] if request.number < len(replies) else after


Serve: t.TypeAlias = Callable[[Callable[[Request], Reply]], BrokenServer]
