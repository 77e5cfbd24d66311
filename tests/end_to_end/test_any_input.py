"""A run on any input ends in a sentence, and never as a fault of the target."""

import decimal
import itertools
import json
import os
import typing as t

from hypothesis import event, given, settings
from hypothesis import strategies as st

from target_mainbrainer.mapping.values import property_text
from tests.loads import Load, Record, batch, person, record, schema, state
from tests.strategies import nested

EXAMPLES = int(os.environ.get("ANY_INPUT_EXAMPLES", "40"))
NAMES = st.sampled_from(
    ["people", "members", "id", "email", "mobile", "email_opt_in", "a", "a__b", "b", "_sdc_x", ""]
)
ODD_TEXTS = st.sampled_from(["p1@example.com", "+44 7700 900123", "yes", "\ud800", "\0", "string"])
PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), NAMES)
ODD = nested(PLAIN | ODD_TEXTS, NAMES)
RULES: Record = {"type": ["string", "null"], "format": "date-time", "pattern": "^a", "maximum": 5}
RULES |= {"enum": ["a"], "items": {}, "anyOf": [{"type": "object"}], "$ref": "#/definitions/x"}
NESTED: Record = {"type": "object", "properties": {"b": {"type": "integer"}}}
MESSAGES = [
    *(schema(), schema({"id": {}, "a": NESTED, "a__b": RULES}, stream="members", key=())),
    *(person(1), person(2, a={"b": 1}), record("members", id=1, a__b="x"), state(a={"b": 1})),
    *(batch("file:///dev/null"), batch("file:///etc", compression="none")),
    '{"type": "ACTIVATE_VERSION", "stream": "people", "version": 1}',
]


@st.composite
def changed(draw: st.DrawFn, value: t.Any) -> t.Any:
    """Return JSON in which something, at any depth, is odd or missing."""
    if not isinstance(value, dict) or not value or draw(st.integers(0, 4)) == 0:
        return draw(ODD)
    name = draw(st.sampled_from([*value]))
    if draw(st.integers(0, 4)) == 0:
        return {other: value[other] for other in value if other != name}
    return value | {name: draw(changed(value[name]))}


LINES = st.lists(
    st.sampled_from(MESSAGES)
    | st.sampled_from(MESSAGES).flatmap(lambda line: changed(json.loads(line)).map(json.dumps))
    | st.text(max_size=20).map(lambda text: text.replace("\n", " "))
    | st.builds(lambda text, at: text[:at], st.sampled_from(MESSAGES), st.integers(0, 60)),
    max_size=6,
)
EXPRESSIONS = st.none() | st.sampled_from(
    ["email", "id + 1", "email.lower()", "nosuch", "1 / 0", "record['a']", "str(id)", "__NULL__"]
)
SPECIAL = st.sampled_from(["__filter__", "__alias__", "__key_properties__", "__else__"])
MAPS = st.dictionaries(NAMES | SPECIAL, EXPRESSIONS | st.just(["id"]) | ODD, max_size=3)
STREAMS = st.sampled_from(["people", "members", "*"])
FIELDS = st.none() | st.sampled_from(["email", "mobile", "email_opt_in", "x"])
CONFIGS: st.SearchStrategy[Record] = st.fixed_dictionaries(
    {},
    optional={
        "stream_maps": st.dictionaries(STREAMS, MAPS | ODD, max_size=2),
        "flattening_enabled": st.booleans(),
        "flattening_max_depth": st.integers(0, 3),
        "add_record_metadata": st.booleans(),
        "validate_records": st.booleans(),
        "field_map": st.dictionaries(NAMES, FIELDS, max_size=3),
        "unmapped_columns": st.sampled_from(["property", "ignore"]),
        "invalid_identifiers": st.sampled_from(["reject", "drop"]),
        "max_rejects": st.integers(0, 3),
    },
)


@settings(max_examples=EXAMPLES)
@given(lines=LINES, config=CONFIGS)
def test_no_input_is_a_fault_of_the_target(load: Load, lines: list[str], config: Record) -> None:
    start = [] if lines[:1] == [""] else [json.dumps({"type": "STATE", "value": {}})]
    ended = load.run(*start, *lines, **config)
    event("; ".join(error[:30] for error in ended.errors) or "delivered")
    assert ended.code in {0, 1}
    assert bool(ended.code) == bool(ended.errors)
    errors = " ".join(ended.errors)
    assert ("Unexpected" in errors, "do not add up" in errors) == (False, False), errors
    assert "Traceback" not in ended.log


# However a schema describes a record, with stream maps and flattening or without: one contact


ODD_NAMES = st.sampled_from(["a", "b", "c d", "it's", "x__y", "$ref", "type", "enum", "from", "Å"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**70),
    st.decimals(-1000, 1000, places=2).map(float),
    st.text(st.characters(codec="utf-8"), max_size=5),
    st.sampled_from(["", " ", "ja;nei", "2026-01-31T00:00:00Z", "0000-00-00", "{}", "null"]),
)
VALUES = nested(SCALARS, ODD_NAMES)
KINDS = ["string", "integer", "number", "object", "array", "boolean", "null"]


def kind_of(value: object) -> str:
    """Return the type that a tap announces for a value."""
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return (kinds | {dict: "object", type(None): "null"})[type(value)]


@st.composite
def schemas_of(draw: st.DrawFn, value: t.Any) -> t.Any:
    """Return a schema that fits a value, in one of the ways in which taps describe columns."""
    kind = kind_of(value)
    typed: Record = {"type": draw(st.sampled_from([kind, [kind, "null"], ["null", kind], [kind]]))}
    if isinstance(value, dict) and draw(st.booleans()):
        members = {name: draw(schemas_of(member)) for name, member in value.items()}
        typed |= {"properties": members, "additionalProperties": draw(st.booleans())}
    if isinstance(value, list) and draw(st.booleans()):
        typed["items"] = draw(st.sampled_from([{}, {"$ref": "#/definitions/any"}]))
    if isinstance(value, str) and draw(st.booleans()):
        typed |= draw(st.sampled_from([{"format": "date-time"}, {"maxLength": 99}]))
    other = draw(st.sampled_from([{"type": "null"}, {"type": ["null", "string"]}]))
    return draw(
        st.sampled_from(
            [
                *(typed, typed, {}, True, {"type": KINDS}, {"description": "any"}),
                *({"anyOf": [typed, other]}, {"anyOf": [other, typed]}, {"anyOf": [typed, {}]}),
                {"anyOf": [{"type": "object"}, {"type": "array"}, typed]},
                {"oneOf": [typed]},
                *({"enum": [value, "other"]}, {"enum": ["other", value]}, {"const": value}),
                *({"$ref": "#/definitions/any"}, {"allOf": [typed]}, {"type": "object"} | typed),
            ]
        )
    )


@st.composite
def described(draw: st.DrawFn) -> tuple[Record, Record]:
    """Return a record that is good, and the columns that its stream announces."""
    names = ODD_NAMES | st.sampled_from(["email_opt_in", "mobile_country_code"])
    record = draw(st.dictionaries(names, VALUES, max_size=4))
    record["email_opt_in"] = draw(st.sampled_from([None, True, False, "yes", "0", 1]))
    record.pop("mobile_country_code", None)
    columns = {name: draw(schemas_of(value)) for name, value in record.items()}
    for name in draw(st.sets(st.sampled_from(sorted(record)))) - {"email_opt_in"}:
        del columns[name]  # a column that comes without having been announced
    return record, columns


GOOD_MAPS: st.SearchStrategy[Record] = st.sampled_from(
    [
        *({}, {"email": "email"}, {"__alias__": "people"}, {"__filter__": "email != ''"}),
        *({"email": "_['email']", "left_out": None}, {"email_opt_in": "email_opt_in"}),
        {"id": "record['id'] * 1"},
    ]
)
numbers = itertools.count(1)


def is_sent(properties: dict[str, str], name: str, value: t.Any) -> bool:
    """Return whether a value has arrived, as it is or one by one what is in it."""
    if name in properties or not isinstance(value, dict):
        return properties.get(name, "") == ("" if value is None else property_text(value))
    return all(is_sent(properties, f"{name}__{inner}", member) for inner, member in value.items())


@settings(max_examples=EXAMPLES, derandomize=EXAMPLES <= 40)
@given(st.lists(described(), min_size=1, max_size=8), GOOD_MAPS, st.integers(0, 3))
def test_a_good_record_is_good_with_maps_and_flattening_too(
    load: Load, people: list[tuple[Record, Record]], stream_map: Record, depth: int
) -> None:
    """Its contact has the same address, the same consent and the same values."""
    load.crm.reset()
    lines, rows = list[str](), dict[str, Record]()
    for columns, announced in people:
        number = next(numbers)
        row: Record = {"id": number, "email": f"p{number}@example.com"} | columns
        rows[row["email"]] = row
        announced_too = {"id": {}, "email": {"type": "string"}} | announced
        lines.append(schema(announced_too, stream=f"s{number}", definitions={"any": {}}))
        lines.append(record(f"s{number}", **row))
    config: Record = {"flattening_enabled": True, "flattening_max_depth": depth} if depth else {}
    for change in ({}, config | {"stream_maps": {"s*": stream_map}}):
        ended = load.ok(*lines, **change)
        contacts = {contact["email"]: contact for contact in load.crm.contacts()}
        assert contacts.keys() == rows.keys(), ended.log
        for email, row in rows.items():
            said = {"yes": True, "0": False, 1: True}.get(row["email_opt_in"], row["email_opt_in"])
            assert contacts[email]["email_opt_in"] is said
            properties = contacts[email]["properties"]
            for name in row.keys() - {"email", "email_opt_in"}:
                exact = json.loads(json.dumps(row[name]), parse_float=decimal.Decimal)
                assert is_sent(properties, name, exact), (name, row[name], properties)
        load.crm.reset()
