"""Never more than the plan allows, as the server counts, and hardly ever less."""

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
from typing_extensions import override

from target_mainbrainer.api.permit_store import MemoryStore
from target_mainbrainer.api.rate_limit import Permit, RateLimiter
from target_mainbrainer.config.limits import PLANS, Plan
from target_mainbrainer.errors import InterruptedRunError, LedgerError, TransientError
from target_mainbrainer.ledger.quota import LEAVE_SECONDS, Taken, Wait
from tests.waiting import wait_until

if t.TYPE_CHECKING:
    from collections.abc import Callable

HOUR = 3600.0
CHANCE = random.Random(4)  # noqa: S311 - nothing secret about it


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
        self.now = max(self.now, end)

    def pass_by(self, seconds: float) -> None:
        self.run_until(self.now + seconds)

    def next_event(self) -> None:
        self.run_until(max(self.now, self._ahead[0][0]))

    def limiter(self, plan: Plan | None) -> RateLimiter:
        return RateLimiter(plan, clock=self.clock, stop=self)


def take(limiter: RateLimiter, kind: str = "POST") -> Permit:
    """Wait for a permit."""
    permit = limiter.acquire(kind)
    assert permit is not None
    return permit


def load(
    plan: Plan, *, seconds: float, threads: int, way: Callable[[], float], work: Callable[[], float]
) -> list[float]:
    """Send as fast as so many threads may, and return when the server counted each request.

    Args:
        plan: What the server allows.
        seconds: How long to send.
        threads: How many requests are in flight at most.
        way: How long a request takes to be counted.
        work: How long the server takes to answer it then.
    """
    world = World()
    limiter = world.limiter(plan)
    seen: list[float] = []
    idle = threads

    def finish(permit: Permit) -> None:
        nonlocal idle
        permit.answered(202)
        idle += 1

    while world.now < world.start + seconds:
        if not idle:
            world.next_event()
            continue
        permit = take(limiter)
        idle -= 1
        arrival = world.now + way()
        seen.append(arrival)
        world.at(arrival + work(), lambda permit=permit: finish(permit))  # type: ignore[misc]
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
    st.integers(1, 60),
    st.floats(0, 0.25),
    st.floats(0.001, 3),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_the_server_never_counts_more_than_the_burst_in_any_ten_seconds(
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


@pytest.mark.parametrize("queued", [0.45, 1.5, 6.0, 14.0])
def test_requests_that_the_server_counts_late_are_given_as_much_more_time(queued: float) -> None:
    """A burst queues in front of a busy server; the first of the next is counted at once."""
    places = itertools.cycle(place * queued / 19 for place in range(20))
    seen = load(
        Plan(burst=20, daily=10**6),
        seconds=180,
        threads=20,
        way=lambda: 0.01 + next(places),
        work=lambda: 0.1,
    )
    assert most_in(seen, 10) <= 20


def test_a_server_that_hangs_for_15_seconds_does_not_find_two_bursts_afterwards() -> None:
    """It counts all that has piled up at the moment when it goes on."""
    world = World()
    limiter = world.limiter(Plan(burst=20, daily=10**6))
    for _ in range(5):  # so that what an answer usually takes is known
        permit = take(limiter)
        world.pass_by(0.1)
        permit.answered(202)
    world.pass_by(11)
    began = world.now
    hanging = [take(limiter) for _ in range(20)]
    for place, permit in enumerate(hanging):
        world.at(began + 15 + place / 100, lambda permit=permit: permit.answered(202))  # type: ignore[misc]
    later = [take(limiter).taken_at for _ in range(20)]
    assert min(later) >= began + 15 + 10
    assert most_in(sorted([began + 15] * 20 + later), 10) <= 20


def test_an_answer_that_never_comes_may_have_been_counted_until_the_end() -> None:
    world = World()
    limiter = world.limiter(Plan(burst=1, daily=1000))
    permit = take(limiter)
    world.pass_by(4)
    permit.answered(None)
    assert take(limiter).taken_at == pytest.approx(world.start + 4 + 10.25)


def test_a_quick_refusal_does_not_make_every_success_look_late() -> None:
    world = World()
    limiter = world.limiter(Plan(burst=2, daily=1000))
    for status, seconds in ((400, 0.01), (202, 1.0)):
        permit = take(limiter)
        world.pass_by(seconds)
        permit.answered(status)
    world.pass_by(20)
    began = world.now
    for _ in range(2):
        permit = take(limiter)
        world.at(began + 1, lambda permit=permit: permit.answered(202))  # type: ignore[misc]
    assert take(limiter).taken_at == pytest.approx(began + 10.25)


@pytest.mark.parametrize(
    ("plan", "latency"),
    [
        pytest.param("freemium", 0.3, id="freemium at 300 ms"),
        pytest.param("starter", 0.5, id="starter at 500 ms"),
        pytest.param("pro", 3.0, id="pro at 3 s"),
        pytest.param("pro", 10.0, id="pro at 10 s"),
    ],
)
def test_at_least_97_percent_of_the_plan_is_used(plan: str, latency: float) -> None:
    seen = load(
        PLANS[plan],
        seconds=60,
        threads=220,
        way=lambda: 0.02,
        work=lambda: latency - 0.02 + CHANCE.uniform(0, 0.01),
    )
    assert most_in(seen, 10) <= PLANS[plan].burst
    within = [when for when in seen if when < seen[0] + 60]
    assert len(within) >= 0.97 * 6 * PLANS[plan].burst


def test_answers_that_vary_cost_no_more_than_they_vary_by() -> None:
    """Nothing tells a request that was counted late from one that was worked on for long."""
    seen = load(
        PLANS["freemium"],
        seconds=620,
        threads=200,
        way=lambda: 0.02,
        work=lambda: CHANCE.uniform(0.05, 1.05),
    )
    steady = [when for when in seen if seen[0] + 10 <= when < seen[0] + 610]
    assert len(steady) >= 10 / 10.8 * 60 * PLANS["freemium"].burst


def test_a_used_up_day_is_a_warning_that_says_when_it_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    limiter = world.limiter(Plan(burst=10, daily=2))
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            take(limiter).answered(202)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("The day's 2 requests are used up. Sending goes on at 2")
    assert 24 * HOUR <= world.now - world.start <= 24 * HOUR + 601


def test_a_long_wait_is_logged_and_told_again_after_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    limiter = world.limiter(Plan(burst=1, daily=1000))
    times = []
    with caplog.at_level(logging.INFO):
        for _ in range(14):
            take(limiter).answered(202)
            times.append(len(caplog.records))
    assert {(record.levelno, record.getMessage()) for record in caplog.records} == {
        (
            logging.INFO,
            "Waiting 10 s before the next request: the plan's limit of requests in 10 seconds.",
        )
    }
    assert times == [0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3]
    assert limiter.waited_seconds == pytest.approx(13 * 10.25)


def test_a_short_wait_is_not_worth_a_line(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    limiter = world.limiter(None)
    limiter.hold(4, "MainBrainer asks for it")
    with caplog.at_level(logging.INFO):
        take(limiter)
    assert not caplog.records
    assert limiter.waited_seconds == pytest.approx(4)


@pytest.mark.parametrize("plan", [None, PLANS["freemium"]])
def test_a_hold_makes_everything_wait(plan: Plan | None, caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    limiter = world.limiter(plan)
    limiter.hold(12, "MainBrainer answered 429")
    limiter.hold(3, "a shorter one changes nothing")
    assert limiter.free == 0
    assert limiter.try_acquire("GET") is None
    with caplog.at_level(logging.INFO):
        take(limiter)
    assert world.now - world.start == pytest.approx(12)
    assert "Waiting 12 s before the next request: MainBrainer answered 429." in caplog.text
    assert limiter.try_acquire("GET") is not None


def test_polls_have_only_what_sending_leaves() -> None:
    world = World()
    limiter = world.limiter(Plan(burst=20, daily=1000))
    for _ in range(17):
        take(limiter).answered(202)
    assert limiter.try_acquire("GET") is None, "more may be sent at once"
    world.pass_by(1)
    assert limiter.share_used == 0.85
    assert limiter.try_acquire("GET") is not None
    assert limiter.try_acquire("GET") is None, "two are kept for sending"
    assert limiter.free == 2
    take(limiter)
    take(limiter)
    assert limiter.waited_seconds == 0
    assert limiter.share_used == 1.0
    assert limiter.free == 0
    world.pass_by(11)
    assert limiter.share_used == 0.0
    assert limiter.try_acquire("GET") is not None


def test_polls_wait_while_sending_goes_as_fast_as_the_plan_allows() -> None:
    """With slow answers the plan seems free at first; what polls take then is missing later."""
    world = World()
    limiter = world.limiter(PLANS["pro"])
    permits = [take(limiter) for _ in range(20)]
    world.pass_by(1)
    assert limiter.share_used == 0.1
    assert limiter.try_acquire("GET") is None
    for permit in permits:
        permit.answered(202)
    assert limiter.can_spare, "nothing has been sent for a second"
    take(limiter).give_back()
    assert limiter.try_acquire("GET") is not None


def test_slow_sending_leaves_something_for_polls_also_after_answers() -> None:
    world = World()
    limiter = world.limiter(PLANS["pro"])
    polls = 0
    for _ in range(300):
        permit = take(limiter)
        world.pass_by(1 / 15)
        if (poll := limiter.try_acquire("GET")) is not None:
            polls += 1
            poll.answered(200)
        permit.answered(202)
    assert polls >= 60
    assert limiter.waited_seconds == 0


def test_polls_leave_the_days_last_requests_to_sending() -> None:
    limiter = World().limiter(Plan(burst=200, daily=100))
    for _ in range(99):
        take(limiter)
    assert limiter.try_acquire("GET") is None


def test_a_plan_of_one_request_still_lets_polls_through() -> None:
    assert World().limiter(Plan(burst=1, daily=1000)).try_acquire("GET") is not None


def test_a_permit_given_back_is_free_again_for_the_day_too() -> None:
    world = World()
    limiter = world.limiter(Plan(burst=1, daily=1))
    for _ in range(3):
        take(limiter).give_back()
    take(limiter)
    assert world.now == world.start


def test_a_permit_lapses_when_the_request_does_not_leave_at_once() -> None:
    world = World()
    permit = take(world.limiter(Plan(burst=1, daily=10)))
    world.pass_by(LEAVE_SECONDS)
    assert not permit.has_lapsed
    world.pass_by(0.001)
    assert permit.has_lapsed


def test_no_permit_is_taken_for_a_request_that_could_not_leave() -> None:
    """Connections may break during a long wait: the plan's permits are not spent on set-ups."""
    world = World()
    limiter = world.limiter(Plan(burst=1, daily=1000))
    take(limiter).answered(202)
    asked = []

    def is_ready() -> bool:
        asked.append(world.now)
        return len(asked) == 1

    assert limiter.acquire("POST", is_ready=is_ready) is None
    assert asked == [world.start, pytest.approx(world.start + 10.25)]
    assert limiter.free == 1


def test_without_a_plan_nothing_waits() -> None:
    world = World()
    limiter = world.limiter(None)
    for _ in range(1000):
        take(limiter).answered(202)
    assert world.now == world.start
    assert limiter.share_used == 0.0
    assert limiter.free > 256
    assert limiter.wanted_in_flight == 24
    assert limiter.try_acquire("GET") is not None


def test_a_stop_ends_every_wait_at_once() -> None:
    stop = threading.Event()
    limiter = RateLimiter(Plan(burst=1, daily=10), clock=time.monotonic, stop=stop)
    take(limiter)
    ended: list[float] = []

    def send() -> None:
        with pytest.raises(InterruptedRunError, match="asked to stop"):
            take(limiter)
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
    assert limiter.try_acquire("GET") is None


def test_first_come_first_served() -> None:
    limiter = RateLimiter(Plan(burst=1, daily=1000), clock=time.monotonic, stop=threading.Event())
    served: list[int] = []
    held = threading.Event()

    def send(number: int) -> None:
        permit = limiter.acquire("POST", is_ready=lambda: held.wait(10))
        served.append(number)
        assert permit is not None
        permit.give_back()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(10)]
    for place, thread in enumerate(threads, start=1):
        thread.start()
        wait_until(lambda place=place: limiter.waiting >= place)  # type: ignore[misc]
    assert limiter.try_acquire("GET") is None, "threads wait"
    held.set()
    for thread in threads:
        thread.join(timeout=10)
    assert served == list(range(10))
    assert limiter.try_acquire("GET") is not None


@pytest.mark.parametrize(
    ("plan", "seconds", "wanted"),
    [
        pytest.param("freemium", 0.05, 13, id="quick answers need few"),
        pytest.param("freemium", 0.299, 75, id="75 at 0.3 s"),
        pytest.param("pro", 1.0, 200, id="one for each permit"),
        pytest.param("pro", 10.0, 200, id="as long as answers come before permits"),
        pytest.param("freemium", 20.85, 200, id="answers longer than a permit is occupied"),
        pytest.param("pro", 60.0, 256, id="never more than 256"),
    ],
)
def test_as_many_are_wanted_in_flight_as_use_all_permits(
    plan: str, seconds: float, wanted: int
) -> None:
    world = World()
    limiter = world.limiter(PLANS[plan])
    assert limiter.wanted_in_flight == PLANS[plan].burst, "before anything is known"
    for _ in range(3):
        permit = take(limiter)
        world.pass_by(seconds)
        permit.answered(202)
    assert limiter.wanted_in_flight == wanted


class Away(MemoryStore):
    """A store that cannot be reached for some seconds, or answers slowly."""

    def __init__(self, world: World, *, until: float = 0.0, takes: t.Iterable[float] = ()) -> None:
        super().__init__(world.clock)
        self._world = world
        self._until = world.start + until
        self._takes = iter(takes)

    @override
    def take(self, plan: Plan | None, *, is_spare: bool = False) -> Taken | Wait:
        if self._world.now < self._until:
            message = "The ledger cannot be reached."
            raise TransientError(message)
        taken = super().take(plan, is_spare=is_spare)
        self._world.pass_by(next(self._takes, 0.0))
        return taken


def test_a_ledger_that_is_away_for_a_while_holds_sending_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    store = Away(world, until=20)
    limiter = RateLimiter(PLANS["pro"], clock=world.clock, stop=world, store=store)
    assert limiter.try_acquire("GET") is None
    with caplog.at_level(logging.INFO):
        assert take(limiter).taken_at >= world.start + 20
    assert "The ledger cannot be reached. Nothing is sent meanwhile; trying again" in caplog.text


def test_a_ledger_that_stays_away_ends_the_run_and_never_means_no_limit() -> None:
    world = World()
    store = Away(world, until=HOUR)
    limiter = RateLimiter(
        PLANS["pro"], clock=world.clock, stop=world, store=store, retry_max_seconds=60
    )
    with pytest.raises(LedgerError, match=r"tried for 60 s \('retry_max_seconds'\)"):
        take(limiter)
    assert 60 <= world.now - world.start <= 61


def test_a_permit_that_came_too_late_is_given_back_and_another_one_taken() -> None:
    world = World()
    store = Away(world, takes=[0.01, 0.5, 0.01])
    limiter = RateLimiter(Plan(burst=2, daily=10), clock=world.clock, stop=world, store=store)
    take(limiter)
    assert take(limiter).taken_at == pytest.approx(world.start + 0.51)
    assert limiter.free == 0


def test_a_distant_ledger_that_always_takes_half_a_second_still_lets_requests_leave() -> None:
    world = World()
    store = Away(world, takes=itertools.repeat(0.5))
    limiter = RateLimiter(Plan(burst=5, daily=10), clock=world.clock, stop=world, store=store)
    for _ in range(5):
        assert not take(limiter).has_lapsed
    assert world.now == pytest.approx(world.start + 2.5)
