"""The target with short pauses and intervals, so that a test need not wait for what is due later.

Called as `python -m tests.rounds.quick GRACE OPTIONS`, it is the target's command with these, and
with so many seconds for what is in flight when the run has to end.

Each value has all the names it has had; those that do not exist are passed over.
"""

from __future__ import annotations

import importlib
import sys
import typing as t

from target_mainbrainer import cli

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Name: t.TypeAlias = "tuple[str, str]"

RETRIES: list[Name] = [
    ("target_mainbrainer.api.requester", "pause_before_retry"),
    ("target_mainbrainer.api.client", "pause_before_retry"),
]
FIRST_LOOK: list[Name] = [
    ("target_mainbrainer.delivery.status_polling", "FIRST_LOOK_SECONDS"),
    ("target_mainbrainer.rounds.statuses", "FIRST_LOOK_SECONDS"),
]
LONGEST_PAUSE: list[Name] = [
    ("target_mainbrainer.delivery.status_polling", "LONGEST_PAUSE_SECONDS"),
    ("target_mainbrainer.rounds.statuses", "LONGEST_PAUSE_SECONDS"),
]
PROGRESS: list[Name] = [
    ("target_mainbrainer.delivery.delivery", "PROGRESS_INTERVAL_SECONDS"),
    ("target_mainbrainer.rounds.sending", "PROGRESS_INTERVAL_SECONDS"),
]
TICK: list[Name] = [
    ("target_mainbrainer.delivery.delivery", "TICK_SECONDS"),
    ("target_mainbrainer.rounds.sending", "TICK_SECONDS"),
]
GRACE: list[Name] = [
    ("target_mainbrainer.delivery.delivery", "GRACE_SECONDS"),
    ("target_mainbrainer.rounds.sending", "GRACE_SECONDS"),
]
STATE_INTERVAL: list[Name] = [("target_mainbrainer.delivery.delivery", "STATE_INTERVAL_SECONDS")]
LONGEST_WAIT: list[Name] = [
    ("target_mainbrainer.delivery.buffer", "MAX_WAIT_SECONDS"),
    ("target_mainbrainer.rounds.round", "LONGEST_WAIT_SECONDS"),
]
SILENCE: list[Name] = [("target_mainbrainer.delivery.circuit_breaker", "SILENCE_SECONDS")]
LEFTOVER: list[Name] = [
    ("target_mainbrainer.singer.leftover", "LONGEST_SECONDS"),
    ("target_mainbrainer.singer.reader", "LONGEST_LEFTOVER_SECONDS"),
]


def existing(names: Iterable[Name]) -> Iterator[tuple[t.Any, str]]:
    """Return each module that exists and has the name."""
    for module, name in names:
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError:
            continue
        if hasattr(found, name):
            yield found, name


def main() -> None:
    """Run the target's command with short intervals."""
    values = [
        (GRACE, float(sys.argv.pop(1))),
        (STATE_INTERVAL, 0.02),
        (TICK, 0.02),
        (LONGEST_WAIT, 0.2),
        (FIRST_LOOK, 0.02),
        (SILENCE, 0.2),
        (LEFTOVER, 3.0),
    ]
    for names, value in values:
        for module, name in existing(names):
            setattr(module, name, value)
    cli.main()


if __name__ == "__main__":
    main()
