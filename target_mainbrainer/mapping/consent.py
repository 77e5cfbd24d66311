"""Consent: yes only from an explicit yes."""

from __future__ import annotations

from target_mainbrainer.contacts.rejection import RejectionCode
from target_mainbrainer.mapping.numbers import integral
from target_mainbrainer.mapping.values import InvalidValueError

_CONSENT = {"true": True, "yes": True, "y": True, "1": True} | {
    "false": False,
    "no": False,
    "n": False,
    "0": False,
}
_NO_CONSENT = (
    "says neither yes nor no; it should be true, yes, y or 1, or false, no, n or 0, or empty if "
    "nothing is known"
)


def parse_consent(value: object) -> bool | None:
    """Return a consent that the source states in so many words, None where it says nothing.

    True comes only from an explicit true: without consent MainBrainer sends nothing, and
    sending without it is a breach of its terms (API note, section 8.3). So any other word is
    refused rather than read as one or the other. Numbers count by value (`1`, `1.0`), texts by
    their letters (`"1"`, not `"1.0"`).

    >>> parse_consent("Yes"), parse_consent(0), parse_consent(" ")
    (True, False, None)
    >>> parse_consent("subscribed")
    Traceback (most recent call last):
    target_mainbrainer.mapping.values.InvalidValueError: invalid_consent

    Raises:
        InvalidValueError: The value is none of these words.
    """
    if value is True or value is False or value is None:
        return value
    if isinstance(value, str):
        word = value.strip().lower()
        if not word:
            return None
        if (consent := _CONSENT.get(word)) is not None:
            return consent
    elif (number := integral(value)) is not None and number in {0, 1}:
        return number == 1
    raise InvalidValueError(RejectionCode.INVALID_CONSENT, _NO_CONSENT)
