"""However a schema describes a record, with stream maps and flattening or without: one contact."""

import decimal
import itertools
import json
import os
import typing as t

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from target_mainbrainer.mapping.values import property_text
from tests.loads import Load, Record, record, schema

EXAMPLES = int(os.environ.get("ANY_SCHEMA_EXAMPLES", "25"))

NAMES = st.sampled_from(["a", "b", "c d", "it's", "x__y", "$ref", "type", "enum", "from", "Å"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**70),
    st.decimals(-1000, 1000, places=2).map(float),
    st.text(st.characters(codec="utf-8"), max_size=5),
    st.sampled_from(["", " ", "ja;nei", "2026-01-31T00:00:00Z", "0000-00-00", "{}", "null"]),
)
VALUES: st.SearchStrategy[t.Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
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
    names = NAMES | st.sampled_from(["email_opt_in", "mobile_country_code"])
    record = draw(st.dictionaries(names, VALUES, max_size=4))
    record["email_opt_in"] = draw(st.sampled_from([None, True, False, "yes", "0", 1]))
    record.pop("mobile_country_code", None)
    columns = {name: draw(schemas_of(value)) for name, value in record.items()}
    for name in draw(st.sets(st.sampled_from(sorted(record)))) - {"email_opt_in"}:
        del columns[name]  # a column that comes without having been announced
    return record, columns


MAPS: st.SearchStrategy[Record] = st.sampled_from([{}, {"email": "email"}, {"__alias__": "people"}])
MAPS |= st.sampled_from([{"email": "_['email']", "left_out": None}, {"__filter__": "email != ''"}])
MAPS |= st.sampled_from([{"email_opt_in": "email_opt_in"}, {"id": "record['id'] * 1"}])
numbers = itertools.count(1)


def is_sent(properties: dict[str, str], name: str, value: t.Any) -> bool:
    """Return whether a value has arrived, as it is or one by one what is in it."""
    if name in properties or not isinstance(value, dict):
        return properties.get(name, "") == ("" if value is None else property_text(value))
    return all(is_sent(properties, f"{name}__{inner}", member) for inner, member in value.items())


@settings(
    max_examples=EXAMPLES,
    derandomize=EXAMPLES <= 25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(described(), min_size=1, max_size=8), MAPS, st.integers(0, 3))
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
