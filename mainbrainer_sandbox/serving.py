"""How the sandbox listens and what it tells uvicorn."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import uvicorn

from mainbrainer_sandbox.loopback import is_loopback

if TYPE_CHECKING:
    import asyncio

    from starlette.types import ASGIApp

# Longer than clients keep an idle connection, so that none is closed under a request.
_KEEP_ALIVE_SECONDS = 120


def listen(host: str, port: int) -> tuple[socket.socket, str]:
    """Return a listening socket and its address as a URL; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=1024)
    bound = listening.getsockname()[1]
    return listening, f"http://{f'[{host}]' if ':' in host else host}:{bound}"


def own_hosts(host: str) -> list[str]:
    """Return the host names that the pages answer to."""
    return ["127.0.0.1", "localhost", "[::1]"] if is_loopback(host) else ["*"]


def server(app: ASGIApp, protocol: type[asyncio.Protocol] | None = None) -> uvicorn.Server:
    """Return a server that logs nothing: paths can hold ids, and stdout can be a pipe."""
    config = uvicorn.Config(
        app,
        http=protocol or "h11",
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
