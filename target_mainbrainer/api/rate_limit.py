"""One budget of requests for all threads: never more than the plan allows, hardly ever less.

Two limits hold (API note, section 9): so many requests in any 10 seconds and so many in any
24 hours, both as the server counts them, not as we do. A request is seen some time after it is
sent, and that time varies: a first request still has to connect, a busy server lets it queue. Two
requests sent 10 seconds apart may thus be seen 9.8 apart. So a request occupies its place a
little longer than 10 seconds, and longer still if its answer took longer than others did.

The log of turns is our own: `pyrate-limiter` keeps one too, but a stamp in it cannot be corrected
once the answer is there, its waits cannot be interrupted, it serves nobody in turn, and a day
would cost it an object for every request.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import typing as t
from collections import deque

from target_mainbrainer.errors import InterruptedRunError

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from target_mainbrainer.config.limits import Plan

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 10.0
HEADROOM_SECONDS = 0.25
"""How much later than usual a request may be seen without our noticing: a connection's set-up."""

LATENESS_SECONDS = 0.25
"""Most that a request's slow answer adds to that; 10 s of 10.5 s still use 95 % of the plan."""

DAY_SECONDS = 24 * 60 * 60
SLICE_SECONDS = 600
"""The day is counted in slices, which keeps a million requests in 145 numbers."""

LONG_WAIT_SECONDS = 5.0
_LOG_AGAIN_SECONDS = 60.0
_RESERVE = 10
"""One part in so many of the burst is left to sending when something less urgent asks."""

_DAY_RESERVE = 100
_FULL_PACE = 0.8
"""Share of the plan's pace from which on sending is taken to need all of it."""

_SHORTEST_LOOK_SECONDS = 1.0
_LIMIT = "the plan's limit of requests in 10 seconds"
_DAY = "the plan's limit of requests in a day"


class Event(t.Protocol):
    """What `threading.Event` and the clock of a test have in common."""

    def is_set(self) -> bool:
        """Tell whether the run has been asked to stop."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until that happens or time is up, and tell whether it happened."""


class Permit:
    """Leave to send one request now.

    Attributes:
        what: Kind of request; those of a kind usually take the same time.
        since: When it was given.
        is_urgent: Somebody waited for it.
    """

    __slots__ = ("_given_back", "_latency", "_rate_limiter", "is_urgent", "since", "what")

    def __init__(
        self, rate_limiter: RateLimiter, what: str, since: float, *, is_urgent: bool
    ) -> None:
        self.what = what
        self.since = since
        self.is_urgent = is_urgent
        self._rate_limiter = rate_limiter
        self._latency: float | None = None
        self._given_back = False

    def answered(self) -> None:
        """Say that the answer is there, or never will be."""
        self._latency = self._rate_limiter._answered(self)  # noqa: SLF001 - its other half

    def give_back(self) -> None:
        """Say that no request was sent after all."""
        self._given_back = True
        self._rate_limiter._over(self)  # noqa: SLF001

    def ends_at(self, fastest: float) -> float:
        """Return when the server has certainly forgotten this request.

        The server saw it between sending and answer. What the fastest answer of its kind took is
        needed anyway; only the rest of the time can have made this one late.
        """
        if self._given_back:
            return self.since
        late = LATENESS_SECONDS
        if self._latency is not None:
            late = min(late, self._latency - fastest)
        return self.since + WINDOW_SECONDS + HEADROOM_SECONDS + late


class RateLimiter:
    """Hands out turns to send, in the order they are asked for, within the plan's limits.

    What an earlier run or another program has used up is not known here; the server says so with
    a 429, and `hold` makes everything wait.

    Args:
        plan: The limits, or None for no limits; `hold` works all the same.
        clock: Seconds that only ever grow.
        stop: Once it is set, nobody gets a turn any more, and whoever waits for one is told so at
            once, with an `InterruptedRunError`.
    """

    def __init__(self, plan: Plan | None, *, clock: Callable[[], float], stop: Event) -> None:
        self._plan = plan
        self._clock = clock
        self._stop = stop
        self._lock = threading.Lock()
        self._queue: deque[threading.Event] = deque()
        self._turns: list[Permit] = []
        self._under_way = 0  # urgent ones, given and not answered
        self._fastest: dict[str, float] = {}
        self._slices: deque[list[int]] = deque()  # [number of the slice, requests in it]
        self._held_until = 0.0
        self._held_because = ""
        self._waited = 0.0
        self._logged: tuple[str, float] = ("", 0.0)

    def acquire(self, what: str) -> Permit:
        """Wait for a turn, first come, first served.

        Raises:
            InterruptedRunError: The run was asked to stop.
        """
        my_turn = threading.Event()
        with self._lock:
            self._queue.append(my_turn)
            if self._queue[0] is my_turn:
                my_turn.set()
        my_turn.wait()  # whoever is in front hands on, whatever happens to it
        try:
            return self._wait_in_front(what)
        finally:
            with self._lock:
                self._queue.popleft()
                if self._queue:
                    self._queue[0].set()

    def try_acquire(self, what: str) -> Permit | None:
        """Return a turn if sending can spare one now: nobody waits, and some are left over."""
        with self._lock:
            now = self._clock()
            return self._take(what, now, is_urgent=False) if self._can_spare(now) else None

    @property
    def can_spare(self) -> bool:
        """Whether `try_acquire` would return a turn now."""
        with self._lock:
            return self._can_spare(self._clock())

    def _can_spare(self, now: float) -> bool:
        if self._stop.is_set() or self._queue or now < self._held_until:
            return False
        if (plan := self._plan) is None:
            return True
        self._forget(now)
        return (
            plan.burst - len(self._turns) > plan.burst // _RESERVE
            and plan.daily - self._used_today() > plan.daily // _DAY_RESERVE
            and not (self._under_way and self._is_sending_at_full_pace(plan, now))
        )

    def _is_sending_at_full_pace(self, plan: Plan, now: float) -> bool:
        """Tell whether sending, as it goes on now, will need all that the plan allows.

        With slow answers that shows only at the end of the 10 seconds, when what others took
        before is missing.
        """
        sent = [turn.since for turn in self._turns if turn.is_urgent]
        if not sent:
            return False
        seconds = min(max(now - sent[0], _SHORTEST_LOOK_SECONDS), WINDOW_SECONDS)
        return len(sent) / seconds >= _FULL_PACE * plan.burst / WINDOW_SECONDS

    def hold(self, seconds: float, reason: str) -> None:
        """Let nobody have a turn for so long; a hold never shortens another."""
        with self._lock:
            until = self._clock() + seconds
            if until > self._held_until:
                self._held_until, self._held_because = until, reason

    @property
    def waited_seconds(self) -> float:
        """How long sending has been held up altogether; one wait counts once for all threads."""
        with self._lock:
            return self._waited

    @property
    def share_used(self) -> float:
        """How much of what the plan allows in 10 seconds is in use now, from 0 to 1."""
        if self._plan is None:
            return 0.0
        with self._lock:
            self._forget(self._clock())
            return len(self._turns) / self._plan.burst

    def _wait_in_front(self, what: str) -> Permit:
        while True:
            if self._stop.is_set():
                message = "The run was asked to stop; nothing more is sent."
                raise InterruptedRunError(message)
            with self._lock:
                now = self._clock()
                seconds, reason = self._pause(now)
                if seconds <= 0:
                    return self._take(what, now, is_urgent=True)
                self._explain(seconds, reason, now)
            self._stop.wait(seconds)
            with self._lock:
                self._waited += self._clock() - now

    def _pause(self, now: float) -> tuple[float, str]:
        """Return how long the next request must wait, and why."""
        if now < self._held_until:
            return self._held_until - now, self._held_because
        if self._plan is None:
            return 0.0, ""
        if len(self._turns) >= self._plan.burst:
            self._forget(now)
        if len(self._turns) >= self._plan.burst:
            return min(map(self._ends_at, self._turns)) - now, _LIMIT
        if self._used_today() >= self._plan.daily:
            self._forget(now)
        if self._used_today() >= self._plan.daily:
            return self._slice_ends_at(self._slices[0][0]) - now, _DAY
        return 0.0, ""

    def _take(self, what: str, now: float, *, is_urgent: bool) -> Permit:
        turn = Permit(self, what, now, is_urgent=is_urgent)
        self._under_way += is_urgent
        if self._plan is not None:
            self._turns.append(turn)
            number = int(now // SLICE_SECONDS)
            if not self._slices or self._slices[-1][0] != number:
                self._slices.append([number, 0])
            self._slices[-1][1] += 1
        return turn

    def _forget(self, now: float) -> None:
        """Drop what no longer counts."""
        self._turns = [turn for turn in self._turns if self._ends_at(turn) > now]
        while self._slices and self._slice_ends_at(self._slices[0][0]) <= now:
            self._slices.popleft()

    def _ends_at(self, turn: Permit) -> float:
        return turn.ends_at(self._fastest.get(turn.what, 0.0))

    @staticmethod
    def _slice_ends_at(number: int) -> float:
        """Return when the last request that a slice may hold is a day old, as the server saw it."""
        late = HEADROOM_SECONDS + LATENESS_SECONDS
        return (number + 1) * SLICE_SECONDS + DAY_SECONDS + late

    def _used_today(self) -> int:
        return sum(requests for _, requests in self._slices)

    def _answered(self, turn: Permit) -> float:
        with self._lock:
            self._under_way -= turn.is_urgent
            latency = self._clock() - turn.since
            self._fastest[turn.what] = min(latency, self._fastest.get(turn.what, latency))
            return latency

    def _over(self, turn: Permit) -> None:
        with self._lock:
            self._under_way -= turn.is_urgent

    def _explain(self, seconds: float, reason: str, now: float) -> None:
        """Log a long wait; the same reason at most once a minute."""
        before, when = self._logged
        if seconds <= LONG_WAIT_SECONDS or (before == reason and now < when + _LOG_AGAIN_SECONDS):
            return
        self._logged = (reason, now)
        if reason == _DAY and self._plan is not None:
            goes_on = dt.datetime.now().astimezone() + dt.timedelta(seconds=seconds)
            logger.warning(
                "The day's %s requests are used up. Sending goes on at %s, as soon as the first "
                "of them are 24 hours old; the run waits until then.",
                f"{self._plan.daily:,}",
                goes_on.isoformat(sep=" ", timespec="minutes"),
            )
        else:
            logger.info("Waiting %.0f s before the next request: %s.", seconds, reason)
