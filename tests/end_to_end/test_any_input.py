"""A run on any input ends in a sentence, and never as a fault of the target."""

import json
import os
import typing as t

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.loads import Load, Record, batch, person, record, schema, state

EXAMPLES = int(os.environ.get("ANY_INPUT_EXAMPLES", "40"))
NAMES = st.sampled_from(
    ["people", "members", "id", "email", "mobile", "email_opt_in", "a", "a__b", "b", "_sdc_x", ""]
)
ODD: st.SearchStrategy[t.Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), NAMES)
    | st.sampled_from(["p1@example.com", "+44 7700 900123", "yes", "\ud800", "\0", "string"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
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


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
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
