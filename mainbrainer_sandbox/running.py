"""A sandbox that runs: a server in a thread of its own, and the handle to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import struct
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import uvicorn
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

from mainbrainer_sandbox.api import Api
from mainbrainer_sandbox.app import build
from mainbrainer_sandbox.engine import Credentials, Engine
from mainbrainer_sandbox.faults import Faults
from mainbrainer_sandbox.loopback import is_loopback
from mainbrainer_sandbox.store import Request
from mainbrainer_sandbox.switches import Switches
from mainbrainer_sandbox.views import View

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from types import TracebackType

    from starlette.types import Scope

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_START_SECONDS = 30.0
# Closing waits for this much work at most; a million contacts that wait are no more than that.
_SETTLE_SECONDS = 300.0
# Longer than clients keep an idle connection, so that none is closed under a request.
_KEEP_ALIVE_SECONDS = 120


class _Connections:
    """The connections there are, by the address of the client.

    ASGI gives an application no way to drop a connection, and dropped connections
    are what a sandbox must show. The address is what both sides know.
    """

    def __init__(self) -> None:
        self._transports: dict[tuple[str, int], asyncio.Transport] = {}

    def protocol(self) -> type[asyncio.Protocol]:
        """Return the server's protocol class, which notes its connections here."""
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


class RunningSandbox:
    """A sandbox that answers on loopback until it is closed; see `sandbox.start`.

    Attributes:
        url: Where it answers, such as `http://127.0.0.1:40123`.
        token: A bearer token it takes as long as it runs.
        credentials: What its `POST /token` takes.
        path: The file it keeps everything in.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        faults: Iterable[str] = (),
        seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
        credentials: Credentials | None = None,
        keep_bodies: bool = False,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        **switches: object,
    ) -> None:
        self.path = Path(path)
        self.token = token or secrets.token_urlsafe(24)
        self.credentials = credentials or Credentials()
        initial = Switches().changed(**switches)
        self._make_engine: Callable[[], Engine] = lambda: Engine(
            self.path,
            initial,
            token=self.token,
            credentials=self.credentials,
            faults=Faults(faults, seed),
            keep_bodies=keep_bodies,
            clock=clock,
            now=now,
        )
        Faults(faults, seed)  # A fault that is misspelt is the caller's error, not the thread's.
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._hosts = ["127.0.0.1", "localhost", "[::1]"] if is_loopback(host) else ["*"]
        self._socket = socket.create_server((host, port), family=family, backlog=1024)
        bound = self._socket.getsockname()[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{bound}"
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._engine: Engine
        self._server: uvicorn.Server
        self._loop: asyncio.AbstractEventLoop
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="mainbrainer-sandbox", daemon=True)
        self._thread.start()
        if not self._ready.wait(_START_SECONDS) and self._failure is None:
            self._failure = TimeoutError("The sandbox did not start in time.")
        if self._failure is not None:
            self._socket.close()
            raise self._failure

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    @override
    def __repr__(self) -> str:
        return f"<RunningSandbox {self.url} on {self.path}>"

    # -- the thread ----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001 - told in the thread that waits for us
            self._failure = error
            self._ready.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        connections = _Connections()
        self._engine = engine = self._make_engine()
        config = uvicorn.Config(
            build(engine, Api(engine, connections.reset), self._hosts),
            http=connections.protocol(),
            ws="none",
            lifespan="off",
            # Its log would go to stdout, which is Singer's, and hold paths with ids.
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=5,
        )
        self._server = uvicorn.Server(config)
        worker = asyncio.create_task(engine.worker.run())
        serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        try:
            # uvicorn has no event for it.
            while not self._server.started and not serving.done():  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            self._ready.set()
            await asyncio.wait({serving, worker}, return_when=asyncio.FIRST_COMPLETED)
            if worker.done():
                # It only ends by itself if something is wrong with the file; say so at once.
                self._server.should_exit = True
                worker.result()
            await serving
            engine.worker.finish()
            await asyncio.wait_for(worker, _SETTLE_SECONDS)
        finally:
            worker.cancel()
            engine.store.close()

    def _call(self, work: Callable[[], T]) -> T:
        """Do something on the server's thread, and return what it returned."""

        async def job() -> T:
            return work()

        return self._await(job())

    def _await(self, work: Coroutine[Any, Any, T], timeout: float = _SETTLE_SECONDS) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    # -- for its user --------------------------------------------------------------------

    def close(self) -> None:
        """Stop answering, process everything accepted, and close the file."""
        if self._closed:
            return
        self._closed = True

        def stop() -> None:
            self._engine.closing.set()
            self._server.should_exit = True

        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(stop)
        self._thread.join(_SETTLE_SECONDS)
        self._socket.close()
        if self._failure is not None:
            raise self._failure

    def set_faults(self, *faults: str, seed: int = 0) -> None:
        """Put faults in force in place of those before; request numbers start again at 1."""
        self._call(lambda: self._engine.set_faults(faults, seed))

    def set_switches(self, **switches: object) -> None:
        """Change switches, by the names in `Switches`."""
        self._call(lambda: self._engine.set_switches(**switches))

    def reset(self) -> None:
        """Forget all contacts, batches, requests and tokens; switches and faults stay."""
        self._call(self._engine.reset)

    def expire_tokens(self, *, run_token: bool = False) -> None:
        """Make all tokens given out useless, and on request `token` too."""
        self._call(lambda: self._engine.expire_tokens(run_token=run_token))

    def settle(self, timeout: float = _SETTLE_SECONDS) -> None:
        """Wait until everything accepted is processed, save what is stuck."""
        self._await(self._engine.worker.settle(), timeout)

    def contacts(self, *, settle: bool = True) -> list[dict[str, Any]]:
        """Return all contacts by id, once everything accepted is processed."""
        if settle:
            self.settle()
        with View(self.path) as view:
            return list(view.contacts())

    def batches(self, *, settle: bool = True) -> list[dict[str, Any]]:
        """Return all batches, accepted and refused, in the order they came."""
        if settle:
            self.settle()
        with View(self.path) as view:
            return list(view.batches())

    def requests(self) -> list[Request]:
        """Return the API requests answered so far, in the order they came."""
        self._call(self._engine.store.flush)
        bodies = self._engine.bodies
        with View(self.path) as view:
            return [Request(**row, body=bodies.get(row["number"])) for row in view.requests()]

    def webhooks(self) -> list[dict[str, Any]]:
        """Return what became of the webhooks of processed batches."""
        self.settle()
        with View(self.path) as view:
            return list(view.webhooks())
