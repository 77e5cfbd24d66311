"""The state of a running sandbox. Everything here runs on the server's one thread."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

import msgspec

from mainbrainer_sandbox.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mainbrainer_sandbox.faults import Faults
    from mainbrainer_sandbox.rules import Sent
    from mainbrainer_sandbox.switches import Switches

_LOG = logging.getLogger(__name__)
_LIFETIMES = {"Default": 7200.0, "ShortLive": 600.0, "LongLive": 30 * 86400.0}
_BROKEN = "The sandbox itself has failed; see its log."
# The clock may be a test's, which the event loop does not know: look often.
_LOOK_SECONDS = 0.02

WINDOW_SECONDS = 10.0
DAY_SECONDS = 86_400


class Credentials(msgspec.Struct, frozen=True):
    """The credentials of `POST /token`: fixed, made up, and not secret."""

    username: str = "sandbox@example.com"
    password: str = "sandbox"  # noqa: S105 - opens nothing but a sandbox
    private_token: str = "5a4d0b0c-5a4d-4b0c-8a4d-5a4d0b0c5a4d"  # noqa: S105


class Waiting(msgspec.Struct):
    """A batch that was accepted and is not processed yet.

    Attributes:
        due: When it may be processed (wall clock).
        fails: Whether a fault makes the whole batch fail.
        skip_first: How many of its contacts a fault skips.
    """

    number: int
    contacts: list[Sent]
    due: float
    fails: bool
    skip_first: int


class Limiter:
    """Counts requests by token, against the documented limits (section 9).

    Whether a refused call counts is unknown; here it does, which is stricter.

    Args:
        now: Returns the seconds since the epoch; a day begins at midnight UTC.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._times: dict[str, deque[float]] = {}
        self._days: Counter[tuple[str, int]] = Counter()

    def take(self, token: str, burst: int | None, daily: int | None) -> tuple[str, float] | None:
        """Count a request; return the limit it exceeds and for how many seconds, if it does."""
        now = self._now()
        times = self._times.setdefault(token, deque())
        while times and times[0] + WINDOW_SECONDS <= now:
            times.popleft()
        times.append(now)
        day = int(now // DAY_SECONDS)
        self._days[token, day] += 1
        if daily is not None and self._days[token, day] > daily:
            return "daily", (day + 1) * DAY_SECONDS - now
        if burst is not None and len(times) > burst:
            return "burst", times[-burst] + WINDOW_SECONDS - now
        return None


class Engine:
    """The store, the waiting batches, the limits, the faults, the tokens and the switches.

    Args:
        path: The sandbox file.
        switches: The switches in force; they may be replaced.
        faults: The faults in force; they may be replaced.
        token: A bearer token that is valid as long as the sandbox runs.
        keep_bodies: Whether to keep what requests sent, for tests.
        now: Returns the seconds since the epoch.
    """

    def __init__(
        self,
        path: Path,
        switches: Switches,
        faults: Faults,
        *,
        token: str,
        keep_bodies: bool,
        now: Callable[[], float],
    ) -> None:
        self.path = path
        self.token = token
        self.switches = switches
        self.faults = faults
        self.now = now
        self.store = Store(path)
        self.limiter = Limiter(now)
        self.closing = asyncio.Event()
        self.keep_bodies = keep_bodies
        self.bodies: dict[int, Any] = {}
        self._waiting: deque[Waiting] = deque()
        self._tokens: dict[str, float] = {}

    def close(self) -> None:
        """Process every batch, due or not, and close the file."""
        while self._waiting:
            self._process(self._waiting.popleft())
        self.store.close()

    # -- tokens ----------------------------------------------------------------------------

    def issue(self, validity: str) -> tuple[str, float, float]:
        """Return a new token and the times, since the epoch, between which it is valid."""
        issued = self.now()
        expires = issued + (self.switches.token_lifetime_seconds or _LIFETIMES[validity])
        token = secrets.token_urlsafe(48)
        self._tokens[token] = expires
        return token, issued, expires

    def token_of(self, authorization: str) -> str | None:
        """Return the valid bearer token in a header, or None."""
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        is_valid = token == self.token or self.now() < self._tokens.get(token, 0)
        return token if is_valid and scheme.lower() == "bearer" else None

    # -- what happens after a 202 ----------------------------------------------------------

    def add(self, waiting: Waiting) -> None:
        """Add a batch that was accepted, and process what is due."""
        self._waiting.append(waiting)
        self.process_due()

    def process_due(self) -> None:
        """Process all batches that are due; one that is not delays those behind it."""
        while self._waiting and self._waiting[0].due <= self.now():
            self._process(self._waiting.popleft())

    async def settle(self) -> None:
        """Wait until every batch is processed."""
        self.process_due()
        while self._waiting:
            await asyncio.sleep(_LOOK_SECONDS)
            self.process_due()

    def _process(self, waiting: Waiting) -> None:
        number = waiting.number
        if waiting.fails:
            self.store.fail(number, "A fault set in the sandbox.", self.now())
            return
        try:
            self.store.process(
                number,
                waiting.contacts,
                self.switches,
                self.now(),
                skip_first=waiting.skip_first,
            )
        except Exception:  # noqa: BLE001 - logged, and shown by the batch's status
            # A bug of the sandbox must not delay later batches.
            _LOG.exception("The sandbox failed to process batch %d.", number)
            self.store.fail(number, _BROKEN, self.now())

    async def pause(self, seconds: float | None) -> None:
        """Wait, but not beyond the end of the sandbox; None is until then."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.closing.wait()
