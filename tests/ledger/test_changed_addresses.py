"""Changed addresses: one person stays one contact, or is named with the contact left behind."""

import itertools
import time
import typing as t

import pytest

from tests.broken_server import RESET, Reply, Request
from tests.ledger.outside import OMIT, REPORT, Between, Contact, Night
from tests.ledger.people import COLUMNS, M1, consenting, moved, person
from tests.loads import Record, cases, record, schema, state, wait_until
from tests.rounds import quick

# Fault 16


def test_a_restored_ledger_makes_no_second_contact_opted_in(night: Night) -> None:
    """It says that a person has the old address still; `unchanged_contacts: send` is the advice."""
    night(*consenting(1, 2))
    files = {path: path.read_bytes() for path in night.folder.glob("ledger.db*")}
    night(*moved(1), *consenting(2))
    for path in night.folder.glob("ledger.db*"):
        path.unlink()
    for path, content in files.items():
        path.write_bytes(content)
    ended = night(*moved(1), *consenting(2), unchanged_contacts="send").ok()
    assert ended.count("moved") == 0
    assert night.contacts, "no two have one address"
    assert night.opted_in == {"new1", "p2"}


def lose_the_first(between: Between) -> list[Request]:
    """Let the first request from now on have no answer; it is in the list that is returned."""
    late: list[Request] = []

    def rule(request: Request) -> Reply | None:
        if request.method == "POST" and not late:
            late.append(request)
            return RESET
        return None

    between.rule = rule
    return late


def test_a_search_that_arrives_late_opts_no_contact_in(night: Night) -> None:
    """Its answer was lost, it was repeated, and the first one lands after the rename."""
    between = night.between()
    night(*consenting(1, 2))
    late = lose_the_first(between)
    night(*moved(1), *consenting(2)).ok()
    between.forward(late[0])
    night.crm.settle()
    assert night.opted_in == {"new1", "p2"}


@cases("opt_in yes", (True, {"new1", "p2"}), (False, {"p2"}))
def test_a_contact_left_behind_is_opted_out_only(night: Night, opt_in: bool, yes: set[str]) -> None:
    """The contact was deleted by hand, another has its new address, and a rename is a conflict.

    The search carries a no, so that it is sent even where no contact can be renamed.
    """
    night.crm.set_switches(clash="conflict")
    night(*consenting(1, 2))
    night(person(3, "new1"), ledger_uri="")
    night.delete("p1")
    ended = night(*moved(1, email_opt_in=opt_in), *consenting(2)).ok()
    assert ended.count("moved") == 0
    assert ended.names(1)
    assert night.opted_in == yes
    assert ("p1" in night.opted_out) is not opt_in


def test_a_search_never_carries_a_yes(night: Night) -> None:
    """Nor anything else than the old combination and what is withdrawn."""
    night(person(1, mobile=M1, email_opt_in=True, mobile_opt_in=True))
    night(*moved(1, mobile=M1, mobile_opt_in=False))
    known = {"email": "p1@example.com", "mobileCountryCode": 47, "mobileNumber": 90000001}
    assert night.sent[1] == known | {"mobileOptIn": False}
    contact = night.contacts["new1"]
    assert (contact["email_opt_in"], contact["mobile_opt_in"]) == (True, False)


# Fault 17


def falsify(night: Night, *, of_rename: bool, **said: list[t.Any]) -> None:
    """Change what the status of a rename says, or that of the search before it.

    When it is asked for once more, the time has run out.
    """
    asked = itertools.count()

    def change(contacts: list[Contact], status: Record) -> None:
        is_rename = any("contactId" in contact for contact in contacts)
        if is_rename if of_rename else len(contacts) == 1 and not is_rename:
            ids = {name: said.get(name, []) for name in ("inserted", "updated", "skipped")}
            night.clock.ahead += 1000 * (next(asked) > 0)
            status["processedObj"] = {
                name: {"count": len(named), "contactIds": named} for name, named in ids.items()
            }

    night.between().falsify = change


@cases("named", 0, -5, 2**63 - 1, 999, "1000001x", None, "the first")
def test_a_status_that_names_no_contact_moves_none(night: Night, named: object) -> None:
    """An id that is not positive, or that no contact has; the data is in all the same."""
    night.between()
    night(*consenting(1, 2, 3))
    first = night.crm.contacts()[0]["id"]
    falsify(night, of_rename=False, updated=[first if named == "the first" else named])
    ended = night(*moved(1, 2, 3)).ok()
    assert ended.count("moved") == 0
    found = night.contacts
    for n in (1, 2, 3):
        assert ended.names(n)
        assert found[f"new{n}"]["properties"]["firstname"] == f"First{n}"
    assert night.opted_in >= {"new1", "new2", "new3"}


@cases("said", {"inserted": [7]}, {"updated": [7]}, {"skipped": [7]}, {})
def test_only_a_status_with_the_id_counts_as_moved(night: Night, said: dict[str, t.Any]) -> None:
    """The status of the rename: `updated`, with this id."""
    night.settings |= REPORT
    night.between()
    night(*consenting(1, 2))
    falsify(night, of_rename=True, **said)
    ended = night(*moved(1), *consenting(2))
    assert ended.count("moved") == 0
    assert ended.names(1)
    assert "new1" in night.contacts


def test_a_rename_of_unknown_end_raises_no_old_yes(night: Night) -> None:
    """It may have been applied, and then the plain upsert after it reaches the same contact."""
    night.settings |= OMIT
    night.between()
    night(*consenting(1, 2))
    night.unsubscribe("p1")
    falsify(night, of_rename=True)
    ended = night(*moved(1), *consenting(2))
    assert ended.names(1)
    assert night.opted_in == {"p2"}
    assert night.contacts["new1"]["properties"]["firstname"] == "First1"


def test_who_has_lost_a_number_and_may_have_moved_has_one_contact(night: Night) -> None:
    """The contact keeps the number, so that it is not found without it. Found by year 130103."""
    night.settings |= {**REPORT, "confirm_timeout_seconds": 1}
    night.between()
    night(person(1, mobile=M1))
    falsify(night, of_rename=True)
    assert night(*moved(1)).ok().names(1)
    night(*moved(1)).ok()
    assert [(number, name) for number, name, *_ in night.held] == [(M1, "new1")]


def test_who_is_back_after_a_second_contact_was_made_has_the_first_one(night: Night) -> None:
    """Renamed to its old address, the second one would be the same as the first."""
    night.settings["confirm_batches"] = "require"
    between = night.between()
    night(*consenting(1, 2))
    between.falsify = lambda _, status: status.pop("processedObj")
    assert night(*moved(1), *consenting(2), confirm_timeout_seconds=1).code == 1
    between.falsify = None
    night(*consenting(1, 2)).ok()
    assert night.addresses == ["new1", "p1", "p2"]
    assert night.opted_in == {"p1", "p2"}


@cases("is_deleted", True, False, ids=["the search", "the rename"])
def test_a_person_who_moved_back_is_sent_whole(night: Night, *, is_deleted: bool) -> None:
    """The search has made a contact without data, or the rename has left the address unseen."""
    between = night.between()
    night(*consenting(1, 2))
    if is_deleted:
        night.delete("p1")
    else:
        falsify(night, of_rename=True)
    night(*moved(1), *consenting(2))
    between.falsify = None
    night(*consenting(1, 2)).ok()
    assert night.contacts["p1"]["properties"]["firstname"] == "First1"


# Fault 18


def test_a_contact_that_a_lost_change_may_take_back_is_sent_whole_for_a_day(night: Night) -> None:
    """It has another address since, which that change would overwrite. Found by year 120007."""
    night(*consenting(1))
    night(*moved(1), faults="lost@2:batch").ok()
    posts = []
    for days in (0.0, 0.1, 0.2, 1.3, 1.4):
        night.days_later(days)
        night(person(1, "third", email_opt_in=True)).ok()
        posts.append(night.posts)
    assert night.addresses == ["third"]
    assert posts[0] < posts[1] < posts[2]
    assert posts[3] == posts[4]


def test_who_comes_to_an_address_that_a_lost_request_names_is_sent_whole_for_a_day(
    night: Night,
) -> None:
    """The request may overwrite its data although its own person has left. Found by year 150190."""
    between = night.between()
    night(person(1), person(2))
    late = lose_the_first(between)
    night(person(1, firstname="Changed"), person(2)).ok()
    night(person(1, "new1", firstname="Changed"), person(2, "p1")).ok()
    between.forward(late[0])
    assert night.contacts["p1"]["properties"]["firstname"] == "Changed"
    night(person(1, "new1", firstname="Changed"), person(2, "p1")).ok()
    assert night.contacts["p1"]["properties"]["firstname"] == "First2"


def test_a_contact_whose_batch_failed_and_that_was_a_probe_follows_its_person(
    night: Night,
) -> None:
    """Sent once more to prove a refusal, it is there without its batch. Found by year 140033."""
    night.settings |= {**REPORT, "batch_size_rows": 1, "max_concurrent_requests": 1}
    night.keep_rejects()
    night.crm.set_switches(refuse_email="bad")
    ended = night(*consenting(1), person(2, "bad"), faults="fail@1:batch").ok()
    assert ended.counts["rejected_by_code"]["batch_failed"] == 1
    assert night.addresses == ["p1"]
    assert night(*moved(1)).ok().count("moved") == 1
    assert night.addresses == ["new1"]


@cases("number", 4, 5, 6, 7)
def test_a_contact_is_not_opted_out_whose_person_may_have_left_it_or_not(
    night: Night, number: int
) -> None:
    """Of two streams one says that they are back. Found by year 15799725."""
    night.crm.set_switches(refuse_email="bad")
    night.keep_rejects()
    night.settings |= {"retry_max_seconds": 0, "max_concurrent_requests": 1}
    streams = [schema(COLUMNS, stream=name) for name in ("people", "users")]

    def say(one: str, other: str, faults: str = "") -> None:
        users = person(1, other, stream="users", email_opt_in=True)
        night(*streams, person(1, one, email_opt_in=True), person(2), users, faults=faults)

    say("a", "a")
    say("bad", "bad", f"reset@{number}:batch")
    say("bad", "bad")
    say("bad", "a")
    assert "a" not in night.opted_out


def test_who_comes_to_an_address_that_an_interrupted_change_may_have_left_is_sent_whole(
    night: Night,
) -> None:
    """MainBrainer makes a new contact then. Found by year 230121."""
    night.settings["retry_max_seconds"] = 0
    night(person(1, "a", city="Oslo"), person(2, city="Oslo"))
    assert night(person(1, "b", city="Oslo"), faults="lost@2:batch").code == 1
    night(person(2, "a", city="Oslo")).ok()
    properties = night.contacts["a"]["properties"]
    assert (properties["firstname"], properties["city"]) == ("First2", "Oslo")


def test_what_an_interrupted_change_of_address_has_brought_does_not_stay(night: Night) -> None:
    """The source has its old name again when the next run goes on. Found by year 200094."""
    night.settings["retry_max_seconds"] = 0
    night(person(1), person(2))
    renamed = person(1, "new1", firstname="Changed")
    assert night(renamed, person(2), faults="lost@2:batch").code == 1
    assert night.contacts["new1"]["properties"]["firstname"] == "Changed"
    night(person(1, "new1"), person(2)).ok()
    assert night.contacts["new1"]["properties"]["firstname"] == "First1"


# Fault 19

WITH_CODE: Record = {"mobile_country_code": 44, "mobile_number": 7700900123}
WITHOUT: Record = {"mobile_country_code": None, "mobile_number": 90000001}


@cases("address", "p1@example.com", None)
@cases(
    "both default expected",
    ([{"mobile": "+44 7700 900123"}, {"mobile": "900 00 001"}], 47, "+47 90000001"),
    ([WITH_CODE, WITHOUT], 47, "+47 90000001"),
    ([WITH_CODE, WITHOUT], None, "+44 7700900123"),
)
def test_a_new_number_never_has_the_country_code_of_the_old_one(
    night: Night, both: list[Record], default: int | None, expected: str, address: str | None
) -> None:
    """Without a default it is a number that cannot be sent."""
    night.keep_rejects()
    for columns in both:
        line = record("people", id=1, email=address, **columns)
        lines = schema({name: {} for name in ("id", "email", *columns)}), line, state()
        night.run(*lines, default_country_code=default, max_rejects_percent=100)
    assert [contact["mobile"] for contact in night.crm.contacts()] == [expected]


# Fault 20


def test_people_who_share_a_number_move_side_by_side(night: Night) -> None:
    """Ten of them one after the other would take ten times as long."""
    night(*consenting(*range(10), mobile=M1))
    before = len(night.crm.requests())
    ended = night(*moved(*range(10), mobile=M1), faults="latency=1:batch")
    assert ended.count("moved") == 10
    assert night.addresses == [f"new{n}" for n in range(10)]
    sent = [request for request in night.crm.requests()[before:] if request.method == "POST"]
    at_once = max(sum(one.overlaps(other) for other in sent) for one in sent)
    assert at_once >= 3, "one after the other, it would be 1"


# Fault 21


@pytest.mark.timeout(180)
@cases("case", ("POST", 1, 3), ("GET", 1, 3), ("POST", 2, 10_000))
def test_a_signal_ends_a_run_that_waits_in_a_move(night: Night, case: tuple[str, int, int]) -> None:
    """Soon, and at a second signal at once, however long its requests may wait.

    What is in flight has 30 seconds to end, and less here.
    """
    method, signals, grace = case
    night.settings["request_timeout_seconds"] = 100
    night.between()
    night(*consenting(1, 2))
    gate = night.gate(method)
    short = {quick.GRACE: grace, "target_mainbrainer.target.SAME_WISH_SECONDS": 0.2}
    machine = f"from tests.rounds import quick; quick.change({short})"
    process = night.start(*moved(1), *consenting(2), machine=machine)
    wait_until(lambda: gate.seen)
    process.send("TERM")
    for _ in range(signals - 1):
        time.sleep(1)
        process.send("TERM")
    assert process.ended().code != 0


# Fault 22


def test_a_batch_of_a_move_that_fails_counts_once(night: Night) -> None:
    """However many people were to move in it."""
    night.settings |= {**REPORT, "max_rejects_percent": 100}
    night.keep_rejects()
    night(*consenting(1, 2, 3))
    ended = night(*moved(1, 2), *consenting(3), faults="fail@3:batch")
    assert "MainBrainer says that 1 batch of 2 contacts" in ended.log


# Beside the thirty: more of their kind


def test_addresses_that_change_often_in_one_run_wait_for_nothing(night: Night) -> None:
    """Each closes a round that sends nothing, as its contact is delivered at the end."""
    night.patch.setattr(quick.TICK, 2.0)
    began = time.monotonic()
    ended = night(*consenting(1), *(person(1, f"p1-{n}") for n in range(20))).ok()
    assert time.monotonic() - began < 20
    assert (ended.count("merged"), ended.count("moved")) == (19, 1)
    assert night.opted_in == {"p1-19"}


def test_a_key_whose_columns_come_in_another_order_is_the_same(night: Night) -> None:
    """Taps that make a list of a set announce them in any order."""
    columns = "id firstname email mobile_opt_in"
    for key, email in ((("id", "firstname"), "a"), (("firstname", "id"), "b")):
        ended = night(schema(columns, key=key), person(1, email), state(bookmark=1)).ok()
    assert ended.count("moved") == 1
    assert night.addresses == ["b"]
