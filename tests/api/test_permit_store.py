"""Permits that come from a ledger, which may be slow or away."""

from __future__ import annotations

import logging
import typing as t

import pytest
from typing_extensions import override

from target_mainbrainer.api.limits import MemoryStore, Quota, RateLimiter
from target_mainbrainer.errors import LedgerError, TransientError
from target_mainbrainer.settings.declared import PLANS, Plan
from tests.api.simulated_clock import World, take

T = t.TypeVar("T")
HOUR = 3600.0


class Away(MemoryStore):
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


def test_a_ledger_that_is_away_for_a_while_holds_sending_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    store = Away(world, until=20)
    limiter = RateLimiter(PLANS["pro"], clock=world.clock, stop=world, store=store)
    assert limiter.try_acquire("GET") is None
    with caplog.at_level(logging.INFO):
        assert take(limiter).taken_at >= world.start + 20
    assert (
        "The ledger cannot be reached. Nothing is sent in the meantime; trying again" in caplog.text
    )


def test_a_ledger_that_stays_away_ends_the_run_and_never_means_no_limit() -> None:
    world = World()
    store = Away(world, until=HOUR)
    limiter = RateLimiter(
        PLANS["pro"], clock=world.clock, stop=world, store=store, retry_max_seconds=60
    )
    with pytest.raises(LedgerError, match=r"tried for 60 s \('retry_max_seconds'\)"):
        take(limiter)
    assert 60 <= world.now - world.start <= 61


def test_an_outage_of_the_ledger_is_one_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    store = Away(world, until=170)
    limiter = RateLimiter(PLANS["pro"], clock=world.clock, stop=world, store=store)
    take(limiter)
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
    limiter.hold(10.5, "MainBrainer answered 429")
    world.pass_by(5)
    assert take(limiter).taken_at == pytest.approx(world.start + 11.5), "the wait"
    store.until = 0
    other = RateLimiter(Plan(burst=2, daily=10), clock=world.clock, stop=world, store=store)
    assert other.share_used == 0.5, "until 11.25, both of them"
