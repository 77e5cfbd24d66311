"""Which requests count against the plan's limits now: the rules, without a clock or a database.

Two limits hold (API note, section 9): so many requests in any 10 seconds and so many in any
24 hours, both as the server counts them. The server counts a request some time after it took its
permit, and that time varies: the thread may be held up, the network may be slow, and the server
may be busy. So a permit is occupied longer than 10 seconds:

    10 s, and 0.2 s within which the request must leave, and 0.25 s that it may be under way
    longer than others.

Of a request that is answered later than the fastest of its kind it is not known on which part of
its way it was late. So `correct` extends its permit by all of that.

The same record serves the threads of one process and, kept in the ledger's database, all runs
that share a token. A permit needs no holder: that of a process that was killed ends by itself.
"""

from __future__ import annotations

import typing as t
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field

if t.TYPE_CHECKING:
    from target_mainbrainer.settings.declared import Plan

WINDOW_SECONDS = 10.0
LEAVE_SECONDS = 0.2
"""A permit whose request has not left after so long has lapsed: it must not be used any more."""

LATENESS_SECONDS = 0.25
OCCUPIED_SECONDS = WINDOW_SECONDS + LEAVE_SECONDS + LATENESS_SECONDS

DAY_SECONDS = 24 * 60 * 60
SLICE_SECONDS = 600
"""The day is counted in slices, which keeps a million requests in at most 145 numbers."""

BURST_LIMIT = "the plan's limit of requests in 10 seconds"
DAY_LIMIT = "the plan's limit of requests in a day"

_SPARED = 10
"""One permit in so many is not given to what can wait, so that sending finds some."""

_SPARED_OF_DAY = 100


class Wait(t.NamedTuple):
    """There is no permit now.

    Attributes:
        seconds: When to ask again.
        reason: What holds requests up, to go on after "because of".
    """

    seconds: float
    reason: str


class Taken(t.NamedTuple):
    """A permit, as a store hands it out.

    Attributes:
        at: When it was taken, by this process's clock.
        until: When it is free again, by the store's clock.
    """

    at: float
    until: float


@dataclass
class Slice:
    """Some minutes' requests."""

    began: float
    requests: int = 0

    @property
    def ends(self) -> float:
        """When the last request that may be in it is a day old, as the server counts."""
        return self.began + SLICE_SECONDS + DAY_SECONDS + LEAVE_SECONDS + LATENESS_SECONDS


@dataclass
class Quota:
    """The permits in use, the day's requests, and how long the server wants to hear nothing.

    Attributes:
        occupied: When each permit in use is free again, in ascending order.
        slices: The last 24 hours' requests, oldest first.
        held_until: When the wait that a 429 asked for ends.
        held_seconds: How long that wait is.
        held_because: Its reason.
    """

    occupied: list[float] = field(default_factory=list)
    slices: list[Slice] = field(default_factory=list)
    held_until: float = 0.0
    held_seconds: float = 0.0
    held_because: str = ""

    def take(self, plan: Plan | None, now: float, *, is_spare: bool = False) -> float | Wait:
        """Return until when a permit is occupied that was free until now, or how long to wait.

        Args:
            plan: The limits; None for no limits but what `hold` asks for.
            now: The time.
            is_spare: Take a permit only if enough others are left.
        """
        self._forget(now)
        if now < self.held_until:
            return Wait(self.held_until - now, self.held_because)
        if plan is None:
            return now
        burst, daily = plan.burst, plan.daily
        if is_spare:
            burst, daily = burst - burst // _SPARED, daily - daily // _SPARED_OF_DAY
        if (surplus := len(self.occupied) - burst) >= 0:
            return Wait(self.occupied[surplus] - now, BURST_LIMIT)
        if self._used_today() >= daily:
            return Wait(self.slices[0].ends - now, DAY_LIMIT)
        if not self.slices or now >= self.slices[-1].began + SLICE_SECONDS:
            self.slices.append(Slice(now))
        self.slices[-1].requests += 1
        insort(self.occupied, now + OCCUPIED_SECONDS)
        return now + OCCUPIED_SECONDS

    def free(self, plan: Plan | None, now: float) -> int:
        """Return how many permits `take` would give out now."""
        if now < self.held_until:
            return 0
        if plan is None:
            return 1_000_000
        left_today = plan.daily - sum(part.requests for part in self.slices if now < part.ends)
        return max(0, min(plan.burst - self.in_use(now), left_today))

    def in_use(self, now: float) -> int:
        """Return how many permits are occupied."""
        return len(self.occupied) - bisect_right(self.occupied, now)

    def correct(self, until: float, corrected: float) -> None:
        """Occupy a permit until another moment, unless it is free and perhaps taken again."""
        if self._remove(until):
            insort(self.occupied, corrected)

    def give_back(self, until: float) -> None:
        """Free a permit with which nothing was sent."""
        if self._remove(until) and self.slices:
            self.slices[-1].requests -= 1

    def hold(self, seconds: float, reason: str, now: float) -> None:
        """Give out no permit for so long. A longer wait that began earlier stays in force."""
        if now + seconds > self.held_until:
            self.held_until, self.held_seconds, self.held_because = now + seconds, seconds, reason

    def begin_anew(self, now: float) -> None:
        """Occupy all permits that may be in use as if they were taken now."""
        self.occupied = [now + OCCUPIED_SECONDS] * len(self.occupied)

    def _remove(self, until: float) -> bool:
        place = bisect_left(self.occupied, until)
        if place == len(self.occupied) or self.occupied[place] != until:
            return False
        del self.occupied[place]
        return True

    def _used_today(self) -> int:
        return sum(part.requests for part in self.slices)

    def _forget(self, now: float) -> None:
        """Drop what no longer counts, and cut what a clock that was set back has stretched.

        No permit is occupied, and no wait lasts, longer than if it began just now.
        """
        del self.occupied[: bisect_right(self.occupied, now)]
        first = bisect_right(self.occupied, now + OCCUPIED_SECONDS)
        self.occupied[first:] = [now + OCCUPIED_SECONDS] * (len(self.occupied) - first)
        self.held_until = min(self.held_until, now + self.held_seconds)
        while self.slices and self.slices[0].ends <= now:
            del self.slices[0]
        for part in reversed(self.slices):
            if part.began <= now:
                break
            part.began = now
