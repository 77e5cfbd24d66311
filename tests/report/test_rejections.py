"""Rejected records in the log and the file, when they are settled, and when too many."""

import contextlib
import datetime as dt
import errno
import fcntl
import json
import os
import re
import secrets
import stat
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from target_mainbrainer.errors import DeliveryError, SettingsError
from target_mainbrainer.report.counts import StreamReport
from target_mainbrainer.report.rejects import RecordLabels, RejectsFile, SourceStream
from tests.broken_server import Reply
from tests.loads import Ended, Load, Record, cases, person, record, schema
from tests.projects import call
from tests.rounds.sent import in_letters, judging, refusal


def said_of_rejections(ended: Ended) -> list[str]:
    """Return the lines of the log on rejected records, most of one kind first."""
    return [line for line in ended.log.splitlines() if "Rejected " in line]


# Names in the log


NO_KEYS = ["kari@example.com", "a11", True, 4711.5, 1e300, 298123.0]
NUMBERS = ["4790812501", 447700900123, "298123", 298123]


@cases(
    "key columns expected",
    *((["id"], {"id": key}, f"id={key}") for key in (4711, "4711", "0047")),
    (["id"], {"id": 4711.0}, "id=4711"),
    (["a", "b"], {"a": 1, "b": 2}, "a=1 b=2"),
    *((["id"], {"id": key}, None) for key in NO_KEYS + NUMBERS),
    *((["id"], {"id": key, "m": m}, None) for key, m in ((4711, 4711.0), (4711, 4711))),
    *((["id"], {"id": key, "m": "47 11"}, None) for key in ("4711", 4711)),
    *((["tel"], {"tel": 4711}, None), (["nin"], {"nin": 12345678901}, None)),
    *(([], {"id": 1}, None), (["id"], {}, None)),
)
def test_a_key_is_shown_only_if_it_is_not_personal(
    load: Load, key: list[str], columns: Record, expected: str | None
) -> None:
    """Nor if it stands elsewhere in the record. The Faroe Islands have numbers of six digits."""
    load.keep_rejects()
    names: Record = {name: {} for name in ("id", "a", "b", "tel", "nin", "m", "email")}
    load.settings |= {"default_country_code": 298, "field_map": {"tel": "mobile"}}
    ended = load(schema(names, key=key), record(**columns, email="cut-off@"))
    (line,) = said_of_rejections(ended)
    assert "Rejected 1 of stream 'people', " in line
    assert line.endswith(f" ({expected or 'record 1 of the stream'})")


def test_rejections_are_grouped_with_at_most_five_names(load: Load) -> None:
    """The most frequent come first; whose key is not shown is named by the number of one.

    Where a SCHEMA message comes again with another key, that key is shown from then on.
    """
    load.keep_rejects()
    bad = [person(n, email="cut-off@") for n in range(2000)]
    hidden = [record(id=f"{name}@example.com", email=None) for name in ("kari", "olav")]
    columns = "id email firstname email_opt_in"
    both = [person(3000, email_opt_in="perhaps"), schema("no email email_opt_in", key=["no"])]
    both.append(record(no=7, email="p@example.com", email_opt_in="perhaps"))
    ended = load(schema(columns), *hidden, *bad, *both, max_rejects_percent=100)
    first, *others = said_of_rejections(ended)
    second, third = sorted(others, key=lambda line: "consent" in line)
    assert "Rejected 2,000 of stream 'people', invalid_email: " in first
    assert first.endswith("(id=0, id=1, id=2, id=3, id=4, ...)")
    assert "Rejected 2 of stream 'people', no_identity: " in second
    assert second.endswith("(record 1 of the stream, ...)")
    assert third.endswith("(id=3000, no=7)")


def test_a_server_with_a_new_word_for_each_refusal_does_not_flood_the_log(load: Load) -> None:
    def judge(contacts: list[Record]) -> Reply | None:
        numbers = [int(one["email"][1:].partition("@")[0]) for one in contacts]
        return refusal(f"Because of {in_letters(min(numbers))}") if min(numbers) < 300 else None

    load.keep_rejects()
    load.serve(judging(judge))
    lines = said_of_rejections(load(schema(), *(person(n) for n in range(340))).ok())
    assert len(lines) == 101
    assert "Rejected 200 of stream 'people', refused_422: For various reasons." in lines[0]


@cases("most way_out", (None, "set 'rejects_path'"), (0, "raise 'max_rejects'"))
def test_too_many_rejections_name_the_way_out(load: Load, most: int | None, way_out: str) -> None:
    ended = load.fails(schema(), person(1, email="cut-off@"), max_rejects=most)
    assert ended.error.endswith(f"Correct them at the source, or {way_out}.")


# The file can be loaded again as it is, belongs to one run at a time, and never lies


SCHEMA = b'{"type":"SCHEMA","stream":"people","schema":{"properties":{}},"key_properties":[]}\n'
NOTE = {"code": "invalid_email", "reason": "Its 'mail' is no e-mail address.", "status": 422}
RECORD = f"{record(id=1)}\n".encode()


def open_file(path: Path) -> RejectsFile:
    return RejectsFile(str(path), dt.datetime.now(dt.UTC), secrets.token_hex(4))


def append(file: RejectsFile, line: bytes = RECORD) -> None:
    source = SourceStream("people", SCHEMA, RecordLabels(["id"], []), StreamReport())
    file.append(source, [line], NOTE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rejects.singer"


def test_a_rejected_record_is_kept_word_for_word_with_its_reason(path: Path) -> None:
    """Only the file's owner can read it, even if others could before."""
    path.touch(0o644)
    line = b'{"type": "RECORD", "stream": "people", "record": {"price": 12.50, "n": "\\ud800"}}  \n'
    file = open_file(path)
    append(file, line)
    file.close()
    schema, written = path.read_bytes().splitlines()
    assert schema == SCHEMA.rstrip()
    assert written.startswith(line.rstrip()[:-1])
    note = json.loads(written)["rejection"]
    assert len(note.pop("run")) == 8
    assert note == NOTE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@cases("size", 10, 70_000, 200_000)
def test_what_a_killed_run_left_half_written_is_no_record(path: Path, size: int) -> None:
    """The file is read in pieces, and a line may end just where one begins."""
    begun = b'{"type":"RECORD","record":"'
    for whole in (SCHEMA, begun + b"x" * (65_536 - 30) + b'"}\n', b""):
        path.write_bytes(whole + begun + b"x" * size)
        open_file(path).close()
        assert path.read_bytes() == whole


def test_a_last_line_whose_newline_an_editor_took_away_is_kept(path: Path) -> None:
    path.write_bytes(SCHEMA.rstrip())
    open_file(path).close()
    assert path.read_bytes() == SCHEMA


@cases(
    "name reason",
    *(("fifo", "it is not a regular file"), (".", "Is a directory")),
    *(("a\0b", "embedded null byte"), ("missing/r.singer", "No such file or directory")),
)
def test_what_is_no_regular_file_fails(tmp_path: Path, name: str, reason: str) -> None:
    """A FIFO, or /dev/null, keeps nothing."""
    os.mkfifo(tmp_path / "fifo")
    said = f"Setting 'rejects_path': {str(tmp_path / name)!r} cannot be written ({reason})."
    with pytest.raises(SettingsError, match=f"^{re.escape(said)}$"):
        open_file(tmp_path / name)


def test_a_night_without_rejections_leaves_no_empty_file_of_its_own(tmp_path: Path) -> None:
    for count in (0, 1):
        file = open_file(tmp_path / "rejects-{started_at}.singer")
        for _ in range(count):
            append(file)
        file.close()
        assert len(list(tmp_path.iterdir())) == count


def test_reading_the_rejects_file_ends_the_run(load: Load) -> None:
    """`cat rejects.singer | target-mainbrainer` with the same 'rejects_path', or `--input`."""
    rejects, config = load.keep_rejects(), load.folder / "config.json"
    config.write_text(json.dumps(load.settings))
    command = [sys.executable, "-m", "target_mainbrainer", "--config", str(config)]
    bad = [person(number, email="cut-off@") for number in range(15_000)]
    for arguments in ([], ["--input", str(rejects)]):
        rejects.write_text("\n".join([schema(), *bad, ""]))
        size = rejects.stat().st_size
        with subprocess.Popen(["cat", str(rejects)], stdout=subprocess.PIPE) as cat:
            ended = call(*command, *arguments, stdin=cat.stdout, timeout=200)
            cat.kill()
        assert ended.returncode == 1
        assert "The input is the rejects file itself ('rejects_path')" in ended.stderr
        assert rejects.stat().st_size < 4 * size


def test_a_file_in_use_is_an_error_before_sending(load: Load) -> None:
    """The other run may be in the middle of a line, which is not taken for one of a killed run."""
    rejects = load.keep_rejects()
    with contextlib.closing(open_file(rejects)):
        rejects.write_text('{"type": "REC')
        ended = load.fails(schema(), person(1))
        assert rejects.read_text() == '{"type": "REC'
    assert "another run is still writing to" in ended.error
    assert "if runs are meant to overlap, put '{started_at}' in the path" in ended.error
    assert load.crm.requests() == []


# What the system cannot do


def failing(code: int, words: str) -> t.Callable[..., None]:
    def fail(*_: object) -> None:
        raise OSError(code, words)

    return fail


def test_a_full_disk_leaves_no_half_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


@cases("name act", ("fsync", RejectsFile.sync), ("close", RejectsFile.close))
def test_what_cannot_be_flushed_or_closed_is_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str, act: t.Callable[[RejectsFile], None]
) -> None:
    """After a failed fsync the next one succeeds, although the data is gone."""
    file = open_file(path)
    append(file)
    monkeypatch.setattr(os, name, failing(errno.EIO, "Input/output error"))
    for _ in range(2 if name == "fsync" else 1):
        with pytest.raises(DeliveryError, match="Input/output error"):
            act(file)
        monkeypatch.undo()


def test_a_lack_of_locks_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as on some file systems of a network."""
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK, "No locks available"))
    with pytest.raises(SettingsError, match=r"cannot be written \(No locks available\)"):
        open_file(path)
