"""What is no proper message ends the run in one sentence that names the line, and no data."""

import gzip
import json
import os
import typing as t

from tests.loads import PEOPLE, Load, batch, cases, person, record, schema
from tests.projects import BIN, LOADER, call

DEEP = "[" * 3000 + "]" * 3000
TOO_DEEP = "nested too deeply to be read"
NO_KEYS = "'key_properties' is not a list of column names"
NO_FILES = "'manifest' is not a list of files"


def schema_message(**members: t.Any) -> str:
    message = {"type": "SCHEMA", "stream": "people", "schema": {"properties": PEOPLE}}
    return json.dumps(message | {"key_properties": ["id"]} | members)


@cases(
    "line said",
    ('{"type":"RECORD","stream":["kari"],"record":{}}', "without a proper 'stream'"),
    ('{"type":"RECORD","stream":"people"}', "RECORD message without a proper 'record'"),
    ('{"type":"RECORD","stream":"people","record":"kari"}', "without a proper 'record'"),
    (schema_message(stream=None), "SCHEMA message without a proper 'stream'"),
    *((schema_message(stream=odd), "name with NUL or half a") for odd in ("a\0b", "a\ud800")),
    *(
        (schema_message(schema=odd), "no proper 'properties'")
        for odd in ({}, *({"properties": odd} for odd in (None, [1], {"id": 5})))
    ),
    *((schema_message(key_properties=odd), NO_KEYS) for odd in ([1], [None], "id")),
    ('{"type":"STATE","value":"kari"}', "STATE message without a proper 'value'"),
    (f'{{"type":"STATE","value":{{"x":{DEEP}}}}}', TOO_DEEP),
    *((batch(odd), NO_FILES) for odd in (5, None, "")),
    (batch(manifest=None), "BATCH message without a proper 'manifest'"),
    (batch(encoding=None), "BATCH message without a proper 'encoding'"),
)
def test_what_is_no_proper_message_is_named_by_its_line(load: Load, line: str, said: str) -> None:
    ended = load.fails(schema(), line)
    assert ended.error.startswith("Line 2 of the input is ")
    assert said in ended.error
    assert "kari" not in ended.log


NO_PACKAGE = "package for this kind of storage is not installed"


@cases(
    "message expected",
    (batch(encoding={"format": "jsonl", "compression": {}}), "encoded in a way"),
    *((batch(encoding={"format": odd}), "encoded in a way") for odd in (["jsonl"], "parquet")),
    *((batch(file), NO_PACKAGE) for file in ("s3://bucket/x", "http://127.0.0.1:1/x")),
    *((batch(odd), "read: ValueError.") for odd in ("odd://secret@x/y", "file:///a\0b")),
    (batch("file:///"), "cannot be read: Is a directory."),
    (batch("file:///no-such-file"), "cannot be read: No such file or directory."),
)
def test_an_unreadable_batch_is_one_sentence(load: Load, message: str, expected: str) -> None:
    ended = load.fails(schema(), message)
    assert expected in ended.error
    assert "secret" not in ended.log


NO_RECORD = "the BATCH message on line 2 of the input contains a line that is not"
OF_MESSAGES = "A file of a BATCH message of stream 'people' contains RECORD messages. It should"


@cases(
    "compression content expected",
    *(("none", odd, NO_RECORD) for odd in (b"kari@example.com\n", b"[1]\n", b'"kari"\n')),
    ("none", person(1).encode(), OF_MESSAGES),
    ("gzip", gzip.compress(b'{"id": 1}')[:-9], "of stream 'people' cannot be read"),
    ids=["no JSON", "a list", "a text", "messages", "cut off"],
)
def test_bad_batch_file(load: Load, compression: str, content: bytes, expected: str) -> None:
    """A batch file without proper records ends in one sentence that repeats none."""
    path = load.folder / "people.jsonl"
    path.write_bytes(content)
    encoding = {"format": "jsonl", "compression": compression}
    ended = load.fails(schema(), batch(path.as_uri(), encoding=encoding))
    assert expected in ended.error
    assert "kari" not in ended.log


@cases("address", "file://{}", "file://localhost{}", "{}")
@cases("name", "a b.jsonl", "a%20b.jsonl", "people.jsonl")
def test_a_batch_file_is_found_by_any_address(load: Load, address: str, name: str) -> None:
    """A batch file is found however its address is written."""
    path = load.folder / name
    path.write_text('\ufeff{"id": 1, "email": "p@example.com"}\n\n', encoding="utf-8")
    spellings = [str(path)]
    if address.startswith("file"):
        spellings.append(str(path).replace("%", "%25").replace(" ", "%20"))
    for spelling in spellings:
        load.ok(schema(), batch(address.format(spelling)))
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
