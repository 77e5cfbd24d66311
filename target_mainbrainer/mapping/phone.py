"""Mobile numbers: split into the country code and the national number that the API takes."""

from __future__ import annotations

import re
import typing as t
import unicodedata

import phonenumbers
from phonenumbers import NumberParseException, ValidationResult

from target_mainbrainer.contacts.contact import Mobile
from target_mainbrainer.contacts.rejection import RejectionCode
from target_mainbrainer.mapping.numbers import (
    INT32_MAX,
    INT64_MAX,
    integral,
    plain_text,
    positive_integer,
)
from target_mainbrainer.mapping.quick_phone import AS_DECIMAL, NO_COUNTRIES, quick_mobile
from target_mainbrainer.mapping.values import InvalidValueError

_SPELLING = re.compile(r"\(?\+?[\d\s().\[\]/~\-\u2010-\u2015\u2212\u30fc]+")
"""Digits and what is usually put between them; letters and a second plus are not."""

_NO_COUNTRY_CODE = (
    "has a number without a country code; set 'default_country_code', or have it written with + "
    "and the country code"
)
_LEADING_ZERO = (
    "has a number that really starts with a zero, and MainBrainer takes it as an integer, which "
    "cannot; map the column to a property instead"
)
_LENGTHS = {
    ValidationResult.TOO_SHORT: "is too short for a mobile number of its country",
    ValidationResult.TOO_LONG: "is too long for a mobile number of its country",
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: "lacks its area code",
}


def parse_mobile(value: object, default_country_code: int | None = None) -> Mobile | None:
    """Split a mobile number in any usual spelling into country code and national number.

    A number is refused if it is too short or too long for its country, not if its range is
    unknown: numbering plans change more often than libraries.

    >>> tuple(parse_mobile("+44 (0)7700 900123"))
    (44, 7700900123)
    >>> tuple(parse_mobile("0047 908 12 501")), tuple(parse_mobile("908 12 501", 47))
    ((47, 90812501), (47, 90812501))
    >>> parse_mobile("+225 07 00 00 00 00")
    Traceback (most recent call last):
    target_mainbrainer.mapping.values.InvalidValueError: leading_zero

    Args:
        value: As the record holds it; a whole number counts as its digits.
        default_country_code: For numbers that are written without one.

    Raises:
        InvalidValueError: It is no mobile number, or cannot be sent as one.
    """
    if isinstance(value, str):
        text = value
    elif value is None:
        return None
    elif (number := integral(value)) is not None and number >= 0:
        text = _digits(number)
    else:
        raise InvalidValueError(
            RejectionCode.INVALID_MOBILE,
            "is neither a text nor a whole number, so it is no mobile number",
        )
    return quick_mobile(text, default_country_code) or _checked_mobile(text, default_country_code)


def _checked_mobile(written: str, default_country_code: int | None) -> Mobile | None:
    text = plain_text(written).removeprefix("tel:")
    if not text:
        return None
    if AS_DECIMAL.fullmatch(text):
        raise InvalidValueError(
            RejectionCode.INVALID_MOBILE,
            "is written as a decimal number, so its digits cannot be relied on",
        )
    region = phonenumbers.region_code_for_country_code(default_country_code or 0) or "ZZ"
    if not _SPELLING.fullmatch(text):
        # Any country will do to see whether what follows the number is an extension.
        why = _why_misspelt(text, "US" if region in NO_COUNTRIES else region)
        raise InvalidValueError(RejectionCode.INVALID_MOBILE, why)
    digits = "".join(
        "+" if mark == "+" else str(unicodedata.decimal(mark))
        for mark in text
        if mark == "+" or mark.isdecimal()
    )
    if digits.startswith("00"):
        digits = f"+{digits[2:]}"
    elif not digits.startswith("+"):
        if default_country_code is None:
            raise InvalidValueError(RejectionCode.NO_COUNTRY_CODE, _NO_COUNTRY_CODE)
        if region not in NO_COUNTRIES:
            return _parsed(digits, region)
        digits = f"+{default_country_code}{digits}"
    return _parsed(digits, None)


def _parsed(digits: str, region: str | None) -> Mobile:
    try:
        number = phonenumbers.parse(digits, region)
    except NumberParseException as error:
        what = "is no mobile number"
        if error.error_type == NumberParseException.INVALID_COUNTRY_CODE:
            what = "starts with a country code that does not exist"
        raise InvalidValueError(RejectionCode.INVALID_MOBILE, what) from None
    result = phonenumbers.is_possible_number_with_reason(number)
    if result != ValidationResult.IS_POSSIBLE:
        what = _LENGTHS.get(result, "has a length that no mobile number of its country has")
        raise InvalidValueError(RejectionCode.INVALID_MOBILE, what)
    if number.italian_leading_zero:
        raise InvalidValueError(RejectionCode.LEADING_ZERO, _LEADING_ZERO)
    return Mobile(t.cast("int", number.country_code), t.cast("int", number.national_number))


def _why_misspelt(text: str, region: str) -> str:
    try:
        extension = phonenumbers.parse(text, region).extension
    except NumberParseException:
        extension = None
    if extension:
        return "has a number with an extension, to which no SMS can go"
    return "holds more than the digits of one mobile number"


def parse_country_code(value: object) -> int | None:
    """Return a country code of its own column as it is: an integer that fits the API's int32.

    >>> parse_country_code(47), parse_country_code("+47"), parse_country_code("")
    (47, 47, None)

    Raises:
        InvalidValueError: It is none.
    """
    if isinstance(value, str):
        value = value.strip().removeprefix("+")
    return positive_integer(
        value,
        INT32_MAX,
        RejectionCode.INVALID_COUNTRY_CODE,
        "is no country calling code such as 47",
    )


def parse_national_number(value: object, country_code: int | None) -> Mobile | None:
    """Return a number that comes apart from its country code, as it is.

    Nothing is checked but that the API's int64 can hold it. Only a zero in front needs a look:
    the zero that is dialled inside a country is dropped, one that belongs to the number makes
    it unsendable.

    >>> tuple(parse_national_number("908 12 501", 47))
    (47, 90812501)
    >>> tuple(parse_national_number("07700 900123", 44))
    (44, 7700900123)

    Raises:
        InvalidValueError: It is no number, or cannot be sent as one.
    """
    if isinstance(value, str):
        text = plain_text(value)
        if text.startswith("+"):
            raise InvalidValueError(
                RejectionCode.INVALID_MOBILE,
                "holds a country code as well; map the column to 'mobile'",
            )
        value = "".join(re.split(r"(?<=\d)[ -](?=\d)", text))
        if value[:1] == "0" and value.isdecimal():
            return _without_zero(value, country_code)
    number = positive_integer(
        value,
        INT64_MAX,
        RejectionCode.INVALID_MOBILE,
        "is no national mobile number: it should be digits",
    )
    return None if number is None else Mobile(country_code, number)


def _without_zero(digits: str, country_code: int | None) -> Mobile:
    if country_code is not None:
        try:
            return _parsed(f"+{country_code}{digits}", None)
        except InvalidValueError:
            pass
    raise InvalidValueError(RejectionCode.LEADING_ZERO, _LEADING_ZERO)


def _digits(number: int) -> str:
    """Return the digits of a number, or of one that is just as much too long."""
    return str(min(number, 10**40))
