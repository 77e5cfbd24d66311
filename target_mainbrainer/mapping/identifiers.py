"""Identifiers in the form of the API: mobile numbers, e-mail addresses, ids of contacts and lists.

Mobile numbers are split into the country code and the national number. `phonenumbers` and
`email-validator` take 16 and 75 times as long as the quick routes for plain spellings in here,
which know the countries from the library's own metadata; tests compare the two.
"""

from __future__ import annotations

import functools
import re
import typing as t
import unicodedata
from collections.abc import Callable
from decimal import Decimal

import phonenumbers
from phonenumbers import NumberParseException, PhoneMetadata, ValidationResult

from target_mainbrainer.contacts import Mobile, RejectionCode
from target_mainbrainer.mapping.values import InvalidValueError, integral
from target_mainbrainer.words import is_uuid

INT64_MAX = 2**63 - 1

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
"""Full-width forms to ASCII. Compatibility normalisation would also make a digit of a footnote."""

_BETWEEN_VALUES = re.compile(r"\s*(?:[;,|\n\r]|:::|\s/\s)\s*")


def plain_text(text: str) -> str:
    """Return a text with full-width forms as ASCII, and without invisible marks and quotes.

    Numbers copied from a contact card often come wrapped in marks for writing direction. Exports
    that people open in a spreadsheet mark a number as text.

    >>> plain_text("'+47 908 12 501"), plain_text('="0047 90812501"')
    ('+47 908 12 501', '0047 90812501')
    """
    if not text.isascii():
        plain = text.translate(_FULL_WIDTH)
        text = "".join(mark for mark in plain if unicodedata.category(mark) != "Cf")
    return text.strip().strip("\"'=").strip()


def _only_value(value: object, code: RejectionCode) -> object:
    """Return the value of a list of one, None for an empty list, and any other value as it is."""
    if isinstance(value, list) and len(value) <= 1:
        value = value[0] if value else None
    if isinstance(value, list | dict):
        raise InvalidValueError(code, "contains several values; choose one with a stream map")
    return value


def _are_several(text: str, is_value: Callable[[str], object]) -> bool:
    """Return whether a cell contains several values, as exports write them into one.

    >>> _are_several("908 12 501 ::: 934 54 496", str.strip), _are_several("908 12 501;", bool)
    (True, False)
    """
    parts = [part for part in _BETWEEN_VALUES.split(text) if part.strip()]
    return len(parts) > 1 and all(map(is_value, parts))


# Ids and other whole numbers -------------------------------------------------------------------


def positive_integer(value: object, most: int, code: RejectionCode, what: str) -> int | None:
    """Return the positive whole number that a value is, None if it is empty.

    Args:
        value: A number, or its digits in a text.
        most: The largest number that is accepted.
        code: The code of the rejection, if it is not such a number.
        what: The reason of the rejection.

    >>> positive_integer(" 047 ", 99, RejectionCode.INVALID_COUNTRY_CODE, "is not a code")
    47

    Raises:
        InvalidValueError: It is not a positive whole number, or a larger one.
    """
    if value is None:
        return None
    number = integral(value)
    if isinstance(value, str):
        text = plain_text(value)
        if not text:
            return None
        significant = text.lstrip("0")
        is_short = len(significant) <= len(str(INT64_MAX))
        number = int(significant or "0") if text.isdecimal() and is_short else None
        if number is None and _are_several(text, str.isdecimal):
            what = "contains several values; give each a column of its own"
    if number is None or not 0 < number <= most:
        raise InvalidValueError(code, what)
    return number


def parse_contact_id(value: object) -> int | None:
    """Return the CRM's own id of a contact: a positive int64, digits in text too.

    >>> parse_contact_id("234567"), parse_contact_id(234567), parse_contact_id(" ")
    (234567, 234567, None)

    Raises:
        InvalidValueError: It is not one.
    """
    what = "is not a contact id: it should be a positive whole number"
    return positive_integer(value, INT64_MAX, RejectionCode.INVALID_CONTACT_ID, what)


def parse_list_id(value: object) -> str | None:
    """Return the UUID of the list that a contact goes to.

    >>> parse_list_id("3fa85f64-5717-4562-b3fc-2c963f66afa6")
    '3fa85f64-5717-4562-b3fc-2c963f66afa6'

    Raises:
        InvalidValueError: It is not a UUID.
    """
    text = value.strip() if isinstance(value, str) else value
    if text in (None, ""):
        return None
    if not isinstance(text, str) or not is_uuid(text):
        raise InvalidValueError(RejectionCode.INVALID_LIST_ID, "is not the UUID of a list")
    return text


# E-mail addresses ------------------------------------------------------------------------------

_PLAIN_EMAIL = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++)*+"
    r"@(?:[A-Za-z0-9_]++(?:-[A-Za-z0-9_]++)*+\.)+[A-Za-z]{2,}"
)
"""An ASCII address without the two hyphens of Punycode."""

_PLAIN_EMAIL_LENGTH = 64
"""Up to this length no part of an address can be too long."""


def is_plain_email(email: str) -> bool:
    """Return whether an address is so plain that the library need not be asked.

    >>> is_plain_email("ola@example.com"), is_plain_email('"ola"@example.com')
    (True, False)
    """
    return len(email) <= _PLAIN_EMAIL_LENGTH and _PLAIN_EMAIL.fullmatch(email) is not None


def parse_email(value: object) -> str | None:
    """Return an e-mail address as written, without the blanks around it.

    Syntax only, nothing is looked up: addresses under `.test`, `.local` and `.invalid` pass, and
    so do underscores in a domain, quoted and internationalised addresses. `ola@localhost`, an IP
    address in brackets and `Ola <ola@example.com>` are refused. Nothing is normalised: whether
    case matters to the CRM is unknown (API note, section 8.1).

    >>> parse_email(" Ola.Nordmann@Example.com ")
    'Ola.Nordmann@Example.com'
    >>> parse_email("") is None
    True
    >>> parse_email("ola@example")
    Traceback (most recent call last):
    target_mainbrainer.mapping.values.InvalidValueError: invalid_email

    Raises:
        InvalidValueError: It is not an e-mail address.
    """
    value = _only_value(value, RejectionCode.INVALID_EMAIL)
    if value is None:
        return None
    if not isinstance(value, str):
        what = "is not a text, so it is not an e-mail address"
        raise InvalidValueError(RejectionCode.INVALID_EMAIL, what)
    email = value.strip()
    if not email or is_plain_email(email) or _is_valid_email(email):
        return email or None
    raise InvalidValueError(RejectionCode.INVALID_EMAIL, _why_not_email(email))


def _is_valid_email(email: str) -> bool:
    # Most runs need it for few addresses or none, and it takes a while to load.
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415

    local, at, domain = email.rpartition("@")
    # With an ending of its own the library has no opinion about names for special use.
    known = f"{local}{at}{domain.replace('_', 'x')}.com"
    try:
        valid = validate_email(known, check_deliverability=False, allow_quoted_local=True)
    except EmailNotValidError:
        return False
    ascii_domain = (valid.ascii_domain or "").removesuffix(".com")
    return "." in ascii_domain and ascii_domain[-1].isalpha()


def _why_not_email(text: str) -> str:
    """Return the fault of an address, to follow the name of its column."""
    if "@" not in text:
        return "has no '@'"
    if _are_several(text, lambda part: "@" in part):
        return "contains several e-mail addresses; give each a column of its own"
    if "<" in text or ">" in text:
        return "has angle brackets, and perhaps a name, around its e-mail address"
    if text.casefold().startswith("mailto:"):
        return "is a link that starts with 'mailto:', not an e-mail address"
    if hidden := [mark for mark in text if unicodedata.category(mark) == "Cf"]:
        return f"contains an invisible character (U+{ord(hidden[0]):04X})"
    return "is not a valid e-mail address"


# Mobile numbers --------------------------------------------------------------------------------

_SPELLING = re.compile(r"\(?\+?[\d\s().\[\]/~\-\u2010-\u2015\u2212\u30fc]+")
"""Digits and the usual marks between them; letters and a second plus are not."""

_LIKE_A_NUMBER = re.compile(r"(?:\D*\d){5}").match

_AS_DECIMAL = re.compile(r"\+?\d{4,}\.\d")
"""A number as spreadsheets write it: `4790812501.0`, whose last zero is not a digit of it."""

_NOT_ALONE = re.compile(
    r"[^/~]*[/~]\s*\d{1,2}|.*\[\s*\d{1,2}\s*\]"  # 070-174 06 05/6: another number that ends so
    r"|.*[-\u2010-\u2015\u2212]\s*\d|[^-]*\d{5}-\d\d"  # 0176 12345678-0: an extension
    r"|\d{1,2}([./-])\d{1,2}\1(19|20)\d\d|(19|20)\d\d([./-])\d\d\4\d\d"  # a date
)

_SCIENTIFIC = re.compile(r"\+?\d(?:[.,]\d+)?\s?[eE]\+?\d{1,3}")

_NO_COUNTRY_CODE = (
    "has a number without a country code; set 'default_country_code', or have it written with + "
    "and the country code"
)
_LEADING_ZERO = (
    "has a number that starts with a zero after the country code, and MainBrainer takes it as an "
    "integer, which cannot start with one; map the column to a property instead"
)
_AS_TEXT = "; export the column as text"


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
        value: As it is in the record; a whole number counts as its digits.
        default_country_code: For numbers that are written without one.

    Raises:
        InvalidValueError: It is not a mobile number, or cannot be sent as one.
    """
    value = _only_value(value, RejectionCode.INVALID_MOBILE)
    if isinstance(value, str) or (isinstance(value, Decimal) and "E+" in str(value)):
        text = str(value)  # with an exponent, as spreadsheets write it, digits are lost
    elif value is None:
        return None
    elif (number := integral(value)) is not None and number >= 0:
        text = str(min(number, 10**40))  # just as much too long as a longer one
    else:
        what = "is neither a text nor a whole number, so it is not a mobile number"
        raise InvalidValueError(RejectionCode.INVALID_MOBILE, what)
    return quick_mobile(text, default_country_code) or _checked_mobile(text, default_country_code)


def _checked_mobile(written: str, default_country_code: int | None) -> Mobile | None:
    text = plain_text(written).removeprefix("tel:")
    if not text:
        return None
    region = phonenumbers.region_code_for_country_code(default_country_code or 0)
    is_one = _SPELLING.fullmatch(text) and not _are_several(text, _LIKE_A_NUMBER)
    if not is_one or _AS_DECIMAL.fullmatch(text) or _NOT_ALONE.fullmatch(text):
        raise InvalidValueError(RejectionCode.INVALID_MOBILE, _why_not_mobile(text, region))
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
        if region not in _NO_COUNTRIES:
            return _parsed(digits, region)
        digits = f"+{default_country_code}{digits}"
    return _parsed(digits, None)


def _parsed(digits: str, region: str | None) -> Mobile:
    try:
        number = phonenumbers.parse(digits, region)
    except NumberParseException:
        what = "is not a mobile number, or its country code does not exist"
        raise InvalidValueError(RejectionCode.INVALID_MOBILE, what) from None
    if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        what = "is too short or too long for a mobile number of its country"
        raise InvalidValueError(RejectionCode.INVALID_MOBILE, what)
    if number.italian_leading_zero:
        raise InvalidValueError(RejectionCode.LEADING_ZERO, _LEADING_ZERO)
    return Mobile(t.cast("int", number.country_code), t.cast("int", number.national_number))


def _why_not_mobile(text: str, region: str) -> str:
    """Return the fault of a number, to follow the name of its column."""
    if _SCIENTIFIC.fullmatch(text):
        return f"is in scientific notation, as spreadsheets write it: its digits are lost{_AS_TEXT}"
    if _AS_DECIMAL.fullmatch(text):
        return f"is written as a decimal number, so its digits cannot be relied on{_AS_TEXT}"
    if _are_several(text, _LIKE_A_NUMBER):
        return "contains several numbers; give each a column of its own"
    try:
        # Any country will do to see whether the rest is an extension.
        if phonenumbers.parse(text, "US" if region in _NO_COUNTRIES else region).extension:
            return "has a number with an extension, which cannot receive SMS"
    except NumberParseException:
        pass
    return "contains more than the digits of one mobile number"


def parse_country(value: object) -> int | None:
    """Return the calling code of a country, which is given by its ISO code or is one already.

    >>> parse_country("NO"), parse_country("gb"), parse_country(" "), parse_country("+47")
    (47, 44, None, 47)

    Raises:
        InvalidValueError: It is neither.
    """
    if isinstance(value, str):
        text = plain_text(value)
        value = phonenumbers.country_code_for_region(text.upper()) or text.removeprefix("+")
    what = "is neither the ISO code of a country, such as NO, nor a calling code, such as 47"
    return positive_integer(value, 999, RejectionCode.INVALID_COUNTRY_CODE, what)


# The quick route -------------------------------------------------------------------------------

_NO_COUNTRIES = {"ZZ", "001"}
"""The library's names of an unknown country code, and of one that belongs to no country."""

_SEPARATORS = "-.()/"
_FEWEST_DIGITS = 5


class _Country(t.NamedTuple):
    """The numbering plan of a country code; from the library's own metadata.

    Attributes:
        code: The country calling code.
        lengths: How many digits a national number may have.
        dialled: What is dialled before a national number.
        abroad: What is dialled before an international number.
    """

    code: str
    lengths: frozenset[int]
    dialled: re.Pattern[str]
    abroad: re.Pattern[str]


@functools.lru_cache(maxsize=256)  # There are some 220 country codes.
def _country(code: int) -> _Country | None:
    region = phonenumbers.region_code_for_country_code(code)
    metadata = None if region in _NO_COUNTRIES else PhoneMetadata.metadata_for_region(region, None)
    if metadata is None or metadata.general_desc is None:
        return None
    return _Country(
        str(code),
        frozenset(metadata.general_desc.possible_length),
        re.compile(metadata.national_prefix_for_parsing or "(?!)"),
        re.compile(metadata.international_prefix or "(?!)"),
    )


@functools.lru_cache(maxsize=1024)  # First three digits of a number.
def _country_of(start: str) -> _Country | None:
    """Return the country whose code a number starts with; no code is the start of another."""
    codes = (int(start[:length]) for length in (1, 2, 3) if start[0] != "0")
    known = (code for code in codes if code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
    return next(map(_country, known), None)


def quick_mobile(text: str, default_country_code: int | None = None) -> Mobile | None:
    """Split a number that is written plainly, or return None if the library has to look at it.

    Plain is: ASCII digits of a known country's number, of a possible length, that do not start
    with anything that is only dialled (`0` in most countries).

    >>> tuple(quick_mobile("+47 908 12 501"))
    (47, 90812501)
    >>> quick_mobile("+47 908 12 501 ext. 7") is None
    True
    """
    digits = text.replace(" ", "")
    if not digits[1:].isdecimal():
        written = text.strip()
        if _NOT_ALONE.fullmatch(written) or ("." in text and _AS_DECIMAL.fullmatch(written)):
            return None
        for separator in _SEPARATORS:  # much faster than `str.translate`
            digits = digits.replace(separator, "")
    abroad = 1 if digits[:1] == "+" else 2 if digits[:2] == "00" else 0
    digits = digits[abroad:]
    if not (digits.isdecimal() and digits.isascii() and len(digits) >= _FEWEST_DIGITS):
        return None
    if abroad:
        if (country := _country_of(digits[:3])) is None:
            return None
        digits = digits[len(country.code) :]
        dialled = country.dialled.match(digits)
        if dialled and dialled[0] == "0":  # +44 (0)20 7946 0000
            digits = digits[1:]
    else:
        country = _country(default_country_code or 0)
        # It may start with the country code, or with what is dialled to get abroad.
        if country is None or digits.startswith(country.code) or country.abroad.match(digits):
            return None
    if digits[0] == "0" or len(digits) not in country.lengths or country.dialled.match(digits):
        return None
    return Mobile(int(country.code), int(digits))
