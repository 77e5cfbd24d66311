"""A record that does not fit its schema is a rejection, never a crash."""

from __future__ import annotations

import copy
import datetime as dt
import decimal
import typing as t
import uuid

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from target_mainbrainer.contacts import Rejection
from target_mainbrainer.errors import MappingError
from target_mainbrainer.mapping.validator import compile_validator
from tests import broken_server
from tests.broken_server import BrokenServer
from tests.strategies import DEEP, RECORDS, VALUES

D = decimal.Decimal
SCHEMA = {
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "email": {"type": ["string", "null"], "maxLength": 50},
        "born": {"type": ["string", "null"], "format": "date"},
        "balance": {"type": ["number", "null"], "multipleOf": D("0.01")},
        "address": {"type": "object", "properties": {"zip": {"type": "string"}}},
        "_sdc_deleted_at": {"type": "string"},
    },
    "required": ["id", "_sdc_deleted_at"],
}
validate = compile_validator(SCHEMA, ["id"], stream="people")


@pytest.mark.parametrize(
    "record",
    [
        pytest.param({"id": 1}, id="columns may be missing"),
        pytest.param({"id": 1, "email": None, "balance": None}, id="null"),
        pytest.param({"id": 1, "more": {"a": [1]}}, id="unannounced columns"),
        pytest.param({"id": 1, "born": "tomorrow"}, id="formats are not asserted"),
        pytest.param({"id": 1, "balance": D("4.35")}, id="exact decimals"),
        pytest.param({"id": D("1.0")}, id="an integer with a fraction of nothing"),
        pytest.param({"id": 10**30}, id="beyond int64"),
        pytest.param({"id": 1, "email": "\ud800"}, id="half a character"),
        pytest.param({"id": 1, "\ud800": "x"}, id="half a character in a name"),
        pytest.param({"id": 1, "balance": float("nan")}, id="NaN is for the mapping to refuse"),
        pytest.param({"id": 1, "born": dt.date(2026, 1, 31)}, id="date object"),
        pytest.param({"id": 1, "email": uuid.UUID(int=1)}, id="uuid object"),
        pytest.param({"id": 1, "email": b"x"}, id="bytes"),
        pytest.param({"id": 1, "_sdc_deleted_at": None}, id="metadata is not looked at"),
        pytest.param({"id": 1, "email": 5, "_sdc_deleted_at": "2026-01-31"}, id="deleted"),
        pytest.param({"id": 1, "address": DEEP}, id="endless nesting is for the mapping to refuse"),
    ],
)
def test_what_fits_passes(record: dict[str, t.Any]) -> None:
    before = copy.copy(record)
    assert validate(record) is None
    assert record == before or record["balance"] != record["balance"]  # NaN is not itself


FITS = "does not fit the stream's schema"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        pytest.param(
            {"email": "ola@example.com"},
            "The record lacks column 'id', by which the stream's records are told apart.",
            id="no key",
        ),
        pytest.param(
            {"id": "4711"}, f"Column 'id' {FITS}: it should be an integer.", id="wrong type"
        ),
        pytest.param(
            {"id": 1, "balance": "secret"},
            f"Column 'balance' {FITS}: it should be null or a number.",
            id="several types",
        ),
        pytest.param(
            {"id": 1, "email": "x" * 51},
            f"Column 'email' {FITS}: it breaks the rule 'maxLength'.",
            id="another rule",
        ),
        pytest.param(
            {"id": 1, "address": {"zip": 236}},
            f"Column 'address' {FITS}: inside, it should be a text.",
            id="nested",
        ),
        pytest.param(
            {"id": "4711", "email": 5},
            f"Column 'id' {FITS}: it should be an integer; neither does 'email'.",
            id="two columns",
        ),
        pytest.param(
            {"id": "\ud800"},
            f"Column 'id' {FITS}: it should be an integer.",
            id="half a character",
        ),
    ],
)
def test_what_does_not_fit_is_told_without_the_value(record: dict[str, t.Any], reason: str) -> None:
    code = "schema_mismatch" if "id" in record else "missing_key"
    assert validate(record) == Rejection(code, reason)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("string", "a text"),
        ("integer", "an integer"),
        ("number", "a number"),
        ("boolean", "true or false"),
        ("object", "an object"),
        ("array", "an array"),
    ],
)
def test_the_kind_that_a_schema_wants_is_said_in_words(kind: str, words: str) -> None:
    rejection = compile_validator({"properties": {"it": {"type": kind}}}, [])({"it": None})
    assert rejection is not None
    assert rejection.reason == f"Column 'it' {FITS}: it should be {words}."


def test_a_closed_schema_lets_metadata_pass() -> None:
    closed = compile_validator({"properties": {"id": {}}, "additionalProperties": False}, [])
    assert closed({"id": 1, "_sdc_extracted_at": "now"}) is None
    rejection = closed({"id": 1, "zip": "0236"})
    assert rejection is not None
    assert rejection.reason == (
        "The record does not fit the stream's schema: it should not have 'zip'."
    )


def test_an_old_schema_is_understood() -> None:
    """`pipelinewise-tap-postgres` writes draft 4 and does not say so."""
    old = {"properties": {"n": {"type": "number", "maximum": 10, "exclusiveMaximum": True}}}
    assert compile_validator(old, [])({"n": 9}) is None
    assert compile_validator(old, [])({"n": 10}) is not None


@pytest.mark.parametrize(
    ("schema", "where"),
    [
        pytest.param({"properties": {"a": {"type": "text"}}}, " at 'properties.a.type'", id="type"),
        pytest.param({"properties": []}, " at 'properties'", id="properties"),
        pytest.param({"$ref": "https://example.com/schema"}, "", id="never fetched"),
        pytest.param({"$ref": "file:///etc/hostname"}, "", id="never read"),
        pytest.param({"$ref": "#/definitions/none"}, "", id="nowhere"),
        pytest.param(
            {"$schema": "https://example.com/unknown", "type": "text"},
            " at 'type'",
            id="unknown draft",
        ),
    ],
)
def test_a_schema_that_is_none_is_said_at_once(schema: dict[str, t.Any], where: str) -> None:
    with pytest.raises(MappingError) as caught:
        compile_validator(schema, [], stream="people")
    assert str(caught.value) == (
        f"Stream 'people': its schema is not a valid JSON schema{where}. Correct it in the tap, "
        "or with the tap's schema overrides."
    )


@given(
    RECORDS | st.fixed_dictionaries({"id": VALUES}, optional={"email": VALUES, "address": VALUES})
)
def test_no_record_breaks_the_validator(record: dict[str, t.Any]) -> None:
    rejection = validate(record)
    assert rejection is None or rejection.reason.endswith(".")


PLAIN_JSON: st.SearchStrategy[t.Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"))
    | st.lists(st.integers())
    | st.dictionaries(st.sampled_from(["zip", "x"]), st.text(st.characters(codec="utf-8")))
)


@given(
    st.fixed_dictionaries(
        {"id": PLAIN_JSON}, optional=dict.fromkeys(("email", "born", "address"), PLAIN_JSON)
    )
)
def test_it_finds_what_the_sdk_would_find(record: dict[str, t.Any]) -> None:
    schema = {**SCHEMA, "required": ["id"]}
    assert (validate(record) is None) == jsonschema.Draft7Validator(schema).is_valid(record)


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ({"contentEncoding": "base16"}, "no hexadecimal"),
        ({"contentEncoding": "base64", "contentMediaType": "application/json"}, "{"),
        ({"contentMediaType": "application/json"}, "{"),
        ({"format": "email"}, "no address"),
        ({"format": "date-time"}, "today"),
        ({"pattern": r"(?P<letter>a)\Z"}, "a"),
        ({"dependencies": {"a": ["b"]}}, {"a": 1}),
    ],
)
def test_nothing_is_refused_that_the_sdk_lets_pass(rule: dict[str, t.Any], value: object) -> None:
    validate = compile_validator({"properties": {"x": rule}}, [])
    assert validate({"x": value}) is None


def test_a_pattern_that_all_dialects_read_alike_counts() -> None:
    validate = compile_validator({"properties": {"x": {"pattern": "^[a-c]+"}}}, [])
    assert validate({"x": "abc"}) is None
    refused = validate({"x": "kari"})
    assert refused is not None
    assert refused.reason == f"Column 'x' {FITS}: it breaks the rule 'pattern'."
    python = compile_validator({"properties": {"x": {"pattern": r"^\d+\Z"}}}, [])
    assert python({"x": "kari"}) is None


def test_a_type_that_is_repeated_counts_once() -> None:
    repeated = {"properties": {"x": {"type": ["null", "string", "null"]}}, "required": ["x", "x"]}
    validate = compile_validator(repeated, [])
    assert validate({"x": None}) is None
    assert validate({"x": 5}) is not None


def test_a_value_that_looks_like_a_schema_is_compared_as_it_is() -> None:
    value = {"type": ["null", "null"], "pattern": "\\d", "dependencies": {}}
    validate = compile_validator(
        {"properties": {"x": {"enum": [value]}, "y": {"const": value}}}, []
    )
    assert validate({"x": value, "y": value}) is None
    assert validate({"x": {"type": ["null"]}}) is not None


def test_a_column_may_be_called_like_a_rule() -> None:
    columns = {"pattern": {"type": "integer"}, "dependencies": {"type": "integer"}}
    validate = compile_validator({"properties": columns, "additionalProperties": False}, [])
    assert validate({"pattern": 1, "dependencies": 2}) is None
    assert validate({"dependencies": "kari"}) is not None


def test_a_record_with_several_faults_names_every_column_and_no_value() -> None:
    schema = {"properties": {name: {"type": "integer"} for name in ("a", "b", "c")}}
    refused = compile_validator(schema, [])({"a": "kari", "b": 1, "c": "kari"})
    assert refused is not None
    assert refused.reason == (
        "Column 'a' does not fit the stream's schema: it should be an integer; neither does 'c'."
    )


def test_a_reference_to_a_server_is_never_fetched() -> None:
    with BrokenServer(lambda _: broken_server.reply(200, {})) as server:
        schema = {"properties": {"x": {"$ref": f"{server.url}/schema.json"}}}
        with pytest.raises(MappingError):
            compile_validator(schema, [], stream="people")
        assert server.requests == []


def test_a_reference_that_only_a_newer_draft_knows_is_not_fetched_either() -> None:
    with BrokenServer(lambda _: broken_server.reply(200, {})) as server:
        dynamic = {"$dynamicRef": f"{server.url}/schema.json", "type": "string"}
        validate = compile_validator({"properties": {"x": dynamic}}, [], stream="people")
        assert validate({"x": "fits"}) is None
        assert validate({"x": 5}) is not None
        assert server.requests == []


TYPES = st.sampled_from(["string", "integer", "number", "boolean", "object", "array", "null"])
RULES: st.SearchStrategy[dict[str, t.Any]] = st.one_of(
    st.builds(lambda kind: {"type": kind}, TYPES | st.lists(TYPES, min_size=1, unique=True)),
    st.builds(lambda values: {"enum": values}, st.lists(PLAIN_JSON, min_size=1, max_size=3)),
    st.builds(lambda value: {"const": value}, PLAIN_JSON),
    st.builds(
        lambda least, most: {"minimum": least, "exclusiveMaximum": most}, *[st.integers()] * 2
    ),
    st.builds(lambda length: {"maxLength": length, "minItems": length}, st.integers(0, 3)),
    st.sampled_from(
        [
            {},
            {"$ref": "#/$defs/text"},
            {"$ref": "#/definitions/text"},
            {"multipleOf": D("0.01")},
            {"pattern": "^[a-z]+$"},
            {"pattern": r"^\d+$"},
            {"format": "date-time", "type": ["string", "null"]},
            {"uniqueItems": True},
            {"contains": {"type": "integer"}},
            {"required": ["zip"]},
            {"dependentRequired": {"zip": ["x"]}},
            {"dependencies": {"zip": ["x"]}},
            {"propertyNames": {"maxLength": 3}},
            {"additionalProperties": False, "properties": {"zip": {"type": "string"}}},
            {"patternProperties": {"^z": {"type": "integer"}}},
            {"contentEncoding": "base64", "contentMediaType": "application/json"},
            {"if": {"type": "string"}, "then": {"minLength": 1}, "else": {"type": "integer"}},
        ]
    ),
)
SCHEMAS = st.recursive(
    RULES,
    lambda inner: st.one_of(
        st.builds(lambda parts: {"anyOf": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"oneOf": parts}, st.lists(inner, min_size=1, max_size=2)),
        st.builds(lambda part: {"not": part}, inner),
        st.builds(lambda part: {"items": part}, inner),
        st.builds(lambda part: {"properties": {"zip": part}}, inner),
    ),
    max_leaves=4,
)


@settings(max_examples=400)
@given(SCHEMAS, PLAIN_JSON.filter(lambda value: type(value) is not float) | st.just(D("1.5")))
def test_no_schema_is_read_more_strictly_than_the_sdk_reads_it(
    column: dict[str, t.Any], value: object
) -> None:
    schema = {"properties": {"x": column}, "$defs": {"text": {"type": "string"}}}
    schema["definitions"] = schema["$defs"]
    if jsonschema.Draft202012Validator(schema).is_valid({"x": value}):
        assert compile_validator(schema, [])({"x": value}) is None
