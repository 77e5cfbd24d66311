"""What waits for a permit, for how long, and what the log says of it."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from target_mainbrainer.api.limits import RateLimiter
from target_mainbrainer.errors import InterruptedRunError
from target_mainbrainer.settings.declared import PLANS, Plan
from tests.api.simulated_clock import World, take
from tests.waiting import wait_until

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
    assert limiter.try_acquire("GET") is None
    with caplog.at_level(logging.INFO):
        take(limiter)
    assert world.now - world.start == pytest.approx(12)
    assert "Waiting 12 s before the next request: MainBrainer answered 429." in caplog.text
    assert limiter.try_acquire("GET") is not None


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
    assert limiter.can_spare
    assert limiter.wanted_in_flight == 4
    assert limiter.try_acquire("GET") is not None


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
    assert limiter.try_acquire("GET") is None


def test_first_come_first_served() -> None:
    first_may_go, stop = threading.Event(), threading.Event()
    served: list[int] = []

    class Gate:
        """Lets no thread wait for the clock before all have come."""

        is_set = stop.is_set

        def wait(self, timeout: float | None = None) -> bool:
            assert timeout
            return not first_may_go.wait(10)

    limiter = RateLimiter(None, clock=time.monotonic, stop=Gate())
    limiter.hold(0.3, "so that the first one waits")

    def send(number: int) -> None:
        limiter.acquire("POST")
        served.append(number)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(10)]
    for place, thread in enumerate(threads, start=1):
        thread.start()
        wait_until(lambda place=place: len(limiter._queue) >= place)  # type: ignore[misc]
    assert limiter.try_acquire("GET") is None, "threads wait"
    first_may_go.set()
    for thread in threads:
        thread.join(timeout=10)
    assert served == list(range(10))
    assert limiter.try_acquire("GET") is not None


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
