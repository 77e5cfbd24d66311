"""What waits for a permit, for how long, what the log says of it, and what the server counts."""

from __future__ import annotations

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

from target_mainbrainer.api.limits import PermitStore, Quota, RateLimiter
from target_mainbrainer.errors import InterruptedRunError, LedgerError, TransientError
from target_mainbrainer.settings.declared import PLANS, Plan
from tests.api.simulated_clock import World, most_in, take
from tests.waiting import wait_until

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from target_mainbrainer.api.limits import Permit

HOUR = 3600.0


def test_an_answer_that_never_comes_may_have_been_counted_until_the_end() -> None:
    world = World()
    limiter = world.limiter(Plan(burst=1, daily=1000))
    permit = take(limiter)
    world.pass_by(4)
    limiter.answered(permit, None)
    assert take(limiter).taken_at == pytest.approx(world.start + 4 + 10.25)


@pytest.mark.parametrize(
    ("kind", "status"), [("POST", 400), ("GET", 200)], ids=["a refusal", "something else"]
)
def test_what_is_quick_does_not_make_every_batch_look_late(kind: str, status: int) -> None:
    world = World()
    limiter = world.limiter(Plan(burst=2, daily=1000))
    for one, its_status, seconds in ((kind, status, 0.01), ("POST", 202, 1.0)):
        permit = take(limiter, one)
        world.pass_by(seconds)
        limiter.answered(permit, its_status)
    world.pass_by(20)
    began = world.now
    permits = [take(limiter) for _ in range(2)]
    world.pass_by(1)
    for permit in permits:
        limiter.answered(permit, 202)
    assert take(limiter).taken_at == pytest.approx(began + 10.25)


def test_a_used_up_day_is_a_warning_that_says_when_it_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    limiter = world.limiter(Plan(burst=10, daily=2))
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            limiter.answered(take(limiter), 202)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("The day's 2 requests are used up. Sending resumes at 2")
    assert 24 * HOUR <= world.now - world.start <= 24 * HOUR + 601


def test_a_long_wait_is_logged_and_told_again_after_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    limiter = world.limiter(Plan(burst=1, daily=1000))
    times = []
    with caplog.at_level(logging.INFO):
        for _ in range(14):
            limiter.answered(take(limiter), 202)
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
    limiter.block(4, "MainBrainer asks for it")
    with caplog.at_level(logging.INFO):
        take(limiter)
    assert not caplog.records
    assert limiter.waited_seconds == pytest.approx(4)


@pytest.mark.parametrize("plan", [None, PLANS["freemium"]])
def test_a_hold_makes_everything_wait(plan: Plan | None, caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    limiter = world.limiter(plan)
    limiter.block(12, "MainBrainer answered 429")
    limiter.block(3, "a shorter one changes nothing")
    with caplog.at_level(logging.INFO):
        take(limiter)
    assert world.now - world.start == pytest.approx(12)
    assert "Waiting 12 s before the next request: MainBrainer answered 429." in caplog.text


def test_what_leaves_while_nothing_is_known_counts_whole() -> None:
    """The first requests make their connections, too: they may be counted late."""
    world = World()
    limiter = world.limiter(Plan(burst=2, daily=1000))
    first, second = take(limiter), take(limiter)
    world.pass_by(1)
    limiter.answered(first, 202)
    world.pass_by(0.5)
    limiter.answered(second, 202)
    assert take(limiter).taken_at == pytest.approx(world.start + 11)
    assert take(limiter).taken_at == pytest.approx(world.start + 11.5)


def test_a_permit_is_occupied_for_as_much_longer_as_its_answer_took_longer() -> None:
    world = World()
    limiter = world.limiter(Plan(burst=1, daily=1000))
    for seconds in (0.3, 0.3, 0.8, 0.3):
        permit = take(limiter)
        world.pass_by(seconds)
        limiter.answered(permit, 202)
    taken = take(limiter).taken_at - world.start
    assert taken == pytest.approx(10.3 + 10.25 + 10.75 + 10.25)


def test_a_request_that_found_no_server_leaves_its_permit_as_it_is() -> None:
    world = World()
    limiter = world.limiter(Plan(burst=1, daily=1000))
    permit = take(limiter)
    world.pass_by(5)
    limiter.unsent(permit)
    assert take(limiter).taken_at == pytest.approx(world.start + 10.25)
    assert limiter.stats.requests == 0


def test_without_a_plan_nothing_waits() -> None:
    world = World()
    limiter = world.limiter(None)
    for _ in range(1000):
        limiter.answered(take(limiter), 202)
    assert world.now == world.start
    assert limiter.share_used == 0.0
    assert limiter.wanted_in_flight == 4


def test_without_a_plan_longer_answers_want_more_in_flight() -> None:
    world = World()
    limiter = world.limiter(None)
    assert limiter.wanted_in_flight == 4, "before anything is known"
    permit = take(limiter)
    world.pass_by(0.099)
    limiter.answered(permit, 202)
    assert limiter.wanted_in_flight == 50


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


def test_first_come_first_served() -> None:
    first_may_go = threading.Event()
    served: list[int] = []

    class Gate(threading.Event):
        """Lets no thread wait for the clock before all have come."""

        @override
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout
            return not first_may_go.wait(10)

    limiter = RateLimiter(None, clock=time.monotonic, stop=Gate())
    limiter.block(0.3, "so that the first one waits")

    def send(number: int) -> None:
        limiter.acquire("POST")
        served.append(number)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(10)]
    for place, thread in enumerate(threads, start=1):
        thread.start()
        wait_until(lambda place=place: len(limiter._queue) >= place)  # type: ignore[misc]
    first_may_go.set()
    for thread in threads:
        thread.join(timeout=10)
    assert served == list(range(10))


@pytest.mark.parametrize(
    ("plan", "seconds", "wanted"),
    [
        *(("freemium", 0.05, 13), ("freemium", 0.299, 75), ("freemium", 20.5, 200)),
        *(("pro", 1.0, 200), ("pro", 10.0, 200), ("pro", 60.0, 256)),
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
        limiter.answered(permit, 202)
    assert limiter.wanted_in_flight == wanted


# Never more than the plan allows, as the server counts, and hardly ever less or slower


CHANCE = random.Random(4)


def load(
    plan: Plan,
    count: int,
    *,
    way: Callable[[], float],
    work: Callable[[], float],
    threads: int | None = None,
    setup: float = 0.0,
) -> tuple[float, list[float]]:
    """Send requests; return how long that took, and when the server counted each.

    Args:
        plan: What the server allows.
        count: How many requests to send.
        way: How long a request takes to be counted.
        work: How long the server takes to answer it then.
        threads: How many requests are in flight at most; by default as many as the limiter wants.
        setup: How long the first request on each connection takes longer.
    """
    world = World()
    limiter = world.limiter(plan)
    counted: list[float] = []
    in_flight = connections = 0

    def finish(permit: Permit) -> None:
        nonlocal in_flight
        limiter.answered(permit, 202)
        in_flight -= 1

    for _ in range(count):
        while in_flight >= (threads or limiter.wanted_in_flight):
            world.next_event()
        permit = take(limiter)
        in_flight += 1
        counted.append(world.now + way() + (setup if in_flight > connections else 0.0))
        connections = max(connections, in_flight)
        world.at(counted[-1] + work(), lambda permit=permit: finish(permit))  # type: ignore[misc]
    while in_flight:
        world.next_event()
    return world.now - world.start, sorted(counted)


SHORT = [
    (windows, *one) for windows in (2, 3, 10) for one in ((0.05, 1.1), (0.3, 1.1), (1.0, 1.15))
]


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize(("windows", "seconds", "share"), [*SHORT, (10, 3.0, 1.1)])
def test_a_load_is_about_as_fast_as_the_plan_allows_and_never_beyond_it(
    plan: str, windows: int, seconds: float, share: float
) -> None:
    chance = random.Random(7)
    took, counted = load(
        PLANS[plan],
        windows * PLANS[plan].burst,
        way=lambda: seconds * chance.uniform(0.2, 0.25),
        work=lambda: seconds * chance.uniform(0.78, 0.8),
        setup=0.05,
    )
    assert took <= share * ((windows - 1) * 10 + seconds)
    assert most_in(counted, 10) <= PLANS[plan].burst


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
    _, seen = load(
        Plan(burst=burst, daily=10**6),
        4 * burst + 4,
        threads=threads,
        way=lambda: 0.02 + chance.uniform(0, jitter),
        work=lambda: chance.uniform(0, slowest),
    )
    assert most_in(seen, 10) <= burst


@pytest.mark.parametrize("queued", [0.45, 1.5, 6.0, 14.0])
def test_requests_that_the_server_counts_late_are_given_as_much_more_time(queued: float) -> None:
    """A burst queues in front of a busy server; the first of the next is counted at once."""
    places = itertools.cycle(place * queued / 19 for place in range(20))
    _, seen = load(
        Plan(burst=20, daily=10**6),
        200,
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
        limiter.answered(permit, 202)
    world.pass_by(11)
    began = world.now
    hanging = [take(limiter) for _ in range(20)]
    for place, permit in enumerate(hanging):
        world.at(began + 15 + place / 100, lambda permit=permit: limiter.answered(permit, 202))  # type: ignore[misc]
    later = [take(limiter).taken_at for _ in range(20)]
    assert min(later) >= began + 15 + 10
    assert most_in(sorted([began + 15] * 20 + later), 10) <= 20


def test_answers_that_vary_cost_no_more_than_they_vary_by() -> None:
    """Nothing tells a request that was counted late from one that was worked on for long."""
    _, seen = load(
        PLANS["freemium"],
        31 * PLANS["freemium"].burst,
        threads=200,
        way=lambda: 0.02,
        work=lambda: CHANCE.uniform(0.05, 1.05),
    )
    steady = [when for when in seen if seen[0] + 10 <= when < seen[0] + 310]
    assert len(steady) >= 10 / 10.8 * 30 * PLANS["freemium"].burst


# Permits that come from a ledger, which may be slow or away


T = t.TypeVar("T")
HOUR = 3600.0


class Away(PermitStore):
    """A store that cannot be reached for some seconds."""

    def __init__(self, world: World, *, until: float = 0.0) -> None:
        super().__init__(world.clock)
        self._world = world
        self.until = world.start + until

    @override
    def change(self, action: t.Callable[[Quota, float], T]) -> T:
        if self._world.now < self.until:
            message = "The ledger cannot be reached."
            raise TransientError(message)
        return super().change(action)


def test_a_ledger_that_stays_away_ends_the_run_and_never_means_no_limit() -> None:
    world = World()
    store = Away(world, until=HOUR)
    limiter = RateLimiter(
        PLANS["pro"], clock=world.clock, stop=world, store=store, retry_max_seconds=60
    )
    with pytest.raises(LedgerError, match=r"tried for 60 s \('retry_max_seconds'\)"):
        take(limiter)
    assert 60 <= world.now - world.start <= 61


def test_a_ledger_that_is_away_holds_sending_up_and_is_one_line_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    store = Away(world, until=170)
    limiter = RateLimiter(PLANS["pro"], clock=world.clock, stop=world, store=store)
    assert take(limiter).taken_at >= world.start + 170
    assert (
        "The ledger cannot be reached. Nothing is sent in the meantime; trying again" in caplog.text
    )
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) in (2, 3)


def test_late_answers_and_waits_that_could_not_be_written_count_when_the_ledger_is_back() -> None:
    world = World()
    store = Away(world)
    limiter = RateLimiter(Plan(burst=2, daily=10), clock=world.clock, stop=world, store=store)
    permits = [take(limiter) for _ in range(2)]
    store.until = world.now + 5
    world.pass_by(1)
    limiter.answered(permits[0], 202)
    limiter.answered(permits[1], None)
    limiter.block(10.5, "MainBrainer answered 429")
    world.pass_by(5)
    assert take(limiter).taken_at == pytest.approx(world.start + 11.5), "the wait"
    store.until = 0
    other = RateLimiter(Plan(burst=2, daily=10), clock=world.clock, stop=world, store=store)
    assert other.share_used == 0.5, "until 11.25, both of them"
