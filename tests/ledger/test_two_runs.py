"""Two runs with one ledger: one at a time delivers a stream, and a late one does no harm."""

from __future__ import annotations

import signal
import typing as t

import pytest
import sqlalchemy as sa

from tests.broken_server import RESET
from tests.ledger.outside import (
    Gate,
    Moment,
    by_address,
    consenting,
    contacts_of,
    night,
    person,
    posts,
    run_killed,
    run_process,
    start_target,
)
from tests.ledgers import on_both_databases
from tests.messages import record
from tests.waiting import wait_until

if t.TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.broken_server import Reply, Request
    from tests.ledger.outside import Between
    from tests.messages import Record, RunTarget


IN_FLIGHT = 4

OTHER_MACHINE = """
import socket
socket.gethostname = lambda: "another-machine"
"""

TOMORROW = """
import time
_now = time.time
time.time = lambda: _now() + 86_400
"""
"""Only what is kept in a file goes by it; PostgreSQL has a clock of its own."""

A_MINUTE_LATER = """
import os, time
_clock = time.clock_gettime
time.clock_gettime = lambda clock: _clock(clock) + 65 * os.path.exists("{}")
"""
"""Once there is a file."""


@pytest.fixture
def stopping() -> Iterator[list[subprocess.Popen[str]]]:
    """End the processes that a test has started and stopped."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


# Fault 24

FORTY = range(40)


@on_both_databases
def test_a_run_that_wakes_after_others_have_delivered_sends_nothing_more(
    run_target: RunTarget,
    between: Between,
    settings: Record,
    tmp_path: Path,
    stopping: list[subprocess.Popen[str]],
) -> None:
    """A laptop that slept for two nights: no old data, and no yes after a no.

    No request leaves when the run was not sure for a minute that the stream is still its own.
    """
    base = {**settings, "api_url": between.url}
    config = {**base, "batch_size_rows": 5, "max_concurrent_requests": IN_FLIGHT}
    config["max_drift_percent"] = 100
    run_target(*night(*consenting(*FORTY, firstname="First")), **config).ok()
    sleeper: list[subprocess.Popen[str]] = []

    def stop_when_all_have_left(request: Request) -> Reply | None:
        """Stop the sleeper while all its threads await answers, and none is about to send."""
        if any(named(one) == "Old" for one in contacts_of(request)) and not is_awake:
            seen.append(request)
            wait_until(lambda: len(seen) >= IN_FLIGHT)
            stopped.append(True)
            sleeper[0].send_signal(signal.SIGSTOP)
            return RESET
        return None

    seen: list[Request] = []
    stopped: list[bool] = []
    is_awake: list[bool] = []
    between.rule = stop_when_all_have_left
    old, dawn = night(*consenting(*FORTY, firstname="Old")), tmp_path / "dawn"
    later = A_MINUTE_LATER.format(dawn)
    sleeper.append(start_target(config, old, tmp_path, name="sleeper", machine=later))
    stopping += sleeper
    wait_until(lambda: stopped, "it did not send")
    people = [person(n, firstname="New", email_opt_in=False) for n in FORTY]
    machine = OTHER_MACHINE + (TOMORROW if "://" not in settings["ledger_uri"] else "")

    def deliver() -> tuple[int, str]:
        return run_process(config, night(*people), tmp_path, name="other", machine=machine)

    if "://" in settings["ledger_uri"]:
        assert deliver()[0] == 1  # the sleeper's lease lasts
        let_leases_end(settings["ledger_uri"])
    for _ in range(2):
        code, log = deliver()
        assert code == 0, log
    dawn.touch()
    is_awake.append(True)
    sleeper[0].send_signal(signal.SIGCONT)
    sleeper[0].communicate(timeout=120)
    assert sleeper[0].returncode == 1
    for contact in by_address(between.crm).values():
        assert contact["properties"]["firstname"] == "New"
        assert contact["email_opt_in"] is False


def let_leases_end(uri: str) -> None:
    """Do what minutes do, by the clock of a database server."""
    database = sa.create_engine(uri)
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE mainbrainer_streams SET lease_until = 0"))
    database.dispose()


def named(contact: dict[str, t.Any]) -> str | None:
    """Return the first name that a contact is sent with."""
    for field in contact.get("propertyfields") or []:
        if field["propertyname"] == "firstname":
            return str(field["propertyvalue"])
    return None


# Fault 25


@on_both_databases
def test_first_runs_may_make_a_ledger_at_once(
    settings: Record, crm: RunningSandbox, tmp_path: Path
) -> None:
    """Each has a stream of its own, and all find the ledger empty."""
    runs = {
        name: start_target(
            {**settings, "report_path": ""},
            night(*(person(n, f"{name}{n}", name) for n in range(5)), stream=name),
            tmp_path,
            name=name,
        )
        for name in "abcd"
    }
    for name, run in runs.items():
        run.communicate(timeout=120)
        assert run.returncode == 0, (tmp_path / f"{name}.log").read_text()
    assert len(crm.contacts()) == 20


@on_both_databases
def test_two_streams_may_be_delivered_at_once(
    settings: Record, crm: RunningSandbox, tmp_path: Path
) -> None:
    """Also when they have the same people: each ends with everything in."""
    crm.set_faults("latency=0.2:batch")
    runs = [
        start_target(
            {**settings, "batch_size_rows": 3},
            night(
                *(
                    record(name, id=n, email=f"p{n}@example.com", **{column: name})
                    for n in range(12)
                ),
                stream=name,
            ),
            tmp_path,
            name=name,
        )
        for name, column in (("people", "firstname"), ("shops", "lastname"))
    ]
    for run in runs:
        run.communicate(timeout=120)
        assert run.returncode == 0
    for contact in crm.contacts():
        properties = contact["properties"]
        assert (properties["firstname"], properties["lastname"]) == ("people", "shops")


# Fault 26

NO_PROC = """
import builtins, io, os
_open, _readlink, _kill = io.open, os.readlink, os.kill
def _hide(path):
    if str(path).startswith("/proc"):
        raise FileNotFoundError(2, "No such file or directory", str(path))
def _opening(path, *args, **kwargs):
    _hide(path)
    return _open(path, *args, **kwargs)
def _reading(path, *args, **kwargs):
    _hide(path)
    return _readlink(path, *args, **kwargs)
io.open = builtins.open = _opening
os.readlink = _reading
"""

EVERY_PROCESS_LIVES = """
os.kill = lambda number, signal: None if signal == 0 else _kill(number, signal)
"""


def test_a_process_number_that_is_used_again_locks_nothing_for_ever(
    run_target: RunTarget, between: Between, settings: Record, tmp_path: Path
) -> None:
    """Without /proc, as on macOS, a process cannot be told from a later one with its number."""
    config = {**settings, "api_url": between.url}
    run_target(*night(person(1)), **config)
    lines = night(person(1, firstname="A"))
    moment = Moment("POST", 1, "after")
    run_killed(config, lines, tmp_path, between, moment, machine=NO_PROC)
    machine = NO_PROC + EVERY_PROCESS_LIVES + TOMORROW
    code, log = run_process(config, lines, tmp_path, name="next", machine=machine)
    assert code == 0, log


# Only one at a time


@on_both_databases
def test_a_second_run_of_a_stream_ends_before_it_sends_anything(
    run_target: RunTarget,
    between: Between,
    settings: Record,
    tmp_path: Path,
    stopping: list[subprocess.Popen[str]],
) -> None:
    """It says so; and it may begin as soon as the first has ended."""
    config = {**settings, "api_url": between.url}
    between.rule = gate = Gate()
    first = start_target(config, night(person(1)), tmp_path, name="first")
    stopping.append(first)
    wait_until(lambda: gate.seen)
    ended = run_target(*night(person(1, firstname="B")), **config)
    assert ended.code == 1
    assert "stream 'people'" in ended.error
    assert posts(between.crm) == 0
    gate.open()
    first.communicate(timeout=60)
    assert first.returncode == 0
    run_target(*night(person(1, firstname="B")), **config).ok()
    assert by_address(between.crm)["p1"]["properties"]["firstname"] == "B"


def test_two_accounts_may_be_delivered_to_at_once(
    run_target: RunTarget,
    between: Between,
    settings: Record,
    tmp_path: Path,
    start_crm: Callable[..., RunningSandbox],
) -> None:
    """The same stream, with one ledger."""
    other = start_crm(plan="unlimited")
    between.rule = gate = Gate()
    config = {**settings, "api_url": between.url}
    first = start_target(config, night(person(1)), tmp_path, name="first")
    wait_until(lambda: gate.seen)
    ended = run_target(*night(person(1)), api_url=other.url, access_token=other.token)
    gate.open()
    first.communicate(timeout=60)
    assert (first.returncode, ended.code) == (0, 0)
    assert len(other.contacts()) == 1
