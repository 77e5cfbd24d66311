"""How the sandbox listens, what it tells uvicorn, and how it resets connections."""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import TYPE_CHECKING

import uvicorn
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

    from starlette.types import ASGIApp, Scope

HOST = "127.0.0.1"
# Longer than clients keep an idle connection, so that none is closed under a request.
_KEEP_ALIVE_SECONDS = 120


def listen(port: int) -> tuple[socket.socket, str]:
    """Return a listening socket and its address as a URL; port 0 takes a free one.

    No other machine can reach it.
    """
    listening = socket.create_server((HOST, port), backlog=1024)
    return listening, f"http://{HOST}:{listening.getsockname()[1]}"


def server(app: ASGIApp, protocol: type[asyncio.Protocol] = H11Protocol) -> uvicorn.Server:
    """Return a server that logs nothing: paths can hold ids, and stdout can be a pipe."""
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=5,
    )
    return uvicorn.Server(config)


class Connections:
    """The open connections by the client's address, which both sides know.

    ASGI gives an application no way to reset one.
    """

    def __init__(self) -> None:
        self._transports: dict[tuple[str, int], asyncio.Transport] = {}

    def protocol(self) -> type[asyncio.Protocol]:
        """Return the server's protocol class, which registers its connections here."""
        transports = self._transports

        class Connection(H11Protocol):
            @override
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                super().connection_made(transport)
                # asyncio sets it only where a socket names its protocol, and accepted ones do not;
                # without it, every answer waits 40 ms for the client's delayed ACK.
                sock = transport.get_extra_info("socket")
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._peer = transport.get_extra_info("peername")[:2]
                transports[self._peer] = transport

            @override
            def connection_lost(self, exc: Exception | None) -> None:
                transports.pop(self._peer, None)
                super().connection_lost(exc)

        return Connection

    def reset(self, scope: Scope) -> None:
        """Reset the connection of a request: RST, not FIN, and nothing more is sent."""
        transport = self._transports.get(tuple(scope["client"]))
        if transport is None:
            return
        sock = transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            # Linger for no time: closing throws away what is unsent and sends RST.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
