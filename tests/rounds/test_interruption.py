"""The target as a process: killed, stopped and cut off at any moment.

Whatever happens, the last STATE written says no more than what the CRM has taken or what lies in
the rejects file, and the process ends in time.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import random
import signal
import sqlite3
import termios
import time
import typing as t

import pytest

import mainbrainer_sandbox as sandbox
from tests.broken_server import OK, STALL, BrokenServer, script
from tests.loads import people
from tests.messages import person, schema, state
from tests.rounds.process import PACE, endless, is_behind, wait_for_requests
from tests.rounds.sent import contacts_in
from tests.waiting import PATIENCE, wait_until

if t.TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.rounds.process import Start

TROUBLE = ["latency=0-0.1", "503@p0.05", "reset@p0.05", "lost@p0.03"]


@pytest.mark.parametrize(
    ("how", "mode", "is_under_way"),
    [
        ("KILL", "none", True),
        ("KILL", "require", False),
        ("TERM", "none", False),
        ("TERM", "require", True),
        ("INT", "none", True),
        ("INT", "require", False),
    ],
)
def test_state_is_never_ahead_whenever_the_process_ends(
    start: Start, crm: RunningSandbox, how: str, mode: str, is_under_way: bool
) -> None:
    """At a random moment from the first request on, or when STATE has come."""
    crm.set_switches(refuse_email="bad")
    dice = random.Random(f"{how} {mode}")
    crm.set_faults(*TROUBLE, seed=dice.randrange(1000))
    process = start(batch_size_rows=10, confirm_batches=mode, max_concurrent_requests=8)
    process.feed(endless(), pace=PACE)
    if is_under_way:
        process.next_state()
    else:
        wait_for_requests(crm, dice.randrange(1, 40))
    process.popen.send_signal(getattr(signal, f"SIG{how}"))
    states = process.end()
    assert states == sorted(states)
    assert is_behind(states[-1] if states else 0, crm, process)
    assert process.popen.returncode == (-signal.SIGKILL if how == "KILL" else 1)
    if how != "KILL":
        assert f"Ended by SIG{how}" in process.log.read_text()


def test_what_a_killed_run_left_is_taken_up_by_the_next(
    start: Start, crm: RunningSandbox, tmp_path: Path
) -> None:
    """The second run appends to the same rejects file, which is then a valid Singer stream."""
    crm.set_switches(refuse_email="bad")
    rejects = tmp_path / "rejects.singer"
    process = start(rejects_path=str(rejects))
    process.feed(endless(), pace=PACE)
    bookmark = process.next_state()["bookmark"]
    process.popen.kill()
    process.end()
    with rejects.open("a") as file:
        file.write('{"type": "RECORD", "stream": "people", "record": {"id": 9999, "em')
    process = start(rejects_path=str(rejects))
    lines = [schema()]
    lines += [
        person(n, email=None if n == bookmark + 3 else f"p{n}@example.com")
        for n in range(bookmark + 1, bookmark + 101)
    ]
    process.feed([*lines, state(bookmark=bookmark + 100)])
    assert process.next_state() == {"bookmark": bookmark + 100}
    process.close_input()
    process.end()
    assert process.popen.returncode == 0
    messages = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert {message["type"] for message in messages} == {"SCHEMA", "RECORD"}
    assert messages[-1]["record"]["id"] == bookmark + 3
    assert messages[-2]["type"] == "SCHEMA"


@pytest.mark.parametrize("where", ["sending", "finishing", "confirming", "retrying", "silent"])
def test_a_signal_is_heard_wherever_the_run_waits(
    start: Start, crm: RunningSandbox, where: str
) -> None:
    faults = {
        "sending": ["latency=0.5"],
        "finishing": ["latency=2"],
        "confirming": ["stuck:batch"],
        "retrying": ["503"],
        "silent": [],
    }[where]
    crm.set_faults(*faults)
    mode = "require" if where == "confirming" else "none"
    # Something has to be left to be sent when the first answer is there.
    most = 1 if where == "finishing" else 2
    process = start(max_concurrent_requests=most, confirm_batches=mode)
    lines = [schema(), *(person(n) for n in range(1, 201)), state(bookmark=200)]
    writer = process.feed(endless() if where == "sending" else lines, pace=PACE / 10)
    if where in {"finishing", "confirming"}:
        writer.join(PATIENCE)
        process.close_input()
    if where == "confirming":
        wait_until(
            lambda: any(request.path.endswith("/Status") for request in crm.requests()),
            "no status was asked for",
        )
    elif where == "silent":
        wait_until(lambda: len(crm.contacts()) == 200, "not all contacts came")
    else:
        wait_for_requests(crm, 2 if where == "retrying" else 1)
    process.popen.send_signal(signal.SIGTERM)
    process.end()
    assert process.popen.returncode == 1
    log = process.log.read_text()
    assert "Ended by SIGTERM" in log
    assert "undelivered" in log, "the summary comes all the same"
    assert "FAILED: " in process.last_line
    assert "Traceback" not in log


def test_a_signal_and_a_closed_input_are_still_a_signal(start: Start) -> None:
    """Meltano closes the input of a loader that it stops."""
    process = start()
    writer = process.feed([schema(), *(person(n) for n in range(50))])
    process.wait_until_ready()
    writer.join(PATIENCE)
    process.popen.send_signal(signal.SIGTERM)
    process.close_input()
    assert process.end() == []
    assert process.popen.returncode == 1
    assert "Ended by SIGTERM" in process.log.read_text()


def contacts_accepted(server: BrokenServer) -> set[str]:
    """Return who was in a request that was answered, of those below."""
    return {one["email"] for request in server.requests[:2] for one in contacts_in(request)}


def test_a_signal_is_heard_while_the_ledger_is_locked(
    start: Start, crm: RunningSandbox, tmp_path: Path
) -> None:
    """The run waits for the database for minutes, but not once it is asked to end."""
    ledger = tmp_path / "ledger.db"
    process = start(ledger_uri=str(ledger), batch_size_rows=10)
    process.feed(endless(), pace=PACE)
    process.next_state()
    with contextlib.closing(sqlite3.connect(ledger, isolation_level=None)) as other:
        other.execute("PRAGMA busy_timeout = 60000")
        other.execute("BEGIN IMMEDIATE")
        process.wait_for_log("The run waits for it")
        process.popen.send_signal(signal.SIGTERM)
        states = process.end()
    assert process.popen.returncode == 1
    assert is_behind(states[-1], crm, process)
    assert "Ended by SIGTERM" in process.log.read_text()
    assert "FAILED: " in process.last_line


def test_a_request_that_hangs_does_not_hold_up_the_end(start: Start) -> None:
    """What is in flight has so long to finish, and then the process goes without it."""
    with BrokenServer(script(OK, OK, after=STALL)) as server:
        process = start(grace=1.0, api_url=server.url, batch_size_rows=10)
        process.feed(people(1000, every=10), pace=PACE)
        wait_until(lambda: len(server.requests) >= 3, "no request hangs")
        process.popen.send_signal(signal.SIGTERM)
        states = process.end()
    assert process.popen.returncode == 1
    last = states[-1] if states else 0
    assert {f"p{n}@example.com" for n in range(1, last + 1)} <= contacts_accepted(server)
    assert "Ended by SIGTERM" in process.log.read_text()


def test_a_second_signal_ends_the_waiting(start: Start) -> None:
    """But for one within two seconds, which may be the first one from somewhere else."""
    with BrokenServer(script(OK, OK, after=STALL)) as server:
        process = start(grace=10_000.0, api_url=server.url, batch_size_rows=10)
        process.feed(people(1000, every=10), pace=PACE)
        wait_until(lambda: len(server.requests) >= 3, "no request hangs")
        process.popen.send_signal(signal.SIGTERM)
        time.sleep(2.2)  # the promise itself
        assert process.popen.poll() is None, "it waits for what is in flight"
        process.popen.send_signal(signal.SIGTERM)
        process.end()
    assert process.popen.returncode == 1
    assert "FAILED: " in process.last_line


@pytest.mark.parametrize("signals", ["TERM TERM", "INT TERM"])
def test_two_signals_within_two_seconds_are_one(
    start: Start, crm: RunningSandbox, signals: str
) -> None:
    """As a process group, Meltano and a supervisor send them."""
    crm.set_faults("latency=0.5")
    process = start(batch_size_rows=10)
    process.feed(endless(), pace=PACE)
    wait_for_requests(crm, 2)
    for name in signals.split():
        process.popen.send_signal(getattr(signal, f"SIG{name}"))
        time.sleep(0.1)
    states = process.end()
    assert process.popen.returncode == 1
    assert is_behind(states[-1] if states else 0, crm, process)
    assert process.last_line.count("FAILED: ") == 1


def test_a_closed_terminal_is_a_signal_like_others(start: Start, crm: RunningSandbox) -> None:
    process = start(batch_size_rows=10)
    process.feed(endless(), pace=PACE)
    wait_for_requests(crm, 2)
    process.popen.send_signal(signal.SIGHUP)
    states = process.end()
    assert process.popen.returncode == 1
    assert is_behind(states[-1] if states else 0, crm, process)
    assert "FAILED: " in process.last_line


def test_a_reader_of_state_that_has_stopped_reading_does_not_hold_up_the_end(start: Start) -> None:
    """Standard output is full when the signal comes; what is in it are whole lines."""
    process = start()
    stdout = t.cast("t.IO[str]", process.popen.stdout)
    fcntl.fcntl(stdout, fcntl.F_SETPIPE_SZ, 4096)
    padding = "x" * 3_950  # a line fills it

    def lines() -> Iterator[str]:
        yield schema()
        for n in range(1, 1_000_000):
            yield person(n)
            yield state(bookmark=n, padding=padding)

    process.feed(lines(), pace=PACE)
    wait_until(lambda: unread_bytes(stdout) > 3_900, "standard output was never full")
    process.popen.send_signal(signal.SIGTERM)
    process.popen.wait(PATIENCE)
    assert process.popen.returncode == 1
    assert "Ended by SIGTERM" in process.log.read_text()
    assert all(line.endswith("}\n") for line in stdout)


def unread_bytes(pipe: t.IO[str]) -> int:
    """Return how much waits in a pipe."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe.fileno(), termios.FIONREAD, count)
    return count[0]


def test_a_closed_standard_output_ends_the_run_in_one_sentence(
    start: Start, crm: RunningSandbox
) -> None:
    process = start(closed_stdout=True)
    writer = process.feed([schema(), person(1), state(bookmark=1)])
    writer.join(PATIENCE)
    process.close_input()
    process.popen.wait(PATIENCE)
    assert process.popen.returncode == 1
    log = process.log.read_text()
    assert "STATE cannot be written to standard output (it is closed)" in log
    assert "Traceback" not in log
    assert len(crm.contacts()) == 1


@pytest.mark.parametrize("failure", ["settings", "refused"])
def test_a_run_that_fails_lets_the_tap_write_to_its_end(start: Start, failure: str) -> None:
    """Far more than a pipe holds; the reason is the last thing in the log."""
    wrong = {"list_id": "no uuid"} if failure == "settings" else {"access_token": "wrong"}
    process = start(**wrong)
    writer = process.feed([schema(), *(person(n) for n in range(50_000))])
    writer.join(PATIENCE)
    process.close_input()
    process.end()
    assert process.popen.returncode == 1
    assert not process.is_cut_off
    *_, reason, last = process.log.read_text().splitlines()
    assert ("'list_id' is not a UUID" if failure == "settings" else "401") in reason
    assert "FAILED: " in last


def test_a_reader_of_state_that_goes_away_ends_the_run_in_one_sentence(start: Start) -> None:
    process = start()
    process.feed(endless(), pace=PACE)
    process.next_state()
    t.cast("t.IO[str]", process.popen.stdout).close()
    process.popen.wait(PATIENCE)
    assert process.popen.returncode == 1
    log = process.log.read_text()
    assert "STATE cannot be written to standard output" in log
    assert "Traceback" not in log
    assert "Exception ignored" not in log


def test_a_dead_network_ends_the_run_with_state_where_it_should_be(
    start: Start, crm: RunningSandbox
) -> None:
    crm.set_switches(refuse_email="bad")
    process = start(retry_max_seconds=1, batch_size_rows=10)
    process.feed(endless(), pace=PACE)
    process.next_state()
    crm.close()
    states = process.end()
    assert process.popen.returncode == 1
    log = process.log.read_text()
    assert "was given up after" in log
    assert log.count(" ERROR ") == 2, "the cause, and the last line"
    with sandbox.start(crm.path) as again:
        assert is_behind(states[-1] if states else 0, again, process)
