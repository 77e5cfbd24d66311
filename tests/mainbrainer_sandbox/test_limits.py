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

    from tests.mainbrainer_sandbox.conftest import Client


class Clock:
    """Both clocks: seconds since some time, and since the epoch."""

    def __init__(self, start: float = 1_795_000_000.0) -> None:
        self.time = start

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("plan", "burst", "daily"),
    [("freemium", 100, 250_000), ("starter", 150, 500_000), ("pro", 200, 1_000_000)],
)
def test_plans_have_the_documented_limits(clock: Clock, plan: str, burst: int, daily: int) -> None:
    """Section 9."""
    switches = Switches().changed(plan=plan)
    assert switches.limits() == (burst, daily)
    limiter = Limiter(clock, clock)
    assert all(limiter.take("t", switches) is None for _ in range(burst))
    assert limiter.take("t", switches) is not None
    assert limiter.take("other", switches) is None


def test_the_burst_holds_in_any_ten_seconds(clock: Clock) -> None:
    limiter, switches = Limiter(clock, clock), Switches(burst=3, limit_refused="free")
    for wait in (0, 4, 5):
        clock.time += wait
        assert limiter.take("t", switches) is None
    exceeded = limiter.take("t", switches)
    assert exceeded is not None
    assert (exceeded.limit, exceeded.retry_after) == ("burst", 1.0)
    clock.time += exceeded.retry_after
    assert limiter.take("t", switches) is None
    assert limiter.take("t", switches) is not None


def test_a_fixed_window_lets_two_bursts_through_around_its_edge(clock: Clock) -> None:
    limiter, switches = Limiter(clock, clock), Switches(burst=3, limit_window="fixed")
    clock.time = 9.0
    assert all(limiter.take("t", switches) is None for _ in range(3))
    exceeded = limiter.take("t", switches)
    assert exceeded is not None
    assert exceeded.retry_after == 1.0
    clock.time = 10.0
    assert all(limiter.take("t", switches) is None for _ in range(3))


def test_refused_calls_count_unless_they_are_free(clock: Clock) -> None:
    for policy, wait in (("count", 10.0), ("free", 5.0)):
        limiter, switches = Limiter(clock, clock), Switches().changed(burst=1, limit_refused=policy)
        assert limiter.take("t", switches) is None
        clock.time += 5
        exceeded = limiter.take("t", switches)
        assert exceeded is not None
        assert exceeded.retry_after == wait


def test_the_day_ends_at_the_accounts_midnight(clock: Clock) -> None:
    oslo = Switches(daily=1, burst=100, account_time_zone="Europe/Oslo")
    limiter = Limiter(clock, clock)
    clock.time = dt.datetime(2026, 6, 1, 21, 59, 30, tzinfo=dt.UTC).timestamp()
    assert limiter.take("t", oslo) is None
    exceeded = limiter.take("t", oslo)
    assert exceeded is not None
    assert (exceeded.limit, exceeded.retry_after) == ("daily", 30.0)
    clock.time += 30
    assert limiter.take("t", oslo) is None


@pytest.mark.parametrize("form", ["seconds", "date", "none"])
def test_a_429_says_when_to_come_back(make: Callable[..., Client], clock: Clock, form: str) -> None:
    crm = make(plan="freemium", burst=2, retry_after=form, clock=clock, now=clock)
    for number in range(2):
        assert crm.single(email=f"{number}@example.com").status_code == 202
    refused = crm.single(email="c@example.com")
    assert refused.status_code == 429
    header = refused.headers.get("Retry-After")
    if form == "none":
        assert header is None
        clock.time += 10
    elif form == "seconds":
        assert header is not None
        clock.time += int(header)
    else:
        assert header is not None
        clock.time = parsedate_to_datetime(header).timestamp()
    assert crm.single(email="c@example.com").status_code == 202
    assert len(crm.contacts()) == 3


def test_status_polls_count_and_the_page_does_not(
    make: Callable[..., Client], clock: Clock
) -> None:
    crm = make(burst=2, clock=clock, now=clock)
    accepted = crm.batch({"email": "a@example.com"})
    assert crm.get("/").status_code == 200
    assert crm.status(accepted)["statusText"] == "Completed"
    assert crm.single(email="b@example.com").status_code == 429


def test_tokens_expire(make: Callable[..., Client], clock: Clock) -> None:
    crm = make(clock=clock, now=clock, expires_in="seconds")
    known = crm.sandbox.credentials
    body = {
        "userName": known.username,
        "password": known.password,
        "privateToken": known.private_token,
    }
    lifetimes = {}
    for validity in ("Default", "ShortLive", "LongLive", None):
        answer = crm.post("/token", {**body, "validity": validity}).json()
        lifetimes[validity] = answer["expires_in"]
    assert lifetimes == {"Default": 7200, "ShortLive": 600, "LongLive": 2_592_000, None: 7200}
    bearer = {"Authorization": f"Bearer {crm.post('/token', body).json()['access_token']}"}
    clock.time += 7199
    assert crm.post("/contacts/insertupdate", {"email": "a@example.com"}, headers=bearer).ok
    clock.time += 1
    late = crm.post("/contacts/insertupdate", {"email": "a@example.com"}, headers=bearer)
    assert late.status_code == 401


def test_tokens_can_be_made_to_expire(crm: Client) -> None:
    crm.sandbox.set_switches(token_lifetime_seconds=60, expires_in="seconds")
    known = crm.sandbox.credentials
    answer = crm.post(
        "/token",
        {
            "username": known.username,
            "password": known.password,
            "privatetoken": known.private_token,
        },
    ).json()
    assert answer["expires_in"] == 60
    bearer = {"Authorization": f"Bearer {answer['access_token']}"}
    assert crm.post("/contacts/insertupdate", {"email": "a@example.com"}, headers=bearer).ok
    crm.sandbox.expire_tokens()
    assert crm.single(email="a@example.com").ok
    again = crm.post("/contacts/insertupdate", {"email": "a@example.com"}, headers=bearer)
    assert again.status_code == 401
    crm.sandbox.expire_tokens(run_token=True)
    assert crm.single(email="a@example.com").status_code == 401
