"""Whole processes: what they take, and the server they talk to."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import typing as t
import urllib.request

if t.TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.server import Seen

_MAX_RSS_PER_MIB = 1024 * 1024 if sys.platform == "darwin" else 1024
_LOG_SHOWN = 2000


class Ran(t.NamedTuple):
    """What a process took.

    Attributes:
        started: When, by the system's monotonic clock.
        seconds: From start to end.
        cpu_seconds: Of all its threads, in user and system mode.
        peak_mib: The most memory it had at any time.
    """

    started: float
    seconds: float
    cpu_seconds: float
    peak_mib: float


def run(command: Sequence[str], *, stdin: Path, log: Path) -> Ran:
    """Run a process to its end.

    Raises:
        RuntimeError: It failed.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TARGET_")}
    with stdin.open("rb") as lines, log.open("wb") as errors:
        started = time.monotonic()
        process = subprocess.Popen(
            command, stdin=lines, stdout=subprocess.DEVNULL, stderr=errors, env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        message = f"{command} ended with {process.returncode}: {log.read_text()[-_LOG_SHOWN:]}"
        raise RuntimeError(message)
    return Ran(
        started, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / _MAX_RSS_PER_MIB
    )


class Server:
    """A server of `benchmarks.server` at work."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def seen(self) -> Seen:
        """Return what came in since this was last asked."""
        with urllib.request.urlopen(f"{self.url}/seen") as answer:
            return t.cast("Seen", json.load(answer))


@contextlib.contextmanager
def server(*, latency: float = 0.0, burst: int = 0) -> Iterator[Server]:
    """Run a server of its own as long as it is needed."""
    options = ["--latency", str(latency), "--burst", str(burst)]
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.server", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        stdout = t.cast("t.IO[bytes]", process.stdout)
        stdin = t.cast("t.IO[bytes]", process.stdin)
        try:
            yield Server(int(stdout.readline()))
        finally:
            stdin.close()
