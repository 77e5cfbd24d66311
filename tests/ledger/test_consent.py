"""Consent: what was never said is not sent, and what was said once is not raised again."""

import typing as t
from collections.abc import Callable

import pytest

from tests.ledger.outside import FULL, OMIT, REPORT, Moment, Night
from tests.ledger.people import COLUMNS, M1, M2, consenting, moved, person
from tests.loads import Record, cases, record, schema, state

send_and_omit = pytest.mark.parametrize("opt_in", ["send", "omit"])

# Fault 12


def yeses(night: Night, email: str | None = None, number: int | None = None) -> list[Record]:
    """Return the contacts sent with this address or number and a yes for it."""

    def is_one(sent: Record) -> bool:
        by_email = email and sent.get("email") == email and sent.get("emailOptIn")
        return by_email or (sent.get("mobileNumber") == number and bool(sent.get("mobileOptIn")))

    return [*filter(is_one, night.sent)]


@send_and_omit
@cases(
    "before address mobile",
    pytest.param(None, "new", None, id="another address"),
    pytest.param(None, "new", M1, id="another address and a number"),
    pytest.param(M1, None, M1, id="the address is lost"),
    pytest.param(None, "p1", M1, id="a number came"),
)
def test_a_listed_address_never_goes_out_with_a_yes(
    night: Night, before: str | None, address: str | None, mobile: str | None, opt_in: str
) -> None:
    """Neither as the old address of a person who has another one now."""
    night.settings |= {**night.listed("p1@example.com"), "unchanged_opt_in": opt_in}
    night(*consenting(1, mobile=before))
    for _ in range(2):
        night(person(1, address, mobile=mobile, email_opt_in=True))
    assert yeses(night, "p1@example.com") == []


@cases("later", {"mobile": M2}, {"mobile": None}, {"mobile": M1, "email": "new@example.com"})
def test_a_listed_number_never_goes_out_with_a_yes(night: Night, later: Record) -> None:
    """After any change of its person."""
    night.settings |= night.listed(M1)
    for columns in ({"mobile": M1}, later, later):
        night(person(1, **{"email_opt_in": True, "mobile_opt_in": True, **columns}))
    assert yeses(night, number=90000001) == []


# Fault 13


def fault(*faults: str, **config: t.Any) -> Callable[[Night], None]:
    """Return a night in which both people have changed, and something fails."""

    def run(night: Night) -> None:
        for name, one in zip("AB", faults, strict=False):
            night(*consenting(1, 2, firstname=name), faults=one, **config)

    return run


def contact_id_is_added(night: Night) -> None:
    columns = schema(COLUMNS | {"contact_id": {"type": ["integer", "null"]}})
    known = night.crm.contacts()[1]["id"]
    for _ in range(2):
        night.run(columns, *consenting(1), *consenting(2, contact_id=known), state())


def full_read_is_short(night: Night) -> None:
    for numbers in ((2, 3), (2, 3), (1, 2, 3)):
        night(*consenting(*numbers), **FULL)


def second_stream_without_consent(night: Night) -> None:
    columns = schema({"id": {}, "email": {}, "company": {}}, stream="others")
    for company in "ABC":
        other = record("others", id=1, email="p1@example.com", company=company)
        night.run(columns, *night.lines(*consenting(1, 2)), other)


def key_changes(night: Night) -> None:
    people = [person(f"C{n}", f"p{n}", email_opt_in=True) for n in (1, 2)]
    night.run(schema(COLUMNS | {"id": {"type": "string"}}), *people, state())


BOTH, NEW = consenting(1, 2), consenting(1, 2, firstname="A")
RENAMED = {"property_name": "name"}
EVENTS: dict[str, Callable[[Night], object]] = {
    "its batch fails": fault("fail:batch", **REPORT),
    "its batch skips somebody": fault("skip=1:batch", **REPORT),
    "its batch stays open": fault(*["stuck:batch"] * 2, **REPORT, confirm_timeout_seconds=0),
    "an answer is lost": fault("lost@1:batch"),
    "all answers are lost": fault("lost:batch", retry_max_seconds=0),
    "a contact_id is added": contact_id_is_added,
    "a full read is short": full_read_is_short,
    "a second stream without consent": second_stream_without_consent,
    "everything is sent": lambda night: night(*BOTH, unchanged_contacts="send"),
    "the mapping changes": lambda night: night(*BOTH, field_map={"firstname": RENAMED}),
    "the key changes": key_changes,
    "the run is killed": lambda night: night.killed(*NEW, at=Moment("POST", 1, "after")),
}


@cases("event", *EVENTS)
def test_nothing_signs_up_again_who_unsubscribed_in_mainbrainer(night: Night, event: str) -> None:
    """An old yes is no new one after any event of the contact's other data."""
    night.settings |= OMIT
    if "killed" in event:
        night.between()
    night(*consenting(1, 2, 3))
    night.unsubscribe("p1", "p2")
    EVENTS[event](night)
    for _ in range(2):
        night(*consenting(1, 2, 3, firstname="Z"))
    assert night.opted_in == {"p3"}
    assert night.contacts["p1"]["properties"]["firstname"] == "Z"


@cases("faults", "lost@1:batch", "cut@1:batch", "503@1:batch", "late=0.3:batch")
def test_a_yes_that_arrived_by_a_detour_is_not_raised_again(night: Night, faults: str) -> None:
    """Its answer was lost and its repetition accepted, or its batch was open when the run ended."""
    night.settings |= {**OMIT, **REPORT, "confirm_timeout_seconds": 0}
    night(*consenting(1, 2), faults=faults).ok()
    night.crm.settle()
    assert night.opted_in == {"p1", "p2"}
    night.unsubscribe("p1")
    for name in "ABC":
        night(*consenting(1, 2, firstname=name)).ok()
        assert night.opted_in == {"p2"}


# Fault 14


@send_and_omit
@cases("confirm", "report", "require")
def test_a_contact_made_anew_has_the_sources_yes(night: Night, opt_in: str, confirm: str) -> None:
    """It was deleted by hand; the status of its next update says so.

    The others of its batch, which unsubscribed in MainBrainer, are looked at, too.
    """
    night.settings |= {"unchanged_opt_in": opt_in, "confirm_batches": confirm}
    night(*consenting(*range(8)))
    night.delete("p1")
    unsubscribed = {"p2", "p3", "p4"} if opt_in == "omit" else set()
    night.unsubscribe(*unsubscribed)
    ended = night(*consenting(*range(8), firstname="A"))
    assert ended.count("recreated") == 1
    assert night.opted_in == {f"p{n}" for n in range(8)} - unsubscribed
    assert night.contacts["p1"]["properties"]["firstname"] == "A"


def test_a_contact_made_anew_is_completed_though_its_status_is_late(night: Night) -> None:
    """It comes when another one, which was deleted, too, has been completed."""

    def falsify(contacts: list[Record], status: Record) -> None:
        if (
            contacts[0]["email"] == "p2@example.com"
            and night.contacts["p1"]["email_opt_in"] is None
        ):
            status.clear()

    night.settings |= {**REPORT, "batch_size_rows": 1}
    between = night.between()
    night(*consenting(1, 2))
    night.delete("p1")
    night.delete("p2")
    between.falsify = falsify
    night(*consenting(1, 2, city="Bergen"))
    assert night.opted_in == {"p1", "p2"}
    assert night.contacts["p2"]["properties"]["firstname"] == "First2"


@cases("confirm", "report", "require")
def test_a_contact_made_anew_has_what_a_later_record_of_the_run_says(
    night: Night, confirm: str
) -> None:
    """It is of another stream, so that both are delivered, one after the other.

    If the first one is not confirmed, the later one is sent whole. Found by year 95136.
    """
    night.settings["confirm_batches"] = confirm
    columns = "id email firstname city email_opt_in"
    both = [schema(columns, stream=name) for name in ("people", "users")]
    night.run(*both, *consenting(1, city="Bergen"), *consenting(2))
    night.delete("p1")
    first = person(1, firstname="A", city="Bergen", email_opt_in=True)
    later = person(1, stream="users", firstname="B", city="Bergen", email_opt_in=False)
    ended = night.run(*both, first, later, *consenting(2))
    assert ended.count("recreated") == 1
    contact = night.contacts["p1"]
    assert contact["properties"].items() >= {"firstname": "B", "city": "Bergen"}.items()
    assert contact["email_opt_in"] is False


@cases(
    "first later is_unsubscribed opted_in",
    ("yes", None, True, False),
    ("no", "yes", False, True),
    ("yes", "no", False, False),
)
def test_what_was_said_of_a_contact_is_known_when_it_is_sent_again(
    night: Night, first: str | None, later: str | None, is_unsubscribed: bool, opted_in: bool
) -> None:
    """In one run, of another stream; STATE waits for both. Found by year 97086."""
    night.settings |= {**OMIT, "confirm_batches": "require"}
    said = {"yes": True, "no": False, None: None}
    streams = [schema(COLUMNS, stream=name) for name in ("people", "users")]
    before = None if is_unsubscribed else True
    night(person(1, email_opt_in=before)).ok()
    both = [
        person(1, email_opt_in=said[first]),
        person(1, stream="users", email_opt_in=said[later], firstname="A"),
    ]
    night(*streams, *both).ok()
    if is_unsubscribed:
        night.unsubscribe("p1")
    night(person(1, email_opt_in=said[later or first], firstname="B")).ok()
    assert night.opted_in == ({"p1"} if opted_in else set())


def test_a_contact_made_anew_that_moves_in_the_same_run_is_completed(night: Night) -> None:
    """At its new address; the status of the first request came after it had moved. Year 99168."""
    night.settings |= REPORT
    night(*consenting(1, 2, 3))
    night.delete("p1")
    ended = night(*consenting(1, 2, 3, city="Bergen"), *moved(1))
    assert (ended.count("moved"), ended.count("recreated")) == (1, 1)
    assert night.opted_in == {"new1", "p2", "p3"}
    assert night.contacts["new1"]["properties"].items() >= {"firstname": "First1"}.items()


def test_a_status_without_ids_recreates_no_other_contact(night: Night) -> None:
    """What is not named in one half of a batch need not be in the other half."""

    def falsify(contacts: list[Record], status: Record) -> None:
        for counted in status["processedObj"].values() if len(contacts) == 1 else ():
            counted["contactIds"] = []

    night.settings |= {**OMIT, "confirm_batches": "report"}
    between = night.between()
    night(*consenting(1, 2, 3))
    night.delete("p1")
    night.unsubscribe("p2", "p3")
    between.falsify = falsify
    assert night(*consenting(1, 2, 3, firstname="A")).count("recreated") == 1
    assert night.opted_in == set()


# Fault 15


def test_an_opt_in_that_turns_null_is_counted_and_warned_of(night: Night) -> None:
    """MainBrainer keeps the old value, and has no way to take it back to "nothing said"."""
    night(*consenting(1, 2))
    ended = night(person(1, email_opt_in=None), *consenting(2)).ok()
    assert ended.count("opt_ins_emptied") == 1
    assert any("email_opt_in" in line or "opt-in" in line for line in ended.warnings)
    assert night.opted_in == {"p1", "p2"}


def test_the_yes_of_a_reused_key_is_not_passed_on_in_silence(night: Night) -> None:
    """Address and number are other ones and the new record says nothing of consent."""
    night(person(1, "old", mobile=M1, email_opt_in=True), *consenting(2))
    reused = person(1, "new", mobile=M2, firstname="Other", email_opt_in=None)
    ended = night(reused, *consenting(2))
    is_told = ended.count("opt_ins_emptied") == 1 and ended.warnings
    assert is_told or "new" not in night.opted_in


@cases("fault patience", ("fail:batch", 60), ("skip=1:batch", 60), ("stuck:batch", 0))
@cases("meanwhile", True, None)
def test_a_no_that_was_lost_with_its_batch_is_said_again(
    night: Night, fault: str, patience: int, meanwhile: bool | None
) -> None:
    """Though a yes that is on the list, or nothing, was sent meanwhile. Year 10137506."""
    night.settings |= {**REPORT, **night.listed("p1@example.com")}
    night(*consenting(1, 2)).ok()
    night.edit("p1", email_opt_in=True)
    night(person(1, email_opt_in=False), faults=fault, confirm_timeout_seconds=patience)
    night.days_later(2)
    night(person(1, email_opt_in=meanwhile)).ok()
    assert night.opted_in == {"p1", "p2"}
    night(person(1, email_opt_in=False)).ok()
    assert night.opted_in == {"p2"}
