"""Never more than the plan allows, as the server sees it, and hardly ever less."""

from __future__ import annotations

import heapq
import itertools
import logging
import random
import threading
import time
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from target_mainbrainer.api.rate_limit import SLICE_SECONDS, Permit, RateLimiter
from target_mainbrainer.config.limits import PLANS, Plan
from target_mainbrainer.errors import InterruptedRunError

if t.TYPE_CHECKING:
    from collections.abc import Callable

HOUR = 3600.0


class World:
    """A clock that moves only while somebody waits, and what happens meanwhile."""

    def __init__(self, start: float = 1_000_000.0) -> None:
        self.now = start
        self.start = start
        self.stopped = False
        self._ahead: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def clock(self) -> float:
        return self.now

    def is_set(self) -> bool:
        return self.stopped

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
        self.now = end

    def next_event(self) -> None:
        self.run_until(max(self.now, self._ahead[0][0]))

    def rate_limiter(self, plan: Plan | None) -> RateLimiter:
        return RateLimiter(plan, clock=self.clock, stop=self)


def load(
    plan: Plan, *, seconds: float, threads: int, way: Callable[[], float], work: Callable[[], float]
) -> list[float]:
    """Send as fast as the pacer lets so many threads, and return when the server saw each request.

    Args:
        plan: What the server allows.
        seconds: How long to send.
        threads: How many requests are in flight at most.
        way: How long a request takes to be seen.
        work: How long the server takes to answer it then.
    """
    world = World()
    rate_limiter = world.rate_limiter(plan)
    seen: list[float] = []
    idle = threads

    def finish(turn: Permit) -> None:
        nonlocal idle
        turn.answered()
        idle += 1

    while world.now < world.start + seconds:
        if not idle:
            world.next_event()
            continue
        turn = rate_limiter.acquire("POST")
        idle -= 1
        arrival = world.now + way()
        seen.append(arrival)
        world.at(arrival + work(), lambda turn=turn: finish(turn))  # type: ignore[misc]
    return sorted(seen)


def most_in(seen: list[float], window: float) -> int:
    """Return the most requests in any window of that length."""
    most = first = 0
    for last, when in enumerate(seen):
        while seen[first] <= when - window:
            first += 1
        most = max(most, last - first + 1)
    return most


@given(
    st.integers(1, 40),
    st.integers(1, 30),
    st.floats(0, 0.25),
    st.floats(0.001, 3),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_the_server_never_sees_more_than_the_burst_in_any_ten_seconds(
    burst: int, threads: int, jitter: float, slowest: float, chance: random.Random
) -> None:
    seen = load(
        Plan(burst=burst, daily=10**6),
        seconds=45,
        threads=threads,
        way=lambda: 0.02 + chance.uniform(0, jitter),
        work=lambda: chance.uniform(0, slowest),
    )
    assert most_in(seen, 10) <= burst


def test_requests_that_queue_at_the_server_are_given_more_time() -> None:
    """A burst on a busy server: the last is seen 0.45 s late, the next burst's first at once."""
    queue = itertools.cycle(place * 0.0225 for place in range(20))
    seen = load(
        Plan(burst=20, daily=10**6),
        seconds=120,
        threads=20,
        way=lambda: 0.01 + next(queue),
        work=lambda: 0.1,
    )
    assert most_in(seen, 10) <= 20


@pytest.mark.parametrize(
    ("plan", "latency"),
    [
        pytest.param("freemium", 0.3, id="freemium at 300 ms"),
        pytest.param("starter", 0.5, id="starter at 500 ms"),
        pytest.param("pro", 1.0, id="pro at 1 s"),
    ],
)
def test_at_least_95_percent_of_the_plan_is_used(plan: str, latency: float) -> None:
    chance = random.Random(4)  # noqa: S311 - nothing secret about it
    seen = load(
        PLANS[plan],
        seconds=60,
        threads=20,
        way=lambda: 0.02,
        work=lambda: latency - 0.02 + chance.uniform(0, 0.01),
    )
    assert most_in(seen, 10) <= PLANS[plan].burst
    within = [when for when in seen if when < seen[0] + 60]
    assert len(within) >= 0.95 * 6 * PLANS[plan].burst


def test_the_steady_state_uses_95_percent_even_when_answers_vary_wildly() -> None:
    chance = random.Random(5)  # noqa: S311 - nothing secret about it
    seen = load(
        PLANS["freemium"],
        seconds=620,
        threads=20,
        way=lambda: 0.02,
        work=lambda: chance.uniform(0.05, 1.5),
    )
    steady = [when for when in seen if seen[0] + 10 <= when < seen[0] + 610]
    assert len(steady) >= 0.95 * 60 * PLANS["freemium"].burst


@given(st.lists(st.floats(0, 5 * HOUR), min_size=1, max_size=60), st.integers(1, 25))
@settings(max_examples=50, deadline=None)
def test_the_days_number_is_kept_in_any_24_hours(gaps: list[float], daily: int) -> None:
    world = World()
    rate_limiter = world.rate_limiter(Plan(burst=1000, daily=daily))
    seen = []
    for gap in gaps:
        world.run_until(world.now + gap)
        rate_limiter.acquire("POST").answered()
        seen.append(world.now)
    assert most_in(seen, 24 * HOUR) <= daily
    # On the safe side, but not by more than one slice a day.
    assert (
        world.now <= world.start + sum(gaps) + (24 * HOUR + SLICE_SECONDS + 1) * len(gaps) / daily
    )


def test_memory_is_flat_however_many_requests_a_day() -> None:
    world = World()
    rate_limiter = world.rate_limiter(Plan(burst=200, daily=1_000_000))
    for _ in range(60_000):
        world.run_until(world.now + 5.0)
        rate_limiter.acquire("POST").answered()
    assert len(rate_limiter._turns) <= 200
    assert len(rate_limiter._slices) <= 24 * HOUR / SLICE_SECONDS + 2


def test_a_used_up_day_is_a_warning_that_says_when_it_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    rate_limiter = world.rate_limiter(Plan(burst=10, daily=2))
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            rate_limiter.acquire("POST").answered()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("The day's 2 requests are used up. Sending goes on at 2")
    assert 24 * HOUR <= world.now - world.start <= 24 * HOUR + SLICE_SECONDS + 1


def test_a_long_wait_is_explained_but_not_again_and_again(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    rate_limiter = world.rate_limiter(Plan(burst=1, daily=1000))
    with caplog.at_level(logging.INFO):
        for _ in range(6):
            rate_limiter.acquire("POST").answered()
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert record.getMessage() == (
        "Waiting 10 s before the next request: the plan's limit of requests in 10 seconds."
    )
    assert rate_limiter.waited_seconds == pytest.approx(5 * 10.25)


def test_a_short_wait_is_not_worth_a_line(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    rate_limiter = world.rate_limiter(None)
    rate_limiter.hold(4, "MainBrainer asks for it")
    with caplog.at_level(logging.INFO):
        rate_limiter.acquire("POST")
    assert not caplog.records
    assert rate_limiter.waited_seconds == pytest.approx(4)


@pytest.mark.parametrize("plan", [None, PLANS["freemium"]])
def test_a_hold_makes_everything_wait(plan: Plan | None, caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    rate_limiter = world.rate_limiter(plan)
    rate_limiter.hold(12, "MainBrainer answered 429")
    rate_limiter.hold(3, "a shorter one changes nothing")
    assert rate_limiter.try_acquire("GET") is None
    with caplog.at_level(logging.INFO):
        rate_limiter.acquire("POST")
    assert world.now - world.start == pytest.approx(12)
    assert "Waiting 12 s before the next request: MainBrainer answered 429." in caplog.text
    assert rate_limiter.try_acquire("GET") is not None


def test_polls_have_only_what_sending_leaves() -> None:
    world = World()
    rate_limiter = world.rate_limiter(Plan(burst=20, daily=1000))
    for _ in range(17):
        rate_limiter.acquire("POST").answered()
    assert rate_limiter.share_used == 0.85
    assert rate_limiter.try_acquire("GET") is not None
    assert rate_limiter.try_acquire("GET") is None, "two are kept for sending"
    rate_limiter.acquire("POST")
    rate_limiter.acquire("POST")
    assert world.now == world.start
    assert rate_limiter.share_used == 1.0
    world.run_until(world.now + 11)
    assert rate_limiter.share_used == 0.0
    assert rate_limiter.try_acquire("GET") is not None


def test_polls_wait_while_sending_goes_as_fast_as_the_plan_allows() -> None:
    """With slow answers the plan seems free at first; what polls take then is missing later."""
    world = World()
    rate_limiter = world.rate_limiter(PLANS["pro"])
    turns = [rate_limiter.acquire("POST") for _ in range(20)]
    world.run_until(world.now + 1)
    assert rate_limiter.share_used == 0.1
    assert rate_limiter.try_acquire("GET") is None
    for turn in turns:
        turn.answered()
    assert rate_limiter.can_spare, "sending pauses"
    rate_limiter.acquire("POST").give_back()
    assert rate_limiter.try_acquire("GET") is not None


def test_slow_sending_leaves_something_for_polls() -> None:
    world = World()
    rate_limiter = world.rate_limiter(PLANS["pro"])
    for _ in range(30):
        turn = rate_limiter.acquire("POST")
        world.run_until(world.now + 1 / 15)
        assert rate_limiter.can_spare
        turn.answered()


def test_polls_leave_the_days_last_requests_to_sending() -> None:
    rate_limiter = World().rate_limiter(Plan(burst=200, daily=100))
    for _ in range(99):
        rate_limiter.acquire("POST")
    assert rate_limiter.try_acquire("GET") is None


def test_a_plan_of_one_request_still_lets_polls_through() -> None:
    assert World().rate_limiter(Plan(burst=1, daily=1000)).try_acquire("GET") is not None


def test_a_turn_given_back_is_free_again() -> None:
    world = World()
    rate_limiter = world.rate_limiter(Plan(burst=1, daily=1000))
    rate_limiter.acquire("POST").give_back()
    rate_limiter.acquire("POST")
    assert world.now == world.start


def test_without_a_plan_nobody_waits() -> None:
    world = World()
    rate_limiter = world.rate_limiter(None)
    for _ in range(1000):
        rate_limiter.acquire("POST").answered()
    assert world.now == world.start
    assert rate_limiter.share_used == 0.0
    assert rate_limiter.try_acquire("GET") is not None


def test_a_stop_ends_every_wait_at_once() -> None:
    stop = threading.Event()
    rate_limiter = RateLimiter(Plan(burst=1, daily=10), clock=time.monotonic, stop=stop)
    rate_limiter.acquire("POST")
    ended: list[float] = []

    def send() -> None:
        with pytest.raises(InterruptedRunError, match="asked to stop"):
            rate_limiter.acquire("POST")
        ended.append(time.monotonic())

    threads = [threading.Thread(target=send) for _ in range(20)]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    stop.set()
    for thread in threads:
        thread.join(timeout=5)
    assert len(ended) == 20
    assert max(ended) - began < 2
    assert rate_limiter.try_acquire("GET") is None


def test_first_come_first_served() -> None:
    rate_limiter = RateLimiter(None, clock=time.monotonic, stop=threading.Event())
    rate_limiter.hold(0.3, "so that a queue forms")
    served: list[int] = []

    def send(number: int) -> None:
        rate_limiter.acquire("POST")
        served.append(number)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(10)]
    for place, thread in enumerate(threads, start=1):
        thread.start()
        while len(rate_limiter._queue) < place:
            time.sleep(0.001)
    assert rate_limiter.try_acquire("GET") is None
    for thread in threads:
        thread.join(timeout=5)
    assert len(served) == 10
    assert rate_limiter.try_acquire("GET") is not None
