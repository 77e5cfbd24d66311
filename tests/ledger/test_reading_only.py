"""What only looks changes nothing: dry runs, `--check` and `show`; and what `forget` forgets."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from tests.broken_server import PAGE, BrokenServer
from tests.ledger.outside import (
    Gate,
    consenting,
    ledger_command,
    night,
    person,
    posts,
    run_process,
    start_target,
)
from tests.ledgers import on_both_databases
from tests.waiting import wait_until

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.ledger.outside import Between
    from tests.messages import Record, RunTarget
    from tests.postgresql import PostgreSQL


NIGHT = night(*consenting(1, 2, 3))
OWNER_AND_GROUP = 0o640


def look(how: str, settings: Record, folder: Path) -> tuple[int, str]:
    """Look into the ledger, and return the exit code and what was said."""
    if how in {"show", "forget"}:
        ended = ledger_command(settings["ledger_uri"], how)
        return ended.returncode, ended.stdout + ended.stderr
    return run_process(settings, NIGHT, folder, how, name="looking")


all_who_look = pytest.mark.parametrize("how", ["--dry-run", "--check", "show"])
all_who_write_nothing = pytest.mark.parametrize("how", ["--dry-run", "--check", "show", "forget"])


# Fault 28


@all_who_write_nothing
@pytest.mark.parametrize("ledger_uri", ["postgresql"], indirect=True)
def test_an_empty_database_stays_empty(
    settings: Record, empty_postgresql: PostgreSQL, tmp_path: Path, how: str
) -> None:
    """`show` and `forget` say that there is no ledger."""
    code, said = look(how, settings, tmp_path)
    assert (code == 0) is how.startswith("--"), said
    assert ("There is no ledger" in said) is (code == 1)
    there = empty_postgresql.execute(
        "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    )
    assert there == "0"


@all_who_write_nothing
@pytest.mark.parametrize("content", [None, b""])
def test_no_file_becomes_a_ledger(
    settings: Record, ledger_uri: str, tmp_path: Path, how: str, content: bytes | None
) -> None:
    """One that does not exist is not made, and an empty one stays empty."""
    path = Path(ledger_uri)
    if content is not None:
        path.write_bytes(content)
    code, said = look(how, settings, tmp_path)
    assert (code == 0) is how.startswith("--"), said
    assert ("There is no ledger" in said) is (code == 1)
    assert (path.read_bytes() if path.exists() else None) == content


@all_who_look
def test_a_ledger_stays_as_it_is(
    run_target: RunTarget, settings: Record, ledger_uri: str, tmp_path: Path, how: str
) -> None:
    """Its content, its mode and its time; and nothing beside it can be read by others."""
    run_target(*NIGHT)
    path = Path(ledger_uri)
    path.chmod(OWNER_AND_GROUP)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    before = path.read_bytes()
    code, said = look(how, settings, tmp_path)
    assert code == 0, said
    assert path.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == OWNER_AND_GROUP
    assert path.stat().st_mtime == 1_700_000_000
    for companion in path.parent.glob(f"{path.name}-*"):
        assert not companion.stat().st_mode & 0o007


@all_who_look
def test_looking_waits_for_no_writer(
    run_target: RunTarget, settings: Record, ledger_uri: str, tmp_path: Path, how: str
) -> None:
    """Somebody else has the file's write lock, for longer than a writer would wait for it."""
    run_target(*NIGHT)
    with contextlib.closing(sqlite3.connect(ledger_uri, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        code, said = look(how, settings, tmp_path)
        writer.execute("ROLLBACK")
    assert code == 0, said


@all_who_look
@on_both_databases
def test_looking_is_possible_beside_a_run(
    run_target: RunTarget, between: Between, settings: Record, tmp_path: Path, how: str
) -> None:
    """Which delivers the same stream."""
    config = {**settings, "api_url": between.url}
    run_target(*NIGHT, **config)
    between.rule = gate = Gate()
    writer = start_target(config, night(person(1, firstname="A")), tmp_path, name="writer")
    try:
        wait_until(lambda: gate.seen)
        # `--check` asks for a status, which the rule lets pass.
        code, said = look(how, config, tmp_path)
    finally:
        gate.open()
        writer.communicate(timeout=60)
    assert code == 0, said
    assert writer.returncode == 0


@all_who_look
@pytest.mark.parametrize("ledger_uri", ["postgresql"], indirect=True)
def test_looking_needs_no_right_to_write(
    run_target: RunTarget, settings: Record, ledger_uri: str, tmp_path: Path, how: str
) -> None:
    """The session allows nothing but reading."""
    run_target(*NIGHT)
    reading = f"{ledger_uri}?options=-c%20default_transaction_read_only%3Don"
    code, said = look(how, {**settings, "ledger_uri": reading}, tmp_path)
    assert code == 0, said
    if how == "--dry-run":
        assert "unchanged" in said


@on_both_databases
def test_a_dry_run_blocks_no_run(
    run_target: RunTarget, settings: Record, tmp_path: Path, crm: RunningSandbox
) -> None:
    """It is still reading its input while another one delivers the stream."""
    run_target(*NIGHT)
    config = tmp_path / "dry.json"
    config.write_text(json.dumps(settings))
    command = str(Path(sys.executable).with_name("target-mainbrainer"))
    with (
        (tmp_path / "dry.log").open("w") as log,
        subprocess.Popen(
            [command, "--config", str(config), "--dry-run"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            text=True,
        ) as dry,
    ):
        assert dry.stdin is not None
        dry.stdin.write("".join(f"{line}\n" for line in NIGHT))
        dry.stdin.flush()
        wait_until(lambda: "key: " in (tmp_path / "dry.log").read_text())
        sent = posts(crm)
        ended = run_target(*night(*consenting(1, 2, 3, firstname="A")))
        dry.communicate(timeout=60)
    assert ended.code == 0, ended.errors
    assert posts(crm) > sent
    assert dry.returncode == 0


# Fault 29


# Fault 30


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[BrokenServer]:
    """Start a proxy that the environment names for everything."""
    with BrokenServer(lambda _request: PAGE) as server:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, server.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield server


def test_nothing_of_a_rehearsal_is_asked_of_a_proxy(
    run_target: RunTarget, proxy: BrokenServer, tmp_path: Path
) -> None:
    """The sandbox is on this machine."""
    local = {"api_url": "", "access_token": "", "sandbox_path": str(tmp_path / "rehearsal.db")}
    for _ in range(2):
        ended = run_target(*NIGHT, **local).ok()
    assert [request.path for request in proxy.requests] == []
    assert ended.counts["unchanged"] == 3


# What must not get lost


def test_a_role_that_has_one_schema_suffices(
    run_target: RunTarget, postgresql_server: PostgreSQL, crm: RunningSandbox
) -> None:
    """Nothing else of the database is its own."""
    postgresql_server.execute(
        "DROP SCHEMA IF EXISTS crm CASCADE; DROP ROLE IF EXISTS loader;"
        "CREATE ROLE loader LOGIN; CREATE SCHEMA crm AUTHORIZATION loader;"
        "ALTER ROLE loader SET search_path = crm; REVOKE ALL ON SCHEMA public FROM PUBLIC"
    )
    uri = postgresql_server.url.replace("tests:any@", "loader:any@")
    for _ in range(2):
        run_target(*NIGHT, ledger_uri=uri).ok()
    assert posts(crm) == 1
    postgresql_server.execute("DROP SCHEMA crm CASCADE; DROP ROLE loader")


def test_what_is_no_ledger_ends_the_run_before_anything_is_sent(
    run_target: RunTarget, crm: RunningSandbox, tmp_path: Path
) -> None:
    """A file of something else stays as it is."""
    text, other = tmp_path / "text", tmp_path / "other.db"
    text.write_text("not a database " * 100)
    with contextlib.closing(sqlite3.connect(other)) as database, database:
        database.execute("CREATE TABLE customers (id INTEGER)")
    before = text.read_bytes(), other.read_bytes()
    for uri, words in (
        (str(text), "damaged or no SQLite database"),
        (str(other), "belongs to another application"),
        (str(tmp_path), "names a folder, not a file"),
        ("postgresql://crm:hush@127.0.0.1:1/ledger", "The server does not answer"),
    ):
        ended = run_target(*NIGHT, ledger_uri=uri)
        assert ended.code == 1
        assert words in ended.error
        assert "hush" not in ended.log + json.dumps(ended.report)
    assert (text.read_bytes(), other.read_bytes()) == before
    assert posts(crm) == 0
