"""The documented limits, with a clock that is told the time."""

from __future__ import annotations

import datetime as dt
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest

from mainbrainer_sandbox.limits import Limiter
from mainbrainer_sandbox.switches import Switches

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.mainbrainer_sandbox.conftest import Client, Clock


@pytest.mark.parametrize(
    ("plan", "burst", "daily"),
    [("freemium", 100, 250_000), ("starter", 150, 500_000), ("pro", 200, 1_000_000)],
)
def test_plans_have_the_documented_limits(clock: Clock, plan: str, burst: int, daily: int) -> None:
    """Section 9."""
    switches = Switches().changed(plan=plan)
    assert switches.limits() == (burst, daily)
    limiter = Limiter(clock)
    assert all(limiter.take("t", burst, daily) is None for _ in range(burst))
    assert limiter.take("t", burst, daily) is not None
    assert limiter.take("other", burst, daily) is None, "each token has limits of its own"


def test_the_burst_holds_in_any_ten_seconds(clock: Clock) -> None:
    limiter = Limiter(clock)
    for wait in (0, 4, 5):
        clock.time += wait
        assert limiter.take("t", 3, None) is None
    clock.time += 1
    assert limiter.take("t", 3, None) is None
    assert limiter.take("t", 3, None) is not None


def test_refused_calls_count(clock: Clock) -> None:
    """It is stricter so; which it is, is unknown."""
    limiter = Limiter(clock)
    assert limiter.take("t", 1, None) is None
    clock.time += 5
    exceeded = limiter.take("t", 1, None)
    assert exceeded is not None
    assert (exceeded.limit, exceeded.retry_after) == ("burst", 10.0)


def test_the_day_ends_at_midnight(clock: Clock) -> None:
    limiter = Limiter(clock)
    clock.time = dt.datetime(2026, 6, 1, 23, 59, 30, tzinfo=dt.UTC).timestamp()
    assert limiter.take("t", 100, 1) is None
    exceeded = limiter.take("t", 100, 1)
    assert exceeded is not None
    assert (exceeded.limit, exceeded.retry_after) == ("daily", 30.0)
    clock.time += 30
    assert limiter.take("t", 100, 1) is None


def test_a_daily_limit_of_choice_is_answered_429(make: Callable[..., Client]) -> None:
    crm = make(daily=1)
    assert crm.single(email="a@example.com").status_code == 202
    refused = crm.single(email="b@example.com")
    assert refused.status_code == 429
    assert "daily" in refused.json()["message"]


@pytest.mark.parametrize("form", ["seconds", "date", "none"])
def test_a_429_says_when_to_come_back(make: Callable[..., Client], clock: Clock, form: str) -> None:
    crm = make(plan="freemium", burst=2, retry_after=form, now=clock)
    for number in range(2):
        assert crm.single(email=f"{number}@example.com").status_code == 202
    refused = crm.single(email="c@example.com")
    assert refused.status_code == 429
    header = refused.headers.get("Retry-After", "")
    assert bool(header) is (form != "none")
    if form == "date":
        clock.time = parsedate_to_datetime(header).timestamp()
    else:
        clock.time += int(header or 10)
    assert crm.single(email="c@example.com").status_code == 202
    assert len(crm.contacts()) == 3


def test_status_polls_count_and_the_page_does_not(
    make: Callable[..., Client], clock: Clock
) -> None:
    crm = make(burst=2, now=clock)
    accepted = crm.batch({"email": "a@example.com"})
    assert crm.get("/").status_code == 200
    assert crm.status(accepted)["statusText"] == "Completed"
    assert crm.single(email="b@example.com").status_code == 429
