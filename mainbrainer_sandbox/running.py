"""A sandbox that runs in a thread, and the handle to it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import secrets
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from typing_extensions import override

from mainbrainer_sandbox.api import Api
from mainbrainer_sandbox.engine import Credentials, Engine
from mainbrainer_sandbox.faults import Faults
from mainbrainer_sandbox.pages import pages_app
from mainbrainer_sandbox.serving import Connections, listen, server
from mainbrainer_sandbox.store import Request
from mainbrainer_sandbox.switches import Switches
from mainbrainer_sandbox.views import View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import uvicorn
    from starlette.types import Receive, Scope, Send

T = TypeVar("T")

_START_SECONDS = 30.0
# Closing waits for this much work at most; a million contacts that wait are no more than that.
_SETTLE_SECONDS = 300.0


class RunningSandbox:
    """A sandbox that answers until it is closed; see `mainbrainer_sandbox.start`.

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
        port: int = 0,
        token: str | None = None,
        keep_bodies: bool = False,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        **switches: object,
    ) -> None:
        self.path = Path(path)
        self.token = token or secrets.token_urlsafe(24)
        self.credentials = Credentials()
        # Before the thread, so that a mistake in them is the caller's error.
        initial = Switches().changed(**switches), Faults(faults, seed)
        self._socket, self.url = listen(port)
        self._make_engine = functools.partial(
            Engine,
            self.path,
            *initial,
            token=self.token,
            keep_bodies=keep_bodies,
            clock=clock,
            now=now,
        )
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

    def __exit__(self, *_: object) -> None:
        self.close()

    @override
    def __repr__(self) -> str:
        return f"<RunningSandbox {self.url} on {self.path}>"

    # -- the thread ----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits for us
            self._failure = error
            self._ready.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        connections = Connections()
        self._engine = engine = self._make_engine()
        api, pages = Api(engine, connections.reset), pages_app(self.path)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            engine.queue.process_due()
            path = scope["path"]
            is_page = path in {"/", "/favicon.ico"} or path.startswith("/_sandbox/")
            await (pages if is_page else api)(scope, receive, send)

        self._server = server(app, connections.protocol())
        serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        try:
            # uvicorn has no event for it.
            while not self._server.started and not serving.done():  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            self._ready.set()
            await serving
            engine.queue.finish()
        finally:
            engine.store.close()

    def _call(self, work: Callable[[], T]) -> T:
        """Do something on the server's thread, and return what it returned."""

        async def job() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(job(), self._loop).result(_SETTLE_SECONDS)

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
        """Replace the faults in force; request numbers start again at 1."""
        self._call(lambda: self._engine.set(faults=Faults(faults, seed)))

    def set_switches(self, **switches: object) -> None:
        """Change switches, by the names in `Switches`."""
        engine = self._engine
        self._call(lambda: engine.set(switches=engine.switches.changed(**switches)))

    def reset(self) -> None:
        """Forget all contacts, batches, requests and tokens; switches and faults stay."""
        self._call(self._engine.reset)

    def delete_contact(self, contact_id: int) -> None:
        """Delete a contact, as a person can in MainBrainer."""
        self._call(lambda: self._engine.store.delete(contact_id))

    def settle(self, timeout: float = _SETTLE_SECONDS) -> None:
        """Wait until everything accepted is processed, except what is stuck."""
        settling = self._engine.queue.settle()
        asyncio.run_coroutine_threadsafe(settling, self._loop).result(timeout)

    def contacts(self, *, settle: bool = True) -> list[dict[str, Any]]:
        """Return all contacts by id, once everything accepted is processed."""
        if settle:
            self.settle()
        with View(self.path) as view:
            return list(view.contacts())

    def history(self, contact_id: int) -> list[dict[str, Any]]:
        """Return what changed a contact, the newest first and its creation last."""
        self.settle()
        with View(self.path) as view:
            return view.history(contact_id)

    def batches(self, *, settle: bool = True) -> list[dict[str, Any]]:
        """Return all batches, accepted and refused, in the order they came."""
        if settle:
            self.settle()
        with View(self.path) as view:
            return list(view.batches())

    def requests(self) -> list[Request]:
        """Return the API requests answered so far, in the order they came."""
        # On the server's thread, after the answers that it is putting on record.
        bodies = self._call(lambda: self._engine.bodies)
        with View(self.path) as view:
            return [Request(**row, body=bodies.get(row["number"])) for row in view.requests()]
