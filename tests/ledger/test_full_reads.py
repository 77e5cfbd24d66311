"""Full reads and missing people: nothing follows from what did not come once."""

import json

from tests.histories import histories, play
from tests.ledger.outside import FULL, OPT_OUT, Night
from tests.loads import lines_of, schema


@histories("""
only a setting makes a read full: ACTIVATE_VERSION has no effect
  set drift maps missing_records=[opt_out|ignore]; 1-8 p# yes city=Oslo @1, activate 1;
  [activate 1|activate 2|1 p1 city=nowhere @1, activate 1|1 p1 yes city=Oslo, activate 1
  |activate 4, 1 p1 yes city=Oslo @4|1 p1 yes city=Oslo @5, activate 5]; again; again ? no;
  1-8 new# yes city=Oslo ? there new1-8
an empty full read opts no contact out and fails, every time: more than half of a stream is missing
  set opt_out; 1-8 p# yes; none ? no, fails 8 are missing, says (100) or half,
  says forget them with 'mainbrainer-ledger forget'; again ? fails, no; again ? fails, no;
  1-8 p# yes ? yes p1-8
a rejects file that is loaded again is no full read: the others are in the source still
  set opt_out max_rejects_percent=100; 0-29 p# yes; 0-24 p# email_opt_in=perhaps, 25-29 p# yes;
  reload ? 0 missing, says or come from a rejects file; reload ? 0 missing, 0 gone, no
full_table on a stream that is read by its changes, of which there may be none, warns and costs none
  1-60 p# yes; set full; [none; none; none|1-2 p# yes =A; 3-4 p# yes =A; 5-6 p# yes =A] ? 0 gone,
  warns missing; set streams={} drift; 40-49 new# yes ? yes p1-39 new40-49 p50-60
who is in the source is not missing: its stream map fails or leaves it out, or it cannot be mapped
  set opt_out maps; 1-4 p# yes city=Oslo;
  1 p1 yes city=Oslo, 3-4 p# yes city=Oslo, 2 [p2 city:null|p2 city=nowhere|email=x city=Oslo] yes
  ? 0 gone; again ? 0 gone; again ? 0 gone, no
and a record without a key, or without an address, too, makes the read incomplete
  set opt_out maps; 1-4 p# yes city=Oslo; 1 p1 yes city=Oslo, 3-4 p# yes city=Oslo,
  2 [b|email=x] id:null yes city=Oslo ? 0 gone; again ? 0 gone; again ? 0 gone, no
a tap that ends early once costs no consent: who is gone is missing in two full reads in a row
  set opt_out; 0-99 p# yes; 0-96 p# yes ? 3 missing, 0 gone; 0-99 p# yes; 0-96 p# yes ? 0 gone;
  0-99 p# yes; 0-94 p# yes ? 5 missing, 0 gone; 0-99 p# yes ? 0 missing, no
a run that fails is no full read, as it may be run again at once
  set opt_out; 1-3 p# yes, 9 p9 yes; 1-3 p# yes =New !422:batch ? fails; 1-3 p# yes ? 1 missing, no;
  again ? no p9
a return ends the row of absences, even if the run fails before a move, or the record is rejected
  set opt_out impatient max_rejects_percent=100; 1-3 p# yes, 9 p9 yes; 1-3 p# yes;
  1-3 p# yes, 9 [new9 yes !503 ? fails|p9 email_opt_in=perhaps]; 1-3 p# yes ? 1 missing, 0 gone, no
who is missing in two full reads in a row is opted out once, on both channels, and may come back
  set opt_out; 1-3 p# yes, 9 p9 +9 yes sms; 1-3 p# yes ? no; again ? 1 gone, no p9
  > p1-3 yes #, p9 +9 no nosms 9; again ? 0 gone, 0 batches; 1-3 p# yes, 9 p9 +9 yes sms ? no
who moves and is back in one night has not moved, else one more missing would be too many
  set opt_out max_drift_percent=0; 0-29 p# yes; 0 new0 yes, 0-19 p# yes; again ? 10 gone, no p20-29
a deletion with its key alone, as log-based taps write it, opts the person out
  set deleted; 1-2 p# yes; 1 [bare|firstname:null] deleted ? 0 rejected, yes p2, no p1
who is new and deleted in one run has no consent: the ledger does not know the key yet; year 97020
  set report deleted; 2 p2 yes; 1 p1 yes, 1 bare deleted ? yes p2
also while an earlier round is sent
  set report deleted; 2 p2 yes; 1 p1 yes, u:1 p1 yes, u:1 bare deleted, 1 bare deleted ? yes p2
also when the owner of the address has left it
  set report deleted; 2 p2 yes; 1 p2 yes, 2 new2 yes, 1 bare deleted ? yes new2
other keys for the same people send nothing: what was delivered is kept by identity
  set field_map={"id":null} drift; 0-19 p# yes; [customers:0-19 p# yes|0-19 id:"#" p# yes
  |0-19 id:#.0 p# yes|0-19 id=C-# p# yes|0-19 id:10# p# yes] ? 0 batches; again; again ? 0 batches,
  there p0-19
who changes then is followed under a number that is text now
  set field_map={"id":null} drift; 0-19 p# yes; 0-19 id:"#" p# yes; 7 id:"#" new7 yes ? 1 moved
and has a second contact, which is named, under another key, as the old key is held to be there
  set field_map={"id":null} drift; 0-19 p# yes; [customers:0-19 p# yes; customers:7 new7 yes
  |0-19 id=C-# p# yes; 7 id=C-# new7 yes] ? warns not be followed, there p0-19 new7
people whose keys are of another kind now are not opted out, though the old ones are missing
  set opt_out field_map={"id":null}; 0-19 p# yes; 0-19 id:"#" p# yes; again; again ? yes p0-19
a dropped stream is forgotten after thirty days: who goes is opted out, and who changes is followed
  set opt_out streams={"people":{"full_table":true},"customers":{"full_table":true}}; 0-19 p# yes;
  days 1; customers:0-19 p# yes; days 40; again; days 41;
  customers:0-6 p# yes, customers:7 new7 yes, customers:9-19 p# yes; days 42; again ? no p8,
  there p0-6 new7 p8-19
a no of a rejected record reaches who is new in the same run
  2 p2 yes; 1 p1 yes, 1 email=p1 no ? yes p2, no p1
""")
def test_nothing_follows_from_what_did_not_come_once(night: Night, story: str) -> None:
    """And what is said once is enough."""
    play(night, story)


def test_a_stream_with_bookmarks_that_is_said_to_be_read_in_full_is_warned_of(night: Night) -> None:
    """The tap's SCHEMA message announces that it reads changes."""
    bookmarked = json.dumps(json.loads(schema()) | {"bookmark_properties": ["id"]})
    assert any("full_table" in line for line in night(bookmarked, **FULL).warnings)


def test_a_run_that_fails_is_no_full_read(night: Night) -> None:
    """Its input did not end whole, so that no person was missing in it."""
    night.settings |= OPT_OUT
    night("0-99 p# yes")
    assert night(*lines_of("0-96 p# yes")[:-1], "{half a li").code == 1
    night("0-96 p# yes").ok()
    assert night.said(False) == set()
