"""Statements that are executed for many rows at once, as fast as each database can."""

from __future__ import annotations

import operator
import typing as t
from itertools import chain

import sqlalchemy as sa

if t.TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy.sql.compiler import SQLCompiler

_Getter: t.TypeAlias = "Callable[..., Callable[[t.Any], t.Any]]"

_SIZES = (1_000, 100, 10)
"""Rows that SQLite takes in one statement; it allows 32,766 values, and our widest row has 16."""


class ForRows:
    """A statement that is executed for many rows at once.

    It is compiled once and given plain values: what SQLAlchemy does with each row otherwise takes
    as long as the row does in the database. PostgreSQL, where each execution would be read and
    planned again, gets a column of values in one parameter each. SQLite gets the rows as `VALUES`
    of a statement for so many rows: executed row by row, it would hand the interpreter to another
    thread at each of them, which takes longer than the row.

    Args:
        statement: Its bound parameters are the columns of the rows.
        each: Execute it row by row in any case, because two rows may meet the same entry.
    """

    def __init__(self, statement: sa.Insert | sa.Update | sa.Delete, *, each: bool = False) -> None:
        self._statement = statement
        self._each = each
        self._compiled: dict[str, _Compiled] = {}

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
        if dialect.name not in self._compiled:
            self._compiled[dialect.name] = _Compiled(self._statement, dialect)
        compiled = self._compiled[dialect.name]
        names = compiled.names
        if dialect.name == "postgresql" and not self._each:
            columns = tuple(list(map(getter(name), rows)) for name in names)
            return connection.exec_driver_sql(compiled.for_columns(), columns).rowcount
        found = map(getter(*names), rows)
        values = [(one,) for one in found] if len(names) == 1 else list(found)
        met = start = 0
        if dialect.name == "sqlite" and not self._each and not self._statement.is_delete:
            for size in _SIZES:
                while len(values) - start >= size:
                    some = tuple(chain.from_iterable(values[start : start + size]))
                    met += connection.exec_driver_sql(compiled.for_values(size), some).rowcount
                    start += size
        if start < len(values):
            met += connection.exec_driver_sql(compiled.text, values[start:]).rowcount
        return met


class _Compiled:
    """A statement for one row in one dialect, and made of it statements for many."""

    def __init__(self, statement: sa.Insert | sa.Update | sa.Delete, dialect: sa.Dialect) -> None:
        self._compiled: SQLCompiler = statement.compile(dialect=dialect)
        self._dialect = dialect
        self._texts: dict[int, str] = {}
        self.text = str(self._compiled)
        self.names = list(self._compiled.positiontup or [])

    def for_columns(self) -> str:
        """Return a statement for rows that come as an array for each column."""
        if 0 not in self._texts:
            arrays = ", ".join(
                f"%s::{self._compiled.binds[name].type.compile(dialect=self._dialect)}[]"
                for name in self.names
            )
            self._texts[0] = self._from(f"unnest({arrays}) AS r({', '.join(self.names)})", "%s")
        return self._texts[0]

    def for_values(self, size: int) -> str:
        """Return a statement for so many rows, which come value by value."""
        if size not in self._texts:
            row = f"({', '.join('?' for _ in self.names)})"
            values = f"g({', '.join(self.names)}) AS (VALUES {', '.join([row] * size)})"
            # Within the statement, since Python counts the rows of one that begins with its verb.
            self._texts[size] = self._from(f"(WITH {values} SELECT * FROM g) AS r", "?")  # noqa: S608 - ours
        return self._texts[size]

    def _from(self, rows: str, mark: str) -> str:
        """Return the statement with its values taken from rows that are called `r`."""
        first, *rest = self.text.split(mark)
        parts = (f"r.{name}{part}" for name, part in zip(self.names, rest, strict=True))
        text = first + "".join(parts)
        if isinstance(self._compiled.statement, sa.Insert):
            head, _, values = text.partition(" VALUES (")
            return f"{head} SELECT {values.removesuffix(')')} FROM {rows}"  # noqa: S608 - ours
        word = "FROM" if isinstance(self._compiled.statement, sa.Update) else "USING"
        return text.replace(" WHERE ", f" {word} {rows} WHERE ", 1)
