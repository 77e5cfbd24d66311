"""Questions about batches take from the plan only what sending leaves."""

from __future__ import annotations

from target_mainbrainer.settings.declared import PLANS, Plan
from tests.api.simulated_clock import World, take


def test_polls_have_only_what_sending_leaves() -> None:
    world = World()
    limiter = world.limiter(Plan(burst=20, daily=1000))
    for _ in range(17):
        limiter.answered(take(limiter), 202)
    assert limiter.try_acquire("GET") is None, "more may be sent at once"
    world.pass_by(1)
    assert limiter.share_used == 0.85
    assert [limiter.try_acquire("GET") is not None for _ in range(4)] == [True] * 3 + [False]
    assert limiter.share_used == 1.0
    world.pass_by(11)
    assert limiter.share_used == 0.0
    assert limiter.try_acquire("GET") is not None


def test_polls_keep_a_tenth_of_the_permits_for_sending_while_it_goes_on() -> None:
    world = World()
    limiter = world.limiter(Plan(burst=20, daily=1000))
    in_flight = take(limiter)
    world.pass_by(10)
    polls = [limiter.try_acquire("GET") is not None for _ in range(20)]
    assert polls.count(True) == 17
    limiter.answered(in_flight, 202)
    for _ in range(2):
        take(limiter)
    assert limiter.waited_seconds == 0


def test_polls_wait_while_sending_goes_as_fast_as_the_plan_allows() -> None:
    """With slow answers the plan seems free at first; what polls take then is missing later."""
    world = World()
    limiter = world.limiter(PLANS["pro"])
    permits = [take(limiter) for _ in range(20)]
    world.pass_by(1)
    assert limiter.share_used == 0.1
    assert limiter.try_acquire("GET") is None
    for permit in permits:
        limiter.answered(permit, 202)
    assert limiter.can_spare, "nothing has been sent for a second"
    assert limiter.try_acquire("GET") is not None


def test_polls_take_nothing_that_the_next_burst_is_about_to_need() -> None:
    """Permits used together become free together, and no thread need wait for one just then."""
    world = World()
    limiter = world.limiter(PLANS["freemium"])
    for _ in range(100):
        limiter.answered(take(limiter), 202)
        world.pass_by(0.002)
    for _ in range(75):  # as many as may be in flight with answers of 0.3 s
        take(limiter)
    world.pass_by(0.24)
    assert limiter.try_acquire("GET") is None


def test_slow_sending_leaves_something_for_polls_also_after_answers() -> None:
    world = World()
    limiter = world.limiter(PLANS["pro"])
    polls = 0
    for _ in range(300):
        permit = take(limiter)
        world.pass_by(1 / 15)
        if (poll := limiter.try_acquire("GET")) is not None:
            polls += 1
            limiter.answered(poll, 200)
        limiter.answered(permit, 202)
    assert polls >= 60
    assert limiter.waited_seconds < 0.2


def test_polls_leave_the_days_last_requests_to_sending() -> None:
    limiter = World().limiter(Plan(burst=200, daily=100))
    for _ in range(99):
        take(limiter)
    assert limiter.try_acquire("GET") is None


def test_a_plan_of_one_request_still_lets_polls_through() -> None:
    assert World().limiter(Plan(burst=1, daily=1000)).try_acquire("GET") is not None
