"""A run that goes on, because its tap has not ended."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import typing as t

from tests.waiting import PATIENCE

if t.TYPE_CHECKING:
    from pathlib import Path

    from tests.messages import Record


class Unfinished:
    """A run as a process, whose input stays open until the end of a `with`."""

    def __init__(self, settings: Record, folder: Path, lines: list[str]) -> None:
        config = folder / "unfinished.json"
        config.write_text(json.dumps(settings))
        self.log = folder / "unfinished.log"
        with self.log.open("w") as stderr:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "tests.rounds.quick", "30", "--config", str(config)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        self.feed(lines)

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.end()
        finally:
            self._popen.kill()
            self._popen.wait()

    def feed(self, lines: list[str]) -> None:
        """Write more to it."""
        stdin = t.cast("t.IO[str]", self._popen.stdin)
        stdin.write("".join(f"{line}\n" for line in lines))
        stdin.flush()

    def wait_for_state(self) -> Record:
        """Wait until it has delivered what it was fed, and return the STATE."""
        stdout = t.cast("t.IO[str]", self._popen.stdout)
        assert select.select([stdout], [], [], PATIENCE)[0], "no STATE came"
        line = stdout.readline()
        assert line, self.log.read_text()
        return t.cast("Record", json.loads(line))

    def end(self) -> int:
        """End its input, wait for its end, and return the exit code."""
        self._popen.communicate(timeout=PATIENCE)
        return self._popen.returncode
