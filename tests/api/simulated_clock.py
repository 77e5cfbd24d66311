"""A rate limiter on a clock of its own."""

from __future__ import annotations

import heapq
import itertools
import threading
import typing as t

from typing_extensions import override

from target_mainbrainer.api.limits import Permit, RateLimiter

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from target_mainbrainer.settings.declared import Plan


class World(threading.Event):
    """A clock that moves only while somebody waits, and what happens meanwhile.

    It starts low, because `pytest.approx` allows a millionth, which at 1,000,000 is a second.
    """

    def __init__(self, start: float = 1_000.0) -> None:
        super().__init__()
        self.now = start
        self.start = start
        self.stopped = False
        self._ahead: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def clock(self) -> float:
        return self.now

    @override
    def is_set(self) -> bool:
        return self.stopped

    @override
    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.run_until(self.now + timeout)
        return self.stopped

    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._ahead, (when, next(self._order), action))

    def run_until(self, end: float) -> None:
        while self._ahead and self._ahead[0][0] <= end:
            when, _, action = heapq.heappop(self._ahead)
            self.now = max(self.now, when)
            action()
        self.now = max(self.now, end)

    def pass_by(self, seconds: float) -> None:
        self.run_until(self.now + seconds)

    def next_event(self) -> None:
        self.run_until(max(self.now, self._ahead[0][0]))

    def limiter(self, plan: Plan | None) -> RateLimiter:
        return RateLimiter(plan, clock=self.clock, stop=self)


def take(limiter: RateLimiter, kind: str = "POST") -> Permit:
    """Wait for a permit."""
    return limiter.acquire(kind)


def most_in(seen: list[float], window: float) -> int:
    """Return the most requests in any window of that length."""
    most = first = 0
    for last, when in enumerate(seen):
        while seen[first] <= when - window:
            first += 1
        most = max(most, last - first + 1)
    return most
