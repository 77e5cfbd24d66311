"""Statements for many rows: each row counts once, however many there are."""

from __future__ import annotations

import typing as t

import pytest
import sqlalchemy as sa

from target_mainbrainer.ledger.for_rows import ForRows
from target_mainbrainer.ledger.tables import batches

if t.TYPE_CHECKING:
    from target_mainbrainer.ledger.database import Database

COUNTS = (0, 1, 9, 10, 11, 1_234)

_COLUMNS = ("number", "batch_id", "stream", "contacts", "accepted_at", "is_open")
INSERT = ForRows(batches.insert().inline().values({name: sa.bindparam(name) for name in _COLUMNS}))
UPDATE = ForRows(
    batches.update()
    .where(batches.c.number == sa.bindparam("_number"))
    .values(contacts=sa.bindparam("_contacts"))
)
DELETE = ForRows(batches.delete().where(batches.c.number == sa.bindparam("_number")))
ADD = ForRows(
    batches.update()
    .where(batches.c.number == sa.bindparam("_number"))
    .values(contacts=batches.c.contacts + sa.bindparam("_more")),
    each=True,
)


def row(number: int) -> dict[str, object]:
    return {
        "number": number,
        "batch_id": f"batch-{number}",
        "stream": 1,
        "contacts": 0,
        "accepted_at": 1_700_000_000,
        "is_open": number % 2 == 0,
    }


@pytest.mark.parametrize("count", COUNTS)
def test_every_row_is_written_with_its_own_values(database: Database, count: int) -> None:
    changes = [{"_number": n, "_contacts": 10 * n} for n in range(count)]
    with database.transaction() as connection:
        assert INSERT.execute(connection, [row(n) for n in range(count)]) == count
        assert UPDATE.execute(connection, [*changes, {"_number": -1, "_contacts": 7}]) == count
        found = connection.execute(
            sa.select(batches.c.number, batches.c.contacts, batches.c.is_open).order_by(
                batches.c.number
            )
        ).all()
    assert [tuple(one) for one in found] == [(n, 10 * n, n % 2 == 0) for n in range(count)]


@pytest.mark.parametrize("count", COUNTS)
def test_only_the_rows_that_are_named_are_deleted(database: Database, count: int) -> None:
    with database.transaction() as connection:
        INSERT.execute(connection, [row(n) for n in range(count + 5)])
        assert DELETE.execute(connection, [{"_number": n} for n in range(count)]) == count
        left = connection.scalars(sa.select(batches.c.number).order_by(batches.c.number)).all()
    assert left == [count + n for n in range(5)]


def test_rows_that_meet_the_same_entry_all_count_where_that_is_asked_for(
    database: Database,
) -> None:
    with database.transaction() as connection:
        INSERT.execute(connection, [row(1)])
        ADD.execute(connection, [{"_number": 1, "_more": 1}] * 25)
        assert connection.scalar(sa.select(batches.c.contacts)) == 25
