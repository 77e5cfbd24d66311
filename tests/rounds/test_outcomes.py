"""Every record ends in one counted outcome; rejected ones can be corrected and loaded."""

import re
import typing as t

import pytest

from target_mainbrainer.report.counts import StreamReport
from tests.loads import Load, Record, cases, people, person, record, rejected, schema, state
from tests.rounds import quick


@pytest.mark.usefixtures("hasty")
def test_every_record_ends_in_exactly_one_outcome(load: Load) -> None:
    load.keep_rejects()
    load.crm.set_switches(refuse_email="bad")
    lines = people(300, bad={7, 8, 120})
    lines += [person(n) for n in range(250, 281)]  # again: merged or sent anew
    lines += [person(n, email=None) for n in (301, 302)]  # nothing to be matched on
    lines += [person(n, _sdc_deleted_at="2026-01-01T00:00:00Z") for n in (303, 304, 305)]
    lines += [schema(stream="members"), record("members", id=1, email="m@example.org")]
    lines.append(state(bookmark=336))
    ended = load(*lines, faults="503@p0.1 lost@p0.05 reset@p0.05").ok()
    assert ended.count("read") == 336
    assert ended.count("accepted") + ended.count("merged") == 297 + 31
    assert ended.counts["rejected_by_code"] == {"refused_422": 3, "no_identity": 2}
    assert (ended.count("omitted"), ended.count("undelivered")) == (3, 0)
    assert ended.report["streams"]["members"]["accepted"] == 1
    assert ended.bookmark == 336


def test_a_wrong_token_is_noticed_when_nothing_has_to_be_sent(load: Load) -> None:
    """Else the first night with a change would be the one that fails."""
    ended = load(schema(), state(bookmark=1), access_token="revoked")
    assert ended.failed("MainBrainer refused the access token (401").last.startswith("FAILED: ")


def test_a_server_that_is_away_fails_no_run_that_has_nothing_to_send(load: Load) -> None:
    ended = load(schema(), state(bookmark=1), api_url="http://127.0.0.1:9").ok()
    assert any("Nothing had to be" in line for line in ended.warnings)


def test_a_run_that_has_lost_count_fails_loudly(load: Load) -> None:
    real, lost = StreamReport.__setattr__, list[str]()

    def lose_one(self: StreamReport, name: str, value: t.Any) -> None:
        is_first = name == "accepted" and value > 0 and not lost
        lost.extend([name] * is_first)
        real(self, name, value - 1 if is_first else value)

    load.patch.setattr(StreamReport, "__setattr__", lose_one)
    load(*people(20)).failed("do not add up: 20 records read, ")


def test_progress_is_one_line(load: Load) -> None:
    load.patch.setattr(quick.PROGRESS, 0.1)
    load.patch.setattr(quick.TICK, 0.05)
    ended = load(*people(250), faults="latency=0.3@2-9", rate_limit_requests=100)
    flight = r"\d+ records? in flight, \d+ batch(es)? to be confirmed, \d+ contacts a second"
    assert re.search(rf"\d+ accepted, 0 rejected, {flight}", ended.log)


# Rejected records


def test_rejections_can_be_corrected_and_loaded(load: Load) -> None:
    """Refused by us and by the API, of two streams, one of which changed its schema."""
    load.crm.set_switches(refuse_email="bad")
    rejects, again = load.keep_rejects(), load.folder / "again.singer"
    other = schema({"id": {"type": "integer"}, "email": {}, "city": {"type": "string"}})
    lines = [schema(), schema({"id": {}, "email": {}}, stream="members")]
    lines += [person(1, email="bad1@example.com"), record("members", id=1, email="nonsense")]
    lines += [person(2, email=None), other, record(id=3, email="bad3@example.com", city="Oslo")]
    lines += [person(4), record("members", id=2, email="bad5@example.com")]
    load(*lines).ok()
    assert len(rejected(rejects)) == 5
    assert '"city": {' in rejects.read_text(), "the changed schema, too"
    assert load.numbers() == {4}
    lines = [*rejects.read_text().splitlines(), schema(), person(4)]
    load(*lines, rejects_path=str(again)).ok()
    # Batches run side by side, so those that the API refuses come in any order.
    first, second = (sorted(str(one["record"]) for one in rejected(p)) for p in (rejects, again))
    assert first == second
    assert all(line.count('"rejection"') <= 1 for line in again.read_text().splitlines())
    corrected = again.read_text().replace("bad", "p").replace("nonsense", "ola@example.org")
    corrected = corrected.replace('"email": null', '"email": "kari@example.org"')
    load(*corrected.splitlines()).ok()
    assert load.numbers() == {1, 3, 4, 5, "ola@example.org", "kari@example.org"}


@cases(
    "is_kept allowed bad code bookmark",
    *((False, None, 0, 0, 90), (False, None, 1, 1, 50), (False, 0, 1, 1, 50)),
    *((False, 2, 2, 0, 20), (False, 2, 3, 1, 20), (True, None, 9, 0, 90)),
    *((True, 2, 2, 0, 90), (True, 2, 3, 1, 50), (True, 0, 1, 1, 50)),
)
def test_how_many_rejections_a_run_survives(
    load: Load, is_kept: bool, allowed: int | None, bad: int, code: int, bookmark: int
) -> None:
    """STATE 20 comes before all of them, 50 before the last, 90 at the end."""
    lines = [person(n) for n in range(100)]
    lines[30 : 30 + bad] = [person(n, email=None) for n in range(bad)]
    lines.insert(29 + bad, state(bookmark=50))
    lines.insert(20, state(bookmark=20))
    if is_kept:
        load.keep_rejects()
    config: Record = {} if allowed is None else {"max_rejects": allowed}
    ended = load(schema(), *lines, state(bookmark=90), **config)
    assert (ended.code, ended.bookmark) == (code, bookmark), ended.errors
    assert (ended.count("rejected"), ended.count("undelivered")) == (bad, 0)
    if code:
        ended.failed("'max_rejects'")
        assert ended.count("read") == 30 + bad, "reading has stopped"
    else:
        assert ("are not kept" in ended.log) == (bad > 0 and not is_kept)


def test_too_many_refusals_of_the_api_stop_the_reading_too(load: Load) -> None:
    load.patch.setattr("target_mainbrainer.rounds.round.MAX_CONTACTS", 1000)
    load.crm.set_switches(refuse_email="bad")
    lines = people(9000, bad=range(100, 200, 7))
    ended = load(*lines, faults="latency=0.02", max_concurrent_requests=2).failed("'max_rejects'")
    assert ended.count("read") < 9000
    assert ended.bookmark == 50


def test_the_no_of_a_record_that_does_not_fit_its_schema_is_not_lost(load: Load) -> None:
    """After the stream map, which alone knows what a yes in the column means."""
    types: Record = {"unsubscribed": {"type": "boolean"}, "zip": {"type": "string"}}
    said = [person(n, unsubscribed=no, zip=155) for n, no in enumerate([True, False])]
    maps = {"people": {"email_opt_in": "'no' if unsubscribed else ''"}}
    load(schema({"id": {}, "email": {}, **types}), *said, stream_maps=maps, max_rejects=2)
    assert load.all_of("email_opt_in") == {"p0@example.com": False}
