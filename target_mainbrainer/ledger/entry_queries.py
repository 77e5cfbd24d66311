"""Queries for entries: what is read of them, without a rule of its own."""

from __future__ import annotations

import typing as t

import sqlalchemy as sa

from target_mainbrainer.ledger.comparison import Entry
from target_mainbrainer.ledger.tables import entries

if t.TYPE_CHECKING:
    from collections.abc import Iterable

_COLUMNS = [getattr(entries.c, name) for name in Entry.__struct_fields__]
# From the ends of the indexes: where a database has no statistics yet, it looks for a value below
# zero in the whole table. One query for each, as SQLite reads the whole index for two.
_EXTREMES = sa.select(
    *(
        sa.select(extreme(column)).where(column.is_not(None)).scalar_subquery()
        for column in (entries.c.identity_hash, entries.c.pending_hash)
        for extreme in (sa.func.min, sa.func.max)
    )
)


def _is_any_of(dialect: str, column: sa.Column[t.Any], values: str) -> sa.ColumnElement[bool]:
    """Return whether a column is one of many values, which PostgreSQL takes as one array."""
    if dialect == "postgresql":
        return column == sa.any_(sa.bindparam(values, type_=sa.ARRAY(column.type)))
    return column.in_(sa.bindparam(values, expanding=True))


_DIALECTS = ("sqlite", "postgresql")
_BY_KEY = {
    dialect: sa.select(*_COLUMNS).where(
        entries.c.stream == sa.bindparam("stream"), _is_any_of(dialect, entries.c.key, "keys")
    )
    for dialect in _DIALECTS
}
_BY_HASH = {
    dialect: [
        sa.select(*_COLUMNS).where(_is_any_of(dialect, column, "hashes"))
        for column in (entries.c.identity_hash, entries.c.pending_hash)
    ]
    for dialect in _DIALECTS
}


def entries_of(connection: sa.Connection, stream: int, keys: Iterable[str]) -> list[Entry]:
    """Return the entries of source keys."""
    parameters = {"stream": stream, "keys": list(keys)}
    return [
        Entry(*row)
        for row in connection.execute(_BY_KEY[connection.dialect.name], parameters).all()
    ]


def holders_of(connection: sa.Connection, hashes: Iterable[int]) -> list[Entry]:
    """Return the entries that hold any of these identities, some of them twice."""
    parameters = {"hashes": list(hashes)}
    return [
        Entry(*row)
        for query in _BY_HASH[connection.dialect.name]
        for row in connection.execute(query, parameters).all()
    ]


def has_kinds(connection: sa.Connection) -> tuple[bool, bool]:
    """Return whether any entry names its contact by id, and whether any does not."""
    least, most, least_pending, most_pending = connection.execute(_EXTREMES).one()
    by_id = any(value is not None and value < 0 for value in (least, least_pending))
    plain = any(value is not None and value >= 0 for value in (most, most_pending))
    return by_id, plain


def unresolved_hashes(connection: sa.Connection) -> set[int]:
    """Return the identities under which a try is going on, or was and its outcome is not known."""
    is_tried = entries.c.token.is_not(None)
    found = connection.execute(
        sa.select(entries.c.identity_hash, entries.c.pending_hash).where(is_tried)
    )
    return {held for row in found for held in row if held is not None}


def newest_id(connection: sa.Connection) -> int:
    """Return the highest id of any entry, 0 if there is none."""
    return connection.scalar(sa.select(sa.func.max(entries.c.id))) or 0


def count_entries(connection: sa.Connection, stream: int, *, up_to: int) -> int:
    """Return how many entries of a stream have an id up to this one."""
    query = sa.select(sa.func.count()).where(entries.c.stream == stream, entries.c.id <= up_to)
    return connection.scalar(query) or 0


def page_of(
    connection: sa.Connection, stream: int, *, after: str, up_to: int, size: int
) -> list[Entry]:
    """Return the next entries of a stream with an id up to this one, in the order of their keys.

    There is an index in that order. In the order of the ids, the whole stream would be read and
    sorted for every page.
    """
    query = (
        sa.select(*_COLUMNS)
        .where(entries.c.stream == stream, entries.c.key > after, entries.c.id <= up_to)
        .order_by(entries.c.key)
        .limit(size)
    )
    return [Entry(*row) for row in connection.execute(query).all()]
