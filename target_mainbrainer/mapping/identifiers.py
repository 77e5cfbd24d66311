"""What identifies a contact: e-mail address, mobile number, contact id; and the id of a list.

Each function takes a value as a record holds it and returns what the API takes, or None for an
empty one; what is neither is refused. The usual spellings take a short and exact route, and
the libraries behind it decide about all others; the tests hold both to the same answers.
"""

from __future__ import annotations

import functools
import re
import typing as t
import unicodedata

import phonenumbers
from email_validator import EmailNotValidError, validate_email
from phonenumbers import NumberParseException, PhoneMetadata, ValidationResult

from target_mainbrainer.contacts.contact import Mobile
from target_mainbrainer.contacts.rejection import RejectionCode
from target_mainbrainer.mapping.values import InvalidValueError, integral

INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1

# E-mail ------------------------------------------------------------------------------------

_PLAIN_EMAIL = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++)*+"
    r"@(?:[A-Za-z0-9]++(?:-[A-Za-z0-9]++)*+\.)+(?:com|net|org|edu|gov|io|eu|[a-z]{2})"
)
"""An ASCII address under a common top-level domain, without the two hyphens of Punycode.

It leaves the domains reserved for special use (`.test`, `.local`, ...) to the library.
"""

_PLAIN_EMAIL_LENGTH = 64
"""Up to this length no part of an address can be too long."""


def parse_email(value: object) -> str | None:
    """Return an e-mail address as written, without the blanks around it.

    Syntax only, nothing is looked up. Addresses under `.test` and `example.com` pass, and so do
    quoted and internationalised ones; what never reaches anybody (`ola@localhost`, `.invalid`,
    `.local`, an IP address in brackets) does not, nor does `Ola <ola@example.com>`. Nothing is
    normalised: whether case matters to the CRM is unknown (API note, section 8.1).

    >>> parse_email(" Ola.Nordmann@Example.com ")
    'Ola.Nordmann@Example.com'
    >>> parse_email("") is None
    True
    >>> parse_email("ola@example")
    Traceback (most recent call last):
    target_mainbrainer.mapping.values.InvalidValueError: invalid_email

    Raises:
        UnusableError: It is no e-mail address.
    """
    if isinstance(value, str):
        email = value.strip()
        if is_plain_email(email):
            return email
        if not email:
            return None
        try:
            return _checked_email(email)
        except EmailNotValidError:
            what = "is not a valid e-mail address" if "@" in email else "has no '@'"
            raise InvalidValueError(RejectionCode.INVALID_EMAIL, what) from None
    if value is None:
        return None
    raise InvalidValueError(
        RejectionCode.INVALID_EMAIL, "is not a text, so it is no e-mail address"
    )


def is_plain_email(email: str) -> bool:
    """Tell whether an address is so plain that the library need not be asked.

    >>> is_plain_email("ola@example.com"), is_plain_email('"ola"@example.com')
    (True, False)
    """
    return len(email) <= _PLAIN_EMAIL_LENGTH and _PLAIN_EMAIL.fullmatch(email) is not None


def _checked_email(email: str) -> str:
    validate_email(
        email,
        check_deliverability=False,
        allow_quoted_local=True,
        test_environment=True,
    )
    return email


# Mobile ------------------------------------------------------------------------------------

_SPELLING = re.compile(r"\(?\+?[\d\s().\[\]/~\-\u2010-\u2015\u2212\u30fc]+")
"""Digits and what is usually put between them; letters and a second plus are not."""

_AS_DECIMAL = re.compile(r"\+?\d{4,}\.\d")
"""What a spreadsheet makes of a number: `4790812501.0`, whose last zero is no digit of it."""


class _Country(t.NamedTuple):
    """What the short route has to know of a country code; from the library's own metadata.

    Attributes:
        code: The country calling code.
        digits: The same as text.
        width: How many digits it has.
        lengths: How many digits a national number may have.
        prefix: What is dialled before a national number, or None if nothing is.
        rewrites: That more is done to a number with that prefix than dropping it.
        idd: What is dialled before an international number.
        pattern: What national numbers look like, roughly.
    """

    code: int
    digits: str
    width: int
    lengths: frozenset[int]
    prefix: re.Pattern[str] | None
    rewrites: bool
    idd: re.Pattern[str]
    pattern: re.Pattern[str]


@functools.lru_cache(maxsize=256)  # There are some 220 country codes.
def _country(code: int) -> _Country | None:
    region: str | None = phonenumbers.region_code_for_country_code(code)
    if region is None or region in _NO_COUNTRIES:  # unknown, or no country
        return None
    metadata = PhoneMetadata.metadata_for_region(region, None)
    if metadata is None or metadata.general_desc is None:
        return None
    prefix = metadata.national_prefix_for_parsing
    pattern = re.compile(prefix) if prefix else None
    return _Country(
        code=code,
        digits=str(code),
        width=len(str(code)),
        lengths=frozenset(metadata.general_desc.possible_length),
        prefix=pattern,
        rewrites=bool(metadata.national_prefix_transform_rule or (pattern and pattern.groups)),
        idd=re.compile(metadata.international_prefix or "(?!)"),
        pattern=re.compile(metadata.general_desc.national_number_pattern or "(?!)"),
    )


@functools.lru_cache(maxsize=1024)  # First three digits of a number.
def _country_of(start: str) -> _Country | None:
    """Return the country whose code a number starts with; no code is the start of another."""
    if start[0] == "0":
        return None
    for length in (1, 2, 3):
        code = int(start[:length])
        if code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            return _country(code)
    return None


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
        UnusableError: It is no mobile number, or cannot be sent as one.
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


_SEPARATORS = "-.()/"


def quick_mobile(text: str, default_country_code: int | None = None) -> Mobile | None:
    """Split a number that is written plainly, or return None if the library has to look at it.

    Plain is: ASCII digits of a known country's number, of a possible length, that its numbering
    plan does not rewrite beyond dropping what is only dialled (`0` in most countries).

    >>> tuple(quick_mobile("+47 908 12 501"))
    (47, 90812501)
    >>> quick_mobile("+47 908 12 501 ext. 7") is None
    True
    """
    digits = text.replace(" ", "")
    if not digits[1:].isdecimal():
        if "." in text and _AS_DECIMAL.fullmatch(text.strip()):
            return None
        for separator in _SEPARATORS:  # much faster than `str.translate`
            digits = digits.replace(separator, "")
    abroad = 1 if digits[:1] == "+" else 2 if digits[:2] == "00" else 0
    digits = digits[abroad:]
    if not (digits.isdecimal() and digits.isascii() and len(digits) >= _FEWEST_DIGITS):
        return None
    if abroad:
        country = _country_of(digits[:3])
        return None if country is None else _quick_number(country, digits[country.width :])
    if default_country_code is None or (country := _country(default_country_code)) is None:
        return None
    # It may start with the country code, or with what is dialled to get abroad.
    if digits.startswith(country.digits) or country.idd.match(digits):
        return None
    return _quick_number(country, digits)


_FEWEST_DIGITS = 5


def _quick_number(country: _Country, digits: str) -> Mobile | None:
    if country.prefix is not None and (dialled := country.prefix.match(digits)):
        # It is dropped, unless the plan rewrites numbers, or this could be one as it stands.
        if country.rewrites or country.pattern.fullmatch(digits):
            return None
        digits = digits[dialled.end() :]
    if digits[:1] == "0" or len(digits) not in country.lengths:
        return None
    return Mobile(country.code, int(digits))


def _checked_mobile(written: str, default_country_code: int | None) -> Mobile | None:
    text = _plain_text(written).removeprefix("tel:")
    if not text:
        return None
    if _AS_DECIMAL.fullmatch(text):
        raise InvalidValueError(
            RejectionCode.INVALID_MOBILE,
            "is written as a decimal number, so its digits cannot be relied on",
        )
    region = phonenumbers.region_code_for_country_code(default_country_code or 0) or "ZZ"
    if not _SPELLING.fullmatch(text):
        # Any country will do to see whether what follows the number is an extension.
        why = _why_misspelt(text, "US" if region in _NO_COUNTRIES else region)
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
        if region not in _NO_COUNTRIES:
            return _parsed(digits, region)
        digits = f"+{default_country_code}{digits}"
    return _parsed(digits, None)


_NO_COUNTRIES = {"ZZ", "001"}
"""What the library calls an unknown country code, and one that belongs to no country."""

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


_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
"""Full-width forms to ASCII. Compatibility normalisation would also make a digit of a footnote."""


def _plain_text(text: str) -> str:
    """Return a text with full-width forms made plain and invisible marks taken out.

    Numbers copied from a contact card often come wrapped in marks for writing direction.
    """
    if not text.isascii():
        plain = text.translate(_FULL_WIDTH)
        text = "".join(mark for mark in plain if unicodedata.category(mark) != "Cf")
    return text.strip()


def parse_country_code(value: object) -> int | None:
    """Return a country code of its own column as it is: an integer that fits the API's int32.

    >>> parse_country_code(47), parse_country_code("+47"), parse_country_code("")
    (47, 47, None)

    Raises:
        UnusableError: It is none.
    """
    if isinstance(value, str):
        value = value.strip().removeprefix("+")
    code = _whole(value, INT32_MAX)
    if code is _BAD:
        raise InvalidValueError(
            RejectionCode.INVALID_COUNTRY_CODE, "is no country calling code such as 47"
        )
    return t.cast("int | None", code)


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
        UnusableError: It is no number, or cannot be sent as one.
    """
    if isinstance(value, str):
        text = _plain_text(value)
        if text.startswith("+"):
            raise InvalidValueError(
                RejectionCode.INVALID_MOBILE,
                "holds a country code as well; map the column to 'mobile'",
            )
        value = "".join(re.split(r"(?<=\d)[ -](?=\d)", text))
        if value[:1] == "0" and value.isdecimal():
            return _without_zero(value, country_code)
    number = _whole(value, INT64_MAX)
    if number is _BAD:
        raise InvalidValueError(
            RejectionCode.INVALID_MOBILE, "is no national mobile number: it should be digits"
        )
    return None if number is None else Mobile(country_code, t.cast("int", number))


def _without_zero(digits: str, country_code: int | None) -> Mobile:
    if country_code is not None:
        try:
            return _parsed(f"+{country_code}{digits}", None)
        except InvalidValueError:
            pass
    raise InvalidValueError(RejectionCode.LEADING_ZERO, _LEADING_ZERO)


# Ids ---------------------------------------------------------------------------------------


def parse_contact_id(value: object) -> int | None:
    """Return the CRM's own id of a contact: a positive int64, digits in text too.

    >>> parse_contact_id("234567"), parse_contact_id(234567), parse_contact_id(" ")
    (234567, 234567, None)

    Raises:
        UnusableError: It is none.
    """
    contact_id = _whole(value, INT64_MAX)
    if contact_id is _BAD:
        raise InvalidValueError(
            RejectionCode.INVALID_CONTACT_ID,
            "is no contact id: it should be a positive whole number",
        )
    return t.cast("int | None", contact_id)


_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def parse_list_id(value: object) -> str | None:
    """Return the UUID of the list that a contact goes to.

    >>> parse_list_id("3fa85f64-5717-4562-b3fc-2c963f66afa6")
    '3fa85f64-5717-4562-b3fc-2c963f66afa6'

    Raises:
        UnusableError: It is no UUID.
    """
    text = "" if value is None else str(value).strip()
    if text and not _UUID.fullmatch(text):
        raise InvalidValueError(RejectionCode.INVALID_LIST_ID, "is not the UUID of a list")
    return text or None


class _Bad:
    """Stands for a value that is no positive whole number within bounds."""


_BAD: t.Final = _Bad()


def _whole(value: object, most: int) -> int | _Bad | None:
    """Return a positive integer that a number or its digits make, None for an empty value."""
    if value is None:
        return None
    if isinstance(value, str):
        text = _plain_text(value)
        if not text:
            return None
        significant = text.lstrip("0")
        if not text.isdecimal() or len(significant) > _INT64_DIGITS:
            return _BAD
        number: int | None = int(significant or "0")
    else:
        number = integral(value)
    return number if number is not None and 0 < number <= most else _BAD


_INT64_DIGITS = 19


def _digits(number: int) -> str:
    """Return the digits of a number, or of one that is just as much too long."""
    return str(min(number, 10**40))
