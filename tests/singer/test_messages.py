"""What is no proper message ends the run in one sentence that names the line, and no data."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import typing as t

import pytest

from tests.messages import PEOPLE, person, record, schema

if t.TYPE_CHECKING:
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import RunTarget

DEEP = "[" * 3000 + "]" * 3000
RATHER_DEEP = "[" * 200 + "]" * 200


def schema_message(**members: t.Any) -> str:
    message = {"type": "SCHEMA", "stream": "people", "schema": {"properties": PEOPLE}}
    return json.dumps(message | {"key_properties": ["id"]} | members)


def batch(**members: t.Any) -> str:
    message = {"type": "BATCH", "stream": "people", "encoding": {"format": "jsonl"}}
    return json.dumps(message | {"manifest": []} | members)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            '{"type":"RECORD","stream":["x"],"record":{}}',
            "without a proper 'stream'",
        ),
        ('{"type":"RECORD","stream":{},"record":{}}', "without a proper 'stream'"),
        ('{"type":"RECORD","stream":"people"}', "RECORD message without a proper 'record'"),
        ('{"type":"RECORD","stream":"people","record":5}', "without a proper 'record'"),
        (schema_message(stream=None), "SCHEMA message without a proper 'stream'"),
        (schema_message(schema={"properties": None}), "no proper 'properties'"),
        (schema_message(schema={"properties": [1]}), "no proper 'properties'"),
        (schema_message(schema={"properties": {"id": 5}}), "no proper 'properties'"),
        (schema_message(stream="a\0b"), "whose stream has a name with NUL in it"),
        (schema_message(schema={}), "no proper 'properties'"),
        (schema_message(key_properties=[1]), "'key_properties' is not a list of column names"),
        (schema_message(key_properties=[None]), "'key_properties' is not a list of column names"),
        (schema_message(key_properties="id"), "'key_properties' is not a list of column names"),
        ('{"type":"STATE","value":[1]}', "STATE message without a proper 'value'"),
        (f'{{"type":"STATE","value":{{"x":{DEEP}}}}}', "nested too deeply to be read"),
        (f'{{"type":"STATE","value":{{"x":{RATHER_DEEP}}}}}', "nested too deeply to be read"),
        (
            f'{{"type":"SCHEMA","stream":"p","schema":{{"properties":{{}},"x":{RATHER_DEEP}}}}}',
            "nested too deeply to be read",
        ),
        (batch(manifest=[5]), "'manifest' is not a list of files"),
        (batch(manifest=[None]), "'manifest' is not a list of files"),
        (batch(manifest=[""]), "'manifest' is not a list of files"),
        (batch(manifest=None), "BATCH message without a proper 'manifest'"),
        (batch(encoding=None), "BATCH message without a proper 'encoding'"),
    ],
)
def test_what_is_no_proper_message_is_named_by_its_line(
    run_target: RunTarget, line: str, expected: str
) -> None:
    ended = run_target(schema(), line)
    assert ended.code == 1
    assert ended.error.startswith("Line 2 of the input is ")
    assert expected in ended.error


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (batch(encoding={"format": "jsonl", "compression": {}}), "encoded in a way"),
        (batch(encoding={"format": {}}), "encoded in a way"),
        (batch(encoding={"format": "parquet"}), "encoded in a way"),
        (batch(manifest=["s3://bucket/x"]), "package for this kind of storage is not installed"),
        (batch(manifest=["http://127.0.0.1:1/x"]), "package for this kind of storage is not"),
        (batch(manifest=["odd://secret@x/y"]), "cannot be read: ValueError."),
        (batch(manifest=["file:///"]), "cannot be read: Is a directory."),
        (batch(manifest=["file:///no-such-file"]), "cannot be read: No such file or directory."),
        (batch(manifest=["file:///a\0b"]), "cannot be read: ValueError."),
    ],
)
def test_a_batch_that_cannot_be_read_ends_in_one_sentence(
    run_target: RunTarget, message: str, expected: str
) -> None:
    ended = run_target(schema(), message)
    assert ended.code == 1
    assert expected in ended.error
    assert "secret" not in ended.log


@pytest.mark.parametrize("content", [b"kari@example.com\n", b"[1]\n", b'"kari@example.com"\n'])
def test_a_line_of_a_batch_file_that_is_no_record_is_not_repeated(
    run_target: RunTarget, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "people.jsonl"
    path.write_bytes(content)
    ended = run_target(schema(), batch(manifest=[path.as_uri()]))
    assert ended.code == 1
    assert "the BATCH message on line 2 of the input contains a line that is not" in ended.error
    assert "kari" not in ended.log


def test_a_batch_file_of_messages_is_told_for_what_it_is(
    run_target: RunTarget, tmp_path: Path
) -> None:
    path = tmp_path / "people.jsonl"
    path.write_text(f"{person(1)}\n{person(2)}\n")
    ended = run_target(schema(), batch(manifest=[path.as_uri()]))
    assert ended.code == 1
    assert ended.error == (
        "A file of a BATCH message of stream 'people' contains RECORD messages. It should contain "
        "only records, one JSON object per line. Check the output of the tap."
    )


@pytest.mark.parametrize("address", ["file://{}", "file://localhost{}", "{}"])
@pytest.mark.parametrize("name", ["a b.jsonl", "a%20b.jsonl", "people.jsonl"])
def test_a_batch_file_is_found_however_its_address_is_written(
    run_target: RunTarget, crm: RunningSandbox, tmp_path: Path, address: str, name: str
) -> None:
    path = tmp_path / name
    path.write_text('\ufeff{"id": 1, "email": "p@example.com"}\n\n', encoding="utf-8")
    spellings = [str(path)]
    if address.startswith("file"):
        spellings.append(str(path).replace("%", "%25").replace(" ", "%20"))
    for spelling in spellings:
        ended = run_target(schema(), batch(manifest=[address.format(spelling)]))
        assert ended.code == 0, ended.errors
    assert [contact["email"] for contact in crm.contacts()] == ["p@example.com"]


def test_a_batch_file_that_is_cut_off_ends_in_one_sentence(
    run_target: RunTarget, tmp_path: Path
) -> None:
    path = tmp_path / "people.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps({"id": 1, "email": "p@example.com"}).encode())[:-9])
    message = batch(manifest=[path.as_uri()], encoding={"format": "jsonl", "compression": "gzip"})
    ended = run_target(schema(), message)
    assert ended.code == 1
    assert "of a BATCH message of stream 'people' cannot be read" in ended.error


def test_a_record_that_is_nested_too_deeply_ends_the_run_in_one_sentence(
    run_target: RunTarget,
) -> None:
    line = '{"type":"RECORD","stream":"people","record":{"id":2,"email":"a@example.com","x":%s}}'
    ended = run_target(schema(), person(1), line % ("[" * 100_000 + "]" * 100_000))
    assert ended.code == 1
    assert ended.error.startswith(
        "Line 3 of the input is a message that is nested too deeply to be read."
    )


@pytest.mark.parametrize("depth", [50, 250, 600])
def test_a_record_that_is_nested_as_deeply_as_can_be_read_is_one_record(
    run_target: RunTarget, depth: int
) -> None:
    line = '{"type":"RECORD","stream":"people","record":{"id":2,"email":"a@example.com","x":%s}}'
    ended = run_target(schema(), person(1), line % ("[" * depth + "]" * depth), max_rejects=1)
    assert ended.code == 0, ended.errors
    people = ended.report["streams"]["people"]
    assert people["accepted"] + people["rejected"] == people["read"] == 2


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_state_with_a_number_that_json_lacks_is_passed_on_as_it_came(
    run_target: RunTarget, number: str
) -> None:
    """A null in its place would make the tap start from nothing."""
    ended = run_target(schema(), f'{{"type":"STATE","value":{{"at":{number},"n":1.5}}}}')
    assert ended.code == 0
    assert repr(ended.states) == repr([{"at": float(number), "n": 1.5}])


def test_a_closed_standard_input_is_told_as_such(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"access_token": "made-up"}))
    ended = subprocess.run(
        [sys.executable, "-m", "target_mainbrainer", "--config", str(config)],
        preexec_fn=lambda: os.close(0),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "standard input is closed" in ended.stderr
    assert "Unexpected" not in ended.stderr


def test_the_name_of_a_stream_cannot_forge_a_line_of_the_log(run_target: RunTarget) -> None:
    ended = run_target(record("a\nERROR b", id=1))
    assert ended.code == 1
    assert "stream 'a\\nERROR b'" in ended.error
