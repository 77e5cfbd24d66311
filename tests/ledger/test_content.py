"""With a ledger a run sends what has changed, and the CRM ends as if it had sent everything."""

from __future__ import annotations

import typing as t

import pytest

from tests.ledger.outside import (
    FULL,
    OPT_OUT,
    by_address,
    consenting,
    counts,
    days_later,
    night,
    opted_out,
    person,
    posts,
)
from tests.ledgers import on_both_databases
from tests.messages import record, schema, state

if t.TYPE_CHECKING:
    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import Record, RunTarget


def name_of(crm: RunningSandbox, address: str = "p1") -> str | None:
    name: str | None = by_address(crm)[address]["properties"].get("firstname")
    return name


@on_both_databases
def test_what_has_not_changed_is_not_sent(run_target: RunTarget, crm: RunningSandbox) -> None:
    people = [person(n) for n in range(30)]
    assert counts(run_target(*night(*people))) == {"read": 30, "accepted": 30, "created": 30}
    sent = posts(crm)
    second = run_target(*night(*people))
    assert counts(second) == {"read": 30, "unchanged": 30}
    assert second.states == [{"bookmark": 30}]
    assert posts(crm) == sent


@on_both_databases
def test_what_has_changed_is_sent_and_counted(run_target: RunTarget, crm: RunningSandbox) -> None:
    run_target(*night(*consenting(1), person(2), person(3)))
    later = [person(1, email_opt_in=False), *consenting(2), person(3), person(4)]
    assert counts(run_target(*night(*later))) == {
        "read": 4,
        "accepted": 3,
        "unchanged": 1,
        "created": 1,
        "updates": 2,
        "opt_ins_given": 1,
        "opt_ins_withdrawn": 1,
    }
    assert by_address(crm)["p1"]["email_opt_in"] is False


def test_everything_is_sent_on_request_and_remembered(run_target: RunTarget) -> None:
    people = night(*(person(n) for n in range(3)))
    run_target(*people)
    assert counts(run_target(*people, unchanged_contacts="send"))["accepted"] == 3
    assert counts(run_target(*people)) == {"read": 3, "unchanged": 3}


def test_a_changed_mapping_sends_what_it_changes(run_target: RunTarget) -> None:
    people = night(person(1), person(2, firstname=None))
    run_target(*people)
    ended = run_target(*people, field_map={"firstname": {"property_name": "given"}})
    assert counts(ended) == {"read": 2, "accepted": 1, "unchanged": 1, "updates": 1}


def test_a_null_that_begins_to_clear_is_sent(run_target: RunTarget, crm: RunningSandbox) -> None:
    run_target(*night(person(1)))
    run_target(*night(person(1, firstname=None)))
    assert name_of(crm) == "First1"
    run_target(*night(person(1, firstname=None)), null_values="clear")
    assert name_of(crm) in {None, ""}


def test_a_new_schema_in_mid_stream_is_compared_as_it_maps(run_target: RunTarget) -> None:
    both = [schema(), person(1), schema({"id": {}, "email": {}}), person(2)]
    run_target(*both)
    assert counts(run_target(*both)) == {"read": 2, "unchanged": 2}


def test_a_changed_list_sends_everybody(run_target: RunTarget) -> None:
    run_target(*night(person(1)))
    other = {"list_id": "00000000-0000-4000-8000-000000000001"}
    assert counts(run_target(*night(person(1)), **other))["accepted"] == 1
    assert counts(run_target(*night(person(1)), **other)) == {"read": 1, "unchanged": 1}


def test_streams_without_a_key_are_known_by_identity(run_target: RunTarget) -> None:
    lines = [schema(key=()), person(1), person(2)]
    assert "has no 'key_properties' that identify people, so" in run_target(*lines).log
    assert counts(run_target(*lines)) == {"read": 2, "unchanged": 2}


@pytest.mark.parametrize("mobile", ["1", "", None, 5])
def test_the_no_of_a_rejected_record_goes_to_the_contact_that_the_ledger_knows(
    run_target: RunTarget, crm: RunningSandbox, mobile: object
) -> None:
    """A number that is none, none at all, and one that does not fit the schema."""
    run_target(*night(person(1, email=None, mobile="+4790812501")))
    no = person(1, email=None, mobile=mobile, email_opt_in=False)
    assert counts(run_target(*night(no), max_rejects=1))["rejected"] == 1
    (contact,) = crm.contacts()
    assert (contact["email_opt_in"], contact["mobile_number"]) == (False, 90812501)


def test_the_number_of_a_line_is_no_key_of_a_person(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """On the second night another person stands on the first line, and is not the same one."""

    def file(*names: str) -> list[str]:
        columns: Record = {"_sdc_line_number": {"type": "integer"}, "email": {"type": "string"}}
        rows = [
            record(_sdc_line_number=number, email=f"{name}@example.com", name=name)
            for number, name in enumerate(names, start=2)
        ]
        return [schema(columns, key=["_sdc_line_number"]), *rows, state(done=True)]

    assert "has no 'key_properties' that identify people" in run_target(*file(*"ab")).log
    run_target(*file(*"cb"))
    assert [c["email"][0] for c in crm.contacts()] == [*"abc"]


def test_streams_that_share_people_are_sent_in_the_order_of_the_input(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """Else an older consent would come after a newer refusal."""
    columns: Record = {"id": {}, "email": {}, "email_opt_in": {}}
    streams = ("people", "others")
    schemas = [schema(columns, stream=stream) for stream in streams]
    told = [(streams[n % 2], n, n % 4 < 2) for n in range(7)]
    for length in range(2, 8):
        run_target(
            *schemas,
            *(
                record(stream, id=n, email="p@example.com", email_opt_in=opt_in)
                for stream, n, opt_in in told[:length]
            ),
        ).ok()
        assert by_address(crm)["p"]["email_opt_in"] is told[length - 1][2]


# What goes wrong


def test_a_lost_answer_is_never_taken_for_unchanged(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    run_target(*night(person(1, firstname="A")))
    crm.set_faults("lost:batch")
    assert run_target(*night(person(1, firstname="B")), retry_max_seconds=0).code == 1
    crm.set_faults()
    assert name_of(crm) == "B"
    run_target(*night(person(1, firstname="A")))
    assert name_of(crm) == "A"


@pytest.mark.usefixtures("rejects")
def test_a_refused_contact_is_sent_again_and_again(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    crm.set_switches(refuse_email="bad")
    for unchanged in (0, 1):
        found = counts(run_target(*night(person(1), person(2, "bad2"))))
        assert (found["rejected"], found.get("unchanged", 0)) == (1, unchanged)
    assert counts(run_target(*night(person(1), person(2))))["created"] == 1


@pytest.mark.parametrize("confirm", ["report", "require"])
def test_a_batch_that_fails_afterwards_is_sent_again(
    run_target: RunTarget, crm: RunningSandbox, confirm: str
) -> None:
    crm.set_faults("fail:batch")
    assert run_target(*night(person(1)), confirm_batches=confirm).code == 1
    crm.set_faults()
    assert crm.contacts() == []
    run_target(*night(person(1)), confirm_batches=confirm).ok()
    assert by_address(crm).keys() == {"p1"}
    assert counts(run_target(*night(person(1)), confirm_batches=confirm))["unchanged"] == 1


@pytest.mark.parametrize(
    ("fault", "config"),
    [
        ("lost@1:batch", {"confirm_batches": "none"}),
        ("lost@1:batch", {"confirm_batches": "report"}),
        ("lost@1:batch", {"confirm_batches": "require"}),
        ("stuck:batch", {"confirm_batches": "report", "confirm_timeout_seconds": 0}),
    ],
)
def test_what_may_still_be_applied_is_sent_again_for_a_day(
    run_target: RunTarget,
    crm: RunningSandbox,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    config: Record,
) -> None:
    """It may come after a later request, and undo it."""
    crm.set_faults(fault)
    run_target(*night(person(1)), **config)
    crm.set_faults()
    for hours in (1, 12, 23):
        days_later(monkeypatch, hours / 24)
        found = counts(run_target(*night(person(1))))
        assert (found["accepted"], found["resent"]) == (1, 1)
    days_later(monkeypatch, 25 / 24)
    run_target(*night(person(1)))
    assert counts(run_target(*night(person(1)))) == {"read": 1, "unchanged": 1}


# Missing records


def test_a_contact_that_another_record_holds_is_not_opted_out(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    twin = person(3, "p2", email_opt_in=True)
    run_target(*night(*consenting(1, 2), twin), **OPT_OUT)
    for _ in range(2):
        ended = run_target(*night(*consenting(1), twin), **OPT_OUT)
    assert ended.counts["gone"] == 1
    assert opted_out(crm) == set()


def test_an_opt_out_that_is_refused_is_told_and_tried_again(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    run_target(*night(*consenting(1, 2)), **OPT_OUT)
    run_target(*night(*consenting(1)), **OPT_OUT)
    crm.set_switches(refuse_email="p2@")
    for _ in range(2):
        ended = run_target(*night(*consenting(1)), **OPT_OUT)
        assert ended.code == 1
        assert "Stream 'people': 1 person is gone and could not be opted out" in ended.error
        assert opted_out(crm) == set()
    crm.set_switches(refuse_email="")
    assert run_target(*night(*consenting(1)), **OPT_OUT).counts["opted_out"] == 1
    assert opted_out(crm) == {"p2"}


def test_an_opt_out_that_was_not_confirmed_is_tried_again(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """Its batch may have failed."""
    run_target(*night(*consenting(1, 2)), **OPT_OUT)
    run_target(*night(*consenting(1)), **OPT_OUT)
    crm.set_faults("fail:batch")
    hasty = {"confirm_batches": "report", "confirm_timeout_seconds": 0}
    run_target(*night(*consenting(1)), **OPT_OUT, **hasty)
    crm.set_faults()
    run_target(*night(*consenting(1)), **OPT_OUT)
    assert opted_out(crm) == {"p2"}


@pytest.mark.usefixtures("rejects")
def test_who_is_gone_and_was_always_refused_is_not_created_to_be_opted_out(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    crm.set_switches(refuse_email="p2@")
    run_target(*night(*consenting(1, 2)), **OPT_OUT)
    crm.set_switches(refuse_email="")
    for _ in range(3):
        run_target(*night(*consenting(1)), **OPT_OUT).ok()
    assert by_address(crm).keys() == {"p1"}


def test_who_is_gone_and_comes_back_is_known(run_target: RunTarget) -> None:
    for people in ((1, 2), (1,), (1,), (1,)):
        run_target(*night(*consenting(*people)), **FULL, max_drift_percent=100)
    assert counts(run_target(*night(*consenting(1, 2)), **FULL)) == {"read": 2, "unchanged": 2}


def test_who_was_deleted_by_hand_and_is_opted_out_comes_back_whole(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """The opt-out made a contact without data, though the ledger knew all of the one before."""
    people = [person(n) for n in (1, 2, 3)]
    config = {**OPT_OUT, "confirm_batches": "report"}
    run_target(*night(*people), **config)
    crm.delete("p3@example.com")
    for _ in range(2):
        run_target(*night(*people[:2]), **config)
    assert opted_out(crm) == {"p3"}
    run_target(*night(*people), **config)
    assert name_of(crm, "p3") == "First3"


@on_both_databases
def test_too_many_missing_opt_nobody_out_and_fail_the_run(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    settings = {**OPT_OUT, "max_drift_percent": 5}
    run_target(*night(*consenting(*range(20))), **settings)
    ended = run_target(*night(*consenting(*range(9))), **settings)
    assert ended.code == 1
    assert "Of 20 known people of stream 'people' 11 are missing" in ended.error
    assert opted_out(crm) == set()
