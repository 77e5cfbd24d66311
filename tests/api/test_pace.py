"""A load takes hardly longer than the plan's limits ask for, and never goes beyond them."""

from __future__ import annotations

import random
import typing as t

import pytest

from target_mainbrainer.settings.declared import PLANS
from tests.api.simulated_clock import World, most_in, take

if t.TYPE_CHECKING:
    from target_mainbrainer.api.limits import Permit


SETUP_SECONDS = 0.05


def load(plan: str, *, windows: int, seconds: float) -> tuple[float, list[float]]:
    """Send so many windows' requests; return how long that took, and when each was counted.

    As many are in flight as the limiter wants. The first on each connection sets it up.
    """
    chance = random.Random(7)
    world = World()
    limiter = world.limiter(PLANS[plan])
    in_flight = connections = 0
    counted: list[float] = []

    def finish(permit: Permit) -> None:
        nonlocal in_flight
        limiter.answered(permit, 202)
        in_flight -= 1

    for _ in range(windows * PLANS[plan].burst):
        while in_flight >= limiter.wanted_in_flight:
            world.next_event()
        permit = take(limiter)
        in_flight += 1
        setup = SETUP_SECONDS if in_flight > connections else 0.0
        connections = max(connections, in_flight)
        counted.append(world.now + setup + seconds * chance.uniform(0.2, 0.25))
        answered = world.now + setup + seconds * chance.uniform(1.0, 1.02)
        world.at(answered, lambda permit=permit: finish(permit))  # type: ignore[misc]
    while in_flight:
        world.next_event()
    return world.now - world.start, sorted(counted)


@pytest.mark.parametrize("windows", [2, 3, 10])
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize(
    ("seconds", "share"),
    [
        pytest.param(0.05, 1.10, id="50 ms"),
        pytest.param(0.3, 1.10, id="300 ms"),
        pytest.param(1.0, 1.15, id="1 s"),
    ],
)
def test_a_load_is_about_as_fast_as_the_plan_allows(
    plan: str, windows: int, seconds: float, share: float
) -> None:
    took, counted = load(plan, windows=windows, seconds=seconds)
    ideal = (windows - 1) * 10 + seconds
    assert took <= share * ideal
    assert most_in(counted, 10) <= PLANS[plan].burst
