"""A PostgreSQL server of the tests' own, from the distribution's packages."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

_ROOT = 0


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, or None if it is not installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return versions[-1].parent if versions else None


class PostgreSQL:
    """A running server.

    Attributes:
        url: Where it answers, for SQLAlchemy.
    """

    def __init__(self, bin_dir: Path, port: int, control: Callable[..., None]) -> None:
        self._control = control
        self._psql = [str(bin_dir / "psql"), *("-h", "127.0.0.1", "-p", str(port), "-U", "tests")]
        self.url = f"postgresql://tests:any@127.0.0.1:{port}/postgres"

    def start(self) -> None:
        """Start it again, and wait until it answers."""
        self._control("start")

    def stop(self) -> None:
        """Cut all connections and stop it; what was committed is kept."""
        self._control("-m", "fast", "stop")

    def execute(self, sql: str) -> str:
        """Run SQL and return what it prints."""
        command = [*self._psql, *("-d", "postgres", "-v", "ON_ERROR_STOP=1", "-qAt", "-c", sql)]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        return ran.stdout.strip()


@contextlib.contextmanager
def running(bin_dir: Path) -> Iterator[PostgreSQL]:
    """Start a server with an empty database; nothing of it is left behind."""
    # PostgreSQL refuses to run as root.
    user = "nobody" if os.geteuid() == _ROOT else None
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        if user is not None:
            shutil.chown(folder, user)
        data = Path(folder, "data")

        def run(program: str, *arguments: str) -> None:
            subprocess.run(
                [str(bin_dir / program), "-D", str(data), *arguments],
                user=user,
                cwd=folder,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
                stdout=subprocess.DEVNULL,
                check=True,
            )

        run("initdb", "-U", "tests", "-A", "trust", "-E", "UTF8", "--no-sync")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        options = f"-p {port} -h 127.0.0.1 -k {folder} -F -c timezone=UTC"
        control = partial(run, "pg_ctl", "-w", "-l", f"{folder}/log", "-o", options)
        control("start")
        try:
            yield PostgreSQL(bin_dir, port, control)
        finally:
            control("-m", "immediate", "stop")
