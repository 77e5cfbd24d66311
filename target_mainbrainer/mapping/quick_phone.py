"""Telephone numbers that are written so plainly that the library need not be asked.

`phonenumbers` takes 16 times as long for one. With it alone the target falls below the rate that
the API allows. What is known of each country comes from the library's own metadata, and the tests
hold both to the same answer.
"""

from __future__ import annotations

import functools
import re
import typing as t

import phonenumbers
from phonenumbers import PhoneMetadata

from target_mainbrainer.contacts.contact import Mobile

AS_DECIMAL = re.compile(r"\+?\d{4,}\.\d")
"""What a spreadsheet makes of a number: `4790812501.0`, whose last zero is no digit of it."""


NO_COUNTRIES = {"ZZ", "001"}
"""What the library calls an unknown country code, and one that belongs to no country."""

_SEPARATORS = "-.()/"


_FEWEST_DIGITS = 5


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
    if region is None or region in NO_COUNTRIES:  # unknown, or no country
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
        if "." in text and AS_DECIMAL.fullmatch(text.strip()):
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


def _quick_number(country: _Country, digits: str) -> Mobile | None:
    if country.prefix is not None and (dialled := country.prefix.match(digits)):
        # It is dropped, unless the plan rewrites numbers, or this could be one as it stands.
        if country.rewrites or country.pattern.fullmatch(digits):
            return None
        digits = digits[dialled.end() :]
    if digits[:1] == "0" or len(digits) not in country.lengths:
        return None
    return Mobile(country.code, int(digits))
