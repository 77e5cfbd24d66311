"""The documented rate limits: a burst in 10 seconds and a number a day (section 9).

They hold for each access token by itself. Clocks are arguments, so that tests
pass hours in no time.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from mainbrainer_sandbox.switches import zone_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainbrainer_sandbox.switches import Switches

WINDOW_SECONDS = 10.0


class Exceeded(msgspec.Struct, frozen=True):
    """A limit that does not let a request through.

    Attributes:
        limit: Which of the two.
        retry_after: Seconds until it may be tried again.
    """

    limit: str
    retry_after: float


class _Spent(msgspec.Struct):
    """What one token has used of its limits."""

    # Only as many times as the burst matter, so this stays small however long a client hammers.
    times: deque[float]
    block: int = -1
    in_block: int = 0
    day: dt.date | None = None
    today: int = 0


class Limiter:
    """Counts requests by token.

    Args:
        clock: Monotonic seconds, for the burst.
        now: Seconds since the epoch, for the day.
    """

    def __init__(self, clock: Callable[[], float], now: Callable[[], float]) -> None:
        self._clock = clock
        self._now = now
        self._spent: dict[str, _Spent] = {}

    def reset(self) -> None:
        """Forget what was used."""
        self._spent.clear()

    def take(self, token: str, switches: Switches) -> Exceeded | None:
        """Count a request; return the limit it exceeds, or None if it may pass."""
        burst, daily = switches.limits()
        spent = self._spent.setdefault(token, _Spent(deque()))
        if spent.times.maxlen != burst:
            spent.times = deque(spent.times, maxlen=burst)
        midnight = self._new_day(spent, switches)
        exceeded = None
        if daily is not None and spent.today >= daily:
            exceeded = Exceeded("daily", midnight - self._now())
        elif burst is not None:
            wait = self._burst_wait(spent, burst, switches)
            exceeded = Exceeded("burst", wait) if wait > 0 else None
        if exceeded is None or switches.limit_refused == "count":
            spent.times.append(self._clock())
            spent.in_block += 1
            spent.today += 1
            if exceeded is not None and exceeded.limit == "burst" and burst is not None:
                # The refused call counts too, so the wait is longer than it was before it.
                wait = self._burst_wait(spent, burst, switches)
                exceeded = Exceeded("burst", wait)
        return exceeded

    def _new_day(self, spent: _Spent, switches: Switches) -> float:
        """Start a new day if the account's midnight has passed; return the next midnight."""
        zone = zone_of(switches.account_time_zone)
        day = dt.datetime.fromtimestamp(self._now(), zone).date()
        if spent.day != day:
            spent.day, spent.today = day, 0
        following = day + dt.timedelta(days=1)
        return dt.datetime.combine(following, dt.time(), zone).timestamp()

    def _burst_wait(self, spent: _Spent, burst: int, switches: Switches) -> float:
        """Return the seconds until the burst lets a request through; 0 is now."""
        time = self._clock()
        if switches.limit_window == "fixed":
            block = int(time // WINDOW_SECONDS)
            if spent.block != block:
                spent.block, spent.in_block = block, 0
            return 0.0 if spent.in_block < burst else (block + 1) * WINDOW_SECONDS - time
        if len(spent.times) < burst:
            return 0.0
        return max(0.0, spent.times[0] + WINDOW_SECONDS - time)
