"""What somebody reads in the morning: the summary, once, and what to look at."""

from __future__ import annotations

import json
import logging
import typing as t

import pytest

from tests.messages import person, schema, state

if t.TYPE_CHECKING:
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import RunTarget

PEOPLE = [schema(), *(person(number) for number in range(5)), state(bookmark=1)]


def account(crm: RunningSandbox, **more: t.Any) -> dict[str, t.Any]:
    return {"api_url": crm.url, "access_token": crm.token, "confirm_timeout_seconds": 3} | more


def test_the_summary_is_written_once_also_when_the_run_fails_at_its_end(
    run_target: RunTarget,
) -> None:
    ended = run_target(*PEOPLE[:-1], person(9, email="cut-off@"))
    assert ended.code == 1
    assert ended.log.count("Rejected 1 of stream") == 1
    assert ended.log.count("s waited for the limits") == 1


@pytest.mark.parametrize(
    ("fault", "finding"),
    [
        ("skip=2", "MainBrainer skipped contacts in 1 batch of 5 contacts"),
        ("stuck", "MainBrainer accepted 1 batch of 5 contacts"),
    ],
)
def test_batches_that_end_badly_are_a_warning_when_they_fail_nothing(
    run_target: RunTarget, crm: RunningSandbox, fault: str, finding: str
) -> None:
    crm.set_faults(fault)
    ended = run_target(*PEOPLE, **account(crm, confirm_batches="report")).ok()
    assert ended.states == [{"bookmark": 1}]
    assert ended.log.count(finding) == 1
    assert "WARNING" in next(line for line in ended.log.splitlines() if finding in line)


@pytest.mark.parametrize(
    ("config", "lines", "expected"),
    [
        pytest.param(
            {},
            PEOPLE,
            "OK: 5 records read: 5 contacts sent; STATE is at the tap's last.",
            id="all in",
        ),
        pytest.param(
            {},
            PEOPLE[:-1],
            "OK: 5 records read: 5 contacts sent; the tap sent no STATE.",
            id="no STATE",
        ),
        pytest.param({}, [schema()], "OK: the tap sent no records.", id="nothing"),
        pytest.param(
            {},
            [
                *PEOPLE,
                person(5, email="cut-off@"),
                person(6),
                state(bookmark=2),
                *[person(7)] * 2000,
            ],
            "FAILED: 6 records read: 5 contacts sent, 1 rejected, later records were not read; "
            "STATE is at the 5th record. Correct the cause and run again to go on.",
            id="a rejection",
        ),
        pytest.param(
            {"api_url": "http://127.0.0.1:9", "retry_max_seconds": 1},
            PEOPLE,
            "FAILED: 5 records read: 5 not sent; STATE is as it was. Run again to go on.",
            id="no connection",
        ),
        pytest.param(
            {"list_id": "x"},
            PEOPLE,
            "FAILED: nothing was read and nothing was sent; STATE is as it was. Correct the cause "
            "and run again to go on.",
            id="settings",
        ),
        pytest.param(
            {"field_map": {"firstname": "email"}},
            PEOPLE,
            "FAILED: nothing was read and nothing was sent; STATE is as it was. Correct the cause "
            "and run again to go on.",
            id="two columns for one field",
        ),
    ],
)
def test_the_last_line_says_what_the_run_has_come_to(
    run_target: RunTarget, config: dict[str, t.Any], lines: list[str], expected: str
) -> None:
    ended = run_target(*lines, **config)
    assert ended.last == expected


def test_a_mapping_mistake_does_not_end_green(run_target: RunTarget, tmp_path: Path) -> None:
    """All records are on file, but STATE stays: the next run is to read them once more."""
    lines = [schema(), *(person(n, email=None) for n in range(2000)), state(bookmark=1)]
    ended = run_target(*lines, rejects_path=str(tmp_path / "rejects.singer"))
    assert ended.code == 1
    assert ended.states == []
    assert "2,000 of 2,000 records of stream 'people' were rejected before sending" in ended.error
    again = run_target(
        *lines, rejects_path=str(tmp_path / "rejects.singer"), max_rejects_percent=100
    )
    assert (again.code, again.states) == (0, [{"bookmark": 1}])


@pytest.mark.parametrize("log_level", [logging.INFO, logging.DEBUG])
def test_what_the_sdk_says_in_passing_is_for_those_who_debug(
    run_target: RunTarget, log_level: int
) -> None:
    ended = run_target(*PEOPLE)
    assert len(ended.log.splitlines()) <= 15 or log_level == logging.DEBUG
    for said in ('"metric":"record_count","value":5', "parse of env var", "completed processing"):
        assert (said in ended.log) == (log_level == logging.DEBUG), said
    assert "Meltano SDK v" in ended.log


def test_a_server_that_is_away_is_not_said_to_ask_for_patience(run_target: RunTarget) -> None:
    ended = run_target(*PEOPLE, api_url="http://127.0.0.1:9", retry_max_seconds=1)
    assert ended.error.endswith("'retry_max_seconds' is 1.")


def test_an_empty_input_leaves_a_report_too(run_target: RunTarget, tmp_path: Path) -> None:
    """A tap with nothing to say is no reason for a gap in somebody's monitoring."""
    path = tmp_path / "report.json"
    run_target(report_path=str(path)).ok()
    assert json.loads(path.read_text())["streams"] == {}


def test_a_property_that_the_account_lacks_is_called_by_its_name(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """MainBrainer names it by its place in the request, which does not tell which one it is."""
    assert run_target(*PEOPLE).code == 0  # makes the properties 'id' and 'firstname' known
    crm.set_switches(unknown_property="refuse")
    odd = [person(7, shoe_size=42), *(person(number) for number in range(8, 20))]
    ended = run_target(schema(), *odd)
    assert ended.code == 1
    assert "property 'shoe_size'" in ended.log
    assert "propertyFields[" not in ended.log
