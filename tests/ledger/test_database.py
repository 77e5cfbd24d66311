"""What a ledger's database is opened by, and what is said when it cannot be."""

import contextlib
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from target_mainbrainer.errors import LedgerError
from target_mainbrainer.ledger.database import open_database
from target_mainbrainer.ledger.tables import SCHEMA_VERSION
from tests.ledger.outside import empty_ledger
from tests.loads import cases
from tests.postgresql import PostgreSQL

VERSION = sa.text("SELECT version FROM mainbrainer_schema")
FULL = 2


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return empty_ledger(request, tmp_path)


@contextlib.contextmanager
def transaction(uri: str) -> Iterator[sa.Connection]:
    """Open a ledger's database for one transaction."""
    with contextlib.closing(open_database(uri)) as database, database.transaction() as connection:
        yield connection


def test_all_tables_begin_with_the_product_name(ledger_uri: str) -> None:
    with transaction(ledger_uri) as connection:
        names = sa.inspect(connection).get_table_names()
    assert names
    assert all(name.startswith("mainbrainer_") for name in names)


def test_another_version_ends_with_a_sentence(ledger_uri: str) -> None:
    with transaction(ledger_uri) as connection:
        connection.execute(sa.text("UPDATE mainbrainer_schema SET version = 99"))
    with pytest.raises(
        LedgerError, match=r"another version of target-mainbrainer, .* Use that version"
    ):
        open_database(ledger_uri)


def test_an_error_rolls_back_and_hides_what_the_statement_carried(ledger_uri: str) -> None:
    def fail() -> None:
        with transaction(ledger_uri) as connection:
            connection.execute(sa.text("DELETE FROM mainbrainer_schema"))
            connection.execute(sa.text("SELECT :x FROM nowhere"), {"x": "ola@example.com"})

    with pytest.raises(LedgerError) as caught:
        fail()
    assert "ola@example.com" not in str(caught.value)
    assert caught.value.__cause__ is None
    with transaction(ledger_uri) as connection:
        assert connection.scalars(VERSION).all() == [SCHEMA_VERSION]


# SQLite


def test_a_file_and_its_companions_are_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.touch(mode=0o644)
    with transaction(str(path)) as connection:
        connection.execute(sa.text("UPDATE mainbrainer_schema SET version = version"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}


def test_a_commit_is_on_the_disk_before_it_returns(tmp_path: Path) -> None:
    with transaction(str(tmp_path / "ledger.db")) as connection:
        assert connection.scalar(sa.text("PRAGMA synchronous")) == FULL
        assert connection.scalar(sa.text("PRAGMA journal_mode")) == "wal"


@cases("uri", "sqlite:///{path}", "sqlite+pysqlite:///{path}", "{path}")
def test_a_file_has_several_spellings(tmp_path: Path, uri: str) -> None:
    path = tmp_path / "ledger.db"
    open_database(uri.format(path=path)).close()
    assert path.exists()


# PostgreSQL


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(LedgerError, match=r"Install 'target-mainbrainer\[postgres\]'"):
        open_database("postgresql://tests:hush@127.0.0.1:1/b")


@cases("scheme", "postgres", "postgresql", "postgresql+psycopg")
def test_a_server_has_several_spellings(empty_postgresql: PostgreSQL, scheme: str) -> None:
    open_database(empty_postgresql.url.replace("postgresql", scheme, 1)).close()


def test_a_missing_database_is_named_without_the_user(postgresql_server: PostgreSQL) -> None:
    uri = postgresql_server.url.removesuffix("postgres") + "nowhere"
    with pytest.raises(LedgerError, match="no such database") as caught:
        open_database(uri)
    assert "tests" not in str(caught.value)


def test_a_role_without_rights_is_an_error(empty_postgresql: PostgreSQL) -> None:
    empty_postgresql.execute(
        "DROP ROLE IF EXISTS visitor; CREATE ROLE visitor LOGIN; "
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC"
    )
    with pytest.raises(LedgerError, match="lacks a right"):
        open_database(empty_postgresql.url.replace("tests:any", "visitor:any"))


def test_nothing_rests_on_a_session(empty_postgresql: PostgreSQL) -> None:
    """A pooler gives each transaction another session: prepared statements would be missing."""
    with transaction(empty_postgresql.url) as connection:
        for _ in range(20):
            connection.execute(VERSION)
        assert connection.scalar(sa.text("SELECT count(*) FROM pg_prepared_statements")) == 0
