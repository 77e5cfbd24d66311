"""Statements about the ledger itself, its streams and its batches."""

from __future__ import annotations

import os
import time
import typing as t

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from target_mainbrainer.ledger.comparison import KEY_BYTES
from target_mainbrainer.ledger.tables import batches, doubts, entries, ledger, streams

if t.TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


class Header(t.NamedTuple):
    """The one row of the ledger itself."""

    digest_key: bytes
    account: str | None
    access_token: str | None
    last_run: int


def read_header(connection: sa.Connection, *, lock: bool = False) -> Header | None:
    """Return what the ledger says of itself; None if it is new.

    With `lock`, no other transaction that locks it goes on before this one has ended. On SQLite
    that is so for all that write.
    """
    query = sa.select(*(getattr(ledger.c, name) for name in Header._fields))
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else Header(*row)


def create_header(connection: sa.Connection) -> None:
    """Write the ledger's row, with a new random key for its digests."""
    connection.execute(ledger.insert().values(id=1, digest_key=os.urandom(KEY_BYTES), last_run=0))


def update_header(connection: sa.Connection, **values: object) -> None:
    """Change the ledger's row."""
    connection.execute(ledger.update().values(values))


# --- Batches --------------------------------------------------------------------------------


def add_batches(connection: sa.Connection, rows: Sequence[Mapping[str, object]]) -> None:
    """Note batches whose outcome is not known yet, unless they are noted already."""
    if rows:
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        statement = dialect.insert(batches).on_conflict_do_nothing()
        connection.execute(statement, [dict(row) for row in rows])


def open_batches(connection: sa.Connection, stream: int) -> list[tuple[int, str, int]]:
    """Return number, id and size of every batch of a stream that is open, the oldest first."""
    query = (
        sa.select(batches.c.number, batches.c.batch_id, batches.c.contacts)
        .where(batches.c.stream == stream, batches.c.is_open)
        .order_by(batches.c.number)
    )
    return [(row[0], row[1], row[2]) for row in connection.execute(query)]


def close_batches(connection: sa.Connection, numbers: Sequence[int]) -> None:
    """Note that nothing more is awaited of batches."""
    statement = batches.update().where(batches.c.number == sa.bindparam("_number"))
    if numbers:
        rows = [{"_number": number} for number in numbers]
        connection.execute(statement.values(is_open=False), rows)


def delete_closed_batches(connection: sa.Connection, before: int) -> None:
    """Delete batches that were accepted long ago and are not open."""
    connection.execute(
        batches.delete().where(sa.not_(batches.c.is_open), batches.c.accepted_at < before)
    )


# --- Doubts ---------------------------------------------------------------------------------


def take_doubts(connection: sa.Connection, run: int) -> set[int]:
    """Return the identities that were in doubt in the run before; older doubts are over."""
    connection.execute(doubts.delete().where(doubts.c.run < run - 1))
    return set(connection.scalars(sa.select(doubts.c.identity_hash)))


def add_doubts(connection: sa.Connection, hashes: Collection[int], run: int) -> None:
    """Note identities under which a request may be applied a second time."""
    if hashes:
        connection.execute(doubts.delete().where(doubts.c.identity_hash.in_(hashes)))
        connection.execute(
            doubts.insert(), [{"identity_hash": held, "run": run} for held in sorted(hashes)]
        )


# --- Streams --------------------------------------------------------------------------------


def now_of(connection: sa.Connection) -> float:
    """Return the time by the clock that all users of this database share."""
    if connection.dialect.name == "sqlite":
        return time.time()
    return float(
        connection.scalar(sa.text("SELECT extract(epoch FROM clock_timestamp())::float8")) or 0
    )


def lock_stream(connection: sa.Connection, name: str) -> sa.Row[t.Any]:
    """Return the row of a stream, which is created if it is new, locked for this transaction."""
    query = sa.select(streams).where(streams.c.name == name).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:
        connection.execute(streams.insert().values(name=name))
        row = connection.execute(query).one()
    return row


def update_stream(connection: sa.Connection, number: int, **values: object) -> None:
    """Change the row of a stream."""
    connection.execute(streams.update().where(streams.c.number == number).values(values))


def extend_lease(connection: sa.Connection, number: int, run: int, until: float) -> bool:
    """Keep a stream for a run; return False if it is not the run's any more."""
    query = (
        streams.update()
        .where(streams.c.number == number, streams.c.run == run)
        .values(lease_until=until)
    )
    return connection.execute(query).rowcount == 1


def run_of(connection: sa.Connection, number: int) -> int | None:
    """Return the run that a stream belongs to."""
    return connection.scalar(sa.select(streams.c.run).where(streams.c.number == number))


def release_stream(connection: sa.Connection, number: int, run: int) -> None:
    """Let other runs have a stream, if it is this run's."""
    connection.execute(
        streams.update().where(streams.c.number == number, streams.c.run == run).values(run=None)
    )


def delete_everything(connection: sa.Connection) -> None:
    """Delete all entries, streams and batches."""
    for table in (entries, batches, doubts, streams):
        connection.execute(table.delete())


def version_of(connection: sa.Connection, number: int) -> int | None:
    """Return the version of a stream's newest records."""
    return connection.scalar(sa.select(streams.c.version).where(streams.c.number == number))
