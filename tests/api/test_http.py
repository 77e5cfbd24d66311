"""Bytes there and back: real sockets, and a server that breaks HTTP."""

from __future__ import annotations

import gc
import gzip
import json
import logging
import ssl
import threading
import time
import tracemalloc
import typing as t

import pytest

from benchmarks import processes
from target_mainbrainer import errors
from target_mainbrainer.api import http
from target_mainbrainer.api.answers import Accepted, Refused
from target_mainbrainer.api.http import Endpoint, Transport
from tests import broken_server as server
from tests.api.helpers import (
    BATCH,
    BODY,
    CREDENTIALS,
    ECHO,
    TOKEN,
    Certificate,
    Connect,
    FakeTime,
    Listener,
    Serve,
    failure,
    in_threads,
    issue_tokens,
)
from tests.broken_server import OK, Reply, Request, reply, script

if t.TYPE_CHECKING:
    from pathlib import Path


def test_connections_are_kept_and_cookies_are_not(serve: Serve, connect: Connect) -> None:
    body = json.dumps(server.ACCEPTED).encode()
    chunked = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    crm = serve(
        script(
            reply(202, server.ACCEPTED, headers={"Set-Cookie": "session=1"}),
            reply(202, gzip.compress(body), headers={"Content-Encoding": "gzip"}),
            Reply(b"HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked),
            reply(422, {"message": "no"}),
            reply(204),
        )
    )
    client = connect(crm)
    answers = [client.send_batch(*BATCH) for _ in range(10)]
    accepted = Accepted(batch_id="ce2c2e48")
    refused = answers.pop(3)
    assert isinstance(refused, Refused)
    assert refused.words == (422, "no")
    assert answers == [accepted] * 3 + [Accepted()] + [accepted] * 5
    assert crm.connections == 1
    assert not any("cookie" in request.headers for request in crm.requests)


def test_twenty_threads_have_a_connection_each(
    serve: Serve, connect: Connect, heard: Listener
) -> None:
    together = threading.Barrier(20, timeout=10)

    def answer(_: Request) -> Reply:
        together.wait()
        return OK

    crm = serve(answer)
    client = connect(crm)
    in_threads(20, lambda: [client.send_batch(*BATCH) for _ in range(5)])
    assert len(crm.requests) == 100
    assert crm.connections == 20
    assert not any("pool is full" in line for line in heard.lines)


@pytest.mark.parametrize(
    "fault",
    [
        *(reply(500, {"message": ECHO}), reply(503), reply(408), server.RESET, server.GONE),
        reply(502, b"<html>Bad gateway</html>", content_type="text/html"),
        *(server.HALF, server.HALF_RESET, server.CUT_JSON, server.NOISE),
        *(server.unframed(b'{"status": "Succ'), server.BAD_GZIP),
        Reply(b"HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{", then="close"),
    ],
    ids=lambda fault: f"{fault.raw[:30]!r} {len(fault.raw)} {fault.then}",
)
def test_a_fault_is_asked_again(
    fault: Reply, serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    crm = serve(script(fault, fault))
    client = connect(crm)
    accepted = client.send_batch(*BATCH)
    assert isinstance(accepted, Accepted)
    assert (accepted.batch_id, accepted.may_be_applied_twice) == ("ce2c2e48", True)
    assert [request.body for request in crm.requests] == [BODY] * 3
    assert client.stats.retries == 2
    assert len(fake.waits) == 2


@pytest.mark.parametrize("fault", [reply(429), reply(401)])
def test_what_was_not_accepted_for_sure_is_not_applied_twice(
    fault: Reply, serve: Serve, connect: Connect
) -> None:
    issue = issue_tokens()
    crm = serve(lambda request: fault if request.number == 1 else issue(request))
    accepted = connect(crm, **CREDENTIALS).send_batch(*BATCH)
    assert isinstance(accepted, Accepted)
    assert not accepted.may_be_applied_twice


def test_a_connection_that_ended_meanwhile_is_made_again(serve: Serve, connect: Connect) -> None:
    """Servers close idle connections, and a plan's window is longer than many wait."""
    crm = serve(OK)
    client = connect(crm)
    for _ in range(3):
        assert client.send_batch(*BATCH) == Accepted(batch_id="ce2c2e48")
        crm.drop_connections()
        time.sleep(0.05)
    assert (crm.connections, client.stats.retries) == (3, 0)


def test_a_stall_is_a_lost_answer(serve: Serve, connect: Connect) -> None:
    crm = serve(script(server.STALL, Reply(OK.raw[:-20], then="stall")))
    began = time.monotonic()
    answer = connect(crm, request_timeout_seconds=1).send_batch(*BATCH)
    assert answer == Accepted(batch_id="ce2c2e48")
    assert 2 <= time.monotonic() - began < 4
    assert len(crm.requests) == 3


def test_an_answer_that_trickles_in_is_a_lost_answer(serve: Serve) -> None:
    crm = serve(Reply(OK.raw, pause=0.05))
    slow = Transport(user_agent="x", timeout_seconds=1)
    message = failure(errors.TransientError, lambda: slow.send(Endpoint("GET", "/x", crm.url)))
    slow.close()
    assert message == "The response to GET /x was not complete after 1 s."


def test_a_packed_answer_is_cut_like_any_other(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "MOST_BYTES", 1_000_000)
    bomb = gzip.compress(b" " * 50_000_000)
    crm = serve(reply(500, bomb, headers={"Content-Encoding": "gzip"}))
    careful = Transport(user_agent="x", timeout_seconds=5)
    assert len(careful.send(Endpoint("GET", "/x", crm.url)).body) == 1_000_000
    careful.close()


def test_netrc_does_not_replace_the_token(
    serve: Serve, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = tmp_path / ".netrc"
    trap.write_text(
        "machine 127.0.0.1 login mallory password made-up\ndefault login m password m\n"
    )
    trap.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(trap))
    crm = serve(issue_tokens())
    connect(crm).send_batch(*BATCH)
    assert crm.requests[-1].headers["authorization"] == f"Bearer {TOKEN}"
    connect(crm, **CREDENTIALS).send_batch(*BATCH)
    assert "authorization" not in crm.requests[1].headers
    assert crm.requests[2].headers["authorization"] == "Bearer issued-token-1"


def test_proxies_are_honoured_but_not_for_this_machine(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, crm = serve(OK), serve(OK)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    connect(crm).send_batch(*BATCH)
    assert not proxy.requests
    connect(crm, api_url="http://crm.example.com").send_batch(*BATCH)
    assert proxy.requests[0].path == "http://crm.example.com/contacts/batch"
    proxy.__exit__()
    gone = connect(crm, api_url="http://crm.example.com", retry_max_seconds=0)
    message = failure(errors.TransientError, lambda: gone.send_batch(*BATCH))
    assert "The connection to the environment's proxy for crm.example.com failed" in message


@pytest.mark.parametrize("token", ["line\nbreak", "a b", "gänse", "“quoted”"])
def test_a_token_that_cannot_be_sent_is_not_quoted(
    token: str, serve: Serve, connect: Connect
) -> None:
    crm = serve(reply(200, {"access_token": token}))
    message = failure(errors.AuthError, lambda: connect(crm, access_token=token))
    assert token not in message
    message = failure(errors.AuthError, lambda: connect(crm, **CREDENTIALS).send_batch(*BATCH))
    assert token not in message


def test_nothing_that_was_asked_for_before_the_machine_slept_leaves_after_it(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter([0.0, 3600.0])
    monkeypatch.setattr(http, "seconds_awake_or_asleep", lambda: next(moments, 3600.0))
    crm = serve(OK)
    client = connect(crm)
    accepted = client.send_batch(*BATCH)
    assert isinstance(accepted, Accepted)
    assert not accepted.may_be_applied_twice
    assert (crm.connections, len(crm.requests), client.stats.retries) == (2, 1, 1)


# --- Certificates


def test_a_certificate_is_verified_by_the_authorities_that_the_environment_names(
    serve: Serve, connect: Connect, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it cannot be verified is no passing trouble."""
    crm = serve(OK, tls=certificate.context)
    message = failure(errors.ProtocolError, lambda: connect(crm).send_batch(*BATCH))
    assert f"The certificate of {crm.host} cannot be verified, so nothing was sent." in message
    assert not crm.requests
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.path))
    assert connect(crm).send_batch(*BATCH) == Accepted(batch_id="ce2c2e48")


# --- What stays behind


def test_memory_stays_flat_over_many_status_addresses(
    serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    logging.getLogger().setLevel(logging.INFO)  # what is logged is kept by the tests
    crm = serve(reply(200, {"status": 1}))
    client = connect(crm)
    ours = [tracemalloc.Filter(inclusive=True, filename_pattern=f"*/{name}/*") for name in OURS]

    def kept() -> int:
        snapshot = tracemalloc.take_snapshot().filter_traces(ours)
        return sum(trace.size for trace in snapshot.traces)

    def ask(numbers: range) -> None:
        for number in numbers:
            client.batch_status(f"batch-{number}")
            fake.now += 1
        crm.requests.clear()
        gc.collect()

    tracemalloc.start()
    ask(range(200))
    before = kept()
    ask(range(200, 600))
    grown = kept() - before
    tracemalloc.stop()
    assert grown < 400 * 50, "an address that is kept takes more than this"


OURS = ("target_mainbrainer", "requests", "urllib3", "http")


def test_an_error_does_not_remember_the_request(serve: Serve, connect: Connect) -> None:
    client = connect(serve(server.RESET), retry_max_seconds=0)
    with pytest.raises(errors.TransientError) as caught:
        client.send_batch(*BATCH)
    error: BaseException | None = caught.value
    while error is not None:
        assert type(error).__module__ == "target_mainbrainer.errors"
        error = error.__cause__ or error.__context__


# Many connections at once: that they are safe may not make the start of a load slow


def test_the_authorities_are_read_once_for_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual ones take 45 ms to read; a load begins with up to 200 connections."""
    loaded: list[object] = []
    load = ssl.SSLContext.load_verify_locations

    def count(self: ssl.SSLContext, *files: t.Any, **options: t.Any) -> None:
        loaded.append(files)
        load(self, *files, **options)

    with processes.server(setup=0.01) as crm:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", crm.certificate)
        monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", count)
        endpoint = Endpoint("POST", "/contacts/batch", f"{crm.url}/contacts/batch")
        for _ in range(3):
            transport = Transport(user_agent="tests", timeout_seconds=10)
            assert transport.send(endpoint, b"{}").status == 202
            transport.close()
    assert len(loaded) == 1
