"""The target with short pauses and intervals, so that a test need not wait for what is due later.

Called as `python -m tests.rounds.quick GRACE OPTIONS`, it is the target's command with these, and
with so many seconds for what is in flight when the run has to end.
"""

import importlib
import sys
import typing as t
from collections.abc import Callable

import pytest

from target_mainbrainer import cli
from target_mainbrainer.api.limits import pause_before_retry

OURS = "target_mainbrainer"
RETRIES = f"{OURS}.api.client.pause_before_retry"
FIRST_LOOK = f"{OURS}.rounds.statuses.FIRST_LOOK_SECONDS"
LONGEST_PAUSE = f"{OURS}.rounds.statuses.LONGEST_PAUSE_SECONDS"
PROGRESS = f"{OURS}.run.PROGRESS_INTERVAL_SECONDS"
STATE_INTERVAL = f"{OURS}.run.STATE_INTERVAL_SECONDS"
TICK = f"{OURS}.rounds.load.TICK_SECONDS"


def shortened(pause: Callable[..., float | None]) -> Callable[..., float | None]:
    """Return a rule for pauses that are a hundred times as short."""

    def hundredth(*args: t.Any, **kwargs: t.Any) -> float | None:
        seconds = pause(*args, **kwargs)
        return None if seconds is None else seconds / 100

    return hundredth


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pause before retries in hundredths of seconds, and look for statuses soon."""
    monkeypatch.setattr(RETRIES, shortened(pause_before_retry))
    monkeypatch.setattr(FIRST_LOOK, 0.02)
    monkeypatch.setattr(f"{OURS}.rounds.statuses.FIRST_AWAITED_SECONDS", 0.02)


def main() -> None:
    """Run the target's command with short intervals."""
    values: dict[str, t.Any] = {
        f"{OURS}.rounds.load.GRACE_SECONDS": float(sys.argv.pop(1)),
        f"{OURS}.rounds.load.IDLE_SECONDS": 0.2,
        f"{OURS}.rounds.load.UNFILLED_SECONDS": 0.2,
        f"{OURS}.singer.reader.LEFTOVER_SECONDS": 3.0,
        STATE_INTERVAL: 0.02,
        TICK: 0.02,
        f"{OURS}.ledger.database.BUSY_TIMEOUT_SECONDS": 0.5,
        FIRST_LOOK: 0.02,
    }
    change(values | {RETRIES: shortened(pause_before_retry)})
    cli.main()


def change(values: dict[str, t.Any]) -> None:
    """Give values of the target's others, for as long as this process lives."""
    for name, value in values.items():
        module, _, attribute = name.rpartition(".")
        setattr(importlib.import_module(module), attribute, value)


if __name__ == "__main__":
    main()
