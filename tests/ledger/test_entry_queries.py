"""What is read of a ledger's entries, and that reading stays quick when there are many."""

from __future__ import annotations

import typing as t

import pytest

from target_mainbrainer.ledger import entry_queries
from target_mainbrainer.ledger.database import open_database
from target_mainbrainer.ledger.tables import entries

if t.TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import sqlalchemy as sa

    from target_mainbrainer.ledger.database import Database


def fill(connection: sa.Connection, *, stream: int, count: int) -> None:
    row = {"stream": stream, "shared": False, "doubt": False, "identity": "[1]"}
    rows = [{**row, "key": f"[{n:05}]", "identity_hash": n} for n in range(count)]
    connection.execute(entries.insert(), rows)


def keys_by_page(connection: sa.Connection, **limits: int) -> Iterator[list[str]]:
    after = ""
    while page := entry_queries.page_of(connection, 1, after=after, **limits):
        yield [entry.key for entry in page]
        after = page[-1].key


def test_pages_hold_every_entry_of_a_stream_once(database: Database) -> None:
    with database.transaction() as connection:
        fill(connection, stream=1, count=25)
        fill(connection, stream=2, count=25)
        pages = list(keys_by_page(connection, up_to=20, size=8))
    assert pages == [
        [f"[{n:05}]" for n in range(start, min(start + 8, 20))] for start in (0, 8, 16)
    ]


def test_a_page_takes_no_longer_where_there_are_more(tmp_path: Path) -> None:
    """Else a full read of a million source keys would look through all of them a thousand times."""
    database = open_database(str(tmp_path / "ledger.db"))
    with database.transaction() as connection:
        fill(connection, stream=1, count=50)
        few = steps_of_a_page(connection, 1)
        fill(connection, stream=2, count=5_000)
        many = steps_of_a_page(connection, 2)
    database.close()
    assert 0 < many == pytest.approx(few, rel=0.1)


@pytest.mark.parametrize("is_by_id", [False, True])
def test_which_kinds_of_contacts_there_are(database: Database, *, is_by_id: bool) -> None:
    with database.transaction() as connection:
        assert entry_queries.has_kinds(connection) == (False, False)
        fill(connection, stream=1, count=3)
        assert entry_queries.has_kinds(connection) == (False, True)
        held = -1 if is_by_id else 9
        connection.execute(entries.update().values(identity_hash=-2, pending_hash=held))
        assert entry_queries.has_kinds(connection) == (True, not is_by_id)


def steps_of_a_page(connection: sa.Connection, stream: int) -> int:
    """Return how many steps SQLite takes for one page."""
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    sqlite = t.cast("t.Any", connection.connection.driver_connection)
    sqlite.set_progress_handler(count, 1)
    entry_queries.page_of(connection, stream, after="", up_to=10_000, size=10)
    sqlite.set_progress_handler(None, 1)
    return steps
