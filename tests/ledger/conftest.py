"""A ledger of a kind that a test may choose, and what stands between the target and the CRM."""

from __future__ import annotations

import typing as t

import pytest

from target_mainbrainer.ledger.database import open_database
from tests.ledger.outside import Between
from tests.ledgers import empty_ledger
from tests.rounds import quick

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from target_mainbrainer.ledger.database import Database
    from tests.messages import Record


@pytest.fixture
def ledger_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return where an empty ledger is: in a file, unless a test asks for both databases."""
    return empty_ledger(request, tmp_path)


@pytest.fixture
def settings(settings: Record, ledger_uri: str) -> Record:
    """Settings that reach the CRM, with a ledger."""
    return {**settings, "ledger_uri": ledger_uri}


@pytest.fixture
def database(ledger_uri: str) -> Iterator[Database]:
    """Open an empty database of each kind."""
    opened = open_database(ledger_uri)
    yield opened
    opened.close()


@pytest.fixture
def between(crm: RunningSandbox) -> Iterator[Between]:
    """Start a server that hands everything on to the CRM, unless a test gives it a rule."""
    with Between(crm) as server:
        yield server


@pytest.fixture
def bodies(crm: RunningSandbox) -> Callable[[], list[dict[str, t.Any]]]:
    """Return every contact of every request so far, as it was sent."""
    return lambda: [
        contact
        for request in crm.requests()
        if request.body and "createUpdateContacts" in request.body
        for contact in request.body["createUpdateContacts"]
    ]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait neither for retries nor for the first look at a batch."""
    quick.shorten(monkeypatch)
