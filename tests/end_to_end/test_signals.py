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
import select
import signal
import subprocess
import sys
import termios
import threading
import typing as t
from dataclasses import dataclass, field

import pytest

from mainbrainer_sandbox.running import RunningSandbox
from tests.messages import person, schema, state
from tests.waiting import PATIENCE, wait_until

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

PATCHED = """
import sys
from target_mainbrainer import cli
from target_mainbrainer.delivery import buffer, delivery, status_polling

delivery.STATE_INTERVAL_SECONDS = 0.02
delivery.TICK_SECONDS = 0.02
delivery.GRACE_SECONDS = float(sys.argv.pop(1))
buffer.MAX_WAIT_SECONDS = 0.2
status_polling.FIRST_LOOK_SECONDS = 0.02
cli.main()
"""
"""The target with short intervals, so that a test need not wait for what is due every 2 or 10 s."""

ROUNDS = 1
"""How often each kind of end is tried; a campaign may set it higher."""


@dataclass
class Process:
    """A running target."""

    popen: subprocess.Popen[str]
    rejects: Path
    log: Path
    states: list[int] = field(default_factory=list)
    is_cut_off: bool = False

    def feed(self, lines: Iterable[str]) -> threading.Thread:
        """Write lines to its standard input, from a thread, until it stops reading."""

        def write() -> None:
            stdin = t.cast("t.IO[str]", self.popen.stdin)
            try:
                for line in lines:
                    stdin.write(f"{line}\n")
                stdin.flush()
            except (OSError, ValueError):
                self.is_cut_off = True

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        return writer

    def wait_for_log(self, words: str) -> None:
        """Wait until the log says something."""
        wait_until(lambda: words in self.log.read_text(), f"no '{words}' in the log")

    def wait_until_ready(self) -> None:
        """Wait until a stream is announced, which is after the signal handlers stand."""
        self.wait_for_log("told apart by")

    def close_input(self) -> None:
        t.cast("t.IO[str]", self.popen.stdin).close()

    @property
    def last_line(self) -> str:
        return self.log.read_text().splitlines()[-1]

    def next_state(self) -> dict[str, t.Any]:
        stdout = t.cast("t.IO[str]", self.popen.stdout)
        assert select.select([stdout], [], [], PATIENCE)[0], "no STATE came"
        written = t.cast("dict[str, t.Any]", json.loads(stdout.readline()))
        self.states.append(written["bookmark"])
        return written

    def end(self) -> list[int]:
        """Wait for the end, and return all bookmarks written."""
        stdout = t.cast("t.IO[str]", self.popen.stdout)
        whole = [line for line in stdout if line.endswith("}\n")]
        self.states += [json.loads(line)["bookmark"] for line in whole]
        self.popen.wait(PATIENCE)
        return self.states

    def on_file(self) -> set[int]:
        """Return the ids of the records in the rejects file, half a line at the end left out."""
        if not self.rejects.exists():
            return set()
        lines = self.rejects.read_text().splitlines(keepends=True)
        messages = [json.loads(line) for line in lines if line.endswith("\n")]
        return {message["record"]["id"] for message in messages if message["type"] == "RECORD"}


Start: t.TypeAlias = "Callable[..., Process]"


@pytest.fixture
def start(tmp_path: Path, crm: RunningSandbox) -> Iterator[Start]:
    """Start the target as a process of its own."""
    running: list[Process] = []

    def begin(*, grace: float = 30.0, closed_stdout: bool = False, **settings: t.Any) -> Process:
        number = len(running)
        rejects = tmp_path / f"rejects{number}.singer"
        config = tmp_path / f"config{number}.json"
        reach = {
            "api_url": crm.url,
            "access_token": crm.token,
            "rate_limit_requests": 0,
            "confirm_batches": "none",
            "rejects_path": str(rejects),
        }
        config.write_text(json.dumps(reach | settings))
        log = tmp_path / f"log{number}.txt"
        shell = ["sh", "-c", 'exec "$@" >&-', "sh"] if closed_stdout else []
        with log.open("w") as stderr:
            popen = subprocess.Popen(  # noqa: S603 - ours
                [*shell, sys.executable, "-c", PATCHED, str(grace), "--config", str(config)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        running.append(Process(popen, rejects, log))
        return running[-1]

    yield begin
    for process in running:
        process.popen.kill()
        process.popen.wait()
        for pipe in (process.popen.stdin, process.popen.stdout):
            with contextlib.suppress(OSError):
                t.cast("t.IO[str]", pipe).close()


def endless(*, every: int = 20) -> Iterator[str]:
    """People without end; some cannot be sent, some are refused, and STATE comes often."""
    yield schema()
    for n in range(1, 1_000_000):
        kind = n % 50
        if kind == 7:
            yield person(n, email=None)
        elif kind == 23:
            yield person(n, email=f"bad{n}@example.com")
        else:
            yield person(n)
        if n % every == 0:
            yield state(bookmark=n)


def is_behind(bookmark: int, crm: RunningSandbox, process: Process) -> bool:
    """Tell whether every record before a STATE is in the CRM or in the rejects file."""
    taken = {contact["email"] for contact in crm.contacts()}
    kept = process.on_file()
    return all(
        n in kept or f"p{n}@example.com" in taken or f"bad{n}@example.com" in taken
        for n in range(1, bookmark + 1)
    )


def wait_for_requests(crm: RunningSandbox, count: int = 1) -> None:
    wait_until(lambda: len(crm.requests()) >= count, f"not {count} requests came")


TROUBLE = ["latency=0-0.1", "503@p0.05", "reset@p0.05", "lost@p0.03"]


@pytest.mark.parametrize("how", ["KILL", "TERM", "INT"])
@pytest.mark.parametrize("mode", ["none", "require"])
def test_state_is_never_ahead_whenever_the_process_ends(
    start: Start, crm: RunningSandbox, how: str, mode: str
) -> None:
    """At random moments, again and again, from the first request on."""
    crm.set_switches(refuse_email="bad")
    dice = random.Random(f"{how} {mode}")  # noqa: S311 - no secret
    written = 0
    for under_way in (True, False) * ROUNDS:
        crm.set_faults(*TROUBLE, seed=dice.randrange(1000))
        process = start(batch_size_rows=10, confirm_batches=mode, max_concurrent_requests=8)
        process.feed(endless())
        if under_way:
            process.next_state()
        else:
            wait_for_requests(crm, dice.randrange(1, 40))
        process.popen.send_signal(getattr(signal, f"SIG{how}"))
        states = process.end()
        assert states == sorted(states)
        assert is_behind(states[-1] if states else 0, crm, process)
        assert process.popen.returncode == (-signal.SIGKILL if how == "KILL" else 1)
        written += len(states)
        if how != "KILL":
            assert f"Ended by SIG{how}" in process.log.read_text()
        crm.set_faults()
        crm.reset()
    assert written, "without any STATE this shows nothing"


def test_what_a_killed_run_left_is_taken_up_by_the_next(
    start: Start, crm: RunningSandbox, tmp_path: Path
) -> None:
    """The second run appends to the same rejects file, which is then a valid Singer stream."""
    crm.set_switches(refuse_email="bad")
    rejects = tmp_path / "rejects.singer"
    process = start(rejects_path=str(rejects))
    process.feed(endless())
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


def test_state_and_contacts_follow_while_the_tap_is_silent(
    start: Start, crm: RunningSandbox
) -> None:
    """Part of a batch is sent after a while, while the input is still open."""
    process = start()
    process.feed([schema(), *(person(n) for n in range(1, 8)), state(bookmark=7)])
    assert process.next_state() == {"bookmark": 7}
    assert len(crm.contacts()) == 7
    process.feed([person(8), state(bookmark=8)])
    assert process.next_state() == {"bookmark": 8}


@pytest.mark.parametrize("where", ["sending", "finishing", "confirming", "retrying", "silent"])
def test_a_signal_is_heard_wherever_the_run_waits(
    start: Start, crm: RunningSandbox, where: str
) -> None:
    faults = {
        "sending": ["latency=0.5"],
        "finishing": ["latency=5"],
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
    writer = process.feed(endless() if where == "sending" else lines)
    if where in {"finishing", "confirming"}:
        writer.join(PATIENCE)
        process.close_input()
        process.wait_for_log("completed processing 202 lines of input")
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


def test_a_request_that_hangs_does_not_hold_up_the_end(start: Start, crm: RunningSandbox) -> None:
    """What is in flight has so long to finish, and then the process goes without it."""
    crm.set_faults("hang@3-99")
    process = start(grace=1.0)
    process.feed(endless())
    process.next_state()
    process.popen.send_signal(signal.SIGTERM)
    states = process.end()
    assert process.popen.returncode == 1
    assert is_behind(states[-1] if states else 0, crm, process)
    assert "Ended by SIGTERM" in process.log.read_text()


def test_a_second_signal_ends_at_once(start: Start, crm: RunningSandbox) -> None:
    crm.set_faults("hang@3-99")  # by the time the first STATE comes, many wait for an answer
    process = start(grace=10_000.0)
    process.feed(endless())
    process.next_state()
    process.popen.send_signal(signal.SIGTERM)
    process.wait_for_log("what is in flight may finish")
    assert process.popen.poll() is None, "it waits for what is in flight"
    process.popen.send_signal(signal.SIGTERM)
    process.end()
    assert process.popen.returncode == 1
    assert "FAILED" not in process.log.read_text(), "it has not even said good-bye"


def test_a_reader_of_state_that_has_stopped_reading_does_not_hold_up_the_end(
    start: Start,
) -> None:
    """Standard output is full when the signal comes; what is in it are whole lines."""
    process = start()
    stdout = t.cast("t.IO[str]", process.popen.stdout)
    padding = "x" * 1_980  # two lines fill a page of the pipe

    def lines() -> Iterator[str]:
        yield schema()
        for n in range(1, 1_000_000):
            yield person(n)
            yield state(bookmark=n, padding=padding)

    process.feed(lines())
    wait_until(lambda: unread_bytes(stdout) > 60_000, "standard output was never full")
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
    process.feed(endless())
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
    process.feed(endless())
    process.next_state()
    crm.close()
    states = process.end()
    assert process.popen.returncode == 1
    log = process.log.read_text()
    assert "was given up after" in log
    assert log.count(" ERROR ") == 2, "the cause, and the last line"
    with RunningSandbox(crm.path) as again:
        assert is_behind(states[-1] if states else 0, again, process)
