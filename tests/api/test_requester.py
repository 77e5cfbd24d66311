"""Faults that another try mends, and how long it is tried."""

from __future__ import annotations

import datetime as dt
import logging
import socket
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer import errors
from target_mainbrainer.api import http
from target_mainbrainer.api.answers import Accepted
from target_mainbrainer.api.http import seconds_asked
from target_mainbrainer.api.limits import RateLimiter, pause_before_retry
from tests import broken_server as server
from tests.api.helpers import (
    BATCH,
    CREDENTIALS,
    ECHO,
    NOON,
    Connect,
    FakeTime,
    Serve,
    SlowLimiter,
    failure,
    in_http,
    in_threads,
    issue_tokens,
)
from tests.broken_server import OK, Reply, Request, reply, script

if t.TYPE_CHECKING:
    from collections.abc import Callable


def test_an_endless_answer_does_not_eat_the_memory(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "MOST_BYTES", 1_000_000)
    crm = serve(Reply(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<", then="repeat"))
    message = failure(errors.ProtocolError, lambda: connect(crm).send_batch(*BATCH))
    assert "'text/html' that is not MainBrainer's" in message


def test_giving_up_says_what_was_asked_and_what_came_back(
    serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    crm = serve(reply(503, {"message": ECHO}))
    message = failure(
        errors.TransientError,
        lambda: connect(crm, retry_max_seconds=100).send_batch(*BATCH),
    )
    assert message == (
        f"POST /contacts/batch was given up after {len(crm.requests)} tries in 100 s. The last "
        "one: MainBrainer answered 503 Service Unavailable to POST /contacts/batch. "
        "'retry_max_seconds' is 100."
    )
    assert sum(fake.waits) == pytest.approx(100)


def test_a_server_that_is_not_there_has_counted_nothing(
    serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    """But every try is a retry, so that progress can say that there is an outage."""
    crm = serve(OK)
    limiter = SlowLimiter(fake, seconds=0)
    client = connect(crm, rate_limiter=limiter, retry_max_seconds=30)
    crm.__exit__()
    message = failure(errors.TransientError, lambda: client.send_batch(*BATCH))
    assert f"The connection to {crm.host} failed on POST /contacts/batch: refused." in message
    assert message.startswith("POST /contacts/batch was given up after ")
    assert client.stats.requests == 0
    assert client.stats.retries == len(fake.waits) > 1
    assert (limiter.statuses, limiter.unused) == ([], limiter.taken)


@pytest.mark.parametrize(
    ("headers", "at_least"),
    [
        *(({}, 10), ({"Retry-After": "25"}, 25), ({"Retry-After": "soon"}, 10)),
    ],
)
def test_after_a_429_everything_waits(
    headers: dict[str, str], at_least: float, serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    crm = serve(script(reply(429, {"message": "slow"}, headers=headers)))
    rate_limiter = RateLimiter(None, clock=fake.clock, stop=fake)
    client = connect(crm, rate_limiter=rate_limiter)
    began = fake.now
    assert client.send_batch(*BATCH) == Accepted(batch_id="ce2c2e48")
    assert at_least <= fake.now - began <= at_least + 2.001
    assert rate_limiter.waited_seconds == pytest.approx(fake.now - began)


def test_a_429_to_one_thread_holds_the_others(
    serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    crm = serve(reply(429))
    rate_limiter = RateLimiter(None, clock=fake.clock, stop=fake)
    client = connect(crm, retry_max_seconds=0, rate_limiter=rate_limiter)
    failure(errors.TransientError, lambda: client.send_batch(*BATCH))
    began = fake.now
    client.batch_status("ce2c2e48")
    assert fake.now - began >= 10


def test_a_server_that_asks_for_too_much_time_ends_it_at_once(
    serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    crm = serve(reply(429, headers={"Retry-After": "7200"}))
    message = failure(errors.TransientError, lambda: connect(crm).send_batch(*BATCH))
    assert "It asks to wait 7200 s. 'retry_max_seconds' is 600." in message
    assert "The day's number of requests may be used up" in message
    assert not fake.waits
    assert len(crm.requests) == 1


def test_a_503_that_says_when_is_not_asked_earlier(
    serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    connect(serve(script(reply(503, headers={"Retry-After": "30"})))).send_batch(*BATCH)
    assert 30 <= sum(fake.waits) <= 32


# --- Time and tries


def slowly(fake: FakeTime, seconds: float, answer: Reply) -> Callable[[Request], Reply]:
    """Answer after a time by the client's clock, which moves during requests, too."""

    def wait(_: Request) -> Reply:
        fake.now += seconds
        return answer

    return wait


def test_time_spent_in_requests_counts(serve: Serve, connect: Connect, fake: FakeTime) -> None:
    """`retry_max_seconds` is a promise about time, not about pauses."""
    crm = serve(slowly(fake, 40, reply(503)))
    client = connect(crm, retry_max_seconds=100)
    message = failure(errors.TransientError, lambda: client.send_batch(*BATCH))
    assert len(crm.requests) == 3
    assert "was given up after 3 tries in 12" in message


def test_a_wait_for_permits_is_no_failure(serve: Serve, connect: Connect, fake: FakeTime) -> None:
    rate_limiter = SlowLimiter(fake, seconds=500)
    crm = serve(script(reply(503), reply(503)))
    client = connect(crm, rate_limiter=rate_limiter, retry_max_seconds=100)
    assert client.send_batch(*BATCH) == Accepted(batch_id="ce2c2e48")
    assert len(crm.requests) == 3


def test_every_permit_is_answered(serve: Serve, connect: Connect, fake: FakeTime) -> None:
    """Also those with which tokens are created."""
    rate_limiter = SlowLimiter(fake, seconds=40)
    crm = serve(issue_tokens(lifetime=50))
    client = connect(crm, rate_limiter=rate_limiter, **CREDENTIALS)
    for _ in range(5):
        client.send_batch(*BATCH)
    assert len(crm.requests) == len(rate_limiter.statuses) == rate_limiter.taken
    assert set(rate_limiter.statuses) == {200, 202}
    rate_limiter = SlowLimiter(fake, seconds=0)
    connect(serve(script(server.RESET)), rate_limiter=rate_limiter).send_batch(*BATCH)
    assert rate_limiter.statuses == [None, 202], "a connection has failed"


def test_a_retry_that_follows_another_is_a_warning_once_for_all_threads(
    serve: Serve, connect: Connect, fake: FakeTime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    crm = serve(script(*[reply(503)] * 3, after=OK))
    connect(crm).send_batch(*BATCH)
    told = [r.levelno for r in caplog.records if "Trying again in" in r.getMessage()]
    assert told == [logging.DEBUG, logging.WARNING, logging.DEBUG]
    caplog.clear()
    fake.now += 60
    crm.answer = script(after=reply(503))
    client = connect(crm, retry_max_seconds=8)
    in_threads(10, lambda: client.send_batch(*BATCH))
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) in range(1, 10)


# --- The check


@pytest.mark.parametrize("credentials", [{}, CREDENTIALS])
def test_the_check_tells_at_once_that_there_is_no_server(
    credentials: dict[str, str],
    serve: Serve,
    connect: Connect,
    fake: FakeTime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "made up")

    crm = serve(OK)
    crm.__exit__()
    message = failure(errors.UnreachableError, connect(crm, **credentials).check)
    assert "refused. Check 'api_url'" in message
    client = connect(crm, api_url="https://crm.example.com", **credentials)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    message = failure(errors.UnreachableError, client.check)
    assert message.startswith("The connection to crm.example.com failed on ")
    assert "the host's name cannot be resolved. Check 'api_url'" in message
    assert not fake.waits


def test_the_check_gives_up_on_a_token_endpoint_as_well(
    serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    began = fake.now
    failure(errors.TransientError, connect(serve(reply(503)), **CREDENTIALS).check)
    assert fake.now <= began + 31


# How long to wait before the next try


def test_the_policy_jitters_up_to_its_limit() -> None:
    lost = errors.TransientError("lost")
    pauses = [pause_before_retry(lost, tries=n, spent=0, limit=600) or 0.0 for n in range(1, 40)]
    assert all(0 <= pause <= 60 for pause in pauses)
    assert len(set(pauses)) > 30
    assert pause_before_retry(lost, tries=9, spent=599, limit=600, jitter=float) == 1
    assert pause_before_retry(lost, tries=9, spent=600, limit=600) is None
    assert pause_before_retry(errors.AuthError("no"), tries=1, spent=0, limit=600) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        *((None, None), ("0", 0), ("-5", None), ("9" * 5000, None)),
        (in_http(NOON - dt.timedelta(seconds=9)), 0),
    ],
    ids=lambda value: str(value)[:40],
)
def test_retry_after_is_read_leniently(header: str | None, seconds: float | None) -> None:
    assert seconds_asked(header, NOON) == seconds


@pytest.mark.parametrize(
    "header",
    [
        "Fri, 01 May 2026 12:00:00 +9999999999",
        "Fri, 01 May 2026 12:00:00 -99999",
        "Fri, 01 May 9999 23:59:59 -2359",
        "Fri, 01 May 0001 00:00:00 +2359",
        "Fri, 01 May 99999 12:00:00 GMT",
        "Fri, 99 May 2026 99:99:99 GMT",
        "1e400",
        "\u0661\u0662",
    ],
)
def test_an_absurd_time_is_no_time_or_a_long_one(header: str) -> None:
    seconds = seconds_asked(header, NOON)
    assert seconds is None or seconds == 0 or seconds > 365 * 86_400


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ [+-]?\d+"))
def test_no_header_breaks_the_reading(header: str) -> None:
    seconds = seconds_asked(header, NOON)
    assert seconds is None or seconds >= 0


def test_what_a_server_asks_for_gets_two_seconds_of_jitter_at_most() -> None:
    for kind, asked in ((errors.TransientError, 30.0), (errors.TooManyRequestsError, None)):
        error = kind("busy", retry_after=asked)
        floor = asked or 10.0
        for tries, seconds in ((1, floor + 1), (2, floor + 2), (12, floor + 2)):
            pause = pause_before_retry(error, tries=tries, spent=0, limit=600, jitter=float)
            assert pause == seconds
