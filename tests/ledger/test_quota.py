"""The rules that say when a request may be sent; the limiter's tests have the rest."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from target_mainbrainer.api.limits import OCCUPIED_SECONDS, SLICE_SECONDS, Quota, Wait
from target_mainbrainer.settings.declared import Plan

HOUR = 3600.0
PLANS = st.builds(Plan, burst=st.integers(1, 20), daily=st.just(10**6))


def most_in(taken: list[float], window: float) -> int:
    return max(sum(start <= at < start + window for at in taken) for start in taken)


def take_all(quota: Quota, plan: Plan, now: float) -> int:
    """Take what there is, and return how much that was."""
    taken = 0
    while not isinstance(quota.take(plan, now), Wait):
        taken += 1
    return taken


@given(st.lists(st.tuples(st.floats(0, 15), PLANS), min_size=1, max_size=80))
@settings(deadline=None)
def test_a_plan_that_changes_is_kept_to_from_then_on(asked: list[tuple[float, Plan]]) -> None:
    quota, now = Quota(), 0.0
    taken: list[float] = []
    for pause, plan in asked:
        now += pause
        before = sum(at > now - 10 for at in taken)
        granted = take_all(quota, plan, now)
        taken += [now] * granted
        assert granted == 0 or before + granted <= plan.burst


@given(st.lists(st.floats(0, 5 * HOUR), min_size=1, max_size=60), st.integers(1, 25))
@settings(max_examples=50, deadline=None)
def test_the_days_number_is_kept_in_any_24_hours(gaps: list[float], daily: int) -> None:
    quota, plan = Quota(), Plan(burst=1000, daily=daily)
    now = 0.0
    taken: list[float] = []
    for gap in gaps:
        now += gap
        while isinstance(wait := quota.take(plan, now), Wait):
            assert wait.seconds > 0
            now += wait.seconds
        taken.append(now)
    assert most_in(taken, 24 * HOUR) <= daily
    # On the safe side, but not by more than one slice a day.
    assert now <= sum(gaps) + (24 * HOUR + SLICE_SECONDS + 1) * len(gaps) / daily


def test_the_record_stays_small_however_many_requests_a_day() -> None:
    quota, plan = Quota(), Plan(burst=200, daily=1_000_000)
    for number in range(60_000):
        assert not isinstance(quota.take(plan, number * 5.0), Wait)
    assert len(quota.occupied) <= 200
    assert len(quota.slices) <= 24 * HOUR / SLICE_SECONDS + 2


def test_a_permit_is_extended_only_as_long_as_it_is_in_use() -> None:
    quota, plan = Quota(), Plan(burst=1, daily=1000)
    first = quota.take(plan, 0.0)
    assert first == OCCUPIED_SECONDS
    second = quota.take(plan, 11.0)
    assert second == 11.0 + OCCUPIED_SECONDS
    quota.extend(first, 90.0)
    wait = quota.take(plan, 12.0)
    assert wait == Wait(second - 12.0, "the plan's limit of requests in 10 seconds")
    quota.extend(second, 2.0)
    assert quota.in_use(second + 1.9) == 1
    assert quota.in_use(second + 2.0) == 0


@pytest.mark.parametrize("step", [-HOUR, -100 * HOUR, -1.0])
def test_a_clock_that_was_set_back_stretches_no_wait(step: float) -> None:
    quota, plan = Quota(), Plan(burst=5, daily=7)
    now = 1_000_000.0
    assert take_all(quota, plan, now) == 5
    quota.block(8, "MainBrainer answered 429", now)
    now += step
    wait = quota.take(plan, now)
    assert isinstance(wait, Wait)
    assert wait.seconds <= 8
    assert isinstance(quota.take(plan, now + 9), Wait)
    assert take_all(quota, plan, now + OCCUPIED_SECONDS) == 2, "the rest of the day's seven"
    assert take_all(quota, plan, now + 24 * HOUR + SLICE_SECONDS + 1) == 5


def test_a_longer_wait_stays_in_force() -> None:
    quota = Quota()
    quota.block(5, "MainBrainer answered 429", 1.0)
    quota.block(2, "shorter", 2.0)
    for plan in (None, Plan(burst=5, daily=30)):
        assert quota.take(plan, 2.0) == Wait(4.0, "MainBrainer answered 429")
    assert quota.take(None, 6.0) == 6.0
