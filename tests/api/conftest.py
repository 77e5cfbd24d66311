"""Fixtures: hostile servers, and a client that talks to them. Nothing private may reach the log."""

from __future__ import annotations

import logging
import ssl
import subprocess
import typing as t

import pytest

from target_mainbrainer.api.client import MainBrainerClient
from target_mainbrainer.api.limits import RateLimiter
from target_mainbrainer.settings.declared import Settings
from tests.api.helpers import NEVER_LOGGED, TOKEN, Certificate, Connect, FakeTime, Listener, Serve
from tests.broken_server import BrokenServer, Reply, Request, script

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from target_mainbrainer.settings.declared import Plan


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine that runs the tests has set, a test sets its own."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def fake() -> FakeTime:
    return FakeTime()


@pytest.fixture
def serve() -> Iterator[Serve]:
    running: list[BrokenServer] = []

    def start(answer: Callable[[Request], Reply] | Reply, **options: t.Any) -> BrokenServer:
        fixed = script(after=answer) if isinstance(answer, Reply) else answer
        running.append(BrokenServer(fixed, **options).__enter__())
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
        rate_limiter: t.Any = None,
        **settings: t.Any,
    ) -> MainBrainerClient:
        if "username" not in settings:
            settings.setdefault("access_token", TOKEN)
        rate_limiter = rate_limiter or RateLimiter(plan, clock=fake.clock, stop=stop)
        made = Settings(**{"api_url": to.url, **settings})
        client = MainBrainerClient(made, rate_limiter=rate_limiter, stop=stop)
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


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Make a certificate of our own for this machine and for `crm.example.com`."""
    folder = tmp_path_factory.mktemp("certificate")
    key, chain = folder / "key.pem", folder / "chain.pem"
    names = "subjectAltName=IP:127.0.0.1,DNS:crm.example.com"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    made += ["-subj", "/CN=tests", "-addext", names, "-keyout", str(key), "-out", str(chain)]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return Certificate(chain, context)
