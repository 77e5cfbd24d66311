"""The rejects file can be loaded again as it is, belongs to one run at a time, and never lies."""

from __future__ import annotations

import datetime as dt
import errno
import fcntl
import json
import os
import secrets
import stat
import subprocess
import sys
import threading
import typing as t

import pytest

from target_mainbrainer.errors import DeliveryError, SettingsError
from target_mainbrainer.report import rejects as rejects_file
from target_mainbrainer.report.counts import StreamReport
from target_mainbrainer.report.rejects import RecordLabels, RejectsFile, SourceStream, path_for

if t.TYPE_CHECKING:
    from pathlib import Path

SCHEMA_LINE = (
    b'{"type":"SCHEMA","stream":"people","schema":{"properties":{}},"key_properties":[]}\n'
)
WIDER_SCHEMA_LINE = SCHEMA_LINE.replace(b"{}}", b'{"a":{}}}')
NOTE = {"code": "invalid_email", "reason": "Its 'mail' is no e-mail address."}


def open_file(path: Path) -> RejectsFile:
    return RejectsFile(str(path), dt.datetime.now(dt.UTC), secrets.token_hex(4))


def stream(schema_line: bytes = SCHEMA_LINE) -> SourceStream:
    return SourceStream("people", schema_line, RecordLabels(["id"], []), StreamReport())


def record(number: int) -> bytes:
    message = {"type": "RECORD", "stream": "people", "record": {"id": number}}
    return json.dumps(message).encode() + b"\n"


def lines_of(path: Path) -> list[dict[str, t.Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rejects.singer"


def test_a_rejected_record_is_kept_word_for_word_with_its_reason(path: Path) -> None:
    line = b'{"type": "RECORD", "stream": "people", "record": {"price": 12.50, "n": "\\ud800"}}  \n'
    file = open_file(path)
    file.append(stream(), [line], NOTE | {"status": 422, "message": "no"})
    file.close()
    schema, written = path.read_bytes().splitlines()
    assert schema == SCHEMA_LINE.rstrip()
    assert written.startswith(line.rstrip()[:-1])
    note = json.loads(written)["rejection"]
    assert len(note.pop("run")) == 8
    assert note == NOTE | {"status": 422, "message": "no"}


def test_only_its_owner_can_read_the_file(path: Path) -> None:
    open_file(path).append(stream(), [record(1)], NOTE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_changed_schema_stands_before_its_records(path: Path) -> None:
    file = open_file(path)
    for schema_line in (SCHEMA_LINE, SCHEMA_LINE, WIDER_SCHEMA_LINE):
        file.append(stream(schema_line), [record(1)], NOTE)
    file.close()
    kinds = [line["type"] for line in lines_of(path)]
    assert kinds == ["SCHEMA", "RECORD", "RECORD", "SCHEMA", "RECORD"]
    assert path.read_bytes().splitlines()[3] == WIDER_SCHEMA_LINE.rstrip()


def test_the_line_of_each_record_is_told(path: Path) -> None:
    file = open_file(path)
    assert file.append(stream(), [record(1), record(2)], NOTE) == 2
    assert file.append(stream(), [record(3)], NOTE) == 4
    file.close()
    again = open_file(path)
    assert again.append(stream(), [record(4)], NOTE) == 6
    assert lines_of(path)[5]["record"] == {"id": 4}


def test_what_a_killed_run_left_half_written_is_no_record(path: Path) -> None:
    whole = SCHEMA_LINE + record(1)
    path.write_bytes(whole + b'{"type":"RECORD","stream":"people","rec')
    file = open_file(path)
    file.append(stream(), [record(2)], NOTE)
    file.close()
    assert path.read_bytes().startswith(whole)
    assert [line.get("record") for line in lines_of(path)] == [None, {"id": 1}, None, {"id": 2}]


@pytest.mark.parametrize("size", [10, 70_000, 200_000])
def test_half_a_long_line_is_found_whole(path: Path, size: int) -> None:
    path.write_bytes(SCHEMA_LINE + b'{"record":"' + b"x" * size)
    open_file(path).close()
    assert path.read_bytes() == SCHEMA_LINE


def test_half_a_line_is_found_wherever_the_whole_one_before_it_ends(path: Path) -> None:
    """The file is read in pieces, and a line may end just where one begins."""
    whole = b'{"record":"%s"}' % (b"x" * (65_536 - 13)) + b"\n"
    path.write_bytes(whole + b'{"record":"x')
    open_file(path).close()
    assert path.read_bytes() == whole


def test_a_last_line_whose_newline_an_editor_took_away_is_kept(path: Path) -> None:
    path.write_bytes(SCHEMA_LINE.rstrip())
    file = open_file(path)
    assert path.read_bytes() == SCHEMA_LINE
    assert file.append(stream(), [record(1)], NOTE) == 3, "it is counted as a line"


def test_a_file_that_cannot_be_opened_is_a_settings_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"Setting 'rejects_path': .* cannot be written"):
        open_file(tmp_path / "missing" / "rejects.singer")


@pytest.mark.parametrize("kind", ["fifo", "folder", "nul"])
def test_what_is_no_regular_file_is_a_settings_error(path: Path, kind: str) -> None:
    """A FIFO, or /dev/null, keeps nothing."""
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path = path.with_name("a\0b")
    with pytest.raises(SettingsError, match="Setting 'rejects_path': "):
        open_file(path)


def test_a_night_without_rejections_leaves_no_empty_file_of_its_own(tmp_path: Path) -> None:
    open_file(tmp_path / "rejects-{started_at}.singer").close()
    assert list(tmp_path.iterdir()) == []
    file = open_file(tmp_path / "rejects-{started_at}.singer")
    file.append(stream(), [record(1)], NOTE)
    file.close()
    assert len(list(tmp_path.iterdir())) == 1


# What the system cannot do


def test_a_full_disk_leaves_no_half_line_and_is_never_said_to_be_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by a later `sync` either, when there is room again."""
    file = open_file(path)
    file.append(stream(), [record(1)], NOTE)
    before = path.read_bytes()
    write = os.write

    def half(descriptor: int, data: memoryview) -> int:
        monkeypatch.setattr(os, "write", full)
        return write(descriptor, data[:10])

    def full(_descriptor: int, _data: memoryview) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(DeliveryError, match="No space left on device"):
        file.append(stream(), [record(2)], NOTE)
    monkeypatch.setattr(os, "write", write)
    assert path.read_bytes() == before
    with pytest.raises(DeliveryError, match="No space left on device"):
        file.sync()
    with pytest.raises(DeliveryError, match="No space left on device"):
        file.append(stream(), [record(3)], NOTE)


def test_what_could_not_be_flushed_once_is_never_said_to_be_on_the_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed fsync the next one succeeds, although the data is gone."""
    file = open_file(path)
    file.append(stream(), [record(1)], NOTE)

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(DeliveryError, match="Input/output error"):
            file.sync()
    with pytest.raises(DeliveryError, match="Input/output error"):
        file.sync()


def test_a_failure_to_close_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = open_file(path)
    close = os.close

    def fail(descriptor: int) -> None:
        close(descriptor)
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", fail)
        with pytest.raises(DeliveryError, match="Input/output error"):
            file.close()


# Several runs


def test_a_second_run_waits_for_the_first_to_end(path: Path) -> None:
    first = open_file(path)
    first.append(stream(), [record(1)], NOTE)
    threading.Timer(0.3, first.close).start()
    second = open_file(path)
    second.append(stream(), [record(2)], NOTE)
    second.close()
    assert [line.get("record") for line in lines_of(path)] == [None, {"id": 1}, None, {"id": 2}]


def test_a_second_run_says_that_the_file_is_taken(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejects_file, "LOCK_WAIT_SECONDS", 0.2)
    first = open_file(path)
    with pytest.raises(SettingsError, match="another run is still writing to"):
        open_file(path)
    first.close()
    open_file(path).close()


def test_a_run_that_was_killed_does_not_block_the_next(path: Path) -> None:
    code = (
        "import datetime, os, sys\n"
        "from target_mainbrainer.report.rejects import RejectsFile\n"
        "file = RejectsFile(sys.argv[1], datetime.datetime.now(), 'killed')\n"
        "os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert killed.returncode == -9
    open_file(path).close()


def test_a_file_renamed_while_waiting_for_it_is_not_written_to(path: Path) -> None:
    """Somebody moves the rejects away to correct them, in the moment between two runs."""
    first = open_file(path)
    first.append(stream(), [record(1)], NOTE)
    moved = path.with_name("to-correct.singer")

    def end() -> None:
        path.rename(moved)
        first.close()

    threading.Timer(0.3, end).start()
    second = open_file(path)
    second.append(stream(), [record(2)], NOTE)
    assert [line.get("record") for line in lines_of(moved)] == [None, {"id": 1}]
    assert [line.get("record") for line in lines_of(path)] == [None, {"id": 2}]


def test_a_file_system_without_locks_is_a_warning(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    open_file(path).close()
    assert "does not support locks (No locks available)" in caplog.text


def test_each_run_can_have_a_file_of_its_own() -> None:
    start = dt.datetime(2026, 1, 31, 3, 0, 0, tzinfo=dt.UTC)
    names = {path_for("r-{started_at}", start + dt.timedelta(milliseconds=n)) for n in range(5)}
    assert len(names) == 5
    assert not any(":" in str(name) for name in names)
