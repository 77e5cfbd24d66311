"""Opens the ledger's database: SQLite in a file, or PostgreSQL; the same code uses both.

No error text holds the user name, the password or what a statement carried.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import typing as t
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from target_mainbrainer.errors import LedgerError
from target_mainbrainer.ledger.tables import SCHEMA_VERSION, metadata, schema_version

if t.TYPE_CHECKING:
    from collections.abc import Iterator

APPLICATION_ID = 0x6D627231
"""Marks a SQLite file as a ledger, so that no other file is taken for one ("mbr1")."""

BUSY_TIMEOUT_SECONDS = 30.0
CONNECT_TIMEOUT_SECONDS = 10
_CACHE_KIB = 32_768
_CHECKPOINT_PAGES = 10_000
"""A page that many blocks change is then written to the file once, not once a block."""

_CREATING = 0x6D627231
"""Key of the transaction's advisory lock under which a PostgreSQL schema is created."""

_POSTGRESQL = "postgresql+psycopg"
_POSTGRESQL_NAMES = frozenset(["postgres", "postgresql", _POSTGRESQL])
_SQLITE_NAMES = frozenset(["sqlite", "sqlite+pysqlite"])


class NoLedgerError(LedgerError):
    """There is no such file."""


class DatabaseAwayError(LedgerError):
    """The database does not answer, or is locked; later it may be there again."""


class Database:
    """An open database.

    Attributes:
        engine: For statements that need more than `transaction`.
        name: What messages call it: without user name and password.
        is_sqlite: Whether it is a file.
    """

    def __init__(self, engine: sa.Engine, name: str) -> None:
        self.engine = engine
        self.name = name
        self.is_sqlite = engine.dialect.name == "sqlite"

    @contextlib.contextmanager
    def transaction(self, *, reads_only: bool = False) -> Iterator[sa.Connection]:
        """Yield a connection; commit at the end, or roll back after an error.

        On SQLite a transaction has the right to write from its start, so that no two can wait for
        each other; one that `reads_only` hinders no other.

        Raises:
            DatabaseAwayError: The database does not answer.
            LedgerError: It does not do what it is asked.
        """
        try:
            with self.engine.connect() as connection:
                if reads_only:
                    connection = connection.execution_options(reads_only=True)  # noqa: PLW2901
                with connection.begin():
                    yield connection
        except DBAPIError as error:
            raise database_error(self.name, error) from None

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def open_database(uri: str, *, must_exist: bool = False, synchronous: str = "FULL") -> Database:
    """Open the database that `ledger_uri` names, and create its tables if they are missing.

    Args:
        uri: A path, or a SQLAlchemy URI of SQLite or PostgreSQL.
        must_exist: Whether a missing file is an error; else it is created.
        synchronous: How SQLite commits: `FULL` survives a power loss, `NORMAL` a killed process.

    Raises:
        LedgerError: It cannot be opened, or is not a ledger that this version can read.
    """
    url = _parse(uri)
    if url.drivername in _SQLITE_NAMES:
        path = _file_of(url, must_exist=must_exist)
        database = Database(_sqlite_engine(path, synchronous), f"'{path}'")
    else:
        database = Database(_postgresql_engine(url), f"'{_place_of(url)}'")
    try:
        _prepare(database)
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
    kind = type(error.orig).__name__
    error_class = LedgerError
    if "not a database" in text or "malformed" in text:
        reason = "The file is damaged or no SQLite database"
    elif is_sqlite and "locked" in text:
        reason = f"Another process has kept it locked for {BUSY_TIMEOUT_SECONDS:.0f} s"
        error_class = DatabaseAwayError
    elif "readonly" in text or "unable to open" in text:
        reason = "The file cannot be written"
    elif "is full" in text or "no space left" in text:
        reason = "The disk is full"
    elif "password" in text or "authentication" in text:
        reason = "The server refuses the user name or the password"
    elif "permission denied" in text or "no schema has been selected" in text:
        reason = "The role in 'ledger_uri' lacks a right there"
    elif "does not exist" in text:
        reason = "The server has no such database, schema or table"
    elif not is_sqlite and (isinstance(error, OperationalError) or error.connection_invalidated):
        reason = "The server does not answer"
        error_class = DatabaseAwayError
    else:
        reason = f"It reports an unexpected {kind}"
    return error_class(f"The ledger {name} cannot be used. {reason}. Check 'ledger_uri'.")


def _parse(uri: str) -> sa.URL:
    if "://" not in uri:
        return sa.URL.create("sqlite", database=uri)
    try:
        url = sa.make_url(uri)
    except (ArgumentError, ValueError):
        message = "Setting 'ledger_uri' is neither a path nor a URI of SQLite or PostgreSQL."
        raise LedgerError(message) from None
    if url.drivername in _POSTGRESQL_NAMES:
        return url.set(drivername=_POSTGRESQL)
    if url.drivername in _SQLITE_NAMES:
        return url
    message = (
        f"Setting 'ledger_uri' names '{url.drivername}', which is not supported. Use a path, "
        "'sqlite:///path' or 'postgresql://user:password@host/database'."
    )
    raise LedgerError(message)


def _file_of(url: sa.URL, *, must_exist: bool) -> Path:
    """Return the file, made readable and writable for its owner alone."""
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        message = "Setting 'ledger_uri' names no file: a ledger in memory would remember nothing."
        raise LedgerError(message)
    path = Path(url.database).expanduser().absolute()
    if must_exist and not path.exists():
        message = f"There is no ledger at '{path}'. Check 'ledger_uri'."
        raise NoLedgerError(message)
    if path.exists() and not path.is_file():
        message = f"Setting 'ledger_uri' names '{path}', which is no regular file."
        raise LedgerError(message)
    try:
        # SQLite gives its companions (-wal, -shm) the mode of the file itself.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
    except OSError as error:
        message = f"The ledger '{path}' cannot be used: {error.strerror}. Check 'ledger_uri'."
        raise LedgerError(message) from None
    return path


def _place_of(url: sa.URL) -> str:
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{url.host or ''}{port}/{url.database or ''}"


def _sqlite_engine(path: Path, synchronous: str) -> sa.Engine:
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS},
        hide_parameters=True,
    )

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: t.Any, _record: object) -> None:  # noqa: ANN401 - the driver's own
        connection.isolation_level = None  # transactions are begun below, not by the driver
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            message = (
                f"The ledger '{path}' cannot be used: its file system does not support the "
                "write-ahead log. Keep it on a local disk, or use PostgreSQL."
            )
            raise LedgerError(message)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        reads_only = connection.get_execution_options().get("reads_only", False)
        connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")

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
        message = (
            "Setting 'ledger_uri' names a PostgreSQL database, which needs psycopg. Install "
            "'target-mainbrainer[postgres]'."
        )
        raise LedgerError(message) from None


def _prepare(database: Database) -> None:
    """Create the tables in an empty database; refuse one that is not ours or is newer."""
    with database.transaction() as connection:
        tables = sa.inspect(connection)
        if not tables.has_table(schema_version.name):
            if database.is_sqlite:
                if tables.get_table_names():
                    message = (
                        f"The file {database.name} is a database of something else. Name another "
                        "file in 'ledger_uri'."
                    )
                    raise LedgerError(message)
                connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
            else:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATING)))
            metadata.create_all(connection)
            if connection.scalar(sa.select(schema_version.c.version)) is None:
                connection.execute(schema_version.insert().values(version=SCHEMA_VERSION))
        found = connection.scalar(sa.select(schema_version.c.version))
    if found != SCHEMA_VERSION:
        message = (
            f"The ledger {database.name} was written by a newer target-mainbrainer (its version "
            f"is {found}, this program knows {SCHEMA_VERSION}). Upgrade target-mainbrainer."
        )
        raise LedgerError(message)
