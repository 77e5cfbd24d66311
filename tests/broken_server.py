"""A server on loopback that breaks HTTP itself, as asked.

It is written by hand on sockets, because a proper server cannot be made to answer half a header,
reset a connection or stall.
"""

import contextlib
import http.client
import json
import socket
import struct
import threading
import typing as t
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

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


def unframed(body: bytes, status: int = 202) -> Reply:
    """Answer without saying how long, and close."""
    return Reply(f"HTTP/1.1 {status} Odd\r\n\r\n".encode() + body, then="close")


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


@dataclass
class BrokenServer:
    """Answers each request with what a function makes of it; keeps what it received.

    Attributes:
        answer: Makes a reply of a request.
    """

    answer: Callable[[Request], Reply]
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    host: str = field(init=False)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{self.host}"

    def __enter__(self) -> t.Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            threads = list(self._threads)
        self.drop_connections()
        for thread in threads:
            thread.join(timeout=5)

    def drop_connections(self) -> None:
        """Close all connections; new ones are accepted."""
        with self._lock:
            for connection in self._sockets:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                number = self.connections
                self.connections += 1
                self._sockets.append(connection)
                arguments = (connection, number)
                thread = threading.Thread(target=self._serve, args=arguments, daemon=True)
                self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with connection, contextlib.suppress(OSError), connection.makefile("rb") as stream:
            while (request := self._read(stream, number)) is not None:
                if not self._do(self.answer(request), connection):
                    return

    def _read(self, stream: t.BinaryIO, connection: int) -> Request | None:
        first = stream.readline().decode("latin-1").split()
        if not first:
            return None
        headers = dict(_headers(stream))
        body = stream.read(int(headers.get("content-length", 0)))
        with self._lock:
            number = len(self.requests)
            request = Request(number, first[0], first[1], headers, body, connection)
            self.requests.append(request)
        return request

    def _do(self, answer: Reply, connection: socket.socket) -> bool:
        """Carry out a reply, and return whether the connection lives on."""
        if answer.pause:
            head, gap, body = answer.raw.partition(b"\r\n\r\n")
            connection.sendall(head + gap)
            for byte in body:
                connection.sendall(bytes([byte]))
                if self._closing.wait(answer.pause):
                    return False
        else:
            connection.sendall(answer.raw)
        if answer.then == "repeat":
            while not self._closing.is_set():
                connection.sendall(b"x" * 65536)
        if answer.then == "stall":
            self._closing.wait(30)
        if answer.then == "reset":
            # Lingering for no time makes the kernel send RST instead of FIN.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return answer.then == "keep"


def _headers(stream: t.BinaryIO) -> Iterator[tuple[str, str]]:
    while line := stream.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        yield name.lower(), value.strip()


def script(*replies: Reply, after: Reply = OK) -> Callable[[Request], Reply]:
    """Give these replies one after the other, and another one ever after."""
    return lambda request: replies[request.number] if request.number < len(replies) else after


Serve: t.TypeAlias = Callable[[Callable[[Request], Reply]], BrokenServer]
