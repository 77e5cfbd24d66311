"""With a ledger a run sends what has changed, and the CRM ends as if it had sent everything."""

import contextlib
import sqlite3

from tests.histories import histories, play
from tests.ledger.outside import Night
from tests.loads import Record, cases, person, record, schema, state


@histories("""
what has not changed is not sent *
  0-29 p# ? 30 read, 30 accepted, 30 created; again ? 30 unchanged, bookmark 30, 0 batches
what has changed is sent and counted *
  1 a yes, 2 b, 3 c; 1 a no, 2 b yes, 3 c, 4 d ? 3 accepted, 1 unchanged, 1 created, 2 updates,
  1 opt_ins_given, 1 opt_ins_withdrawn > a no 1, b yes 2, c 3, d 4
a changed mapping sends what it changes
  1 a, 2 b firstname:null; set renamed; again ? 1 accepted, 1 unchanged, 1 updates
a null that begins to clear is sent
  1 a; 1 a firstname:null > a 1; set null_values=clear; again ? 1 accepted > a None
a changed list sends everybody
  1 a; set list_id=00000000-0000-4000-8000-000000000001; again ? 1 accepted; again ? 1 unchanged
the no of a rejected record is sent: the number is none, is empty, or does not fit the schema
  1 +1; 1 mobile[=1|=|:null|:5] no ? 1 rejected > +1 no 1
and STATE waits for it
  [set impatient; 1 a yes; 1 a mobile=1 no !503:batch|set require; 1 a yes; 1 a mobile=1 no !fail]
  ? fails, 1 rejected, bookmark 0 > a yes 1
a refusal of it is named
  1 a yes; switch refuse_email=a; 1 a mobile=1 no ? 1 rejected, bookmark 1, says opt-out refused_422
and so is a status that says that it was not applied
  set report hasty; 1 a yes; 1 a mobile=1 no ![skip:batch ? warns skipped contacts
  |fail:batch ? warns Their records are|stuck:batch ? warns had not confirmed]
a later yes counts, and what is left of an unknown identity creates no contact
  1 a mobile=1 no, 1 a yes, 2 email=x +2 no ? 2 rejected > a yes 1
rejected records of one address say no; the ledger refused the second one; year 71079 *
  1 a, 2 a; 1 a mobile=1 no, 2 a mobile=1 no ? 2 rejected > a no 2
also in two spellings *
  1 a, 2 A; 1 a mobile=1 no, 2 A mobile=1 no ? 2 rejected > A no 2, a no 1
who comes to a contact that such a no has recreated is sent whole; year 310018
  set report; 1 a city=Oslo, 2 b city=Oslo; delete a; 1 a mobile=1 no, 2 a city=Oslo ? 1 rejected;
  again > a no 2 city=Oslo, b no 2 city=Oslo
a column that is away while its contact is recreated is sent when it is back; year 40045
  limit round.MAX_CONTACTS 1; set report; 1 a city=Oslo; delete a; 1 a =B, 1 a =C;
  1 a =C city=Oslo > a C city=Oslo
only what has changed leaves
  1 a city=Oslo; edit a firstname=Hand; 1 a city=Bergen ? sends city > a Hand city=Bergen
also of a person whose address changes, several times in one load
  1 a city=Oslo; edit a firstname=Hand; 1 b city=Bergen, 1 c city=Bergen ? sends city
  > c Hand city=Bergen
everything leaves with send, of contacts that have changed and of others, and is remembered
  1 a, 2 b; set everything; 1 a =A, 2 b ? 2 accepted, sends id firstname;
  set unchanged_contacts=skip; again ? 2 unchanged
once is for new contacts
  set once; 1 a =web; edit a source=; 1 a =shop; 1 b =web > b None
a person who is not followed gets a new contact, and so its first source
  set once create; 1 a =web; edit a source=; 1 a =shop; 1 b =web > a None, b None source=web
a batch that fails afterwards is resent, and a yes with it, which has not reached MainBrainer
  set omit confirm_batches=[report|require]; 1 a [no|yes !fail:batch]; 1 a yes !fail:batch ? yes;
  again ? 1 accepted, yes a; again ? 1 unchanged
a contact that was a probe without an answer is sent again, as that may come late; year 76009 *
  set impatient single; 1 a, 9 bad9 !lost@3:batch ? fails The connection; 1 a ? 1 accepted
what a batch has lost is sent again though its contact went out once more; year 200035 *
  set report hasty; limit round.MAX_CONTACTS 1; 1 a;
  1 a city=Oslo, 1 a =New city=Oslo ![fail|stuck|skip]@1:batch; 1 a =New city=Oslo > a New city=Oslo
the unconfirmed is resent for a day: it may come after a later request, and undo it
  set confirm_batches=[none|report|require]; 1 a !lost@1:batch; days 0.05; again ? 1 accepted,
  1 resent; days 0.5; again ? 1 accepted, 1 resent; days 0.95; again ? 1 accepted, 1 resent;
  days 1.05; again; again ? 1 unchanged
also if the clock was ahead then
  days 400; 1 a !lost@1:batch; days 0; again ? 1 resent; days 1.05; again; again ? 1 unchanged
also what has no status
  set report confirm_timeout_seconds=0; 1 a !stuck:batch; set confirm_batches=none;
  days 0.05; again ? 1 accepted, 1 resent; days 0.95; again ? 1 accepted, 1 resent; days 1.05;
  again; again ? 1 unchanged
also what was lost before its repetition failed, or as the proof of a refusal; year 2044
  set one_by_one require; 1 a; 1 a =A, 2 bad ![lost@1:batch fail@2:batch|lost@3:batch]; days 0.05;
  1 a =B ? 1 accepted; days 0.1; again ? 1 accepted
what a lost request has changed is sent again though its repetition was refused; year 160074
  set one_by_one; 1 a, 2 b; 1 a =A, 2 b =B !lost@1:batch 422@2:batch ? 1 rejected, 1 accepted
  > a A, b B; 1 a, 2 b =B > a 1, b B
streams with other columns of a contact leave each other as they are: known is what any has sent
  a:1 bare email=p@example.com city=x; b:1 bare email=p@example.com job=x ? 1 delivered;
  a:1 bare email=p@example.com city=x ? 0 delivered;
  b:1 bare email=p@example.com job=x ? 0 delivered
a kill at any moment costs nothing but what is sent again, and no STATE is ahead *
  set full batch_size_rows=5; 1-20 p#, 99 p99; 1-24 p# =Other /4 !kill [POST 1 before|POST 1 after|
  POST 1 answered|POST 2 before|POST 2 after|POST 2 answered|POST 3 answered|STATE 1 answered]
  ? arrived Other; again > p1-24 Other, p99 99; again > p1-24 Other, p99 99
also while it asks for statuses *
  set full report batch_size_rows=5; 1-20 p#, 99 p99; 1-24 p# =Other /4 !kill GET 1 [before|after]
  ? arrived Other; again > p1-24 Other, p99 99; again > p1-24 Other, p99 99
streams without a key are known by identity
  letters:1-2 p# keyless ? 2 delivered, says has no 'key_properties' that identify people;
  again ? 0 delivered
a refused opt-out is reported and tried again
  set opt_out; 1 a yes, 2 b yes; 1 a yes; switch refuse_email=b@; again ? no,
  fails Stream 'people': 1 person is gone and could not be opted out; again ? fails, no;
  switch refuse_email=; again ? 1 opted_out, no b
changed columns are counted in a dry run
  0-299 p#; set dry_run=true; 0-39 p# =New, 40-299 p# ? says changed fields: 'firstname' in 40.
too many new contacts end a run before it creates one, and a dry run reads on and counts them
  set max_new_contacts=299 dry_run=true; 0-299 p# ? fails would create 300 contacts, 300 created,
  hides contacts or more, says 'max_new_contacts' allows 299, reason max_new_contacts;
  set dry_run=false; again ? there, fails would create 300 contacts or more, bookmark 0
too many missing fail the run *
  set opt_out max_drift_percent=5; 0-19 p# yes; 0-8 p# yes ? yes p0-19,
  fails Of 20 known people of stream 'people' 11 are missing
and count together with those who have moved *
  set opt_out max_drift_percent=5; 0-19 p# yes; 0-5 q# yes, 6-13 p# yes ? yes p0-19,
  fails 6 are missing and 6 have moved
""")
def test_the_crm_ends_as_if_everything_had_been_sent(night: Night, story: str) -> None:
    """And what is counted is what was done."""
    play(night, story)


def test_a_new_schema_in_mid_stream_is_compared_as_it_maps(night: Night) -> None:
    both = [schema(), person(1), schema({"id": {}, "email": {}}), person(2)]
    night.run(*both)
    assert night.run(*both).numbers == {"read": 2, "unchanged": 2}


@cases(
    "one other same",
    *((1, 1.0, True), (7, "7", True), ("7.0", 7, True), ("1.5", 1.5, True), ("a.0", "a.0", True)),
    (True, True, True),
    *(("007", 7, False), (True, 1, False), ("", 0, False), ("1", "1 ", False)),
    ("1.1", "1.10", False),
    *(("\ud800", "\ud800", True), ("\ud800", "\\ud800", False)),
    ids=ascii,
)
def test_a_key_has_several_spellings(night: Night, one: object, other: object, same: bool) -> None:
    """And its columns several orders."""
    for key, value, name in ((("id", "shop"), one, "a"), (("shop", "id"), other, "b")):
        columns: Record = {"id": {}, "shop": {}, "email": {}}
        row = record(id=value, shop="x", email=f"{name}@example.com")
        lines = schema(columns, key=key), row, state(done=True)
        night.run(*lines, unmapped_columns="ignore").ok()
    assert night.addresses == (["b"] if same else ["a", "b"])


def test_values_of_another_key_are_no_people_of_the_first(night: Night) -> None:
    """Else each would be renamed to another, and nothing is sent, until the ledger is told."""
    rows = [record(id=n, no=3 - n, email=f"{x}@example.com") for n, x in ((1, "a"), (2, "b"))]
    first, other = (schema("id no email", key=key) for key in (["id", "email"], ["no"]))
    night.run(first, *rows, other).failed("are no")
    assert "key: 'id', 'email'" in night.run(first, *rows).ok().log
    night.run(other, *rows).failed("are no, and the ledger knows its people by email, id:")
    night.run(other, *rows, stream_maps={"people": {"__alias__": "c"}}).ok()
    assert night.addresses == ["a", "b"]
    night.says("forget", "--stream", "people")
    night.run(other, *rows).ok()


def test_the_number_of_a_line_is_no_key_of_a_person(night: Night) -> None:
    """On the second night another person stands on the first line, and is not the same one."""
    columns = schema("_sdc_line_number email name", key=["_sdc_line_number"])
    for names in ("ab", "cb"):
        rows = [record(_sdc_line_number=n, email=f"{x}@example.com") for n, x in enumerate(names)]
        ended = night.run(columns, *rows, state(done=True))
        assert "has no 'key_properties' that identify people" in ended.log
    assert night.addresses == ["a", "b", "c"]


def test_what_a_fault_of_ours_interrupts_may_have_been_applied(night: Night) -> None:
    night("1 p1").ok()
    with night.patch.context() as patch:
        patch.setattr("target_mainbrainer.api.answers.decode_accepted", lambda *_: 1 / 0)
        night("1 p1 =B").failed("Unexpected ZeroDivisionError")
    assert night("1 p1").ok().count("accepted") == 1


def test_no_two_ledgers_know_the_same_value_by_the_same_bytes(night: Night) -> None:
    """So that one which leaks says nothing of the people in another."""
    known: list[set[bytes | int]] = []
    for name in ("one", "other"):
        night.settings["ledger_uri"] = str(night.folder / name)
        night("1 p1")
        with contextlib.closing(sqlite3.connect(night.settings["ledger_uri"])) as connection:
            query = "SELECT hash, spelling, fields FROM mainbrainer_contacts"
            ((hash_, spelling, fields),) = connection.execute(query)
        values = {fields[at + 4 : at + 12] for at in range(0, len(fields), 12)} - {bytes(8)}
        assert len(values) > 1
        known.append({hash_, spelling, *values})
    assert known[0].isdisjoint(known[1])
