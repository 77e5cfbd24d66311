"""Two runs with one ledger, and a run that was killed: neither does any harm."""

import pytest

from tests.broken_server import RESET
from tests.histories import expected, held
from tests.ledger.outside import Moment, Night, on_both_databases, rehearsal
from tests.loads import Ended, wait_until
from tests.postgresql import PostgreSQL

IN_FLIGHT = 4

OTHER_MACHINE = "import socket; socket.gethostname = lambda: 'another-machine'\n"

TOMORROW = "import time; _now = time.time; time.time = lambda: _now() + 86_400\n"
"""Only what is kept in a file goes by it; PostgreSQL has a clock of its own."""

A_MINUTE_LATER = """
import os, time
_clock = time.clock_gettime
time.clock_gettime = lambda clock: _clock(clock) + 65 * os.path.exists("{}")
"""
"""Once there is a file."""


# Fault 24


@on_both_databases
def test_a_run_that_wakes_after_others_have_delivered_sends_no_more(
    night: Night, request: pytest.FixtureRequest
) -> None:
    """A laptop that slept for two nights: no old data, and no yes after a no.

    No request leaves when the run was not sure for a minute that the stream is still its own.
    """
    night.settings |= {"batch_size_rows": 5, "max_concurrent_requests": IN_FLIGHT}
    between, is_server = night.between(), "://" in night.uri
    night("0-39 p# yes").ok()
    gate, dawn = night.gate(), night.folder / "dawn"
    gate.answer = RESET
    sleeper = night.start("0-39 p# yes =Old", machine=A_MINUTE_LATER.format(dawn))
    wait_until(lambda: gate.seen == IN_FLIGHT, "not all that may be in flight was sent")
    sleeper.send("STOP")
    between.rule = lambda _request: None
    machine = OTHER_MACHINE + (TOMORROW if not is_server else "")

    def deliver() -> Ended:
        return night.start("0-39 p# no =New", machine=machine).ended()

    if is_server:
        assert deliver().code == 1  # the sleeper's lease lasts
        # Do what minutes do, by the clock of the server.
        server: PostgreSQL = request.getfixturevalue("postgresql_server")
        server.execute("UPDATE mainbrainer_streams SET lease_until = 0")
    for _ in range(2):
        deliver().ok()
    dawn.touch()
    gate.open()
    sleeper.send("CONT")
    assert sleeper.ended().code == 1
    assert held(night) == sorted(expected("p0-39 no New"))


# Fault 25


@on_both_databases
def test_first_runs_may_make_a_ledger_and_deliver_two_streams_at_once(night: Night) -> None:
    """Also when they have the same people: each ends with everything in."""
    night.settings |= {"report_path": "", "batch_size_rows": 3}
    night.crm.set_faults("latency=0.2:batch")
    columns = {"people": "firstname", "shops": "lastname", "others": "city"}
    runs = [night.start(f"{name}:0-11 bare p# {columns[name]}={name}") for name in columns]
    for run in runs:
        run.ended().ok()
    assert held(night) == sorted(expected("p0-11 people city=others lastname=shops"))


# Fault 26

NO_PROC = """
import builtins, io, os
def _hiding(opens):
    def opening(path, *args, **kwargs):
        if str(path).startswith("/proc"):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return opens(path, *args, **kwargs)
    return opening
io.open = builtins.open = _hiding(io.open)
os.readlink = _hiding(os.readlink)
"""

EVERY_PROCESS_LIVES = (
    "os.kill = lambda number, signal, kill=os.kill: signal and kill(number, signal)\n"
)


def test_a_process_number_that_is_used_again_locks_nothing_for_ever(night: Night) -> None:
    """Without /proc, as on macOS, a process cannot be told from a later one with its number."""
    night.between()
    night("1 p1")
    later = "1 p1 =A"
    night.killed(later, at=Moment("POST", 1, "after"), machine=NO_PROC)
    machine = NO_PROC + EVERY_PROCESS_LIVES + TOMORROW
    night.start(later, machine=machine).ended().ok()


def test_a_clock_that_was_ahead_locks_nothing_for_long(night: Night) -> None:
    """Of a run that was killed on another machine."""
    night.between()
    night.killed("1 p1", at=Moment("POST", 1, "after"), machine=OTHER_MACHINE + TOMORROW)
    night("1 p1").ok()


# Only one at a time


@on_both_databases
def test_a_second_run_sends_nothing(night: Night) -> None:
    """It may begin as soon as the first has ended, and at once for another account."""
    gate = night.gate()
    first = night.start("1 p1")
    wait_until(lambda: gate.seen)
    night("1 p1 =B").failed("stream 'people'")
    assert night.posts == 0
    assert night("1 p1", **rehearsal(night.folder / "other.db")).ok().count("created") == 1
    gate.open()
    assert first.ended().code == 0
    night("1 p1 =B").ok()
    assert night.contact["properties"]["firstname"] == "B"
