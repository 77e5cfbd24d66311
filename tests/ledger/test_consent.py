"""Consent: what was never said is not sent, and what was said once is not raised again."""

from __future__ import annotations

import json
import time
import typing as t

import pytest

from tests.ledger.outside import (
    COLUMNS,
    FULL,
    OMIT,
    Moment,
    by_address,
    consenting,
    count,
    days_later,
    night,
    opted_in,
    person,
    run_killed,
    warnings,
)
from tests.messages import record, schema, state

if t.TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.ledger.outside import Between, Contact
    from tests.messages import Record, RunTarget


MOBILE, OTHER_MOBILE = "+4790000001", "+4790000002"
REPORT: Record = {"confirm_batches": "report"}

Bodies: t.TypeAlias = "Callable[[], list[dict[str, t.Any]]]"


@pytest.fixture
def listed(tmp_path: Path) -> Callable[..., Record]:
    """Write the suppression list, and return the setting that names it."""

    def write(*lines: str) -> Record:
        path = tmp_path / "unsubscribed.txt"
        path.write_text("".join(f"{line}\n" for line in lines))
        return {"suppression_path": str(path)}

    return write


# Fault 12


def yeses(bodies: Bodies, email: str | None = None, number: int | None = None) -> list[object]:
    """Return the contacts sent with a listed address or number and a yes for it."""
    return [
        contact
        for contact in bodies()
        if (email is not None and contact.get("email") == email and contact.get("emailOptIn"))
        or (
            (number is not None and contact.get("mobileNumber") == number)
            and contact.get("mobileOptIn")
        )
    ]


@pytest.mark.parametrize("unchanged_opt_in", ["send", "omit"])
@pytest.mark.parametrize(
    "later",
    [
        pytest.param(person(1, "new", email_opt_in=True), id="another address"),
        pytest.param(
            person(1, "new", mobile=MOBILE, email_opt_in=True), id="another address and a number"
        ),
        pytest.param(person(1, None, mobile=MOBILE, email_opt_in=True), id="the address is lost"),
        pytest.param(person(1, mobile=MOBILE, email_opt_in=True), id="a number came"),
    ],
)
def test_a_listed_address_never_goes_out_with_a_yes(
    run_target: RunTarget,
    bodies: Bodies,
    listed: Callable[..., Record],
    later: str,
    unchanged_opt_in: str,
) -> None:
    """Neither as the old address of a person who has another one now."""
    config = {**listed("p1@example.com"), "unchanged_opt_in": unchanged_opt_in}
    before = {"mobile": MOBILE} if "null" in later else {}
    run_target(*night(*consenting(1, **before)), **config)
    run_target(*night(later), **config)
    run_target(*night(later), **config)
    assert yeses(bodies, "p1@example.com") == []


@pytest.mark.parametrize(
    "later",
    [
        pytest.param({"mobile": OTHER_MOBILE}, id="another number"),
        pytest.param({"mobile": None}, id="the number is lost"),
        pytest.param({"mobile": MOBILE, "email": "new@example.com"}, id="another address"),
    ],
)
def test_a_listed_number_never_goes_out_with_a_yes(
    run_target: RunTarget, bodies: Bodies, listed: Callable[..., Record], later: Record
) -> None:
    """Whatever changes of its person."""
    config = listed(MOBILE)
    consent: Record = {"email_opt_in": True, "mobile_opt_in": True}
    run_target(*night(person(1, **consent, mobile=MOBILE)), **config)
    for _ in range(2):
        columns = {"id": 1, "email": "p1@example.com", "firstname": "First1"} | consent | later
        run_target(*night(record("people", **columns)), **config)
    assert yeses(bodies, number=90000001) == []


SPELLINGS = [
    ("anna@exämple.com", "anna@xn--exmple-cua.com"),
    ("anna@xn--exmple-cua.com", "anna@exämple.com"),
    ("\uff41nna@example.com", "anna@example.com"),
    ("anna@example.com", "\uff41nna@example.com"),
    ("anna@\uff45xample.com", "anna@example.com"),
    ("anna@example.com", "anna@\uff45xample.com"),
]


@pytest.mark.parametrize(("on_list", "in_source"), SPELLINGS)
def test_a_listed_address_is_found_in_every_spelling(
    run_target: RunTarget,
    bodies: Bodies,
    listed: Callable[..., Record],
    on_list: str,
    in_source: str,
) -> None:
    """An international domain, and full width, in both directions."""
    people = [record(id=1, email=in_source, email_opt_in=True), *consenting(2)]
    run_target(*night(*people), **listed(on_list), max_rejects_percent=100)
    given = {contact["email"] for contact in bodies() if contact.get("emailOptIn")}
    assert given == {"p2@example.com"}


@pytest.mark.parametrize("unchanged_opt_in", ["send", "omit"])
def test_a_yes_that_was_withheld_goes_out_when_its_address_leaves_the_list(
    run_target: RunTarget, crm: RunningSandbox, listed: Callable[..., Record], unchanged_opt_in: str
) -> None:
    """It was never said."""
    config = {"unchanged_opt_in": unchanged_opt_in}
    run_target(*night(*consenting(1, 2)), **config, **listed("p1@example.com"))
    run_target(*night(*consenting(1, 2)), **config, **listed("p1@example.com"))
    assert opted_in(crm) == {"p2"}
    run_target(*night(*consenting(1, 2)), **config, **listed())
    assert opted_in(crm) == {"p1", "p2"}


def test_a_yes_that_was_said_is_not_raised_when_its_address_leaves_the_list(
    run_target: RunTarget, crm: RunningSandbox, listed: Callable[..., Record]
) -> None:
    """Who unsubscribed in MainBrainer meanwhile stays so."""
    run_target(*night(*consenting(1)), **OMIT)
    run_target(*night(*consenting(1, firstname="A")), **OMIT, **listed("p1@example.com"))
    crm.edit("p1@example.com", email_opt_in=False)
    run_target(*night(*consenting(1, firstname="B")), **OMIT, **listed())
    assert opted_in(crm) == set()


# Fault 13

WITH_ID = schema(COLUMNS | {"contact_id": {"type": ["integer", "null"]}})


def batch_fails(run_target: RunTarget, crm: RunningSandbox) -> None:
    crm.set_faults("fail:batch")
    run_target(*night(*consenting(1, 2, firstname="A")), **OMIT, **REPORT)
    crm.set_faults()


def batch_skips_somebody(run_target: RunTarget, crm: RunningSandbox) -> None:
    crm.set_faults("skip=1:batch")
    run_target(*night(*consenting(1, 2, firstname="A")), **OMIT, **REPORT)
    crm.set_faults()


def batch_stays_open(run_target: RunTarget, crm: RunningSandbox) -> None:
    crm.set_faults("stuck:batch")
    for name in "AB":
        people = consenting(1, 2, firstname=name)
        run_target(*night(*people), **OMIT, **REPORT, confirm_timeout_seconds=0)
    crm.set_faults()


def answer_is_lost(run_target: RunTarget, crm: RunningSandbox) -> None:
    crm.set_faults("lost@1:batch")
    run_target(*night(*consenting(1, 2, firstname="A")), **OMIT)
    crm.set_faults()


def all_answers_are_lost(run_target: RunTarget, crm: RunningSandbox) -> None:
    crm.set_faults("lost:batch")
    people = consenting(1, 2, firstname="A")
    assert run_target(*night(*people), **OMIT, retry_max_seconds=0).code == 1
    crm.set_faults()


def contact_id_is_added(run_target: RunTarget, crm: RunningSandbox) -> None:
    known = crm.contacts()[1]["id"]
    people = [*consenting(1), *consenting(2, contact_id=known)]
    for _ in range(2):
        run_target(WITH_ID, *people, state(), **OMIT)


def full_read_is_short(run_target: RunTarget, _crm: RunningSandbox) -> None:
    for numbers in ((2, 3), (2, 3), (1, 2, 3)):
        run_target(*night(*consenting(*numbers)), **OMIT, **FULL)


def second_stream_without_consent(run_target: RunTarget, _crm: RunningSandbox) -> None:
    columns: Record = {"id": {}, "email": {}, "company": {}}
    for company in ("A", "B", "C"):
        run_target(
            schema(columns, stream="others"),
            *night(*consenting(1, 2)),
            record("others", id=1, email="p1@example.com", company=company),
            **OMIT,
        )


def everything_is_sent(run_target: RunTarget, _crm: RunningSandbox) -> None:
    run_target(*night(*consenting(1, 2)), **OMIT, unchanged_contacts="send")


def mapping_changes(run_target: RunTarget, _crm: RunningSandbox) -> None:
    config = {"field_map": {"firstname": {"property_name": "name"}}}
    run_target(*night(*consenting(1, 2)), **OMIT, **config)


def key_changes(run_target: RunTarget, _crm: RunningSandbox) -> None:
    people = [person(f"C{n}", f"p{n}", email_opt_in=True) for n in (1, 2)]
    columns = COLUMNS | {"id": {"type": "string"}}
    run_target(schema(columns), *people, state(), **OMIT)


EVENTS = [
    batch_fails,
    batch_skips_somebody,
    batch_stays_open,
    answer_is_lost,
    all_answers_are_lost,
    contact_id_is_added,
    full_read_is_short,
    second_stream_without_consent,
    everything_is_sent,
    mapping_changes,
    key_changes,
]


@pytest.mark.parametrize("event", EVENTS)
def test_nothing_signs_up_again_who_unsubscribed_in_mainbrainer(
    run_target: RunTarget, crm: RunningSandbox, event: Callable[[RunTarget, RunningSandbox], None]
) -> None:
    """An old yes is no new one, whatever becomes of the contact's other data."""
    run_target(*night(*consenting(1, 2, 3)), **OMIT)
    for name in ("p1", "p2"):
        crm.edit(f"{name}@example.com", email_opt_in=False)
    event(run_target, crm)
    run_target(*night(*consenting(1, 2, 3, firstname="Z")), **OMIT)
    run_target(*night(*consenting(1, 2, 3, firstname="Z")), **OMIT)
    assert opted_in(crm) == {"p3"}
    assert by_address(crm)["p1"]["properties"]["firstname"] == "Z"


def test_a_kill_signs_up_nobody_who_unsubscribed_in_mainbrainer(
    run_target: RunTarget, crm: RunningSandbox, between: Between, settings: Record, tmp_path: Path
) -> None:
    """Their contact is unknown afterwards; what they said is not."""
    config = {**settings, **OMIT, "api_url": between.url}
    run_target(*night(*consenting(1, 2)), **config)
    crm.edit("p1@example.com", email_opt_in=False)
    lines = night(*consenting(1, 2, firstname="A"))
    run_killed(config, lines, tmp_path, between, Moment("POST", 1, "after"))
    for name in "BC":
        run_target(*night(*consenting(1, 2, firstname=name)), **config).ok()
    assert opted_in(crm) == {"p2"}


def test_a_yes_that_was_raised_in_a_batch_that_failed_is_raised_again(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """It has not reached MainBrainer."""
    crm.set_faults("fail:batch")
    run_target(*night(*consenting(1)), **OMIT, **REPORT)
    crm.set_faults()
    run_target(*night(*consenting(1)), **OMIT, **REPORT)
    assert opted_in(crm) == {"p1"}


@pytest.mark.parametrize("fault", ["lost@1:batch", "cut@1:batch", "503@1:batch", "late=0.3:batch"])
def test_a_yes_that_reached_mainbrainer_in_a_roundabout_way_is_not_raised_again(
    run_target: RunTarget, crm: RunningSandbox, fault: str
) -> None:
    """Its answer was lost and its repetition accepted, or its batch was open when the run ended."""
    config = {**OMIT, **REPORT, "confirm_timeout_seconds": 0}
    crm.set_faults(fault)
    run_target(*night(*consenting(1, 2)), **config).ok()
    crm.set_faults()
    crm.settle()
    assert opted_in(crm) == {"p1", "p2"}
    crm.edit("p1@example.com", email_opt_in=False)
    for name in "ABC":
        run_target(*night(*consenting(1, 2, firstname=name)), **config).ok()
        assert opted_in(crm) == {"p2"}


def test_a_yes_after_a_no_is_raised(run_target: RunTarget, crm: RunningSandbox) -> None:
    """The source says something new; a no is sent whenever it says so."""
    run_target(*night(*consenting(1)), **OMIT)
    run_target(*night(person(1, email_opt_in=False)), **OMIT)
    assert opted_in(crm) == set()
    run_target(*night(*consenting(1)), **OMIT)
    assert opted_in(crm) == {"p1"}


# Fault 14


@pytest.mark.parametrize("unchanged_opt_in", ["send", "omit"])
@pytest.mark.parametrize("confirm", ["report", "require"])
def test_a_contact_made_anew_has_the_sources_yes(
    run_target: RunTarget, crm: RunningSandbox, unchanged_opt_in: str, confirm: str
) -> None:
    """Somebody deleted it by hand; the status of its next update says so."""
    config = {"unchanged_opt_in": unchanged_opt_in, "confirm_batches": confirm}
    run_target(*night(*consenting(1, 2, 3)), **config)
    crm.delete("p1@example.com")
    ended = run_target(*night(*consenting(1, 2, 3, firstname="A")), **config)
    assert count(ended, "recreated") == 1
    assert opted_in(crm) == {"p1", "p2", "p3"}
    assert by_address(crm)["p1"]["properties"]["firstname"] == "A"


def test_a_contact_made_anew_is_completed_though_its_status_is_late(
    run_target: RunTarget, crm: RunningSandbox, between: Between
) -> None:
    """It comes in the time that is left for what was found out before."""
    asked_at: list[float] = []

    def falsify(contacts: list[Contact], status: Record) -> Record:
        del contacts
        asked_at.append(time.monotonic())
        is_early = asked_at[-1] < asked_at[0] + config["confirm_timeout_seconds"]
        return {} if is_early else status

    config: Record = {**REPORT, "api_url": between.url, "confirm_timeout_seconds": 3}
    run_target(*night(*consenting(1)), **config)
    crm.delete("p1@example.com")
    between.falsify = falsify
    run_target(*night(person(1, email_opt_in=True, city="Bergen")), **config)
    assert opted_in(crm) == {"p1"}
    assert by_address(crm)["p1"]["properties"]["firstname"] == "First1"


def test_looking_for_a_contact_made_anew_signs_up_nobody_else(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """The others of its batch unsubscribed in MainBrainer."""
    config = {**OMIT, **REPORT}
    run_target(*night(*consenting(*range(8))), **config)
    crm.delete("p1@example.com")
    for number in (2, 3, 4):
        crm.edit(f"p{number}@example.com", email_opt_in=False)
    run_target(*night(*consenting(*range(8), firstname="A")), **config)
    assert opted_in(crm) == {"p0", "p1", "p5", "p6", "p7"}


def test_a_status_without_ids_does_not_say_that_another_contact_was_made_anew(
    run_target: RunTarget, crm: RunningSandbox, between: Between
) -> None:
    """What is not named in one half of a batch need not be in the other half."""

    def falsify(contacts: list[Contact], status: Record) -> Record:
        if len(contacts) == 1:
            for counted in status["processedObj"].values():
                counted["contactIds"] = []
        return status

    config = {**OMIT, **REPORT, "api_url": between.url}
    run_target(*night(*consenting(1, 2, 3)), **config)
    crm.delete("p1@example.com")
    for number in (2, 3):
        crm.edit(f"p{number}@example.com", email_opt_in=False)
    between.falsify = falsify
    ended = run_target(*night(*consenting(1, 2, 3, firstname="A")), **config)
    assert count(ended, "recreated") == 1
    assert opted_in(crm) == set()


# Fault 15


def test_an_opt_in_that_turns_null_is_counted_and_warned_of(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """MainBrainer keeps the old value, and has no way to take it back to "nothing said"."""
    run_target(*night(*consenting(1, 2)))
    ended = run_target(*night(person(1, email_opt_in=None), *consenting(2))).ok()
    assert count(ended, "opt_ins_emptied") == 1
    assert any("email_opt_in" in line or "opt-in" in line for line in warnings(ended))
    assert opted_in(crm) == {"p1", "p2"}


def test_the_yes_of_a_reused_key_is_not_passed_on_in_silence(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """Address and number are other ones and the new record says nothing of consent."""
    run_target(*night(person(1, "old", mobile=MOBILE, email_opt_in=True), *consenting(2)))
    reused = person(1, "new", mobile=OTHER_MOBILE, firstname="Other", email_opt_in=None)
    ended = run_target(*night(reused, *consenting(2)))
    is_told = count(ended, "opt_ins_emptied") == 1 and warnings(ended)
    assert is_told or "new" not in opted_in(crm)


@pytest.mark.parametrize("silent", [{}, {"email_opt_in": None}])
def test_consent_of_long_ago_is_no_new_one(
    run_target: RunTarget, crm: RunningSandbox, monkeypatch: pytest.MonkeyPatch, silent: Record
) -> None:
    """A year in which the source said nothing does not make its old yes new."""
    run_target(*night(*consenting(1)), **OMIT)
    crm.edit("p1@example.com", email_opt_in=False)
    columns = {"id": 1, "email": "p1@example.com", "firstname": "A"} | silent
    run_target(*night(json.dumps({"type": "RECORD", "stream": "people", "record": columns})))
    days_later(monkeypatch, 365)
    run_target(*night(*consenting(1)), **OMIT)
    assert opted_in(crm) == set()
