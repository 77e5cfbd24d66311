"""Changed addresses: one person stays one contact, or is named with the contact left behind."""

import time

from tests.histories import histories, play
from tests.ledger.outside import Night
from tests.loads import Record, cases, record, schema, state
from tests.rounds import quick


@histories("""
a search whose first try arrives after the rename opts no contact in
  1-2 p# yes; lose; 1 new1 yes, 2 p2 yes; land ? yes new1 p2
a contact left behind, as another has the new address and its own was deleted, gets no yes
  switch clash=conflict; 1-2 p# yes, 3 new1; forget --key 3; delete p1; 1 new1 yes, 2 p2 yes
  ? 0 moved, names 1 > new1 yes 1, p1 None, p2 yes 2
but the search carries a no even where no contact can be renamed
  switch clash=conflict; 1-2 p# yes, 3 new1; forget --key 3; delete p1; 1 new1 no, 2 p2 yes
  ? 0 moved, names 1, yes p2, no new1 p1
a status that names no contact moves none: an id is not positive, or no contact has it
  1-3 p# yes; says search updated:[0|-5|9223372036854775807|999|"1000001x"|null|1000001];
  1-3 new# yes ? 0 moved, names 1-3 > new1-3 yes #, p1-3 yes #
only a status with the id counts as moved: that of the rename
  set report; 1-2 p# yes; says rename [inserted:7|updated:7|skipped:7]; 1 new1 yes, 2 p2 yes
  ? 0 moved, names 1 > new1 yes 1, p2 yes 2
a rename of unknown end raises no old yes: the upsert after it may reach the same contact
  set omit; 1-2 p# yes; unsubscribe p1; says rename; 1 new1 yes, 2 p2 yes ? names 1
  > new1 no 1, p2 yes 2
who has lost a number and may have moved has one contact, which keeps the number; year 130103
  set report; 1 p1 +1; says rename; 1 new1 yes ? names 1; 1 new1 yes > new1 +1 yes 1
who is back after a second contact was made has the first one: renamed, both would be the same
  set require; 1-2 p# yes; says any; 1 new1 yes, 2 p2 yes ? fails; says truth; 1-2 p# yes
  ? yes p1 p2, there new1 p1 p2
a person who moved back is sent whole: the search has made a contact without data
  1-2 p# yes; delete p1; 1 new1 yes, 2 p2 yes; 1-2 p# yes
  > new1 no 1, p1-2 yes #
or the rename has left the address unseen
  1-2 p# yes; says rename; 1 new1 yes, 2 p2 yes; says truth; 1-2 p# yes
  > new1 no 1, p1-2 yes #
a contact that a lost change may take back is sent whole for a day; year 120007
  1 a yes; 1 b yes !lost@2:batch; 1 c yes; days 0.1; again ? 1 batches; days 0.2; again ? 1 batches;
  days 1.3; again; days 1.4; again ? 0 batches > c yes 1
who comes to an address that a lost request names is sent whole for a day; year 150190
  1-2 p#; lose; 1 p1 =A, 2 p2; 1 new1 =A, 2 p1; land > new1 A, p1 A; 1 new1 =A, 2 p1 > new1 A, p1 2
a contact whose batch failed and that was a probe follows its person; year 140033
  set report one_by_one; 1 p1 yes, 2 bad !fail@1:batch ? 1 batch_failed, there p1;
  1 new1 yes ? 1 moved, there new1
a contact is not opted out whose person may have left it or not; year 15799725
  set impatient max_concurrent_requests=1; 1 a yes, 2 p2, users:1 a yes;
  1 bad yes, 2 p2, users:1 bad yes !reset@[4|5|6|7]:batch; 1 bad yes, 2 p2, users:1 bad yes ? fails;
  1 bad yes, 2 p2, users:1 a yes ? no
who comes to an address that an interrupted change may have left is sent whole; year 230121
  set impatient; 1 a city=Oslo, 2 p2 city=Oslo; 1 b city=Oslo !lost@2:batch ? fails; 2 a city=Oslo
  > a 2 city=Oslo, b 1 city=Oslo, p2 no 2 city=Oslo
what an interrupted change of address has brought does not stay; year 200094
  set impatient; 1-2 p#; 1 new1 =A, 2 p2 !lost@2:batch ? fails > new1 A, p2 2; 1 new1, 2 p2
  > new1 1, p2 2
an interrupted change that goes on to the contact of somebody gone makes no second one; year 570
  set full impatient; 1 a, 2-3 p#; 2-3 p#; 2-3 p#; 2 c, 3 p3 !503@2-99:batch ? fails; 2 a, 3 p3
  ? names 2 > a 2, p2 no 2, p3 3
people whom an interrupted run has found move elsewhere only within 'max_drift_percent'; year 617
  set impatient drift; 1-12 p#; 1-12 b# !503@13-99:batch ? fails; set max_drift_percent=5;
  1-12 [b# ? 12 moved|p# > p1-12 #|c# ? fails, reason max_drift_percent, there p1-12]
a contact that a run without an end may take back is sent whole, too; year 788
  set impatient; 1-2 p#; 1 b, 2 p2 !503@2-9:batch ? fails; lose; 1 [p1 =A|d =A], 2 p2 ? fails;
  1 c =B, 2 p2 ? 1 moved; land; again ? 1 batches; days 1.5; again; days 2; again ? 0 batches
people who are where they were in their last record have not moved; year 685
  1-12 p#; 1-12 old#, 1-12 p# > p1-12 #
a batch of a move that fails counts once, however many people were to move in it
  set report max_rejects_percent=100; 1-3 p# yes; 1-2 new# yes, 3 p3 yes !fail@3:batch
  ? says MainBrainer says that 1 batch of 2 contacts
""")
def test_one_person_stays_one_contact_or_is_named(night: Night, story: str) -> None:
    """Also if something is lost, late or not said on the way."""
    play(night, story)


def test_a_restored_ledger_makes_no_second_contact_opted_in(night: Night) -> None:
    """It says that a person has the old address still; `unchanged_contacts: send` is the advice."""
    moved = "1 new1 yes, 2 p2 yes"
    night("1-2 p# yes")
    files = {path: path.read_bytes() for path in night.folder.glob("ledger.db*")}
    night(moved)
    for path in night.folder.glob("ledger.db*"):
        path.unlink()
    for path, content in files.items():
        path.write_bytes(content)
    assert night(moved, unchanged_contacts="send").ok().count("moved") == 0
    assert len(night.addresses) == len({*night.addresses}), "no two have one address"
    assert night.said(True) == {"new1", "p2"}


def test_a_search_never_carries_a_yes(night: Night) -> None:
    """Nor anything else than the old combination and what is withdrawn."""
    night("1 p1 +1 yes sms")
    night("1 new1 +1 yes nosms")
    known = {"email": "p1@example.com", "mobileCountryCode": 47, "mobileNumber": 90000001}
    assert night.sent[1] == known | {"mobileOptIn": False}
    assert night.all_of("email_opt_in", "mobile_opt_in") == {"new1@example.com": (True, False)}


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


def test_people_who_share_a_number_move_side_by_side(night: Night) -> None:
    """Ten of them one after the other would take ten times as long."""
    night("0-9 p# +1 yes")
    before = len(night.crm.requests())
    ended = night("0-9 new# +1 yes", faults="latency=1:batch")
    assert ended.count("moved") == 10
    assert night.addresses == [f"new{n}" for n in range(10)]
    sent = [request for request in night.crm.requests()[before:] if request.method == "POST"]
    at_once = max(sum(one.overlaps(other) for other in sent) for one in sent)
    assert at_once >= 3, "one after the other, it would be 1"


def test_addresses_that_change_often_in_one_run_wait_for_nothing(night: Night) -> None:
    """Each closes a round that sends nothing, as its contact is delivered at the end."""
    night.patch.setattr(quick.TICK, 2.0)
    began = time.monotonic()
    ended = night(", ".join(f"1 p1-{n} yes" for n in range(21))).ok()
    assert time.monotonic() - began < 20
    assert (ended.count("merged"), ended.count("moved")) == (19, 1)
    assert night.said(True) == {"p1-20"}
