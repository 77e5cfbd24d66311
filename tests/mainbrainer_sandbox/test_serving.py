"""How connections are reset, and how the server ends."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
import requests

from tests.mainbrainer_sandbox.people import A
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.mainbrainer_sandbox.conftest import Client


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
