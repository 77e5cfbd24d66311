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
import typing as t

import pytest

from target_mainbrainer.errors import DeliveryError, SettingsError
from target_mainbrainer.report.counts import StreamReport
from target_mainbrainer.report.rejects import RecordLabels, RejectsFile, SourceStream, path_for
from tests import messages

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
    return f"{messages.record(id=number)}\n".encode()


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


@pytest.mark.parametrize("size", [10, 70_000, 200_000])
def test_what_a_killed_run_left_half_written_is_no_record(path: Path, size: int) -> None:
    """The file is read in pieces, and a line may end just where one begins."""
    for whole in (SCHEMA_LINE, b'{"record":"%s"}\n' % (b"x" * (65_536 - 13)), b""):
        path.write_bytes(whole + b'{"record":"' + b"x" * size)
        open_file(path).close()
        assert path.read_bytes() == whole


def test_a_last_line_whose_newline_an_editor_took_away_is_kept(path: Path) -> None:
    path.write_bytes(SCHEMA_LINE.rstrip())
    file = open_file(path)
    assert path.read_bytes() == SCHEMA_LINE
    file.close()


@pytest.mark.parametrize("name", ["fifo", ".", "a\0b", "missing/rejects.singer"])
def test_what_is_no_regular_file_is_a_settings_error(tmp_path: Path, name: str) -> None:
    """A FIFO, or /dev/null, keeps nothing."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(SettingsError, match="Setting 'rejects_path': "):
        open_file(tmp_path / name)


def test_a_night_without_rejections_leaves_no_empty_file_of_its_own(tmp_path: Path) -> None:
    open_file(tmp_path / "rejects-{started_at}.singer").close()
    assert list(tmp_path.iterdir()) == []
    file = open_file(tmp_path / "rejects-{started_at}.singer")
    file.append(stream(), [record(1)], NOTE)
    file.close()
    assert len(list(tmp_path.iterdir())) == 1


# What the system cannot do


def failing(code: int, words: str) -> t.Callable[..., None]:
    def fail(*_: object) -> None:
        raise OSError(code, words)

    return fail


def test_a_full_disk_leaves_no_half_line_and_is_never_said_to_be_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by a later `sync` either, when there is room again."""
    file = open_file(path)
    file.append(stream(), [record(1)], NOTE)
    before = path.read_bytes()
    write = os.write

    def half(descriptor: int, data: memoryview) -> int:
        monkeypatch.setattr(os, "write", failing(errno.ENOSPC, "No space left on device"))
        return write(descriptor, data[:10])

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
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(errno.EIO, "Input/output error"))
        with pytest.raises(DeliveryError, match="Input/output error"):
            file.sync()
    with pytest.raises(DeliveryError, match="Input/output error"):
        file.sync()


def test_a_failure_to_close_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = open_file(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "close", failing(errno.EIO, "Input/output error"))
        with pytest.raises(DeliveryError, match="Input/output error"):
            file.close()


# Several runs


def test_a_second_run_says_that_the_file_is_taken(path: Path) -> None:
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


def test_a_file_system_without_locks_is_a_warning(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK, "No locks available"))
    open_file(path).close()
    assert "does not support locks (No locks available)" in caplog.text


def test_each_run_can_have_a_file_of_its_own() -> None:
    start = dt.datetime(2026, 1, 31, 3, 0, 0, tzinfo=dt.UTC)
    names = {path_for("r-{started_at}", start + dt.timedelta(milliseconds=n)) for n in range(5)}
    assert len(names) == 5
    assert not any(":" in str(name) for name in names)
