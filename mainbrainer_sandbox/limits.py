"""The documented rate limits: a burst in 10 seconds and a number a day (section 9).

They apply to each access token by itself. Whether a refused call counts is unknown;
here it does, which is stricter. The clock is an argument, so that tests need not wait.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW_SECONDS = 10.0
DAY_SECONDS = 86_400


class Limiter:
    """Counts requests by token.

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
