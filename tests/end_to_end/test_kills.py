"""A run that is killed at any step of the safe order costs nothing but what it sends again."""

from __future__ import annotations

import json
import signal
import typing as t

import pytest

from tests.killing import STEPS, run_killed
from tests.messages import person, schema, state

if t.TYPE_CHECKING:
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import Record, RunTarget


@pytest.fixture
def settings(settings: Record, ledger_uri: str) -> Record:
    return {
        **settings,
        "ledger_uri": ledger_uri,
        "batch_size_rows": 5,
        "streams": {"people": {"full_table": True}},
    }


def night(names: dict[int, str]) -> list[str]:
    """Return a full read of people, by number and first name."""
    lines = [schema()]
    for number, name in names.items():
        lines.append(person(number, firstname=name))
        if number % 4 == 0:
            lines.append(state(bookmark=number))
    return lines


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_costs_nothing(  # noqa: PLR0917 - a table of cases
    run_target: RunTarget,
    crm: RunningSandbox,
    settings: Record,
    tmp_path: Path,
    step: str,
    when: str,
) -> None:
    first = {n: f"First{n}" for n in range(1, 21)} | {99: "Gone"}
    changed = {n: f"Other{n}" if n % 2 else f"First{n}" for n in range(1, 25)}
    assert run_target(*night(first)).code == 0
    ended = run_killed(settings, night(changed), tmp_path, step, when, "1")
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    reached = max([json.loads(line)["bookmark"] for line in ended.stdout.splitlines()], default=0)
    held = {contact["email"] for contact in crm.contacts()}
    assert {f"p{n}@example.com" for n in range(1, reached + 1)} <= held
    assert run_target(*night(changed)).code == 0
    names = {one["email"]: one["properties"]["firstname"] for one in crm.contacts()}
    expected = {f"p{n}@example.com": name for n, name in changed.items()}
    assert names == expected | {"p99@example.com": "Gone"}
    for _ in range(2):  # what was on its way stays unknown for one more run
        assert run_target(*night(changed)).code == 0
    sent = len(crm.requests())
    assert run_target(*night(changed)).report["streams"]["people"]["unchanged"] == len(changed)
    assert len(crm.requests()) == sent
