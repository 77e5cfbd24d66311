"""Resetting connections, which ASGI gives an application no way to do."""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import TYPE_CHECKING

from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

    from starlette.types import Scope


class Connections:
    """The open connections by the client's address, which both sides know."""

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
