"""The words that mean yes or no in a column of consent."""

from __future__ import annotations

import typing as t

from target_mainbrainer.words import shown

if t.TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ConsentWords: t.TypeAlias = "Mapping[str, Sequence[str]]"

BUILT_IN_WORDS: t.Final[Mapping[str, bool]] = {
    **dict.fromkeys(("true", "yes", "y", "1"), True),
    **dict.fromkeys(("false", "no", "n", "0"), False),
}


def plain_word(word: str) -> str:
    """Return a word without what does not count in it: case, and the blanks around it.

    >>> plain_word(" JA ")
    'ja'
    """
    return word.strip().casefold()


def all_words(own: ConsentWords) -> dict[str, bool]:
    """Return the built-in words and those of the setting `consent_words`, with what they mean.

    >>> words = all_words({"yes": ["Ja"], "no": ["Nei"]})
    >>> words["ja"], words["nei"], words["yes"]
    (True, False, True)
    """
    words = dict(BUILT_IN_WORDS)
    for answer, is_yes in (("yes", True), ("no", False)):
        words |= {plain_word(word): is_yes for word in own.get(answer, ())}
    return words


def consent_word_problems(place: str, own: ConsentWords) -> Iterator[str]:
    """Say which words of the setting contradict each other, or mean nothing.

    >>> list(consent_word_problems("consent_words", {"yes": ["ja"], "no": ["JA "]}))
    ["Setting 'consent_words': 'ja' stands for both yes and no."]
    """
    given = {answer: {plain_word(word) for word in own.get(answer, ())} for answer in ("yes", "no")}
    if "" in given["yes"] | given["no"]:
        yield f"Setting '{place}': a blank is no word. An empty consent always means nothing."
    for word in sorted(given["yes"] & given["no"]):
        yield f"Setting '{place}': '{shown(word)}' stands for both yes and no."
    for answer, is_yes in (("yes", True), ("no", False)):
        for word in sorted(given[answer]):
            if BUILT_IN_WORDS.get(word, is_yes) is not is_yes:
                yield f"Setting '{place}': '{shown(word)}' always means the opposite of {answer}."
