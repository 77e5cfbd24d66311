"""Statements that change entries, without a rule of their own; `entry_queries.py` reads them."""

from __future__ import annotations

import typing as t

import sqlalchemy as sa

from target_mainbrainer.ledger.comparison import Entry
from target_mainbrainer.ledger.for_rows import ForRows
from target_mainbrainer.ledger.tables import entries

if t.TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from target_mainbrainer.ledger.marking import Left, Mark

_WITHOUT_ID = [name for name in Entry.__struct_fields__ if name != "id"]
_INSERT = ForRows(
    entries.insert().inline().values({name: sa.bindparam(name) for name in _WITHOUT_ID})
)
_MARK = ForRows(
    entries.update()
    .where(entries.c.id == sa.bindparam("_id"))
    .values(
        {
            name: sa.bindparam(f"_{name}")
            for name in (
                "pending",
                "pending_hash",
                "mobile_opt_in",
                "email_opt_in",
                "shared",
                "doubt",
                "token",
            )
        }
        | {"content": sa.null(), "fields": sa.null()}
    )
)
_SHARE = ForRows(
    entries.update().where(entries.c.id == sa.bindparam("_id")).values(shared=sa.true())
)


def _kept_if_equal(column: sa.Column[bool]) -> sa.Case[bool | None]:
    return sa.case((column == sa.bindparam(f"_{column.name}", type_=sa.Boolean), column))


_LEAVE = ForRows(
    entries.update()
    .where(entries.c.id == sa.bindparam("_id"))
    .values(
        content=sa.null(),
        fields=sa.null(),
        doubt=sa.or_(entries.c.doubt, entries.c.token.is_not(None)),
        mobile_opt_in=_kept_if_equal(entries.c.mobile_opt_in),
        email_opt_in=_kept_if_equal(entries.c.email_opt_in),
    ),
    each=True,
)

_OF_TRY = sa.and_(
    entries.c.stream == sa.bindparam("_stream"),
    entries.c.key == sa.bindparam("_key"),
    entries.c.token == sa.bindparam("_token"),
)


def _unless_in_doubt(column: sa.Column[t.Any], otherwise: t.Any) -> sa.Case[t.Any]:  # noqa: ANN401
    # PostgreSQL takes a null for a text where nothing says what it is.
    value = sa.cast(sa.bindparam(f"_{column.name}", type_=column.type), column.type)
    return sa.case((entries.c.doubt, otherwise), else_=sa.func.coalesce(value, otherwise))


_DELIVERY = (
    entries.update()
    .where(_OF_TRY)
    .values(
        content=_unless_in_doubt(entries.c.content, sa.null()),
        fields=_unless_in_doubt(entries.c.fields, sa.null()),
        mobile_opt_in=_unless_in_doubt(entries.c.mobile_opt_in, entries.c.mobile_opt_in),
        email_opt_in=_unless_in_doubt(entries.c.email_opt_in, entries.c.email_opt_in),
        source_identity=sa.bindparam("_source_identity"),
        moving_id=sa.null(),
        pending=sa.null(),
        pending_hash=sa.null(),
        token=sa.null(),
        doubt=sa.false(),
        batch=sa.bindparam("_batch"),
        delivered_at=sa.bindparam("_now"),
    )
)
_DELIVERED = ForRows(_DELIVERY)
_DELIVERED_MOVE = ForRows(
    _DELIVERY.values(
        identity=sa.bindparam("_identity"), identity_hash=sa.bindparam("_identity_hash")
    )
)
# A later try of the same run was under way already; this one was accepted all the same.
_DELIVERED_BEFORE = ForRows(
    entries.update()
    .where(
        entries.c.stream == sa.bindparam("_stream"),
        entries.c.key == sa.bindparam("_key"),
        entries.c.token > sa.bindparam("_token"),
        entries.c.delivered_at.is_(None),
    )
    .values(delivered_at=sa.bindparam("_now"))
)
_REFUSED_FIRST = ForRows(
    entries.delete().where(_OF_TRY, entries.c.delivered_at.is_(None), entries.c.pending.is_(None))
)
_REFUSED = ForRows(
    entries.update()
    .where(_OF_TRY)
    .values(token=sa.null(), pending=sa.null(), pending_hash=sa.null())
)
_NOTE_ID = ForRows(entries.update().where(_OF_TRY).values(moving_id=sa.bindparam("_moving_id")))
_DELETED = ForRows(entries.delete().where(entries.c.id == sa.bindparam("_id")))
_BATCHES_AT_ONCE = 1_000
_BATCHES_FAILED = (
    entries.update()
    .where(
        entries.c.batch.in_(sa.bindparam("_batches", expanding=True)),
        entries.c.stream == sa.bindparam("_stream"),
    )
    .values(content=None, fields=None, mobile_opt_in=None, email_opt_in=None)
)


def gather_statistics(connection: sa.Connection) -> None:
    """Let PostgreSQL look at the entries, so that it finds them by their indexes from now on.

    It does so by itself about a minute later; until then it reads the whole table for each block.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"ANALYZE {entries.name}")


def forget_contents(connection: sa.Connection) -> None:
    """Make every entry unknown."""
    connection.execute(
        entries.update()
        .where(entries.c.content.is_not(None) | entries.c.token.is_not(None))
        .values(
            content=None,
            fields=None,
            mobile_opt_in=None,
            email_opt_in=None,
            doubt=sa.or_(entries.c.doubt, entries.c.token.is_not(None)),
        )
    )


def write_marks(
    connection: sa.Connection,
    marked: Iterable[Entry],
    left: Iterable[Left],
    shared: Iterable[Entry],
) -> None:
    """Write what a block has come to.

    Others' entries are changed column by column, because their own run may write them meanwhile.
    """
    marked = list(marked)
    ours = {id(entry) for entry in marked}
    _INSERT.execute_for(connection, [entry for entry in marked if entry.id is None])
    _MARK.execute(
        connection,
        [
            {
                "_id": entry.id,
                "_pending": entry.pending,
                "_pending_hash": entry.pending_hash,
                "_mobile_opt_in": entry.mobile_opt_in,
                "_email_opt_in": entry.email_opt_in,
                "_shared": entry.shared,
                "_doubt": entry.doubt,
                "_token": entry.token,
            }
            for entry in marked
            if entry.id is not None
        ],
    )
    write_left(connection, [one for one in left if id(one.entry) not in ours])
    _SHARE.execute(connection, [{"_id": entry.id} for entry in shared if id(entry) not in ours])


def write_left(connection: sa.Connection, left: Sequence[Left]) -> None:
    """Make entries unknown whose identity was left."""
    _LEAVE.execute(
        connection,
        [
            {
                "_id": one.entry.id,
                "_mobile_opt_in": one.mobile_opt_in,
                "_email_opt_in": one.email_opt_in,
            }
            for one in left
        ],
    )


def write_delivered(
    connection: sa.Connection,
    stream: int,
    delivered: Sequence[tuple[Mark, int | None]],
    *,
    now: int,
    unknown: Container[int],
) -> None:
    """Write what was delivered, where no later try has begun.

    Args:
        connection: In a transaction.
        stream: The number of the stream.
        delivered: Marks of what was delivered, and the number of the batch that each went out in.
        now: Seconds since the epoch.
        unknown: Hashes of identities for which the outcome does not tell what the CRM holds.
    """
    rows, moved = [], []
    for mark, batch in delivered:
        is_unknown = mark.identity_hash in unknown
        row = {
            "_stream": stream,
            "_key": mark.key,
            "_token": mark.token,
            "_content": None if is_unknown else mark.content,
            "_fields": None if is_unknown else mark.fields,
            "_mobile_opt_in": None if is_unknown else mark.mobile_opt_in,
            "_email_opt_in": None if is_unknown else mark.email_opt_in,
            "_source_identity": mark.source_identity,
            "_batch": batch,
            "_now": now,
        }
        if mark.is_move:
            moved.append(row | {"_identity": mark.identity, "_identity_hash": mark.identity_hash})
        else:
            rows.append(row)
    met = _DELIVERED.execute(connection, rows) + _DELIVERED_MOVE.execute(connection, moved)
    if met < len(delivered):
        _DELIVERED_BEFORE.execute(connection, rows + moved)


def write_refused(
    connection: sa.Connection, stream: int, marks: Sequence[Mark], unknown: Container[int]
) -> None:
    """Remove what was never accepted, and end the try of what was or may have been."""
    certain = [mark for mark in marks if mark.identity_hash not in unknown]
    _REFUSED_FIRST.execute(connection, _rows_of(stream, certain))
    _REFUSED.execute(connection, _rows_of(stream, marks))


def write_ids(connection: sa.Connection, stream: int, ids: Sequence[tuple[Mark, int]]) -> None:
    """Note the contacts that are about to get another identity."""
    rows = [
        {"_stream": stream, "_key": mark.key, "_token": mark.token, "_moving_id": contact_id}
        for mark, contact_id in ids
    ]
    _NOTE_ID.execute(connection, rows)


def _rows_of(stream: int, marks: Sequence[Mark]) -> list[dict[str, t.Any]]:
    return [{"_stream": stream, "_key": mark.key, "_token": mark.token} for mark in marks]


def delete_entries(connection: sa.Connection, gone: Iterable[Entry]) -> None:
    """Delete entries."""
    _DELETED.execute(connection, [{"_id": entry.id} for entry in gone])


def fail_batches(connection: sa.Connection, stream: int, numbers: Sequence[int]) -> None:
    """Make unknown what was last delivered in these batches.

    All of the stream is read for that, so many batches are taken at once.
    """
    for start in range(0, len(numbers), _BATCHES_AT_ONCE):
        some = numbers[start : start + _BATCHES_AT_ONCE]
        connection.execute(_BATCHES_FAILED, {"_batches": some, "_stream": stream})
