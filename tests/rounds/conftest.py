"""Fixtures that shorten pauses, and the target as a process of its own."""

import sys
import typing as t
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
def start(request: pytest.FixtureRequest, crm: RunningSandbox, settings: Record) -> Start:
    """Start the target as a process of its own; the CRM refuses whose address begins with bad."""
    crm.set_switches(refuse_email="bad")
    folder: Path = request.getfixturevalue("tmp_path")

    def begin(grace: float = 30.0, *, is_quick: bool = True, **more: t.Any) -> Process:
        crm.set_faults(*more.pop("faults", "").split())
        shell = ["sh", "-c", 'exec "$@" >&-', "sh"] if more.pop("closed_stdout", False) else []
        module = ["tests.rounds.quick", str(grace)] if is_quick else ["target_mainbrainer"]
        command = [*shell, sys.executable, "-m", *module]
        own = {**settings, "rejects_path": str(folder / "rejects.singer"), **more}
        process = start_process(crm, folder, own, *command)
        request.addfinalizer(process.close)
        return process

    return begin
