"""What a run does when nothing is set but the account: every default is a promise of behaviour."""

from __future__ import annotations

import json
import typing as t

import pytest

from target_mainbrainer.settings.declared import SETTINGS
from tests.messages import person, schema, state

if t.TYPE_CHECKING:
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import Record, RunTarget


@pytest.fixture
def settings(crm: RunningSandbox) -> Record:
    """Nothing but the account."""
    return {"api_url": crm.url, "access_token": crm.token}


def sent(crm: RunningSandbox) -> list[dict[str, t.Any]]:
    return [
        contact
        for request in crm.requests()
        if request.path == "/contacts/batch"
        for contact in request.body["createUpdateContacts"]
    ]


def test_a_null_leaves_the_value_in_the_crm_alone(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """`null_values: omit`."""
    run_target(schema(), person(1, firstname="Kari")).ok()
    run_target(schema(), person(1, firstname=None)).ok()
    (contact,) = crm.contacts()
    assert contact["properties"]["firstname"] == "Kari"


def test_a_deleted_record_is_skipped(run_target: RunTarget, crm: RunningSandbox) -> None:
    """`deleted_records: skip`."""
    ended = run_target(schema(), person(1, email_opt_in=True, _sdc_deleted_at="2026-01-01"))
    assert (ended.code, sent(crm)) == (0, [])
    assert ended.counts["omitted"] == 1


def test_a_column_that_is_not_mapped_is_a_property_of_its_name(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """`unmapped_columns: property`."""
    run_target(schema(), person(1, shoe_size="42")).ok()
    (contact,) = crm.contacts()
    assert contact["properties"]["shoe_size"] == "42"


def test_an_identifier_that_is_none_costs_the_contact(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """`invalid_identifiers: reject`, and `max_rejects: 0` without a rejects file."""
    ended = run_target(schema(), person(1, mobile="12"), state(bookmark=1))
    assert (ended.code, ended.states, sent(crm)) == (1, [], [])


def test_a_national_number_is_not_guessed_to_be_of_any_country(run_target: RunTarget) -> None:
    """No `default_country_code`."""
    ended = run_target(schema(), person(1, mobile="90812501"))
    assert ended.counts["rejected_by_code"] == {"no_country_code": 1}


def test_words_of_other_languages_are_no_consent(run_target: RunTarget) -> None:
    """No `consent_words`."""
    columns: Record = {"id": {}, "email": {}, "email_opt_in": {}}
    ended = run_target(schema(columns), person(1, email_opt_in="ja"))
    assert ended.counts["rejected_by_code"] == {"invalid_consent": 1}


def test_batches_of_a_hundred_go_to_all_contacts_without_a_webhook(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """`write_mode: batch`, `batch_size_rows: 100`, no `list_id`, no `webhook_url`."""
    run_target(schema(), *(person(n) for n in range(201))).ok()
    bodies = [request.body for request in crm.requests() if request.path == "/contacts/batch"]
    assert sorted(len(body["createUpdateContacts"]) for body in bodies) == [1, 100, 100]
    assert not any({"listId", "webhookUrl"} & set(body) for body in bodies)


def test_what_became_of_batches_is_asked_for_and_counted(run_target: RunTarget) -> None:
    """`confirm_batches: report`."""
    ended = run_target(schema(), person(1), state(bookmark=1))
    assert ended.states == [{"bookmark": 1}]
    assert ended.counts["inserted"] == 1


def test_state_does_not_wait_for_what_is_only_reported(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    crm.set_faults("stuck:batch")
    ended = run_target(schema(), person(1), state(bookmark=1), confirm_timeout_seconds=1)
    assert (ended.code, ended.states) == (0, [{"bookmark": 1}])


@pytest.mark.usefixtures("rejects")
@pytest.mark.parametrize(("bad", "code"), [(20, 0), (21, 1)])
def test_half_of_a_stream_may_be_rejected_and_no_more(
    run_target: RunTarget, bad: int, code: int
) -> None:
    """`max_rejects_percent: 50`; no `max_rejects` with a rejects file."""
    lines = [
        schema(),
        *(person(n, email="cut-off@" if n < bad else "a@example.com") for n in range(40)),
    ]
    ended = run_target(*lines)
    assert ended.code == code


def test_nothing_is_remembered_and_nothing_is_written_beside_state(
    run_target: RunTarget, crm: RunningSandbox, tmp_path: Path
) -> None:
    """No `ledger_uri`, no `rejects_path`: the second run sends it all again."""
    before = {path.name for path in tmp_path.iterdir()}
    for _ in range(2):
        run_target(schema(), person(1)).ok()
    assert len(sent(crm)) == 2
    assert {path.name for path in tmp_path.iterdir()} - before <= {"report.json"}


def test_the_smallest_plan_is_kept(run_target: RunTarget, crm: RunningSandbox) -> None:
    """`rate_limit_plan: freemium`: 100 requests in 10 seconds; a wait is explained."""
    crm.set_faults("latency=0-0.1")
    lines = [schema(), *(person(n) for n in range(105))]
    ended = run_target(*lines, batch_size_rows=1, confirm_batches="none").ok()
    times = sorted(request.started for request in crm.requests())
    assert len(times) == 105
    assert all(later - early >= 10 for early, later in zip(times, times[100:], strict=False))
    assert "limit of requests in 10 seconds" in ended.log


def test_every_default_is_the_one_that_was_decided() -> None:
    """A default that behaves in another way is a breaking change, and a line here."""
    defaults = {
        name: setting["default"]
        for name, setting in SETTINGS["properties"].items()
        if setting.get("default") not in (None, {})
    }
    assert json.dumps(defaults, sort_keys=True, indent=1).splitlines() == DECIDED


DECIDED = """{
 "api_url": "https://apicrm.mainbrainer.com",
 "batch_size_rows": 100,
 "confirm_batches": "report",
 "confirm_timeout_seconds": 120,
 "deleted_records": "skip",
 "dry_run": false,
 "identity_changes": "follow",
 "invalid_identifiers": "reject",
 "load_method": "upsert",
 "max_drift_percent": 5,
 "max_rejects_percent": 50,
 "missing_records": "ignore",
 "null_values": "omit",
 "rate_limit_plan": "freemium",
 "request_timeout_seconds": 60,
 "retry_max_seconds": 600,
 "token_validity": "Default",
 "unchanged_contacts": "skip",
 "unchanged_opt_in": "send",
 "unmapped_columns": "property",
 "write_mode": "batch"
}""".splitlines()
