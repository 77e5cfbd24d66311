"""Fixtures: hostile servers, and a client that talks to them. Nothing private may reach the log."""

from __future__ import annotations

import logging
import typing as t

import pytest

from target_mainbrainer.api.client import MainBrainerClient
from target_mainbrainer.api.rate_limit import RateLimiter
from target_mainbrainer.config.settings import Settings
from tests.api.helpers import NEVER_LOGGED, TOKEN, Connect, FakeTime, Listener, Serve
from tests.broken_server import BrokenServer, Reply, Request, script

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from target_mainbrainer.config.limits import Plan


@pytest.fixture
def fake() -> FakeTime:
    return FakeTime()


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


@pytest.fixture(autouse=True)
def heard() -> Iterator[Listener]:
    """In no test of this file may anything private reach the log, at any level."""
    listener = Listener()
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
