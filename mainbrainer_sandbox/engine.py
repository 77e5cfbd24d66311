"""The state of a running sandbox: store, worker, limits, faults, tokens, switches.

Everything here runs on the server's one thread.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import secrets
import time
from typing import TYPE_CHECKING, Any

import msgspec

from mainbrainer_sandbox.faults import Faults
from mainbrainer_sandbox.limits import Limiter
from mainbrainer_sandbox.store import Store
from mainbrainer_sandbox.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from mainbrainer_sandbox.store import Request
    from mainbrainer_sandbox.switches import Switches

_LIFETIMES = {"Default": 7200.0, "ShortLive": 600.0, "LongLive": 30 * 86400.0}
_HEADER = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")


class Credentials(msgspec.Struct, frozen=True):
    """What `POST /token` takes; fixed, made up, and no secret."""

    username: str = "sandbox@example.com"
    password: str = "sandbox"  # noqa: S105 - opens nothing but a sandbox
    private_token: str = "5a4d0b0c-5a4d-4b0c-8a4d-5a4d0b0c5a4d"  # noqa: S105


class Engine:
    """The state of a running sandbox.

    Args:
        path: The sandbox file.
        switches: The switches at the start.
        token: A bearer token that is valid as long as the sandbox runs.
        keep_bodies: Whether to keep what requests sent, for tests.
        clock: Monotonic seconds.
        now: Seconds since the epoch.
    """

    def __init__(
        self,
        path: Path,
        switches: Switches,
        *,
        token: str,
        credentials: Credentials,
        faults: Faults,
        keep_bodies: bool = False,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.switches = switches
        self.credentials = credentials
        self.faults = faults
        self.clock = clock
        self.now = now
        self.store = Store(path)
        self.limiter = Limiter(clock, now)
        self.worker = Worker(self.store, now, lambda: self.switches)
        self.closing = asyncio.Event()
        self.keep_bodies = keep_bodies
        self.bodies: dict[int, Any] = {}
        self._run_token = token
        self._tokens: dict[str, float] = {}
        self._last_number = self.store.last_request()
        self._put_settings()

    # -- what can be set while it runs ---------------------------------------------------

    def set_switches(self, **changes: object) -> None:
        """Change switches.

        Raises:
            SwitchError: One does not exist, or cannot have this value.
        """
        self.switches = self.switches.changed(**changes)
        self._put_settings()
        self.worker.wake()

    def set_faults(self, faults: Iterable[str], seed: int = 0) -> None:
        """Replace the faults in force; requests are counted from 1 again.

        Raises:
            FaultError: One is not written as it should be.
        """
        self.faults = Faults(faults, seed)
        self._put_settings()

    def _put_settings(self) -> None:
        switches = msgspec.to_builtins(self.switches)
        faults = [fault.text for fault in self.faults.faults]
        self.store.put_settings({"switches": switches, "faults": faults})

    def reset(self) -> None:
        """Forget all contacts, batches, requests and tokens; switches and faults stay."""
        self.store.reset()
        self.limiter.reset()
        self.bodies.clear()
        self._tokens.clear()
        self._last_number = 0
        self.worker.wake()

    # -- tokens --------------------------------------------------------------------------

    def issue(self, validity: str) -> tuple[str, float, float]:
        """Return a new token, without contents but in the form of a JWT, and its two times."""
        issued = self.now()
        lifetime = self.switches.token_lifetime_seconds or _LIFETIMES[validity]
        text = f"{_HEADER}.{secrets.token_urlsafe(24)}.{secrets.token_urlsafe(32)}"
        self._tokens[text] = issued + lifetime
        return text, issued, issued + lifetime

    def token_of(self, authorization: str) -> str | None:
        """Return the valid bearer token in a header, or None."""
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer":
            return None
        if secrets.compare_digest(token.encode(), self._run_token.encode()):
            return token
        expires = self._tokens.get(token)
        return token if expires is not None and self.now() < expires else None

    def expire_tokens(self, *, run_token: bool = False) -> None:
        """Make all tokens given out useless, and on request the run's own."""
        self._tokens.clear()
        if run_token:
            self._run_token = secrets.token_urlsafe(24)

    # -- requests ------------------------------------------------------------------------

    def next_number(self) -> int:
        """Return the number of the next request."""
        self._last_number += 1
        return self._last_number

    def record(self, request: Request) -> None:
        """Put a request on record."""
        if self.keep_bodies and request.body is not None:
            self.bodies[request.number] = request.body
        self.store.record(request)

    async def pause(self, seconds: float | None) -> None:
        """Wait, but not beyond the end of the sandbox; None is until then."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.closing.wait()
