"""Stream maps and flattening: mistakes are found early, and named by column."""

from __future__ import annotations

import json
import typing as t

import pytest

from tests.messages import PEOPLE, person, record, schema, state

if t.TYPE_CHECKING:
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import RunTarget

NOTHING: list[object] = []
FLATTENED = {"flattening_enabled": True, "flattening_max_depth": 2}
MAIL = {"id": {"type": "integer"}, "mail": {"type": "string"}}


def test_two_streams_with_one_alias_and_two_schemas_both_arrive(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """Also when their records come in turn, and when a SCHEMA message is sent once more."""
    lines = [schema(stream="a"), schema(MAIL, stream="b")]
    for number in range(0, 60, 2):
        lines.append(record("a", id=number, email=f"p{number}@example.com"))
        lines.append(record("b", id=number + 1, mail=f"p{number + 1}@example.com"))
        if number == 30:
            lines += [schema(stream="a"), schema(MAIL, stream="b")]
    ended = run_target(
        *lines,
        state(done=60),
        stream_maps={"a": {"__alias__": "people"}, "b": {"__alias__": "people"}},
        field_map={"mail": "email"},
        batch_size_rows=7,
    )
    assert ended.code == 0, ended.errors
    assert ended.states == [{"done": 60}]
    assert {c["email"] for c in crm.contacts()} == {f"p{n}@example.com" for n in range(60)}
    counts = ended.report["streams"]["people"]
    assert (counts["read"], counts["accepted"], counts["undelivered"]) == (60, 60, 0)


def test_a_schema_that_is_sent_again_changes_nothing(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """Nor does one with the columns of metadata, which the SDK takes out of it."""
    columns: dict[str, t.Any] = {"id": {}, "email": {}, "_sdc_batched_at": {}, "_sdc_sequence": {}}
    ended = run_target(*(line for n in (1, 2, 3) for line in (schema(columns), person(n))))
    assert ended.code == 0, ended.errors
    (batch,) = [request for request in crm.requests() if request.path == "/contacts/batch"]
    assert len(batch.body["createUpdateContacts"]) == 3
    assert ended.log.count("key: 'id'") == 1


def test_one_stream_can_become_two(run_target: RunTarget, crm: RunningSandbox) -> None:
    ended = run_target(
        schema(),
        person(1),
        stream_maps={"copies": {"__source__": "people", "email": "'c' + email"}},
    )
    assert ended.code == 0, ended.errors
    assert {c["email"] for c in crm.contacts()} == {"p1@example.com", "cp1@example.com"}
    assert {name: s["read"] for name, s in ended.report["streams"].items()} == {
        "people": 1,
        "copies": 1,
    }


@pytest.mark.parametrize(
    "stream_maps",
    [
        *({"people": {"email": odd}} for odd in ("email.lower(", "a\0b", 5, NOTHING)),
        *({"people": {"__filter__": odd}} for odd in ("id ===", 5)),
        *({"people": {name: 5}} for name in ("__else__", "__key_properties__")),
        {"people": {"__alias__": "a b c"}},
        *({"__else__": 5}, {"__other__": {}}, {"people": 5}, {"people": "x"}, 5),
    ],
    ids=str,
)
def test_a_map_that_cannot_be_applied_ends_the_run_before_anything_is_sent(
    run_target: RunTarget, crm: RunningSandbox, stream_maps: t.Any
) -> None:
    ended = run_target(schema(), person(1), stream_maps=stream_maps)
    assert ended.code == 1
    assert ended.error.startswith("Setting 'stream_maps")
    assert crm.requests() == []


@pytest.mark.parametrize(
    ("columns", "config", "expected"),
    [
        (
            PEOPLE,
            {"stream_maps": {"people": {"__key_properties__": ["no"]}}},
            "Property 'no' was not detected in schema.",
        ),
        (PEOPLE, {"stream_maps": {"people": {"__alias__": "5"}}}, "is not a text"),
        (
            {"id": {}, "a__b": {}, "a": {"type": "object", "properties": {"b": {}}}},
            FLATTENED,
            "Are there two columns of one name once 'flattening_enabled'",
        ),
        (
            {"id": {}, "a": {"type": "object", "properties": None}},
            FLATTENED,
            "is not a valid JSON schema at 'properties.a.properties'",
        ),
        (PEOPLE, {"flattening_enabled": True}, "'flattening_enabled' needs 'flattening_max_depth'"),
    ],
)
def test_what_does_not_fit_a_streams_schema_is_told_before_its_records(
    run_target: RunTarget, columns: dict[str, t.Any], config: dict[str, t.Any], expected: str
) -> None:
    ended = run_target(schema(columns), person(1), **config)
    assert ended.code == 1
    assert expected in ended.error


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (
            "firstname.missing()",
            "expression for column 'x' cannot be applied to it: AttributeDoesNotExist.",
        ),
        (
            "nosuch.upper()",
            "expression for column 'x' cannot be applied to it: the record lacks 'nosuch'.",
        ),
        ("record['firstname'] + 5", "cannot be applied to it: TypeError."),
        ("md6(firstname)", "cannot be applied to it: there is no function 'md6'."),
        ("1 / 0", "expression for column 'x' cannot be applied to it: ZeroDivisionError."),
        ("filter: age > 5", "'__filter__' cannot be applied to it: the record lacks 'age'."),
    ],
)
def test_a_rejection_by_a_map_names_the_columns_and_no_value(
    run_target: RunTarget, tmp_path: Path, expression: str, expected: str
) -> None:
    path = tmp_path / "rejects.singer"
    name = "__filter__" if expression.startswith("filter: ") else "x"
    ended = run_target(
        schema(),
        person(1, firstname="Kari"),
        stream_maps={"people": {name: expression.removeprefix("filter: ")}},
        rejects_path=str(path),
        max_rejects=5,
    )
    assert expected in ended.log
    assert "Kari" not in ended.log
    (line,) = [line for line in path.read_text().splitlines() if '"RECORD"' in line]
    assert json.loads(line)["rejection"]["code"] == "stream_map_failed"


def test_values_stay_as_they_are_when_objects_are_flattened(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """Lists are joined, and what lies deeper is JSON with the letters that it has."""
    home: dict[str, t.Any] = {"type": ["object", "null"], "properties": {"city": {}, "geo": {}}}
    columns: dict[str, t.Any] = {
        "id": {"type": "integer"},
        "email": {"type": "string"},
        "home": {"anyOf": [home, {"type": "null"}]},
        "level": {"enum": ["gold", 1, None]},
        "more": {},
        "tags": {"type": "array"},
    }
    values: dict[str, t.Any] = {
        "home": {"city": "Göteborg", "geo": {"Länge": 1.50}},
        "level": "gold",
        "more": {"Straße": [1]},
        "tags": ["a", "ö"],
    }
    people = [
        schema(columns),
        record(id=1, email="p1@example.com", **values),
        record(id=2, email="p2@example.com", home=None, level=1, more=["x"], tags=[]),
    ]
    ended = run_target(*people, flattening_enabled=True, flattening_max_depth=1)
    assert ended.code == 0, ended.errors
    assert [c["properties"] for c in crm.contacts()] == [
        {
            "id": "1",
            "home__city": "Göteborg",
            "home__geo": '{"Länge":1.5}',
            "level": "gold",
            "more": '{"Straße":[1]}',
            "tags": "a;ö",
        },
        {"id": "2", "level": "1", "more": "x"},
    ]
