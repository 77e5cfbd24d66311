"""Consent: yes only from an explicit yes."""

from __future__ import annotations

import typing as t

from target_mainbrainer.contacts.rejection import RejectionCode
from target_mainbrainer.mapping.numbers import integral
from target_mainbrainer.mapping.values import InvalidValueError
from target_mainbrainer.settings.declared import BUILT_IN_WORDS, plain_word

if t.TYPE_CHECKING:
    from collections.abc import Mapping

_NO_CONSENT = (
    "says neither yes nor no; it should be true, yes, y or 1, or false, no, n or 0, or a word of "
    "'consent_words', or empty if nothing is known"
)


def parse_consent(value: object, words: Mapping[str, bool] = BUILT_IN_WORDS) -> bool | None:
    """Return a consent that the source states in so many words, None where it says nothing.

    True comes only from an explicit true: without consent MainBrainer sends nothing, and sending
    without it is a breach of its terms (API note, section 8.3). So any other word is refused
    rather than read as one or the other. Numbers count by value (`1`, `1.0`), texts by their
    letters (`"1"`, not `"1.0"`).

    >>> parse_consent("Yes"), parse_consent(0), parse_consent(" ")
    (True, False, None)
    >>> parse_consent("Ja", {"ja": True})
    True
    >>> parse_consent("subscribed")
    Traceback (most recent call last):
    target_mainbrainer.mapping.values.InvalidValueError: invalid_consent

    Args:
        value: As the record holds it.
        words: What each word means; a word is without blanks and casefolded.

    Raises:
        InvalidValueError: The value is none of these words.
    """
    if value is True or value is False or value is None:
        return value
    if isinstance(value, str):
        word = plain_word(value)
        if not word:
            return None
        if (consent := words.get(word)) is not None:
            return consent
    elif (number := integral(value)) is not None and number in {0, 1}:
        return number == 1
    raise InvalidValueError(RejectionCode.INVALID_CONSENT, _NO_CONSENT)
