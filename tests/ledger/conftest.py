"""A database of each kind, open and empty."""

from __future__ import annotations

import typing as t

import pytest

from target_mainbrainer.ledger.database import open_database

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from target_mainbrainer.ledger.database import Database


@pytest.fixture
def database(ledger_uri: str) -> Iterator[Database]:
    """Open an empty database of each kind."""
    opened = open_database(ledger_uri)
    yield opened
    opened.close()
