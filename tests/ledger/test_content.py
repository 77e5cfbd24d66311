"""With a ledger a run sends what has changed, and the CRM ends as if it had sent everything."""

import contextlib
import json
import sqlite3

import pytest

from tests.ledger.outside import OMIT, OPT_OUT, REPORT, Night, on_both_databases
from tests.ledger.people import consenting, person
from tests.loads import Record, cases, record, schema, state


def first_name(night: Night) -> object:
    return night.contacts["p1"]["properties"].get("firstname")


@on_both_databases
def test_what_has_not_changed_is_not_sent(night: Night) -> None:
    people = [person(n) for n in range(30)]
    assert night(*people).numbers == {"read": 30, "accepted": 30, "created": 30}
    sent = night.posts
    second = night(*people)
    assert second.numbers == {"read": 30, "unchanged": 30}
    assert (second.bookmark, night.posts) == (30, sent)


@on_both_databases
def test_what_has_changed_is_sent_and_counted(night: Night) -> None:
    night(*consenting(1), person(2), person(3))
    later = [person(1, email_opt_in=False), *consenting(2), person(3), person(4)]
    read = {"read": 4, "accepted": 3, "unchanged": 1, "created": 1, "updates": 2}
    assert night(*later).numbers == read | {"opt_ins_given": 1, "opt_ins_withdrawn": 1}
    assert night.contacts["p1"]["email_opt_in"] is False


def test_a_changed_mapping_sends_what_it_changes(night: Night) -> None:
    people = person(1), person(2, firstname=None)
    night(*people)
    ended = night(*people, field_map={"firstname": {"property_name": "given"}})
    assert ended.numbers == {"read": 2, "accepted": 1, "unchanged": 1, "updates": 1}


def test_a_null_that_begins_to_clear_is_sent(night: Night) -> None:
    night(person(1))
    night(person(1, firstname=None))
    assert first_name(night) == "First1"
    night(person(1, firstname=None), null_values="clear")
    assert first_name(night) in {None, ""}


def test_a_new_schema_in_mid_stream_is_compared_as_it_maps(night: Night) -> None:
    both = [schema(), person(1), schema({"id": {}, "email": {}}), person(2)]
    night.run(*both)
    assert night.run(*both).numbers == {"read": 2, "unchanged": 2}


def test_a_changed_list_sends_everybody(night: Night) -> None:
    night(person(1))
    other = {"list_id": "00000000-0000-4000-8000-000000000001"}
    assert night(person(1), **other).count("accepted") == 1
    assert night(person(1), **other).numbers == {"read": 1, "unchanged": 1}


def test_streams_with_other_columns_of_a_contact_leave_each_other_as_they_are(night: Night) -> None:
    """What is known of a contact is all that any of them has delivered."""
    streams = []
    for name in ("city", "job"):
        one = record(name, id=1, email="p@example.com", **{name: "x"})
        streams.append([schema({"id": {}, "email": {}, name: {}}, stream=name), one])
    for _ in range(2):
        ended = [night.run(*lines).ok() for lines in streams]
    counts = [next(iter(one.report["streams"].values())) for one in ended]
    assert [one["unchanged"] for one in counts] == [1, 1]


def test_streams_without_a_key_are_known_by_identity(night: Night) -> None:
    lines = [schema(key=()), person(1), person(2)]
    assert "has no 'key_properties' that identify people, so" in night.run(*lines).log
    assert night.run(*lines).numbers == {"read": 2, "unchanged": 2}


@cases("mobile", "1", "", None, 5)
def test_the_no_of_a_rejected_record_is_sent(night: Night, mobile: object) -> None:
    """A number that is none, none at all, and one that does not fit the schema."""
    night(person(1, email=None, mobile="+4790812501"))
    no = person(1, email=None, mobile=mobile, email_opt_in=False)
    assert night(no, max_rejects=1).count("rejected") == 1
    assert night.held == [("+4790812501", "", False, "First1")]


def test_who_comes_to_a_contact_that_such_a_no_has_made_is_sent_whole(night: Night) -> None:
    """It was deleted by hand; at first only what differed was sent. Found by year 310018."""
    night.settings |= {**REPORT, "max_rejects": 1}
    night(person(1, "a", city="Oslo"), person(2, "b", city="Oslo"))
    night.delete("a")
    no = person(1, "a", mobile="1", email_opt_in=False)
    for _ in range(2):
        assert night(no, person(2, "a", city="Oslo")).ok().count("rejected") == 1
    assert (
        night.contacts["a"]["properties"].items() >= {"firstname": "First2", "city": "Oslo"}.items()
    )


@pytest.mark.parametrize(("other", "held"), [("a", ["a"]), ("A", ["a", "A"])])
@on_both_databases
def test_rejected_records_of_one_address_say_no(night: Night, other: str, held: list[str]) -> None:
    """The ledger refused the second one, and the run failed. Year 71079."""
    some = [person(1, "a"), person(2, other)]
    nos = [json.loads(line) for line in some]
    for no in nos:
        no["record"] |= {"mobile": "1", "email_opt_in": False}
    assert night(*map(json.dumps, nos), max_rejects=2).ok().count("rejected") == 2
    assert [(contact[1], contact[2]) for contact in night.held] == [(one, False) for one in held]


@cases(
    "one other is_same",
    *(
        (1, 1.0, True),
        (7, "7", True),
        ("1.50", 1.5, True),
        ("a.0", "a.0", True),
        (True, True, True),
    ),
    *(("007", 7, False), (True, 1, False), ("", 0, False), ("1", "1 ", False)),
    *(("\ud800", "\ud800", True), ("\ud800", "\\ud800", False)),
    ids=ascii,
)
def test_a_key_is_the_same_in_any_spelling_and_order(
    night: Night, one: object, other: object, is_same: bool
) -> None:
    """Its columns too may be announced in another order on the next night."""
    for key, value, name in ((("id", "shop"), one, "a"), (("shop", "id"), other, "b")):
        columns: Record = {"id": {}, "shop": {}, "email": {}}
        row = record(id=value, shop="x", email=f"{name}@example.com")
        lines = schema(columns, key=key), row, state(done=True)
        night.run(*lines, unmapped_columns="ignore").ok()
    assert night.addresses == (["b"] if is_same else ["a", "b"])


def test_the_number_of_a_line_is_no_key_of_a_person(night: Night) -> None:
    """On the second night another person stands on the first line, and is not the same one."""
    columns: Record = {"_sdc_line_number": {"type": "integer"}, "email": {"type": "string"}}
    for names in ("ab", "cb"):
        rows = [
            record(_sdc_line_number=number, email=f"{name}@example.com", name=name)
            for number, name in enumerate(names, start=2)
        ]
        ended = night.run(schema(columns, key=["_sdc_line_number"]), *rows, state(done=True))
        assert "has no 'key_properties' that identify people" in ended.log
    assert night.addresses == ["a", "b", "c"]


# Only what has changed leaves


def properties_sent(night: Night) -> list[set[str]]:
    """Return the names of the properties of each contact of the last request."""
    bodies = [request.body for request in night.crm.requests() if request.body]
    contacts = bodies[-1]["createUpdateContacts"]
    return [{one["propertyname"] for one in c.get("propertyfields") or []} for c in contacts]


@cases("steps", ["p1"], ["step", "other"])
def test_only_what_has_changed_leaves(night: Night, steps: list[str]) -> None:
    """Also of a person whose address changes, several times in one load."""
    night(person(1, city="Oslo"))
    night.edit("p1", firstname="By hand")
    night(*(person(1, one, city="Bergen") for one in steps)).ok()
    assert properties_sent(night) == [{"city"}]
    contact = night.contacts[steps[-1]]["properties"]
    assert (contact["firstname"], contact["city"]) == ("By hand", "Bergen")
    assert len(night.addresses) == 1


def test_everything_leaves_with_send_and_is_remembered(night: Night) -> None:
    """Of contacts that have changed and of others."""
    night(person(1), person(2))
    changed = person(1, firstname="Changed"), person(2)
    assert night(*changed, unchanged_contacts="send").ok().count("accepted") == 2
    assert properties_sent(night) == [{"id", "firstname"}] * 2
    assert night(*changed).numbers == {"read": 2, "unchanged": 2}


@cases("identity_changes has_it", ("follow", [False]), ("create", [False, True]))
def test_once_is_for_new_contacts(night: Night, identity_changes: str, has_it: list[bool]) -> None:
    """A person who is not followed gets a new contact, and so its first source."""
    night.settings["field_map"] = {"firstname": {"property_name": "source", "send": "once"}}
    night.settings["identity_changes"] = identity_changes
    night(person(1, firstname="web"))
    night.edit("p1", source="")
    night(person(1, firstname="shop"))
    assert "source" not in night.contacts["p1"]["properties"]
    night(person(1, "new", firstname="web")).ok()
    contacts = sorted(night.crm.contacts(), key=lambda one: one["id"])
    assert ["source" in one["properties"] for one in contacts] == has_it


# What goes wrong


@cases("confirm", "report", "require")
@cases("before", "", "no")
def test_a_batch_that_fails_afterwards_is_resent(night: Night, before: str, confirm: str) -> None:
    """And a yes with it, which has not reached MainBrainer."""
    night.settings |= {**OMIT, "confirm_batches": confirm}
    night(*[person(1, email_opt_in=False)] * bool(before)).ok()
    assert night(*consenting(1), faults="fail:batch").code == 1
    assert night.opted_in == set()
    assert night(*consenting(1)).ok().count("accepted") == 1
    assert night.opted_in == {"p1"}
    assert night(*consenting(1)).count("unchanged") == 1


@on_both_databases
@cases("fault", "fail", "stuck", "skip")
def test_what_a_batch_has_lost_is_sent_again_though_its_contact_went_out_once_more(
    night: Night, fault: str
) -> None:
    """The second time carries what had changed since, which is not all. Found by year 200035."""
    night.keep_rejects()
    night.settings |= {**REPORT, "confirm_timeout_seconds": 1}
    night.patch.setattr("target_mainbrainer.rounds.round.MAX_CONTACTS", 1)
    night(person(1))
    later = person(1, firstname="New", city="Oslo")
    night(person(1, city="Oslo"), later, faults=f"{fault}@1:batch").ok()
    night(later).ok()
    properties = night.contacts["p1"]["properties"]
    assert (properties["firstname"], properties["city"]) == ("New", "Oslo")


@cases(
    "faults confirm",
    *(("lost@1:batch", "none"), ("lost@1:batch", "report"), ("lost@1:batch", "require")),
    ("stuck:batch", "report"),
)
def test_the_unconfirmed_is_resent_for_a_day(night: Night, faults: str, confirm: str) -> None:
    """It may come after a later request, and undo it."""
    patience = {"confirm_timeout_seconds": 0} if faults == "stuck:batch" else {}
    night(person(1), faults=faults, confirm_batches=confirm, **patience)
    for hours in (1, 12, 23):
        night.days_later(hours / 24)
        found = night(person(1))
        assert (found.count("accepted"), found.count("resent")) == (1, 1)
    night.days_later(25 / 24)
    night(person(1))
    assert night(person(1)).numbers == {"read": 1, "unchanged": 1}


@cases("faults", "lost@1:batch fail@2:batch", "lost@3:batch")
def test_so_is_what_was_lost_before_a_failure_or_to_prove_a_refusal(
    night: Night, faults: str
) -> None:
    """The batch of the repetition fails, or the lost request is a proof. Found by year 2044."""
    night.settings |= {"batch_size_rows": 1, "max_concurrent_requests": 1, "max_rejects": 1}
    night.settings["confirm_batches"] = "require"
    night.crm.set_switches(refuse_email="bad")
    night(person(1)).ok()
    night(person(1, firstname="A"), person(2, "bad"), faults=faults)
    for hours in (1, 2):
        night.days_later(hours / 24)
        assert night(person(1, firstname="B")).ok().count("accepted") == 1


def test_what_a_lost_request_has_changed_is_sent_again_though_its_repetition_was_refused(
    night: Night,
) -> None:
    """The record is rejected, and the source says what it said before. Found by year 160074."""
    night.settings |= {"batch_size_rows": 1, "max_concurrent_requests": 1}
    night.keep_rejects()
    night(person(1), person(2))
    changed = [person(n, firstname="Changed") for n in (1, 2)]
    ended = night(*changed, faults="lost@1:batch 422@2:batch").ok()
    assert (ended.count("rejected"), ended.count("accepted")) == (1, 1)
    assert night.contacts["p1"]["properties"]["firstname"] == "Changed"
    night(person(1), changed[1]).ok()
    assert night.contacts["p1"]["properties"]["firstname"] == "First1"


# Missing records


def test_a_refused_opt_out_is_reported_and_tried_again(night: Night) -> None:
    night.settings |= OPT_OUT
    night(*consenting(1, 2))
    night(*consenting(1))
    night.crm.set_switches(refuse_email="p2@")
    for _ in range(2):
        ended = night(*consenting(1))
        ended.failed("Stream 'people': 1 person is gone and could not be opted out")
        assert night.opted_out == set()
    night.crm.set_switches(refuse_email="")
    assert night(*consenting(1)).count("opted_out") == 1
    assert night.opted_out == {"p2"}


@on_both_databases
@cases(
    "moved there words",
    (0, 9, "Of 20 known people of stream 'people' 11 are missing"),
    (6, 14, "6 are missing and 6 have moved"),
)
def test_too_many_missing_fail_the_run(night: Night, moved: int, there: int, words: str) -> None:
    """They count together."""
    night.settings |= {**OPT_OUT, "max_drift_percent": 5}
    night(*consenting(*range(20)))
    people = [person(n, f"q{n}" if n < moved else "", email_opt_in=True) for n in range(there)]
    night(*people).failed(words)
    assert night.opted_in == {f"p{n}" for n in range(20)}


def test_no_two_ledgers_know_the_same_value_by_the_same_bytes(night: Night) -> None:
    """So that one which leaks says nothing of the people in another."""
    known: list[set[bytes | int]] = []
    for name in ("one", "other"):
        night.settings["ledger_uri"] = str(night.folder / name)
        night(person(1))
        with contextlib.closing(sqlite3.connect(night.settings["ledger_uri"])) as connection:
            query = "SELECT hash, spelling, fields FROM mainbrainer_contacts"
            ((hash_, spelling, fields),) = connection.execute(query)
        values = {fields[at + 4 : at + 12] for at in range(0, len(fields), 12)} - {bytes(8)}
        assert len(values) > 1
        known.append({hash_, spelling, *values})
    assert known[0].isdisjoint(known[1])
