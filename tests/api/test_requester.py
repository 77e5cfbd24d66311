"""Faults that another try mends, and how long it is tried."""

from __future__ import annotations

import datetime as dt
import threading
import time

import pytest

from target_mainbrainer import errors
from target_mainbrainer.api import http
from target_mainbrainer.api.rate_limit import RateLimiter
from target_mainbrainer.api.responses import Accepted
from tests.api.helpers import (
    BODY,
    ECHO,
    NOON,
    Connect,
    FakeTime,
    Serve,
    failure,
    in_http,
)
from tests.broken_server import OK, Reply, reply, script


def test_an_endless_answer_does_not_eat_the_memory(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "MOST_BYTES", 1_000_000)
    crm = serve(Reply(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<", then="repeat"))
    message = failure(errors.ProtocolError, lambda: connect(crm).post_batch(BODY, size=1))
    assert "'text/html' that is not MainBrainer's" in message


def test_giving_up_says_what_was_asked_and_what_came_back(
    serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    crm = serve(reply(503, {"message": ECHO}))
    message = failure(
        errors.TransientError,
        lambda: connect(crm, retry_max_seconds=100).post_batch(BODY, size=1),
    )
    assert message == (
        f"POST /contacts/batch was given up after {len(crm.requests)} tries in 100 s. The last "
        "one: MainBrainer answered 503 Service Unavailable to POST /contacts/batch. "
        "'retry_max_seconds' is 100."
    )
    assert sum(fake.waits) == pytest.approx(100)


def test_a_server_that_is_not_there(serve: Serve, connect: Connect) -> None:
    crm = serve(OK)
    client = connect(crm, retry_max_seconds=0)
    crm.__exit__()
    message = failure(errors.TransientError, lambda: client.post_batch(BODY, size=1))
    assert f"The connection to {crm.host} failed on POST /contacts/batch: refused." in message
    assert message.startswith("POST /contacts/batch was given up after 1 try in 0 s.")


def test_a_stop_ends_a_pause_at_once(serve: Serve, connect: Connect, fake: FakeTime) -> None:
    crm = serve(reply(500))
    stop = threading.Event()
    client = connect(crm, stop=stop)

    def stop_soon() -> None:
        while client.stats.retries < 1:
            time.sleep(0.01)
        stop.set()

    threading.Thread(target=stop_soon).start()
    message = failure(errors.InterruptedRunError, lambda: client.post_batch(BODY, size=1))
    assert "asked to stop" in message
    del fake


@pytest.mark.parametrize(
    ("headers", "at_least"),
    [
        pytest.param({}, 10, id="nothing said"),
        pytest.param({"Retry-After": "25"}, 25, id="seconds"),
        pytest.param(
            {"Retry-After": in_http(NOON + dt.timedelta(seconds=40)), "Date": in_http(NOON)},
            40,
            id="a date, by the server's clock",
        ),
        pytest.param({"Retry-After": "soon"}, 10, id="nonsense"),
    ],
)
def test_after_a_429_everything_waits(
    headers: dict[str, str], at_least: float, serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    crm = serve(script(reply(429, {"message": "slow"}, headers=headers)))
    rate_limiter = RateLimiter(None, clock=fake.clock, stop=fake)
    client = connect(crm, rate_limiter=rate_limiter)
    began = fake.now
    assert client.post_batch(BODY, size=1) == Accepted(batch_id="ce2c2e48")
    assert at_least <= fake.now - began <= at_least + 2.001
    assert rate_limiter.waited_seconds == pytest.approx(fake.now - began)
    assert client.stats.paused_seconds == 0, "the wait is everybody's, not this request's"


def test_a_429_to_one_thread_holds_the_others(
    serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    crm = serve(reply(429))
    rate_limiter = RateLimiter(None, clock=fake.clock, stop=fake)
    client = connect(crm, retry_max_seconds=0, rate_limiter=rate_limiter)
    failure(errors.TransientError, lambda: client.post_batch(BODY, size=1))
    assert rate_limiter.try_acquire("GET /contacts/{id}/Status") is None
    assert client.batch_status("ce2c2e48") is None
    assert len(crm.requests) == 1


def test_a_server_that_asks_for_too_much_time_ends_it_at_once(
    serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    crm = serve(reply(429, headers={"Retry-After": "7200"}))
    message = failure(errors.TransientError, lambda: connect(crm).post_batch(BODY, size=1))
    assert "It asks to wait 7200 s, which is more than is left of 'retry_max_seconds' (600)." in (
        message
    )
    assert "The day's number of requests may be used up" in message
    assert not fake.waits
    assert len(crm.requests) == 1


def test_a_503_that_says_when_is_not_asked_earlier(
    serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    connect(serve(script(reply(503, headers={"Retry-After": "30"})))).post_batch(BODY, size=1)
    assert 30 <= sum(fake.waits) <= 32
