"""A ledger of a kind that a test may choose, and what stands between the target and the CRM."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mainbrainer_sandbox.running import RunningSandbox
from tests.ledger.outside import Between, Night, empty_ledger
from tests.loads import Record
from tests.rounds import quick


@pytest.fixture
def ledger_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return where an empty ledger is: in a file, unless a test asks for both databases."""
    return empty_ledger(request, tmp_path)


@pytest.fixture
def settings(settings: Record, ledger_uri: str) -> Record:
    """Settings that reach the CRM, with a ledger."""
    return {**settings, "ledger_uri": ledger_uri}


@pytest.fixture
def between(crm: RunningSandbox) -> Iterator[Between]:
    """Start a server that hands everything on to the CRM, unless a test gives it a rule."""
    with Between(crm) as server:
        yield server


@pytest.fixture
def night(request: pytest.FixtureRequest, ledger_uri: str) -> Night:
    """The target with a ledger; it waits neither for retries nor for the first look at a batch."""
    made = Night(request, ledger_uri)
    quick.shorten(made.patch)
    return made
