"""The socket, the configuration of uvicorn, and how a connection is reset."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING

import uvicorn
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Scope

HOST = "127.0.0.1"
# Longer than clients keep an idle connection, so that none is closed under a request.
_KEEP_ALIVE_SECONDS = 120
_TICK_SECONDS = 0.5
_FINISH_SECONDS = 5.0


def listen(port: int) -> tuple[socket.socket, str]:
    """Return a listening socket and its address as a URL; port 0 is any free one.

    No other machine can reach it.
    """
    listening = socket.create_server((HOST, port), backlog=1024)
    return listening, f"http://{HOST}:{listening.getsockname()[1]}"


class Server(uvicorn.Server):
    """A server that ends as soon as `closing` is set; what it is answering is finished first.

    It logs nothing, because paths can contain ids and stdout can be a pipe.
    """

    def __init__(self, app: ASGIApp, closing: asyncio.Event) -> None:
        config = uvicorn.Config(
            app,
            interface="asgi3",
            http=_Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )
        super().__init__(config)
        self._closing = closing

    # uvicorn's own would look every 0.1 s whether they may end.

    @override
    async def main_loop(self) -> None:
        while not (self._closing.is_set() or await self.on_tick(0)):  # sets the Date header
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _TICK_SECONDS)

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listening in [one for server in self.servers for one in server.sockets]:
            asyncio.get_running_loop().remove_reader(listening)
        # asyncio leaks a connection that it has accepted and not yet attached to its server when
        # that is closed; attaching takes two turns of the loop.
        for _ in range(2):
            await asyncio.sleep(0)
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=_FINISH_SECONDS)


class _Connection(H11Protocol):
    """A connection that requests can reset; ASGI gives an application no way to do it."""

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # asyncio sets it only where a socket names its protocol, and accepted ones do not;
        # without it, every answer waits 40 ms for the client's delayed ACK.
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # What is here is in the `scope["state"]` of each of its requests.
        self.app_state = {"transport": transport}


def reset(scope: Scope) -> None:
    """Reset the connection of a request: RST, not FIN, and nothing more is sent."""
    transport: asyncio.Transport = scope["state"]["transport"]
    sock = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):
        # Linger for no time: closing throws away what is unsent and sends RST.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
