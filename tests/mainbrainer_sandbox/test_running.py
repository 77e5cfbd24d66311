"""Starting, closing and what is kept: the one function the target and tests call."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import requests

import mainbrainer_sandbox as sandbox
from mainbrainer_sandbox.faults import FaultError
from mainbrainer_sandbox.store import Store
from mainbrainer_sandbox.switches import SwitchError
from tests.mainbrainer_sandbox.conftest import Client
from tests.mainbrainer_sandbox.people import prop

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
    crm = make(faults=["latency=0.05@1-20"])

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
