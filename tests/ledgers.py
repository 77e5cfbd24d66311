"""Ledgers of the tests' own."""

from __future__ import annotations

from target_mainbrainer.ledger import store
from target_mainbrainer.ledger.database import open_database


def forget_everything(uri: str) -> None:
    """Make a ledger as it is before the first run."""
    database = open_database(uri)
    with database.transaction() as connection:
        store.delete_everything(connection)
    database.close()
