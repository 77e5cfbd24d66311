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
from target_mainbrainer.report.rejects import RecordLabels, RejectsFile, SourceStream
from tests import messages

if t.TYPE_CHECKING:
    from pathlib import Path

SCHEMA = b'{"type":"SCHEMA","stream":"people","schema":{"properties":{}},"key_properties":[]}\n'
WIDER = SCHEMA.replace(b"{}}", b'{"a":{}}}')
NOTE = {"code": "invalid_email", "reason": "Its 'mail' is no e-mail address.", "status": 422}
RECORD = f"{messages.record(id=1)}\n".encode()


def open_file(path: Path) -> RejectsFile:
    return RejectsFile(str(path), dt.datetime.now(dt.UTC), secrets.token_hex(4))


def append(file: RejectsFile, schema_line: bytes = SCHEMA, line: bytes = RECORD) -> None:
    source = SourceStream("people", schema_line, RecordLabels(["id"], []), StreamReport())
    file.append(source, [line], NOTE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rejects.singer"


def test_a_rejected_record_is_kept_word_for_word_with_its_reason(path: Path) -> None:
    """And nobody but the file's owner can read it."""
    line = b'{"type": "RECORD", "stream": "people", "record": {"price": 12.50, "n": "\\ud800"}}  \n'
    file = open_file(path)
    append(file, line=line)
    file.close()
    schema, written = path.read_bytes().splitlines()
    assert schema == SCHEMA.rstrip()
    assert written.startswith(line.rstrip()[:-1])
    note = json.loads(written)["rejection"]
    assert len(note.pop("run")) == 8
    assert note == NOTE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_changed_schema_stands_before_its_records(path: Path) -> None:
    file = open_file(path)
    for schema_line in (SCHEMA, SCHEMA, WIDER):
        append(file, schema_line)
    file.close()
    lines = path.read_bytes().splitlines()
    kinds = ["SCHEMA", "RECORD", "RECORD", "SCHEMA", "RECORD"]
    assert [json.loads(line)["type"] for line in lines] == kinds
    assert lines[3] == WIDER.rstrip()


@pytest.mark.parametrize("size", [10, 70_000, 200_000])
def test_what_a_killed_run_left_half_written_is_no_record(path: Path, size: int) -> None:
    """The file is read in pieces, and a line may end just where one begins."""
    for whole in (SCHEMA, b'{"record":"%s"}\n' % (b"x" * (65_536 - 13)), b""):
        path.write_bytes(whole + b'{"record":"' + b"x" * size)
        open_file(path).close()
        assert path.read_bytes() == whole


def test_a_last_line_whose_newline_an_editor_took_away_is_kept(path: Path) -> None:
    path.write_bytes(SCHEMA.rstrip())
    open_file(path).close()
    assert path.read_bytes() == SCHEMA


@pytest.mark.parametrize("name", ["fifo", ".", "a\0b", "missing/rejects.singer"])
def test_what_is_no_regular_file_is_a_settings_error(tmp_path: Path, name: str) -> None:
    """A FIFO, or /dev/null, keeps nothing."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(SettingsError, match="Setting 'rejects_path': "):
        open_file(tmp_path / name)


def test_a_night_without_rejections_leaves_no_empty_file_of_its_own(tmp_path: Path) -> None:
    for count in (0, 1):
        file = open_file(tmp_path / "rejects-{started_at}.singer")
        for _ in range(count):
            append(file)
        file.close()
        assert len(list(tmp_path.iterdir())) == count


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
    append(file)
    before = path.read_bytes()
    write = os.write

    def half(descriptor: int, data: memoryview) -> int:
        monkeypatch.setattr(os, "write", failing(errno.ENOSPC, "No space left on device"))
        return write(descriptor, data[:10])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(DeliveryError, match="No space left on device"):
        append(file)
    monkeypatch.setattr(os, "write", write)
    assert path.read_bytes() == before
    for use in (file.sync, lambda: append(file)):
        with pytest.raises(DeliveryError, match="No space left on device"):
            use()


def test_what_could_not_be_flushed_once_is_never_said_to_be_on_the_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed fsync the next one succeeds, although the data is gone."""
    file = open_file(path)
    append(file)
    monkeypatch.setattr(os, "fsync", failing(errno.EIO, "Input/output error"))
    for _ in range(2):
        with pytest.raises(DeliveryError, match="Input/output error"):
            file.sync()
        monkeypatch.undo()


def test_a_failure_to_close_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = open_file(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "close", failing(errno.EIO, "Input/output error"))
        with pytest.raises(DeliveryError, match="Input/output error"):
            file.close()


# Several runs


def test_a_run_that_was_killed_does_not_block_the_next(path: Path) -> None:
    """The next one, and no other beside it."""
    code = (
        "import datetime, os, sys\n"
        "from target_mainbrainer.report.rejects import RejectsFile\n"
        "file = RejectsFile(sys.argv[1], datetime.datetime.now(), 'killed')\n"
        "os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert killed.returncode == -9
    first = open_file(path)
    with pytest.raises(SettingsError, match="another run is still writing to"):
        open_file(path)
    first.close()
    open_file(path).close()


def test_a_file_system_without_locks_is_a_warning(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK, "No locks available"))
    open_file(path).close()
    assert "does not support locks (No locks available)" in caplog.text
