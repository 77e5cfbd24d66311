"""A 202 only queues: what becomes of a batch is asked for, counted, and never assumed."""

from __future__ import annotations

import threading
import time
import typing as t
from collections import defaultdict

import pytest

from target_mainbrainer.api.responses import BatchStatus
from target_mainbrainer.delivery import status_polling
from target_mainbrainer.delivery.state_tracker import StateTracker
from target_mainbrainer.delivery.status_polling import StatusPoller
from target_mainbrainer.reporting.counts import StreamReport
from target_mainbrainer.singer.source_record import SourceRecord


class Crm:
    """Answers each batch with a list of statuses, one a question; the last one stays."""

    def __init__(self) -> None:
        self.answers: dict[str, list[BatchStatus | Exception | None]] = {}
        self.questions: dict[str, int] = defaultdict(int)

    def ask(self, batch_id: str) -> BatchStatus | None:
        answers = self.answers[batch_id]
        answer = answers[min(self.questions[batch_id], len(answers) - 1)]
        self.questions[batch_id] += 1
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def crm(monkeypatch: pytest.MonkeyPatch) -> Crm:
    monkeypatch.setattr(status_polling, "FIRST_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(status_polling, "LONGEST_PAUSE_SECONDS", 0.01)
    return Crm()


class Watch:
    """A confirmer with its ledger and report, watching one batch of three records."""

    def __init__(self, crm: Crm, *, is_required: bool = True) -> None:
        self.state_tracker = StateTracker()
        self.report = StreamReport()
        self.status_poller = StatusPoller(
            crm.ask,
            lambda: True,
            is_required=is_required,
            state_tracker=self.state_tracker,
            clock=time.monotonic,
            askers=2,
        )
        self.state_tracker.interval.read = 3
        self.source_records = [SourceRecord(self.state_tracker.interval, n, b"") for n in (1, 2, 3)]
        self.state_tracker.close_interval({"bookmark": 1})

    def batch(self, batch_id: str = "b", *, contacts: int = 3, named_invalid: int = 0) -> None:
        self.status_poller.watch(
            batch_id,
            contacts=contacts,
            named_invalid=named_invalid,
            report=self.report,
            source_records=self.source_records,
        )

    def end(self) -> None:
        self.status_poller.wait(5)
        self.status_poller.close()


def test_a_confirmed_batch_settles_its_records(crm: Crm) -> None:
    crm.answers["b"] = [BatchStatus(), BatchStatus(inserted=1), BatchStatus(inserted=1, updated=2)]
    watch = Watch(crm)
    watch.batch()
    watch.end()
    assert watch.state_tracker.take_due() == {"bookmark": 1}
    assert (watch.report.inserted, watch.report.updated) == (1, 2)
    assert list(watch.status_poller.problems()) == []


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        pytest.param(BatchStatus(failed_reason="no"), "failed", id="failed"),
        pytest.param(BatchStatus(inserted=2, skipped=1), "skipped", id="skipped one"),
        pytest.param(BatchStatus(inserted=2), "not confirmed", id="in part"),
        pytest.param(BatchStatus(status=99), "not confirmed", id="unknown status number"),
        pytest.param(None, "not confirmed", id="unreadable"),
        pytest.param(RuntimeError("x"), "not confirmed", id="asking fails"),
    ],
)
def test_anything_but_a_confirmation_holds_state_back_and_fails_the_run(
    crm: Crm, status: t.Any, problem: str
) -> None:
    crm.answers["b"] = [status]
    watch = Watch(crm)
    watch.batch()
    watch.status_poller.wait(0.1)
    watch.status_poller.close()
    assert watch.state_tracker.take_due() is None
    problems = list(watch.status_poller.problems())
    assert len(problems) == 1
    assert problem in problems[0]


def test_when_it_only_reports_everything_is_counted_and_nothing_is_held_back(crm: Crm) -> None:
    crm.answers = {
        "done": [BatchStatus(inserted=3)],
        "failed": [BatchStatus(failed_reason="no")],
        "open": [BatchStatus(inserted=1)],
    }
    watch = Watch(crm, is_required=False)
    for name in crm.answers:
        watch.batch(name)
    watch.status_poller.wait(0.1)
    watch.status_poller.close()
    report = watch.report
    assert (report.inserted, report.failed, report.unconfirmed) == (3, 3, 3)


def test_contacts_named_invalid_need_not_be_in_the_status(crm: Crm) -> None:
    crm.answers["b"] = [BatchStatus(inserted=2)]
    watch = Watch(crm)
    watch.batch(named_invalid=1)
    assert watch.status_poller.wait(5)
    watch.end()
    assert watch.report.inserted == 2


def test_an_accepted_batch_without_an_id_cannot_be_confirmed(crm: Crm) -> None:
    watch = Watch(crm)
    watch.status_poller.cannot_follow(3, watch.report)
    watch.end()
    assert watch.report.untracked == 3
    assert "without a batch id" in " ".join(watch.status_poller.problems())


def test_nothing_is_asked_while_sending_needs_the_whole_budget(crm: Crm) -> None:
    crm.answers["b"] = [BatchStatus(inserted=3)]
    watch = Watch(crm)
    allowed = threading.Event()
    watch.status_poller._may_ask = allowed.is_set
    watch.batch()
    assert not watch.status_poller.wait(0.3)
    assert crm.questions["b"] == 0
    allowed.set()
    assert watch.status_poller.wait(5)
    watch.end()


def test_many_batches_are_remembered_in_bounded_memory(
    crm: Crm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_polling, "MOST_WATCHED", 5)
    watch = Watch(crm, is_required=False)
    watch.status_poller._may_ask = lambda: False
    for n in range(12):
        watch.batch(f"b{n}")
    assert len(watch.status_poller._watched) == 5
    watch.status_poller.close()
    assert watch.report.unconfirmed == 36, "forgotten is unconfirmed, never success"
