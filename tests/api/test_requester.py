"""Faults that another try mends, and how long it is tried."""

import datetime as dt
import logging
import socket
import typing as t
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer import errors
from target_mainbrainer.api.http import seconds_asked
from target_mainbrainer.api.limits import pause_before_retry
from tests import broken_server as server
from tests.api.helpers import ACCEPTED, BATCH, CREDENTIALS, ECHO, Api, SlowLimiter
from tests.broken_server import OK, Reply, Request, reply, script
from tests.loads import cases


def test_giving_up_names_request_and_answer(api: Api) -> None:
    client = api.client(reply(503, {"message": ECHO}), retry_max_seconds=100)
    message = api.fails(errors.TransientError, client)
    assert message == (
        f"POST /contacts/batch was given up after {len(api.crm.requests)} tries in 100 s. The last "
        "one: MainBrainer answered 503 Service Unavailable to POST /contacts/batch. "
        "'retry_max_seconds' is 100."
    )
    assert sum(api.world.waits) == pytest.approx(100)


def test_a_server_that_is_not_there_has_counted_nothing(api: Api) -> None:
    """But every try is a retry, so that progress shows the outage."""
    limiter = SlowLimiter(api.world, seconds=0)
    client = api.client(OK, limiter=limiter, retry_max_seconds=30)
    api.crm.__exit__()
    message = api.fails(errors.TransientError, client)
    assert (
        f"The connection to {api.crm.host} failed on POST /contacts/batch: Connection refused."
        in message
    )
    assert message.startswith("POST /contacts/batch was given up after ")
    assert client.limiter.requests.total() == 0
    assert client.limiter.retries == len(api.world.waits) > 1
    assert (limiter.statuses, limiter.unused) == ([], limiter.taken)


@cases(
    "status headers at_least",
    *((429, {}, 10), (429, {"Retry-After": "25"}, 25), (429, {"Retry-After": "soon"}, 10)),
    (503, {"Retry-After": "30"}, 30),
)
def test_retry_after_is_kept(api: Api, status: int, headers: t.Any, at_least: float) -> None:
    """After a 429 everything waits for the limiter."""
    limiter = api.world.limiter()
    client = api.client(script(reply(status, headers=headers)), limiter=limiter)
    assert client.send_batch(*BATCH) == ACCEPTED
    assert at_least <= api.world.passed <= at_least + 2.001
    assert limiter.waited_seconds == pytest.approx(api.world.passed if status == 429 else 0)


def test_a_server_that_asks_for_too_much_time_ends_it_at_once(api: Api) -> None:
    client = api.client(reply(429, headers={"Retry-After": "7200"}))
    message = api.fails(errors.TransientError, client)
    assert "It asks to wait 7200 s. 'retry_max_seconds' is 600." in message
    assert "The day's number of requests may be used up" in message
    assert (api.world.waits, len(api.crm.requests)) == ([], 1)


# --- Time and tries


def test_time_spent_in_requests_counts(api: Api) -> None:
    """`retry_max_seconds` is a promise about time, not about pauses."""

    def answer(_: Request) -> Reply:
        api.world.now += 40
        return reply(503)

    message = api.fails(errors.TransientError, api.client(answer, retry_max_seconds=100))
    assert len(api.crm.requests) == 3
    assert "was given up after 3 tries in 12" in message


def test_a_wait_for_permits_is_no_failure(api: Api) -> None:
    limiter = SlowLimiter(api.world, seconds=500)
    client = api.client(script(reply(503), reply(503)), limiter=limiter, retry_max_seconds=100)
    assert client.send_batch(*BATCH) == ACCEPTED
    assert len(api.crm.requests) == 3


def test_every_permit_is_answered(api: Api) -> None:
    """Also those with which tokens are created."""
    limiter = SlowLimiter(api.world, seconds=40)
    client = api.client(api.issue_tokens(lifetime=50), limiter=limiter, **CREDENTIALS)
    for _ in range(5):
        client.send_batch(*BATCH)
    assert len(api.crm.requests) == len(limiter.statuses) == limiter.taken
    assert set(limiter.statuses) == {200, 202}
    limiter = SlowLimiter(api.world, seconds=0)
    api.client(script(server.RESET), limiter=limiter).send_batch(*BATCH)
    assert limiter.statuses == [None, 202], "a connection has failed"


def test_the_second_retry_is_one_warning(api: Api) -> None:
    """A second retry in a row is a warning, once for all threads."""
    api.client(script(*[reply(503)] * 3)).send_batch(*BATCH)
    told = [r.levelno for r in api.log.records if "Trying again in" in r.getMessage()]
    assert told == [logging.DEBUG, logging.WARNING, logging.DEBUG]
    api.world.now += 60
    api.in_threads(10, api.client(reply(503), retry_max_seconds=8))
    warnings = [r for r in api.log.records if r.levelno == logging.WARNING]
    assert len(warnings) in range(1 + 1, 1 + 10)


# --- The check


@cases("credentials", {}, CREDENTIALS)
def test_the_check_fails_at_once_without_a_server(api: Api, credentials: t.Any) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "made up")

    client = api.client(OK, **credentials)
    api.crm.__exit__()
    assert "refused. Check 'api_url'" in api.fails(errors.UnreachableError, client.check)
    client = api.client(api.crm, api_url="https://crm.example.com", **credentials)
    api.patch.setattr(socket, "getaddrinfo", unknown)
    message = api.fails(errors.UnreachableError, client.check)
    assert message.startswith("The connection to crm.example.com failed on ")
    assert "made up. Check 'api_url'" in message
    assert not api.world.waits


# How long to wait before the next try


def test_the_policy_jitters_up_to_its_limit() -> None:
    lost = errors.TransientError("lost")
    pauses = [pause_before_retry(lost, tries=n, spent=0, limit=600) or 0.0 for n in range(1, 40)]
    assert all(0 <= pause <= 60 for pause in pauses)
    assert len(set(pauses)) > 30
    assert pause_before_retry(lost, tries=9, spent=599, limit=600, jitter=float) == 1
    assert pause_before_retry(lost, tries=9, spent=600, limit=600) is None


NOON = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
PAST, LATER = (format_datetime(NOON + dt.timedelta(seconds=n), usegmt=True) for n in (-9, 25))


@cases(
    "header seconds",
    *((None, None), ("0", 0), ("-5", None), ("9" * 5000, None), (PAST, 0), (LATER, 25)),
    ids=lambda value: str(value)[:40],
)
def test_retry_after_is_read_leniently(header: str | None, seconds: float | None) -> None:
    assert seconds_asked(header, NOON) == seconds


@cases(
    "header",
    *["Fri, 01 May 2026 12:00:00 +9999999999", "Fri, 01 May 2026 12:00:00 -99999"],
    *["Fri, 01 May 9999 23:59:59 -2359", "Fri, 01 May 0001 00:00:00 +2359"],
    *["Fri, 01 May 99999 12:00:00 GMT", "Fri, 99 May 2026 99:99:99 GMT"],
    *["1e400", "\u0661\u0662"],
)
def test_an_absurd_time_is_no_time_or_a_long_one(header: str) -> None:
    seconds = seconds_asked(header, NOON)
    assert seconds is None or seconds == 0 or seconds > 365 * 86_400


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ [+-]?\d+"))
def test_no_header_breaks_the_reading(header: str) -> None:
    seconds = seconds_asked(header, NOON)
    assert seconds is None or seconds >= 0


@cases("kind asked", (errors.TransientError, 30.0), (errors.TooManyRequestsError, None))
def test_retry_after_gets_jitter(kind: type[errors.TransientError], asked: float | None) -> None:
    """Two seconds of jitter at most are added to the server's pause."""
    error, floor = kind("busy", retry_after=asked), asked or 10.0
    options: dict[str, t.Any] = {"spent": 0, "limit": 600, "jitter": float}
    pauses = [pause_before_retry(error, tries=tries, **options) for tries in (1, 2, 12)]
    assert pauses == [floor + 1, floor + 2, floor + 2]
