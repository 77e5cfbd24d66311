"""Statements that are executed for many rows at once, as fast as each database can."""

from __future__ import annotations

import operator
import typing as t

import sqlalchemy as sa

if t.TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy.sql.compiler import SQLCompiler

_Getter: t.TypeAlias = "Callable[..., Callable[[t.Any], t.Any]]"


class ForRows:
    """A statement that is executed for many rows at once.

    It is compiled once and given plain values: what SQLAlchemy does with each row otherwise takes
    as long as the row does in the database. SQLite executes it for one row after the other.
    PostgreSQL, where each execution would be read and planned again, gets a column of values in
    one parameter each, and executes it once.

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
        """Likewise, with the attributes of objects in place of rows."""
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
            columns = tuple(list(map(getter(name), rows)) for name in names)
            return connection.exec_driver_sql(text, columns).rowcount
        found = map(getter(*names), rows)
        tuples = [(one,) for one in found] if len(names) == 1 else list(found)
        return connection.exec_driver_sql(text, tuples).rowcount


def _at_once(compiled: SQLCompiler, names: list[str], dialect: sa.Dialect) -> str:
    """Return a statement for one row as one for many, which come as an array for each column."""
    first, *rest = str(compiled).split("%s")
    text = first + "".join(f"r.{name}{part}" for name, part in zip(names, rest, strict=True))
    arrays = ", ".join(
        f"%s::{compiled.binds[name].type.compile(dialect=dialect)}[]" for name in names
    )
    rows = f"unnest({arrays}) AS r({', '.join(names)})"
    if isinstance(compiled.statement, sa.Insert):
        head, _, values = text.partition(" VALUES (")
        return f"{head} SELECT {values.removesuffix(')')} FROM {rows}"  # noqa: S608 - ours
    word = "FROM" if isinstance(compiled.statement, sa.Update) else "USING"
    return text.replace(" WHERE ", f" {word} {rows} WHERE ", 1)
