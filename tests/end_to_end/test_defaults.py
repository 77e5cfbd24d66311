"""What a run does when nothing is set but the account: every default is a promise of behaviour."""

import pytest

from mainbrainer_sandbox.running import RunningSandbox
from target_mainbrainer.settings.declared import SETTINGS
from tests.cases import cases
from tests.loads import Load
from tests.messages import Record, person, schema, state


@pytest.fixture
def settings(crm: RunningSandbox) -> Record:
    """Nothing but the account."""
    return {"api_url": crm.url, "access_token": crm.token}


def test_nulls_unmapped_columns_and_deleted_records(load: Load) -> None:
    """`null_values: omit`, `unmapped_columns: property` and `deleted_records: skip`."""
    for columns in ({"firstname": "Kari"}, {"firstname": None, "shoe_size": "42"}):
        load.ok(schema(), person(1, **columns))
    assert load.contact["properties"] == {"id": "1", "firstname": "Kari", "shoe_size": "42"}
    ended = load.ok(schema(), person(1, email_opt_in=True, _sdc_deleted_at="2026-01-01"))
    assert (load.contact["email_opt_in"], ended.counts["omitted"]) == (None, 1)


def test_an_identifier_that_is_none_costs_the_contact(load: Load) -> None:
    """`invalid_identifiers: reject`, and `max_rejects: 0` without a rejects file."""
    ended = load.fails(schema(), person(1, mobile="12"), state(bookmark=1))
    assert (ended.states, load.sent) == ([], [])


@cases(
    "said code",
    ({"mobile": "90812501"}, "no_country_code"),
    ({"email_opt_in": "ja"}, "invalid_consent"),
)
def test_no_country_and_no_consent_is_guessed(load: Load, said: Record, code: str) -> None:
    """No `default_country_code`, no `consent_words`: words of other languages are no consent."""
    ended = load.fails(schema("id email email_opt_in"), person(1, **said))
    assert ended.counts["rejected_by_code"] == {code: 1}


def test_batches_of_a_hundred_go_to_all_contacts_without_a_webhook(load: Load) -> None:
    """`write_mode: batch`, `batch_size_rows: 100`, no `list_id`, no `webhook_url`."""
    load.ok(schema(), *(person(n) for n in range(201)))
    assert sorted(len(body["createUpdateContacts"]) for body in load.bodies) == [1, 100, 100]
    assert not any({"listId", "webhookUrl"} & set(body) for body in load.bodies)


@cases("fault inserted", ((), 1), (("stuck:batch",), 0))
def test_batches_are_asked_for(load: Load, fault: tuple[str, ...], inserted: int) -> None:
    """`confirm_batches: report`."""
    load.crm.set_faults(*fault)
    ended = load.ok(schema(), person(1), state(bookmark=1), confirm_timeout_seconds=1)
    assert (ended.states, ended.counts["inserted"]) == ([{"bookmark": 1}], inserted)


@pytest.mark.usefixtures("rejects")
@cases("bad code", (20, 0), (21, 1))
def test_half_of_a_stream_may_be_rejected_and_no_more(load: Load, bad: int, code: int) -> None:
    """`max_rejects_percent: 50`; no `max_rejects` with a rejects file."""
    emails = ["cut-off@"] * bad + ["a@example.com"] * (40 - bad)
    ended = load.run(schema(), *(person(n, email=email) for n, email in enumerate(emails)))
    assert ended.code == code


def test_nothing_is_remembered_and_nothing_is_written_beside_state(load: Load) -> None:
    """No `ledger_uri`, no `rejects_path`: the second run sends it all again."""
    before = {*load.folder.iterdir()}
    for _ in range(2):
        load.ok(schema(), person(1))
    assert len(load.sent) == 2
    assert {path.name for path in load.folder.iterdir() if path not in before} == {"report.json"}


def test_every_default_is_the_one_that_was_decided() -> None:
    """A default that behaves in another way is a breaking change, and a line here."""
    defaults = {name: setting.get("default") for name, setting in SETTINGS["properties"].items()}
    given = {name: default for name, default in defaults.items() if default not in (None, {})}
    decided = (line.split(": ") for line in DECIDED.split("; "))
    assert {name: str(default) for name, default in given.items()} == dict(decided)


DECIDED = (
    "api_url: https://apicrm.mainbrainer.com; batch_size_rows: 100; confirm_batches: report; "
    "confirm_timeout_seconds: 120; deleted_records: skip; dry_run: False; identity_changes: follow;"
    " invalid_identifiers: reject; load_method: upsert; max_drift_percent: 5; "
    "max_rejects_percent: 50; missing_records: ignore; null_values: omit; "
    "rate_limit_plan: freemium; request_timeout_seconds: 60; retry_max_seconds: 600; "
    "token_validity: Default; unchanged_contacts: skip; unchanged_opt_in: send; "
    "unmapped_columns: property; write_mode: batch"
)
