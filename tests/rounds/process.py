"""The target as a process, a tap that feeds it, and what has come of it at any moment."""

import contextlib
import itertools
import json
import select
import signal
import subprocess
import threading
import time
import typing as t
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mainbrainer_sandbox.running import RunningSandbox
from tests.loads import PATIENCE, Ended, Record, lines_of, person, schema, state, wait_until

PACE = 0.002
"""So many seconds between two lines let a run send often, however much it collects before."""


@dataclass
class Process:
    """A running target.

    Attributes:
        states: The bookmarks read from its standard output.
        fed: How many lines, and how many characters, have been written to it.
        is_cut_off: Whether it has stopped reading.
        is_enough: Whether to write nothing more to it.
        writers: The threads that write to it.
        on_state: Called with the number of each STATE that is read at the end.
    """

    popen: subprocess.Popen[str]
    crm: RunningSandbox
    rejects: Path
    log_path: Path
    states: list[int] = field(default_factory=list)
    fed: tuple[int, int] = (0, 0)
    is_cut_off: bool = False
    is_enough: bool = False
    writers: list[threading.Thread] = field(default_factory=list)
    on_state: Callable[[int], object] = lambda _: None

    @property
    def stdin(self) -> t.IO[str]:
        return t.cast("t.IO[str]", self.popen.stdin)

    @property
    def stdout(self) -> t.IO[str]:
        return t.cast("t.IO[str]", self.popen.stdout)

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def feed(self, lines: Iterable[str], *, pace: float = 0.0) -> threading.Thread:
        """Write lines to its standard input, from a thread, until it stops reading.

        Args:
            lines: What to write; a text is that of `lines_of`.
            pace: Seconds between one line and the next, as a tap has them.
        """

        def write() -> None:
            try:
                for line in lines_of(lines) if isinstance(lines, str) else lines:
                    if self.is_enough:
                        break
                    self.stdin.write(f"{line}\n")
                    self.fed = self.fed[0] + 1, self.fed[1] + len(line)
                    if pace:
                        self.stdin.flush()
                        time.sleep(pace)
                self.stdin.flush()
            except (OSError, ValueError):
                self.is_cut_off = True

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        self.writers.append(writer)
        return writer

    def feed_all(self, lines: Iterable[str]) -> None:
        """Write lines to its standard input, and return when it has read, or buffered, them."""
        self.feed(lines).join(PATIENCE)

    def feed_endlessly(self) -> None:
        """Write people without end; some cannot be sent, some are refused; STATE comes often."""
        self.feed(_endless(), pace=PACE)

    def close(self) -> None:
        """Kill it, if it has not ended."""
        self.popen.kill()
        self.popen.wait()
        for pipe in (self.stdin, self.stdout):
            with contextlib.suppress(OSError):
                pipe.close()

    def wait_for_log(self, words: str) -> None:
        wait_until(lambda: words in self.log, f"no '{words}' in the log")

    def wait_until_ready(self) -> None:
        """Wait until a stream is announced, which is after the signal handlers stand."""
        self.wait_for_log("people")

    def wait_for_requests(self, count: int = 1) -> None:
        wait_until(lambda: len(self.crm.requests()) >= count, f"not {count} requests came")

    def send(self, name: str) -> None:
        """Send it a signal."""
        self.popen.send_signal(getattr(signal, f"SIG{name}"))

    def close_input(self) -> None:
        """End what is fed, and close standard input."""
        self.is_enough = True
        for writer in self.writers:
            writer.join(PATIENCE)
        with contextlib.suppress(BrokenPipeError):  # it may have been killed already
            self.stdin.close()

    def next_state(self) -> dict[str, t.Any]:
        assert select.select([self.stdout], [], [], PATIENCE)[0], "no STATE came"
        written = t.cast("dict[str, t.Any]", json.loads(self.stdout.readline()))
        self.states.append(written["bookmark"])
        return written

    def ended(self) -> Ended:
        """Wait for the end, and return what the run has left behind."""
        if not self.stdout.closed:
            for line in self.stdout:
                if line.endswith("}\n"):
                    self.states.append(json.loads(line)["bookmark"])
                    self.on_state(len(self.states))
        code = self.popen.wait(PATIENCE)
        return Ended(code, [{"bookmark": one} for one in self.states], self.log)

    def failed(self, words: str = "Ended by SIGTERM") -> None:
        """Wait for the end, which has to be a logged failure."""
        assert self.ended().code == 1
        assert words in self.log
        assert "FAILED: " in self.log.splitlines()[-1]
        assert self.log.count("FAILED: ") == 1
        assert "Traceback" not in self.log

    def is_behind(self) -> bool:
        """Return whether all records before the last STATE are in the CRM or the rejects file.

        Half a line at the end of that is left out.
        """
        taken = {contact["email"] for contact in self.crm.contacts()}
        lines = self.rejects.read_text().splitlines(keepends=True) if self.rejects.exists() else ()
        messages = [json.loads(line) for line in lines if line.endswith("\n")]
        kept = {message.get("record", {}).get("id") for message in messages}
        return all(
            n in kept or taken & {f"p{n}@example.com", f"bad{n}@example.com"}
            for n in range(1, (self.states[-1] if self.states else 0) + 1)
        )


def start_process(crm: RunningSandbox, folder: Path, settings: Record, *command: str) -> Process:
    """Start the target by a command, with its settings and its log in files of a folder."""
    number = len([*folder.glob("process*.json")])
    config, log = (folder / f"process{number}.{end}" for end in ("json", "log"))
    config.write_text(json.dumps(settings))
    with log.open("w") as stderr:
        pipes: t.Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": stderr}
        popen = subprocess.Popen([*command, "--config", str(config)], text=True, **pipes)
    return Process(popen, crm, Path(settings.get("rejects_path", "")), log)


Start: t.TypeAlias = Callable[..., Process]


def _endless(every: int = 20) -> Iterator[str]:
    odd: dict[int, t.Any] = {7: {"email": None}}
    yield schema()
    for n in itertools.count(1):
        odd[23] = {"email": f"bad{n}@example.com"}
        yield person(n, **odd.get(n % 50, {}))
        if n % every == 0:
            yield state(bookmark=n)
