"""The benchmark's contacts are the same every time, and all good ones."""

import typing as t

import requests

from benchmarks import inputs
from benchmarks.processes import server
from target_mainbrainer.contacts import Contact, identifiers_of
from target_mainbrainer.mapping.mapper import compile_mapping
from target_mainbrainer.mapping.validator import compile_validator
from target_mainbrainer.settings.declared import Settings
from target_mainbrainer.singer.reader import decode_json
from tests.cases import cases

RECORDS = 3000


@cases("name", *inputs.SHAPES)
def test_every_record_of_the_benchmark_is_a_contact_of_its_own(name: str) -> None:
    messages = [decode_json(line) for line in inputs.messages(inputs.SHAPES[name], RECORDS)]
    assert messages == [decode_json(line) for line in inputs.messages(inputs.SHAPES[name], RECORDS)]
    schema, *records = messages[:-1]
    config = {"api_url": "http://127.0.0.1:1", "access_token": "made-up"} | inputs.SETTINGS
    settings = Settings.from_config(config).for_stream(name)
    find_misfit = compile_validator(schema["schema"], schema["key_properties"])
    map_record = compile_mapping(name, schema["schema"], ["id"], settings).map_record
    seen: set[object] = set()
    for message in records:
        assert find_misfit(message["record"]) is None
        contact = t.cast("Contact", map_record(message["record"]))
        assert isinstance(contact, Contact), contact
        assert seen.isdisjoint(identifiers_of(contact))
        seen.update(identifiers_of(contact))
    assert len(records) == RECORDS


def test_the_server_of_the_benchmark_counts_and_enforces_the_window() -> None:
    with server(burst=2) as crm:
        with requests.Session() as session:
            batch = f"{crm.url}/contacts/batch"
            answers = [session.post(batch, data=b"x" * 300_000, timeout=9) for _ in range(3)]
        seen = crm.seen()
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[0].json()["data"]["BatchId"] == "batch-1"
    assert (len(seen["batches"]), seen["refused"], seen["most"]) == (2, 1, 2)
    assert seen["body_bytes"] == 2 * 300_000
