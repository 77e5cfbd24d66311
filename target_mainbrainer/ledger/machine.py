"""Which machine and process this is, so that a dead run can be told from one that goes on."""

from __future__ import annotations

import os
import socket
import typing as t
from pathlib import Path


class Process(t.NamedTuple):
    """A process, so that no later one is taken for it.

    Attributes:
        machine: Host name, boot and, in a container, its own numbering of processes.
        process: Its number and when it was started.
    """

    machine: str
    process: str

    @property
    def is_gone(self) -> bool | None:
        """Whether it has ended; None if that cannot be seen from here."""
        if self.machine != _machine():
            return None
        return self.process != _process(int(self.process.partition(" ")[0]))


def this_process() -> Process:
    """Return what this process is."""
    return Process(_machine(), _process(os.getpid()))


def boot_id() -> str:
    """Return what changes with every start of the machine; "" where it does not say."""
    return _read("/proc/sys/kernel/random/boot_id").strip()


def _machine() -> str:
    try:
        numbering = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        numbering = ""
    return f"{socket.gethostname()} {boot_id()} {numbering}".strip()


def _process(number: int) -> str:
    """Return the process of this number, "" if there is none."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass  # it is there, and another user's
    # The name before the last bracket may hold blanks and brackets itself.
    stat = _read(f"/proc/{number}/stat").rpartition(")")[2].split()
    started = stat[19] if stat else ""
    return f"{number} {started}".strip()


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
