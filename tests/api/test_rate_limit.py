"""What waits for a permit, for how long, what is logged, and what the server counts."""

import itertools
import logging
import random
import re
import threading
import time
import typing as t
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from target_mainbrainer.api.limits import Permit, PermitStore, Quota, RateLimiter
from target_mainbrainer.errors import InterruptedRunError, LedgerError
from target_mainbrainer.settings.declared import PLANS, Plan
from tests.api.helpers import BATCH, Api, World, most_in
from tests.broken_server import OK, Reply, Request
from tests.loads import cases

HOUR = 3600.0
T = t.TypeVar("T")
Time: t.TypeAlias = Callable[[], float]
Counted: t.TypeAlias = tuple[float, list[float]]


def begin(burst: int = 0, daily: int = 1000, *, plan: str = "") -> tuple[World, RateLimiter]:
    """Return a clock, and a limiter with these limits, with a plan's or with none."""
    world = World()
    limits = PLANS[plan] if plan else Plan(burst=burst, daily=daily) if burst else None
    return world, world.limiter(limits)


def send(world: World, limiter: RateLimiter, *seconds: float, **answer: t.Any) -> None:
    """Send requests one after the other, which are answered after so many seconds each."""
    for answered_after in seconds:
        permit = limiter.acquire(answer.get("kind", "POST"))
        world.pass_by(answered_after)
        limiter.answered(permit, answer.get("status", 202))


@cases(
    "burst story taken_at",
    pytest.param(1, "take 4 lost take", 14.25, id="an answer that never comes: until the end"),
    # The first requests make their connections, too: they may be counted late.
    pytest.param(2, "take take 1 202 .5 202 take", 11, id="whole while nothing is known"),
    pytest.param(2, "take take 1 202 .5 202 take take", 11.5, id="whole, of the second one"),
    pytest.param(
        *(1, "take .3 202 take .3 202 take .8 202 take .3 202 take", 10.3 + 10.25 + 10.75 + 10.25),
        id="as much longer as its answer took longer",
    ),
    pytest.param(2, "take 5 take unsent take", 10.25, id="as it is if there was no server"),
    # What is quick does not make every batch look late.
    pytest.param(2, "take .01 400 take 1 202 20 take take 1 202 202 take", 31.26, id="a refusal"),
    pytest.param(2, "ask .01 200 take 1 202 20 take take 1 202 202 take", 31.26, id="no batch"),
)
def test_a_permit_is_occupied_for_so_long(burst: int, story: str, taken_at: float) -> None:
    """A story is of requests, seconds, and answers to the first that has none; `ask` is a GET."""
    world, limiter = begin(burst=burst)
    permits: list[Permit] = []
    for word in story.split():
        if word in {"take", "ask"}:
            permits.append(limiter.acquire("GET" if word == "ask" else "POST"))
        elif word == "unsent":
            limiter.unsent(permits.pop(0))
        elif word == "lost" or (len(word) == 3 and word.isdecimal()):
            limiter.answered(permits.pop(0), None if word == "lost" else int(word))
        else:
            world.pass_by(float(word))
    assert world.passed == pytest.approx(taken_at)


def test_what_waits_for_the_lease_leaves_with_a_permit_of_that_moment(api: Api) -> None:
    """Its wait was taken for an answer's usual time, and another request came too soon: year 1031.

    The first answer takes three seconds, and the second request waits for as long.
    """
    came: list[float] = []

    def answer(_: Request) -> Reply:
        came.append(api.world.passed)
        if len(came) == 1:
            api.world.pass_by(3)
        return OK

    client = api.client(answer, Plan(1, 9), may_send=lambda: not 12 < api.world.passed < 16)
    for _ in range(3):
        client.send_batch(*BATCH)
    assert came[1] >= 16
    assert came[2] - came[1] >= 10


def test_a_used_up_day_is_a_warning_with_its_end(caplog: pytest.LogCaptureFixture) -> None:
    """The warning names the seconds until sending resumes."""
    world, limiter = begin(burst=10, daily=2)
    send(world, limiter, 0, 0, 0)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    said = r"Waiting 8.,... s before the next request: the day's requests are used up, until "
    assert re.match(said, record.getMessage())
    assert 24 * HOUR <= world.passed <= 24 * HOUR + 601


def test_a_long_wait_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """A long wait is logged again after a minute."""
    world, limiter = begin(burst=1)
    times = []
    with caplog.at_level(logging.INFO):
        for _ in range(14):
            send(world, limiter, 0)
            times.append(len(caplog.records))
    waiting = "Waiting 10 s before the next request: the plan's limit of requests in 10 seconds."
    assert {(r.levelno, r.getMessage()) for r in caplog.records} == {(logging.INFO, waiting)}
    assert times == [0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3]
    assert limiter.waited_seconds == pytest.approx(13 * 10.25)


@cases("plan", "", "freemium")
def test_a_block_makes_all_requests_wait(plan: str, caplog: pytest.LogCaptureFixture) -> None:
    """A short block is not logged."""
    world, limiter = begin(plan=plan)
    with caplog.at_level(logging.INFO):
        limiter.block(4, "MainBrainer asks for it")
        limiter.acquire("POST")
        assert caplog.text == ""
        assert limiter.waited_seconds == pytest.approx(4)
        limiter.block(12, "MainBrainer answered 429")
        limiter.block(3, "a shorter one changes nothing")
        limiter.acquire("POST")
    assert world.passed == pytest.approx(4 + 12)
    assert "Waiting 12 s before the next request: MainBrainer answered 429." in caplog.text


def test_the_share_of_the_plan_in_use_is_that_of_the_last_ten_seconds() -> None:
    world, limiter = begin(burst=20)
    send(world, limiter, *[0] * 15)
    assert limiter.share_used == 0.75
    world.pass_by(10.5)
    assert limiter.share_used == 0
    send(world, limiter, 0)
    assert limiter.share_used == 0.05


def test_a_stop_ends_every_wait_at_once() -> None:
    stop = threading.Event()
    limiter = RateLimiter(Plan(burst=1, daily=10), clock=time.monotonic, stop=stop)
    limiter.acquire("POST")
    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(limiter.acquire, "POST") for _ in range(20)]
        began = time.monotonic()
        stop.set()
        errors = [one.exception() for one in waiting]
    assert [type(error) for error in errors] == [InterruptedRunError] * 20
    assert "asked to stop" in str(errors[0])
    assert time.monotonic() - began < 9, "a permit is free after ten seconds"


# Never more than the plan allows, as the server counts, and hardly ever less or slower


def load(plan: Plan, count: int, way: Time, work: Time, **more: t.Any) -> Counted:
    """Send requests; return how long that took, and when the server counted each.

    Args:
        plan: What the server allows.
        count: How many requests to send.
        way: How long a request takes to be counted.
        work: How long the server takes to answer it then.
        **more: How many requests are in flight at most (`threads`), by default as many as
            there may be; and how long the first one on each connection takes longer (`setup`).
    """
    world, threads, setup = World(), more.get("threads", 256), more.get("setup", 0.0)
    limiter = world.limiter(plan)
    counted: list[float] = []
    in_flight = connections = 0

    def finish(permit: Permit) -> None:
        nonlocal in_flight
        limiter.answered(permit, 202)
        in_flight -= 1

    for _ in range(count):
        while in_flight >= threads:
            world.next_event()
        permit = limiter.acquire("POST")
        in_flight += 1
        counted.append(world.now + way() + (setup if in_flight > connections else 0.0))
        connections = max(connections, in_flight)
        world.at(counted[-1] + work(), lambda permit=permit: finish(permit))  # type: ignore[misc]
    while in_flight:
        world.next_event()
    return world.passed, sorted(counted)


SHORT = [(n, *one) for n in (2, 10) for one in ((0.05, 1.1), (0.3, 1.1), (1.0, 1.15))]


@cases("plan", *PLANS)
@cases("windows seconds share", *SHORT, (10, 3.0, 1.1))
def test_a_load_uses_the_whole_plan(plan: str, windows: int, seconds: float, share: float) -> None:
    """A load is about as fast as the plan allows and never beyond it."""
    chance = random.Random(7)
    way, work = (0.2, 0.25), (0.78, 0.8)
    took, counted = load(
        PLANS[plan],
        windows * PLANS[plan].burst,
        way=lambda: seconds * chance.uniform(*way),
        work=lambda: seconds * chance.uniform(*work),
        setup=0.05,
    )
    assert took <= share * ((windows - 1) * 10 + seconds)
    assert most_in(counted, 10) <= PLANS[plan].burst


@given(
    *(st.integers(1, 40), st.integers(1, 60), st.floats(0, 0.25), st.floats(0.001, 3)),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60)
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


TWENTY = Plan(burst=20, daily=10**6)


@cases("queued", 0.45, 1.5, 6.0, 14.0)
def test_requests_that_the_server_counts_late_are_given_as_much_more_time(queued: float) -> None:
    """A burst queues in front of a busy server; the first of the next is counted at once."""
    places = itertools.cycle(place * queued / 19 for place in range(20))
    _, seen = load(TWENTY, 200, threads=20, way=lambda: 0.01 + next(places), work=lambda: 0.1)
    assert most_in(seen, 10) <= 20


def test_a_server_that_hangs_for_15_seconds_does_not_find_two_bursts_afterwards() -> None:
    """It counts all that has piled up at the moment when it goes on."""
    world = World()
    limiter = world.limiter(TWENTY)
    send(world, limiter, *[0.1] * 5)  # so that what an answer usually takes is known
    world.pass_by(11)
    began = world.now
    for place in range(20):
        permit = limiter.acquire("POST")
        world.at(began + 15 + place / 100, lambda permit=permit: limiter.answered(permit, 202))  # type: ignore[misc]
    later = [limiter.acquire("POST").taken_at for _ in range(20)]
    assert sorted(later) == pytest.approx([began + 15 + 10] * 20, abs=0.5)
    assert most_in(sorted([began + 15] * 20 + later), 10) <= 20


def test_answers_that_vary_cost_no_more_than_they_vary_by() -> None:
    """A request that was counted late looks like one that was worked on for long."""
    plan, chance = PLANS["freemium"], random.Random(4)
    work = lambda: chance.uniform(0.05, 1.05)  # noqa: E731
    _, seen = load(plan, 31 * plan.burst, threads=200, way=lambda: 0.02, work=work)
    steady = [when for when in seen if seen[0] + 10 <= when < seen[0] + 310]
    assert len(steady) >= 10 / 10.8 * 30 * plan.burst


# Permits that come from a ledger, which may be slow or away


class Away(PermitStore):
    """A store that cannot be reached for some seconds, which a change that waits waits for."""

    def __init__(self, world: World, *, until: float = 0.0) -> None:
        super().__init__(world.clock)
        self._world = world
        self.until = world.start + until

    @override
    def change(self, action: t.Callable[[Quota, float], T], *, waits: bool = True) -> T:
        if self._world.now < self.until:
            if not waits:
                message = "The ledger cannot be reached."
                raise LedgerError(message)
            self._world.pass_by(self.until - self._world.now)
        return super().change(action)


def test_late_answers_and_waits_that_could_not_be_written_count_when_the_ledger_is_back() -> None:
    world, plan = World(), Plan(burst=2, daily=10)
    store = Away(world)
    limiter = world.limiter(plan, store=store)
    permits = [limiter.acquire("POST") for _ in range(2)]
    store.until = world.now + 5
    world.pass_by(1)
    limiter.answered(permits[0], 202)
    limiter.answered(permits[1], None)
    limiter.block(10.5, "MainBrainer answered 429")
    world.pass_by(5)
    assert limiter.acquire("POST").taken_at == pytest.approx(world.start + 11.5), "the wait"
    assert limiter.share_used == 0.5, "until 11.25, both of them"
