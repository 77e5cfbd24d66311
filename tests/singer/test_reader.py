"""Bytes in, messages out; STATE is never ahead of what is settled."""

import gzip
import io
import json
import os
import typing as t
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from singer_sdk.io_base import SingerMessageType

from target_mainbrainer.errors import InputError
from target_mainbrainer.singer.reader import MessageReader, decode_message
from target_mainbrainer.singer.state import SourceRecord, StateTracker
from tests.loads import PEOPLE, Load, Record, batch, cases, person, record, schema, state
from tests.projects import BIN, LOADER, call

KINDS = t.cast("list[str]", list(SingerMessageType))


def read(source: t.IO[str], reader: MessageReader | None = None) -> list[Record]:
    messages: list[Record] = []
    (reader or MessageReader()).process_lines(source, dict.fromkeys(KINDS, messages.append))
    return messages


def file_of(tmp_path: Path, data: bytes) -> t.IO[str]:
    path = tmp_path / "input.singer"
    path.write_bytes(data)
    return path.open(encoding="utf-8")


def pipe_of(data: bytes) -> t.IO[str]:
    read_end, write_end = os.pipe()
    os.write(write_end, data)
    os.close(write_end)
    return os.fdopen(read_end, encoding="utf-8")


def states(*numbers: int) -> bytes:
    return b"".join(b'{"type":"STATE","value":{"n":%d}}\n' % n for n in numbers)


def test_messages_are_read_from_files_pipes_and_texts_alike(tmp_path: Path) -> None:
    data = states(1) + b"\n" + states(2)[:-1]
    with file_of(tmp_path, data) as file, pipe_of(data) as pipe:
        expected = [{"type": "STATE", "value": {"n": n}} for n in (1, 2)]
        assert read(file) == read(pipe) == read(io.StringIO(data.decode())) == expected


def test_lines_are_whole_in_pieces_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in range(1, len(states(1, 2)) + 2):
        monkeypatch.setattr("target_mainbrainer.singer.reader.CHUNK_BYTES", size)
        with pipe_of(states(1, 2, 3)) as pipe:
            assert [message["value"]["n"] for message in read(pipe)] == [1, 2, 3]


@cases(
    "value expected",
    (b"%d" % 10**40, 10**40),
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
def test_a_bad_line_is_named_and_never_repeated(load: Load, data: bytes, expected: str) -> None:
    """By its number."""
    with file_of(load.folder, states(1) + data) as file, pytest.raises(InputError) as caught:
        read(file)
    assert str(caught.value).startswith("Line 2 of the input ")
    assert expected in str(caught.value)
    assert "kari" not in str(caught.value) + load.caplog.text


# STATE is never ahead of what is settled


@given(st.data(), st.lists(st.integers(0, 5), max_size=12))
def test_a_state_is_due_when_its_records_are_settled(data: st.DataObject, sizes: list[int]) -> None:
    """A STATE is due exactly when all records before it are settled."""
    tracker, left = StateTracker(), dict(enumerate(sizes))
    records: list[tuple[int, SourceRecord]] = []
    for number, size in left.items():
        tracker.interval.read += size
        records += [(number, SourceRecord(tracker.interval, 1, b"")) for _ in range(size)]
        tracker.close_interval({"bookmark": number})
    written = -1
    for number, one in [(-1, None), *data.draw(st.permutations(records))]:
        if one is not None:
            tracker.settle([one])
            left[number] -= 1
        newest = next((n for n, open_ in left.items() if open_), len(sizes)) - 1
        assert tracker.take_due() == ({"bookmark": newest} if newest > written else None)
        written = max(written, newest)


# What is no proper message ends the run in one sentence, without data


DEEP = "[" * 3000 + "]" * 3000
TOO_DEEP = "nested too deeply to be read"
NO_KEYS = "SCHEMA message without a proper 'key_properties'"


def schema_message(**members: t.Any) -> str:
    message = {"type": "SCHEMA", "stream": "people", "schema": {"properties": PEOPLE}}
    return json.dumps(message | {"key_properties": ["id"]} | members)


@cases(
    "line said",
    ('{"type":"RECORD","stream":["kari"],"record":{}}', "without a proper 'stream'"),
    ('{"type":"RECORD","stream":"people"}', "RECORD message without a proper 'record'"),
    *(
        (f'{{"type":"RECORD","stream":"people","record":"{text}"}}', "without a proper 'record'")
        for text in ("kari", "\\ud800")
    ),
    (schema_message(stream=None), "SCHEMA message without a proper 'stream'"),
    *((schema_message(stream=odd), "without a proper 'stream'") for odd in ("a\0b", "a\ud800")),
    *(
        (schema_message(schema=odd), "without a proper 'schema'")
        for odd in ({}, *({"properties": odd} for odd in (None, [1], {"id": 5})))
    ),
    *((schema_message(key_properties=odd), NO_KEYS) for odd in ([1], [None], "id")),
    ('{"type":"STATE","value":"kari"}', "STATE message without a proper 'value'"),
    (f'{{"type":"STATE","value":{{"x":{DEEP}}}}}', TOO_DEEP),
    *((batch(odd), "BATCH message without a proper 'manifest'") for odd in (5, None, "")),
    (batch(manifest=None), "BATCH message without a proper 'manifest'"),
    (batch(encoding=None), "BATCH message without a proper 'encoding'"),
)
def test_what_is_no_proper_message_is_named_by_its_line(load: Load, line: str, said: str) -> None:
    ended = load.fails(schema(), line)
    assert ended.error.startswith("Line 2 of the input is ")
    assert said in ended.error
    assert "kari" not in ended.log


NO_RECORD = "the BATCH message on line 2 of the input contains a line that is not"
GZIP = {"format": "jsonl", "compression": "gzip"}
CUT_OFF = gzip.compress(b"{}", mtime=0)[:-9]


@cases(
    "message content expected",
    (batch(encoding={"format": "jsonl", "compression": {}}), b"", "encoded in a way"),
    *((batch(encoding={"format": odd}), b"", "encoded in a way") for odd in (["jsonl"], "parquet")),
    (batch("s3://bucket/x"), b"", "read: ImportError."),
    *((batch(odd), b"", "read: ValueError.") for odd in ("odd://secret@x/y", "file:///a\0b")),
    (batch("file:///"), b"", "cannot be read: Is a directory."),
    (batch("file:///no-such-file"), b"", "cannot be read: No such file or directory."),
    *((batch("FILE"), odd, NO_RECORD) for odd in (b"kari@example.com\n", b"[1]\n", b'"kari"\n')),
    (batch("FILE", encoding=GZIP), CUT_OFF, "of stream 'people' cannot be read"),
)
def test_a_bad_batch_is_one_sentence(
    load: Load, message: str, content: bytes, expected: str
) -> None:
    """Its file has this content; nothing of it is repeated."""
    path = load.folder / "people.jsonl"
    path.write_bytes(content)
    ended = load.fails(schema(), message.replace("FILE", path.as_uri()))
    assert expected in ended.error
    assert "secret" not in ended.log
    assert "kari" not in ended.log


@cases("address", "file://{}", "file://localhost{}", "{}")
@cases("name", "a b.jsonl", "a%20b.jsonl", "people.jsonl.gz")
def test_a_batch_file_is_found_by_any_address(load: Load, address: str, name: str) -> None:
    """A batch file is found however its address is written, packed or not."""
    path, text = load.folder / name, '\ufeff{"id": 1, "email": "p@example.com"}\n\n'.encode()
    packed = path.suffix == ".gz"
    path.write_bytes(gzip.compress(text) if packed else text)
    encoding = {"format": "jsonl", "compression": "gzip" if packed else "none"}
    spellings = [str(path)]
    if address.startswith("file"):
        spellings.append(str(path).replace("%", "%25").replace(" ", "%20"))
    for spelling in spellings:
        message = batch(address.format(spelling), encoding=encoding)
        assert load.ok(schema(), message, state(bookmark=1)).bookmark == 1
    assert load.contact["email"] == "p@example.com"


@cases("depth", 50, 250, 100_000)
def test_a_record_that_is_nested_less_deeply_is_delivered(load: Load, depth: int) -> None:
    line = '{"type":"RECORD","stream":"people","record":{"id":2,"email":"a@example.com","x":%s}}'
    ended = load.run(schema(), person(1), line % ("[" * depth + "]" * depth), max_rejects=1)
    if depth > 1000:
        assert ended.error.startswith(f"Line 3 of the input is a message that is {TOO_DEEP}.")
    else:
        counts = ended.ok().counts
        assert counts["accepted"] + counts["rejected"] == counts["read"] == 2


@cases("number", "NaN", "Infinity", "-Infinity")
def test_a_state_with_a_number_that_json_lacks_goes_on_as_it_came(load: Load, number: str) -> None:
    """A null in its place would make the tap start from nothing."""
    ended = load.ok(schema(), f'{{"type":"STATE","value":{{"at":{number},"n":1.5}}}}')
    assert repr(ended.states) == repr([{"at": float(number), "n": 1.5}])


def test_a_closed_standard_input_is_an_error(load: Load) -> None:
    config = load.folder / "config.json"
    config.write_text(json.dumps(load.settings))
    ended = call(BIN / LOADER, "--config", config, preexec_fn=lambda: os.close(0), timeout=60)
    assert ended.returncode == 1
    assert "standard input is closed" in ended.stderr
    assert "Unexpected" not in ended.stderr


def test_the_name_of_a_stream_cannot_forge_a_line_of_the_log(load: Load) -> None:
    error = load.fails(record("a\nERROR b", id=1)).error
    assert "stream 'a\\nERROR b'" in error
    assert "came before the stream's SCHEMA message" in error
