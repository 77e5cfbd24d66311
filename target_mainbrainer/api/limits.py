"""Permits to send: never more than the plan allows, hardly ever less.

What is allowed is decided by `ledger.quota`, whose docstring has the reasons. Here: the threads of
this process are served in the order in which they ask, waits end when the run is asked to stop,
long ones are logged, and status polls get what sending leaves.

None of the libraries for this can correct a permit once the answer is there, interrupt a wait, or
serve threads in order; and a day would cost them an object for every request.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import math
import threading
import typing as t
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import backoff

from target_mainbrainer.config.limits import MAX_CONCURRENT_REQUESTS
from target_mainbrainer.errors import (
    InterruptedRunError,
    LedgerError,
    TooManyRequestsError,
    TransientError,
)

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from target_mainbrainer.config.limits import Plan

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


class PermitStore(t.Protocol):
    """Where a `Quota` is kept: in this process, or in the ledger's database for all runs."""

    def take(self, plan: Plan | None, *, is_spare: bool = False) -> Taken | Wait:
        """Take a permit, or say how long to wait for one."""

    def free(self, plan: Plan | None) -> int:
        """Return how many permits there are, as far as this process knows."""

    def in_use(self) -> int:
        """Return how many permits are occupied, as far as this process knows."""

    def correct(self, until: float, by: float) -> None:
        """Occupy a permit for so many seconds longer, or less long."""

    def give_back(self, until: float) -> None:
        """Free a permit with which nothing was sent."""

    def hold(self, seconds: float, reason: str) -> None:
        """Give out no permit for so long."""

    def close(self) -> None:
        """Close what the store has opened."""


class MemoryStore:
    """The permits of this process alone."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._quota = Quota()
        self._lock = threading.Lock()

    def take(self, plan: Plan | None, *, is_spare: bool = False) -> Taken | Wait:
        """Take a permit, or say how long to wait for one."""
        with self._lock:
            now = self._clock()
            taken = self._quota.take(plan, now, is_spare=is_spare)
            return taken if isinstance(taken, Wait) else Taken(now, taken)

    def free(self, plan: Plan | None) -> int:
        """Return how many permits there are."""
        with self._lock:
            return self._quota.free(plan, self._clock())

    def in_use(self) -> int:
        """Return how many permits are occupied."""
        with self._lock:
            return self._quota.in_use(self._clock())

    def correct(self, until: float, by: float) -> None:
        """Occupy a permit for so many seconds longer, or less long."""
        with self._lock:
            self._quota.correct(until, until + by)

    def give_back(self, until: float) -> None:
        """Free a permit with which nothing was sent."""
        with self._lock:
            self._quota.give_back(until)

    def hold(self, seconds: float, reason: str) -> None:
        """Give out no permit for so long."""
        with self._lock:
            self._quota.hold(seconds, reason, self._clock())

    def close(self) -> None:
        """There is nothing to close."""


logger = logging.getLogger(__name__)

LONG_WAIT_SECONDS = 5.0
_LOG_AGAIN_SECONDS = 60.0
_RETRY_SECONDS = 600.0
_SHORTEST_LOOK_SECONDS = 1.0
_LOOK_BACK_SECONDS = OCCUPIED_SECONDS + _SHORTEST_LOOK_SECONDS
"""What became free a moment ago still counts, as sending is about to use it again."""

_UNPACED_PER_SECOND = 500
"""What is aimed at where no plan bounds it: the pace of a burst of the largest plan."""

_MIN_IN_FLIGHT = 4
_BURST_SECONDS = 0.4
"""In how short a time the permits that become free together should be used."""

_NEWEST_WEIGHT = 0.1
"""What the newest answer weighs in the average time that answers take."""

_SUCCESS = 2  # hundreds


class Event(t.Protocol):
    """What `threading.Event` and the clock of a test have in common."""

    def is_set(self) -> bool:
        """Return whether the run has been asked to stop."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until that happens or time is up, and return whether it happened."""


class Permit:
    """Permission to send one request at once.

    Attributes:
        kind: Kind of request; those of a kind usually take the same time.
        taken_at: When it was taken, by this process's clock.
        until: When it is free again, by the store's clock.
        seconds: How long it is occupied altogether, as far as is known.
        leave_by: When it lapses.
        is_urgent: A thread waited for it.
    """

    __slots__ = ("_limiter", "is_urgent", "kind", "leave_by", "seconds", "taken_at", "until")

    def __init__(
        self, limiter: RateLimiter, kind: str, taken: Taken, leave_by: float, *, is_urgent: bool
    ) -> None:
        self._limiter = limiter
        self.kind = kind
        self.taken_at, self.until = taken
        self.seconds = OCCUPIED_SECONDS
        self.leave_by = leave_by
        self.is_urgent = is_urgent

    @property
    def has_lapsed(self) -> bool:
        """Whether it is too late to send with this permit: give it back and take another."""
        return self._limiter._clock() > self.leave_by  # noqa: SLF001 - its other half

    def answered(self, status: int | None) -> None:
        """Say that the response is there, or that there will be none (None)."""
        self._limiter._answered(self, status)  # noqa: SLF001

    def give_back(self) -> None:
        """Say that no request was sent after all."""
        self._limiter._given_back(self)  # noqa: SLF001


class RateLimiter:
    """Hands out permits in the order in which threads ask for them.

    A request is sent with a permit, and only on a connection that is ready, so that the permit
    counts from when the request leaves:

        permit = limiter.acquire(str(endpoint), is_ready=connection.is_alive)
        if permit is None: the connection has to be made anew, then this is tried again
        if permit.has_lapsed: permit.give_back(), then this is tried again
        permit.answered(status)

    Args:
        plan: The limits, or None for no limits; `hold` works all the same.
        clock: Monotonic seconds.
        stop: Once it is set, there are no more permits, and every wait ends with an
            `InterruptedRunError`.
        store: Where the permits are kept; in this process if it is not given.
        retry_max_seconds: How long to go on trying when the store cannot be reached.
    """

    def __init__(
        self,
        plan: Plan | None,
        *,
        clock: Callable[[], float],
        stop: Event,
        store: PermitStore | None = None,
        retry_max_seconds: float = _RETRY_SECONDS,
    ) -> None:
        self._plan = plan
        self._clock = clock
        self._stop = stop
        self._store = MemoryStore(clock) if store is None else store
        self._corrects_early = store is None
        self._retry_max_seconds = retry_max_seconds
        self._lock = threading.Lock()
        self._queue: deque[threading.Event] = deque()
        self._fastest: dict[tuple[str, int], float] = {}
        self._fastest_take = float("inf")
        self._taken: deque[tuple[float, bool]] = deque()  # when, and if urgent, of late
        self._in_flight: set[Permit] = set()
        self._answer_seconds: float | None = None  # on average, lately
        self._waited = 0.0
        self._logged: tuple[str, float] = ("", 0.0)

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def acquire(self, kind: str, *, is_ready: Callable[[], bool] | None = None) -> Permit | None:
        """Wait for a permit, first come, first served.

        Args:
            kind: Kind of request; those of a kind usually take the same time.
            is_ready: Whether the request could leave at once; asked just before a permit is taken.

        Returns:
            The permit; None if the request is not ready any more, and no permit was taken.

        Raises:
            InterruptedRunError: The run was asked to stop.
            LedgerError: The store could not be reached for `retry_max_seconds`.
        """
        with self._in_order():
            return self._wait_for_permit(kind, is_ready)

    def try_acquire(self, kind: str) -> Permit | None:
        """Return a permit if sending can spare one now: no thread waits, and some are left."""
        if not self.can_spare:
            return None
        try:
            taken = self._take(kind, is_urgent=False)
        except TransientError:
            return None
        return taken if isinstance(taken, Permit) else None

    @property
    def can_spare(self) -> bool:
        """Whether `try_acquire` is likely to return a permit now."""
        if self._stop.is_set() or self._queue or not self._store.free(self._plan):
            return False
        return self._plan is None or self._is_left_by_sending(self._plan)

    @property
    def waiting(self) -> int:
        """How many threads wait for a permit."""
        return len(self._queue)

    @property
    def free(self) -> int:
        """How many more requests could leave now than threads wait for a permit."""
        return max(0, self._store.free(self._plan) - self.waiting)

    @property
    def wanted_in_flight(self) -> int:
        """How many requests have to be in flight to use all permits, as answers are now.

        Permits that were used together become free together, and should be used at once again:
        quick answers need few requests in flight for that, answers of 0.4 s and more one for each
        permit. Longer answers than a permit is occupied need more.
        """
        seconds = self._answer_seconds
        if self._plan is None:
            wanted = _UNPACED_PER_SECOND * (seconds or 0.0)
        elif seconds is None:
            wanted = self._plan.burst
        else:
            share = max(min(1.0, seconds / _BURST_SECONDS), seconds / OCCUPIED_SECONDS)
            wanted = share * self._plan.burst
        return min(max(math.ceil(wanted), _MIN_IN_FLIGHT), MAX_CONCURRENT_REQUESTS)

    def hold(self, seconds: float, reason: str) -> None:
        """Give out no permit for `seconds`. An earlier, longer wait stays in force."""
        with contextlib.suppress(TransientError):
            self._store.hold(seconds, reason)

    @property
    def waited_seconds(self) -> float:
        """How long sending has been held up altogether; one wait counts once for all threads."""
        return self._waited

    @property
    def share_used(self) -> float:
        """How much of what the plan allows in 10 seconds is in use now, from 0 to 1."""
        if self._plan is None:
            return 0.0
        return self._store.in_use() / self._plan.burst

    @contextlib.contextmanager
    def _in_order(self) -> Iterator[None]:
        first = threading.Event()
        with self._lock:
            self._queue.append(first)
            if self._queue[0] is first:
                first.set()
        first.wait()  # the thread in front sets it, however its wait ends
        try:
            yield
        finally:
            with self._lock:
                self._queue.popleft()
                if self._queue:
                    self._queue[0].set()

    def _wait_for_permit(self, kind: str, is_ready: Callable[[], bool] | None) -> Permit | None:
        failures, failing_since = 0, self._clock()
        while True:
            if self._stop.is_set():
                message = "The run was asked to stop; nothing more is sent."
                raise InterruptedRunError(message)
            if is_ready is not None and not is_ready():
                return None
            began = self._clock()
            try:
                taken = self._take(kind, is_urgent=True)
            except TransientError as error:
                failures += 1
                self._stop.wait(self._pause_or_raise(error, failures, began - failing_since))
                continue
            failures, failing_since = 0, self._clock()
            if isinstance(taken, Wait):
                self._explain(taken)
                self._stop.wait(taken.seconds)
                self._waited += self._clock() - began
            elif taken.has_lapsed:
                taken.give_back()
            else:
                return taken

    def _take(self, kind: str, *, is_urgent: bool) -> Permit | Wait:
        self._keep_overdue()
        taken = self._store.take(self._plan, is_spare=not is_urgent)
        if isinstance(taken, Wait):
            return taken
        with self._lock:
            # A distant database always answers late; only what comes on top of that counts.
            self._fastest_take = min(self._fastest_take, self._clock() - taken.at)
            leave_by = taken.at + self._fastest_take + LEAVE_SECONDS
            permit = Permit(self, kind, taken, leave_by, is_urgent=is_urgent)
            self._in_flight.add(permit)
            self._taken.append((taken.at, is_urgent))
            while self._taken[0][0] <= taken.at - _LOOK_BACK_SECONDS:
                self._taken.popleft()
        return permit

    def _is_left_by_sending(self, plan: Plan) -> bool:
        """Return whether sending, if it goes on as now, leaves a permit for something else.

        With slow answers only the end of the 10 seconds would show that it needs all of them.
        """
        with self._lock:
            now = self._clock()
            since = now - _LOOK_BACK_SECONDS
            urgent = [at for at, is_urgent in self._taken if is_urgent and at > since]
            occupied = [is_urgent for at, is_urgent in self._taken if at > now - OCCUPIED_SECONDS]
            needed = float(occupied.count(True))
            is_sending = any(permit.is_urgent for permit in self._in_flight)
            if urgent and (is_sending or now - urgent[-1] < _SHORTEST_LOOK_SECONDS):
                seconds = max(now - urgent[0], _SHORTEST_LOOK_SECONDS)
                needed = len(urgent) * OCCUPIED_SECONDS / seconds
            return needed + occupied.count(False) < plan.burst

    def _answered(self, permit: Permit, status: int | None) -> None:
        """Correct when a permit is free again, now that more is known of when the server saw it.

        The server saw the request between sending and answer. What the fastest answer like this
        took is needed anyway; only the rest of the time can have made the request late. Without
        an answer it may have been seen just now.
        """
        took = self._clock() - permit.taken_at
        with self._lock:
            self._in_flight.discard(permit)
            fastest = 0.0
            if status is not None:
                # Refusals come sooner than what has been worked on.
                like = (permit.kind, status // 100)
                fastest = self._fastest[like] = min(took, self._fastest.get(like, took))
                if permit.is_urgent:
                    usual = took if self._answer_seconds is None else self._answer_seconds
                    self._answer_seconds = usual + _NEWEST_WEIGHT * (took - usual)
        seconds = _occupied_seconds(took - fastest)
        if self._corrects_early or seconds > permit.seconds:
            self._correct(permit, seconds)

    def _keep_overdue(self) -> None:
        """Keep permits occupied whose requests are overdue: a server that hangs sees them late."""
        now = self._clock()
        with self._lock:
            due = [
                (permit, _occupied_seconds(now - permit.taken_at - fastest))
                for permit in self._in_flight
                if permit.taken_at + permit.seconds <= now
                and (fastest := self._fastest.get((permit.kind, _SUCCESS))) is not None
            ]
        for permit, seconds in due:
            if seconds > permit.seconds:
                self._correct(permit, seconds)

    def _correct(self, permit: Permit, seconds: float) -> None:
        by = seconds - permit.seconds
        with contextlib.suppress(TransientError):
            self._store.correct(permit.until, by)
        permit.until += by
        permit.seconds = seconds

    def _given_back(self, permit: Permit) -> None:
        with self._lock, contextlib.suppress(ValueError):  # it may be too old to be in there
            self._in_flight.discard(permit)
            self._taken.remove((permit.taken_at, permit.is_urgent))
        with contextlib.suppress(TransientError):
            self._store.give_back(permit.until)

    def _pause_or_raise(self, error: TransientError, tries: int, spent: float) -> float:
        pause = pause_before_retry(error, tries=tries, spent=spent, limit=self._retry_max_seconds)
        if pause is None:
            message = f"{error} It was tried for {spent:.0f} s ('retry_max_seconds')."
            raise LedgerError(message)
        level = logging.INFO if tries == 1 else logging.WARNING
        logger.log(level, "%s Nothing is sent meanwhile; trying again in %.1f s.", error, pause)
        return pause

    def _explain(self, wait: Wait) -> None:
        """Log a long wait; the same reason at most once a minute."""
        before, when = self._logged
        now = self._clock()
        if wait.seconds <= LONG_WAIT_SECONDS:
            return
        if before == wait.reason and now < when + _LOG_AGAIN_SECONDS:
            return
        self._logged = (wait.reason, now)
        if wait.reason == DAY_LIMIT and self._plan is not None:
            goes_on = dt.datetime.now().astimezone() + dt.timedelta(seconds=wait.seconds)
            logger.warning(
                "The day's %s requests are used up. Sending goes on at %s, as soon as the first "
                "of them are 24 hours old; the run waits until then.",
                f"{self._plan.daily:,}",
                goes_on.isoformat(sep=" ", timespec="minutes"),
            )
        else:
            logger.info("Waiting %.0f s before the next request: %s.", wait.seconds, wait.reason)


def _occupied_seconds(late: float) -> float:
    """Return how long a permit is occupied whose request was seen so late, or less so."""
    return WINDOW_SECONDS + LATENESS_SECONDS + max(0.0, late)


LONGEST_PAUSE_SECONDS = 60.0
TOO_MANY_REQUESTS_SECONDS = 10.0
"""One window of the plan's limit: what a 429 that names no time is worth (API note, section 9)."""

_JITTER_SECONDS = 2.0
"""Most that is added to the time that a server asks for."""


def pause_before_retry(
    error: Exception,
    *,
    tries: int,
    spent: float,
    limit: float,
    jitter: Callable[[float], float] = backoff.full_jitter,
) -> float | None:
    """Return how many seconds to wait before the next try, or None to give up.

    Pauses grow with full jitter. What a server asks for is a floor that jitter only adds to, and
    when it asks for more time than is left there is no use in trying earlier.

    >>> lost = TransientError("No response.")
    >>> [pause_before_retry(lost, tries=n, spent=0, limit=600, jitter=float) for n in (1, 2, 9)]
    [1.0, 2.0, 60.0]
    >>> busy = TransientError("Busy.", retry_after=30)
    >>> pause_before_retry(busy, tries=1, spent=0, limit=600, jitter=float)
    31.0
    >>> pause_before_retry(busy, tries=1, spent=580, limit=600) is None
    True

    Args:
        error: What went wrong; only a `TransientError` is worth another try.
        tries: How many there have been, at least 1.
        spent: Seconds that trying and pausing have taken so far.
        limit: Seconds after which to give up.
        jitter: Picks a number between 0 and the one given.
    """
    left = limit - spent
    if not isinstance(error, TransientError) or left <= 0:
        return None
    floor = error.retry_after
    if floor is None:
        floor = TOO_MANY_REQUESTS_SECONDS if isinstance(error, TooManyRequestsError) else 0.0
    if floor > left:
        return None
    spread = min(2.0 ** min(tries - 1, 10), LONGEST_PAUSE_SECONDS)
    if floor:
        spread = min(spread, _JITTER_SECONDS)
    return min(floor + jitter(spread), left)
