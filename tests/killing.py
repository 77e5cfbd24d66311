"""Runs the target as its command does, and kills it without notice at one step.

Called as `python -m tests.killing SETTINGS STEP WHEN NUMBER`: the file with the settings, one of
`STEPS` or `MOVE_STEPS`, `before` or `after` it, and at which time of it.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import signal
import subprocess
import sys
import typing as t

from target_mainbrainer import cli
from target_mainbrainer.api.client import MainBrainerClient
from target_mainbrainer.ledger import entry_store
from target_mainbrainer.ledger.stream_ledger import StreamLedger
from target_mainbrainer.run import Run

if t.TYPE_CHECKING:
    from pathlib import Path

    from tests.messages import Record

STEPS: dict[str, tuple[object, str]] = {
    "compare and mark": (StreamLedger, "compare"),
    "send": (MainBrainerClient, "post_batch"),
    "take the outcome": (StreamLedger, "delivered"),
    "write the outcome": (StreamLedger, "flush"),
    "write STATE": (Run, "_write_state"),
    "forget what is missing": (StreamLedger, "expire"),
    "release the stream": (StreamLedger, "release"),
}
"""The safe order, and what comes after it."""

MOVE_STEPS: dict[str, tuple[object, str]] = {
    "send": (MainBrainerClient, "post_batch"),
    "ask for the id": (MainBrainerClient, "batch_status"),
    "keep the id": (StreamLedger, "note_ids"),
    "take the outcome": (StreamLedger, "delivered"),
    "write the rename": (entry_store, "write_delivered"),
    "write STATE": (Run, "_write_state"),
}
"""What lets a contact follow its person."""


def run_killed(
    settings: Record, lines: list[str], folder: Path, *kill: str
) -> subprocess.CompletedProcess[str]:
    """Run the target in a process that is killed at a step, if it gets there."""
    path = folder / "settings.json"
    path.write_text(json.dumps(settings))
    return subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-m", "tests.killing", str(path), *kill],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def kill_at(step: str, when: str, number: int) -> None:
    """Make this process end at a step as if it had lost its power."""
    owner, name = (STEPS | MOVE_STEPS)[step]
    real = getattr(owner, name)
    calls = itertools.count(1)

    @functools.wraps(real)
    def killed(*args: t.Any, **kwargs: t.Any) -> t.Any:
        is_it = next(calls) == number
        if is_it and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **kwargs)
        if is_it:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, killed)


if __name__ == "__main__":
    settings_path, step, when, number = sys.argv[1:]
    kill_at(step, when, int(number))
    sys.argv = ["target-mainbrainer", "--config", settings_path]
    cli.main()
