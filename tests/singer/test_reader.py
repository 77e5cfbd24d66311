"""Bytes in, messages out; STATE is never ahead of what is settled."""

import io
import itertools
import os
import threading
import typing as t
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from singer_sdk.io_base import SingerMessageType

from target_mainbrainer.errors import InputError
from target_mainbrainer.singer.reader import CHUNK_BYTES, MessageReader, decode_message
from target_mainbrainer.singer.state import SourceRecord, StateTracker
from tests.loads import Record, cases

KINDS = t.cast("list[str]", list(SingerMessageType))


def read(source: t.IO[str], reader: MessageReader | None = None) -> list[Record]:
    messages: list[Record] = []
    (reader or MessageReader()).process_lines(source, dict.fromkeys(KINDS, messages.append))
    return messages


def file_of(tmp_path: Path, data: bytes) -> t.IO[str]:
    path = tmp_path / "input.singer"
    path.write_bytes(data)
    return path.open(encoding="utf-8")


def states(*numbers: int) -> bytes:
    return b"".join(b'{"type":"STATE","value":{"n":%d}}\n' % n for n in numbers)


def test_messages_are_read_from_files_pipes_and_texts_alike(tmp_path: Path) -> None:
    data = states(1) + b"\n" + states(2)[:-1]
    long = data.replace(b"2}", b" " * 3 * CHUNK_BYTES + b"2}")
    read_end, write_end = os.pipe()
    os.write(write_end, data)
    os.close(write_end)
    with file_of(tmp_path, data) as file, os.fdopen(read_end, encoding="utf-8") as pipe:
        expected = [{"type": "STATE", "value": {"n": n}} for n in (1, 2)]
        assert read(file) == read(pipe) == read(io.StringIO(data.decode())) == expected
    with file_of(tmp_path, long) as file:
        assert read(file) == expected


@given(cuts=st.lists(st.integers(1, 60), max_size=8), count=st.integers(0, 5))
def test_lines_are_whole_however_the_pipe_delivers_them(cuts: list[int], count: int) -> None:
    data = states(*range(count))
    read_end, write_end = os.pipe()

    def trickle() -> None:
        rest = data
        for cut in cuts:
            os.write(write_end, rest[:cut])
            rest = rest[cut:]
        os.write(write_end, rest)
        os.close(write_end)

    writer = threading.Thread(target=trickle)
    writer.start()
    with os.fdopen(read_end, encoding="utf-8") as pipe:
        messages = read(pipe)
    writer.join()
    assert [message["value"]["n"] for message in messages] == list(range(count))


def test_a_silent_tap_does_not_keep_the_target_from_acting() -> None:
    read_end, write_end = os.pipe()
    reader, ticks = MessageReader(), itertools.count(1)
    reader.tick = lambda: os.close(write_end) if next(ticks) == 3 else None
    with os.fdopen(read_end, encoding="utf-8") as pipe:
        assert read(pipe, reader) == []
    assert next(ticks) > 3


@cases(
    "value expected",
    (b"12.50", Decimal("12.50")),
    (b"%d" % 10**40, 10**40),
    (b'"\\ud800"', "\ud800"),
    (b"Infinity", float("inf")),  # no JSON, but written
    ids=lambda value: ascii(value)[:30],
)
def test_what_taps_really_write_is_read(value: bytes, expected: t.Any) -> None:
    for byte_order_mark in (b"", b"\xef\xbb\xbf"):
        line = byte_order_mark + b'{"type":"RECORD","x":%s}' % value
        assert decode_message(line)["x"] == expected


@cases(
    "data expected",
    (b"kari@example.com\n", "is not valid JSON in UTF-8."),
    (b'{"type":"RECORD","record":{"mail":"kari', "it is cut off, as by a tap that failed."),
    (b'["kari@example.com"]\n', "because it is not a JSON object"),
    *((b'{"type":%s,"mail":"kari"}\n' % odd, "its 'type'") for odd in (b'"RECROD"', b'["x"]')),
    (b'{"mail":"kari@example.com"}\n', "its 'type'"),
    (b'{"type":"STATE","mail":"kari@example.com\xff"}\n', "UTF-8"),
    (b"[" * 100_000 + b"\n", "nested too deeply"),
    (b'{"x":1e9999999999999999999}\n', "valid JSON"),
    (b'{"x":%s}\n' % (b"1" * 5000), "valid JSON"),
    ids=lambda value: ascii(value)[:40],
)
def test_a_bad_line_is_named_by_its_number_and_never_repeated(
    tmp_path: Path, data: bytes, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    with file_of(tmp_path, states(1) + data) as file, pytest.raises(InputError) as caught:
        read(file)
    assert str(caught.value).startswith("Line 2 of the input ")
    assert expected in str(caught.value)
    assert "kari" not in str(caught.value) + caplog.text


# STATE is never ahead of what is settled


@given(st.data(), st.lists(st.integers(0, 5), max_size=12))
def test_a_state_is_due_when_its_records_are_settled(data: st.DataObject, sizes: list[int]) -> None:
    """A STATE is due exactly when all records before it are settled."""
    state_tracker = StateTracker()
    source_records = []
    for number, size in enumerate(sizes):
        for _ in range(size):
            state_tracker.interval.read += 1
            source_records.append((number, SourceRecord(state_tracker.interval, 1, b"")))
        state_tracker.close_interval({"bookmark": number})
    settled: list[int] = []
    written = -1
    for number, source_record in [(-1, None), *data.draw(st.permutations(source_records))]:
        if source_record is not None:
            state_tracker.settle([source_record])
            settled.append(number)
        due = state_tracker.take_due()
        open_epochs = [n for n, size in enumerate(sizes) if settled.count(n) < size]
        newest = (open_epochs[0] if open_epochs else len(sizes)) - 1
        if newest > written:
            assert due == {"bookmark": newest}
            written = newest
        else:
            assert due is None
