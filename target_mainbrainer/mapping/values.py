"""The text that a property's value is sent as, and the consent that a column states."""

from __future__ import annotations

import datetime as dt
import decimal
import typing as t
import uuid
from collections.abc import Callable, Mapping

import msgspec

from target_mainbrainer.contacts import Rejection, RejectionCode
from target_mainbrainer.settings.declared import BUILT_IN_WORDS, plain_word
from target_mainbrainer.words import is_utf8, shown


class InvalidValueError(ValueError):
    """A value that cannot be sent.

    Attributes:
        code: The code of the rejection.
        what: The rest of a sentence that starts with the column; never repeats the value.
        column: Where the value is; without one, `what` is a whole sentence.
    """

    def __init__(self, code: RejectionCode, what: str) -> None:
        super().__init__(code)
        self.code = code
        self.what = what
        self.column: str | None = None

    @property
    def rejection(self) -> Rejection:
        """The rejection of the record."""
        is_whole = self.column is None
        reason = self.what if is_whole else f"Column '{shown(self.column or '')}' {self.what}."
        return Rejection(self.code, reason)


_MOST_PLAIN_DIGITS = 400
"""Beyond the largest float; an exponent past this is left as it is instead of written out."""

_INT_DIGITS = 20
"""More digits than any integer of the API has."""

_ENCODER = msgspec.json.Encoder(decimal_format="number")

_NOT_A_NUMBER = (
    "contains NaN or an infinity, which cannot be written in JSON; let the tap send null instead"
)
_UNSENDABLE_TEXT = "contains an unpaired surrogate, which cannot be written as UTF-8"
_NO_CONSENT = (
    "says neither yes nor no; it should be true, yes, y or 1, or false, no, n or 0, or a word of "
    "'consent_words', or empty if nothing is known"
)


def integral(value: object) -> int | None:
    """Return a number without a fraction as an integer, None for anything else.

    JSON does not tell `1` from `1.0`, and spreadsheets write every number with a fraction.

    >>> integral(47), integral(decimal.Decimal("47.0")), integral(47.5), integral(True)
    (47, 47, None, None)
    """
    if isinstance(value, int):
        return None if isinstance(value, bool) else int(value)
    number = decimal.Decimal(value if isinstance(value, float | decimal.Decimal) else "NaN")
    # The exponent is looked at first: int() would write out every digit of 1E+999999.
    is_short = number.is_finite() and number.adjusted() < _INT_DIGITS
    return int(number) if is_short and number == number.to_integral_value() else None


def parse_consent(value: object, words: Mapping[str, bool] = BUILT_IN_WORDS) -> bool | None:
    """Return the consent that the source states explicitly, None where it says nothing.

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
        value: As it is in the record.
        words: The meaning of each word, which is without blanks and casefolded.

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


# Properties ----------------------------------------------------------------------------------


def check_text(text: str) -> str:
    r"""Return a text that can be sent, unchanged.

    Everything that UTF-8 can carry passes, emoji, right-to-left marks and NUL included: how to
    show those is the CRM's decision.

    >>> check_text("Åse\0")
    'Åse\x00'

    Raises:
        InvalidValueError: It contains an unpaired surrogate.
    """
    if not (text.isascii() or is_utf8(text)):
        raise InvalidValueError(RejectionCode.UNSENDABLE_TEXT, _UNSENDABLE_TEXT)
    return text


def property_text(value: object) -> str:
    """Return a property's value as text, its meaning unchanged.

    Properties are always texts, and no page says how a number or a choice of several should
    look in one (API note, section 8.5). So: numbers with the digits the record had and never
    with an exponent, dates and times in ISO 8601, arrays of plain values joined with `;` (as
    JSON if one of them contains a `;` itself, or could not be told from the next), and anything
    nested deeper as compact JSON.

    >>> property_text(decimal.Decimal("12.50")), property_text(True), property_text(["a", 1])
    ('12.50', 'true', 'a;1')
    >>> property_text({"zip": "0236", "floors": [1, 2]})
    '{"zip":"0236","floors":[1,2]}'

    Raises:
        InvalidValueError: The value cannot be written as text.
    """
    text = _scalar_text(value)
    if text is not None:
        return text
    if isinstance(value, list | tuple):
        parts = [_scalar_text(item) for item in value if item is not None]
        plain = [part for part in parts if part is not None]
        if len(plain) == len(parts) and not any(";" in part for part in plain):
            return ";".join(plain)
    return _json_text(value)


def _scalar_text(value: object) -> str | None:
    """Return a plain value as text, or None if it is not plain."""
    write = PLAIN_WRITERS.get(type(value))
    if write is None:  # a subclass, or not plain
        write = next((w for kind, w in PLAIN_WRITERS.items() if isinstance(value, kind)), None)
    return None if write is None else write(value)


def _decimal_text(value: decimal.Decimal) -> str:
    if not value.is_finite():
        raise InvalidValueError(RejectionCode.NOT_A_NUMBER, _NOT_A_NUMBER)
    text = str(value)
    if "E" in text and abs(value.adjusted()) < _MOST_PLAIN_DIGITS:
        return format(value, "f")
    return text


PLAIN_WRITERS: dict[type[object], Callable[[t.Any], str]] = {
    str: check_text,
    bool: lambda value: "true" if value else "false",
    int: lambda value: str(decimal.Decimal(value)),  # str(int) refuses more than 4300 digits
    decimal.Decimal: _decimal_text,
    float: lambda value: _decimal_text(decimal.Decimal(repr(float(value)))),
    dt.date: lambda value: value.isoformat(),  # a datetime is a date, too
    dt.time: lambda value: value.isoformat(),
    uuid.UUID: str,
}
"""Functions that write a plain value as text, by its exact type."""


def _json_text(value: object) -> str:
    if contains_nan(value):  # which the encoder writes as null, writes as NaN or refuses
        raise InvalidValueError(RejectionCode.NOT_A_NUMBER, _NOT_A_NUMBER)
    try:
        return _ENCODER.encode(value).decode()
    except UnicodeEncodeError:
        raise InvalidValueError(RejectionCode.UNSENDABLE_TEXT, _UNSENDABLE_TEXT) from None
    except (TypeError, ValueError, OverflowError):
        what = f"is or contains a {type(value).__name__} that JSON cannot carry"
        raise InvalidValueError(RejectionCode.UNSENDABLE_VALUE, what) from None


def contains_nan(value: object) -> bool:
    """Return whether a value is or contains a number that JSON cannot carry."""
    if isinstance(value, dict):
        return any(map(contains_nan, value.values()))
    if isinstance(value, list | tuple):
        return any(map(contains_nan, value))
    if isinstance(value, float):
        return value - value != 0
    return isinstance(value, decimal.Decimal) and not value.is_finite()
