"""A run that is killed at any moment costs nothing but what it sends again."""

from __future__ import annotations

import typing as t

import pytest

from tests.ledger.outside import FULL, Moment, run_killed
from tests.ledgers import on_both_databases
from tests.messages import person, schema, state

if t.TYPE_CHECKING:
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.ledger.outside import Between
    from tests.messages import Record, RunTarget


@pytest.fixture
def settings(settings: Record, between: Between) -> Record:
    return {**settings, "api_url": between.url, "batch_size_rows": 5, **FULL}


def night(names: dict[int, str]) -> list[str]:
    """Return a full read of people, by number and first name."""
    lines = [schema()]
    for number, name in names.items():
        lines.append(person(number, firstname=name))
        if number % 4 == 0:
            lines.append(state(bookmark=number))
    return lines


MOMENTS = [
    *(Moment("POST", number, when) for number in (1, 2) for when in ("before", "after")),
    *(Moment("POST", number, "answered") for number in (1, 2, 3)),
    *(Moment("GET", 1, when) for when in ("before", "after")),
    Moment("STATE", 1),
]


@on_both_databases
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: " ".join(map(str, moment)))
def test_a_kill_at_any_moment_costs_nothing(
    run_target: RunTarget,
    crm: RunningSandbox,
    settings: Record,
    between: Between,
    tmp_path: Path,
    moment: Moment,
) -> None:
    first = {n: f"First{n}" for n in range(1, 21)} | {99: "Gone"}
    changed = {n: f"Other{n}" if n % 2 else f"First{n}" for n in range(1, 25)}
    run_target(*night(first)).ok()
    report = {"confirm_batches": "report" if moment.what == "GET" else "none"}
    killed = run_killed(settings | report, night(changed), tmp_path, between, moment)
    reached = max([written["bookmark"] for written in killed.states], default=0)
    held = {contact["email"] for contact in crm.contacts()}
    assert {f"p{n}@example.com" for n in range(1, reached + 1)} <= held
    names = {one["email"]: one["properties"]["firstname"] for one in crm.contacts()}
    assert all(names[f"p{n}@example.com"] == changed[n] for n in range(1, reached + 1))
    for _ in range(2):  # what was on its way may come again for a while
        run_target(*night(changed)).ok()
        assert len(crm.contacts()) == len(changed) + 1
        names = {one["email"]: one["properties"]["firstname"] for one in crm.contacts()}
        expected = {f"p{n}@example.com": name for n, name in changed.items()}
        assert names == expected | {"p99@example.com": "Gone"}


def test_what_was_not_on_its_way_is_not_sent_again(
    run_target: RunTarget, settings: Record, between: Between, tmp_path: Path
) -> None:
    """A kill is no reason to send everything."""
    people = {n: f"First{n}" for n in range(1, 41)}
    run_target(*night(people)).ok()
    one_changed = people | {1: "Other"}
    run_killed(settings, night(one_changed), tmp_path, between, Moment("POST", 1, "before"))
    ended = run_target(*night(one_changed)).ok()
    assert ended.report["requests"] == 1
    assert ended.counts["unchanged"] == 39
