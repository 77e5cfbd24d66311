"""A move that is killed at any moment is continued, and makes no second contact."""

from __future__ import annotations

import typing as t

import pytest

from tests.ledger.outside import OMIT, Moment, held, night, one, run_killed

if t.TYPE_CHECKING:
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.ledger.outside import Between
    from tests.messages import Record, RunTarget

FIND, ASK, RENAME = ("POST", 1), ("GET", 1), ("POST", 2)
MOMENTS = [
    (*FIND, "before", "b"),
    (*FIND, "after", "c"),
    (*FIND, "answered", "a"),
    (*ASK, "before", "b"),
    (*ASK, "after", "a"),
    (*ASK, "answered", "c"),
    (*RENAME, "before", "a"),
    (*RENAME, "after", "b"),
    (*RENAME, "after", "c"),
    (*RENAME, "answered", "b"),
    ("STATE", 1, "answered", "a"),
    ("STATE", 1, "answered", "c"),
]
"""The moment, and where the person is by the next run: at "b", as when it was killed, or not."""


@pytest.fixture
def settings(settings: Record, between: Between) -> Record:
    return {**settings, **OMIT, "api_url": between.url}


ON_POSTGRESQL = [(*ASK, "after", "b"), (*ASK, "answered", "c"), (*RENAME, "after", "a")]


@pytest.mark.parametrize(
    ("ledger_uri", "what", "number", "when", "later"),
    [("sqlite", *moment) for moment in MOMENTS]
    + [("postgresql", *moment) for moment in ON_POSTGRESQL],
    indirect=["ledger_uri"],
)
def test_a_kill_at_any_moment_makes_no_second_contact(
    run_target: RunTarget,
    crm: RunningSandbox,
    settings: Record,
    between: Between,
    tmp_path: Path,
    what: str,
    number: int,
    when: str,
    later: str,
) -> None:
    run_target(*night(one(1, "a", consent=True)))
    run_killed(
        settings, night(one(1, "b", consent=True)), tmp_path, between, Moment(what, number, when)
    )
    consent = later == "b"
    run_target(*night(one(1, later, consent=consent))).ok()
    assert held(crm) == [(None, later, consent, "First1")]


def test_a_second_contact_is_named_before_it_is_made(
    run_target: RunTarget,
    crm: RunningSandbox,
    settings: Record,
    between: Between,
    tmp_path: Path,
) -> None:
    """The run that makes it may be killed at once, and the next one cannot tell."""
    run_target(*night(one(1, "a", consent=True)))
    crm.delete("a@example.com")
    moment = Moment("POST", 2, "after")
    killed = run_killed(settings, night(one(1, "b", consent=True)), tmp_path, between, moment)
    assert [contact[1] for contact in held(crm)] == ["a", "b"]
    assert "sent as a new contact (id=1)" in killed.log
