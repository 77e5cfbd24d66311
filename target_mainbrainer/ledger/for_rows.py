"""Statements that are executed for many rows at once, as fast as each database can."""

from __future__ import annotations

import operator
import typing as t

import msgspec
import sqlalchemy as sa

if t.TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy.sql.compiler import SQLCompiler

_encode = msgspec.json.encode

_Getter: t.TypeAlias = "Callable[..., Callable[[t.Any], t.Any]]"


class ForRows:
    """A statement that is executed for many rows at once.

    It is compiled once and given plain values: what SQLAlchemy does with each row otherwise takes
    as long as the row does in the database. SQLite executes it for one row after the other.
    PostgreSQL, where each execution would be read and planned again, executes it once and gets all
    rows as one JSON text: psycopg would take longer for their values than the database does.

    Args:
        statement: Its bound parameters are the columns of the rows.
        each: Execute it row by row in any case, because two rows may meet the same entry.
    """

    def __init__(self, statement: sa.Insert | sa.Update | sa.Delete, *, each: bool = False) -> None:
        self._statement = statement
        self._each = each
        self._compiled: dict[str, tuple[str, list[str]]] = {}

    def execute(self, connection: sa.Connection, rows: Sequence[Mapping[str, object]]) -> int:
        """Execute it for rows, of which there may be none; return how many it has met."""
        return self._execute(connection, rows, operator.itemgetter)

    def execute_for(self, connection: sa.Connection, objects: Sequence[object]) -> int:
        """Likewise, with the attributes of structs in place of rows."""
        return self._execute(connection, objects, operator.attrgetter)

    def _execute(self, connection: sa.Connection, rows: Sequence[t.Any], getter: _Getter) -> int:
        if not rows:
            return 0
        dialect = connection.dialect
        is_at_once = dialect.name == "postgresql" and not self._each
        if dialect.name not in self._compiled:
            compiled = self._statement.compile(dialect=dialect)
            names = list(compiled.positiontup or [])
            text = _at_once(compiled, names, dialect) if is_at_once else str(compiled)
            self._compiled[dialect.name] = text, names
        text, names = self._compiled[dialect.name]
        if is_at_once:
            return connection.exec_driver_sql(text, (_encode(rows).decode(),)).rowcount
        found = map(getter(*names), rows)
        tuples = [(one,) for one in found] if len(names) == 1 else list(found)
        return connection.exec_driver_sql(text, tuples).rowcount


def _at_once(compiled: SQLCompiler, names: list[str], dialect: sa.Dialect) -> str:
    """Return a statement for one row as one for many, which come as an array of JSON objects."""
    columns, values = [], []
    for name in names:
        kind = compiled.binds[name].type
        is_binary = isinstance(kind, sa.LargeBinary)  # which is base64 in JSON
        values.append(f"decode(r.{name}, 'base64')" if is_binary else f"r.{name}")
        columns.append(f"{name} {'text' if is_binary else kind.compile(dialect=dialect)}")
    first, *rest = str(compiled).split("%s")
    text = first + "".join(value + part for value, part in zip(values, rest, strict=True))
    rows = f"json_to_recordset(%s) AS r({', '.join(columns)})"
    if isinstance(compiled.statement, sa.Insert):
        head, _, values_of_one = text.partition(" VALUES (")
        return f"{head} SELECT {values_of_one.removesuffix(')')} FROM {rows}"  # noqa: S608 - ours
    word = "FROM" if isinstance(compiled.statement, sa.Update) else "USING"
    return text.replace(" WHERE ", f" {word} {rows} WHERE ", 1)
