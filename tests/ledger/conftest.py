"""Both kinds of database, empty."""

from __future__ import annotations

import typing as t

import pytest

from target_mainbrainer.ledger.database import open_database
from tests import postgresql

if t.TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from target_mainbrainer.ledger.database import Database
    from tests.postgresql import PostgreSQL


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQL]:
    """Start a PostgreSQL server for the whole session."""
    programs = postgresql.programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed; .ci/system installs it.")
    with postgresql.running(programs) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URI of an empty database of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "ledger.db")
    server: PostgreSQL = request.getfixturevalue("postgresql_server")
    server.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return server.url


@pytest.fixture
def database(ledger_uri: str) -> Iterator[Database]:
    """Open an empty database of each kind."""
    opened = open_database(ledger_uri)
    yield opened
    opened.close()
