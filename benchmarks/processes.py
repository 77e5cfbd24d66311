"""Whole processes: what they take, and the server they talk to."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
import typing as t
import urllib.request
from pathlib import Path

if t.TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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


def run(command: Sequence[str], *, stdin: Path, log: Path, certificate: str = "") -> Ran:
    """Run a process to its end.

    Args:
        command: What to run.
        stdin: What it reads.
        log: Where its errors go.
        certificate: The authority it trusts, for a server that speaks TLS.

    Raises:
        RuntimeError: It failed.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TARGET_")}
    # Installed packages are compiled once; where that is off, each run would begin with it.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if certificate:
        environment["REQUESTS_CA_BUNDLE"] = certificate
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
    """A server of `benchmarks.server` at work.

    Attributes:
        url: Its address.
        certificate: What to trust when talking to it, "" if it does not speak TLS.
    """

    def __init__(self, port: int, certificate: str) -> None:
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
        self.certificate = certificate

    def seen(self) -> Seen:
        """Return what came in since this was last asked."""
        trusted = ssl.create_default_context(cafile=self.certificate) if self.certificate else None
        with urllib.request.urlopen(f"{self.url}/seen", context=trusted) as answer:
            return t.cast("Seen", json.load(answer))


@contextlib.contextmanager
def server(
    *,
    latency: float = 0.0,
    burst: int = 0,
    setup: float = 0.0,
    late: float = 0.0,
    contacts: int = 0,
) -> Iterator[Server]:
    """Run a server of its own as long as it is needed; one with a set-up time speaks TLS.

    Args:
        latency: Seconds until a request is answered.
        burst: Requests allowed in any 10 seconds; 0 for no limit.
        setup: Seconds that a new connection waits.
        late: Seconds, at most, between the coming and the counting of a request.
        contacts: How many a batch has, for its status.
    """
    with tempfile.TemporaryDirectory() as folder:
        certificate = _make_certificate(Path(folder)) if setup else ""
        options = ["--latency", str(latency), "--burst", str(burst), "--late", str(late)]
        options += ["--contacts", str(contacts)]
        options += ["--setup", str(setup), "--certificate", certificate]
        with subprocess.Popen(
            [sys.executable, "-m", "benchmarks.server", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            stdout = t.cast("t.IO[bytes]", process.stdout)
            stdin = t.cast("t.IO[bytes]", process.stdin)
            try:
                yield Server(int(stdout.readline()), certificate)
            finally:
                stdin.close()


def _make_certificate(folder: Path) -> str:
    """Make a certificate and its key for this machine, in one file."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-days", "2"]
    command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key)]
    subprocess.run([*command, "-out", str(certificate)], check=True, capture_output=True)
    certificate.write_text(certificate.read_text() + key.read_text())
    return str(certificate)
