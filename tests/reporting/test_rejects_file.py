"""The rejects file can be loaded again as it is; the log says no more than it may."""

from __future__ import annotations

import json
import stat
import typing as t
from pathlib import Path

import pytest

from target_mainbrainer.contacts.rejection import Rejection
from target_mainbrainer.delivery.state_tracker import StateTracker
from target_mainbrainer.errors import DeliveryError, SettingsError
from target_mainbrainer.reporting.counts import StreamReport
from target_mainbrainer.reporting.rejects_file import RejectsFile
from target_mainbrainer.reporting.source_stream import SourceStream
from target_mainbrainer.singer.source_record import SourceRecord

SCHEMA_LINE = (
    b'{"type":"SCHEMA","stream":"people","schema":{"properties":{}},"key_properties":[]}\n'
)
REJECTION = Rejection("invalid_email", "Its 'mail' is no e-mail address.")


class Desk:
    """A rejects file with everything around it."""

    def __init__(self, path: Path | None, *, allowed: int | None = None) -> None:
        self.state_tracker = StateTracker()
        self.rejects = RejectsFile(
            str(path) if path else None, allowed=allowed, settle=self.state_tracker.settle
        )

    def source(
        self, key: tuple[str, ...] = ("id",), sensitive_columns: tuple[str, ...] = ()
    ) -> SourceStream:
        return SourceStream("people", SCHEMA_LINE, key, sensitive_columns, StreamReport())

    def source_record(self, record: dict[str, t.Any], number: int = 1) -> SourceRecord:
        self.state_tracker.interval.read += 1
        message = {"type": "RECORD", "stream": "people", "record": record}
        return SourceRecord(
            self.state_tracker.interval, number, json.dumps(message).encode() + b"\n"
        )


def lines_of(path: Path) -> list[dict[str, t.Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_rejected_record_is_kept_word_for_word_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "rejects.singer"
    desk = Desk(path)
    line = b'{"type": "RECORD", "stream": "people", "record": {"price": 12.50, "n": "\\ud800"}}  \n'
    desk.rejects.add(
        desk.source(),
        [SourceRecord(desk.state_tracker.interval, 1, line)],
        REJECTION,
        answer={"status": 422, "message": "no"},
    )
    desk.rejects.close()
    schema, record = path.read_bytes().splitlines()
    assert schema == SCHEMA_LINE.rstrip()
    assert record.startswith(line.rstrip()[:-1])
    note = json.loads(record)["rejection"]
    assert note == {
        "code": "invalid_email",
        "reason": "Its 'mail' is no e-mail address.",
        "status": 422,
        "message": "no",
    }


def test_only_its_owner_can_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rejects.singer"
    Desk(path).rejects.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_rejection_is_settled_once_it_is_on_the_disk(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "rejects.singer")
    desk.rejects.add(desk.source(), [desk.source_record({"id": 1})], REJECTION)
    desk.state_tracker.close_interval({"bookmark": 1})
    assert desk.state_tracker.take_due() is None
    desk.rejects.sync()
    assert desk.state_tracker.take_due() == {"bookmark": 1}
    desk.rejects.close()


def test_without_a_file_state_stays_before_a_rejection() -> None:
    desk = Desk(None)
    desk.rejects.add(desk.source(), [desk.source_record({"id": 1})], REJECTION)
    desk.state_tracker.close_interval({"bookmark": 1})
    desk.rejects.sync()
    assert desk.state_tracker.take_due() is None


def test_what_a_killed_run_left_half_written_is_no_record(tmp_path: Path) -> None:
    path = tmp_path / "rejects.singer"
    whole = SCHEMA_LINE + b'{"type":"RECORD","stream":"people","record":{"id":1}}\n'
    path.write_bytes(whole + b'{"type":"RECORD","stream":"people","rec')
    desk = Desk(path)
    desk.rejects.add(desk.source(), [desk.source_record({"id": 2})], REJECTION)
    desk.rejects.close()
    assert path.read_bytes().startswith(whole)
    assert [line.get("record") for line in lines_of(path)] == [None, {"id": 1}, None, {"id": 2}]


@pytest.mark.parametrize("size", [10, 70_000, 200_000])
def test_half_a_long_line_is_found_whole(tmp_path: Path, size: int) -> None:
    path = tmp_path / "rejects.singer"
    path.write_bytes(SCHEMA_LINE + b'{"record":"' + b"x" * size)
    Desk(path).rejects.close()
    assert path.read_bytes() == SCHEMA_LINE


def test_a_last_line_whose_newline_an_editor_took_away_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "rejects.singer"
    path.write_bytes(SCHEMA_LINE.rstrip())
    Desk(path).rejects.close()
    assert path.read_bytes() == SCHEMA_LINE


def test_a_file_that_cannot_be_opened_is_a_settings_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"Setting 'rejects_path': .* cannot be written"):
        Desk(tmp_path / "missing" / "rejects.singer")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_settles_nothing() -> None:
    desk = Desk(None)
    desk.rejects.path = "/dev/full"
    with Path("/dev/full").open("r+b", buffering=0) as full:
        desk.rejects._file = t.cast("t.BinaryIO", full)
        with pytest.raises(DeliveryError, match="No space left on device"):
            desk.rejects.add(desk.source(), [desk.source_record({"id": 1})], REJECTION)
    desk.state_tracker.close_interval({"bookmark": 1})
    assert desk.state_tracker.take_due() is None


@pytest.mark.parametrize(
    ("key", "sensitive_columns", "record", "expected"),
    [
        pytest.param(("id",), (), {"id": 4711}, "id=4711", id="a number"),
        pytest.param(("a", "b"), (), {"a": 1, "b": 2}, "a=1 b=2", id="two numbers"),
        pytest.param(("id",), (), {"id": "kari@example.com"}, "record 7", id="an e-mail address"),
        pytest.param(("id",), (), {"id": "4711"}, "record 7", id="a text"),
        pytest.param(("id",), (), {"id": True}, "record 7", id="no number"),
        pytest.param(("id",), (), {}, "record 7", id="missing"),
        pytest.param(("tel",), ("tel",), {"tel": 447700900123}, "record 7", id="a mobile number"),
        pytest.param((), (), {"id": 1}, "record 7", id="no key"),
    ],
)
def test_the_log_names_a_record_without_sensitive_columns_who_it_is(
    key: tuple[str, ...],
    sensitive_columns: tuple[str, ...],
    record: dict[str, t.Any],
    expected: str,
) -> None:
    desk = Desk(None)
    source = desk.source(key, sensitive_columns)
    desk.rejects.add(source, [desk.source_record(record, number=7)], REJECTION)
    (line,) = desk.rejects.describe()
    assert line == (
        "Rejected 1 of stream 'people', invalid_email: Its 'mail' is no e-mail address. "
        f"({expected})"
    )


def test_rejections_are_grouped_with_at_most_five_names() -> None:
    desk = Desk(None)
    for number in range(2_000):
        desk.rejects.add(desk.source(), [desk.source_record({"id": number})], REJECTION)
    desk.rejects.add(
        desk.source(), [desk.source_record({"id": 9})], Rejection("no_identity", "None.")
    )
    first, second = desk.rejects.describe()
    assert first.startswith("Rejected 2,000 of stream 'people', invalid_email: ")
    assert first.endswith("(id=0, id=1, id=2, id=3, id=4, ...)")
    assert second.endswith("(id=9)")


def test_a_server_with_a_new_word_for_each_refusal_does_not_flood_the_log() -> None:
    desk = Desk(None)
    for number in range(500):
        rejection = Rejection("refused_422", f"Refused: {number}.")
        desk.rejects.add(desk.source(), [desk.source_record({"id": number})], rejection)
    lines = list(desk.rejects.describe())
    assert len(lines) == 101
    assert "Rejected 400 of stream 'people', refused_422: For various reasons." in lines[0]


@pytest.mark.parametrize(
    ("allowed", "count", "too_many"),
    [(0, 0, False), (0, 1, True), (3, 3, False), (3, 4, True), (None, 10_000, False)],
)
def test_how_many_are_too_many(allowed: int | None, count: int, *, too_many: bool) -> None:
    desk = Desk(None, allowed=allowed)
    for _ in range(count):
        desk.rejects.add(desk.source(), [desk.source_record({"id": 1})], REJECTION)
    assert desk.rejects.is_too_many is too_many
