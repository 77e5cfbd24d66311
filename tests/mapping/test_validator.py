"""A record that does not fit its schema is a rejection, never a crash."""

import copy
import datetime as dt
import typing as t
import uuid

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer.contacts import Rejection
from target_mainbrainer.errors import MappingError
from target_mainbrainer.mapping.validator import compile_validator
from tests import broken_server
from tests.broken_server import BrokenServer
from tests.loads import Record, cases
from tests.mapping.one_record import D
from tests.strategies import DEEP, RECORDS, VALUES

SCHEMA = {
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "email": {"type": ["string", "null"], "maxLength": 50},
        "born": {"type": ["string", "null"], "format": "date"},
        "balance": {"type": ["number", "null"], "multipleOf": D("0.01")},
        "tags": {"type": "array", "items": {"type": "string"}},
        "address": {"type": "object", "properties": {"zip": {"type": "string"}}},
        "_sdc_deleted_at": {"type": "string"},
    },
    "required": ["id", "_sdc_deleted_at"],
}
validate = compile_validator(SCHEMA, ["id"], stream="people")


@cases(
    "more",
    *({}, {"email": None, "balance": None}, {"more": {"a": [1]}}, {"born": "tomorrow"}),
    *({"balance": D("4.35")}, {"id": D("1.0")}, {"id": 10**30}, {"\ud800": "\ud800"}),
    *({"email": "\ud800"}, {"balance": float("nan")}, {"born": dt.date(2026, 1, 31)}),
    *({"email": uuid.UUID(int=1)}, {"email": b"x"}, {"_sdc_deleted_at": None}),
    *({"tags": ["\ud800", "a"]}, {"tags": []}),
    *({"email": 5, "_sdc_deleted_at": "2026-01-31"}, {"address": DEEP}),
)
def test_what_fits_passes(more: Record) -> None:
    """NaN is for the mapping to refuse; endless nesting ends the run; formats are not asserted."""
    record = {"id": 1} | more
    before = copy.copy(record)
    assert validate(record) is None
    assert record == before or record["balance"] != record["balance"]  # NaN is not itself


FITS = "does not fit the stream's schema"


@cases(
    "record reason",
    ({"email": "a"}, "The record has no 'id', which the stream's key consists of."),
    ({"id": "4711"}, f"Column 'id' {FITS}: it is not of type \"integer\"."),
    ({"id": "\ud800"}, f"Column 'id' {FITS}: it is not of type \"integer\"."),
    ({"id": 1, "balance": "x"}, f'Column \'balance\' {FITS}: it is not of types "null", "number".'),
    ({"id": 1, "email": "x" * 51}, f"Column 'email' {FITS}: it is longer than 50 characters."),
    ({"id": 1, "address": {"zip": 5}}, f"Column 'address' {FITS}: inside, it is not of type"),
    ({"id": 1, "tags": [{"a": "\ud800"}]}, f"Column 'tags' {FITS}: inside, it is not of type"),
    ({"id": 1, "email": ["a"]}, f"Column 'email' {FITS}: it is not of types"),
    ({"id": "x", "email": 5}, f"Column 'id' {FITS}: it is not of type \"integer\"."),
)
def test_what_does_not_fit_is_named_without_the_value(record: Record, reason: str) -> None:
    rejection = t.cast("Rejection", validate(record))
    assert rejection.code == ("schema_mismatch" if "id" in record else "missing_key")
    assert rejection.reason.startswith(reason)


def refused(schema: Record, record: Record) -> str:
    rejection = compile_validator(schema, [])(record)
    return "" if rejection is None else rejection.reason


def test_a_closed_schema_lets_metadata_pass() -> None:
    closed = {"properties": {"id": {}}, "additionalProperties": False}
    assert not refused(closed, {"id": 1, "_sdc_extracted_at": "now"})
    reason = refused(closed, {"id": 1, "zip": "0236"})
    assert reason.endswith("schema: Additional properties are not allowed ('zip' was unexpected).")


@cases(
    "schema where",
    ({"properties": {"a": {"type": "text"}}}, " at 'properties.a.type'"),
    ({"properties": []}, " at 'properties'"),
    ({"$schema": "https://example.com/unknown", "type": "text"}, " at 'type'"),
    *(({"$ref": f"{place}"}, "") for place in ("file:///etc/hostname", "#/definitions/none")),
    ({"$ref": "https://example.com/schema"}, ""),
)
def test_a_schema_that_is_none_is_said_at_once(schema: Record, where: str) -> None:
    with pytest.raises(MappingError) as caught:
        compile_validator(schema, [], stream="people")
    assert str(caught.value) == (
        f"Stream 'people': its schema is not a valid JSON schema{where}. Correct it in the tap, "
        "or with the tap's schema overrides."
    )


ANY = st.fixed_dictionaries({"id": VALUES}, optional={"email": VALUES, "address": VALUES})


@given(RECORDS | ANY)
def test_no_record_breaks_the_validator(record: Record) -> None:
    rejection = validate(record)
    assert rejection is None or rejection.reason.endswith(".")


DRAFT_4 = {"type": "number", "maximum": 10, "exclusiveMaximum": True}
LIKE_A_SCHEMA = {"type": ["null", "null"], "pattern": "\\d", "dependencies": {}}
SAME = {"x": {"enum": [LIKE_A_SCHEMA]}, "y": {"const": LIKE_A_SCHEMA}}
LIKE_RULES = {name: {"type": "integer"} for name in ("pattern", "dependencies")}
REPEATED = {"properties": {"x": {"type": ["null", "string", "null"]}}, "required": ["x", "x"]}


@cases(
    "schema fits misfit",
    # As `pipelinewise-tap-postgres` writes it without saying so.
    ({"properties": {"n": DRAFT_4}}, {"n": 9}, {"n": 10}),
    ({"properties": {"x": {"pattern": "^[a-c]+"}}}, {"x": "abc"}, {"x": "kari"}),
    (REPEATED, {"x": None}, {"x": 5}),
    ({"properties": SAME}, {"x": LIKE_A_SCHEMA, "y": LIKE_A_SCHEMA}, {"x": {"type": ["null"]}}),
    ({"properties": LIKE_RULES}, {"pattern": 1, "dependencies": 2}, {"dependencies": "kari"}),
    ids=["draft 4", "a pattern", "a repeated type", "a value like a schema", "names of rules"],
)
def test_odd_schemas_are_understood(schema: Record, fits: Record, misfit: Record) -> None:
    assert not refused(schema, fits)
    assert refused(schema, misfit)


def test_a_reference_to_a_server_is_never_fetched() -> None:
    with BrokenServer(lambda _: broken_server.reply(200, {})) as server:
        schema = {"properties": {"x": {"$ref": f"{server.url}/schema.json"}}}
        with pytest.raises(MappingError):
            compile_validator(schema, [], stream="people")
        dynamic = {"$dynamicRef": f"{server.url}/schema.json", "type": "string"}  # newer drafts
        assert not refused({"properties": {"x": dynamic}}, {"x": "fits"})
        assert refused({"properties": {"x": dynamic}}, {"x": 5})
        assert server.requests == []


KINDS = ("string", "integer", "number", "boolean", "object", "array")
RULES: list[Record] = [
    *({"type": kind} for kind in (*KINDS, ["null", "string"], ["integer", "array"])),
    *({"enum": [1, "a", None]}, {"const": 1}, {"const": {"zip": "0236"}}, {"uniqueItems": True}),
    *({"minimum": 0, "exclusiveMaximum": 9}, {"maxLength": 2, "minItems": 2}, {}),
    *({"$ref": "#/$defs/text"}, {"$ref": "#/definitions/text"}, {"multipleOf": D("0.01")}),
    *({"pattern": r"^\d+$"}, {"contains": {"type": "integer"}}, {"required": ["zip"]}),
    *({"dependentRequired": {"zip": ["x"]}}, {"dependencies": {"zip": ["x"]}}),
    *({"propertyNames": {"maxLength": 3}}, {"patternProperties": {"^z": {"type": "integer"}}}),
    {"format": "date-time", "type": ["string", "null"]},
    {"additionalProperties": False, "properties": {"zip": {"type": "string"}}},
    {"contentEncoding": "base64", "contentMediaType": "application/json"},
    *({"pattern": r"^\d+\Z"}, {"pattern": r"(?P<letter>a)\Z"}, {"contentEncoding": "base16"}),
    {"if": {"type": "string"}, "then": {"minLength": 1}, "else": {"type": "integer"}},
]
ODD = [None, True, 1, -(2**70), D("1.5"), "", "a", "0236", [], [1, 1], ["a", {}], {"zip": "0236"}]


@cases("rule", *RULES, ids=str)
def test_no_rule_is_read_more_strictly_than_by_the_sdk(rule: Record) -> None:
    """Nor where it is part of another one."""
    parts = ({"anyOf": [rule]}, {"oneOf": [rule, {"type": "null"}]}, {"not": rule}, {"items": rule})
    for column in (rule, *parts, {"properties": {"zip": rule}}):
        schema = {"properties": {"x": column}, "$defs": {"text": {"type": "string"}}}
        schema["definitions"] = schema["$defs"]
        theirs, ours = jsonschema.Draft202012Validator(schema), compile_validator(schema, [])
        fits = [value for value in ODD if theirs.is_valid({"x": value})]
        assert [value for value in fits if ours({"x": value}) is not None] == []


def test_no_name_of_a_member_is_said() -> None:
    """It may be somebody's e-mail address."""
    schema = {"properties": {"x": {"propertyNames": {"maxLength": 2}}}}
    assert not refused(schema, {"x": {"kari@example.com": 1}})
    for rule in ("additionalProperties", "unevaluatedProperties"):
        x = {rule: False, "properties": {"a": {}}}
        reason = refused({"properties": {"x": x}}, {"x": {"kari@example.com": 1}})
        assert reason.endswith("properties are not allowed.")
