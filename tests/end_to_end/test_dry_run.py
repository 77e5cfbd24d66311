"""A dry run says what the run right after it does, and changes nothing."""

from __future__ import annotations

import json
import typing as t

import pytest

from tests.messages import person, schema, state

if t.TYPE_CHECKING:
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import Ended, RunTarget

PLANNED = [
    *("read", "accepted", "merged", "unchanged", "omitted", "rejected", "undelivered"),
    *("rejected_by_code", "dropped_by_code", "rejected_before_sending", "opt_ins_withheld"),
    *("moved", "not_followed_by_reason", "old_parts_kept"),
    *("created", "updates", "opt_ins_given", "opt_ins_withdrawn", "missing", "changed_columns"),
]
"""What a run's report says, too, and has to say the same of."""


def plan_of(ended: Ended) -> dict[str, t.Any]:
    return {
        name: {count: counts[count] for count in PLANNED}
        for name, counts in ended.report["streams"].items()
    }


def mixed() -> list[str]:
    """People of whom some are rejected, merged, deleted or consent to something."""
    lines = [schema()]
    for n in range(300):
        lines.append(person(n, email_opt_in=n % 3 == 0))
        if n % 10 == 0:
            lines.append(person(n, firstname="Newer"))
        if n % 50 == 0:
            lines.append(person(n, email="cut-off@"))
        if n % 60 == 0:
            lines.append(person(n, _sdc_deleted_at="2026-01-01"))
    return [*lines, state(bookmark=1)]


def test_a_dry_run_and_the_run_after_it_say_the_same(run_target: RunTarget, tmp_path: Path) -> None:
    settings = {"rejects_path": str(tmp_path / "rejects.singer"), "batch_size_rows": 10_0}
    dry = run_target(*mixed(), dry_run=True, **settings).ok()
    real = run_target(*mixed(), **settings).ok()
    assert plan_of(dry) == plan_of(real)
    assert dry.report["cost"]["requests_with_contacts"] == real.report["requests"]


def night(changed: int = 0, new: int = 0, **columns: t.Any) -> list[str]:
    """Three hundred people; some have changed since the night before, and some are new."""
    people = [
        person(n, firstname="Changed" if n < changed else f"First{n}", **columns)
        for n in range(300 + new)
    ]
    return [schema(), *people, state(bookmark=1)]


@pytest.mark.parametrize(
    ("lines", "config"),
    [
        pytest.param(night(), {}, id="an unchanged night"),
        pytest.param(night(changed=40, new=10), {}, id="some changed, some new"),
        pytest.param(
            night(), {"field_map": {"firstname": {"property_name": "name"}}}, id="a changed mapping"
        ),
        pytest.param(night(email_opt_in=True), {}, id="consent given"),
        pytest.param(night(), {"unchanged_contacts": "send"}, id="a full resend"),
        pytest.param(mixed(), {"max_rejects": 10}, id="a mixed night"),
        pytest.param(
            [schema(), *(person(n, email=f"new{n}@example.com") for n in range(12))],
            {},
            id="people who have moved",
        ),
    ],
)
def test_with_a_ledger_a_dry_run_and_the_run_after_it_say_the_same(
    run_target: RunTarget, tmp_path: Path, lines: list[str], config: dict[str, t.Any]
) -> None:
    path = tmp_path / "ledger.db"
    ledger = {"ledger_uri": str(path)}
    run_target(*night(), **ledger).ok()
    before = path.read_bytes()
    dry = run_target(*lines, dry_run=True, **ledger, **config)
    assert path.read_bytes() == before
    real = run_target(*lines, **ledger, **config)
    assert (dry.code, real.code) == (0, 0), (dry.errors, real.errors)
    assert plan_of(dry) == plan_of(real)


def test_it_is_told_which_columns_change(run_target: RunTarget, tmp_path: Path) -> None:
    ledger = {"ledger_uri": str(tmp_path / "ledger.db")}
    run_target(*night(), **ledger).ok()
    dry = run_target(*night(changed=40), dry_run=True, **ledger)
    assert dry.report["streams"]["people"]["changed_columns"] == {"firstname": 40}
    assert "changed fields: 'firstname' in 40." in dry.log


@pytest.mark.usefixtures("rejects")
def test_a_dry_run_sends_and_writes_nothing(
    run_target: RunTarget, crm: RunningSandbox, tmp_path: Path
) -> None:
    before = set(tmp_path.iterdir())
    ended = run_target(*mixed(), dry_run=True, ledger_uri=str(tmp_path / "ledger.db")).ok()
    assert crm.requests() == []
    assert ended.states == []
    assert {path.name for path in set(tmp_path.iterdir()) - before} == {"report.json"}


def test_a_dry_run_needs_no_account_and_no_sandbox(run_target: RunTarget, tmp_path: Path) -> None:
    run_target(*mixed(), dry_run=True, access_token="", max_rejects=10).ok()
    path = tmp_path / "not-there.db"
    run_target(
        *mixed(), dry_run=True, access_token="", api_url="", sandbox_path=str(path), max_rejects=10
    ).ok()
    assert not path.exists()


@pytest.mark.parametrize(
    ("settings", "guard"),
    [({"max_rejects": 3}, "'max_rejects'"), ({"max_rejects_percent": 1}, "'max_rejects_percent'")],
)
def test_a_guard_that_would_stop_the_run_is_said_and_all_is_read(
    run_target: RunTarget, tmp_path: Path, settings: dict[str, t.Any], guard: str
) -> None:
    path = str(tmp_path / "rejects.singer")
    lines = mixed()
    ended = run_target(*lines, dry_run=True, **({"rejects_path": path} | settings))
    assert ended.code == 1
    assert guard in ended.error
    assert "set 'rejects_path'" not in ended.error, "it is set"
    assert ended.last.endswith("nothing was sent; a run would fail.")
    assert ended.counts["read"] == len(lines) - 2


def test_too_many_moved_people_are_said_and_all_is_read(
    run_target: RunTarget, tmp_path: Path
) -> None:
    ledger = {"ledger_uri": str(tmp_path / "ledger.db")}
    run_target(*night(), **ledger).ok()
    moved = [schema(), *(person(n, email=f"new{n}@example.com") for n in range(300))]
    ended = run_target(*moved, person(300), dry_run=True, **ledger)
    assert ended.code == 1
    assert "'max_drift_percent' (5)" in ended.error
    people = ended.counts
    assert (people["read"], people["accepted"], people["undelivered"]) == (301, 1, 300)
    assert "300 would not be sent; nothing was sent; a run would fail." in ended.last


def test_too_many_new_contacts_end_a_run_and_are_said_by_a_dry_run(
    run_target: RunTarget, crm: RunningSandbox, tmp_path: Path
) -> None:
    """The run ends before it creates one; a dry run reads on and says how many there are."""
    settings = {"ledger_uri": str(tmp_path / "ledger.db"), "max_new_contacts": 299}
    dry = run_target(*night(), dry_run=True, **settings)
    assert "would create 300 contacts, and 'max_new_contacts' allows 299" in dry.error
    assert dry.report["streams"]["people"]["created"] == 300
    real = run_target(*night(), **settings)
    assert "would create 300 contacts or more, and 'max_new_contacts' allows 299" in real.error
    assert (dry.code, real.code, real.states, crm.contacts()) == (1, 1, [], [])


def test_the_cost_is_told(run_target: RunTarget) -> None:
    lines = [schema(), *(person(n) for n in range(1, 2001))]
    ended = run_target(
        *lines, dry_run=True, rate_limit_requests="", rate_limit_plan="freemium", confirm_batches=""
    )
    assert ended.report["cost"] == {
        "requests": 40,
        "requests_with_contacts": 20,
        "requests_to_find_moved_people": 0,
        "status_questions": 20,
        "minutes": 0.1,
        "share_of_day": 0.0002,
    }
    assert "Cost: 20 requests with contacts and at least 20 questions for statuses" in ended.log


def test_the_share_of_empty_values_is_told(run_target: RunTarget) -> None:
    lines = [
        schema(),
        person(1, mobile=None, _sdc_sequence=1),
        person(2, mobile=""),
        person(3, mobile="+4790812501"),
    ]
    ended = run_target(*lines, dry_run=True)
    shares = ended.counts["empty_values"]
    assert shares["mobile"] == pytest.approx(2 / 3, abs=1e-3)
    assert shares["email"] == 0
    assert "_sdc_sequence" not in shares, "no column of the source's"
    assert "'mobile' 67%" in ended.log
    assert json.dumps(ended.report).count("example.com") == 0
