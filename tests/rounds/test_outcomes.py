"""Every record ends in one counted outcome, and lasting trouble ends the run."""

import itertools
import re
import threading
import time
import typing as t

import pytest

from target_mainbrainer.report.counts import StreamReport
from tests.broken_server import OK, STALL
from tests.histories import loads, play
from tests.loads import Load, cases, lines_of, person, schema, state
from tests.rounds import quick
from tests.rounds.process import Process, Start

pytestmark = pytest.mark.usefixtures("hasty")


@loads("""
records arrive, STATE follows, and a second run inserts none of them
  set require; 1-250 p# ? bookmark 250, 250 inserted, 3 batches, there p1-250;
  again ? bookmark 250, 250 updated, 3 batches, there p1-250
every record ends in one outcome, through passing trouble
  1-6 p#, 7-9 bad#, 10-300 p#, 250-280 p#, 301-302 email:null, 303-305 p# deleted, members:1 m
  !503@p0.1 lost@p0.05 reset@p0.05 ? ok, 336 read, 3 refused_422, 2 no_identity,
  3 omitted, 0 undelivered, bookmark 337
a rejection that is neither kept nor allowed ends the run, and STATE is before it
  set rejects_path= [max_rejects=0|max_rejects=]; 1-30 p# /30, 31 email:null, 32-99 p#
  ? fails 'max_rejects', bookmark 30, 31 read, 1 rejected, 0 undelivered
as many as are allowed do not end it, but STATE stays before the first of them
  set rejects_path= max_rejects=2; 1-20 p# /20, 21-30 p#, 31-32 email:null /31, 33-99 p#
  ? bookmark 20, 2 rejected, says are not kept
one more does
  set rejects_path= max_rejects=2; 1-20 p# /20, 21-30 p#, 31-33 email:null /31, 34-99 p#
  ? fails 'max_rejects', bookmark 20, 33 read, 3 rejected, 0 undelivered
rejections that are kept hold nothing back, as long as they are allowed
  set max_rejects=[9|]; 1-30 p# /30, 31-39 email:null, 40-99 p# ? bookmark 99, 9 rejected,
  hides are not kept
one more ends the run, and STATE is before it
  set max_rejects=2; 1-30 p# /30, 31-33 email:null /32, 34-99 p# ? fails 'max_rejects', bookmark 32,
  33 read
too many refusals of the API stop the reading, too
  set rejects_path= max_concurrent_requests=2; limit round.MAX_CONTACTS 1000; 1-99 p# /50,
  100-114 bad#, 115-9000 p# !latency=0.02 ? fails 'max_rejects', bookmark 50,
  says later records were not read
a stream that is mostly rejected fails and holds STATE: what is wrong is the mapping
  set max_rejects_percent=[50; 1-11 email=cut-off@ /11, 21-30 p# ? kept 11
  |50; 1-20 email=cut-off@ /20 ? kept 20|0; 1-10 email=cut-off@ /10, 21-110 p# ? kept 10],
  bookmark 0, fails 'max_rejects_percent', reason max_rejects_percent
but not if it has just begun: rejections at its beginning hold STATE until good records follow
  set max_rejects_percent=[50; 1-10 email=cut-off@ /10, 21-30 p# ? kept 10
  |50; 1-19 email=cut-off@ /19 ? kept 19|100; 1-50 email=cut-off@ /50 ? kept 50
  |50; 1-30 email=cut-off@ /30, 31-60 p# ? kept 30], hides STATE is as it was
confirmation holds back no STATE whose batches are confirmed, however late or odd that is said
  set require patient max_concurrent_requests=1; 1-300 p# /50 ![late=0.3|odd|503@p0.5:status] ? ok,
  bookmark 300
but one whose batch is not, has failed, skips somebody or has no id; batches come in order
  set require max_concurrent_requests=1 confirm_timeout_seconds=4; 1-300 p# /50
  ![stuck@3:batch ? bookmark 200, fails not confirmed|fail@2:batch ? bookmark 100, fails failed
  |skip=2@2:batch ? bookmark 100, fails skipped contacts
  |noid@2:batch ? bookmark 100, fails without a batch id]
a status that does not confirm all is counted and warned of, if it is not required
  set report hasty; 1-10 p# ![skip=1@1:batch ? 9 inserted, 1 skipped, warns MainBrainer skipped
  |stuck@1:batch ? 10 unconfirmed, warns MainBrainer accepted 1 batch of 10], bookmark 10
required confirmation that never comes is not awaited for ever, nor is more and more sent meanwhile
  limit round.MAX_CONTACTS 20; limit load.MAX_UNCONFIRMED 50; set require hasty;
  1-300 p# !stuck:batch ? fails has confirmed no batch for 1 s, bookmark 0, 3 batches
contacts sent one by one are taken but untracked: there is no batch to ask for
  set require write_mode=single; 1-50 p# ? bookmark 50, 50 untracked, there p1-50,
  path /contacts/insertupdate
the records of a batch that fails, merged ones too, are kept, and are delivered when loaded again
  set report max_concurrent_requests=1; 1-150 p# /50, 101 p101 =again, 151-300 p# /50 !fail@2:batch
  ? bookmark 301, 101 batch_failed, kept 101, 100 failed, 0 rejected_before_sending,
  there p1-100 p201-300, says MainBrainer said: ; reload > p1-100 #, p101 again, p102-300 #
questions that are not required wait for no permit, as sending has used all of them
  set report hasty rate_limit_requests=5; 1-500 p# ? bookmark 500, 500 accepted, there p1-500
but those that are required do
  set require patient batch_size_rows=10 rate_limit_requests=3; 1-30 p# ? bookmark 30, 30 inserted
failed batches count towards the rejects allowed
  set report max_rejects=99; 1-300 p# !fail@2:batch ? fails 'max_rejects'
a wrong token is noticed when nothing has to be sent, else the first night with a change would fail
  set access_token=revoked; none ? fails MainBrainer refused the access token (401
a server that is away fails no run that has nothing to send
  set api_url=http://127.0.0.1:9; none ? warns Nothing had to be
a run that was refused everything in the same words fails, even if it is one contact
  1 bad1 ? fails (422 ", bookmark 0, kept 0,
  says FAILED: nothing was accepted: the only contact sent was refused;
  set max_rejects_percent=100; 1 bad1, 99 p99 ? bookmark 2, 1 rejected
or several; they are settled in a night in which another one is accepted
  1-[2|7] bad# ? fails (422 ", bookmark 0, kept 0, says FAILED: nothing was accepted: all;
  set max_rejects_percent=100; 1-[2|7] bad#, 99 p99 ? 1 accepted
a fault that begins with the last contacts blames none: one that passed before shows it
  set max_concurrent_requests=1; 1-500 p# /500, 501-[501|507|540] p# !422@6-99999
  ? fails refuse, bookmark 500, kept 0
every contact lands through passing trouble, and is there once
  set batch_size_rows=20 request_timeout_seconds=1; 1-600 p# /50 ![500@p0.05 502@p0.05 503@p0.05
  |reset@p0.1|lost@p0.1|hang@4,9|cut@p0.1|429@3,7 429=1@11|408@p0.1|413@1-3:batch|noid
  |503@p0.05 reset@p0.02 lost@p0.01 hang@17 latency=0-0.02 429@23]
  ? ok, bookmark 600, there p1-600, troubled
lasting trouble ends the run with one error, and STATE is where it should be
  set retry_max_seconds=2 max_concurrent_requests=1; 1-400 p# /50 ![503|reset|cut|429|lost]@4-999
  ? fails was given up after, bookmark 300, 300 accepted, 0 rejected
or what trying again would not mend
  set max_concurrent_requests=1; 1-400 p# /50 ![html@4 ? fails not MainBrainer's
  |401@4 ? fails refused the access token|403@4 ? fails 403|404@4 ? fails Check 'api_url'
  |406@4 ? fails 406|302@4 ? fails Redirects are], bookmark 300, 300 accepted
a record of one stream holds back the STATE of all
  set batch_size_rows=10 max_concurrent_requests=1 retry_max_seconds=1; 1 p1 /1, members:0-9 m#,
  2-11 p# /1 !503@2-999 ? fails was given up after, bookmark 1
the number of a refused record is no part of the identity that others share by their id
  set one_by_one; switch refuse_property=bad; 1-5 bare contact_id:7, 6 bare contact_id:7 +1 bad=yes,
  7-9 bare contact_id:7 ? kept 1, 9 read > None
records of one person are merged and counted: the last values count, and what a later one lacks
  1 a no city=Oslo, 9 k, 3 a city=Hamar ? 2 accepted, 1 merged, 1 batches, bookmark 3
  > a no 3 city=Hamar, k 9
a bad record of a person takes no good one with it: an opt-out before it, and other data after it
  switch refuse_property=bad; 9 k, 1 a no, 2 a bad=yes city=Bergen, 3 a city=Oslo ? bookmark 4,
  kept 1 > a no 3 city=Oslo, k 9
dropped identifiers are counted and said, and their contacts are kept
  set invalid_identifiers=drop; 1 p1 mobile=12, 2 p2 mobile=+447700900123 ? 2 accepted, there p1 p2,
  says Left out 1 identifier of stream 'people' (no_country_code)
contacts that would be billed twice are counted and named
  set dry_run=true; 1 p1, 2 p1 +2, 5 p5, 3 email=P1@EXAMPLE.COM, 4 +2 ? says and 2 a mobile number,
  says 3 share an e-mail address with another one, says of 'people' have the same e-mail address
a property that the account lacks is called by its name, as its place in a request shows nothing
  set rejects_path=; 1-5 p#; switch unknown_property=refuse; 7 p7 shoe_size=42, 8-19 p#
  ? fails, says property 'shoe_size', hides propertyFields; switch unknown_property=report;
  1 p1 shoe_size=42 ? says named property 'shoe_size' of stream
a yes is never sent to who is in the suppression file, neither to an address nor to a number
  listed P1@Example.com p2@example.com +4790000003; 1 p1 +1 yes sms, 2 p2 no, 3 p3 +3 yes sms,
  4 p4 yes ? 4 opt_ins_withheld > p1 +1 1, p2 no 2, p3 +3 3, p4 yes 4
words of the source are consent by setting
  set words; 1 a email_opt_in=JA, 2 b email_opt_in=nei, 3 c yes > a yes 1, b no 2, c yes 3
a stream that stream maps leave out is told, and not even its columns are looked at
  set stream_maps={"__else__":null} field_map={"firstname":"email"}; 1 p1
  ? says OK: there was no record to deliver,
  says Stream 'people' is not delivered: 'stream_maps' leaves it out.
one stream can become two
  set stream_maps={"copies":{"__source__":"people","email":"'c'+email"}}; 1 p1 ? there p1 cp1,
  1 accepted, 2 delivered
""")
def test_how_a_load_ends(load: Load, story: str) -> None:
    """What has arrived, what is counted, what is said, and where STATE is."""
    play(load, story)


def test_a_run_that_has_lost_count_fails_loudly(load: Load) -> None:
    real, lost = StreamReport.__setattr__, list[str]()

    def lose_one(self: StreamReport, name: str, value: t.Any) -> None:
        is_first = name == "accepted" and value > 0 and not lost
        lost.extend([name] * is_first)
        real(self, name, value - 1 if is_first else value)

    load.patch.setattr(StreamReport, "__setattr__", lose_one)
    load("1-20 p#").failed("do not add up: of 20 records read, ")


def test_progress_is_one_line(load: Load) -> None:
    load.patch.setattr(quick.PROGRESS, 0.1)
    load.patch.setattr(quick.TICK, 0.05)
    ended = load("1-250 p#", faults="latency=0.3@2-9", rate_limit_requests=100)
    flight = r"\d+ records? in flight, \d+ batch(es)? to be confirmed, \d+ contacts a second"
    assert re.search(rf"\d+ accepted, 0 rejected, {flight}", ended.log)


# Rejected records


def test_rejections_can_be_corrected_and_loaded(load: Load) -> None:
    """Refused by us and by the API, of two streams, one of which changed its schema."""
    load.crm.set_switches(refuse_email="bad")
    path = load.keep_rejects()
    some, more = "1 bad1, members:5 email=nonsense, 2 email:null", "3 bad3 city=Oslo, 4 p4"
    load(*lines_of(some), *lines_of(more)).ok()
    load(*path.read_text().splitlines(), *lines_of("4 p4")).ok()
    assert load.rejected_ids() == [1, 1, 2, 2, 3, 3, 5, 5]
    text = path.read_text()
    assert '"city": {' in text, "the changed schema, too"
    assert all(line.count('"rejection"') <= 1 for line in text.splitlines())
    assert load.numbers() == {4}
    corrected = text.replace("bad", "p").replace("nonsense", "ola@example.org")
    corrected = corrected.replace('"email": null', '"email": "kari@example.org"')
    load(*corrected.splitlines()).ok()
    assert load.addresses == ["kari@example.org", "ola@example.org", "p1", "p3", "p4"]


def test_the_no_of_a_record_that_does_not_fit_its_schema_is_not_lost(load: Load) -> None:
    """After the stream map, which alone knows what a yes in the column means."""
    maps = {"people": {"email_opt_in": "'no' if unsubscribed else ''"}}
    said = "0 p0 unsubscribed:true firstname:155, 1 p1 unsubscribed:false firstname:155"
    load(said, stream_maps=maps, max_rejects=2)
    assert load.all_of("email_opt_in") == {"p0@example.com": False}


# How many requests are in flight at once, and how much is read ahead: both are bounded


LATENCY = 0.3


def test_a_load_whose_answers_are_slow_has_all_that_the_plan_allows_in_flight(load: Load) -> None:
    """Not even the first answer is waited for: it may take half a window."""
    together = threading.Barrier(40, timeout=60)
    load.serve(lambda _: (together.wait(), OK)[1])
    load.settings |= {"rate_limit_requests": None, "rate_limit_plan": "pro"}
    load("1-400 p#", batch_size_rows=10, confirm_batches="none").ok()


@cases("most", 1, 3)
def test_a_number_that_the_user_sets_is_kept_to(load: Load, most: int) -> None:
    load.settings |= {"rate_limit_requests": None, "max_concurrent_requests": most}
    load("1-60 p#", faults=f"latency={LATENCY}", batch_size_rows=10).ok()
    began = sorted(request.started for request in load.crm.requests())
    assert len(began) == 6
    for earlier, later in zip(began, began[most:], strict=False):
        assert later - earlier >= LATENCY


# --- However slow the server and however large the records

MOST_LINES = 30_000
"""Two rounds of 10,000 contacts, and what pipes and buffers hold."""

MOST_CHARACTERS = 12 * 1024 * 1024
"""Two rounds of 3 MiB, and as much again."""


def is_too_much(process: Process) -> bool:
    return process.fed[0] > MOST_LINES or process.fed[1] > MOST_CHARACTERS


def wait_until_it_reads_no_more(process: Process) -> None:
    """Return when no line was read for a second, or far too many were."""
    before = (-1, -1)
    while process.fed != before and not is_too_much(process):
        before = process.fed
        time.sleep(1)


@cases(
    "is_one size",
    pytest.param(False, 0, id="many contacts"),
    pytest.param(False, 20_000, id="large records"),
    pytest.param(True, 20_000, id="large records of one contact"),
)
def test_a_silent_server_stops_reading(load: Load, start: Start, is_one: bool, size: int) -> None:
    """That keeps the memory flat; the million is in `make bench`."""
    server = load.serve(lambda _: STALL)
    process = start(api_url=server.url, max_concurrent_requests=2)
    names = (f"{n:06}{'x' * size}" for n in itertools.count())
    everybody = (person(1 if is_one else n, firstname=name) for n, name in enumerate(names))
    process.feed(itertools.chain([schema()], everybody))
    process.wait_until_ready()
    wait_until_it_reads_no_more(process)
    assert process.fed[0] >= 100
    assert not is_too_much(process)
    process.popen.kill()


def test_large_records_of_one_contact_are_all_taken(load: Load) -> None:
    """They are more than one request may wait for; the last one counts."""
    lines = [person(1, firstname=f"{n:06}" + "x" * 40_000) for n in range(400)]
    ended = load(schema(), *lines, state(bookmark=400)).ok()
    assert ended.count("accepted") + ended.count("merged") == 400
    assert 2 <= len(load.crm.requests()) <= 8
    assert load.contact["properties"]["firstname"].startswith("000399")
    assert ended.states == [{"bookmark": 400}]
