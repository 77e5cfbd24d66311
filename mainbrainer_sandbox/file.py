"""Opening a sandbox file: for one sandbox to write, and for any number to read."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = "7"


class StoreError(Exception):
    """The file is not a sandbox's, or cannot be used; the message is for people."""


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """Open a sandbox file, for everything or for reading only.

    Raises:
        StoreError: It cannot be used.
    """
    if path.is_dir():
        raise StoreError(f"{path} is a folder; name a file in it, such as {path / 'sandbox.db'}.")
    if write and not path.exists():
        # Before SQLite does it, so that other users can never read contacts.
        os.close(_private_file(path))
    elif not path.is_file():
        raise StoreError(f"There is no sandbox file at {path}.")
    uri = f"{path.absolute().as_uri()}?mode={'rw' if write else 'ro'}"
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30
    )
    connection.row_factory = sqlite3.Row
    problem = _problem_with(connection, write=write)
    if problem is not None:
        connection.close()
        raise StoreError(f"{path} {problem}.")
    if write:
        with contextlib.suppress(PermissionError):  # it belongs to another user
            path.chmod(0o600)
    return connection


def _private_file(path: Path) -> int:
    """Open a file that only its owner can read, making it if need be."""
    try:
        return os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise StoreError(f"{path} cannot be made ({error.strerror}).") from error


def _problem_with(connection: sqlite3.Connection, *, write: bool) -> str | None:
    """Return why a file cannot be used as a sandbox's; an empty one can be written."""
    try:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        if "meta" not in tables:
            return None if write and not tables else "is not a sandbox file"
        found = connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
    except sqlite3.DatabaseError:
        return "is not a sandbox file, or it is damaged"
    if found is None or found[0] != FORMAT:
        return "was written by another version of the sandbox; start with a new file"
    return None


class Lock:
    """Keeps a second sandbox from writing a file that the first has partly in memory.

    A lock of its own beside the file, because SQLite loses its locks when anything in
    the process closes the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}-lock")
        self._fd = _private_file(self._path)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The sandbox that had the file may have removed what was opened here.
            if not os.path.samestat(os.fstat(self._fd), self._path.stat()):
                raise BlockingIOError
        except OSError as error:
            os.close(self._fd)
            raise StoreError(
                f"{path} is in use by another sandbox. Stop that one, or send to the address "
                "that it has printed."
            ) from error

    def release(self) -> None:
        """Allow others to use the file."""
        self._path.unlink(missing_ok=True)
        os.close(self._fd)
