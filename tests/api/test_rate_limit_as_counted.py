"""Never more than the plan allows, as the server counts, and hardly ever less or slower."""

from __future__ import annotations

import itertools
import random
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from target_mainbrainer.settings.declared import PLANS, Plan
from tests.api.simulated_clock import World, most_in, take

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from target_mainbrainer.api.limits import Permit


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
