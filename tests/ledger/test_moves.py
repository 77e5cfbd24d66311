"""One person stays one contact: what the CRM holds after each history of a changed identity."""

import pytest

from tests.ledger.outside import FULL, OMIT, OPT_OUT, REPORT, Moment, Night, on_both_databases
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


CONSENT = {"yes": True, "no": False}


def people(text: str, name: str = "First") -> list[str]:
    """Return the people of `1 a, 2 b +1 yes =Name, 3 deleted`.

    These are a key, a part of the address, the last digit of a number, consent and a first name.
    """
    found = []
    for key, *words in (said.split(" ") for said in text.split(", ") if said):
        one: Record = {"email": None, "mobile": None, "firstname": f"{name}{key}"}
        for word in words:
            if word in CONSENT:
                one["email_opt_in"] = CONSENT[word]
            elif word == "deleted":
                one["_sdc_deleted_at"] = "2026-11-01T00:00:00Z"
            elif word[0] in "+=":
                one["mobile" if word[0] == "+" else "firstname"] = word[1:]
            else:
                one["email"] = word
        one["mobile"] = one["mobile"] and f"+479000000{one['mobile']}"
        found.append(person(int(key), **one))
    return found


def held(night: Night, name: str = "First") -> str:
    """Return the contacts as `people` has them, with the key of whose data they have."""

    def of(number: str | None, email: str, consent: bool | None, first: str | None) -> str:
        said = [word for word, meant in CONSENT.items() if meant is consent]
        who = str(first).removeprefix(name)
        return " ".join(filter(None, [email, f"+{number[-1]}" if number else "", *said, who]))

    return ", ".join(sorted(of(*one) for one in night.held))


SETTINGS: dict[str, Record] = {
    "omit": OMIT,
    "report": REPORT,
    "full": FULL,
    "opt_out": OPT_OUT,
    "create": {"identity_changes": "create"},
    "deleted": {"deleted_records": "opt_out"},
    "single": {"batch_size_rows": 1},
    "everything": {"unchanged_contacts": "send"},
    "require": {"confirm_batches": "require"},
    "hasty": {"confirm_timeout_seconds": 1},
    "patient": {"confirm_timeout_seconds": 60},
    "impatient": {"retry_max_seconds": 0},
    "drift": {"max_drift_percent": 100},
}
STORIES = """
a no on the way is delivered
  1 a yes; 1 b no, 1 c > c no 1
a yes after a no is raised
  set omit; 1 a yes; 1 a no; 1 a yes > a yes 1
a lost answer is not taken for unchanged
  set impatient; 1 a =A; 1 a =B !lost:batch; 1 a =A > a A
a refused first delivery is corrected
  1 bad; 1 good, 2 x > good 1, x 2
and in the same run
  1 bad, 1 good, 2 x > good 1, x 2
who was refused follows to the next: the contact is where it was
  1 a, 2 x; 1 bad =New, 2 x =New; 1 good, 2 x > 1 moved: good 1, x 2
in two records, which are one contact, and then alone
  1 a, 2 x; 1 bad, 1 bad =New, 2 x =New; 1 good, 2 x > 1 moved: good 1, x 2
for its case only, as some refuse it; year 80303
  1 BAD, 2 x; 1 bad =New, 2 x =New; 1 good, 2 x > 1 moved: good 1, x 2
and after a lost answer, so that it is not known that the address is bad; year 88064
  set impatient; 1 a, 2 x; 1 bad, 2 x !reset@3:batch; days 2; 1 bad, 2 x =B; 1 good > good 1, x B
and the same day, though the lost request was that for a second contact
  1 a, 2 x; 1 bad, 2 x =New !lost@4:batch; 1 good, 2 x =New > 1 moved: good 1, x New
a contact that moves is not sent once more to prove a refusal: it would be a second one
  1 a; 1 b, 9 bad > 1 rejected: b 1
nor one that has moved
  set single; 1 a yes; 1 a yes =New, 1 b no, 9 bad > 1 rejected: b no 1
a second contact does not get the number of the first one; year 7
  set report hasty; 1 a +1; 1 b !503:status; set patient; 1 c > 1 moved: a +1 1, c 1
nor with confirmation
  set require hasty; 1 a +1; 1 b !503:status; set patient; 1 c > 1 moved: a +1 1, c 1
an address that a failed change did not reach is free; year 80233
  set report; 1 a; 1 b !fail@2:batch; 1 a; 1 b > 1 moved: b 1
an address is free when its contact has left it, else its record would leave, too; year 9124
  set report; 1 a, 2 x; 1 b, 2 a !fail@2:batch; 1 b, 2 a > 2 moved: a 2, b 1
also for who is new
  set report; 1 a; 1 b, 2 a !fail@2:batch; 1 b, 2 a > 1 moved: a 2, b 1
who cannot be brought back after an interrupted change is sent anew; year 86003
  1 a; 1 b !kill GET 2 before; 1 a !422@1-99:batch; 1 a > a 1
who stays where an interrupted change began is sent anew: the contact may have gone with the other
  1 a, 2 a; 1 b, 2 b !kill GET 2 before; 1 b, 2 a; 1 b, 2 a; 1 c, 2 a > 1 moved: a 2, c 1
an address that a contact has left again, before its run knew, is free; year 83041
  1 a yes; 1 b yes !kill GET 2 before; 1 a yes; 1 b yes > 1 moved: b yes 1
who is deleted between kill and rename is made anew, with the yes
  set omit; 1 a yes; 1 b yes !kill POST 2 before; delete a; 1 b yes > 0 moved: b yes 1
who is back after a kill keeps what was added, as the CRM may have it
  1 +1; 1 a +1 !kill POST 2 before; 1 +1; 1 +1 =Later > a +1 Later
and has it
  1 +1; 1 a +1 !kill POST 2 after; 1 +1; 1 +1 =Later > a +1 Later
a contact that another comes to is not opted out
  1 a yes, 2 b yes; 1 b yes, 2 b yes; 1 b yes, 2 c yes; 1 a yes, 2 b > a yes 1, b yes 2, c no 2
nor without its number; year 96126
  set report; 1 a +1 yes, 2 a +1 yes, 3 b yes; 1 b yes, 2 a +1 yes, 3 a +1 yes > a +1 yes 3, b yes 1
nor if its person is gone: a yes after it would be a new one; year 71026
  set opt_out omit; 1 a yes, 2 b yes; 2 b yes; unsubscribe a; 2 a yes > 0 opted_out: a no 2, b no 2
who is back at a contact that an opt-out has made anew is sent whole
  set report; 1 a, 2 b; delete a; 1 b, 2 b; 1 a, 2 b > a no 1, b 2
and so is who was gone
  set opt_out report; 1 a, 2 b, 3 c; delete c; 1 a, 2 b; 1 a, 2 b; 1 a, 2 b, 3 c > a 1, b 2, c no 3
who is gone and comes back is known
  set full drift; 1 a, 2 b; 1 a; 1 a; 1 a; 1 a, 2 b > 2 unchanged: a 1, b 2
who is gone and was always refused is not created to be opted out
  set opt_out; 1 a yes, 2 bad yes; switch refuse_email=; 1 a yes; 1 a yes; 1 a yes > a yes 1
who is gone after a kill is opted out under both addresses
  set opt_out create; 1 a yes, 2 x; 1 b yes, 2 x !kill POST 1 after; 2 x; 2 x > a no 1, b no 1, x 2
an opt-out that was not confirmed is tried again
  set opt_out report; 1 a yes, 2 b yes; 1 a yes; 1 a yes !fail:batch; 1 a yes > a yes 1, b no 2
of two customers merged at the source one contact is written to, and the other is opted out
  set opt_out; 1 a yes, 2 b yes; 2 a yes =M; 2 a yes =M; 2 a yes =M > a yes M, b no 2
and a no reaches the first
  set opt_out; 1 a yes, 2 b yes; 2 a yes =M; 2 a yes =M; 2 a no > a no 2, b no 2
a contact that has moved is not made anew where it was; year 87063
  set report; 1 a, 2 b; delete b; 1 a =A, 2 b =A, 1 c =A > 1 moved, 1 recreated: b A, c A
an opt-out that makes a contact anew leaves the yes that comes after it; year 95231
  set report deleted; 1 a yes, 2 b yes; delete a; 1 deleted, 2 a yes > 1 recreated: a yes 2, b no 2
a yes after a deletion is no new one: the person is there under another key
  set omit deleted; 1 a yes, 2 b yes; unsubscribe a; 1 deleted, 3 a yes, 2 b yes > a no 3, b yes 2
who has another contact and is deleted in one run has no consent; year 130101
  set create deleted; 1 a yes, 2 b yes; 1 c yes, 1 deleted > a yes 1, b yes 2, c no 1
a deletion of an unknown person creates no contact: it would be billed
  set deleted; 1 a yes; 9 deleted, 8 b yes deleted > a yes 1
a contact of which nothing was delivered is new, and no correction by hand is looked for; year 60135
  set report; 1 a, 2 b !fail@1:batch; 1 a, 2 c > 2 created, 2 inserted: a 1, c 2
an opt-in that the search resets is given again with the new address
  switch opt_in_on_update=reset; 1 a yes; 1 b yes > b yes 1
an unsubscription survives a new address
  set omit; 1 a yes; unsubscribe a; 1 a yes =B; 1 b yes; set everything; 1 b yes > b no 1
and a year in which the source says nothing
  set omit; 1 a yes; unsubscribe a; 1 a =A; days 365; 1 a yes =A > a no A
a refused contact is sent again and again
  1 a, 2 bad; 1 a =B, 2 bad > 1 accepted, 1 rejected: a B
until it is accepted
  1 a, 2 bad; 1 a, 2 bad; 1 a, 2 c > 1 unchanged, 1 created: a 1, c 2
contacts with a number alone are known apart, and so are those who share an address
  1 +1, 2 +2, 3 a +1, 4 a; 1 +1, 2 +2, 3 a +1, 4 a > 4 unchanged: +1 1, +2 2, a +1 3, a 4
a yes is withheld from who is on the suppression list
  listed a@example.com; 1 a yes, 2 b yes > a 1, b yes 2
a withheld yes, which was never said, is sent once the list is empty
  listed a@example.com; 1 a yes, 2 b; 1 a yes, 2 b; listed; 1 a yes, 2 b > a yes 1, b 2
also if a yes is sent only once
  set omit; listed a@example.com; 1 a yes, 2 b; 1 a yes, 2 b; listed; 1 a yes, 2 b > a yes 1, b 2
a yes that was said is not raised when its address leaves the list, after an unsubscription
  set omit; 1 a yes; listed a@example.com; 1 a yes =A; unsubscribe a; listed; 1 a yes =B > a no B
a name that was corrected by hand stays while consent changes
  1 a; edit a firstname=Hand; 1 a yes > a yes Hand
and with another address
  1 a yes; edit a firstname=Hand; 1 b yes > b yes Hand
who was deleted by hand is made anew
  set report omit; 1 a yes, 2 x; delete a; 1 a yes =New, 2 x > 1 recreated: a yes New, x 2
also if every yes is sent
  set report; 1 a yes, 2 x; delete a; 1 a yes =New, 2 x > 1 recreated: a yes New, x 2
also with another address, and the contact that the search makes anew gets no yes
  set omit; 1 a yes; delete a; 1 b yes; 1 c yes; 1 d yes > a None, d yes 1
whose address was corrected by hand has two contacts
  set report omit; 1 a yes; edit a email=h@example.com; 1 a yes =N > 1 recreated: a yes N, h yes 1
also if every yes is sent, and stays so
  set report; 1 a yes; edit a email=h@example.com; 1 a yes =N; 1 a yes =N > a yes N, h yes 1
and if it changes at the source, too
  set report omit; 1 a yes; edit a email=h@example.com; 1 b yes > a None, b yes 1, h yes 1
an unsubscription is respected though an answer is lost
  set report omit; 1 a yes; unsubscribe a; 1 a yes =New !lost@1:batch; 1 a yes =New > a no New
and a batch is late
  set report omit; 1 a yes; unsubscribe a; 1 b yes !late=0.05:batch; 1 b yes > b no 1
a search that fails afterwards leaves one contact behind
  set report; 1 a yes, 2 x; 1 b yes, 2 x !fail@1:batch; 1 b yes, 2 x > a yes 1, b yes 1, x 2
and a rename that fails is made again
  set report; 1 a yes, 2 x; 1 b yes, 2 x !fail@2:batch; 1 b yes, 2 x > b yes 1, x 2
people who swap are set aside, and a no of theirs is delivered, but neither a yes nor a name
  1 a yes, 2 b no, 3 c; 1 b no, 2 a yes, 3 d > 2 rejected: a no 1, b no 2, d 3
an address that a contact still has is given to no other, or a no would reach one of them
  1 a yes, 2 b yes, 3 c yes; 1 b yes; 1 a yes, 3 a yes; 1 a no, 3 a no > a no 3, b yes 1, c no 3
""".strip().splitlines()


ON = [
    ("sqlite" if n % 4 or "days" in story else "postgresql", story)  # which has a clock of its own
    for n, story in enumerate(STORIES[1::2])
]


@pytest.mark.parametrize(("ledger_uri", "story"), ON, ids=STORIES[::2], indirect=["ledger_uri"])
def test_what_the_crm_holds_after_nights(night: Night, story: str) -> None:
    """A night has people, and a fault or a kill; in between, something is done by hand.

    The last one ends well; some of its counts stand before what the CRM holds.
    """
    night.crm.set_switches(refuse_email="bad")
    night.keep_rejects()
    if "!kill" in story:
        night.between()
    nights, _, expected = story.strip().partition(" > ")
    for told in nights.split("; "):
        verb, _, rest = told.partition(" ")
        text, _, fault = told.partition(" !")
        if verb == "set":
            night.settings |= {k: v for one in rest.split() for k, v in SETTINGS[one].items()}
        elif verb == "switch":
            night.crm.set_switches(**dict([rest.split("=")]))
        elif verb == "edit":
            night.edit(rest[0], **dict([rest[2:].split("=")]))
        elif verb == "days":
            night.days_later(int(rest))
        elif not verb.isdigit():
            night.settings |= getattr(night, verb)(*rest.split()) or {}
        elif fault.startswith("kill"):
            _, what, number, when = fault.split(" ")
            night.killed(*people(text), at=Moment(what, int(number), when))
        else:
            ended = night(*people(text), faults=fault)
    counts, _, there = expected.rpartition(": ")
    for count, name in (said.split(" ") for said in counts.split(", ") if said):
        assert ended.ok().count(name) == int(count)
    assert held(night) == there


@cases(
    "first then count there",
    # There is one contact if both change, a part comes, one is lost, or only case differs.
    ("1 a +1", "1 b +1", "1 moved", "b +1 1"),
    ("1 a +1", "1 a +2", "1 moved", "a +2 1"),
    ("1 a +1", "1 b +2", "1 moved", "b +2 1"),
    ("1 a", "1 a +1", "1 moved", "a +1 1"),
    ("1 +1", "1 a +1", "1 moved", "a +1 1"),
    ("1 a", "1 +1", "1 moved", "a +1 1"),
    ("1 a +1", "1 +2", "1 moved", "a +2 1"),
    ("1 a +1", "1 A +1", "1 moved", "A +1 1"),
    # A chain resolves in any order.
    ("0 d, 1 c", "2 d, 0 c, 1 e", "2 moved", "c 0, d 2, e 1"),
    # Twins move together, also if one has lost a part.
    ("1 a, 2 a", "1 b, 2 b", "2 moved", "b 2"),
    ("1 +1, 2 +1", "1 a +1, 2 a", "2 moved", "a +1 2"),
    # Twins spelt in two ways have two contacts, and one is named.
    ("1 a, 2 A", "1 b, 2 b", "1 not_followed", "A no 2, b 2"),
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

    assert held(night) == there
    night(*people(then))
    assert held(night) == there
    last = {said.split(" ")[0]: said for said in then.split(", ")}
    night(*people(", ".join(last.values()), "Later"))
    assert held(night, "Later") == there or name == "not_followed"


# Refusals


@pytest.fixture
def refusing(night: Night) -> Night:
    night.crm.set_switches(refuse_email="bad")
    return night


def test_a_search_that_is_accepted_proves_no_refusal(refusing: Night) -> None:
    """It has no properties: the list or a property may be at fault, so the run fails."""
    refusing.keep_rejects()
    refusing(one(1, "a"))
    assert refusing(one(1, "bad")).failed("Nothing was accepted").states == []


# What the CRM says


@cases("faults", "noid:batch", "stuck@1:batch", "503:status")
def test_without_a_status_it_is_a_second_contact_with_a_warning(night: Night, faults: str) -> None:
    night(one(1, "a"))
    ended = night(one(1, "b"), confirm_timeout_seconds=1, faults=faults).ok()
    assert ended.count("not_followed") == 1
    assert ended.log.count("could not be followed") == 1
    assert ended.names(1)
    assert emails(night) == ["a", "b"]
    assert night(one(1, "b")).count("unchanged") == 1


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


def test_moves_that_an_earlier_run_has_begun_are_no_drift(night: Night) -> None:
    """More than ten that MainBrainer has failed would fail every later night of a small stream."""
    night(*(one(n, f"p{n}") for n in range(12)))
    renamed = [one(n, f"q{n}") for n in range(12)]
    assert night(*renamed, faults="fail@13:batch", max_drift_percent=100).count("moved") == 0
    assert night(*renamed).count("moved") == 12
    assert len(night.held) == 12


def test_a_move_takes_a_request_and_a_share_of_another(night: Night) -> None:
    """And questions about their statuses."""
    night(*(one(n, f"p{n}") for n in range(20)))
    ended = night(*(one(n, f"q{n}") for n in range(20)), max_drift_percent=100)
    assert (ended.count("moved"), night.posts) == (20, 1 + 20 + 1)
