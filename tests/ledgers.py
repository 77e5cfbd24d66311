"""Ledgers of the tests' own."""

from __future__ import annotations

import typing as t

import pytest

from target_mainbrainer.ledger import store
from target_mainbrainer.ledger.database import open_database

if t.TYPE_CHECKING:
    from pathlib import Path

    from tests.postgresql import PostgreSQL

on_both_databases = pytest.mark.parametrize("ledger_uri", ["sqlite", "postgresql"], indirect=True)
"""For tests of a module whose `ledger_uri` is otherwise one of SQLite."""


def empty_ledger(request: pytest.FixtureRequest, folder: Path) -> str:
    """Return the URI of an empty ledger, of the kind that a fixture's parameter names."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return str(folder / "ledger.db")
    server: PostgreSQL = request.getfixturevalue("postgresql_server")
    server.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return server.url


def forget_everything(uri: str) -> None:
    """Make a ledger as it is before the first run."""
    database = open_database(uri)
    with database.transaction() as connection:
        store.delete_everything(connection)
    database.close()
