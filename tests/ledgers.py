"""Ledgers of the tests' own."""

from pathlib import Path

import pytest

from tests.postgresql import PostgreSQL

on_both_databases = pytest.mark.parametrize("ledger_uri", ["sqlite", "postgresql"], indirect=True)
"""For tests of a module whose `ledger_uri` is otherwise one of SQLite."""


def empty_ledger(request: pytest.FixtureRequest, folder: Path) -> str:
    """Return the URI of an empty ledger, of the kind that a fixture's parameter names."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return str(folder / "ledger.db")
    server: PostgreSQL = request.getfixturevalue("empty_postgresql")
    return server.url
