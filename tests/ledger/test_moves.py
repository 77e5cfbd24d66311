"""One person stays one contact: what the CRM holds after each history of a changed identity."""

import itertools
from collections import Counter

import pytest

from tests.ledger.outside import OMIT, OPT_OUT, Moment, Night, on_both_databases
from tests.ledger.people import M1, one, person
from tests.loads import Record, cases


def emails(night: Night) -> list[str]:
    """Return the first part of every contact's address, the oldest first."""
    return [contact[1] for contact in night.held]


@on_both_databases
def test_a_new_address_leaves_one_contact(night: Night) -> None:
    night(one(1, "a", consent=True))
    later = person(1, "b", email_opt_in=True, firstname="New")
    ended = night(later)
    assert ended.numbers == {"read": 1, "accepted": 1, "moved": 1}
    assert night.held == [(None, "b", True, "New")]
    assert ended.bookmark == 1
    assert night(later).numbers == {"read": 1, "unchanged": 1}


@on_both_databases
def test_a_lost_part_stays_in_the_crm_and_needs_no_further_request(night: Night) -> None:
    night(one(1, "a", M1))
    sent = len(night.crm.requests())
    later = person(1, "a", mobile=None, firstname="B")
    assert night(later).numbers == {"read": 1, "accepted": 1, "updates": 1, "old_parts_kept": 1}
    assert len(night.crm.requests()) == sent + 1
    assert night.held == [(M1, "a", None, "B")]
    assert night(later).count("unchanged") == 1


def people(text: str, name: str = "First") -> list[str]:
    """Return the people of `1 a, 2 b +1`: key, part of the address, last digit of a number."""
    found = []
    for key, *words in (said.split(" ") for said in text.split(", ") if said):
        mobiles = [f"+479000000{word[1]}" for word in words if word[0] == "+"]
        emails = [word for word in words if word[0] != "+"]
        email, mobile = (some[0] if some else None for some in (emails, mobiles))
        found.append(person(int(key), email, mobile=mobile, firstname=f"{name}{key}"))
    return found


@cases(
    "first then count there",
    # Whatever changes there is one contact: both, a part that comes, one lost, only case.
    ("1 a +1", "1 b +1", "1 moved", "b +1 1"),
    ("1 a +1", "1 a +2", "1 moved", "a +2 1"),
    ("1 a +1", "1 b +2", "1 moved", "b +2 1"),
    ("1 a", "1 a +1", "1 moved", "a +1 1"),
    ("1 +1", "1 a +1", "1 moved", "a +1 1"),
    ("1 a", "1 +1", "1 moved", "a +1 1"),
    ("1 a +1", "1 +2", "1 moved", "a +2 1"),
    ("1 a +1", "1 A +1", "1 moved", "A +1 1"),
    # A chain resolves whatever the order.
    ("0 d, 1 c", "2 d, 0 c, 1 e", "2 moved", "c 0, d 2, e 1"),
    # Twins move together, also if one has lost a part.
    ("1 a, 2 a", "1 b, 2 b", "2 moved", "b 2"),
    ("1 +1, 2 +1", "1 a +1, 2 a", "2 moved", "a +1 2"),
    # Twins spelt in two ways have two contacts, and one is named.
    ("1 a, 2 A", "1 b, 2 b", "1 not_followed", "A 2, b 2"),
    # Who leaves an identity that another keeps has a contact of their own.
    ("1 a, 2 a", "1 b, 2 a", "1 not_followed", "a 2, b 1"),
    # In one load: a new person moves, one moves back without a part, and one several times.
    ("", "1 a, 2 x, 1 b", "2 created", "b 1, x 2"),
    ("1 a +1", "1 b +2, 1 a", "", "a +1 1"),
    ("1 a", "1 b, 1 c", "1 moved", "c 1"),
    ("1 a", "1 b, 1 a", "", "a 1"),
    ("1 a", "1 b, 1 c, 1 a", "", "a 1"),
    ("1 a", "1 b, 1 c, 1 b", "1 moved", "b 1"),
)
@on_both_databases
def test_contacts_after_moves(night: Night, first: str, then: str, count: str, there: str) -> None:
    """And the same after one more night, in which nothing has changed, or only a name."""
    night(*people(first))
    ended = night(*people(then)).ok()
    number, _, name = count.partition(" ")
    assert not count or ended.count(name) == int(number)
    assert any(ended.names(n) for n in (1, 2)) is (name == "not_followed")
    assert ended.states

    def held(name: str) -> str:
        def of(number: str | None, email: str, _: bool | None, first: str | None) -> str:
            parts = (email, f"+{number[-1]}" if number else "", str(first).removeprefix(name))
            return " ".join(filter(None, parts))

        return ", ".join(sorted(of(*one) for one in night.held))

    assert held("First") == there
    night(*people(then))
    assert held("First") == there
    last = {said.split(" ")[0]: said for said in then.split(", ")}
    night(*people(", ".join(last.values()), "Later"))
    assert held("Later") == there or name == "not_followed"


@on_both_databases
def test_a_no_on_the_way_is_delivered(night: Night) -> None:
    night(one(1, "a", consent=True))
    night(one(1, "b", consent=False), one(1, "c"))
    assert night.held == [(None, "c", False, "First1")]


@on_both_databases
def test_people_who_swap_are_set_aside_and_a_no_is_delivered(night: Night) -> None:
    """And nothing else of them: neither a yes, nor a name."""
    night.keep_rejects()
    night(one(1, "a", consent=True), one(2, "b", consent=False), one(3, "c"))
    ended = night(one(1, "b", consent=False), one(2, "a", consent=True), one(3, "d")).ok()
    assert ended.counts["rejected_by_code"] == {"identity_taken": 2}
    people = [(None, "a", False, "First1"), (None, "b", False, "First2")]
    assert night.held == [*people, (None, "d", None, "First3")]


# Refusals


@pytest.fixture
def refusing(night: Night) -> Night:
    night.crm.set_switches(refuse_email="bad")
    return night


@cases("is_one_night", False, True)
def test_a_refused_first_delivery_is_corrected(refusing: Night, is_one_night: bool) -> None:
    """In the next run, and in the same."""
    bad, good = one(1, "bad"), [one(1, "good"), one(2, "x")]
    if is_one_night:
        refusing(bad, *good)
    else:
        refusing(bad)
        refusing(*good).ok()
    assert sorted(emails(refusing)) == ["good", "x"]


@cases(
    "first twice",
    pytest.param("1 a, 2 x", "", id="an address"),
    pytest.param("1 a, 2 x", "1 bad", id="in two records, which are one contact, and then alone"),
    pytest.param("1 BAD, 2 x", "", id="for its case only, as some refuse it; year 80303"),
)
def test_who_was_refused_follows_to_the_next(refusing: Night, first: str, twice: str) -> None:
    """The contact is where it was, though the ledger has asked for another place."""
    refusing(*people(first))
    ended = refusing(*people(twice), *people("1 bad, 2 x", "New"))
    assert ended.count("rejected") == 1 + bool(twice)
    assert refusing(*people("1 good, 2 x", "Last")).ok().count("moved") == 1
    assert sorted(emails(refusing)) == ["good", "x"]


def test_a_refused_address_after_a_lost_answer_leaves_the_contact(refusing: Night) -> None:
    """The run ends before it knows that the address is bad. Found by year 88064."""
    refusing(one(1, "a"), one(2, "x"))
    refusing(one(1, "bad"), one(2, "x"), faults="reset@3:batch", retry_max_seconds=0)
    refusing.days_later(2)
    refusing(one(1, "bad"), person(2, "x", firstname="New"))
    assert refusing(one(1, "good"), one(2, "x")).ok().count("moved") == 1
    assert sorted(emails(refusing)) == ["good", "x"]


def test_a_contact_that_has_moved_is_not_sent_once_more_to_prove_a_refusal(refusing: Night) -> None:
    refusing(one(1, "a", consent=True))
    moving = [person(1, "a", email_opt_in=True, firstname="New"), one(1, "b", consent=False)]
    ended = refusing(*moving, one(9, "bad"), batch_size_rows=1, max_rejects=1)
    assert ended.count("rejected") == 1
    assert refusing.held == [(None, "b", False, "First1")]


def test_a_contact_that_moves_is_not_sent_once_more_to_prove_a_refusal(refusing: Night) -> None:
    """Its old address would be a second contact."""
    refusing(one(1, "a"))
    assert refusing(one(1, "b"), one(9, "bad"), max_rejects=1).count("rejected") == 1
    assert emails(refusing) == ["b"]


def test_a_search_that_is_accepted_proves_no_refusal(refusing: Night) -> None:
    """It has no properties: the list or a property may be at fault, so the run fails."""
    refusing.keep_rejects()
    refusing(one(1, "a"))
    assert refusing(one(1, "bad")).failed("Nothing was accepted").states == []


# What the CRM says


def test_a_person_deleted_by_hand_comes_back_with_consent(night: Night) -> None:
    """Looking for the contact inserts it anew: without a yes, and a warning names it."""
    night(one(1, "a", consent=True))
    night.delete("a")
    for number, address in enumerate(("b", "c", "d")):
        ended = night(one(1, address, consent=True), **OMIT)
        assert [c[1:3] for c in night.held] == [("a", None), (address, True)]
        assert ended.log.count("could not be followed") == (number == 0)


@cases("faults", "noid:batch", "stuck@1:batch", "503:status")
def test_without_a_status_it_is_a_second_contact_with_a_warning(night: Night, faults: str) -> None:
    night(one(1, "a"))
    ended = night(one(1, "b"), confirm_timeout_seconds=1, faults=faults).ok()
    assert ended.count("not_followed") == 1
    assert ended.log.count("could not be followed") == 1
    assert ended.names(1)
    assert emails(night) == ["a", "b"]
    assert night(one(1, "b")).count("unchanged") == 1


@pytest.mark.parametrize("confirm", ["report", "require"])
def test_a_second_contact_gets_nothing_of_the_first_one(night: Night, confirm: str) -> None:
    """It would get the number that the first one has. Year 7."""
    night(*people("1 a +1"))
    waits = {"confirm_batches": confirm, "confirm_timeout_seconds": 1}
    night(*people("1 b"), faults="503:status", **waits)
    assert night(*people("1 c")).ok().count("moved") == 1
    assert [contact[:2] for contact in night.held] == [(M1, "a"), (None, "c")]


def test_an_opt_in_that_the_search_resets_is_given_again_with_the_new_address(night: Night) -> None:
    """The search carries no yes: it would opt in a contact that it inserts."""
    night.crm.set_switches(opt_in_on_update="reset")
    night(one(1, "a", consent=True))
    night(one(1, "b", consent=True))
    assert night.held == [(None, "b", True, "First1")]


def test_an_identity_that_the_crm_holds_is_taken_over(night: Night) -> None:
    night.crm.set_switches(clash="conflict")
    night(one(1, "a"), one(9, "b"))
    night.forget("--key", "9")
    later = person(1, "b", firstname="New")
    ended = night(later)
    assert 409 in [request.status for request in night.crm.requests()]
    assert ended.numbers == {"read": 1, "accepted": 1, "created": 1, "not_followed": 1}
    assert ended.names(1)
    assert night.held == [(None, "a", None, "First1"), (None, "b", None, "New")]
    assert night(later).numbers == {"read": 1, "unchanged": 1}


def test_a_remapped_column_fails_before_the_first_request(night: Night) -> None:
    people, swapped = (
        [one(n, f"p{n}", f"+479{code}00{n:04}") for n in range(1, 31)] for code in (0, 1)
    )
    night(*people)
    sent = len(night.crm.requests())
    ended = night(*swapped).failed("'max_drift_percent' (5)")
    assert ended.states == []
    assert [reason["code"] for reason in ended.report["reasons"]] == ["max_drift_percent"]
    assert len(night.crm.requests()) == sent
    assert night(*people).numbers == {"read": 30, "unchanged": 30}
    assert night(*swapped, max_drift_percent=100).count("moved") == 30
    assert len(night.held) == 30


def test_moves_that_an_earlier_run_has_begun_are_no_drift(night: Night) -> None:
    """More than ten that MainBrainer has failed would fail every later night of a small stream."""
    night(*(one(n, f"p{n}") for n in range(12)))
    renamed = [one(n, f"q{n}") for n in range(12)]
    assert night(*renamed, faults="fail@13:batch", max_drift_percent=100).count("moved") == 0
    assert night(*renamed).count("moved") == 12
    assert len(night.held) == 12


@pytest.mark.parametrize("before", ["1 a, 2 x", "1 a"])
def test_an_address_is_free_when_its_contact_has_left_it(night: Night, before: str) -> None:
    """Else the record of who comes to it would leave with the contact. Found by year 9124."""
    night.keep_rejects()
    night(*people(before))
    later = people("1 b, 2 a")
    ended = night(*later, faults="fail@2:batch", confirm_batches="report").ok()
    assert ended.counts["rejected_by_code"] == {"batch_failed": 1, "identity_taken": 1}
    assert "a" in emails(night)
    assert night(*later).count("moved") == len(people(before))
    assert [contact[1:] for contact in night.held] == [("b", None, "First1"), ("a", None, "First2")]


def test_who_cannot_be_brought_back_after_an_interrupted_change_is_sent_anew(night: Night) -> None:
    """MainBrainer refuses everything when the person is back. Found by year 86003."""
    night.between()
    night(*people("1 a"))
    night.killed(*people("1 b"), at=Moment("GET", 2, "before"))
    night(*people("1 a"), faults="422@1-99:batch")
    night(*people("1 a")).ok()
    assert emails(night) == ["a"]


def test_who_stays_where_an_interrupted_change_began_is_sent_anew(night: Night) -> None:
    """Two were to leave together; one stays, and their contact may have gone with the other."""
    night.between()
    night(*people("1 a, 2 a"))
    night.killed(*people("1 b, 2 b"), at=Moment("GET", 2, "before"))
    for _ in "12":
        night(*people("1 b, 2 a")).ok()
    assert sorted(emails(night)) == ["a", "b"]
    assert night(*people("1 c, 2 a")).count("moved") == 1
    assert sorted(emails(night)) == ["a", "c"]


def test_an_address_that_a_failed_change_did_not_reach_is_free(night: Night) -> None:
    """The person is back at the old one, and comes to it again. Found by year 80233."""
    night.settings["confirm_batches"] = "report"
    night.keep_rejects()
    night(*people("1 a"))
    night(*people("1 b"), faults="fail@2:batch")
    night(*people("1 a")).ok()
    assert night(*people("1 b")).count("moved") == 1
    assert emails(night) == ["b"]


MANY = 60


@cases("questions", 1, 3)
def test_a_move_takes_five_requests_at_most(night: Night, questions: int) -> None:
    """Two, and a question or three, depending on how soon the first is applied."""
    night.settings |= OPT_OUT
    between = night.between()
    night(*(one(n, f"p{n}") for n in range(MANY)))
    before, asked = len(night.crm.requests()), Counter[str]()

    def falsify(_: object, status: Record) -> None:
        asked[status["id"]] += 1
        if asked[status["id"]] < questions:
            status.pop("processedObj")

    between.falsify = falsify
    ended = night(*(one(n, f"q{n}") for n in range(MANY)), faults="latency=0.05:batch")
    assert ended.count("moved") == MANY
    assert emails(night) == [f"q{n}" for n in range(MANY)]
    requests = night.crm.requests()[before:]
    sent = [request for request in requests if request.method == "POST"]
    assert len(sent) == MANY + 1
    assert len(requests) - len(sent) == (MANY + 1) * questions
    assert any(later.started < one.ended for one, later in itertools.pairwise(sent))


# Consent


@on_both_databases
def test_an_unsubscription_in_the_crm_survives_a_new_address(night: Night) -> None:
    night.settings |= OMIT
    night(one(1, "a", consent=True))
    night.unsubscribe("a")
    night(person(1, "a", email_opt_in=True, firstname="B"))
    night(one(1, "b", consent=True))
    night(one(1, "b", consent=True), unchanged_contacts="send")
    assert night.held == [(None, "b", False, "First1")]
