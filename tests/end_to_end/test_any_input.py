"""A run on any input ends in a sentence, and never as a fault of the target."""

import json
import os
import typing as t

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.loads import PEOPLE, Load, Record

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
TYPES = st.sampled_from(["string", "integer", "object", "array", "null", "number", "boolean"])
RULES = st.sampled_from(["type", "format", "pattern", "enum", "$ref", "anyOf", "maximum", "items"])
MEMBERS: st.SearchStrategy[t.Any] = st.dictionaries(NAMES, st.just({}) | ODD, max_size=2) | ODD
COLUMN = st.one_of(
    *(st.just({}), st.booleans(), st.dictionaries(RULES, ODD, max_size=2)),
    st.fixed_dictionaries({"type": TYPES | st.lists(TYPES, max_size=2)}),
    st.fixed_dictionaries({"type": st.just("object"), "properties": MEMBERS}),
)
COLUMNS = st.just(PEOPLE) | st.dictionaries(NAMES, COLUMN, max_size=4)
FILES = st.lists(st.sampled_from(["file:///dev/null", "file:///etc", "x"]))


def message(kind: str, **members: t.Any) -> st.SearchStrategy[Record]:
    """Return messages of a kind, with such members."""
    stream = {} if kind == "STATE" else {"stream": st.sampled_from(["people", "members"])}
    return st.fixed_dictionaries({"type": st.just(kind)} | stream | members)


MESSAGES = st.one_of(
    message(
        "SCHEMA",
        schema=st.fixed_dictionaries({"properties": COLUMNS}),
        key_properties=st.just(["id"]) | st.just([]) | st.none(),
    ),
    message("RECORD", record=st.dictionaries(NAMES, ODD, max_size=4)),
    message("STATE", value=st.dictionaries(NAMES, ODD, max_size=2)),
    message("ACTIVATE_VERSION"),
    message("BATCH", encoding=st.just({"format": "jsonl", "compression": "none"}), manifest=FILES),
)
KEYS = st.sampled_from(["type", "stream", "schema", "key_properties", "record", "value"])
KEYS |= st.sampled_from(["encoding", "manifest", "version", "time_extracted"])
CHANGES = st.dictionaries(KEYS, ODD, min_size=1, max_size=1)
LINES = st.lists(
    MESSAGES.map(json.dumps)
    | st.builds(lambda message, change: json.dumps(message | change), MESSAGES, CHANGES)
    | st.text(max_size=20).map(lambda text: text.replace("\n", " "))
    | st.builds(lambda text, at: text[:at], MESSAGES.map(json.dumps), st.integers(0, 60)),
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
