"""What is asked, what came back, what that means: real sockets, and a server that breaks HTTP."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import logging
import ssl
import threading
import time
import traceback
import typing as t
from email.utils import format_datetime

import pytest
import requests
from typing_extensions import override

from target_mainbrainer import errors
from target_mainbrainer.api import http
from target_mainbrainer.api.client import MainBrainerClient
from target_mainbrainer.api.exchange import Endpoint
from target_mainbrainer.api.http import Transport
from target_mainbrainer.api.rate_limit import RateLimiter
from target_mainbrainer.api.refusals import Refusal, TooLarge, find_suspects
from target_mainbrainer.api.requests import (
    encode_batch,
    encode_contact,
    encode_single,
    values_sent,
)
from target_mainbrainer.api.responses import Accepted
from target_mainbrainer.api.retry import pause_before_retry, seconds_asked
from target_mainbrainer.config.limits import Plan
from target_mainbrainer.config.settings import Settings
from target_mainbrainer.contacts.contact import Contact, Mobile, PropertyRef
from tests import broken_server as server
from tests.broken_server import OK, BrokenServer, Reply, Request, reply, script

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TOKEN = "made-up-token-of-the-tests"
CREDENTIALS: dict[str, t.Any] = {
    "username": "ola.nordmann@example.com",
    "password": "made-up password",
    "private_token": "8e8b8450-dc1b-4360-8109-7067337b42cb",
}
PERSON = Contact(
    contact_id=70001234567,
    mobile=Mobile(44, 7700900123),
    email="kari.nordmann@example.org",
    properties={PropertyRef(None, "firstname"): "Kari-Mette", PropertyRef(None, "zip"): "zip-0236"},
)
BODY = encode_batch([encode_contact(PERSON)])
SINGLE = encode_single(PERSON)
NEVER_LOGGED = [TOKEN, "issued-token", *CREDENTIALS.values(), *values_sent(BODY)]
ECHO = f"No {PERSON.email} with '{TOKEN}', Kari-Mette, +44 7700 900123 in zip-0236"


def at_once(_: object) -> dict[str, str]:
    """Give leave to send, without a permit and a token."""
    return {}


class FakeTime:
    """A clock that moves only while somebody waits."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.waits: list[float] = []
        self.stopped = False
        self._lock = threading.Lock()

    def clock(self) -> float:
        return self.now

    def is_set(self) -> bool:
        return self.stopped

    def wait(self, timeout: float | None = None) -> bool:
        with self._lock:
            self.waits.append(timeout or 0.0)
            self.now += timeout or 0.0
        return self.stopped


@pytest.fixture
def fake() -> FakeTime:
    return FakeTime()


Serve = t.Callable[..., BrokenServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    running: list[BrokenServer] = []

    def start(answer: Callable[[Request], Reply] | Reply) -> BrokenServer:
        fixed = script(after=answer) if isinstance(answer, Reply) else answer
        running.append(BrokenServer(fixed).__enter__())
        return running[-1]

    yield start
    for one in running:
        one.__exit__()


Connect = t.Callable[..., MainBrainerClient]


@pytest.fixture
def connect(fake: FakeTime) -> Iterator[Connect]:
    running: list[MainBrainerClient] = []

    def start(
        to: BrokenServer,
        *,
        plan: Plan | None = None,
        stop: t.Any = fake,
        rate_limiter: RateLimiter | None = None,
        **settings: t.Any,
    ) -> MainBrainerClient:
        if "username" not in settings:
            settings.setdefault("access_token", TOKEN)
        rate_limiter = rate_limiter or RateLimiter(plan, clock=fake.clock, stop=stop)
        made = Settings(**{"api_url": to.url, **settings})
        client = MainBrainerClient(made, rate_limiter=rate_limiter, stop=stop, clock=fake.clock)
        running.append(client)
        return client

    yield start
    for client in running:
        client.close()


class _Listener(logging.Handler):
    """Keeps every line of every logger, tracebacks too."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture(autouse=True)
def heard() -> Iterator[_Listener]:
    """In no test of this file may anything private reach the log, at any level."""
    listener = _Listener()
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.DEBUG)
    root.addHandler(listener)
    yield listener
    root.removeHandler(listener)
    root.setLevel(before)
    whole = "\n".join(listener.lines).casefold()
    for secret in NEVER_LOGGED:
        assert secret.casefold() not in whole


def failure(kind: type[Exception], action: Callable[[], object]) -> str:
    """Return the message of the error, having searched its whole traceback for secrets."""
    with pytest.raises(kind) as caught:
        action()
    assert type(caught.value) is kind or issubclass(type(caught.value), kind)
    whole = "".join(traceback.TracebackException.from_exception(caught.value).format())
    whole += "".join(map(str, _chain(caught.value)))
    for secret in NEVER_LOGGED:
        assert secret.casefold() not in whole.casefold()
    return str(caught.value)


def _chain(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield repr(error) + repr(vars(error))
        error = error.__context__


# --- What is asked


def test_a_batch_goes_out_as_documented(serve: Serve, connect: Connect) -> None:
    crm = serve(OK)
    assert connect(crm).post_batch(BODY, size=1) == Accepted(batch_id="ce2c2e48")
    (request,) = crm.requests
    assert (request.method, request.path) == ("POST", "/contacts/batch")
    assert request.body == BODY
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("target-mainbrainer/0")
    assert "python" not in str(request.headers)


def test_a_single_contact_goes_to_its_own_endpoint(serve: Serve, connect: Connect) -> None:
    crm = serve(reply(202, {"status": "Success", "data": {"contactId": "70001234567"}}))
    client = connect(crm, user_agent="nightly/1")
    assert client.post_contact(SINGLE) == Accepted(contact_id=70001234567)
    assert (crm.requests[0].path, crm.requests[0].body) == ("/contacts/insertupdate", SINGLE)
    assert crm.requests[0].headers["user-agent"] == "nightly/1"


def test_a_base_url_and_a_token_go_before_the_settings(serve: Serve, fake: FakeTime) -> None:
    crm = serve(OK)
    settings = Settings(**CREDENTIALS, auth_url="https://auth.example.com/token")
    rate_limiter = RateLimiter(None, clock=fake.clock, stop=fake)
    with MainBrainerClient(
        settings, rate_limiter=rate_limiter, stop=fake, base_url=f"{crm.url}/", token=TOKEN
    ) as client:
        client.post_batch(BODY, size=1)
    assert (crm.requests[0].path, crm.requests[0].token) == ("/contacts/batch", TOKEN)


def test_a_batchs_status_is_asked_under_its_quoted_id(serve: Serve, connect: Connect) -> None:
    crm = serve(reply(200, {"id": "x", "status": 3, "processedObj": {"inserted": {"count": 7}}}))
    status = connect(crm).batch_status("a/../b c?d")
    assert status is not None
    assert status.inserted == 7
    assert crm.requests[0].path == "/contacts/a%2F..%2Fb%20c%3Fd/Status"
    assert crm.requests[0].method == "GET"
    assert "content-type" not in crm.requests[0].headers


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
    answers = [client.post_batch(BODY, size=1) for _ in range(10)]
    accepted = Accepted(batch_id="ce2c2e48")
    refused = Refusal(422, "no")
    assert answers == [accepted] * 3 + [refused, Accepted()] + [accepted] * 5
    assert crm.connections == 1
    assert not any("cookie" in request.headers for request in crm.requests)


def test_twenty_threads_have_a_connection_each(
    serve: Serve, connect: Connect, heard: _Listener
) -> None:
    together = threading.Barrier(20, timeout=10)

    def answer(_: Request) -> Reply:
        together.wait()
        return OK

    crm = serve(answer)
    client = connect(crm)
    in_threads(20, lambda: [client.post_batch(BODY, size=1) for _ in range(5)])
    assert len(crm.requests) == 100
    assert crm.connections == 20
    assert not any("pool is full" in line for line in heard.lines)


def in_threads(count: int, action: Callable[[], object]) -> list[BaseException]:
    """Run an action in many threads at once and return what they raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            raised.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    return raised


# --- Refusals


@pytest.mark.parametrize("status", [400, 409, 422])
def test_a_refusal_is_an_answer(status: int, serve: Serve, connect: Connect) -> None:
    crm = serve(reply(status, {"message": f"{PERSON.email} is not valid"}))
    client = connect(crm)
    for refusal in (client.post_batch(BODY, size=1), client.post_contact(SINGLE)):
        assert isinstance(refusal, Refusal)
        assert refusal.status == status
        assert find_suspects(refusal, [Contact(), PERSON]) == [1]


def test_a_413_asks_for_less_until_there_is_no_less(serve: Serve, connect: Connect) -> None:
    client = connect(serve(reply(413, {"message": "too much"})))
    assert client.post_batch(BODY, size=2) == TooLarge()
    assert client.post_batch(BODY, size=1) == Refusal(413, "too much")
    assert client.post_contact(SINGLE) == Refusal(413, "too much")


def test_a_202_that_says_it_failed_is_a_refusal(serve: Serve, connect: Connect) -> None:
    client = connect(serve(reply(202, {"status": "Error", "message": "No such list"})))
    assert client.post_batch(BODY, size=5) == Refusal(202, "No such list")


@pytest.mark.parametrize("status", [402, 403, 404, 405, 406, 410, 415, 451])
def test_any_other_4xx_is_about_the_request(status: int, serve: Serve, connect: Connect) -> None:
    crm = serve(reply(status, {"message": ECHO}))
    message = failure(errors.RequestRefusedError, lambda: connect(crm).post_batch(BODY, size=1))
    assert message.startswith(f"MainBrainer refused POST /contacts/batch with {status} ")
    assert "saying: No … with …, …, … in …." in message
    assert "No contact is to blame. " in message
    assert len(crm.requests) == 1


# --- Faults that another try mends


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(reply(500, {"message": ECHO}), id="500"),
        pytest.param(reply(502, b"<html>Bad gateway</html>", content_type="text/html"), id="502"),
        pytest.param(reply(503), id="503"),
        pytest.param(reply(408), id="408"),
        pytest.param(server.RESET, id="reset"),
        pytest.param(server.GONE, id="closed without an answer"),
        pytest.param(server.HALF, id="half an answer"),
        pytest.param(server.HALF_HEAD, id="half a header"),
        pytest.param(server.HALF_RESET, id="half an answer, then reset"),
        pytest.param(server.CUT_JSON, id="truncated JSON"),
        pytest.param(server.unframed(b'{"status": "Succ'), id="truncated JSON, no length"),
        pytest.param(server.unframed(b""), id="nothing, no length"),
        pytest.param(server.NOISE, id="not HTTP"),
        pytest.param(server.BAD_GZIP, id="cannot be unpacked"),
        pytest.param(
            Reply(b"HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{", then="close"),
            id="half a chunk",
        ),
    ],
)
def test_a_fault_is_asked_again(
    fault: Reply, serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    crm = serve(script(fault, fault))
    client = connect(crm)
    assert client.post_batch(BODY, size=1) == Accepted(batch_id="ce2c2e48")
    assert [request.body for request in crm.requests] == [BODY] * 3
    assert client.stats.retries == 2
    assert client.stats.paused_seconds == sum(fake.waits)
    assert len(fake.waits) == 2


def test_a_stall_is_a_lost_answer(serve: Serve, connect: Connect) -> None:
    crm = serve(script(server.STALL, Reply(OK.raw[:-20], then="stall")))
    began = time.monotonic()
    answer = connect(crm, request_timeout_seconds=1).post_batch(BODY, size=1)
    assert answer == Accepted(batch_id="ce2c2e48")
    assert 2 <= time.monotonic() - began < 4
    assert len(crm.requests) == 3


def test_an_answer_that_trickles_in_is_a_lost_answer(serve: Serve) -> None:
    crm = serve(Reply(OK.raw, pause=0.05))
    slow = Transport(user_agent="x", timeout_seconds=1, connections=1)
    message = failure(
        errors.TransientError,
        lambda: slow.send(Endpoint("GET", "/x", f"{crm.url}/x"), None, at_once),
    )
    slow.close()
    assert message == "The response to GET /x was not complete after 1 s."


def test_an_endless_answer_does_not_eat_the_memory(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "MOST_BYTES", 1_000_000)
    crm = serve(Reply(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<", then="repeat"))
    message = failure(errors.ProtocolError, lambda: connect(crm).post_batch(BODY, size=1))
    assert "'text/html' that is not MainBrainer's" in message


def test_a_packed_answer_is_cut_like_any_other(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "MOST_BYTES", 1_000_000)
    bomb = gzip.compress(b" " * 50_000_000)
    crm = serve(reply(500, bomb, headers={"Content-Encoding": "gzip"}))
    careful = Transport(user_agent="x", timeout_seconds=5, connections=1)
    assert len(careful.send(Endpoint("GET", "/x", crm.url), None, at_once).body) == 1_000_000
    careful.close()


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


# --- Too many requests


def in_http(moment: dt.datetime) -> str:
    return format_datetime(moment, usegmt=True)


NOON = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)


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
        pytest.param(None, None, id="absent"),
        pytest.param("0", 0, id="now"),
        pytest.param("-5", None, id="negative"),
        pytest.param(in_http(NOON - dt.timedelta(seconds=9)), 0, id="past"),
        pytest.param("Fri, 01 May 2026 12:00:09 -0000", 9, id="a date without a zone"),
        pytest.param("9" * 5000, None, id="absurd"),
    ],
)
def test_retry_after_is_read_leniently(header: str | None, seconds: float | None) -> None:
    assert seconds_asked(header, date=None, now=NOON) == seconds


# --- Answers that are not the API's


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_never_carries_anything_elsewhere(
    status: int, serve: Serve, connect: Connect
) -> None:
    elsewhere = serve(OK)
    location = f"http://user:pw@localhost:{elsewhere.host.split(':')[1]}/x?token={TOKEN}"
    crm = serve(server.redirect(status, location))
    for ask in (
        lambda: connect(crm).post_batch(BODY, size=1),
        lambda: connect(crm).post_contact(SINGLE),
        lambda: connect(crm, **CREDENTIALS).post_contact(SINGLE),
    ):
        message = failure(errors.ProtocolError, ask)
        assert "a redirect to localhost. Redirects are never followed" in message
        assert "pw" not in message
    assert connect(crm).batch_status("x") is None
    assert not elsewhere.requests


@pytest.mark.parametrize("location", ["", "//[broken", "/elsewhere", "http://[::1"])
def test_an_odd_redirect_is_told_as_well(location: str, serve: Serve, connect: Connect) -> None:
    crm = serve(server.redirect(302, location))
    message = failure(errors.ProtocolError, lambda: connect(crm).post_batch(BODY, size=1))
    assert f"{crm.host} answered 302 Found to POST /contacts/batch" in message


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(server.PAGE, id="a proxy's page"),
        pytest.param(reply(200, {"login": "please"}), id="another API"),
        pytest.param(reply(202, b"Accepted", content_type="text/plain"), id="text"),
        pytest.param(reply(202, [1]), id="a list"),
        pytest.param(reply(304), id="304"),
    ],
)
def test_what_is_not_the_apis_ends_the_run(odd: Reply, serve: Serve, connect: Connect) -> None:
    crm = serve(odd)
    for ask in (
        lambda: connect(crm).post_batch(BODY, size=1),
        lambda: connect(crm).post_contact(SINGLE),
    ):
        message = failure(errors.ProtocolError, ask)
        assert crm.host in message
        assert "Check 'api_url'" in message


@pytest.mark.parametrize(
    "empty", [pytest.param(reply(202), id="202"), pytest.param(reply(204), id="204")]
)
def test_an_empty_answer_is_accepted_but_untrackable(
    empty: Reply, serve: Serve, connect: Connect
) -> None:
    crm = serve(empty)
    assert connect(crm).post_batch(BODY, size=1) == Accepted(batch_id=None)
    assert connect(crm).post_contact(SINGLE) == Accepted()
    assert len(crm.requests) == 2


def test_a_certificate_that_cannot_be_verified_is_no_passing_trouble() -> None:
    made = Transport(user_agent="x", timeout_seconds=1, connections=1)
    call = Endpoint("POST", "/contacts/batch", "https://crm.example.com/contacts/batch")
    told = made._in_words(requests.exceptions.SSLError(ssl.SSLCertVerificationError("x")), call)
    assert isinstance(told, errors.ProtocolError)
    assert "The certificate of crm.example.com cannot be verified" in str(told)
    made.close()


def test_an_address_that_cannot_be_asked_is_no_passing_trouble(
    serve: Serve, connect: Connect
) -> None:
    client = connect(serve(OK), api_url="http://127.0.0.1:99999")
    message = failure(errors.ProtocolError, lambda: client.post_batch(BODY, size=1))
    assert "Check 'api_url'" in message


# --- Who else might see the token


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
    connect(crm).post_batch(BODY, size=1)
    assert crm.requests[-1].headers["authorization"] == f"Bearer {TOKEN}"
    connect(crm, **CREDENTIALS).post_batch(BODY, size=1)
    assert "authorization" not in crm.requests[1].headers
    assert crm.requests[2].headers["authorization"] == "Bearer issued-token-1"


def test_proxies_are_honoured_but_not_for_this_machine(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, crm = serve(OK), serve(OK)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    connect(crm).post_batch(BODY, size=1)
    assert not proxy.requests
    connect(crm, api_url="http://crm.example.com").post_batch(BODY, size=1)
    assert proxy.requests[0].path == "http://crm.example.com/contacts/batch"
    proxy.__exit__()
    gone = connect(crm, api_url="http://crm.example.com", retry_max_seconds=0)
    message = failure(errors.TransientError, lambda: gone.post_batch(BODY, size=1))
    assert "The connection to the environment's proxy for crm.example.com failed" in message


@pytest.mark.parametrize("token", ["line\nbreak", "a b", "gänse", "“quoted”"])
def test_a_token_that_cannot_be_sent_is_not_quoted(
    token: str, serve: Serve, connect: Connect
) -> None:
    crm = serve(reply(200, {"access_token": token}))
    message = failure(errors.AuthError, lambda: connect(crm, access_token=token))
    assert token not in message
    message = failure(
        errors.AuthError, lambda: connect(crm, **CREDENTIALS).post_batch(BODY, size=1)
    )
    assert token not in message


# --- The token


def issue_tokens(
    *, is_good: Callable[[str], bool] = lambda _: True, lifetime: int = 7200
) -> Callable[[Request], Reply]:
    """Be a server that issues numbered tokens and takes the good ones."""
    issued = 0
    lock = threading.Lock()

    def answer(request: Request) -> Reply:
        nonlocal issued
        if request.path == "/token":
            with lock:
                issued += 1
                return reply(200, token_answer(f"issued-token-{issued}", lifetime))
        return OK if is_good(request.token) else reply(401, {"message": ECHO})

    return answer


def token_answer(token: str, lifetime: int) -> dict[str, t.Any]:
    return {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": lifetime // 60,
        "issued": "2020-05-29T04:21:56.0000000+00:00",
        "expires": (
            dt.datetime(2020, 5, 29, 4, 21, 56, tzinfo=dt.UTC) + dt.timedelta(seconds=lifetime)
        ).isoformat(),
    }


def token_requests(crm: BrokenServer) -> list[Request]:
    return [request for request in crm.requests if request.path == "/token"]


def test_credentials_are_exchanged_for_a_token(serve: Serve, connect: Connect) -> None:
    crm, auth = serve(issue_tokens()), serve(issue_tokens())
    client = connect(crm, auth_url=f"{auth.url}/token", **CREDENTIALS)
    client.post_batch(BODY, size=1)
    client.post_batch(BODY, size=1)
    assert [request.token for request in crm.requests] == ["issued-token-1"] * 2
    (asked,) = auth.requests
    assert json.loads(asked.body) == {
        "userName": CREDENTIALS["username"],
        "password": CREDENTIALS["password"],
        "privateToken": CREDENTIALS["private_token"],
        "validity": "Default",
    }


def test_a_token_is_renewed_before_it_ends(serve: Serve, connect: Connect, fake: FakeTime) -> None:
    crm = serve(issue_tokens())
    client = connect(crm, **CREDENTIALS)
    for later in (0, 7100, 100, 7100):
        fake.now += later
        client.post_batch(BODY, size=1)
    used = [request.token[-1] for request in crm.requests if request.path != "/token"]
    assert used == ["1", "1", "2", "2"]


def test_twenty_threads_that_meet_a_401_renew_once(serve: Serve, connect: Connect) -> None:
    together = threading.Barrier(20, timeout=10)
    issue = issue_tokens(is_good=lambda token: token == "issued-token-2")

    def answer(request: Request) -> Reply:
        if request.token == "issued-token-1":
            together.wait()
        return issue(request)

    crm = serve(answer)
    client = connect(crm, **CREDENTIALS)
    assert in_threads(20, lambda: client.post_batch(BODY, size=1)) == []
    assert len(token_requests(crm)) == 2
    assert len(crm.requests) == 2 + 20 + 20


def test_a_ready_token_that_is_refused_ends_it_at_once(serve: Serve, connect: Connect) -> None:
    crm = serve(reply(401, {"message": ECHO}))
    message = failure(errors.AuthError, lambda: connect(crm).post_batch(BODY, size=1))
    assert message == (
        "MainBrainer refused the access token (401 on POST /contacts/batch). Check that "
        "'access_token' is complete, belongs to this account and has not ended or been revoked."
    )
    assert len(crm.requests) == 1


def test_a_renewed_token_that_is_refused_ends_it(serve: Serve, connect: Connect) -> None:
    crm = serve(issue_tokens(is_good=lambda _: False))
    message = failure(
        errors.AuthError, lambda: connect(crm, **CREDENTIALS).post_batch(BODY, size=1)
    )
    assert message == (
        "MainBrainer refused the access token (401 on POST /contacts/batch) after one renewal. "
        "Check that the credentials belong to this account and have not been revoked."
    )
    assert len(crm.requests) == 4


@pytest.mark.parametrize("says", [7200, 3, 1])
@pytest.mark.parametrize("lives", [1.5, 3.0])
def test_tokens_that_end_every_few_seconds_stop_nothing(
    says: int, lives: float, serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    """With a budget so small that a token may end while its user waits for a turn."""
    issued: dict[str, float] = {}
    issue = issue_tokens(
        is_good=lambda token: fake.now < issued.setdefault(token, fake.now) + lives, lifetime=says
    )

    def answer(request: Request) -> Reply:
        if request.path == "/token":
            issued[f"issued-token-{len(issued) + 1}"] = fake.now
        return issue(request)

    crm = serve(answer)
    client = connect(crm, plan=Plan(burst=4, daily=100_000), **CREDENTIALS)
    for _ in range(40):
        client.post_batch(BODY, size=1)
        fake.now += 0.4
    posts = len(crm.requests) - len(token_requests(crm))
    assert len(token_requests(crm)) <= 41
    assert posts <= 80


def test_a_token_endpoint_that_fails_is_asked_again(serve: Serve, connect: Connect) -> None:
    issue = issue_tokens()
    faults = [reply(500), server.RESET, server.CUT_JSON, reply(429)]
    crm = serve(lambda r: faults[r.number] if r.number < len(faults) else issue(r))
    answer = connect(crm, **CREDENTIALS).post_batch(BODY, size=1)
    assert answer == Accepted(batch_id="ce2c2e48")
    assert len(token_requests(crm)) == 5


@pytest.mark.parametrize("status", [400, 401, 403, 409, 422])
def test_refused_credentials_end_it_for_all_threads(
    status: int, serve: Serve, connect: Connect
) -> None:
    crm = serve(reply(status, {"message": f"Wrong {CREDENTIALS['password']}"}))
    client = connect(crm, **CREDENTIALS)
    raised = in_threads(20, lambda: client.post_batch(BODY, size=1))
    assert [type(error) for error in raised] == [errors.AuthError] * 20
    assert len(crm.requests) == 1
    message = failure(errors.AuthError, lambda: client.post_batch(BODY, size=1))
    assert message.startswith(f"MainBrainer refused the credentials ({status} ")
    assert "saying: Wrong …). Check 'username', 'password' and 'private_token'." in message


def test_a_token_endpoint_that_stays_down_is_given_up_once(serve: Serve, connect: Connect) -> None:
    crm = serve(reply(500))
    client = connect(crm, retry_max_seconds=30, **CREDENTIALS)
    raised = in_threads(5, lambda: client.post_batch(BODY, size=1))
    assert [type(error) for error in raised] == [errors.TransientError] * 5
    asked = len(crm.requests)
    message = failure(errors.TransientError, lambda: client.post_batch(BODY, size=1))
    assert f"POST /token was given up after {asked} tries in 30 s." in message


def test_a_wrong_token_address_is_told(serve: Serve, connect: Connect) -> None:
    missing = connect(serve(reply(404, b"<p>Not found</p>")), **CREDENTIALS)
    message = failure(errors.RequestRefusedError, lambda: missing.post_batch(BODY, size=1))
    assert "Set 'auth_url' to the full address" in message
    page = connect(serve(server.PAGE), **CREDENTIALS)
    message = failure(errors.ProtocolError, lambda: page.post_batch(BODY, size=1))
    assert "POST /token with 200 OK and a body of type 'text/html'" in message


# --- Statuses, and the check


@pytest.mark.parametrize(
    "answer",
    [
        reply(500),
        reply(404, {"message": "no such batch"}),
        reply(401),
        reply(429),
        server.PAGE,
        server.RESET,
        reply(200, {"odd": 1}),
    ],
)
def test_a_status_that_cannot_be_read_fails_nothing(
    answer: Reply, serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    crm = serve(answer)
    assert connect(crm).batch_status("ce2c2e48") is None
    assert len(crm.requests) == 1
    assert not fake.waits


def test_a_status_takes_only_what_sending_leaves(
    serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    crm = serve(reply(200, {"status": 1}))
    client = connect(crm, plan=Plan(burst=10, daily=1000))
    began = fake.now
    polled = [client.batch_status("ce2c2e48") for _ in range(12)]
    assert [status is not None for status in polled] == [True] * 9 + [False] * 3
    assert fake.now == began
    assert client.batch_status("ce2c2e48", wait=True) is not None
    assert client.batch_status("ce2c2e48", wait=True) is not None
    assert fake.now > began + 10


def test_a_status_ends_with_the_run(serve: Serve, connect: Connect, fake: FakeTime) -> None:
    client = connect(serve(OK))
    fake.stopped = True
    failure(errors.InterruptedRunError, lambda: client.batch_status("x", wait=True))
    assert client.batch_status("x") is None


@pytest.mark.parametrize(
    "answer",
    [
        reply(200, {"id": "x", "status": 0}),
        reply(404),
        reply(400, {"title": "No such batch"}),
        reply(422, b"", content_type=""),
    ],
)
def test_the_check_changes_nothing_and_says_what_it_found(
    answer: Reply, serve: Serve, connect: Connect
) -> None:
    issue = issue_tokens()
    crm = serve(lambda request: issue(request) if request.path == "/token" else answer)
    assert connect(crm).check() == (
        f"{crm.host} answers and does not refuse the access token. Whether it may write contacts "
        "shows only when one is written."
    )
    said = connect(crm, **CREDENTIALS).check()
    assert said.startswith(f"{crm.host} issued an access token for the credentials. ")
    assert {request.method for request in crm.requests if request.path != "/token"} == {"GET"}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (reply(401), errors.AuthError),
        (reply(403), errors.RequestRefusedError),
        (server.PAGE, errors.ProtocolError),
        (reply(404, b"<p>nginx</p>", content_type="text/html"), errors.ProtocolError),
        (server.redirect(302, "https://example.org"), errors.ProtocolError),
        (reply(503), errors.TransientError),
    ],
)
def test_the_check_fails_where_a_run_would(
    answer: Reply, kind: type[Exception], serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    began = fake.now
    failure(kind, lambda: connect(serve(answer)).check())
    assert fake.now <= began + 31


# --- Numbers


def test_everything_asked_is_counted(serve: Serve, connect: Connect, heard: _Listener) -> None:
    issue = issue_tokens()
    crm = serve(lambda request: reply(503) if request.number == 1 else issue(request))
    client = connect(crm, **CREDENTIALS)
    client.post_batch(BODY, size=1)
    client.post_contact(SINGLE)
    client.batch_status("ce2c2e48")
    assert client.stats.requests == len(crm.requests) == 5
    assert client.stats.retries == 1
    assert dict(client.stats.by_endpoint) == {
        "POST /token": 1,
        "POST /contacts/batch": 2,
        "POST /contacts/insertupdate": 1,
        "GET /contacts/{id}/Status": 1,
    }
    client.close()
    metrics = [line for line in heard.lines if line.startswith("METRIC")]
    assert len(metrics) == 4
    assert all("http_request_count" in line for line in metrics)
