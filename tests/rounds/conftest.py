"""Fixtures that shorten pauses, and the target as a process of its own."""

import sys
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from mainbrainer_sandbox.running import RunningSandbox
from tests.loads import Record
from tests.rounds import quick
from tests.rounds.process import Process, Start, start_process


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pause before retries in hundredths of seconds, and look for statuses at once and often."""
    quick.shorten(monkeypatch)
    monkeypatch.setattr(quick.LONGEST_PAUSE, 0.1)


@pytest.fixture
def start(tmp_path: Path, crm: RunningSandbox, settings: Record) -> Iterator[Start]:
    """Start the target as a process of its own; the CRM refuses whose address begins with bad."""
    crm.set_switches(refuse_email="bad")
    running: list[Process] = []

    def begin(grace: float = 30.0, *, is_quick: bool = True, **more: t.Any) -> Process:
        crm.set_faults(*more.pop("faults", "").split())
        shell = ["sh", "-c", 'exec "$@" >&-', "sh"] if more.pop("closed_stdout", False) else []
        module = ["tests.rounds.quick", str(grace)] if is_quick else ["target_mainbrainer"]
        command = [*shell, sys.executable, "-m", *module]
        own = {**settings, "rejects_path": str(tmp_path / "rejects.singer"), **more}
        running.append(start_process(crm, tmp_path, own, *command))
        return running[-1]

    yield begin
    for process in running:
        process.close()
