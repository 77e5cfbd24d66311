"""Bytes there and back: real sockets, and a server that breaks HTTP."""

import contextlib
import gzip
import json
import ssl
import threading
import typing as t
from pathlib import Path

import pytest

from benchmarks import processes
from target_mainbrainer import errors
from target_mainbrainer.api import http
from target_mainbrainer.api.answers import Accepted, Refused
from target_mainbrainer.api.http import Endpoint, Transport
from tests import broken_server as server
from tests.api.helpers import ACCEPTED, BATCH, BODY, CREDENTIALS, ECHO, TOKEN, Api
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


def test_twenty_threads_have_a_connection_each(api: Api) -> None:
    together = threading.Barrier(20, timeout=60)

    def answer(_: Request) -> Reply:
        together.wait()
        return OK

    client = api.client(answer)
    for _ in range(5):
        assert api.in_threads(20, client) == []
    assert (len(api.crm.requests), api.crm.connections) == (100, 20)
    assert not any("pool is full" in line for line in api.log.messages)


@cases(
    "fault",
    *(reply(500, {"message": ECHO}), reply(503), reply(408), server.RESET, server.GONE),
    reply(502, b"<html>Bad gateway</html>", content_type="text/html"),
    *(server.HALF, server.HALF_RESET, server.CUT_JSON, server.NOISE),
    *(server.unframed(b'{"status": "Succ'), server.BAD_GZIP),
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


# --- What stays behind


def test_an_error_does_not_remember_the_request(api: Api) -> None:
    client = api.client(server.RESET, retry_max_seconds=0)
    with pytest.raises(errors.TransientError) as caught:
        client.send_batch(*BATCH)
    error: BaseException | None = caught.value
    while error is not None:
        assert type(error).__module__ == "target_mainbrainer.errors"
        error = error.__cause__ or error.__context__
