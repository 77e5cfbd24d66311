"""What only looks changes nothing: dry runs, `--check` and `show`; and what `forget` forgets."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
import subprocess
import sys
import time
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
from tests.messages import record, schema, state
from tests.waiting import wait_until

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.ledger.outside import Between
    from tests.messages import Record, RunTarget
    from tests.postgresql import PostgreSQL


NIGHT = night(*consenting(1, 2, 3))
OWNER_AND_GROUP = 0o640


def look(how: str, settings: Record, folder: Path) -> tuple[int, str]:
    """Look into the ledger, and return the exit code and what was said."""
    if how == "show":
        ended = ledger_command(settings["ledger_uri"], "show")
        return ended.returncode, ended.stdout + ended.stderr
    return run_process(settings, NIGHT, folder, how, name="looking")


all_who_look = pytest.mark.parametrize("how", ["--dry-run", "--check", "show"])


# Fault 28


@all_who_look
@pytest.mark.parametrize("ledger_uri", ["postgresql"], indirect=True)
def test_an_empty_database_stays_empty(
    settings: Record, empty_postgresql: PostgreSQL, tmp_path: Path, how: str
) -> None:
    """`show` may say that there is no ledger."""
    code, said = look(how, settings, tmp_path)
    assert code == 0 or how == "show", said
    assert "Traceback" not in said
    there = empty_postgresql.execute(
        "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    )
    assert there == "0"


@all_who_look
@pytest.mark.parametrize("content", [None, b""])
def test_no_file_becomes_a_ledger(
    settings: Record, ledger_uri: str, tmp_path: Path, how: str, content: bytes | None
) -> None:
    """One that does not exist is not made, and an empty one stays empty."""
    path = Path(ledger_uri)
    if content is not None:
        path.write_bytes(content)
    code, said = look(how, settings, tmp_path)
    assert code == 0 or how == "show", said
    assert "Traceback" not in said
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
    """Somebody else has the file's write lock."""
    run_target(*NIGHT)
    with contextlib.closing(sqlite3.connect(ledger_uri, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        code, said = look(how, settings, tmp_path)
        seconds = time.monotonic() - started
        writer.execute("ROLLBACK")
    assert code == 0, said
    assert seconds < 10


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
        wait_until(lambda: "told apart by" in (tmp_path / "dry.log").read_text())
        time.sleep(2)
        sent = posts(crm)
        ended = run_target(*night(*consenting(1, 2, 3, firstname="A")))
        dry.communicate(timeout=60)
    assert ended.code == 0, ended.errors
    assert posts(crm) > sent
    assert dry.returncode == 0


# Fault 29


def is_left(uri: str, address: str) -> bool:
    """Return whether an address can be found in the files of a ledger."""
    path = Path(uri)
    files = [path, *path.parent.glob(f"{path.name}-*")]
    return any(address.encode() in file.read_bytes() for file in files)


def test_forget_does_not_claim_what_a_reader_prevents(
    run_target: RunTarget, ledger_uri: str
) -> None:
    """Exit code 1 if bytes may be left in the file."""
    run_target(*night(*consenting(1, 2)))
    assert is_left(ledger_uri, "p1@example.com")
    with contextlib.closing(sqlite3.connect(ledger_uri, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
        ended = ledger_command(ledger_uri, "forget", "--stream", "people", "--key", "1")
        reader.execute("ROLLBACK")
        assert ended.returncode == 1 or not is_left(ledger_uri, "p1@example.com")
    again = ledger_command(ledger_uri, "forget", "--stream", "people", "--key", "2")
    assert again.returncode == 0
    assert not is_left(ledger_uri, "p1@example.com")
    assert not is_left(ledger_uri, "p2@example.com")


KEYS: list[tuple[t.Any, list[str]]] = [
    (4711, ["4711"]),
    ("4711", ['"4711"']),
    ("Ærø 7", ['"Ærø 7"']),
    (47.11, ["47.11"]),
    (4711.0, ["4711.0", "4711"]),
    (1e16, ["1e16", "10000000000000000"]),
    (True, ["true"]),
    ("2026-11-01T00:00:00+00:00", ['"2026-11-01T00:00:00+00:00"']),
    (9007199254740993, ["9007199254740993"]),
]


@pytest.mark.parametrize(("key", "written"), KEYS)
def test_a_key_of_any_type_is_forgotten(
    run_target: RunTarget, ledger_uri: str, key: t.Any, written: list[str]
) -> None:
    """As the source writes it."""
    kind = {bool: "boolean", int: "integer", float: "number", str: "string"}[type(key)]
    columns: Record = {"id": {"type": kind}, "email": {"type": "string"}}
    for spelling in written:
        lines = [record(id=key, email="p1@example.com"), state()]
        run_target(schema(columns), *lines).ok()
        assert is_left(ledger_uri, "p1@example.com")
        ended = ledger_command(ledger_uri, "forget", "--stream", "people", "--key", spelling)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert not is_left(ledger_uri, "p1@example.com")


def test_a_key_of_several_columns_is_forgotten(run_target: RunTarget, ledger_uri: str) -> None:
    """As a list of its values."""
    columns: Record = {"shop": {}, "no": {"type": "number"}, "email": {}}
    lines = [record(shop="a", no=1.5, email="p1@example.com"), state()]
    run_target(schema(columns, key=("shop", "no")), *lines)
    ended = ledger_command(ledger_uri, "forget", "--key", '["a", 1.5]')
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert not is_left(ledger_uri, "p1@example.com")


def test_an_aliased_stream_is_forgotten_by_the_name_that_is_shown(
    run_target: RunTarget, ledger_uri: str
) -> None:
    """Whichever of its two names that is."""
    for name, key in (("customers", None), ("people", None), ("customers", "1"), ("people", "1")):
        maps = {"people": {"__alias__": "customers"}}
        run_target(*night(*consenting(1)), stream_maps=maps).ok()
        if name not in ledger_command(ledger_uri, "show").stdout:
            continue
        of_key = ["--key", key] if key else []
        ended = ledger_command(ledger_uri, "forget", "--stream", name, *of_key)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert not is_left(ledger_uri, "p1@example.com")


def test_a_stream_without_keys_is_forgotten(run_target: RunTarget, ledger_uri: str) -> None:
    """What is known of it is known by identity."""
    run_target(*night(*consenting(1, 2), key=()))
    ended = ledger_command(ledger_uri, "forget", "--stream", "people")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert not is_left(ledger_uri, "p1@example.com")


@on_both_databases
@pytest.mark.parametrize("arguments", [["--stream", "peple"], ["--key", "99"]])
def test_forgetting_nothing_is_no_success(
    run_target: RunTarget, ledger_uri: str, arguments: list[str]
) -> None:
    """Somebody has misspelt something, and thinks that a person is forgotten."""
    run_target(*night(*consenting(1, 2)))
    ended = ledger_command(ledger_uri, "forget", *arguments)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr


@on_both_databases
def test_show_says_what_is_known_of_a_person(run_target: RunTarget, ledger_uri: str) -> None:
    """Identity and the consent that was said: why is 4711 as it is?"""
    run_target(*night(*consenting(4711)))
    ended = ledger_command(ledger_uri, "show", "--stream", "people", "--key", "4711")
    assert ended.returncode == 0
    assert "p4711@example.com" in ended.stdout
    assert "email_opt_in" in ended.stdout or "opt-in" in ended.stdout


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


@on_both_databases
def test_a_role_that_has_one_schema_suffices(
    run_target: RunTarget, request: pytest.FixtureRequest, ledger_uri: str, crm: RunningSandbox
) -> None:
    """Nothing else of the database is its own."""
    if "://" not in ledger_uri:
        pytest.skip("a file has no roles")
    server: PostgreSQL = request.getfixturevalue("postgresql_server")
    server.execute(
        "DROP SCHEMA IF EXISTS crm CASCADE; DROP ROLE IF EXISTS loader;"
        "CREATE ROLE loader LOGIN; CREATE SCHEMA crm AUTHORIZATION loader;"
        "ALTER ROLE loader SET search_path = crm; REVOKE ALL ON SCHEMA public FROM PUBLIC"
    )
    uri = server.url.replace("tests:any@", "loader:any@")
    for _ in range(2):
        run_target(*NIGHT, ledger_uri=uri).ok()
    assert posts(crm) == 1
    server.execute("DROP SCHEMA crm CASCADE; DROP ROLE loader")


def test_what_is_no_ledger_ends_the_run_before_anything_is_sent(
    run_target: RunTarget, crm: RunningSandbox, tmp_path: Path
) -> None:
    """A file of something else stays as it is."""
    unreadable: dict[str, Callable[[Path], object]] = {
        "text": lambda path: path.write_text("not a database " * 100),
        "another database": _make_database,
        "a folder": lambda path: path.mkdir(),
    }
    for name, make in unreadable.items():
        path = tmp_path / name
        make(path)
        before = path.read_bytes() if path.is_file() else b""
        ended = run_target(*NIGHT, ledger_uri=str(path))
        assert ended.code == 1, name
        assert ended.errors
        assert (path.read_bytes() if path.is_file() else b"") == before
    assert posts(crm) == 0


def _make_database(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE customers (id INTEGER)")
