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
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import RunTarget


@pytest.mark.usefixtures("hasty", "rejects")
def test_every_record_ends_in_exactly_one_outcome(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    crm.set_switches(refuse_email="bad")
    crm.set_faults("503@p0.1", "lost@p0.05", "reset@p0.05")
    lines = people(300, bad={7, 8, 120})
    lines += [person(n) for n in range(250, 281)]  # again: merged or sent anew
    lines += [person(n, email=None) for n in (301, 302)]  # nothing to be matched on
    lines += [person(n, _sdc_deleted_at="2026-01-01T00:00:00Z") for n in (303, 304, 305)]
    lines += [schema(stream="members"), record("members", id=1, email="m@example.org")]
    ended = run_target(*lines).ok()
    assert ended.counts["read"] == 336
    assert ended.counts["accepted"] + ended.counts["merged"] == 297 + 31
    assert ended.counts["rejected_by_code"] == {"refused_422": 3, "no_identity": 2}
    assert (ended.counts["omitted"], ended.counts["undelivered"]) == (3, 0)
    assert ended.report["streams"]["members"]["accepted"] == 1
    assert ended.states[-1] == {"bookmark": 300}


def test_the_end_of_input_sends_what_has_no_full_batch(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    ended = run_target(*people(250, every=250)).ok()
    assert [len(contacts) for _, contacts in sent(crm)].count(100) == 2
    assert len(crm.requests()) == 3
    assert ended.states == [{"bookmark": 250}]


@pytest.mark.parametrize("lines", [[], [schema()], [state(bookmark=1)], [schema(), state(a=1)]])
def test_an_input_without_records_sends_nothing(
    run_target: RunTarget, crm: RunningSandbox, lines: list[str]
) -> None:
    ended = run_target(*lines).ok()
    assert len(ended.states) == sum("STATE" in line for line in lines)
    assert [request.method for request in crm.requests()] == ["GET"], "is the account all right?"


def test_a_wrong_token_is_noticed_when_nothing_has_to_be_sent(run_target: RunTarget) -> None:
    """Else the first night with a change would be the one that fails."""
    ended = run_target(schema(), state(bookmark=1), access_token="revoked")
    assert ended.code == 1
    assert "MainBrainer refused the access token (401" in ended.error
    assert ended.last.startswith("FAILED: ")


def test_a_server_that_is_away_fails_no_run_that_has_nothing_to_send(run_target: RunTarget) -> None:
    ended = run_target(schema(), state(bookmark=1), api_url="http://127.0.0.1:9")
    assert ended.code == 0, ended.errors
    assert "WARNING" in next(line for line in ended.log.splitlines() if "Nothing had to be" in line)


def test_a_run_that_has_lost_count_fails_loudly(
    run_target: RunTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = StreamReport.__setattr__
    is_lost = False

    def lose_one(self: StreamReport, name: str, value: t.Any) -> None:
        nonlocal is_lost
        is_first = name == "accepted" and value > 0 and not is_lost
        is_lost = is_lost or is_first
        real(self, name, value - 1 if is_first else value)

    monkeypatch.setattr(StreamReport, "__setattr__", lose_one)
    ended = run_target(*people(20))
    assert ended.code == 1
    assert "do not add up: 20 records read, " in ended.error


@pytest.mark.parametrize("log_level", [logging.DEBUG])
def test_the_sdks_metrics_count_records_and_batches(run_target: RunTarget) -> None:
    """They are there for whoever asks for them, if not at the usual level."""
    ended = run_target(*people(250))
    metrics = [
        json.loads(text.partition("METRIC: ")[2])
        for text in ended.log.splitlines()
        if "METRIC: " in text
    ]
    totals: Counter[str] = Counter()
    for metric in metrics:
        if metric["type"] == "counter":
            totals[metric["metric"]] += metric["value"]
    assert totals == {"record_count": 250, "batch_count": 3, "http_request_count": 3}


def test_progress_is_told_in_one_line(
    run_target: RunTarget, crm: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quick.PROGRESS, 0.1)
    monkeypatch.setattr(quick.TICK, 0.05)
    crm.set_faults("latency=0.3@2-9")
    ended = run_target(*people(250), rate_limit_requests=100)
    (told, *_) = [line for line in ended.log.splitlines() if "contacts a second, " in line]
    assert re.search(
        r"\d+ accepted, 0 rejected, \d+ contacts a second, \d+% of the plan's requests used", told
    )


def test_the_sandbox_of_a_rehearsal_is_closed_with_the_run(
    run_target: RunTarget, settings: dict[str, t.Any], tmp_path: Path
) -> None:
    settings.clear()
    path = tmp_path / "rehearsal.db"
    run_target(*people(150), sandbox_path=str(path)).ok()
    with sandbox.start(path) as crm:
        assert len(crm.contacts()) == 150
