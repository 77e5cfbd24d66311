"""Bytes there and back: real sockets, a server that breaks HTTP, and what another try mends."""

import contextlib
import datetime as dt
import gzip
import json
import logging
import socket
import ssl
import typing as t
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import processes
from target_mainbrainer import errors
from target_mainbrainer.api import http
from target_mainbrainer.api.answers import Accepted, Refused
from target_mainbrainer.api.http import Endpoint, Transport, seconds_asked
from target_mainbrainer.api.limits import pause_before_retry
from tests import broken_server as server
from tests.api.helpers import ACCEPTED, BATCH, BODY, CREDENTIALS, ECHO, TOKEN, Api, SlowLimiter
from tests.broken_server import OK, Reply, Request, reply, script
from tests.loads import cases

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def accepted(api: Api, to: t.Any, **settings: t.Any) -> Accepted:
    """Send a batch, which is accepted, and return how."""
    answer = api.client(to, **settings).send_batch(*BATCH)
    assert isinstance(answer, Accepted)
    return answer


def test_connections_are_kept_and_cookies_are_not(api: Api) -> None:
    body = json.dumps(server.ACCEPTED).encode()
    chunked = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    answers = script(
        reply(202, server.ACCEPTED, headers={"Set-Cookie": "session=1"}),
        reply(202, gzip.compress(body), headers={"Content-Encoding": "gzip"}),
        Reply(b"HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked),
        *(reply(422, {"message": "no"}), reply(204)),
    )
    client = api.client(answers)
    got = [client.send_batch(*BATCH) for _ in range(10)]
    refused = got.pop(3)
    assert isinstance(refused, Refused)
    assert refused.words == (422, "no")
    assert got == [ACCEPTED] * 3 + [Accepted()] + [ACCEPTED] * 5
    assert api.crm.connections == 1
    assert not any("cookie" in request.headers for request in api.crm.requests)


@cases(
    "fault",
    *(reply(500, {"message": ECHO}), reply(503), reply(408), server.RESET, server.GONE),
    reply(502, b"<html>Bad gateway</html>", content_type="text/html"),
    *(server.HALF, server.HALF_RESET, server.CUT_JSON, server.NOISE),
    *(Reply(b'HTTP/1.1 202 Odd\r\n\r\n{"status": "Succ', then="close"), server.BAD_GZIP),
    Reply(b"HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{", then="close"),
    ids=lambda fault: f"{fault.raw[:30]!r} {len(fault.raw)} {fault.then}",
)
def test_a_fault_is_asked_again(api: Api, fault: Reply) -> None:
    found = accepted(api, script(fault, fault))
    assert (found.batch_id, found.follows_lost_answer) == ("ce2c2e48", True)
    assert [request.body for request in api.crm.requests] == [BODY] * 3
    assert len(api.world.waits) == 2


@cases("fault", reply(429), reply(401))
def test_what_was_not_accepted_for_sure_is_not_applied_twice(api: Api, fault: Reply) -> None:
    issue = api.issue_tokens()
    found = accepted(api, lambda r: fault if r.number == 1 else issue(r), **CREDENTIALS)
    assert not found.follows_lost_answer


def test_a_connection_that_ended_meanwhile_is_made_again(api: Api) -> None:
    """Servers close idle connections, and a plan's window is longer than many wait."""
    client = api.client(OK)
    for _ in range(3):
        assert client.send_batch(*BATCH) == ACCEPTED
        api.crm.drop_connections()
    assert (api.crm.connections, client.limiter.retries) == (3, 0)


def test_a_stall_is_a_lost_answer(api: Api) -> None:
    stalls = script(server.STALL, Reply(OK.raw[:-20], then="stall"))
    assert accepted(api, stalls, request_timeout_seconds=1).follows_lost_answer
    assert len(api.crm.requests) == 3


@cases("raw", OK.raw, CONTINUE + OK.raw, CONTINUE * 99, ids=["body", "headers", "announcements"])
def test_an_answer_that_trickles_in_is_a_lost_answer(api: Api, raw: bytes) -> None:
    """The part of it after the first empty line comes byte by byte."""
    endpoint = Endpoint("GET", "/x", api.serve(Reply(raw, pause=0.05)).url)
    with contextlib.closing(Transport(user_agent="x", timeout_seconds=1)) as slow:
        said = api.fails(errors.TransientError, lambda: slow.send(endpoint))
    assert said == "No complete response to GET /x within 1 s."


def test_an_answer_is_cut_before_it_eats_the_memory(api: Api) -> None:
    """A packed one like any other."""
    api.patch.setattr(http, "MOST_BYTES", 1_000_000)
    bomb = gzip.compress(b" " * 50_000_000)
    crm = api.serve(reply(500, bomb, headers={"Content-Encoding": "gzip"}))
    with contextlib.closing(Transport(user_agent="x", timeout_seconds=5)) as careful:
        assert len(careful.send(Endpoint("GET", "/x", crm.url)).body) == 1_000_000
    endless = Reply(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<", then="repeat")
    message = api.fails(errors.ProtocolError, api.client(endless))
    assert "'text/html' that is not MainBrainer's" in message


def test_netrc_does_not_replace_the_token(api: Api, tmp_path: Path) -> None:
    trap = tmp_path / ".netrc"
    trap.write_text("machine 127.0.0.1 login mallory password x\ndefault login m password m\n")
    trap.chmod(0o600)
    api.patch.setenv("HOME", str(tmp_path))
    api.patch.setenv("NETRC", str(trap))
    crm = api.serve(api.issue_tokens())
    for settings in ({}, CREDENTIALS):
        api.client(crm, **settings).send_batch(*BATCH)
    tokens = [request.headers.get("authorization") for request in crm.requests]
    assert tokens == [f"Bearer {TOKEN}", None, "Bearer issued-token-1"]


def test_proxies_are_honoured_but_not_for_this_machine(api: Api) -> None:
    proxy, crm = api.serve(OK), api.serve(OK)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        api.patch.setenv(name, proxy.url)
    accepted(api, crm)
    assert not proxy.requests
    accepted(api, crm, api_url="http://crm.example.com")
    assert proxy.requests[0].path == "http://crm.example.com/contacts/batch"
    proxy.__exit__()
    gone = api.client(crm, api_url="http://crm.example.com", retry_max_seconds=0)
    message = api.fails(errors.TransientError, gone)
    assert "The connection to the environment's proxy for crm.example.com failed" in message
    for name in ("http_proxy", "all_proxy"):
        api.patch.setenv(name, "socks5h://u:password@127.0.0.1:1")
    message = api.fails(errors.ProtocolError, api.client(crm, api_url="http://crm.example.com"))
    assert message.endswith("'user_agent' and the proxies in the environment, which must be HTTP.")


@cases("token", "line\nbreak", "a b", "gänse", "“quoted”")
def test_a_token_that_cannot_be_sent_is_not_quoted(api: Api, token: str) -> None:
    crm = api.serve(reply(200, {"access_token": token}))
    given = api.fails(errors.AuthError, lambda: api.client(crm, access_token=token))
    issued = api.fails(errors.AuthError, api.client(crm, **CREDENTIALS))
    assert token not in given + issued


def test_nothing_that_was_asked_for_before_the_machine_slept_leaves_after_it(api: Api) -> None:
    moments = iter([0.0, 3600.0])
    api.patch.setattr(http, "seconds_awake_or_asleep", lambda: next(moments, 3600.0))
    client = api.client(OK)
    assert client.send_batch(*BATCH) == ACCEPTED, "which may not be applied twice"
    assert (api.crm.connections, len(api.crm.requests), client.limiter.retries) == (2, 1, 1)


# --- Certificates


def test_a_certificate_is_verified_by_the_authorities_that_the_environment_names(api: Api) -> None:
    """That it cannot be verified is no passing trouble.

    The authorities are read once for all connections: the usual ones take 45 ms to read, and a
    load begins with up to 200 connections.
    """
    loaded: list[object] = []
    load = ssl.SSLContext.load_verify_locations

    def count(self: ssl.SSLContext, *files: t.Any, **options: t.Any) -> None:
        loaded.append(files)
        load(self, *files, **options)

    with processes.server(setup=0.01) as crm:
        endpoint = Endpoint("POST", "/contacts/batch", f"{crm.url}/contacts/batch")

        def send() -> int:
            with contextlib.closing(Transport(user_agent="x", timeout_seconds=9)) as transport:
                return transport.send(endpoint, b"{}").status

        message = api.fails(errors.ProtocolError, send)
        assert message.startswith(f"The certificate of {endpoint.host} cannot be verified, so no")
        assert crm.seen()["batches"] == []
        api.patch.setenv("REQUESTS_CA_BUNDLE", crm.certificate)
        api.patch.setattr(ssl.SSLContext, "load_verify_locations", count)
        assert [send() for _ in range(3)] == [202] * 3
    assert len(loaded) == 1


@cases("path", "/not-there", __file__)
def test_a_bundle_without_authorities_ends_a_run_at_once(api: Api, path: str) -> None:
    """Trying again for ten minutes would not help, and nothing was sent."""
    api.patch.setenv("REQUESTS_CA_BUNDLE", path)
    message = api.fails(errors.SettingsError, api.client(OK, api_url="https://127.0.0.1:9"))
    assert message.startswith("REQUESTS_CA_BUNDLE (or CURL_CA_BUNDLE) names no certificates")


# What another try mends, and how long it is tried


def test_a_server_that_is_not_there_has_counted_nothing(api: Api) -> None:
    """But every try is a retry, so that progress shows the outage."""
    limiter = SlowLimiter(api.world, seconds=0)
    client = api.client(OK, limiter=limiter, retry_max_seconds=30)
    api.crm.__exit__()
    message = api.fails(errors.TransientError, client)
    failed = f"The connection to {api.crm.host} failed on POST /contacts/batch"
    assert f"{failed}: Connection refused." in message
    assert message.startswith("POST /contacts/batch was given up after ")
    assert client.limiter.requests.total() == 0
    assert client.limiter.retries == len(api.world.waits) > 1
    assert (limiter.statuses, limiter.taken) == ([], len(api.world.waits) + 1)


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
    # Absurd times are none, or long ones.
    *((f"Fri, 01 May 2026 12:00:00 {zone}", None) for zone in ("+9999999999", "-99999")),
    *((odd, None) for odd in ("Fri, 01 May 99999 12:00:00 GMT", "Fri, 99 May 2026 99:99:99 GMT")),
    *(("Fri, 01 May 9999 23:59:59 -2359", 251_603_668_739), ("1e400", None)),
    *(("Fri, 01 May 0001 00:00:00 +2359", 0), ("\u0661\u0662", None)),
    ids=lambda value: str(value)[:40],
)
def test_retry_after_is_read_leniently(header: str | None, seconds: float | None) -> None:
    assert seconds_asked(header, NOON) == seconds


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
