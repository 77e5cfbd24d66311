"""With a ledger a run sends what has changed, and the CRM ends as if it had sent everything."""

from __future__ import annotations

import json
import typing as t

import pytest

from target_mainbrainer.ledger.database import open_database
from target_mainbrainer.ledger.ledger import Account, Ledger
from tests.loads import add_up
from tests.messages import PEOPLE, person, record, schema, state

if t.TYPE_CHECKING:
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import Ended, Record, RunTarget
    from tests.postgresql import PostgreSQL

FULL = {"streams": {"people": {"full_table": True}}}
OPT_OUT = {"missing_records": "opt_out", "max_drift_percent": 100, **FULL}


@pytest.fixture
def settings(settings: Record, ledger_uri: str) -> Record:
    return {**settings, "ledger_uri": ledger_uri}


def night(*people: str) -> list[str]:
    return [schema(), *people, state(bookmark=len(people))]


def counts(ended: Ended) -> dict[str, int]:
    """Return the counts of the stream that are not 0."""
    add_up(ended)
    found: dict[str, t.Any] = ended.report["streams"]["people"]
    return {name: count for name, count in found.items() if count and type(count) is int}


def held(crm: RunningSandbox) -> dict[str, tuple[object, str | None]]:
    """Return opt-in and first name by address."""
    return {
        contact["email"]: (contact["email_opt_in"], contact["properties"].get("firstname"))
        for contact in crm.contacts()
    }


def posts(crm: RunningSandbox) -> int:
    return sum(request.path == "/contacts/batch" for request in crm.requests())


def test_what_has_not_changed_is_not_sent(run_target: RunTarget, crm: RunningSandbox) -> None:
    people = [person(n) for n in range(30)]
    assert counts(run_target(*night(*people))) == {"read": 30, "accepted": 30, "created": 30}
    sent = posts(crm)
    second = run_target(*night(*people))
    assert counts(second) == {"read": 30, "unchanged": 30}
    assert second.states == [{"bookmark": 30}]
    assert posts(crm) == sent


@pytest.mark.parametrize("ledger_uri", ["postgresql"], indirect=True)
def test_postgresql_can_plan_from_the_first_block_on(
    run_target: RunTarget, empty_postgresql: PostgreSQL
) -> None:
    """Else it reads the whole table for every block until it has counted by itself."""
    run_target(*night(person(1), person(2)))
    columns = "SELECT attname FROM pg_stats WHERE tablename = 'mainbrainer_entries'"
    assert {"key", "identity_hash"} <= set(empty_postgresql.execute(columns).splitlines())


def test_what_has_changed_is_sent_and_counted(run_target: RunTarget, crm: RunningSandbox) -> None:
    run_target(*night(person(1, email_opt_in=True), person(2), person(3)))
    ended = run_target(
        *night(person(1, email_opt_in=False), person(2, email_opt_in=True), person(3), person(4))
    )
    assert counts(ended) == {
        "read": 4,
        "accepted": 3,
        "unchanged": 1,
        "created": 1,
        "updates": 2,
        "opt_ins_given": 1,
        "opt_ins_withdrawn": 1,
    }
    assert held(crm)["p1@example.com"][0] is False


def test_everything_is_sent_on_request_and_remembered(run_target: RunTarget) -> None:
    people = [person(n) for n in range(3)]
    run_target(*night(*people))
    assert counts(run_target(*night(*people), unchanged_contacts="send"))["accepted"] == 3
    assert counts(run_target(*night(*people))) == {"read": 3, "unchanged": 3}


def test_a_changed_mapping_sends_what_it_changes(run_target: RunTarget) -> None:
    people = [person(1), person(2, firstname=None)]
    run_target(*night(*people))
    ended = run_target(*night(*people), field_map={"firstname": {"property_name": "given"}})
    assert counts(ended) == {"read": 2, "accepted": 1, "unchanged": 1, "updates": 1}


def test_a_null_that_begins_to_clear_is_sent(run_target: RunTarget, crm: RunningSandbox) -> None:
    run_target(*night(person(1)))
    run_target(*night(person(1, firstname=None)))
    assert held(crm)["p1@example.com"][1] == "First1"
    run_target(*night(person(1, firstname=None)), null_values="clear")
    assert held(crm)["p1@example.com"][1] in {None, ""}


def test_a_new_schema_in_mid_stream_is_compared_as_it_maps(run_target: RunTarget) -> None:
    both = [schema(), person(1), schema({"id": {}, "email": {}}), person(2)]
    run_target(*both)
    assert counts(run_target(*both)) == {"read": 2, "unchanged": 2}


def test_a_changed_list_sends_everybody(run_target: RunTarget) -> None:
    run_target(*night(person(1)))
    other = {"list_id": "00000000-0000-4000-8000-000000000001"}
    assert counts(run_target(*night(person(1)), **other))["accepted"] == 1
    assert counts(run_target(*night(person(1)), **other)) == {"read": 1, "unchanged": 1}


def test_leaving_the_suppression_list_gives_no_consent(
    run_target: RunTarget, crm: RunningSandbox, tmp_path: Path
) -> None:
    listed = tmp_path / "unsubscribed.txt"
    listed.write_text("p1@example.com\n")
    people = [person(1, email_opt_in=True)]
    run_target(*night(*people), suppression_path=str(listed))
    assert counts(run_target(*night(*people))) == {"read": 1, "unchanged": 1}
    assert held(crm)["p1@example.com"][0] is not True


def test_streams_without_a_key_are_known_by_identity(run_target: RunTarget) -> None:
    lines = [schema(key=()), person(1), person(2)]
    assert "a changed one makes another contact" in run_target(*lines).log
    assert counts(run_target(*lines)) == {"read": 2, "unchanged": 2}


def test_streams_that_share_people_are_sent_in_the_order_of_the_input(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """Else an older consent would come after a newer refusal."""
    columns: Record = {"id": {}, "email": {}, "email_opt_in": {}}
    streams = ("people", "others")
    told = [(streams[n % 2], n, n % 4 < 2) for n in range(7)]
    for length in range(2, 8):
        ended = run_target(
            *(schema(columns, stream=stream) for stream in streams),
            *(
                record(stream, id=n, email="p@example.com", email_opt_in=opt_in)
                for stream, n, opt_in in told[:length]
            ),
        )
        assert ended.code == 0
        assert held(crm)["p@example.com"][0] is told[length - 1][2]


# What goes wrong


def test_a_lost_answer_is_never_taken_for_unchanged(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    run_target(*night(person(1, firstname="A")))
    crm.set_faults("lost:batch")
    assert run_target(*night(person(1, firstname="B")), retry_max_seconds=0).code == 1
    crm.set_faults()
    assert held(crm)["p1@example.com"][1] == "B"
    run_target(*night(person(1, firstname="A")))
    assert held(crm)["p1@example.com"][1] == "A"


@pytest.mark.parametrize("confirm", ["none", "report", "require"])
def test_an_answer_that_was_lost_once_makes_no_contact_known(
    run_target: RunTarget, crm: RunningSandbox, confirm: str
) -> None:
    """The first of the two requests may be applied once more, and after a later one."""
    crm.set_faults("lost@1:batch")
    assert run_target(*night(person(1)), confirm_batches=confirm).code == 0
    crm.set_faults()
    for _ in range(2):  # it may land during the first of these
        assert counts(run_target(*night(person(1)), confirm_batches=confirm))["accepted"] == 1
    ended = run_target(*night(person(1)), confirm_batches=confirm)
    assert counts(ended) == {"read": 1, "unchanged": 1}


def test_a_refused_contact_is_sent_again_and_again(
    run_target: RunTarget, crm: RunningSandbox, tmp_path: Path
) -> None:
    rejects = {"rejects_path": str(tmp_path / "rejects.singer")}
    crm.set_switches(refuse_email="bad")
    for unchanged in (0, 1):
        ended = run_target(*night(person(1), person(2, email="bad2@example.com")), **rejects)
        found = counts(ended)
        assert found["rejected"] == 1
        assert found.get("unchanged", 0) == unchanged
    assert counts(run_target(*night(person(1), person(2)), **rejects))["created"] == 1


@pytest.mark.parametrize("confirm", ["report", "require"])
def test_a_batch_that_fails_afterwards_is_sent_again(
    run_target: RunTarget, crm: RunningSandbox, confirm: str
) -> None:
    crm.set_faults("fail:batch")
    assert run_target(*night(person(1)), confirm_batches=confirm).code == 1
    crm.set_faults()
    assert held(crm) == {}
    assert run_target(*night(person(1)), confirm_batches=confirm).code == 0
    assert held(crm).keys() == {"p1@example.com"}
    assert counts(run_target(*night(person(1)), confirm_batches=confirm))["unchanged"] == 1


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [("late=0.2:batch", {"read": 1, "unchanged": 1}), ("stuck:batch", {"read": 1, "accepted": 1})],
)
def test_a_batch_left_open_is_asked_for_when_the_next_run_starts(
    run_target: RunTarget, crm: RunningSandbox, outcome: str, expected: dict[str, int]
) -> None:
    report = {"confirm_batches": "report", "confirm_timeout_seconds": 0}
    crm.set_faults(outcome)
    run_target(*night(person(1)), **report)
    crm.set_faults()
    if "late" in outcome:
        crm.settle()
    ended = run_target(*night(person(1)), confirm_batches="none")
    assert counts(ended) == expected


def test_only_one_run_at_a_time_delivers_a_stream(
    run_target: RunTarget, crm: RunningSandbox, ledger_uri: str
) -> None:
    run_target(*night(person(1)))
    database = open_database(ledger_uri)
    other = Ledger(database, Account(_account_of(database)), clock=lambda: 0.0)
    stream = other.open_stream("people")
    sent = posts(crm)
    ended = run_target(*night(person(1, firstname="other")))
    assert ended.code == 1
    assert "Another run delivers stream 'people'" in ended.error
    assert posts(crm) == sent
    stream.release()
    database.close()
    assert run_target(*night(person(1, firstname="other"))).code == 0


def _account_of(database: t.Any) -> str:
    with database.transaction() as connection:
        return str(connection.exec_driver_sql("SELECT account FROM mainbrainer_ledger").scalar())


def test_another_account_starts_anew(run_target: RunTarget, crm: RunningSandbox) -> None:
    credentials = {
        "access_token": "",
        "password": crm.credentials.password,
        "private_token": crm.credentials.private_token,
        "username": crm.credentials.username,
    }
    run_target(*night(person(1)))
    ended = run_target(*night(person(1)), **credentials)
    assert counts(ended)["accepted"] == 1
    assert "starts anew" in ended.log
    assert counts(run_target(*night(person(1)), **credentials)) == {"read": 1, "unchanged": 1}


def test_a_ledger_that_cannot_be_opened_ends_the_run_before_anything_is_sent(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    uri = "postgresql://crm:hush@127.0.0.1:1/ledger"
    ended = run_target(*night(person(1)), ledger_uri=uri)
    assert ended.code == 1
    assert "The server does not answer" in ended.error
    assert "hush" not in ended.log + json.dumps(ended.report)
    assert posts(crm) == 0


# Missing records


def opted_out(crm: RunningSandbox) -> set[str]:
    return {email for email, (opt_in, _) in held(crm).items() if opt_in is False}


def consenting(*numbers: int) -> list[str]:
    return [person(n, email_opt_in=True) for n in numbers]


def test_a_missing_record_is_opted_out_once_and_returns(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    run_target(*night(*consenting(1, 2)), **OPT_OUT)
    ended = run_target(*night(*consenting(1)), **OPT_OUT)
    assert counts(ended) == {
        "read": 2,
        "accepted": 1,
        "unchanged": 1,
        "updates": 1,
        "opt_ins_withdrawn": 1,
        "missing": 1,
    }
    assert opted_out(crm) == {"p2@example.com"}
    assert counts(run_target(*night(*consenting(1)), **OPT_OUT)) == {"read": 1, "unchanged": 1}
    run_target(*night(*consenting(1, 2)), **OPT_OUT)
    assert opted_out(crm) == set()


def test_a_missing_record_is_opted_out_on_both_channels(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    columns = schema(PEOPLE | {"mobile_opt_in": {"type": "boolean"}})
    both = {"mobile": "+4799999901", "mobile_opt_in": True, "email_opt_in": True}
    run_target(columns, person(1), person(2, **both), **OPT_OUT)
    run_target(columns, person(1), **OPT_OUT)
    (gone,) = (one for one in crm.contacts() if one["email"] == "p2@example.com")
    assert (gone["email_opt_in"], gone["mobile_opt_in"]) == (False, False)


def test_a_refused_opt_out_is_kept_as_the_deletion_of_its_key(
    run_target: RunTarget, crm: RunningSandbox, tmp_path: Path
) -> None:
    kept = tmp_path / "rejects.singer"
    rejects = {"rejects_path": str(kept), "max_rejects_percent": 100}
    run_target(*night(*consenting(1, 2)), **OPT_OUT, **rejects)
    crm.set_switches(refuse_email="p2@")
    ended = run_target(*night(*consenting(1)), **OPT_OUT, **rejects)
    assert counts(ended)["rejected"] == 1
    announced, refused = map(json.loads, kept.read_text().splitlines())
    assert announced["type"] == "SCHEMA"
    assert (refused["type"], refused["stream"]) == ("RECORD", "people")
    assert refused["record"]["id"] == 2
    assert refused["record"]["_sdc_deleted_at"]


def test_a_contact_that_another_record_holds_is_not_opted_out(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    twin = person(3, email="p2@example.com", email_opt_in=True)
    run_target(*night(*consenting(1, 2), twin), **OPT_OUT)
    run_target(*night(*consenting(1), twin), **OPT_OUT)
    assert opted_out(crm) == set()


def test_a_rejected_record_is_not_missing(
    run_target: RunTarget, crm: RunningSandbox, tmp_path: Path
) -> None:
    run_target(*night(*consenting(1, 2)), **OPT_OUT)
    odd = person(2, email="not an address", email_opt_in=True)
    rejects = {"rejects_path": str(tmp_path / "rejects.singer"), "max_rejects_percent": 100}
    run_target(*night(*consenting(1), odd), **OPT_OUT, **rejects)
    assert opted_out(crm) == set()


def test_a_record_without_a_key_makes_the_read_incomplete(
    run_target: RunTarget, crm: RunningSandbox, tmp_path: Path
) -> None:
    rejects = {"rejects_path": str(tmp_path / "rejects.singer"), "max_rejects_percent": 100}
    activate = json.dumps({"type": "ACTIVATE_VERSION", "stream": "people", "version": 1})
    settings = {"missing_records": "opt_out", **rejects}
    run_target(*night(*consenting(1, 2)), activate, **settings)
    unkeyed = person(2, email="nothing", email_opt_in=True).replace('"id": 2', '"id": null')
    run_target(*night(*consenting(1), unkeyed), activate, **settings)
    assert opted_out(crm) == set()


def test_an_incremental_read_opts_nobody_out(run_target: RunTarget, crm: RunningSandbox) -> None:
    run_target(*night(*consenting(1, 2)), missing_records="opt_out")
    run_target(*night(*consenting(1)), missing_records="opt_out")
    assert opted_out(crm) == set()


@pytest.mark.parametrize(("version", "expected"), [(2, {"p2@example.com"}), (1, set())])
def test_only_a_new_version_is_a_full_read(
    run_target: RunTarget, crm: RunningSandbox, version: int, expected: set[str]
) -> None:
    """A tap that goes on with a full read which it could not finish keeps the version."""

    def read(number: int, *people: str) -> list[str]:
        versioned = [json.dumps(json.loads(one) | {"version": number}) for one in people]
        activate = {"type": "ACTIVATE_VERSION", "stream": "people", "version": number}
        return [*night(*versioned), json.dumps(activate)]

    run_target(*read(1, *consenting(1, 2)), missing_records="opt_out")
    run_target(*read(version, *consenting(1)), missing_records="opt_out")
    assert opted_out(crm) == expected


def test_too_many_missing_opt_nobody_out_and_fail_the_run(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    settings = {**OPT_OUT, "max_drift_percent": 5}
    run_target(*night(*consenting(*range(20))), **settings)
    ended = run_target(*night(*consenting(*range(9))), **settings)
    assert ended.code == 1
    assert "20 known contacts of stream 'people' 11 are missing" in ended.error
    assert opted_out(crm) == set()


def test_keys_that_a_full_read_does_not_bring_are_forgotten(run_target: RunTarget) -> None:
    run_target(*night(person(1), person(2)), **FULL)
    run_target(*night(person(1)), **FULL)
    assert counts(run_target(*night(person(1), person(2)), **FULL))["created"] == 1
