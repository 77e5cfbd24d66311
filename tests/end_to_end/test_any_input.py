"""Whatever a tap writes, the run ends in a sentence, and never as a fault of the target."""

from __future__ import annotations

import json
import os
import typing as t

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.messages import PEOPLE

if t.TYPE_CHECKING:
    from tests.messages import RunTarget

EXAMPLES = int(os.environ.get("ANY_INPUT_EXAMPLES", "40"))

NAMES = st.sampled_from(
    ["people", "members", "id", "email", "mobile", "email_opt_in", "a", "a__b", "b", "_sdc_x", ""]
)
ODD: st.SearchStrategy[t.Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | NAMES
    | st.sampled_from(["p1@example.com", "+44 7700 900123", "yes", "\ud800", "\0", "string"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
TYPES = st.sampled_from(["string", "integer", "object", "array", "null", "number", "boolean"])
COLUMN = st.one_of(
    st.just({}),
    st.booleans(),
    st.builds(lambda kind: {"type": kind}, TYPES | st.lists(TYPES, max_size=2)),
    st.builds(
        lambda inner: {"type": "object", "properties": inner},
        st.dictionaries(NAMES, st.just({}) | ODD, max_size=2) | ODD,
    ),
    st.dictionaries(
        st.sampled_from(["type", "format", "pattern", "enum", "$ref", "anyOf", "maximum", "items"]),
        ODD,
        max_size=2,
    ),
)
STREAM = st.sampled_from(["people", "members"])
MESSAGES = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.just("SCHEMA"),
            "stream": STREAM,
            "schema": st.builds(
                lambda columns: {"properties": columns},
                st.just(PEOPLE) | st.dictionaries(NAMES, COLUMN, max_size=4),
            ),
            "key_properties": st.just(["id"]) | st.just([]) | st.none(),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("RECORD"),
            "stream": STREAM,
            "record": st.dictionaries(NAMES, ODD, max_size=4),
        }
    ),
    st.fixed_dictionaries(
        {"type": st.just("STATE"), "value": st.dictionaries(NAMES, ODD, max_size=2)}
    ),
    st.fixed_dictionaries({"type": st.just("ACTIVATE_VERSION"), "stream": STREAM}),
    st.fixed_dictionaries(
        {
            "type": st.just("BATCH"),
            "stream": STREAM,
            "encoding": st.just({"format": "jsonl", "compression": "none"}),
            "manifest": st.lists(st.sampled_from(["file:///dev/null", "file:///etc", "x"])),
        }
    ),
)
MEMBERS = st.sampled_from(
    [
        *("type", "stream", "schema", "key_properties", "record", "value"),
        *("encoding", "manifest", "version", "time_extracted"),
    ]
)


def changed(message: dict[str, t.Any], member: str, value: object) -> dict[str, t.Any]:
    return message | {member: value}


LINES = st.lists(
    MESSAGES.map(json.dumps)
    | st.builds(changed, MESSAGES, MEMBERS, ODD).map(json.dumps)
    | st.text(max_size=20).map(lambda text: text.replace("\n", " "))
    | st.builds(lambda text, at: text[:at], MESSAGES.map(json.dumps), st.integers(0, 60)),
    max_size=6,
)
EXPRESSIONS = st.none() | st.sampled_from(
    ["email", "id + 1", "email.lower()", "nosuch", "1 / 0", "record['a']", "str(id)", "__NULL__"]
)
MAPS = st.dictionaries(
    NAMES | st.sampled_from(["__filter__", "__alias__", "__key_properties__", "__else__"]),
    EXPRESSIONS | st.just(["id"]) | ODD,
    max_size=3,
)
CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "stream_maps": st.dictionaries(STREAM | st.just("*"), MAPS | ODD, max_size=2),
        "flattening_enabled": st.booleans(),
        "flattening_max_depth": st.integers(0, 3),
        "add_record_metadata": st.booleans(),
        "validate_records": st.booleans(),
        "field_map": st.dictionaries(
            NAMES, st.none() | st.sampled_from(["email", "mobile", "email_opt_in", "x"]), max_size=3
        ),
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
def test_no_input_is_a_fault_of_the_target(
    run_target: RunTarget, lines: list[str], config: dict[str, t.Any]
) -> None:
    start = [] if lines[:1] == [""] else [json.dumps({"type": "STATE", "value": {}})]
    ended = run_target(*start, *lines, **config)
    event("; ".join(error[:30] for error in ended.errors) or "delivered")
    assert ended.code in {0, 1}
    assert bool(ended.code) == bool(ended.errors)
    assert "Unexpected" not in " ".join(ended.errors), ended.errors
    assert "do not add up" not in " ".join(ended.errors), ended.errors
    assert "Traceback" not in ended.log
