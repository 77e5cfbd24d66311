"""A sandbox that runs in a thread, and the handle to it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from mainbrainer_sandbox.api import Api
from mainbrainer_sandbox.engine import Credentials, Engine
from mainbrainer_sandbox.faults import Faults
from mainbrainer_sandbox.file import StoreError
from mainbrainer_sandbox.pages import pages_app
from mainbrainer_sandbox.serving import Server, listen
from mainbrainer_sandbox.store import Request
from mainbrainer_sandbox.switches import Switches
from mainbrainer_sandbox.views import View

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from starlette.types import Receive, Scope, Send

T = TypeVar("T")

# Closing waits for this much work at most; a million contacts that wait are no more than that.
_SETTLE_SECONDS = 300.0


def start(
    path: Path | str,
    *,
    faults: Iterable[str] = (),
    seed: int = 0,
    port: int = 0,
    token: str | None = None,
    keep_bodies: bool = False,
    now: Callable[[], float] = time.time,
    **switches: object,
) -> RunningSandbox:
    """Start a sandbox; `mainbrainer_sandbox.start` says what the options are."""
    initial = Switches().changed(**switches), Faults(faults, seed)
    token = token or secrets.token_urlsafe(24)
    listening, url = listen(port)
    try:
        engine = Engine(Path(path), *initial, token=token, keep_bodies=keep_bodies, now=now)
    except StoreError:
        listening.close()
        raise
    return RunningSandbox(engine, listening, url)


class RunningSandbox:
    """A sandbox that answers until it is closed; `mainbrainer_sandbox.start` makes it.

    Attributes:
        url: Where it answers, such as `http://127.0.0.1:40123`.
        token: A bearer token that is valid as long as it runs.
        credentials: The credentials of its `POST /token`.
        path: The file it keeps everything in.
    """

    def __init__(self, engine: Engine, listening: socket.socket, url: str) -> None:
        self.url = url
        self.token = engine.token
        self.credentials = Credentials()
        self.path = engine.path
        self._engine = engine
        self._socket = listening
        self._server = Server(self._app, engine.closing)
        self._api, self._pages = Api(engine), pages_app(engine.path, self._edit)
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._loop = self._runner.get_loop()
        self._thread = threading.Thread(target=self._run, name="mainbrainer-sandbox", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the thread ----------------------------------------------------------------------

    def _run(self) -> None:
        with self._runner:
            self._runner.run(self._server.serve([self._socket]))

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._engine.process_due()
        path = scope["path"]
        is_page = path == "/" or path.startswith("/_sandbox/")
        await (self._pages if is_page else self._api)(scope, receive, send)

    def _call(self, work: Callable[[], T]) -> T:
        """Do something on the server's thread, and return what it returned."""

        async def job() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(job(), self._loop).result(_SETTLE_SECONDS)

    # -- for its user --------------------------------------------------------------------

    def close(self) -> None:
        """Stop answering, process everything accepted, and close the file."""
        if self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # it has failed meanwhile
                self._loop.call_soon_threadsafe(self._engine.closing.set)
            self._thread.join(_SETTLE_SECONDS)
            self._socket.close()
            self._engine.close()

    def set_faults(self, *faults: str, seed: int = 0) -> None:
        """Replace the faults in force; request numbers start again at 1."""
        self._engine.faults = Faults(faults, seed)

    def set_switches(self, **switches: object) -> None:
        """Change switches, by the names in `Switches`."""
        self._engine.switches = self._engine.switches.changed(**switches)

    def reset(self) -> None:
        """Forget all contacts, batches and requests; switches, faults and tokens stay."""
        self._call(self._engine.store.reset)

    def edit(self, selector: int | str, **changes: object) -> int:
        """Edit a contact by hand, as people can in MainBrainer, and return its id.

        Args:
            selector: Its id, its e-mail address or its mobile number; exactly one must have it.
            **changes: New values of properties by name, and of `email`, `mobile`
                ("+44 7700900001"), `email_opt_in` and `mobile_opt_in`; None empties a field.

        Raises:
            StoreError: There is no such contact or property, or more than one.
        """
        return self._edit(selector, changes)

    def delete(self, selector: int | str) -> None:
        """Delete a contact by hand; the same selectors and errors as `edit`."""
        self._edit(selector, None)

    def _edit(self, selector: int | str, changes: dict[str, Any] | None) -> int:
        self.settle()
        engine = self._engine
        return self._call(lambda: engine.store.edit(selector, changes, engine.now()))

    def settle(self, timeout: float = _SETTLE_SECONDS) -> None:
        """Wait until everything accepted is processed, except what is stuck."""
        settling = self._engine.settle()
        asyncio.run_coroutine_threadsafe(settling, self._loop).result(timeout)

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
        # On the server's thread, after the answers that it is putting on record.
        bodies = self._call(lambda: self._engine.bodies)
        with View(self.path) as view:
            return [Request(**row, body=bodies.get(row["number"])) for row in view.requests()]
