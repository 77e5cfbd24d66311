"""What only looks changes nothing: dry runs, `--check` and `show`; and what `forget` forgets."""

import contextlib
import json
import os
import sqlite3
import stat
import sys
from pathlib import Path

import pytest

from tests.ledger.outside import Night, on_both_databases
from tests.loads import cases, wait_until
from tests.postgresql import PostgreSQL

PEOPLE = "1-3 p# yes"
OWNER_AND_GROUP = 0o640

all_who_look = pytest.mark.parametrize("how", ["dry run", "check", "show"])
all_who_write_nothing = pytest.mark.parametrize("how", ["dry run", "check", "show", "forget"])
on_postgresql = pytest.mark.parametrize("ledger_uri", ["postgresql"], indirect=True)


def look(night: Night, how: str) -> tuple[int, str]:
    """Look into the ledger, and return the exit code and what was said."""
    if how in {"show", "forget"}:
        shown = night.command(how)
        return shown.exit_code, shown.output
    ended = night.check() if how == "check" else night(PEOPLE, dry_run=True)
    return ended.code, ended.log


# Fault 28


def finds_no_ledger(night: Night, how: str) -> bool:
    """Look, and return whether that went as it should without a ledger."""
    code, said = look(night, how)
    says_none = "There is no ledger" in said
    return code == (how in {"show", "forget"}) and says_none is (how != "dry run")


@all_who_write_nothing
@on_postgresql
def test_an_empty_database_stays_so(night: Night, empty_postgresql: PostgreSQL, how: str) -> None:
    """`check`, `show` and `forget` report that there is no ledger."""
    assert finds_no_ledger(night, how)
    there = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    assert empty_postgresql.execute(there) == "0"


@all_who_write_nothing
@cases("content", None, b"")
def test_no_file_becomes_a_ledger(night: Night, how: str, content: bytes | None) -> None:
    """One that does not exist is not made, and an empty one stays empty."""
    path = Path(night.uri)
    if content is not None:
        path.write_bytes(content)
    assert finds_no_ledger(night, how)
    assert (path.read_bytes() if path.exists() else None) == content


@all_who_look
def test_a_ledger_stays_as_it_is(night: Night, how: str) -> None:
    """Its content, its mode and its time; and nothing beside it can be read by others."""
    night(PEOPLE)
    path = Path(night.uri)
    path.chmod(OWNER_AND_GROUP)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    before = path.read_bytes()
    code, said = look(night, how)
    assert code == 0, said
    assert path.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == OWNER_AND_GROUP
    assert path.stat().st_mtime == 1_700_000_000
    for companion in path.parent.glob(f"{path.name}-*"):
        assert not companion.stat().st_mode & 0o007


@all_who_look
def test_looking_waits_for_no_writer(night: Night, how: str) -> None:
    """Another process has the file's write lock, for longer than a writer would wait for it."""
    night(PEOPLE)
    with contextlib.closing(sqlite3.connect(night.uri, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        code, said = look(night, how)
        writer.execute("ROLLBACK")
    assert code == 0, said


@on_both_databases
def test_looking_is_possible_beside_a_run(night: Night) -> None:
    """Which delivers the same stream; the rule lets pass what `--check` asks."""
    night.between()
    night(PEOPLE)
    gate = night.gate()
    writer = night.start("1 p1 =A")
    wait_until(lambda: gate.seen)
    for how in ("dry run", "check", "show"):
        code, said = look(night, how)
        assert code == 0, said
    gate.open()
    assert writer.ended().code == 0


@on_postgresql
def test_looking_needs_no_right_to_write(night: Night) -> None:
    """The session allows nothing but reading."""
    night(PEOPLE)
    night.uri += "?options=-c%20default_transaction_read_only%3Don"
    night.settings["ledger_uri"] = night.uri
    for how, words in (("dry run", "unchanged"), ("check", ""), ("show", "")):
        code, said = look(night, how)
        assert code == 0, said
        assert words in said


@on_both_databases
def test_a_dry_run_blocks_no_run(night: Night) -> None:
    """It is still reading its input while another one delivers the stream."""
    night(PEOPLE)
    dry = night.open(str(Path(sys.executable).with_name("target-mainbrainer")), "--dry-run")
    dry.feed_all(PEOPLE)
    dry.wait_for_log("key: ")
    sent = night.posts
    night("1-3 p# yes =A").ok()
    dry.close_input()
    dry.ended().ok()
    assert night.posts > sent


# What must not get lost


def test_a_role_needs_one_schema_and_nothing_else(
    night: Night, empty_postgresql: PostgreSQL
) -> None:
    empty_postgresql.execute(
        "DROP SCHEMA IF EXISTS crm CASCADE; DROP ROLE IF EXISTS loader;"
        "CREATE ROLE loader LOGIN; REVOKE ALL ON SCHEMA public FROM PUBLIC"
    )
    night.settings["ledger_uri"] = empty_postgresql.url.replace("tests:any@", "loader:any@")
    night(PEOPLE).failed("lacks a right")
    schema = "CREATE SCHEMA crm AUTHORIZATION loader; ALTER ROLE loader SET search_path = crm"
    empty_postgresql.execute(schema)
    for _ in range(2):
        night(PEOPLE).ok()
    assert night.posts == 1
    empty_postgresql.execute("DROP SCHEMA crm CASCADE; DROP ROLE loader")


def test_what_is_no_ledger_ends_the_run_before_anything_is_sent(night: Night) -> None:
    """A file of something else stays as it is, and no password is shown."""
    text, other = night.folder / "text", night.folder / "other.db"
    text.write_text("not a database " * 100)
    with contextlib.closing(sqlite3.connect(other)) as database, database:
        database.execute("CREATE TABLE customers (id INTEGER)")
    before = text.read_bytes(), other.read_bytes()
    for uri, words in (
        (str(text), "damaged or no SQLite database"),
        (str(other), "belongs to another application"),
        (str(night.folder), "which is no regular file"),
        ("/nowhere/ledger.db", "cannot be used: No such file or directory"),
        ("/dev/full", "which is no regular file"),
        ("sqlite://", "which is no regular file"),
        ("mysql://root:hush@127.0.0.1/crm", "neither a path nor a URI"),
        ("://", "neither a path nor a URI"),
        ("postgresql://a:hush@127.0.0.1:port/b", "neither a path nor a URI"),
        ("postgresql://crm:hush@127.0.0.1:1/b", "1:1/b' cannot be used. The server does not"),
    ):
        ended = night(PEOPLE, ledger_uri=uri).failed(words, "ledger_uri")
        assert "hush" not in ended.log + json.dumps(ended.report)
    for night.uri in ("/dev/full", "/"):
        assert "which is no regular file" in night.finds_nothing("show")
    assert (text.read_bytes(), other.read_bytes()) == before
    assert night.posts == 0
