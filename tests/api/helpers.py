"""What the tests of the API have in common: a person, credentials, a clock, and no leaks."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import traceback
import typing as t
from email.utils import format_datetime

import pytest
from typing_extensions import override

from target_mainbrainer.api.client import MainBrainerClient
from target_mainbrainer.api.limits import Permit, RateLimiter
from target_mainbrainer.api.requests import encode_batch, encode_contact, encode_single
from target_mainbrainer.contacts import Contact, Mobile, PropertyRef
from target_mainbrainer.privacy import values_of
from tests.broken_server import OK, BrokenServer, Reply, Request, reply

if t.TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path

Serve = t.Callable[..., BrokenServer]
Connect = t.Callable[..., MainBrainerClient]

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
BATCH = [PERSON], [encode_contact(PERSON)]
BODY = encode_batch(BATCH[1])
SINGLE = encode_single(PERSON)
NEVER_LOGGED = [TOKEN, "issued-token", *CREDENTIALS.values(), *values_of([PERSON])]
ECHO = f"No {PERSON.email} with '{TOKEN}', Kari-Mette, +44 7700 900123 in zip-0236"


class Certificate(t.NamedTuple):
    """A certificate that no public authority has signed.

    Attributes:
        path: To be trusted by name.
        context: For the server.
    """

    path: Path
    context: ssl.SSLContext


class FakeTime(threading.Event):
    """A clock that moves only while somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.waits: list[float] = []
        self.stopped = False
        self._lock = threading.Lock()

    def clock(self) -> float:
        return self.now

    @override
    def is_set(self) -> bool:
        return self.stopped

    @override
    def wait(self, timeout: float | None = None) -> bool:
        with self._lock:
            self.waits.append(timeout or 0.0)
            self.now += timeout or 0.0
        return self.stopped


class Listener(logging.Handler):
    """Keeps every line of every logger, tracebacks too."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def failure(kind: type[Exception], action: Callable[[], object]) -> str:
    """Return the message of the error, having searched its whole traceback for secrets."""
    with pytest.raises(kind) as caught:
        action()
    whole = "".join(traceback.TracebackException.from_exception(caught.value).format())
    whole += "".join(map(str, _chain(caught.value)))
    for secret in NEVER_LOGGED:
        assert secret.casefold() not in whole.casefold()
    return str(caught.value)


def _chain(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield repr(error) + repr(vars(error))
        error = error.__context__


def in_threads(count: int, action: Callable[[], object]) -> list[BaseException]:
    """Run an action in many threads at once and return what they raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - a thread must not hide what it raised
            raised.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    return raised


def in_http(moment: dt.datetime) -> str:
    return format_datetime(moment, usegmt=True)


NOON = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)


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


class SlowLimiter(RateLimiter):
    """A limiter without a plan whose permits take their time, and that keeps their answers.

    Attributes:
        taken: How many permits it gave.
        statuses: The answers to them.
        unused: How many permits found no server.
    """

    def __init__(self, fake: FakeTime, *, seconds: float) -> None:
        super().__init__(None, clock=fake.clock, stop=fake)
        self._fake = fake
        self._seconds = seconds
        self.taken = 0
        self.unused = 0
        self.statuses: list[int | None] = []

    @override
    def acquire(self, kind: str, *, is_retry: bool = False) -> Permit:
        self._fake.now += self._seconds
        self.taken += 1
        return super().acquire(kind, is_retry=is_retry)

    @override
    def answered(self, permit: Permit, status: int | None) -> None:
        self.statuses.append(status)
        super().answered(permit, status)

    @override
    def unsent(self, permit: Permit) -> None:
        self.unused += 1
        super().unsent(permit)
