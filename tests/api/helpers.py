"""What the tests of the API have in common: a person, credentials, a clock, and no leaks."""

import contextlib
import datetime as dt
import heapq
import itertools
import threading
import traceback
import typing as t
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from typing_extensions import override

from target_mainbrainer import errors
from target_mainbrainer.api.answers import Accepted
from target_mainbrainer.api.client import MainBrainerClient
from target_mainbrainer.api.limits import Permit, RateLimiter
from target_mainbrainer.api.requests import encode_batch
from target_mainbrainer.contacts import Contact, Mobile, PropertyRef
from target_mainbrainer.privacy import values_of
from target_mainbrainer.settings.declared import Plan, Settings
from tests.broken_server import OK, BrokenServer, Reply, Request, reply, script

TOKEN = "made-up-token-of-the-tests"
CREDENTIALS: dict[str, t.Any] = {"username": "ola.nordmann@example.com"}
CREDENTIALS |= {"password": "made-up password", "private_token": "8e8b8450-dc1b-4360-8109-7067337b"}
NAMED = {PropertyRef(None, "firstname"): "Kari-Mette", PropertyRef(None, "zip"): "zip-0236"}
EMAIL, MOBILE = "kari.nordmann@example.org", Mobile(44, 7700900123)
PERSON = Contact(70001234567, MOBILE, EMAIL, properties=NAMED)
BATCH = ([PERSON],)
BODY = encode_batch(*BATCH)
NEVER_LOGGED = [TOKEN, "issued-token", *CREDENTIALS.values(), *values_of([PERSON])]
ECHO = f"No {PERSON.email} with '{TOKEN}', Kari-Mette, +44 7700 900123 in zip-0236"
ACCEPTED = Accepted(batch_id="ce2c2e48")


class World(threading.Event):
    """A clock that moves only while a thread waits, and what happens meanwhile.

    It starts low, because `pytest.approx` allows a millionth, which at 1,000,000 is a second.

    Attributes:
        start: When it began.
        waits: How long each wait was.
    """

    def __init__(self) -> None:
        super().__init__()
        self.start = self.now = 1_000.0
        self.waits: list[float] = []
        self.stopped = False
        self._lock = threading.Lock()
        self._ahead: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def clock(self) -> float:
        return self.now

    @property
    def passed(self) -> float:
        return self.now - self.start

    @override
    def is_set(self) -> bool:
        return self.stopped

    @override
    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        with self._lock:
            self.waits.append(timeout)
            self.pass_by(timeout)
        return self.stopped

    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._ahead, (when, next(self._order), action))

    def pass_by(self, seconds: float) -> None:
        end = self.now + seconds
        while self._ahead and self._ahead[0][0] <= end:
            self.next_event()
        self.now = max(self.now, end)

    def next_event(self) -> None:
        when, _, action = heapq.heappop(self._ahead)
        self.now = max(self.now, when)
        action()

    def limiter(self, plan: Plan | None = None, **options: t.Any) -> RateLimiter:
        return RateLimiter(plan, clock=self.clock, stop=self, **options)


class Api:
    """Hostile servers, and clients that talk to them, on a clock of their own.

    Attributes:
        world: The clock.
        log: Every line of the log.
        crm: The server that was started last.
        patch: Changes what the machine has set, for one test.
    """

    crm: BrokenServer

    def __init__(self, running: contextlib.ExitStack, get: t.Callable[[str], t.Any]) -> None:
        self.world = World()
        self.log: pytest.LogCaptureFixture = get("caplog")
        self.patch: pytest.MonkeyPatch = get("monkeypatch")
        self._running = running

    def serve(self, answer: Callable[[Request], Reply] | Reply, **options: t.Any) -> BrokenServer:
        """Start a server."""
        fixed = script(after=answer) if isinstance(answer, Reply) else answer
        self.crm = self._running.enter_context(BrokenServer(fixed, **options))
        return self.crm

    def client(self, to: t.Any, plan: Plan | None = None, **settings: t.Any) -> MainBrainerClient:
        """Connect to a server, which is started if it is only said how it answers."""
        crm = to if isinstance(to, BrokenServer) else self.serve(to)
        account = {"api_url": crm.url} | ({} if "username" in settings else {"access_token": TOKEN})
        limiter = settings.pop("limiter", None) or self.world.limiter(plan)
        may_send = settings.pop("may_send", lambda: True)
        made = Settings(**account | settings)
        client = MainBrainerClient(made, rate_limiter=limiter, may_send=may_send)
        self._running.callback(client.close)
        return client

    def token_requests(self) -> list[Request]:
        return [request for request in self.crm.requests if request.path == "/token"]

    def fails(self, kind: type[Exception], does: MainBrainerClient | Callable[[], object]) -> str:
        """Return the message of the error with which a batch fails, or anything else.

        The whole traceback is searched for secrets.
        """
        with pytest.raises(kind) as caught:
            does.send_batch(*BATCH) if isinstance(does, MainBrainerClient) else does()
        whole = "".join(traceback.TracebackException.from_exception(caught.value).format())
        error: BaseException | None = caught.value
        while error is not None:
            whole += repr(error) + repr(vars(error))
            assert type(error).__module__ == errors.__name__, "another one may have the request"
            error = error.__context__
        assert [secret for secret in NEVER_LOGGED if secret.casefold() in whole.casefold()] == []
        return str(caught.value)

    @staticmethod
    def issue_tokens(is_good: t.Any = bool, lifetime: int = 7200) -> Callable[[Request], Reply]:
        """Be a server that issues numbered tokens and takes the good ones."""
        numbers = itertools.count(1)

        def answer(request: Request) -> Reply:
            if request.path == "/token":
                return reply(200, token_answer(f"issued-token-{next(numbers)}", lifetime))
            return OK if is_good(request.token) else reply(401, {"message": ECHO})

        return answer

    def in_threads(self, count: int, client: MainBrainerClient) -> list[type[BaseException]]:
        """Send a batch in many threads at once and return what they raised."""
        with ThreadPoolExecutor(count) as pool:
            done = [pool.submit(client.send_batch, *BATCH) for _ in range(count)]
        return [type(error) for one in done if (error := one.exception())]


def token_answer(token: str, lifetime: int) -> dict[str, t.Any]:
    issued = dt.datetime(2020, 5, 29, 4, 21, 56, tzinfo=dt.UTC)
    ends = issued + dt.timedelta(seconds=lifetime)
    times = {"issued": issued.isoformat(), "expires": ends.isoformat()}
    return {"access_token": token, "token_type": "Bearer", "expires_in": lifetime // 60} | times


def most_in(seen: list[float], window: float) -> int:
    """Return the most requests in any window of that length."""
    most = first = 0
    for last, when in enumerate(seen):
        while seen[first] <= when - window:
            first += 1
        most = max(most, last - first + 1)
    return most


class SlowLimiter(RateLimiter):
    """A limiter without a plan whose permits take their time, and that keeps their answers.

    Attributes:
        taken: How many permits it gave.
        statuses: The answers to them.
    """

    def __init__(self, world: World, *, seconds: float) -> None:
        super().__init__(None, clock=world.clock, stop=world)
        self._world = world
        self._seconds = seconds
        self.taken = 0
        self.statuses: list[int | None] = []

    @override
    def acquire(self, kind: str, *, is_retry: bool = False) -> Permit:
        self._world.now += self._seconds
        self.taken += 1
        return super().acquire(kind, is_retry=is_retry)

    @override
    def answered(self, permit: Permit, status: int | None) -> None:
        self.statuses.append(status)
        super().answered(permit, status)
