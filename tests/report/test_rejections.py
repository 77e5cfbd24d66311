"""What the log says of rejections, when they are settled, and when there are too many."""

from __future__ import annotations

import datetime as dt
import json
import typing as t

import pytest

from target_mainbrainer.contacts import Rejection
from target_mainbrainer.report.counts import BATCH_FAILED, RunReport
from target_mainbrainer.report.rejects import (
    RecordLabels,
    Rejections,
    RejectsFile,
    SourceStream,
    refusal,
)
from target_mainbrainer.singer.records import SourceRecord
from target_mainbrainer.singer.state import StateTracker

if t.TYPE_CHECKING:
    from pathlib import Path

SCHEMA_LINE = (
    b'{"type":"SCHEMA","stream":"people","schema":{"properties":{}},"key_properties":[]}\n'
)
REJECTION = Rejection("invalid_email", "Its 'mail' is no e-mail address.")
REFUSED = refusal(422, "No such list.")


class Desk:
    """Rejections of one stream with everything around them."""

    def __init__(
        self,
        path: Path | None = None,
        *,
        allowed: int | None = None,
        percent: int = 50,
        labels: RecordLabels | None = None,
    ) -> None:
        self.tracker = StateTracker()
        self.reports = RunReport()
        self.report = self.reports.stream("people")
        self.rejections = Rejections(
            RejectsFile(str(path), dt.datetime.now(dt.UTC), "this-run") if path else None,
            allowed=allowed,
            allowed_percent=percent,
        )
        labels = labels or RecordLabels(["id"], [])
        self.source = SourceStream("people", SCHEMA_LINE, labels, self.report)

    def sync(self) -> None:
        self.tracker.settle_counted(self.rejections.sync())

    def read(self, record: dict[str, t.Any]) -> SourceRecord:
        self.report.read += 1
        self.tracker.interval.read += 1
        message = {"type": "RECORD", "stream": "people", "record": record}
        line = json.dumps(message).encode() + b"\n"
        return SourceRecord(self.tracker.interval, self.report.read, line)

    def reject(
        self, record: dict[str, t.Any], rejection: Rejection = REJECTION, *, is_proven: bool = True
    ) -> None:
        self.rejections.add(self.source, [self.read(record)], rejection, is_proven=is_proven)

    def accept(self, count: int) -> None:
        for number in range(count):
            self.tracker.settle([self.read({"id": number})])
            self.report.accepted += 1

    @property
    def line(self) -> str:
        (line,) = self.rejections.describe()
        return line


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rejects.singer"


def test_a_rejection_is_settled_once_it_is_on_the_disk(path: Path) -> None:
    desk = Desk(path)
    desk.accept(1)
    desk.reject({"id": 1})
    desk.tracker.close_interval({"bookmark": 1})
    assert desk.tracker.take_due() is None
    desk.sync()
    assert desk.tracker.take_due() == {"bookmark": 1}


@pytest.mark.parametrize("is_proven", [True, False])
def test_without_a_file_or_a_proof_state_stays_before_a_rejection(
    path: Path, *, is_proven: bool
) -> None:
    """What is not proven is not on file: the request may be the cause, and a rerun finds out."""
    desk = Desk(None if is_proven else path)
    desk.accept(1)
    desk.reject({"id": 1}, REFUSED, is_proven=is_proven)
    desk.tracker.close_interval({"bookmark": 1})
    desk.rejections.end_input()
    desk.sync()
    assert desk.tracker.take_due() is None
    assert is_proven or path.read_bytes() == b""


# Names in the log


@pytest.mark.parametrize(
    ("key", "sensitive_columns", "record", "expected"),
    [
        (["id"], [], {"id": 4711}, "id=4711"),
        (["a", "b"], [], {"a": 1, "b": 2}, "a=1 b=2"),
        (["id"], [], {"id": "4711"}, "id=4711"),
        (["id"], [], {"id": "0047"}, "id=0047"),
        (["id"], [], {"id": 4711.0}, "id=4711"),
        *((["id"], [], {"id": key}, None) for key in (4711.5, 1e300, 298123.0)),
        (["id"], [], {"id": 4711, "m": 4711.0}, None),
        (["tel"], ["tel"], {"tel": 4711}, None),
        (["nin"], [], {"nin": 12345678901}, None),
        ([], [], {"id": 1}, None),
        *((["id"], [], {"id": key}, None) for key in ("kari@example.com", "a11", True)),
        *((["id"], [], {"id": key}, None) for key in ("4790812501", 447700900123)),
        *((["id"], [], {"id": key}, None) for key in ("298123", 298123)),
        *((["id"], [], {"id": key, "m": "47 11"}, None) for key in ("4711", 4711)),
        *((["id"], [], record, None) for record in ({}, {"id": 4711, "m": 4711})),
    ],
)
def test_a_key_is_shown_only_if_it_says_nothing_about_a_person(
    key: list[str], sensitive_columns: list[str], record: dict[str, t.Any], expected: str | None
) -> None:
    """Nor if it stands elsewhere in the record. The Faroe Islands have numbers of six digits."""
    desk = Desk(labels=RecordLabels(key, sensitive_columns, 298))
    desk.accept(6)
    desk.reject(record)
    assert desk.line == (
        "Rejected 1 of stream 'people', invalid_email: Its 'mail' is no e-mail address. "
        f"({expected or 'record 7 of the stream'})"
    )


def test_a_record_whose_key_is_not_shown_is_named_by_its_number() -> None:
    desk = Desk()
    desk.accept(161)
    desk.reject({"id": "kari@example.com"})
    assert desk.line.endswith("(record 162 of the stream)")
    desk.reject({"id": "olav@example.com"})
    assert desk.line.endswith("(record 162 of the stream, ...)")


def test_rejections_are_grouped_with_at_most_five_names() -> None:
    desk = Desk()
    for number in range(2_000):
        desk.reject({"id": number})
    desk.reject({"id": 9}, Rejection("no_identity", "None."))
    first, second = desk.rejections.describe()
    assert first.startswith("Rejected 2,000 of stream 'people', invalid_email: ")
    assert first.endswith("(id=0, id=1, id=2, id=3, id=4, ...)")
    assert second.endswith("(id=9)")


def test_a_server_with_a_new_word_for_each_refusal_does_not_flood_the_log() -> None:
    desk = Desk()
    for number in range(500):
        desk.reject({"id": number}, Rejection("refused_422", f"Refused: {number}."))
    lines = list(desk.rejections.describe())
    assert len(lines) == 101
    assert "Rejected 400 of stream 'people', refused_422: For various reasons." in lines[0]


# Too many


@pytest.mark.parametrize(
    ("accepted", "rejected", "percent", "fails"),
    [
        *((10, 10, 50, False), (10, 11, 50, True), (0, 19, 50, False), (0, 20, 50, True)),
        *((0, 50, 100, False), (90, 10, 0, True)),
    ],
)
def test_a_stream_that_is_mostly_rejected_fails_and_holds_state(
    path: Path, accepted: int, rejected: int, percent: int, *, fails: bool
) -> None:
    """The records are on file, but what is wrong is the mapping: the next run must see them."""
    desk = Desk(path, percent=percent)
    for number in range(rejected):
        desk.reject({"id": number})
    desk.accept(accepted)
    desk.tracker.close_interval({"bookmark": 1})
    desk.rejections.end_input()
    desk.sync()
    problems = list(desk.rejections.problems(desk.reports))
    assert bool(problems) is fails
    assert (desk.tracker.take_due() is None) is fails
    if fails:
        assert problems[0].code == "max_rejects_percent"
        assert "'max_rejects_percent'" in problems[0].sentence


def test_rejects_at_the_beginning_of_a_stream_hold_state_only_until_good_records_follow(
    path: Path,
) -> None:
    desk = Desk(path)
    for number in range(30):
        desk.reject({"id": number})
    desk.tracker.close_interval({"bookmark": 1})
    desk.sync()
    assert desk.tracker.take_due() is None
    desk.accept(30)
    desk.sync()
    assert desk.tracker.take_due() == {"bookmark": 1}


def test_refusals_by_the_api_do_not_count_for_the_share(path: Path) -> None:
    desk = Desk(path)
    desk.accept(1)
    for number in range(100):
        desk.reject({"id": number}, REFUSED)
    assert list(desk.rejections.problems(desk.reports)) == []


# A small night


@pytest.mark.parametrize("count", [1, 8])
def test_a_run_of_which_everything_sent_was_refused_fails(path: Path, count: int) -> None:
    desk = Desk(path)
    for number in range(count):
        desk.reject({"id": number}, REFUSED)
    (problem,) = desk.rejections.problems(desk.reports)
    assert problem.code == "nothing_accepted"
    assert '(422 "No such list.")' in problem.sentence
    assert desk.rejections.words_of_all == '422 "No such list."'
    desk.reject({"id": 9}, refusal(422, "Something else."))
    assert desk.rejections.words_of_all == ""
    (problem,) = desk.rejections.problems(desk.reports)
    assert f"all {count + 1} contacts sent were refused. " in problem.sentence
    desk.accept(1)
    assert list(desk.rejections.problems(desk.reports)) == []


def test_a_batch_that_failed_after_it_was_accepted_is_not_our_rejection(path: Path) -> None:
    desk = Desk(path)
    desk.reject({"id": 1}, Rejection(BATCH_FAILED, "Its batch failed after it was accepted."))
    assert desk.report.rejected == 1
    assert desk.report.rejected_before_sending == 0
    assert list(desk.rejections.problems(desk.reports)) == []
