"""A move that is killed at any of its steps is continued, and makes no second contact."""

from __future__ import annotations

import signal
import typing as t

import pytest

from tests.end_to_end.moving import held, night, one
from tests.killing import run_killed
from tests.ledgers import empty_ledger

if t.TYPE_CHECKING:
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import Record, RunTarget

MOMENTS = [
    ("send", "before", 1, "b"),
    ("send", "after", 1, "c"),
    ("ask for the id", "after", 1, "a"),
    ("keep the id", "before", 1, "b"),
    ("keep the id", "after", 1, "c"),
    ("send", "before", 2, "a"),
    ("send", "after", 2, "b"),
    ("send", "after", 2, "c"),
    ("send", "after", 2, "a"),
    ("write the rename", "before", 1, "a"),
    ("write the rename", "after", 1, "b"),
    ("take the outcome", "before", 1, "c"),
    ("take the outcome", "after", 1, "a"),
    ("write STATE", "before", 1, "a"),
    ("write STATE", "after", 1, "c"),
]
"""The step, and where the person is by the next run: at "b", as when it was killed, or not."""


@pytest.fixture
def ledger_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return empty_ledger(request, tmp_path)


@pytest.fixture
def settings(settings: Record, ledger_uri: str) -> Record:
    return {**settings, "ledger_uri": ledger_uri}


ON_POSTGRESQL = [
    ("keep the id", "before", 1, "b"),
    ("keep the id", "after", 1, "c"),
    ("write the rename", "before", 1, "a"),
]


@pytest.mark.parametrize(
    ("ledger_uri", "step", "when", "number", "later"),
    [("sqlite", *moment) for moment in MOMENTS]
    + [("postgresql", *moment) for moment in ON_POSTGRESQL],
    indirect=["ledger_uri"],
)
def test_a_kill_at_any_step_makes_no_second_contact(  # noqa: PLR0917 - a table of cases
    run_target: RunTarget,
    crm: RunningSandbox,
    settings: Record,
    tmp_path: Path,
    step: str,
    when: str,
    number: int,
    later: str,
) -> None:
    run_target(*night(one(1, "a", consent=True)))
    ended = run_killed(
        settings, night(one(1, "b", consent=True)), tmp_path, step, when, str(number)
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert run_target(*night(one(1, later, consent=False))).code == 0
    assert held(crm) == [(None, later, False, "First1")]
