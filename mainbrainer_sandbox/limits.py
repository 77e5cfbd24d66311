"""The documented rate limits: a burst in 10 seconds and a number a day (section 9).

They apply to each access token by itself. Whether a refused call counts is unknown;
here it does, which is stricter. The clock is an argument, so that tests need not wait.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW_SECONDS = 10.0
DAY_SECONDS = 86_400


class Exceeded(msgspec.Struct, frozen=True):
    """A limit that does not let a request through.

    Attributes:
        limit: Which of the two.
        retry_after: Seconds until it may be tried again.
    """

    limit: str
    retry_after: float


class _Spent(msgspec.Struct):
    """The requests of one token; only the latest times matter, as many as the burst limit."""

    times: deque[float]
    day: int = -1
    today: int = 0


class Limiter:
    """Counts requests by token.

    Args:
        now: Returns the seconds since the epoch; a day begins at midnight UTC.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._spent: dict[str, _Spent] = {}

    def reset(self) -> None:
        """Forget what was used."""
        self._spent.clear()

    def take(self, token: str, burst: int | None, daily: int | None) -> Exceeded | None:
        """Count a request; return the limit it exceeds, or None if it may pass."""
        now = self._now()
        spent = self._spent.setdefault(token, _Spent(deque()))
        if spent.times.maxlen != burst:
            spent.times = deque(spent.times, maxlen=burst)
        day = int(now // DAY_SECONDS)
        if spent.day != day:
            spent.day, spent.today = day, 0
        is_full = burst is not None and len(spent.times) == burst
        is_burst = is_full and spent.times[0] + WINDOW_SECONDS > now
        is_daily = daily is not None and spent.today >= daily
        if burst is not None:
            spent.times.append(now)
        spent.today += 1
        if is_daily:
            return Exceeded("daily", (day + 1) * DAY_SECONDS - now)
        if is_burst:
            return Exceeded("burst", spent.times[0] + WINDOW_SECONDS - now)
        return None
