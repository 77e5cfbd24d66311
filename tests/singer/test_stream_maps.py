"""Stream maps and flattening: mistakes are found early, and named by column."""

import typing as t

from tests.loads import PEOPLE, Load, Record, cases, lines_of, person, schema

NOTHING: list[object] = []
FLATTENED = {"flattening_enabled": True, "flattening_max_depth": 2}


def test_two_streams_with_one_alias_and_two_schemas_both_arrive(load: Load) -> None:
    """Also when their records come in turn, and when a SCHEMA message is sent once more."""
    lines: list[str] = []
    for half in (range(0, 30, 2), range(30, 60, 2)):
        both = (f"a:{n} bare p{n}, b:{n + 1} bare mail=p{n + 1}@example.com" for n in half)
        lines += lines_of(", ".join(both))
    maps = {name: {"__alias__": "people"} for name in ("a", "b")}
    ended = load.ok(*lines, stream_maps=maps, field_map={"mail": "email"}, batch_size_rows=7)
    assert ended.bookmark == 30
    assert load.numbers() == {*range(60)}
    assert [ended.counts[name] for name in ("read", "accepted", "undelivered")] == [60, 60, 0]


def test_a_schema_that_is_sent_again_changes_nothing(load: Load) -> None:
    """Nor does one with the columns of metadata, which the SDK takes out of it."""
    columns = "id email _sdc_batched_at _sdc_sequence"
    ended = load.ok(*(line for n in (1, 2, 3) for line in (schema(columns), person(n))))
    assert [len(body["createUpdateContacts"]) for body in load.bodies] == [3]
    assert ended.log.count("key: 'id'") == 1


@cases(
    "stream_maps",
    *({"people": {"email": odd}} for odd in ("email.lower(", "a\0b", 5, NOTHING)),
    *({"people": {"__filter__": odd}} for odd in ("id ===", 5)),
    *({"people": {name: 5}} for name in ("__else__", "__key_properties__")),
    {"people": {"__alias__": "a b c"}},
    *({"__else__": 5}, {"__other__": {}}, {"people": 5}, {"people": "x"}, 5),
    ids=str,
)
def test_a_map_that_cannot_be_applied_ends_the_run(load: Load, stream_maps: t.Any) -> None:
    """A map that cannot be applied ends the run before anything is sent."""
    ended = load.fails(schema(), person(1), stream_maps=stream_maps)
    assert ended.error.startswith("Setting 'stream_maps")
    is_else = "__else__" in str(stream_maps)
    assert is_else == ended.error.endswith("'__else__' must be null ('__NULL__').")
    assert load.crm.requests() == []


MISFIT = (
    "Stream 'people': its schema cannot be flattened or mapped (ValueError). Do two columns have "
    "the same name afterwards?"
)
NO_KEY = {"stream_maps": {"people": {"__key_properties__": ["no"]}}}
BROKEN = {"id": {}, "a": {"type": "object", "properties": None}}


@cases(
    "columns config expected",
    (PEOPLE, NO_KEY, "Property 'no' was not detected in schema."),
    ({"id": {}, "a__b": {}, "a": {"type": "object", "properties": {"b": {}}}}, FLATTENED, MISFIT),
    (BROKEN, FLATTENED, "is not a valid JSON schema at 'properties.a.properties'"),
    (PEOPLE, {"flattening_enabled": True}, "'flattening_enabled' needs 'flattening_max_depth'"),
)
def test_misfits_of_a_schema(load: Load, columns: Record, config: Record, expected: str) -> None:
    """Settings that do not fit a stream's schema are an error before its records."""
    assert expected in load.fails(schema(columns), person(1), **config).error


@cases(
    "column expression expected",
    ("x", "firstname.missing()", "AttributeDoesNotExist."),
    ("x", "nosuch.upper()", "the record lacks 'nosuch'."),
    ("x", "record['firstname'] + 5", "TypeError."),
    ("x", "md6(firstname)", "there is no function 'md6'."),
    ("x", "fake.name()", "'fake' needs the package 'faker', which is not installed."),
    *(("x", "1 / 0", "ZeroDivisionError."), ("__filter__", "age > 5", "the record lacks 'age'.")),
)
def test_a_map_that_fails_is_named(load: Load, column: str, expression: str, expected: str) -> None:
    """And no value of the record."""
    load.keep_rejects()
    maps = {"people": {column: expression}}
    ended = load.run(schema(), person(1, firstname="Kari"), stream_maps=maps, max_rejects=5)
    assert f"expression for '{column}' cannot be applied to it: {expected}" in ended.log
    assert "Kari" not in ended.log
    assert [line["rejection"]["code"] for line in load.rejected()] == ["stream_map_failed"]


def test_values_stay_as_they_are_when_objects_are_flattened(load: Load) -> None:
    """Lists are joined, and what lies deeper is JSON with the letters that it has."""
    home: Record = {"type": ["object", "null"], "properties": {"city": {}, "geo": {}}}
    columns: Record = {"home": {"anyOf": [home, {"type": "null"}]}, "tags": {"type": "array"}}
    columns |= {"id": {"type": "integer"}, "email": {"type": "string"}, "more": {}}
    one: Record = {"home": {"city": "Göteborg", "geo": {"Länge": 1.50}}, "level": "gold"}
    one |= {"more": {"Straße": [1]}, "tags": ["a", "ö"]}
    two: Record = {"home": None, "level": 1, "more": ["x"], "tags": []}
    people = [person(n, firstname=None, **more) for n, more in ((1, one), (2, two))]
    flat = {"flattening_enabled": True, "flattening_max_depth": 1}
    load.ok(schema(columns | {"level": {"enum": ["gold", 1, None]}}), *people, **flat)
    flattened = {"home__city": "Göteborg", "home__geo": '{"Länge":1.5}', "tags": "a;ö"}
    assert [contact["properties"] for contact in load.crm.contacts()] == [
        flattened | {"id": "1", "level": "gold", "more": '{"Straße":[1]}'},
        {"id": "2", "level": "1", "more": "x"},
    ]
