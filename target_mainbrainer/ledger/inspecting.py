"""What a ledger holds, for people; and making it forget."""

from __future__ import annotations

import contextlib
import typing as t

import sqlalchemy as sa

from target_mainbrainer.ledger import entry_queries, store
from target_mainbrainer.ledger.comparison import Digests
from target_mainbrainer.ledger.lease import refuse_if_held
from target_mainbrainer.ledger.removal import remove_entries
from target_mainbrainer.ledger.tables import batches, entries, streams

if t.TYPE_CHECKING:
    from target_mainbrainer.ledger.database import Database

_PAGE = 1_000
_ERASING = ("PRAGMA secure_delete = ON", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)")


class StreamSummary(t.NamedTuple):
    """What is held of one stream.

    Attributes:
        known: Source keys.
        unknown: Those of them that are sent again whatever the source says.
        delivered_at: When anything was last accepted, in seconds since the epoch.
        open_batches: Batches whose outcome is not known yet.
    """

    name: str
    known: int
    unknown: int
    delivered_at: int | None
    open_batches: int


def summarise(database: Database, stream: str | None = None) -> list[StreamSummary]:
    """Return what is held of each stream, or of one."""
    open_batches = (
        sa.select(sa.func.count())
        .where(batches.c.stream == streams.c.number, batches.c.is_open)
        .scalar_subquery()
    )
    query = (
        sa.select(
            streams.c.name,
            sa.func.count(entries.c.id),
            sa.func.count(entries.c.id) - sa.func.count(entries.c.content),
            sa.func.max(entries.c.delivered_at),
            open_batches,
        )
        .select_from(streams.outerjoin(entries, entries.c.stream == streams.c.number))
        .group_by(streams.c.number, streams.c.name)
        .order_by(streams.c.name)
    )
    if stream is not None:
        query = query.where(streams.c.name == stream)
    with database.transaction(reads_only=True) as connection:
        return [StreamSummary(*row) for row in connection.execute(query)]


def find(database: Database, key: str, stream: str | None = None) -> list[dict[str, t.Any]]:
    """Return what is held of a source key, in each stream or in one."""
    query = (
        sa.select(
            streams.c.name.label("stream"),
            *(entries.c[name] for name in ("key", "identity", "source_identity", "pending")),
            *(entries.c[name] for name in ("mobile_opt_in", "email_opt_in", "delivered_at")),
            batches.c.batch_id,
            entries.c.content.is_not(None).label("is_known"),
        )
        .join(streams, streams.c.number == entries.c.stream)
        .outerjoin(batches, batches.c.number == entries.c.batch)
        .where(entries.c.key == key)
        .order_by(streams.c.name)
    )
    if stream is not None:
        query = query.where(streams.c.name == stream)
    with database.transaction(reads_only=True) as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def forget(database: Database, *, stream: str | None = None, key: str | None = None) -> int:
    """Forget a source key, a stream, or everything; return how many source keys that were.

    What else holds an identity that is forgotten becomes unknown, so that the next run sends it.

    Raises:
        LedgerError: A run delivers a stream of it.
    """
    with database.transaction() as connection:
        header = store.read_header(connection, lock=True)
        if header is None:
            return 0
        if database.is_sqlite:
            connection.exec_driver_sql("PRAGMA secure_delete = ON")
        now = store.now_of(connection)
        query = sa.select(streams)
        if stream is not None:
            query = query.where(streams.c.name == stream)
        rows = connection.execute(query).all()
        for row in rows:
            refuse_if_held(row, now)
        digests = Digests(header.digest_key)
        if key is not None:
            return sum(remove_entries(connection, digests, row.number, [key]) for row in rows)
        if stream is None:
            forgotten = sum(
                entry_queries.count_entries(connection, row.number, up_to=_HIGHEST) for row in rows
            )
            store.delete_everything(connection)
            return forgotten
        return sum(_forget_stream(connection, digests, row.number) for row in rows)


_HIGHEST = 2**62


def _forget_stream(connection: sa.Connection, digests: Digests, number: int) -> int:
    forgotten = 0
    while page := entry_queries.page_of(connection, number, after="", up_to=_HIGHEST, size=_PAGE):
        forgotten += remove_entries(connection, digests, number, [entry.key for entry in page])
    connection.execute(batches.delete().where(batches.c.stream == number))
    connection.execute(streams.delete().where(streams.c.number == number))
    return forgotten


def erase_traces(database: Database) -> None:
    """Overwrite what deleted rows have left in the database's files.

    Backups and a server's write-ahead archive are beyond reach.
    """
    if database.is_sqlite:
        with contextlib.closing(database.engine.raw_connection()) as connection:
            cursor = connection.cursor()
            for statement in _ERASING:
                cursor.execute(statement)
        return
    options = {"isolation_level": "AUTOCOMMIT"}
    with database.engine.connect().execution_options(**options) as connection:
        connection.exec_driver_sql(f"VACUUM {entries.name}")
