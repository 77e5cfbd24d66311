"""A fresh sandbox for each test, and a client that speaks plain HTTP to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from mainbrainer_sandbox.command import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox

    Run = Callable[..., tuple[int, str, str]]


class Client:
    """A sandbox, and requests to it with its token."""

    def __init__(self, running: RunningSandbox) -> None:
        self.sandbox = running
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {running.token}"

    def post(self, path: str, body: Any, **options: Any) -> requests.Response:
        return self.session.post(self.sandbox.url + path, json=body, timeout=20, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.session.get(self.sandbox.url + path, timeout=20, **options)

    def batch(self, *contacts: Any, **request: Any) -> requests.Response:
        return self.post("/contacts/batch", {"createUpdateContacts": list(contacts), **request})

    def single(self, **contact: Any) -> requests.Response:
        return self.post("/contacts/insertupdate", contact)

    def status(self, response: requests.Response) -> dict[str, Any]:
        """Return the status of the batch of an answer, once it is processed."""
        self.sandbox.settle()
        batch_id = response.json()["data"]["BatchId"]
        body: dict[str, Any] = self.get(f"/contacts/{batch_id}/Status").json()
        return body

    def token(self, **changes: Any) -> requests.Response:
        """Ask for a token with the sandbox's credentials, but for some changes."""
        known = self.sandbox.credentials
        body = {"userName": known.username, "password": known.password}
        return self.post("/token", body | {"privateToken": known.private_token, **changes})

    def contacts(self) -> list[dict[str, Any]]:
        return self.sandbox.contacts()


@pytest.fixture
def make(start_crm: Callable[..., RunningSandbox]) -> Iterator[Callable[..., Client]]:
    """Start sandboxes with options; without limits, unless a test is about them."""
    clients: list[Client] = []

    def start(name: str = "sandbox.db", **options: Any) -> Client:
        client = Client(start_crm(name, **{"plan": "unlimited", **options}))
        clients.append(client)
        return client

    yield start
    for client in clients:
        client.session.close()


@pytest.fixture
def crm(make: Callable[..., Client]) -> Client:
    return make()


@pytest.fixture
def run_command(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: object) -> tuple[int, str, str]:
        code = main([str(one) for one in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return command


@pytest.fixture
def filled(make: Callable[..., Client]) -> Callable[..., Path]:
    """Return the path of a sandbox file with these contacts in it."""

    def fill(name: str, *contacts: dict[str, Any]) -> Path:
        crm = make(name)
        for contact in contacts:
            crm.single(**contact)
        crm.sandbox.close()
        return crm.sandbox.path

    return fill


class Clock:
    """A clock that a test sets: seconds since the epoch."""

    def __init__(self, start: float = 1_795_000_000.0) -> None:
        self.time = start

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()
