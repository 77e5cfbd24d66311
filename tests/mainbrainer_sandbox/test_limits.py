"""The documented limits, with a clock that is told the time."""

import datetime as dt
from email.utils import parsedate_to_datetime

from mainbrainer_sandbox.limits import Limiter
from mainbrainer_sandbox.switches import Switches
from tests.cases import cases
from tests.mainbrainer_sandbox.crm import A, B, Clock, Crm


def refusal(limiter: Limiter, burst: int, daily: int | None = None) -> tuple[str, float] | None:
    """Take a permit; return which limit refuses it, and for how long."""
    exceeded = limiter.take("t", burst, daily)
    return None if exceeded is None else (exceeded.limit, exceeded.retry_after)


@cases(
    "plan burst daily",
    ("freemium", 100, 250_000),
    ("starter", 150, 500_000),
    ("pro", 200, 1_000_000),
)
def test_plans_have_the_documented_limits(clock: Clock, plan: str, burst: int, daily: int) -> None:
    """Section 9."""
    assert Switches().changed(plan=plan).limits() == (burst, daily)
    limiter = Limiter(clock)
    assert [refusal(limiter, burst, daily) for _ in range(burst)] == [None] * burst
    assert refusal(limiter, burst, daily)
    assert limiter.take("other", burst, daily) is None, "each token has limits of its own"


def test_the_burst_holds_in_any_ten_seconds(clock: Clock) -> None:
    limiter = Limiter(clock)
    for wait in (0, 4, 5, 1):
        clock.time += wait
        assert refusal(limiter, 3) is None
    assert refusal(limiter, 3)


def test_refused_calls_count(clock: Clock) -> None:
    """It is stricter so; which it is, is unknown."""
    limiter = Limiter(clock)
    assert refusal(limiter, 1) is None
    clock.time += 5
    assert refusal(limiter, 1) == ("burst", 10.0)


def test_the_day_ends_at_midnight(clock: Clock) -> None:
    limiter = Limiter(clock)
    clock.time = dt.datetime(2026, 6, 1, 23, 59, 30, tzinfo=dt.UTC).timestamp()
    assert [refusal(limiter, 100, 1) for _ in range(2)] == [None, ("daily", 30.0)]
    clock.time += 30
    assert refusal(limiter, 100, 1) is None


def test_a_daily_limit_of_choice_is_answered_429(crm: Crm) -> None:
    crm.sandbox.set_switches(daily=1)
    assert crm.single(**A).status_code == 202
    refused = crm.single(**B)
    assert refused.status_code == 429
    assert "daily" in refused.json()["message"]


@cases("form", "seconds", "date", "none")
def test_a_429_says_when_to_come_back(crm: Crm, clock: Clock, form: str) -> None:
    crm = crm.another(plan="freemium", burst=2, retry_after=form, now=clock)
    answers = [crm.single(email=f"{number}@example.com") for number in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    header = answers[2].headers.get("Retry-After", "")
    assert bool(header) is (form != "none")
    later = clock.time + int(header or 10) if form != "date" else None
    clock.time = later or parsedate_to_datetime(header).timestamp()
    assert crm.single(**A).status_code == 202
    assert len(crm.contacts()) == 3


def test_status_polls_count_and_the_page_does_not(crm: Crm, clock: Clock) -> None:
    crm = crm.another(burst=2, now=clock)
    accepted = crm.batch(A)
    assert crm.get("/").status_code == 200
    assert crm.status(accepted)["statusText"] == "Completed"
    assert crm.single(**B).status_code == 429
