"""Starting, closing and what is kept: the one function the target and tests call."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import requests

import mainbrainer_sandbox as sandbox
from mainbrainer_sandbox.faults import FaultError
from mainbrainer_sandbox.store import Store
from mainbrainer_sandbox.switches import SwitchError
from tests.mainbrainer_sandbox.conftest import Client
from tests.mainbrainer_sandbox.people import A, prop
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PEOPLE = [{"email": f"person{n}@example.com"} for n in range(40)]


@pytest.mark.parametrize(
    ("modules", "forbidden"),
    [
        ("mainbrainer_sandbox", "starlette uvicorn jinja2 sqlite3"),
        ("mainbrainer_sandbox.running, mainbrainer_sandbox.command", "target_mainbrainer"),
    ],
)
def test_importing_it_imports_nothing_heavy_and_nothing_of_the_target(
    modules: str, forbidden: str
) -> None:
    """So that it can judge the target."""
    code = f"import sys, {modules}; print([m for m in '{forbidden}'.split() if m in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("options", "error"),
    [({"clash": "x"}, SwitchError), ({"faults": ["x"]}, FaultError), ({"no_such": 1}, SwitchError)],
)
def test_a_wrong_option_starts_nothing(
    tmp_path: Path, options: dict[str, Any], error: type[Exception]
) -> None:
    threads = threading.active_count()
    with pytest.raises(error):
        sandbox.start(tmp_path / "x.db", **options)
    assert threading.active_count() == threads
    assert not (tmp_path / "x.db").exists()


def test_everything_accepted_is_in_the_file_after_closing(make: Callable[..., Client]) -> None:
    crm = make(faults=["late=60"])
    for one in PEOPLE:
        assert crm.batch(one).status_code == 202
    crm.sandbox.close()
    assert [one.name for one in crm.sandbox.path.parent.iterdir()] == ["sandbox.db"]
    assert [one["email"] for one in make().contacts()] == [one["email"] for one in PEOPLE]


def test_many_connections_at_once_lose_nothing(make: Callable[..., Client]) -> None:
    """Twenty clients, each with its own contacts and one they all change."""
    crm = make(faults=["latency=1@1"])

    def load(worker: int) -> list[int]:
        client, statuses = Client(crm.sandbox), []
        with client.session:
            for n in range(10):
                every = {"email": "all@example.com", "propertyFields": prop(f"w{worker}", str(n))}
                answer = client.batch({"email": f"w{worker}n{n}@example.com"}, every)
                statuses.append(answer.status_code)
        return statuses

    with ThreadPoolExecutor(20) as pool:
        assert {status for one in pool.map(load, range(20)) for status in one} == {202}
    contacts = {one["email"]: one for one in crm.contacts()}
    assert len(contacts) == 201
    assert contacts["all@example.com"]["properties"] == {f"w{n}": "9" for n in range(20)}
    taken = crm.sandbox.requests()
    assert [one.number for one in taken] == list(range(1, 201))
    assert any(taken[0].overlaps(one) for one in taken[1:20])
    assert not taken[0].overlaps(taken[-1])


def test_bodies_are_kept_on_request(make: Callable[..., Client]) -> None:
    crm = make(keep_bodies=True)
    crm.single(email="a@example.com")
    (request,) = crm.sandbox.requests()
    assert request.body == {"email": "a@example.com"}
    assert (request.method, request.path) == ("POST", "/contacts/insertupdate")
    assert (request.status, request.contacts) == (202, 1)


def test_nothing_is_said_of_contacts(
    make: Callable[..., Client], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    crm = make(faults=["lost@2", "cut@3"])
    crm.batch({"email": "secret@example.com"})
    with pytest.raises(requests.ConnectionError):
        crm.batch({"email": "secret@example.com"})
    crm.batch({"email": "secret@example"})
    crm.session.get(f"{crm.sandbox.url}/secret@example.com", timeout=9)
    crm.sandbox.close()
    mine = [one for one in caplog.records if not one.name.startswith(("urllib3", "asyncio"))]
    assert not any("secret" in one.getMessage() for one in mine)
    out, err = capfd.readouterr()
    assert (out, "secret" in err) == ("", False)


def test_a_fault_of_its_own_is_answered_500_and_logged(
    crm: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        message = "broken"
        raise RuntimeError(message)

    monkeypatch.setattr(Store, "accept", broken)
    response = crm.single(email="a@example.com")
    assert response.status_code == 500
    assert response.json()["status"] == "Failed"
    assert "failed on request 1" in caplog.text


# What is kept from one start to the next


def test_contacts_survive_a_restart_and_ids_go_on(make: Callable[..., Client]) -> None:
    crm = make()
    crm.single(email="a@example.com")
    numbers = [one.number for one in crm.sandbox.requests()]
    crm.sandbox.close()
    crm = make()
    assert crm.single(email="a@example.com").json()["data"]["contactId"] == "1000001"
    assert crm.single(email="b@example.com").json()["data"]["contactId"] == "1000002"
    assert [one.number for one in crm.sandbox.requests()] == [*numbers, 2, 3]


def test_generated_ids_skip_those_that_contacts_brought(crm: Client) -> None:
    crm.batch({"contactId": 1000001}, {"contactId": 1000003})
    crm.batch(*({"email": f"{name}@example.com"} for name in "abc"))
    ids = [one["id"] for one in crm.contacts() if one["email"]]
    assert ids == [1000002, 1000004, 1000005]


# How connections are reset, and how the server ends


def raw(crm: Client, body: bytes) -> bytes:
    """Send a contact over a bare socket, and return what comes back until the end."""
    host, port = crm.sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            b"POST /contacts/insertupdate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            + f"Authorization: Bearer {crm.sandbox.token}\r\n".encode()
            + f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        return connection.recv(65536)


@pytest.mark.parametrize(("fault", "applied"), [("reset", []), ("lost", ["a@example.com"])])
def test_a_connection_is_reset_before_or_after(crm: Client, fault: str, applied: list[str]) -> None:
    """A true reset, not the polite end of a connection."""
    crm.sandbox.set_faults(fault)
    with pytest.raises(ConnectionResetError):
        raw(crm, b'{"email": "a@example.com"}')
    assert [one["email"] for one in crm.contacts()] == applied
    assert [(one.status, one.fault) for one in crm.sandbox.requests()] == [(0, fault)]


def is_a_request_under_way(crm: Client) -> bool:
    """Return whether a request is under way: it has a number and is not on record yet."""
    crm.get("/contacts/x/Status")
    numbers = [one.number for one in crm.sandbox.requests()]
    return numbers[-1] > len(numbers)


def test_closing_does_not_wait_for_what_hangs(make: Callable[..., Client]) -> None:
    crm = make(faults=["hang:insertupdate"])
    failures: list[Exception] = []

    def post() -> None:
        try:
            crm.single(**A)
        except requests.ConnectionError as error:
            failures.append(error)

    thread = threading.Thread(target=post)
    thread.start()
    wait_until(lambda: is_a_request_under_way(crm), "the first request did not come")
    started = time.monotonic()
    crm.sandbox.close()
    thread.join()
    assert time.monotonic() - started < 3
    assert len(failures) == 1
