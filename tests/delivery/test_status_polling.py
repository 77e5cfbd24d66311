"""Batches are asked for until each has ended; what is not known is never success."""

from __future__ import annotations

import threading
import time
import typing as t
from collections import defaultdict

import pytest

from target_mainbrainer.api.answers import BatchStatus
from target_mainbrainer.delivery import status_polling
from target_mainbrainer.delivery.outcomes import AcceptedBatch, Outcomes
from target_mainbrainer.delivery.state_tracker import StateTracker
from target_mainbrainer.delivery.status_polling import StatusPoller
from target_mainbrainer.reporting.counts import StreamReport


class Crm:
    """Answers each batch with a list of statuses, one a question; the last one stays."""

    def __init__(self) -> None:
        self.answers: dict[str, list[BatchStatus | Exception | None]] = {}
        self.questions: dict[str, int] = defaultdict(int)
        self.is_asked = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()

    def ask(self, batch_id: str) -> BatchStatus | None:
        answers = self.answers.get(batch_id, [BatchStatus(inserted=3)])
        answer = answers[min(self.questions[batch_id], len(answers) - 1)]
        self.questions[batch_id] += 1
        self.is_asked.set()
        assert self.may_answer.wait(10)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def crm(monkeypatch: pytest.MonkeyPatch) -> Crm:
    monkeypatch.setattr(status_polling, "FIRST_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(status_polling, "LONGEST_PAUSE_SECONDS", 0.01)
    return Crm()


class Watch:
    """A poller with what it tells: batches of three records each, and a STATE after them."""

    def __init__(self, crm: Crm, *, is_required: bool = True, batches: int = 1) -> None:
        self.state_tracker = StateTracker()
        self.report = StreamReport()
        self.stream = "people"
        self.may_ask = threading.Event()
        self.may_ask.set()
        self.failures: list[BaseException] = []
        self.outcomes = Outcomes(
            state_tracker=self.state_tracker,
            rejects=t.cast("t.Any", None),
            spool=None,
            ledgers={},
            is_followed=True,
            is_confirmation_required=is_required,
        )
        self.poller = StatusPoller(
            crm.ask,
            self.may_ask.is_set,
            self.outcomes,
            is_required=is_required,
            on_failure=self.failures.append,
            clock=time.monotonic,
        )
        self.interval = self.state_tracker.interval
        self.interval.read = 3 * batches
        self.state_tracker.close_interval({"bookmark": 1})

    def batch(self, batch_id: str | None = "b", **more: t.Any) -> None:
        stream = t.cast("t.Any", self)  # has a report and a name
        self.poller.follow(
            AcceptedBatch(
                stream,
                batch_id,
                is_batch=True,
                contacts=3,
                taken=3,
                **({"intervals": {self.interval: 3}} | more),
            )
        )

    def end(self) -> None:
        assert self.poller.wait(10)
        self.poller.close()
        assert self.failures == []


def test_a_confirmed_batch_settles_its_records(crm: Crm) -> None:
    crm.answers["b"] = [BatchStatus(), BatchStatus(inserted=1), BatchStatus(inserted=1, updated=2)]
    watch = Watch(crm)
    watch.batch()
    watch.end()
    assert watch.state_tracker.take_due() == {"bookmark": 1}
    assert (watch.report.inserted, watch.report.updated) == (1, 2)
    assert list(watch.poller.problems()) == []


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        pytest.param(BatchStatus(failed_reason="no"), "failed", id="failed"),
        pytest.param(BatchStatus(inserted=2, skipped=1), "skipped", id="skipped one"),
        pytest.param(BatchStatus(inserted=2), "not confirmed", id="in part"),
        pytest.param(BatchStatus(inserted=4), "not confirmed", id="more than were sent"),
        pytest.param(BatchStatus(inserted=3, skipped=3), "not confirmed", id="twice"),
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
    watch.poller.wait(0.1)
    watch.poller.close()
    assert watch.state_tracker.take_due() is None
    (told,) = watch.poller.problems()
    assert problem in told
    assert crm.questions["b"] > 0


def test_when_it_only_reports_everything_is_counted(crm: Crm) -> None:
    crm.answers = {
        "done": [BatchStatus(inserted=3)],
        "failed": [BatchStatus(failed_reason="no")],
        "open": [BatchStatus(inserted=1)],
        "unreadable": [None],
    }
    watch = Watch(crm, is_required=False)
    for name in crm.answers:
        watch.batch(name)
    watch.poller.wait(0.1)
    watch.poller.close()
    report = watch.report
    assert (report.inserted, report.failed, report.unconfirmed) == (3, 3, 3)
    assert report.unreadable == 3


def test_a_batch_that_is_being_asked_for_when_the_run_ends_is_counted_and_fails_it(
    crm: Crm,
) -> None:
    """And an answer that comes after that changes nothing."""
    crm.may_answer.clear()
    watch = Watch(crm)
    watch.batch()
    assert crm.is_asked.wait(10)
    watch.poller.close()
    told = list(watch.poller.problems())
    crm.may_answer.set()
    for thread in threading.enumerate():
        if thread.name == "status":
            thread.join(10)
    assert "not confirmed" in " ".join(told)
    assert list(watch.poller.problems()) == told
    assert (watch.report.unconfirmed, watch.report.inserted) == (3, 0)
    assert watch.state_tracker.take_due() is None
    assert watch.failures == []


def test_an_accepted_batch_without_an_id_cannot_be_confirmed(crm: Crm) -> None:
    watch = Watch(crm)
    watch.batch(None)
    watch.end()
    assert watch.report.untracked == 3
    assert "without a batch id" in " ".join(watch.poller.problems())


def test_nothing_is_asked_while_sending_needs_the_whole_budget(crm: Crm) -> None:
    watch = Watch(crm)
    watch.may_ask.clear()
    watch.batch()
    assert not watch.poller.wait(0.3)
    assert crm.questions["b"] == 0
    watch.may_ask.set()
    watch.end()
    assert crm.questions["b"] == 1


@pytest.mark.parametrize("is_required", [False, True])
def test_memory_is_bounded_unless_state_waits(
    crm: Crm, monkeypatch: pytest.MonkeyPatch, *, is_required: bool
) -> None:
    """Forgotten is unconfirmed, never success; with `require` nothing is forgotten."""
    monkeypatch.setattr(status_polling, "MAX_PENDING", 5)
    watch = Watch(crm, is_required=is_required, batches=12)
    watch.may_ask.clear()
    for n in range(12):
        watch.batch(f"b{n}")
    watch.may_ask.set()
    watch.end()
    report = watch.report
    assert (report.inserted, report.unconfirmed) == ((36, 0) if is_required else (15, 21))
    assert watch.state_tracker.take_due() == ({"bookmark": 1} if is_required else None)
