"""Consent is never made up."""

import typing as t

import pytest

from target_mainbrainer.mapping.values import InvalidValueError, parse_consent
from target_mainbrainer.settings.checks import consent_word_problems
from target_mainbrainer.settings.declared import all_words
from tests.cases import cases
from tests.mapping.one_record import D, code_of

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
    "on",
    "t",
    "ja",
    "x",
    "subscribed",
    "1.0",
    "10",
    2,
    -1,
    0.5,
    D("NaN"),
    D("sNaN"),
    [True],
    {},
)
def test_any_other_word_is_refused(word: object) -> None:
    assert code_of(parse_consent, word) == "invalid_consent"


@cases("word", "ja", "JA", " Ja\t", "kyllä", "KYLLÄ", "Straße", "STRASSE")
def test_words_of_the_source_mean_what_the_setting_says(word: str) -> None:
    words = all_words({"yes": ["Ja ", "kyllä", "straße"], "no": ["nei"]})
    assert parse_consent(word, words) is True
    assert parse_consent(" NEI", words) is False
    assert parse_consent("yes", words) is True
    with pytest.raises(InvalidValueError):
        parse_consent("kanskje", words)


@cases(
    "own problem",
    ({"yes": ["ja"], "no": ["Ja "]}, "'ja' stands for both yes and no"),
    ({"no": ["Yes"]}, "'yes' always means the opposite of no"),
    ({"yes": ["0"]}, "'0' always means the opposite of yes"),
    ({"yes": [" "]}, "a blank is not a word"),
)
def test_contradictory_words_are_an_error(own: dict[str, list[str]], problem: str) -> None:
    """Words that are built in may be repeated."""
    (said,) = consent_word_problems("consent_words", own)
    assert said.startswith(f"Setting 'consent_words': {problem}")
    assert list(consent_word_problems("consent_words", {"yes": ["YES", "ja"], "no": ["0"]})) == []
