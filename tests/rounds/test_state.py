"""STATE is never ahead of what is delivered, however the process ends."""

import array
import contextlib
import fcntl
import itertools
import random
import signal
import sqlite3
import termios
import time
import typing as t
from pathlib import Path

import pytest

from tests.broken_server import OK, STALL, BrokenServer, Serve, script
from tests.loads import PATIENCE, cases, person, schema, state, wait_until
from tests.pages import page
from tests.rounds.process import PACE, Process, Start
from tests.rounds.sent import contacts_in

# --- A tap that pauses


@cases(
    "is_quick size",
    pytest.param(False, 7, id="a full batch, with all pauses as they are"),
    pytest.param(False, 100, id="part of one, after ten seconds, as the settings' page says"),
    pytest.param(True, 100, id="part of one after a while, and what comes then"),
)
def test_a_silent_tap_delays_nothing(start: Start, is_quick: bool, size: int) -> None:
    """While the input is still open."""
    process = start(is_quick=is_quick, batch_size_rows=size)
    process.feed("1-7 p#")
    assert process.next_state() == {"bookmark": 7}
    assert len(process.crm.contacts()) == 7
    assert process.popen.poll() is None
    if is_quick:
        process.feed([person(8), state(bookmark=8)])
        assert process.next_state() == {"bookmark": 8}


# The target as a process: killed, stopped and cut off at any moment


TROUBLE = "latency=0-0.1 503@p0.05 reset@p0.05 lost@p0.03"


@cases(
    "how mode is_under_way",
    *(("KILL", "none", True), ("KILL", "require", False), ("TERM", "none", False)),
    *(("TERM", "require", True), ("INT", "none", True), ("INT", "require", False)),
)
def test_state_is_never_ahead(start: Start, how: str, mode: str, is_under_way: bool) -> None:
    """At a random moment from the first request on, or when STATE has come."""
    dice = random.Random(f"{how} {mode}")
    own = {"confirm_batches": mode, "max_concurrent_requests": 8}
    process = start(faults=TROUBLE, batch_size_rows=10, **own)
    process.feed_endlessly()
    if is_under_way:
        process.next_state()
    else:
        process.wait_for_requests(dice.randrange(1, 40))
    process.send(how)
    process.ended() if how == "KILL" else process.failed(f"Ended by SIG{how}")
    assert process.states == sorted(process.states)
    assert process.is_behind()
    assert process.popen.returncode == (-signal.SIGKILL if how == "KILL" else 1)


@cases(
    "where faults",
    *(("sending", "latency=0.5"), ("finishing", "latency=2"), ("confirming", "stuck:batch")),
    *(("retrying", "503"), ("silent", "latency=0")),
)
def test_a_signal_is_heard_wherever_the_run_waits(start: Start, where: str, faults: str) -> None:
    """The summary comes all the same."""
    mode = "require" if where == "confirming" else "none"
    # Something has to be left to be sent when the first answer is there.
    most = 1 if where == "finishing" else 2
    process = start(faults=faults, max_concurrent_requests=most, confirm_batches=mode)
    crm = process.crm
    if where == "sending":
        process.feed_endlessly()
    else:
        process.feed("1-200 p#", pace=PACE / 10).join(PATIENCE)
    if where in {"finishing", "confirming"}:
        process.close_input()
    if where == "confirming":
        wait_until(lambda: any(one.path.endswith("/Status") for one in crm.requests()))
    elif where == "silent":
        wait_until(lambda: len(crm.contacts()) == 200, "not all contacts came")
    else:
        process.wait_for_requests(2 if where == "retrying" else 1)
    process.send("TERM")
    process.failed()
    assert "undelivered" in process.log


def test_a_signal_and_a_closed_input_are_still_a_signal(start: Start) -> None:
    """Meltano closes the input of a loader that it stops."""
    process = start()
    process.feed_all("0-49 p#")
    process.wait_until_ready()
    process.send("TERM")
    process.close_input()
    lines = page("docs/failures.md").text.splitlines()
    (line,) = (line for line in lines if line.startswith("Ended by SIGTERM"))
    process.failed(line)
    assert process.states == []


def test_a_signal_is_heard_while_the_ledger_is_locked(start: Start, tmp_path: Path) -> None:
    """The run waits for the database for minutes, but not once it is asked to end."""
    ledger = tmp_path / "ledger.db"
    process = start(ledger_uri=str(ledger), batch_size_rows=10)
    process.feed_endlessly()
    process.next_state()
    with contextlib.closing(sqlite3.connect(ledger, isolation_level=None)) as other:
        other.execute("PRAGMA busy_timeout = 60000")
        other.execute("BEGIN IMMEDIATE")
        process.wait_for_log("The run waits for it")
        process.send("TERM")
        process.failed()
    assert process.is_behind()


def hanging(start: Start, serve: Serve, grace: float) -> tuple[Process, BrokenServer]:
    """Start a run whose third request hangs; what is in flight has so long to finish."""
    server = serve(script(OK, OK, after=STALL))
    process = start(grace=grace, api_url=server.url, batch_size_rows=10)
    process.feed("1-1000 p# /10", pace=PACE)
    wait_until(lambda: len(server.requests) >= 3, "no request hangs")
    process.send("TERM")
    return process, server


def test_a_request_that_hangs_does_not_hold_up_the_end(start: Start, serve: Serve) -> None:
    """The process goes without it."""
    process, server = hanging(start, serve, 1.0)
    process.failed()
    accepted = {one["email"] for request in server.requests[:2] for one in contacts_in(request)}
    last = process.states[-1] if process.states else 0
    assert {f"p{n}@example.com" for n in range(1, last + 1)} <= accepted


def test_a_second_signal_ends_the_waiting(start: Start, serve: Serve) -> None:
    """But for one within two seconds, which may be the first one from somewhere else."""
    process, _ = hanging(start, serve, 10_000.0)
    time.sleep(3)  # the promise itself, and what a busy machine takes
    assert process.popen.poll() is None, "it waits for what is in flight"
    process.send("TERM")
    process.failed()


@cases("signals", "TERM TERM", "INT TERM", "HUP")
def test_two_signals_within_two_seconds_are_one(start: Start, signals: str) -> None:
    """As a process group, Meltano and a supervisor send them."""
    process = start(faults="latency=0.5", batch_size_rows=10)
    process.feed_endlessly()
    process.wait_for_requests(2)
    first, *others = signals.split()
    for name in (first, *others):
        process.send(name)
        time.sleep(0.1)
    process.failed(f"Ended by SIG{first}")
    assert process.is_behind()


def test_a_reader_of_state_that_has_stopped_reading_does_not_hold_up_the_end(start: Start) -> None:
    """Standard output is full when the signal comes; what is in it are whole lines."""
    process = start()
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    padding = "x" * 3_950  # a line fills it
    pairs = ((person(n), state(bookmark=n, padding=padding)) for n in itertools.count(1))
    process.feed(itertools.chain([schema()], itertools.chain.from_iterable(pairs)), pace=PACE)
    wait_until(lambda: unread_bytes(process.stdout) > 3_900, "standard output was never full")
    process.send("TERM")
    process.popen.wait(PATIENCE)
    assert all(line.endswith("}\n") for line in process.stdout)
    process.failed()


def unread_bytes(pipe: t.IO[str]) -> int:
    """Return how much waits in a pipe."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe.fileno(), termios.FIONREAD, count)
    return count[0]


def test_a_closed_standard_output_ends_the_run_in_one_sentence(start: Start) -> None:
    process = start(closed_stdout=True)
    process.feed_all("1 p1")
    process.close_input()
    process.failed("STATE cannot be written to standard output (it is closed)")
    assert len(process.crm.contacts()) == 1


def test_a_reader_of_state_that_goes_away_ends_the_run_in_one_sentence(start: Start) -> None:
    process = start()
    process.feed_endlessly()
    process.next_state()
    process.stdout.close()
    process.failed("STATE cannot be written to standard output")
    assert "Exception ignored" not in process.log


@cases(
    "wrong words",
    ({"list_id": "no uuid"}, "'list_id' is not a UUID"),
    ({"access_token": "wrong"}, "401"),
)
def test_a_failed_run_reads_to_the_end(start: Start, wrong: dict[str, str], words: str) -> None:
    """Far more than a pipe holds; the reason is the last thing in the log."""
    process = start(**wrong)
    process.feed_all("1-50000 p#")
    process.close_input()
    process.failed(words)
    assert not process.is_cut_off
    assert words in process.log.splitlines()[-2]
