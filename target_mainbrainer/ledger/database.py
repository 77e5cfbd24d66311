"""The ledger's database: SQLite in a file, or PostgreSQL; the same statements serve both.

No error text contains the user name, the password or a value of a statement. A database that goes
away in mid-run is waited for; whether a commit was made whose answer was lost cannot be known, so
everything done in a transaction may be done twice.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sqlite3
import tempfile
import time
import typing as t
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from target_mainbrainer.errors import LedgerError
from target_mainbrainer.ledger.content import Person, Row
from target_mainbrainer.ledger.tables import SCHEMA_VERSION, ledger, metadata, quota, streams

_Row = t.TypeVar("_Row", Person, Row)

_T = t.TypeVar("_T")

logger = logging.getLogger("target-mainbrainer")

BUSY_TIMEOUT_SECONDS = 10.0
"""How long SQLite waits for a lock; meanwhile Python does not hear a signal."""

CONNECT_TIMEOUT_SECONDS = 10
PAUSE_SECONDS = 1.0
ROWS_AT_ONCE = 5_000
_ERASING_MILLISECONDS = 5_000
_CACHE_KIB = 4_096
_CHECKPOINT_PAGES = 10_000
"""A page that many rounds change is then written to the file once, not once a round."""

_CREATING = 0x6D627231
"""Key of the advisory lock under which a PostgreSQL schema is created."""

_REASONS = {
    "not a database|malformed": "The file is damaged or no SQLite database",
    "readonly|unable to open": "The file cannot be written",
    "is full|no space left": "The disk is full",
    "password|authentication": "The server refuses the user name or the password",
    "permission denied|no schema has been": "The role in 'ledger_uri' lacks a right there",
    "does not exist": "The server has no such database, schema or table",
}
"""Meaning of parts of the messages of SQLite and PostgreSQL."""


class NoLedgerError(LedgerError):
    """There is no such file, or no ledger in the database."""


class DatabaseAwayError(LedgerError):
    """The database does not answer, or is locked; later it may be there again."""


class Database:
    """An open database.

    Attributes:
        engine: For statements that need more than `transaction`.
        name: For messages: without user name and password.
        is_sqlite: Whether it is a file.
        retry_max_seconds: How long `execute` waits for a database that is away.
        is_ending: Returns whether the run is to end, so that nothing is waited for any more.
    """

    def __init__(self, engine: sa.Engine, name: str) -> None:
        self.engine = engine
        self.name = name
        self.is_sqlite = engine.dialect.name == "sqlite"
        self.retry_max_seconds = 0.0
        self.is_ending: Callable[[], bool] = lambda: False

    def read(self, work: Callable[[sa.Connection], _T]) -> _T:
        """Return the result of `work`, which only reads and hinders nothing else.

        Raises:
            LedgerError: The database stayed away, or refused a statement.
        """
        return self.execute(work, reads_only=True)

    def write(self, work: Callable[[sa.Connection], _T]) -> _T:
        """Return the result of `work` after it was committed.

        Nothing else writes meanwhile, in any run, so that no two transactions wait for each other.

        Raises:
            LedgerError: As `read` does.
        """

        def alone(connection: sa.Connection) -> _T:
            if not self.is_sqlite:
                connection.execute(sa.select(ledger.c.version).with_for_update())
            return work(connection)

        return self.execute(alone)

    def execute(
        self, work: Callable[[sa.Connection], _T], *, reads_only: bool = False, waits: bool = True
    ) -> _T:
        """Return the result of `work` after it was committed; other runs may write meanwhile.

        Args:
            work: May be called several times.
            reads_only: See `transaction`.
            waits: Wait for a database that is away.

        Raises:
            LedgerError: As `read` does.
        """
        longest, away_since = self.retry_max_seconds if waits else 0, None
        while True:
            try:
                with self.transaction(reads_only=reads_only) as connection:
                    return work(connection)
            except DatabaseAwayError as error:
                if away_since is None and longest:
                    logger.warning("%s The run waits for it, for up to %d s.", error, longest)
                away_since = away_since or time.monotonic()
                if time.monotonic() >= away_since + longest or self.is_ending():
                    raise
                time.sleep(PAUSE_SECONDS)

    @contextlib.contextmanager
    def transaction(self, *, reads_only: bool = False) -> Iterator[sa.Connection]:
        """Yield a connection; commit at the end, or roll back after an error.

        On SQLite a transaction may write from its start, so that no two can wait for each other;
        one that `reads_only` hinders no other.

        Raises:
            DatabaseAwayError: The database does not answer.
            LedgerError: It refused a statement.
        """
        try:
            with self.engine.connect() as connection:
                connection.execution_options(reads_only=reads_only)
                with connection.begin():
                    yield connection
        except DBAPIError as error:
            raise database_error(self.name, error) from None

    def erase_traces(self) -> bool:
        """Overwrite what deleted rows have left; return False if some of it may still be there.

        With SQLite it stays while another process reads, or if the disk is full. The files of a
        PostgreSQL server are its own affair: it may use the space again.
        """
        try:
            if not self.is_sqlite:
                engine = self.engine.execution_options(isolation_level="AUTOCOMMIT")
                with engine.connect() as connection:
                    connection.exec_driver_sql("VACUUM " + ", ".join(metadata.tables))
                return True
            with contextlib.closing(self.engine.raw_connection()) as raw:
                cursor = raw.cursor()
                cursor.execute(f"PRAGMA busy_timeout = {_ERASING_MILLISECONDS}")
                cursor.execute("VACUUM")
                busy, *_ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                return bool(busy == 0)
        except (sqlite3.Error, DBAPIError):
            return False

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def open_database(uri: str, *, reads_only: bool = False, synchronous: str = "FULL") -> Database:
    """Open the database that `ledger_uri` names, and create its tables if they are missing.

    Args:
        uri: A path, or a SQLAlchemy URI of SQLite or PostgreSQL.
        reads_only: Change nothing, not even the mode of the file; a missing ledger is an error.
        synchronous: How SQLite commits: `FULL` survives a power loss, `NORMAL` a killed process.

    Raises:
        NoLedgerError: There is none, and it is not to be created.
        LedgerError: It cannot be opened, or is no ledger that this version can read.
    """
    if not reads_only:
        with contextlib.suppress(NoLedgerError):  # a file of something else stays as it is
            open_database(uri, reads_only=True).close()
    url = _parse(uri)
    if url.get_backend_name() == "sqlite":
        path = _file_of(url, reads_only=reads_only)
        database = Database(_sqlite_engine(path, synchronous, reads_only=reads_only), f"'{path}'")
    else:
        place = sa.URL.create("postgresql", host=url.host, port=url.port, database=url.database)
        database = Database(_postgresql_engine(url), f"'{place}'")
    try:
        with database.transaction(reads_only=reads_only) as connection:
            if not reads_only and not database.is_sqlite:
                # Two runs may find an empty database at the same moment.
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATING)))
            if not _has_ledger(database, connection):
                if reads_only:
                    raise NoLedgerError(  # noqa: TRY301
                        f"There is no ledger in {database.name}. Check 'ledger_uri'."
                    )
                _create(connection)
    except BaseException:
        database.close()
        raise
    return database


def database_error(name: str, error: DBAPIError) -> LedgerError:
    """Return what is said about an error of the database, without the error's own text.

    That text may repeat values of a statement, or the URI.
    """
    is_sqlite = isinstance(error.orig, sqlite3.Error)
    text = str(error.orig).lower()
    error_class = LedgerError
    reason = next((reason for words, reason in _REASONS.items() if re.search(words, text)), "")
    if is_sqlite and "locked" in text:
        reason = f"Another process has kept it locked for {BUSY_TIMEOUT_SECONDS:.0f} s"
        error_class = DatabaseAwayError
    elif not (reason or is_sqlite) and (
        isinstance(error, OperationalError) or error.connection_invalidated
    ):
        reason = "The server does not answer"
        error_class = DatabaseAwayError
    reason = reason or f"It reports an unexpected {type(error.orig).__name__}"
    return error_class(f"The ledger {name} cannot be used. {reason}. Check 'ledger_uri'.")


def _parse(uri: str) -> sa.URL:
    if "://" not in uri:
        return sa.URL.create("sqlite", database=uri)
    try:
        url = sa.make_url(uri)
        if url.get_backend_name() == "sqlite":
            return url
        if url.get_backend_name() in {"postgres", "postgresql"}:
            return url.set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):
        pass
    raise LedgerError(
        "Setting 'ledger_uri' is neither a path nor a URI of SQLite or PostgreSQL, such as "
        "'sqlite:///path' or 'postgresql://user:password@host/database'."
    )


def _file_of(url: sa.URL, *, reads_only: bool) -> Path:
    """Return the file; unless it is only read, it is made readable for its owner alone."""
    path = Path(url.database or "").expanduser().absolute()
    if reads_only and not path.exists():
        raise NoLedgerError(f"There is no ledger at '{path}'. Check 'ledger_uri'.")
    if path.exists() and not path.is_file():
        raise LedgerError(f"Setting 'ledger_uri' names '{path}', which is no regular file.")
    if reads_only:
        return path
    try:
        # SQLite gives its companions (-wal, -shm) the mode of the file itself.
        path.touch(0o600)
        path.chmod(0o600)
    except OSError as error:
        raise LedgerError(
            f"The ledger '{path}' cannot be used: {error.strerror}. Check 'ledger_uri'."
        ) from None
    return path


def _sqlite_engine(path: Path, synchronous: str, *, reads_only: bool) -> sa.Engine:
    query = {"mode": "ro" if reads_only else "rw", "uri": "true"}
    opened = path.stat()
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=f"file:{quote(str(path))}", query=query),
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS},
        hide_parameters=True,
    )

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: t.Any, _record: object) -> None:  # noqa: ANN401 - the driver's own
        connection.isolation_level = None  # transactions are begun below, not by the driver
        if reads_only:
            return
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise LedgerError(
                f"The ledger '{path}' cannot be used: its file system does not support the "
                "write-ahead log. Keep it on a local disk, or use PostgreSQL."
            )
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        only = connection.get_execution_options().get("reads_only", False)
        if not path.exists() or not os.path.samestat(path.stat(), opened):
            raise LedgerError(
                f"The ledger '{path}' was moved, deleted or replaced while it was in use, so the "
                "next run would not find what this one has noted. Put it back, with its "
                "companions ('-wal', '-shm'), and run again."
            )
        connection.exec_driver_sql("BEGIN" if only else "BEGIN IMMEDIATE")

    return engine


def _postgresql_engine(url: sa.URL) -> sa.Engine:
    try:
        return sa.create_engine(
            url,
            # A pooler such as pgbouncer gives each transaction another session, so nothing may
            # rest on one: no prepared statements, no session's locks.
            connect_args={"prepare_threshold": None, "connect_timeout": CONNECT_TIMEOUT_SECONDS},
            pool_pre_ping=True,
            paramstyle="format",  # rows are given as tuples
            hide_parameters=True,
        )
    except (ImportError, NoSuchModuleError):
        raise LedgerError(
            "Setting 'ledger_uri' names a PostgreSQL database, which needs psycopg. Install "
            "'target-mainbrainer[postgres]'."
        ) from None


def _has_ledger(database: Database, connection: sa.Connection) -> bool:
    """Return whether a database is a ledger; else it may become one.

    Raises:
        LedgerError: It is something else, or of another version.
    """
    tables = sa.inspect(connection)
    if tables.has_table(ledger.name):
        if connection.scalar(sa.select(ledger.c.version)) == SCHEMA_VERSION:
            return True
        raise LedgerError(
            f"The ledger {database.name} was written by another version of target-mainbrainer, "
            "which this one cannot read. Use that version, or name another file or database in "
            "'ledger_uri'. Every contact is then sent once more."
        )
    if database.is_sqlite and tables.get_table_names():
        raise LedgerError(
            f"The file {database.name} belongs to another application. Name another file in "
            "'ledger_uri'."
        )
    return False


def _create(connection: sa.Connection) -> None:
    metadata.create_all(connection)
    seed = int.from_bytes(os.urandom(8), "big", signed=True)
    connection.execute(ledger.insert().values(version=SCHEMA_VERSION, seed=seed))


# Rows by the thousand


class Writer:
    """A statement that writes many rows of one table, as fast as each database can.

    SQLite executes it row by row. PostgreSQL, where each execution would be parsed and planned
    again, gets all rows as one JSON text.

    Args:
        table: The table.
        columns: The columns that a row has, in order.
        by: Insert rows if it is None; else update the rows of which so many columns, the first of
            `columns`, have the values given.
        clears: Columns that an update sets to null.
    """

    def __init__(
        self,
        table: sa.Table,
        columns: Sequence[str],
        *,
        by: int | None = None,
        clears: Sequence[str] = (),
    ) -> None:
        self._table, self._columns, self._by, self._clears = table, columns, by, clears

    def _statement(self, given: dict[str, str], rows: str = "") -> str:
        table, by = self._table.name, self._by
        if by is None:
            return (
                f"INSERT INTO {table} ({', '.join(given)}) SELECT {', '.join(given.values())}{rows}"
            )
        values = [f"{name} = {given[name]}" for name in self._columns[by:]]
        values += [f"{name} = NULL" for name in self._clears]
        is_row = [f"{table}.{name} = {given[name]}" for name in self._columns[:by]]
        return f"UPDATE {table} SET {', '.join(values)}{rows} WHERE {' AND '.join(is_row)}"  # noqa: S608 - ours

    def write(self, connection: sa.Connection, rows: Sequence[tuple[t.Any, ...]]) -> None:
        """Write rows, of which there may be none."""
        if not rows:
            return
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(self._sqlite, list(rows))
            return
        objects = [dict(zip(self._columns, row, strict=True)) for row in rows]
        text = msgspec.json.encode(objects).decode()
        connection.exec_driver_sql(self._postgresql, (text,))

    @cached_property
    def _sqlite(self) -> str:
        return self._statement({name: f"?{at}" for at, name in enumerate(self._columns, 1)})

    @cached_property
    def _postgresql(self) -> str:
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - SQLite needs no memory for it

        dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
        kinds = {name: self._table.c[name].type.compile(dialect) for name in self._columns}
        given = {
            name: f"decode(r.{name}, 'base64')" if kind == "BYTEA" else f"r.{name}"
            for name, kind in kinds.items()
        }
        row = ", ".join(
            f"{name} {'text' if kind == 'BYTEA' else kind}" for name, kind in kinds.items()
        )
        return self._statement(given, f" FROM json_to_recordset(%s) AS r({row})")


def number_new(connection: sa.Connection, table: sa.Table, rows: Iterable[_Row]) -> list[_Row]:
    """Number the rows that have no number, and return these."""
    new = [row for row in rows if row.id is None]
    highest = connection.scalar(sa.select(sa.func.max(table.c.id))) if new else None
    for number, row in enumerate(new, start=(highest or 0) + 1):
        row.id = number
    return new


def one_of(
    connection: sa.Connection, column: sa.Column[t.Any], values: Collection[t.Any]
) -> sa.ColumnElement[bool]:
    """Return the condition that a column has one of many integers or texts."""
    if connection.dialect.name == "sqlite":
        text = msgspec.json.encode(list(values)).decode()
        given = sa.bindparam("given", text, sa.Text, unique=True)
        return column.in_(sa.text("SELECT value FROM json_each(:given)").bindparams(given))
    return column == sa.any_(sa.literal(list(values), sa.ARRAY(column.type)))


def update_each(
    connection: sa.Connection,
    column: sa.Column[t.Any],
    values: Collection[t.Any],
    *conditions: sa.ColumnElement[bool],
    **changes: object,
) -> None:
    """Change the rows that have one of many values in a column; for none no row is looked at."""
    if values:
        where = (one_of(connection, column, values), *conditions)
        connection.execute(column.table.update().where(*where).values(**changes))


@contextlib.contextmanager
def scratch_copy(uri: str) -> Iterator[Database]:
    """Yield a copy of a ledger for a dry run, an empty one if there is no ledger yet.

    So a dry run goes the same way as a run, and the ledger itself is only read.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="target-mainbrainer-") as folder:
        path = str(Path(folder) / "ledger.db")
        with contextlib.closing(open_database(path, synchronous="OFF")) as copy:
            with (
                contextlib.suppress(NoLedgerError),
                contextlib.closing(open_database(uri, reads_only=True)) as original,
            ):
                _copy(original, copy)
            yield copy


def _copy(original: Database, copy: Database) -> None:
    with original.transaction(reads_only=True) as source, copy.transaction() as target:
        target.execute(ledger.delete())
        for table in metadata.sorted_tables:
            if table is quota:
                continue
            rows = source.execution_options(yield_per=ROWS_AT_ONCE).execute(sa.select(table))
            for part in rows.mappings().partitions(ROWS_AT_ONCE):
                target.execute(table.insert(), [dict(row) for row in part])
        # A run that goes on at this moment does not prevent a dry run.
        target.execute(streams.update().values(run=None, lease_until=None))
