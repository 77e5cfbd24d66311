"""Whole numbers, as records hold them: as numbers, as digits in a text, in full-width forms."""

from __future__ import annotations

import decimal
import typing as t
import unicodedata

from target_mainbrainer.mapping.values import InvalidValueError

if t.TYPE_CHECKING:
    from target_mainbrainer.contacts.rejection import RejectionCode

INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1

_INT_DIGITS = 20
"""More digits than any integer of the API has."""

_INT64_DIGITS = 19

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
"""Full-width forms to ASCII. Compatibility normalisation would also make a digit of a footnote."""


def integral(value: object) -> int | None:
    """Return a number without a fraction as an integer, None for anything else.

    JSON does not tell `1` from `1.0`, and spreadsheets write every number with a fraction.

    >>> integral(47), integral(decimal.Decimal("47.0")), integral(47.5), integral(True)
    (47, 47, None, None)
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    # The exponent is looked at first: int() would write out every digit of 1E+999999.
    if isinstance(value, decimal.Decimal) and value.is_finite() and value.adjusted() < _INT_DIGITS:
        return int(value) if value == value.to_integral_value() else None
    return None


def positive_integer(value: object, most: int, code: RejectionCode, what: str) -> int | None:
    """Return the positive whole number that a value holds, None if it is empty.

    Args:
        value: A number, or its digits in a text.
        most: The largest number that is accepted.
        code: The code of the rejection, if it is no such number.
        what: The reason of the rejection.

    >>> from target_mainbrainer.contacts.rejection import RejectionCode
    >>> positive_integer(" 047 ", 99, RejectionCode.INVALID_COUNTRY_CODE, "is no code")
    47

    Raises:
        InvalidValueError: It is no positive whole number, or a larger one.
    """
    if value is None:
        return None
    number: int | None
    if isinstance(value, str):
        text = plain_text(value)
        if not text:
            return None
        significant = text.lstrip("0")
        is_short = len(significant) <= _INT64_DIGITS
        number = int(significant or "0") if text.isdecimal() and is_short else None
    else:
        number = integral(value)
    if number is None or not 0 < number <= most:
        raise InvalidValueError(code, what)
    return number


def plain_text(text: str) -> str:
    """Return a text with full-width forms as ASCII and without invisible marks.

    Numbers copied from a contact card often come wrapped in marks for writing direction.
    """
    if not text.isascii():
        plain = text.translate(_FULL_WIDTH)
        text = "".join(mark for mark in plain if unicodedata.category(mark) != "Cf")
    return text.strip()
