"""The target as a process, a tap that feeds it, and what has come of it at any moment."""

from __future__ import annotations

import itertools
import json
import select
import threading
import time
import typing as t
from dataclasses import dataclass, field

from tests.messages import person, schema, state
from tests.waiting import PATIENCE, wait_until

if t.TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox


@dataclass
class Process:
    """A running target.

    Attributes:
        states: The bookmarks read from its standard output.
        fed: How many lines, and how many characters, have been written to it.
        is_cut_off: Whether it has stopped reading.
        is_enough: Whether to write nothing more to it.
        writers: The threads that write to it.
    """

    popen: subprocess.Popen[str]
    rejects: Path
    log: Path
    states: list[int] = field(default_factory=list)
    fed: tuple[int, int] = (0, 0)
    is_cut_off: bool = False
    is_enough: bool = False
    writers: list[threading.Thread] = field(default_factory=list)

    def feed(self, lines: Iterable[str], *, pace: float = 0.0) -> threading.Thread:
        """Write lines to its standard input, from a thread, until it stops reading.

        Args:
            lines: What to write.
            pace: Seconds between one line and the next, as a tap has them.
        """

        def write() -> None:
            stdin = t.cast("t.IO[str]", self.popen.stdin)
            try:
                for line in lines:
                    if self.is_enough:
                        break
                    stdin.write(f"{line}\n")
                    self.fed = self.fed[0] + 1, self.fed[1] + len(line)
                    if pace:
                        stdin.flush()
                        time.sleep(pace)
                stdin.flush()
            except (OSError, ValueError):
                self.is_cut_off = True

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        self.writers.append(writer)
        return writer

    def wait_for_log(self, words: str) -> None:
        """Wait until the log says something."""
        wait_until(lambda: words in self.log.read_text(), f"no '{words}' in the log")

    def wait_until_ready(self) -> None:
        """Wait until a stream is announced, which is after the signal handlers stand."""
        self.wait_for_log("people")

    def close_input(self) -> None:
        """End what is fed, and close standard input."""
        self.is_enough = True
        for writer in self.writers:
            writer.join(PATIENCE)
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

PACE = 0.002
"""So many seconds between two lines let a run send often, however much it collects before."""


def endless(*, every: int = 20) -> Iterator[str]:
    """People without end; some cannot be sent, some are refused, and STATE comes often."""
    yield schema()
    for n in itertools.count(1):
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
