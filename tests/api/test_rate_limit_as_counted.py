"""Never more than the plan allows, as the server counts, and hardly ever less."""

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
        limiter.answered(permit, 202)
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
        limiter.answered(permit, 202)
    world.pass_by(11)
    began = world.now
    hanging = [take(limiter) for _ in range(20)]
    for place, permit in enumerate(hanging):
        world.at(began + 15 + place / 100, lambda permit=permit: limiter.answered(permit, 202))  # type: ignore[misc]
    later = [take(limiter).taken_at for _ in range(20)]
    assert min(later) >= began + 15 + 10
    assert most_in(sorted([began + 15] * 20 + later), 10) <= 20


@pytest.mark.parametrize(
    ("plan", "latency"),
    [("freemium", 0.3), ("starter", 0.5), ("pro", 3.0)],
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
        seconds=320,
        threads=200,
        way=lambda: 0.02,
        work=lambda: CHANCE.uniform(0.05, 1.05),
    )
    steady = [when for when in seen if seen[0] + 10 <= when < seen[0] + 310]
    assert len(steady) >= 10 / 10.8 * 30 * PLANS["freemium"].burst
