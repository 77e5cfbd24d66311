"""Every record ends in exactly one counted outcome, and the counts are told."""

from __future__ import annotations

import json
import logging
import re
import typing as t
from collections import Counter

import pytest

import mainbrainer_sandbox as sandbox
from target_mainbrainer.report.counts import StreamReport
from tests.loads import people
from tests.messages import person, record, schema, state
from tests.rounds import quick
from tests.rounds.sent import sent

if t.TYPE_CHECKING:
    from tests.loads import Load
    from tests.messages import RunTarget


@pytest.mark.usefixtures("hasty")
def test_every_record_ends_in_exactly_one_outcome(load: Load) -> None:
    load.keep_rejects()
    load.crm.set_switches(refuse_email="bad")
    lines = people(300, bad={7, 8, 120})
    lines += [person(n) for n in range(250, 281)]  # again: merged or sent anew
    lines += [person(n, email=None) for n in (301, 302)]  # nothing to be matched on
    lines += [person(n, _sdc_deleted_at="2026-01-01T00:00:00Z") for n in (303, 304, 305)]
    lines += [schema(stream="members"), record("members", id=1, email="m@example.org")]
    ended = load(*lines, faults="503@p0.1 lost@p0.05 reset@p0.05").ok()
    assert ended.count("read") == 336
    assert ended.count("accepted") + ended.count("merged") == 297 + 31
    assert ended.counts["rejected_by_code"] == {"refused_422": 3, "no_identity": 2}
    assert (ended.count("omitted"), ended.count("undelivered")) == (3, 0)
    assert ended.report["streams"]["members"]["accepted"] == 1
    assert ended.bookmark == 300


def test_the_end_of_input_sends_what_has_no_full_batch(load: Load) -> None:
    ended = load(*people(250, every=250)).ok()
    assert sorted(len(contacts) for _, contacts in sent(load.crm)) == [50, 100, 100]
    assert ended.states == [{"bookmark": 250}]


@pytest.mark.parametrize("lines", [[], [schema()], [state(bookmark=1)], [schema(), state(a=1)]])
def test_an_input_without_records_sends_nothing(load: Load, lines: list[str]) -> None:
    ended = load(*lines).ok()
    assert len(ended.states) == sum("STATE" in line for line in lines)
    assert [request.method for request in load.crm.requests()] == ["GET"], "is the account right?"


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


@pytest.mark.parametrize("log_level", [logging.DEBUG])
def test_the_sdks_metrics_count_records_and_batches(run_target: RunTarget) -> None:
    """They are there for whoever asks for them, if not at the usual level."""
    told = (line.partition("METRIC: ")[2] for line in run_target(*people(250)).log.splitlines())
    totals: Counter[str] = Counter()
    for metric in (json.loads(text) for text in told if text):
        if metric["type"] == "counter":
            totals[metric["metric"]] += metric["value"]
    assert totals == {"record_count": 250, "batch_count": 3, "http_request_count": 3}


def test_progress_is_told_in_one_line(load: Load) -> None:
    load.patch.setattr(quick.PROGRESS, 0.1)
    load.patch.setattr(quick.TICK, 0.05)
    ended = load(*people(250), faults="latency=0.3@2-9", rate_limit_requests=100)
    assert re.search(
        r"\d+ accepted, 0 rejected, \d+ contacts a second, \d+% of the plan's requests used",
        ended.log,
    )


def test_the_sandbox_of_a_rehearsal_is_closed_with_the_run(load: Load) -> None:
    load.settings.clear()
    path = load.folder / "rehearsal.db"
    load(*people(150), sandbox_path=str(path)).ok()
    with sandbox.start(path) as crm:
        assert len(crm.contacts()) == 150
