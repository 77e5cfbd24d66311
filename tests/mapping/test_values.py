"""A property's text means what the value meant."""

import contextlib
import datetime as dt
import json
import typing as t
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer.contacts import PropertyRef
from target_mainbrainer.mapping.values import (
    InvalidValueError,
    parse_property_fields,
    property_text,
)
from tests.cases import cases
from tests.mapping.one_record import D, code_of
from tests.strategies import ANY_TEXT, VALUES


@cases(
    "value text",
    *((text, text) for text in ("  as it is\0\u202e\U0001f600 ", "", "2026-02-30T25:00:00Z")),
    *((4711, "4711"), (-(2**70), "-1180591620717411303424"), (10**4999, "1" + "0" * 4999)),
    *((D("12.50"), "12.50"), (D("1E+2"), "100"), (D("0.00000001"), "0.00000001")),
    *((D("1E+305"), "1" + "0" * 305), (1e305, "1" + "0" * 305)),
    *((D("-1.5E-305"), "-0." + "0" * 304 + "15"), (D("1E+999999"), "1E+999999")),
    *((12.5, "12.5"), (1e22, "10000000000000000000000"), (True, "true"), (False, "false")),
    *((dt.date(2026, 1, 31), "2026-01-31"), (dt.time(8, 30), "08:30:00")),
    (dt.datetime(2026, 1, 31, 8, tzinfo=dt.UTC), "2026-01-31T08:00:00+00:00"),
    (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    *((["a", 1, True, D("2.50")], "a;1;true;2.50"), ([], ""), (["a", None, "b"], "a;b")),
    *((["a;b", "c"], '["a;b","c"]'), ([["a"], "b"], '[["a"],"b"]')),
    ({"zip": "0236", "n": D("1.50"), "x": None}, '{"zip":"0236","n":1.50,"x":null}'),
    *(({"å": "\u2028"}, '{"å":"\u2028"}'), ({"n": 10**30}, f'{{"n":{10**30}}}')),
    ids=lambda value: ascii(value)[:30] if value != 10**4999 else "many digits",
)
def test_a_value_becomes_a_text_of_the_same_meaning(value: object, text: str) -> None:
    assert property_text(value) == text


HALVES = ["\ud800", ["\ud800"], {"\ud800": 1}]
NO_NUMBERS = [float("nan"), D("sNaN"), D("-Infinity"), [float("inf")], {"a": [float("nan")]}]


@cases(
    "value code",
    *((half, "unsendable_text") for half in HALVES),
    *((odd, "not_a_number") for odd in (*NO_NUMBERS, {"a": D("Infinity")})),
    pytest.param({"a": object()}, "unsendable_value", id="no JSON"),
    ids=ascii,
)
def test_what_cannot_be_written_is_refused(value: object, code: str) -> None:
    assert code_of(property_text, value) == code


@given(VALUES)
def test_every_text_of_a_property_can_be_encoded(value: object) -> None:
    with contextlib.suppress(InvalidValueError):
        text = property_text(value)
        assert text.encode().decode() == text


WHOLE_TEXT = st.text(st.characters(codec="utf-8"), max_size=10)
JSON: st.SearchStrategy[t.Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | WHOLE_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WHOLE_TEXT, inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(WHOLE_TEXT, JSON, max_size=3))
def test_an_object_can_be_read_back(value: dict[str, t.Any]) -> None:
    assert json.loads(property_text(value)) == value


@given(st.lists(WHOLE_TEXT | st.just(";"), min_size=1))
def test_an_array_of_texts_can_be_read_back(value: list[str]) -> None:
    text = property_text(value)
    assert text.split(";") == value or json.loads(text) == value


def test_a_property_array_is_read_in_any_spelling() -> None:
    for keys in ("propertyid name value", "propertyId Name Value", "property_id _name _value"):
        first, *rest = keys.split()
        names = [first, *(f"property{name}" for name in rest)]
        array = [dict(zip(names, ["x", "zip", "0236"], strict=True))]
        for value in (array, json.dumps(array)):
            assert parse_property_fields(value) == [(PropertyRef("x", "zip"), "0236")]


@cases(
    "value",
    {"propertyname": "zip", "propertyvalue": "0236"},
    [{"propertyvalue": "0236"}],
    [{"propertyname": "", "propertyid": None, "propertyvalue": ""}],
    [{"propertyname": "zip"}],
    [{"propertyname": 7, "propertyvalue": "x"}],
    *(["zip"], "zip=0236", 7, "[" * 100_000),
    ids=lambda value: str(value)[:50],
)
def test_a_property_array_of_another_shape_is_refused(value: object) -> None:
    assert code_of(parse_property_fields, value) == "invalid_properties"


@given(VALUES | ANY_TEXT)
def test_no_property_array_breaks_the_reader(value: object) -> None:
    with contextlib.suppress(InvalidValueError):
        parse_property_fields(value)
