"""The target with short pauses and intervals, so that a test need not wait for what is due later.

Called as `python -m tests.rounds.quick GRACE OPTIONS`, it is the target's command with these, and
with so many seconds for what is in flight when the run has to end.

Each value has all the names it has had; those that do not exist are passed over.
"""

from __future__ import annotations

import functools
import importlib
import sys
import typing as t

from target_mainbrainer import cli

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pytest

Name: t.TypeAlias = "tuple[str, str]"

RETRIES: list[Name] = [("target_mainbrainer.api.client", "pause_before_retry")]
FIRST_LOOK: list[Name] = [
    ("target_mainbrainer.rounds.statuses", "FIRST_LOOK_SECONDS"),
    ("target_mainbrainer.rounds.statuses", "FIRST_AWAITED_SECONDS"),
]
LONGEST_PAUSE: list[Name] = [("target_mainbrainer.rounds.statuses", "LONGEST_PAUSE_SECONDS")]
PROGRESS: list[Name] = [("target_mainbrainer.run", "PROGRESS_INTERVAL_SECONDS")]
TICK: list[Name] = [("target_mainbrainer.rounds.load", "TICK_SECONDS")]
GRACE: list[Name] = [("target_mainbrainer.rounds.load", "GRACE_SECONDS")]
STATE_INTERVAL: list[Name] = [("target_mainbrainer.run", "STATE_INTERVAL_SECONDS")]
LONGEST_WAIT: list[Name] = [
    ("target_mainbrainer.rounds.load", "IDLE_SECONDS"),
    ("target_mainbrainer.rounds.load", "UNFILLED_SECONDS"),
]
LEFTOVER: list[Name] = [("target_mainbrainer.singer.reader", "LEFTOVER_SECONDS")]


def existing(names: Iterable[Name]) -> Iterator[tuple[t.Any, str]]:
    """Return each module that exists and has the name, once."""
    for module, name in dict.fromkeys(names):
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError:
            continue
        if hasattr(found, name):
            yield found, name


def shortened(pause: Callable[..., float | None]) -> Callable[..., float | None]:
    """Return a rule for pauses that are a hundred times as short."""

    @functools.wraps(pause)
    def hundredth(*args: t.Any, **kwargs: t.Any) -> float | None:
        seconds = pause(*args, **kwargs)
        return None if seconds is None else seconds / 100

    return hundredth


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pause before retries in hundredths of seconds, and look for statuses soon."""
    for module, name in existing(RETRIES):
        monkeypatch.setattr(module, name, shortened(getattr(module, name)))
    for module, name in existing(FIRST_LOOK):
        monkeypatch.setattr(module, name, 0.02)


def main() -> None:
    """Run the target's command with short intervals."""
    values = [
        (GRACE, float(sys.argv.pop(1))),
        (STATE_INTERVAL, 0.02),
        (TICK, 0.02),
        (LONGEST_WAIT, 0.2),
        (FIRST_LOOK, 0.02),
        (LEFTOVER, 3.0),
    ]
    for names, value in values:
        for module, name in existing(names):
            setattr(module, name, value)
    for module, name in existing(RETRIES):
        setattr(module, name, shortened(getattr(module, name)))
    cli.main()


if __name__ == "__main__":
    main()
