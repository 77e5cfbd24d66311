"""Permits that come from a ledger, which may be slow or away."""

from __future__ import annotations

import itertools
import logging
import typing as t

import pytest
from typing_extensions import override

from target_mainbrainer.api.limits import MemoryStore, RateLimiter
from target_mainbrainer.config.limits import PLANS, Plan
from target_mainbrainer.errors import LedgerError, TransientError
from tests.api.simulated_clock import World, take

if t.TYPE_CHECKING:
    from target_mainbrainer.api.limits import Taken, Wait

HOUR = 3600.0


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
