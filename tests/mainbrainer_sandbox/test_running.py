"""Starting, closing and what is kept: the one function the target and tests call."""

import logging
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from mainbrainer_sandbox.store import Store
from tests.loads import cases, wait_until
from tests.mainbrainer_sandbox.crm import A, B, Crm, prop


def test_everything_accepted_is_in_the_file_after_closing_and_ids_go_on(crm: Crm) -> None:
    crm.sandbox.set_faults("late=60")
    people = [f"person{n}@example.com" for n in range(40)]
    assert [crm.batch({"email": one}).status_code for one in people] == [202] * 40
    numbers = [one.number for one in crm.sandbox.requests()]
    crm.sandbox.close()
    assert [one.name for one in crm.sandbox.path.parent.iterdir()] == ["x.db"]
    crm = crm.again()
    assert crm.emails == people
    for email, number in ((people[0], "1000001"), ("new@example.com", "1000041")):
        assert crm.single(email=email).json()["data"]["contactId"] == number
    assert [one.number for one in crm.sandbox.requests()] == [*numbers, 41, 42]


def test_many_connections_at_once_lose_nothing(crm: Crm) -> None:
    """Twenty clients, each with its own contacts and one they all change."""
    crm.sandbox.set_faults("latency=1@1")

    def load(worker: int) -> set[int]:
        every = {"email": "all@example.com"}

        def send(n: int) -> int:
            changed = every | {"propertyFields": prop(f"w{worker}", str(n))}
            return crm.batch({"email": f"w{worker}n{n}@example.com"}, changed).status_code

        return {*map(send, range(10))}

    with ThreadPoolExecutor(20) as pool:
        assert set.union(*pool.map(load, range(20))) == {202}
    contacts = {one["email"]: one for one in crm.contacts()}
    assert len(contacts) == 201
    assert contacts["all@example.com"]["properties"] == {f"w{n}": "9" for n in range(20)}
    taken = crm.sandbox.requests()
    assert [one.number for one in taken] == list(range(1, 201))
    assert any(taken[0].overlaps(one) for one in taken[1:20])
    assert not taken[0].overlaps(taken[-1])


def test_nothing_is_said_of_contacts(
    crm: Crm, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    crm.sandbox.set_faults("lost@2", "cut@3")
    crm.batch({"email": "secret@example.com"})
    with pytest.raises(requests.ConnectionError):
        crm.batch({"email": "secret@example.com"})
    crm.batch({"email": "secret@example"})
    crm.get("/secret@example.com")
    crm.sandbox.close()
    mine = [one for one in caplog.records if not one.name.startswith(("urllib3", "asyncio"))]
    assert not any("secret" in one.getMessage() for one in mine)
    out, err = capsys.readouterr()
    assert (out, "secret" in err) == ("", False)


def test_a_fault_of_its_own_is_answered_500_and_logged(
    crm: Crm, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "accept", lambda: "takes no arguments")
    response = crm.single(**A)
    assert (response.status_code, response.json()["status"]) == (500, "Failed")
    assert "failed on request 1" in caplog.text


def test_generated_ids_skip_those_that_contacts_brought(crm: Crm) -> None:
    crm.batch({"contactId": 1000001}, {"contactId": 1000003})
    crm.batch(A, B, {"email": "c@example.com"})
    ids = [one["id"] for one in crm.contacts() if one["email"]]
    assert ids == [1000002, 1000004, 1000005]


# How connections are reset, and how the server ends


def raw(crm: Crm, body: bytes) -> bytes:
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


@cases("fault applied", ("reset", []), ("lost", ["a@example.com"]))
def test_a_connection_is_reset_before_or_after(crm: Crm, fault: str, applied: list[str]) -> None:
    """A true reset, not the polite end of a connection."""
    crm.sandbox.set_faults(fault)
    with pytest.raises(ConnectionResetError):
        raw(crm, b'{"email": "a@example.com"}')
    assert crm.emails == applied
    assert [(one.status, one.fault) for one in crm.sandbox.requests()] == [(0, fault)]


def is_a_request_under_way(crm: Crm) -> bool:
    """Return whether a request is under way: it has a number and is not on record yet."""
    crm.get("/contacts/x/Status")
    numbers = [one.number for one in crm.sandbox.requests()]
    return numbers[-1] > len(numbers)


def test_closing_does_not_wait_for_what_hangs(crm: Crm) -> None:
    crm.sandbox.set_faults("hang:insertupdate")
    with ThreadPoolExecutor(1) as pool:
        posted = pool.submit(crm.single, **A)
        wait_until(lambda: is_a_request_under_way(crm), "the first request did not come")
        crm.sandbox.close()
        assert isinstance(posted.exception(), requests.ConnectionError)
