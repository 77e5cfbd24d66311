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
from collections import deque

from target_mainbrainer.api.permit_store import MemoryStore
from target_mainbrainer.api.retry import pause_before_retry
from target_mainbrainer.errors import InterruptedRunError, LedgerError, TransientError
from target_mainbrainer.ledger.quota import (
    DAY_LIMIT,
    LATENESS_SECONDS,
    LEAVE_SECONDS,
    OCCUPIED_SECONDS,
    WINDOW_SECONDS,
    Taken,
    Wait,
)
from target_mainbrainer.settings.declared import MAX_CONCURRENT_REQUESTS

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from target_mainbrainer.api.permit_store import PermitStore
    from target_mainbrainer.settings.declared import Plan

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
