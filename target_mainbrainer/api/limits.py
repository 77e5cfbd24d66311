"""Permits to send: never more than the plan allows, hardly ever less.

Two limits apply (API note, section 9): so many requests in any 10 seconds and so many in any
24 hours, both as the server counts them. The server counts a request some time after its permit
was taken, and that time varies: the thread may be delayed, the network slow, the server busy. So
a permit is free again 10.25 s after it was taken, plus however much longer its answer took than
the quickest answer of its kind so far. While nothing is known of a kind, an answer counts whole.
10 s after the answer are enough in any case: no request is counted later than it is answered.

The rules are in `Quota`, which knows neither a clock nor a lock. It is kept in this process or,
with a ledger, in a row of its database for all runs with the same account (`ledger.lease`).
`RateLimiter` hands permits to threads, ends every wait when the run is asked to stop, and explains
long waits in the log.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import typing as t
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import backoff

from target_mainbrainer import errors
from target_mainbrainer.settings.declared import Plan

_T = t.TypeVar("_T")

_SLACK_SECONDS = 0.25
"""By so much a request may reach the server sooner than another whose permit is as old."""

OCCUPIED_SECONDS = 10 + _SLACK_SECONDS

SLICE_SECONDS = 600
"""The day is counted in slices, which keeps a million requests in at most 145 numbers."""

_DAY_SECONDS = 24 * 60 * 60 + 0.25
BURST_LIMIT = "the plan's limit of requests in 10 seconds"
DAY_LIMIT = "the day's requests are used up, until the first of them are 24 hours old"

LONG_WAIT_SECONDS = 5.0
_MINUTE = 60.0
_ACCEPTED = 2  # hundreds of the status

LONGEST_PAUSE_SECONDS = 60.0
TOO_MANY_REQUESTS_SECONDS = 10.0
"""One window of the plan's limit: the wait after a 429 that names no time (API note, section 9)."""

_JITTER_SECONDS = 2.0
"""Most that is added to the time that a server asks for."""

logger = logging.getLogger(__name__)


class Wait(t.NamedTuple):
    """There is no permit now.

    Attributes:
        seconds: When to ask again.
        reason: The limit that is reached, or the answer that made everything wait.
    """

    seconds: float
    reason: str


@dataclass
class Slice:
    """The requests of some minutes.

    Attributes:
        ends: When the last request that may be in it is a day old, as the server counts.
    """

    ends: float
    requests: int = 0


@dataclass
class Quota:
    """The permits in use, the day's requests, and the wait that a 429 asked for.

    A permit needs no owner: that of a process that was killed becomes free by itself.

    Attributes:
        occupied: When each permit in use is free again, in ascending order.
        slices: The requests of the last 24 hours, oldest first.
        blocked_until: When the wait that a 429 asked for ends.
        blocked_seconds: The length of that wait.
        blocked_because: Its reason.
    """

    occupied: list[float] = field(default_factory=list)
    slices: list[Slice] = field(default_factory=list)
    blocked_until: float = 0.0
    blocked_seconds: float = 0.0
    blocked_because: str = ""

    def take(self, plan: Plan | None, now: float) -> float | Wait:
        """Return the end of a permit that was free until now, or how long to wait for one.

        Args:
            plan: The limits; None for no limits but what `block` asks for.
            now: The time.
        """
        self._forget(now)
        if now < self.blocked_until:
            return Wait(self.blocked_until - now, self.blocked_because)
        if plan is None:
            return now
        if (surplus := len(self.occupied) - plan.burst) >= 0:
            return Wait(self.occupied[surplus] - now, BURST_LIMIT)
        if sum(part.requests for part in self.slices) >= plan.daily:
            return Wait(self.slices[0].ends - now, DAY_LIMIT)
        if not self.slices or now + _DAY_SECONDS >= self.slices[-1].ends:
            self.slices.append(Slice(now + SLICE_SECONDS + _DAY_SECONDS))
        self.slices[-1].requests += 1
        insort(self.occupied, now + OCCUPIED_SECONDS)
        return now + OCCUPIED_SECONDS

    def in_use(self, now: float) -> int:
        """Return how many permits are occupied."""
        return len(self.occupied) - bisect_right(self.occupied, now)

    def extend(self, until: float, by: float) -> None:
        """Occupy a permit for longer, unless it is free and perhaps taken again."""
        place = bisect_left(self.occupied, until)
        if place < len(self.occupied) and self.occupied[place] == until:
            del self.occupied[place]
            insort(self.occupied, until + by)

    def block(self, seconds: float, reason: str, now: float) -> None:
        """Block all permits for so long, unless a longer wait is in force."""
        if now + seconds > self.blocked_until:
            self.blocked_until = now + seconds
            self.blocked_seconds, self.blocked_because = seconds, reason

    def _forget(self, now: float) -> None:
        """Drop what no longer counts, and cut what a clock that was set back has stretched.

        No permit is occupied, and no wait lasts, longer than if it began just now.
        """
        latest = now + OCCUPIED_SECONDS
        first = bisect_right(self.occupied, now)
        self.occupied[:] = [min(until, latest) for until in self.occupied[first:]]
        self.blocked_until = min(self.blocked_until, now + self.blocked_seconds)
        self.slices[:] = [part for part in self.slices if now < part.ends]
        for part in self.slices:
            part.ends = min(part.ends, now + SLICE_SECONDS + _DAY_SECONDS)


class PermitStore:
    """Keeps a `Quota` in this process; `ledger.lease` keeps one in a database.

    One thread at a time uses it.

    Args:
        clock: Seconds that only ever grow.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._quota = Quota()

    def change(self, action: Callable[[Quota, float], _T], *, waits: bool = True) -> _T:  # noqa: ARG002
        """Apply an action to the quota as it is now, given the time, and return its result.

        Args:
            action: May be called several times.
            waits: Wait for a store that is away.

        Raises:
            LedgerError: The store cannot be reached.
        """
        return action(self._quota, self._clock())


class OncePerMinute:
    """Decides whether a line about the same topic is due in the log."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._logged_at: dict[str, float] = {}

    def is_due(self, topic: str) -> bool:
        """Return whether no line about this topic was due within the last minute."""
        now = self._clock()
        if now < self._logged_at.get(topic, -math.inf) + _MINUTE:
            return False
        self._logged_at[topic] = now
        return True


@dataclass(eq=False)
class Permit:
    """Permission to send one request at once.

    Attributes:
        kind: Kind of request; those of a kind usually take the same time.
        taken_at: When it was taken, by this process's clock.
        until: When it is free again, by the store's clock.
        seconds: How long it is occupied altogether, as far as is known.
    """

    kind: str
    taken_at: float
    until: float
    seconds: float = OCCUPIED_SECONDS


class RateLimiter:
    """Hands out permits to threads, and counts the requests.

        permit = limiter.acquire("POST /contacts/batch")
        ... send the request ...
        limiter.answered(permit, status)

    Every method may wait for the store, so none is to be called within a transaction of the
    ledger's database.

    Args:
        plan: The limits, or None for no limits; `block` works all the same.
        clock: Monotonic seconds.
        stop: Once it is set, there are no more permits, and every wait ends with an
            `InterruptedRunError`.
        store: Where the permits are kept; in this process if it is not given.

    Attributes:
        requests: Those that left, of each kind, such as `POST /contacts/batch`.
        retries: Tries that repeated what had failed, also those that found no connection.
        waited_seconds: How long sending was blocked altogether; one wait counts once for all
            threads.
    """

    def __init__(
        self,
        plan: Plan | None,
        *,
        clock: Callable[[], float],
        stop: threading.Event,
        store: PermitStore | None = None,
    ) -> None:
        self.clock = clock
        self.requests: Counter[str] = Counter()
        self.retries = 0
        self.waited_seconds = 0.0
        self._plan = plan
        self._stop = stop
        self._store = store or PermitStore(clock)
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # one thread waits for a permit, the others for that one
        self._quickest: dict[tuple[str, int], tuple[float, float]] = {}  # known since, seconds
        self._in_flight: set[Permit] = set()
        self._unwritten: list[Callable[[Quota, float], None]] = []
        self._seen = Quota(), 0.0, 0.0  # as last read, the time by the store's clock and by ours
        self._log = OncePerMinute(clock)

    def acquire(self, kind: str, *, is_retry: bool = False) -> Permit:
        """Wait for a permit.

        Args:
            kind: Kind of request; those of a kind usually take the same time.
            is_retry: It repeats a request that failed.

        Raises:
            InterruptedRunError: The run was asked to stop.
            LedgerError: The store cannot be reached.
        """
        with self._lock:
            self.retries += is_retry
        with self._turn:
            while True:
                self.pause(0)
                began = self.clock()
                taken = self._take(kind)
                if isinstance(taken, Permit):
                    return taken
                self._explain(taken)
                self._stop.wait(taken.seconds)
                self.waited_seconds += self.clock() - began

    def pause(self, seconds: float) -> None:
        """Wait for so long.

        Raises:
            InterruptedRunError: The run was asked to stop.
        """
        if seconds:
            self._stop.wait(seconds)
        if self._stop.is_set():
            raise errors.InterruptedRunError("The run was asked to stop; nothing more is sent.")

    @property
    def share_used(self) -> float:
        """How much of the plan's requests in 10 seconds is in use now, from 0 to 1."""
        if self._plan is None:
            return 0.0
        quota, seen_at, by_ours = self._seen
        return quota.in_use(seen_at + self.clock() - by_ours) / self._plan.burst

    def block(self, seconds: float, reason: str) -> None:
        """Block all permits for `seconds`, unless a longer wait is in force."""
        end = self.clock() + seconds
        with self._lock:
            self._unwritten.append(lambda quota, now: quota.block(end - self.clock(), reason, now))
            self._write()

    def answered(self, permit: Permit, status: int | None) -> None:
        """Note that the response is there, or that there will be none (None).

        The server counted the request between sending and answer. Every answer of its kind takes
        as long as the quickest; by the rest the request may have been late. Refusals come sooner
        than what has been worked on. A request without an answer may have been counted just now.
        """
        now = self.clock()  # the lock may be held while the store is away
        with self._lock:
            self.requests[permit.kind] += 1
            self._in_flight.discard(permit)
            late = took = now - permit.taken_at
            if status is not None:
                like = (permit.kind, status // 100)
                late -= self._usual(permit, like)
                since, quickest = self._quickest.get(like, (now, took))
                self._quickest[like] = (since, min(took, quickest))
            self._extend(permit, late)
            if self._unwritten:
                self._write()

    def unsent(self, permit: Permit) -> None:
        """Note that no connection was made, so that the server has nothing to count."""
        with self._lock:
            self._in_flight.discard(permit)

    def _take(self, kind: str) -> Permit | Wait:
        with self._lock:
            now = self.clock()
            # A server that hangs counts late all that it has not answered yet.
            for overdue in self._in_flight:
                if overdue.taken_at + overdue.seconds <= now:
                    usual = self._usual(overdue, (overdue.kind, _ACCEPTED))
                    self._extend(overdue, now - overdue.taken_at - usual)
            # By the clock when the store is reached: a wait for a busy one makes nothing late.
            until, now = self._change(
                lambda quota, time: (quota.take(self._plan, time), self.clock())
            )
            if isinstance(until, Wait):
                return until
            permit = Permit(kind, now, until)
            self._in_flight.add(permit)
            return permit

    def _usual(self, permit: Permit, like: tuple[str, int]) -> float:
        """Return how much of an answer's time does not make its request late.

        That is the time of the quickest answer, if it was known when this request left.
        """
        since, quickest = self._quickest.get(like, (math.inf, 0.0))
        return max(quickest if permit.taken_at >= since else 0.0, _SLACK_SECONDS)

    def _extend(self, permit: Permit, late: float) -> None:
        """Occupy a permit for as much longer as it was late, with the next change at the latest."""
        until, by = permit.until, OCCUPIED_SECONDS + late - permit.seconds
        if by > 0 and self._plan is not None:
            permit.until, permit.seconds = until + by, permit.seconds + by
            self._unwritten.append(lambda quota, _: quota.extend(until, by))

    def _write(self) -> None:
        """Write what has changed, unless the store is away; then the next change does it."""
        with contextlib.suppress(errors.LedgerError):
            self._change(lambda _quota, _now: None, waits=False)

    def _change(self, action: Callable[[Quota, float], _T], *, waits: bool = True) -> _T:
        def change(quota: Quota, now: float) -> _T:
            self._seen = quota, now, self.clock()
            for unwritten in self._unwritten:
                unwritten(quota, now)
            return action(quota, now)

        result = self._store.change(change, waits=waits)
        self._unwritten.clear()
        return result

    def _explain(self, wait: Wait) -> None:
        """Log a long wait; the same reason at most once a minute."""
        if wait.seconds <= LONG_WAIT_SECONDS or not self._log.is_due(wait.reason):
            return
        level = logging.WARNING if wait.reason == DAY_LIMIT else logging.INFO
        seconds = f"{wait.seconds:,.0f} s"
        logger.log(level, "Waiting %s before the next request: %s.", seconds, wait.reason)


def pause_before_retry(
    error: errors.TransientError,
    *,
    tries: int,
    spent: float,
    limit: float,
    jitter: Callable[[float], float] = backoff.full_jitter,
) -> float | None:
    """Return how many seconds to wait before the next try, or None to give up.

    Pauses grow with full jitter. What a server asks for is a floor that jitter only adds to, and
    when it asks for more time than is left there is no use in trying earlier.

    >>> lost = errors.TransientError("No response.")
    >>> [pause_before_retry(lost, tries=n, spent=0, limit=600, jitter=float) for n in (1, 2, 9)]
    [1.0, 2.0, 60.0]
    >>> busy = errors.TransientError("Busy.", retry_after=30)
    >>> pause_before_retry(busy, tries=1, spent=0, limit=600, jitter=float)
    31.0
    >>> pause_before_retry(busy, tries=1, spent=580, limit=600) is None
    True

    Args:
        error: What went wrong.
        tries: How many there have been, at least 1.
        spent: Seconds that trying and pausing have taken so far.
        limit: Seconds after which to give up.
        jitter: Picks a number between 0 and the one given.
    """
    left = limit - spent
    if left <= 0:
        return None
    floor = error.retry_after
    if floor is None:
        floor = TOO_MANY_REQUESTS_SECONDS if isinstance(error, errors.TooManyRequestsError) else 0.0
    if floor > left:
        return None
    spread = min(2.0 ** min(tries - 1, 10), LONGEST_PAUSE_SECONDS)
    if floor:
        spread = min(spread, _JITTER_SECONDS)
    return min(floor + jitter(spread), left)
