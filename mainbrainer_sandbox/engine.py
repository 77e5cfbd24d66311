"""The sandbox behind its HTTP face: store, worker, limits, faults, tokens, switches.

Everything here runs on the server's one thread.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import hashlib
import secrets
import time
from typing import TYPE_CHECKING, Any

import msgspec

from mainbrainer_sandbox.faults import Faults
from mainbrainer_sandbox.limits import Limiter
from mainbrainer_sandbox.reading import Reader
from mainbrainer_sandbox.store import Request, Store
from mainbrainer_sandbox.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from mainbrainer_sandbox.switches import Switches

_LIFETIMES = {"Default": 7200.0, "ShortLive": 600.0, "LongLive": 30 * 86400.0}
_HEADER = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")


class Credentials(msgspec.Struct, frozen=True):
    """What `POST /token` takes; fixed, made up, and no secret."""

    username: str = "sandbox@example.com"
    password: str = "sandbox"  # noqa: S105 - opens nothing but a sandbox
    private_token: str = "5a4d0b0c-5a4d-4b0c-8a4d-5a4d0b0c5a4d"  # noqa: S105


class Token(msgspec.Struct, frozen=True):
    """A bearer token and the seconds since the epoch between which it holds."""

    text: str
    issued: float
    expires: float


class Engine:
    """The state of a running sandbox.

    Args:
        path: The sandbox file.
        switches: The switches at the start.
        token: A bearer token that holds as long as the sandbox runs.
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
        credentials: Credentials | None = None,
        faults: Faults | None = None,
        keep_bodies: bool = False,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.switches = switches
        self.credentials = credentials or Credentials()
        self.faults = faults or Faults()
        self.clock = clock
        self.now = now
        self.store = Store(path, switches)
        self.limiter = Limiter(clock, now)
        self.worker = Worker(self.store, now, lambda: self.switches)
        self.closing = asyncio.Event()
        self.keep_bodies = keep_bodies
        self.bodies: dict[int, Any] = {}
        self._run_token = _hash(token)
        self._tokens = self.store.tokens()
        self._last_number = self.store.last_request()
        self._reader: Reader | None = None

    # -- what can be set while it runs ---------------------------------------------------

    def set_switches(self, **changes: object) -> None:
        """Change switches.

        Raises:
            SwitchError: One does not exist, or cannot have this value.
        """
        self.switches = self.switches.changed(**changes)
        self.store.set_switches(self.switches)
        self._reader = None
        self.worker.wake()

    def set_faults(self, faults: Iterable[str], seed: int = 0) -> None:
        """Put faults in force in place of those before; requests are counted anew.

        Raises:
            FaultError: One is not written as it should be.
        """
        self.faults = Faults(faults, seed)

    def reset(self) -> None:
        """Forget all contacts, batches, requests and tokens; switches and faults stay."""
        self.store.reset()
        self.store.set_switches(self.switches)
        self.worker.forget()
        self.limiter.reset()
        self.bodies.clear()
        self._tokens.clear()
        self._last_number = 0
        self._reader = None

    # -- tokens --------------------------------------------------------------------------

    def issue(self, validity: str) -> Token:
        """Return a new token, in the form of a JWT but without anything in it."""
        issued = self.now()
        lifetime = self.switches.token_lifetime_seconds or _LIFETIMES[validity]
        text = f"{_HEADER}.{secrets.token_urlsafe(24)}.{secrets.token_urlsafe(32)}"
        self._tokens[_hash(text)] = issued + lifetime
        self.store.add_token(_hash(text), issued + lifetime)
        return Token(text, issued, issued + lifetime)

    def knows(self, token: str) -> str | None:
        """Return the name a good token is counted under, or None for any other."""
        hashed = _hash(token)
        if secrets.compare_digest(hashed, self._run_token):
            return hashed
        expires = self._tokens.get(hashed)
        return hashed if expires is not None and self.now() < expires else None

    def expire_tokens(self, *, run_token: bool = False) -> None:
        """Make all tokens given out useless, and on request the run's own."""
        self._tokens.clear()
        self.store.expire_tokens()
        if run_token:
            self._run_token = ""

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

    def reader(self) -> Reader:
        """Return the reader of request bodies by the switches in force."""
        if self._reader is None:
            self._reader = Reader(self.switches, self.store.properties)
        return self._reader

    async def pause(self, seconds: float | None) -> None:
        """Wait, but not beyond the end of the sandbox; None is until then."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.closing.wait()


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def timestamp(seconds: float) -> str:
    """Return a time as the sample of `POST /token` writes it, with seven digits of a second.

    >>> timestamp(0)
    '1970-01-01T00:00:00.0000000+00:00'
    """
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}0+00:00"
