"""A property's text means what the value meant."""

from __future__ import annotations

import contextlib
import datetime as dt
import decimal
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
from tests.strategies import ANY_TEXT, VALUES

D = decimal.Decimal


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("  as it is\0\u202e\U0001f600 ", "  as it is\0\u202e\U0001f600 ", id="text"),
        pytest.param("", "", id="empty text"),
        pytest.param("x" * 10_000, "x" * 10_000, id="long text"),
        pytest.param("2026-02-30T25:00:00Z", "2026-02-30T25:00:00Z", id="odd date, as it came"),
        pytest.param(4711, "4711", id="integer"),
        pytest.param(-(2**70), "-1180591620717411303424", id="beyond int64"),
        pytest.param(10**4999, "1" + "0" * 4999, id="more digits than Python likes"),
        pytest.param(D("12.50"), "12.50", id="decimal with its digits"),
        pytest.param(D("1E+2"), "100", id="exponent written out"),
        pytest.param(D("0.00000001"), "0.00000001", id="small decimal"),
        pytest.param(D("1E+305"), "1" + "0" * 305, id="as large as a float"),
        pytest.param(1e305, "1" + "0" * 305, id="a float as large"),
        pytest.param(D("-1.5E-305"), "-0." + "0" * 304 + "15", id="as small as a float"),
        pytest.param(D("1E+999999"), "1E+999999", id="no million digits"),
        pytest.param(12.5, "12.5", id="float"),
        pytest.param(1e22, "10000000000000000000000", id="large float"),
        pytest.param(True, "true", id="true"),
        pytest.param(False, "false", id="false"),
        pytest.param(dt.date(2026, 1, 31), "2026-01-31", id="date"),
        pytest.param(
            dt.datetime(2026, 1, 31, 8, tzinfo=dt.UTC), "2026-01-31T08:00:00+00:00", id="datetime"
        ),
        pytest.param(dt.time(8, 30), "08:30:00", id="time"),
        pytest.param(uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007", id="uuid"),
        pytest.param(["a", 1, True, D("2.50")], "a;1;true;2.50", id="plain array"),
        pytest.param([], "", id="empty array"),
        pytest.param(["a", None, "b"], "a;b", id="null in an array"),
        pytest.param(["a;b", "c"], '["a;b","c"]', id="semicolon in an array"),
        pytest.param([["a"], "b"], '[["a"],"b"]', id="nested array"),
        pytest.param(
            {"zip": "0236", "n": D("1.50"), "x": None},
            '{"zip":"0236","n":1.50,"x":null}',
            id="object",
        ),
        pytest.param({"å": "\u2028"}, '{"å":"\u2028"}', id="object beyond ASCII"),
        pytest.param(
            {"n": 10**30}, '{"n":1000000000000000000000000000000}', id="object beyond int64"
        ),
    ],
)
def test_a_value_becomes_a_text_of_the_same_meaning(value: object, text: str) -> None:
    assert property_text(value) == text


@pytest.mark.parametrize(
    ("value", "code"),
    [
        pytest.param("\ud800", "unsendable_text", id="half a character"),
        pytest.param(["\ud800"], "unsendable_text", id="half a character in an array"),
        pytest.param({"\ud800": 1}, "unsendable_text", id="half a character in a key"),
        pytest.param(float("nan"), "not_a_number", id="NaN"),
        pytest.param(D("sNaN"), "not_a_number", id="signalling NaN"),
        pytest.param(D("-Infinity"), "not_a_number", id="infinity"),
        pytest.param([float("inf")], "not_a_number", id="infinity in an array"),
        pytest.param({"a": [float("nan")]}, "not_a_number", id="NaN deep inside"),
        pytest.param({"a": D("Infinity")}, "not_a_number", id="decimal infinity deep inside"),
        pytest.param({"a": object()}, "unsendable_value", id="no JSON"),
    ],
)
def test_what_cannot_be_written_is_refused(value: object, code: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        property_text(value)
    assert caught.value.code == code


@given(VALUES)
def test_every_text_of_a_property_can_be_encoded(value: object) -> None:
    try:
        text = property_text(value)
    except InvalidValueError:
        return
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


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(
            [{"propertyid": "x", "propertyname": "zip", "propertyvalue": "0236"}], id="portal"
        ),
        pytest.param(
            [{"propertyId": "x", "propertyName": "zip", "propertyValue": "0236"}], id="OpenAPI"
        ),
        pytest.param(
            '[{"property_id":"x","property_name":"zip","property_value":"0236"}]', id="JSON text"
        ),
    ],
)
def test_a_property_array_is_read_in_either_spelling(value: object) -> None:
    assert parse_property_fields(value) == [(PropertyRef("x", "zip"), "0236")]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"propertyname": "zip", "propertyvalue": "0236"}, id="no array"),
        pytest.param(["zip"], id="no objects"),
        pytest.param([{"propertyvalue": "0236"}], id="no name"),
        pytest.param(
            [{"propertyname": "", "propertyid": None, "propertyvalue": ""}], id="empty name"
        ),
        pytest.param([{"propertyname": "zip"}], id="no value"),
        pytest.param([{"propertyname": 7, "propertyvalue": "x"}], id="name is no text"),
        pytest.param("zip=0236", id="other text"),
        pytest.param(7, id="number"),
        pytest.param("[" * 100_000, id="endless nesting"),
    ],
)
def test_a_property_array_of_another_shape_is_refused(value: object) -> None:
    with pytest.raises(InvalidValueError) as caught:
        parse_property_fields(value)
    assert caught.value.code == "invalid_properties"


@given(VALUES | ANY_TEXT)
def test_no_property_array_breaks_the_reader(value: object) -> None:
    with contextlib.suppress(InvalidValueError):
        parse_property_fields(value)
