"""A property's text means what the value meant, and consent is never made up."""

import datetime as dt
import json
import typing as t
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer.mapping.values import InvalidValueError, parse_consent, property_text
from target_mainbrainer.settings.declared import all_words
from tests.loads import cases
from tests.mapping.one_record import D, code_of
from tests.strategies import nested


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


NO_NUMBERS = [float("nan"), D("sNaN"), D("-Infinity"), [float("inf")], {"a": [float("nan")]}]


@cases(
    "value code",
    *((half, "unsendable_text") for half in ["\ud800", ["\ud800"], {"\ud800": 1}]),
    *((odd, "not_a_number") for odd in (*NO_NUMBERS, {"a": D("Infinity")})),
    pytest.param({"a": object()}, "unsendable_value", id="no JSON"),
    ids=ascii,
)
def test_what_cannot_be_written_is_refused(value: object, code: str) -> None:
    assert code_of(property_text, value) == code


WHOLE_TEXT = st.text(st.characters(codec="utf-8"), max_size=10)
JSON = nested(st.none() | st.booleans() | st.integers() | WHOLE_TEXT, WHOLE_TEXT)


@given(st.dictionaries(WHOLE_TEXT, JSON, max_size=3))
def test_an_object_can_be_read_back(value: dict[str, t.Any]) -> None:
    assert json.loads(property_text(value)) == value


@given(st.lists(WHOLE_TEXT | st.just(";"), min_size=1))
def test_an_array_of_texts_can_be_read_back(value: list[str]) -> None:
    text = property_text(value)
    assert text.split(";") == value or json.loads(text) == value


# Consent is never made up

YES = ["true", "yes", "y", "1"]
NO = ["false", "no", "n", "0"]


@cases("spell", str, str.upper, str.title, " {}\t".format)
def test_consent_is_an_explicit_yes_or_no(spell: t.Callable[[str], str]) -> None:
    for said in (*map(spell, YES), True, 1, 1.0, D(1), D("1.0")):
        assert parse_consent(said) is True
    for said in (*map(spell, NO), False, 0, 0.0, D(0), D("0.0")):
        assert parse_consent(said) is False


@cases("nothing", None, "", " ", "\t\n", "\u00a0")
def test_nothing_is_no_statement(nothing: object) -> None:
    assert parse_consent(nothing) is None


@cases(
    "word",
    *("on", "t", "ja", "x", "subscribed", "1.0", "10", 2, -1, 0.5, D("NaN"), D("sNaN"), [True], {}),
)
def test_any_other_word_is_refused(word: object) -> None:
    assert code_of(parse_consent, word) == "invalid_consent"


@cases("word", "ja", "JA", " Ja\t", "kyllä", "KYLLÄ", "Straße", "STRASSE")
def test_words_of_the_source_have_the_meaning_that_is_set(word: str) -> None:
    words = all_words({"yes": ["Ja ", "kyllä", "straße"], "no": ["nei"]})
    assert parse_consent(word, words) is True
    assert parse_consent(" NEI", words) is False
    assert parse_consent("yes", words) is True
    with pytest.raises(InvalidValueError):
        parse_consent("kanskje", words)
