"""Mobile numbers: what passes, what is refused, and that the quick route agrees."""

from __future__ import annotations

import decimal
import re
import typing as t

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from target_mainbrainer.contacts import Mobile
from target_mainbrainer.mapping.identifiers import (
    INT32_MAX,
    INT64_MAX,
    parse_country_code,
    parse_mobile,
    parse_national_number,
    quick_mobile,
)
from target_mainbrainer.mapping.values import InvalidValueError
from tests.mapping.refusals import code_of

COUNTRY_CODES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)


@pytest.mark.parametrize(
    ("written", "default", "expected"),
    [
        pytest.param("+4790812501", None, (47, 90812501), id="E.164"),
        pytest.param("+47 908 12 501", None, (47, 90812501), id="spaces"),
        pytest.param("+47-908-12-501", None, (47, 90812501), id="hyphens"),
        pytest.param("+47.908.12.501", None, (47, 90812501), id="dots"),
        pytest.param("(+47) 908 12 501", None, (47, 90812501), id="brackets"),
        pytest.param("+47\u00a0908\u202f12\u2009501", None, (47, 90812501), id="typeset spaces"),
        pytest.param("+47\u2011908\u201312\u2212501", None, (47, 90812501), id="typeset hyphens"),
        pytest.param("\u202a+47 908 12 501\u202c", None, (47, 90812501), id="direction marks"),
        pytest.param("0047 908 12 501", None, (47, 90812501), id="00"),
        pytest.param("0047 908 12 501", 1, (47, 90812501), id="00 from a country that dials 011"),
        pytest.param("011 47 908 12 501", 1, (47, 90812501), id="011"),
        pytest.param("tel:+47-908-12-501", None, (47, 90812501), id="a link"),
        pytest.param(
            "\uff0b\uff14\uff17 \uff19\uff10\uff18\uff11\uff12\uff15\uff10\uff11",
            None,
            (47, 90812501),
            id="full-width",
        ),
        pytest.param(
            "+\u0664\u0667\u0669\u0660\u0668\u0661\u0662\u0665\u0660\u0661",
            None,
            (47, 90812501),
            id="Arabic digits",
        ),
        pytest.param("908 12 501", 47, (47, 90812501), id="national"),
        pytest.param("4790812501", 47, (47, 90812501), id="the plus is lost"),
        pytest.param(90812501, 47, (47, 90812501), id="integer"),
        pytest.param(4790812501, 47, (47, 90812501), id="integer with country code"),
        pytest.param(
            decimal.Decimal("90812501.0"), 47, (47, 90812501), id="decimal without a fraction"
        ),
        pytest.param(90812501.0, 47, (47, 90812501), id="float without a fraction"),
        pytest.param("+44 7700 900123", None, (44, 7700900123), id="reserved for fiction"),
        pytest.param("+44 (0)7700 900123", None, (44, 7700900123), id="zero in brackets"),
        pytest.param("07700 900123", 44, (44, 7700900123), id="national with zero"),
        pytest.param("(202) 555-0123", 1, (1, 2025550123), id="North America"),
        pytest.param("+1 202 555 0123", 47, (1, 2025550123), id="abroad"),
        pytest.param("1 2345 6789", 883, (883, 123456789), id="default that is no country's"),
        pytest.param("+39 312 345 6789", None, (39, 3123456789), id="Italian mobile"),
        pytest.param("'+4790812501", None, (47, 90812501), id="text, as Shopify marks it"),
        pytest.param('="0047 90812501"', None, (47, 90812501), id="text, as a formula"),
        pytest.param(["+4790812501"], None, (47, 90812501), id="a list of one"),
    ],
)
def test_any_usual_spelling_is_understood(
    written: object, default: int | None, expected: tuple[int, int]
) -> None:
    assert parse_mobile(written, default) == Mobile(*expected)


@pytest.mark.parametrize(
    ("written", "default", "code"),
    [
        pytest.param("908 12 501", None, "no_country_code", id="national without default"),
        pytest.param("4790812501", None, "no_country_code", id="no plus and no default"),
        pytest.param("+225 07 00 00 00 00", None, "leading_zero", id="Cote d'Ivoire"),
        pytest.param("+39 06 1234 5678", None, "leading_zero", id="Italian landline"),
        pytest.param("0700000000", 225, "leading_zero", id="national with a zero of its own"),
        pytest.param("+1 202 555 0123 ext. 7", None, "invalid_mobile", id="extension"),
        pytest.param("+1 202 555 0123 x7", None, "invalid_mobile", id="short extension"),
        pytest.param("+1 202 555 0123;ext=7", None, "invalid_mobile", id="extension in a link"),
        pytest.param("+1 202 555 0123#7", None, "invalid_mobile", id="extension after a hash"),
        pytest.param("1-800-FLOWERS", 1, "invalid_mobile", id="letters"),
        pytest.param("call 908 12 501", 47, "invalid_mobile", id="words"),
        pytest.param("908 12 501, 934 54 496", 47, "invalid_mobile", id="two numbers"),
        pytest.param("908 12 501 / 934 54 496", 47, "invalid_mobile", id="two numbers, slash"),
        pytest.param("+4790812501+4793454496", None, "invalid_mobile", id="two pluses"),
        pytest.param("4790812501.0", 47, "invalid_mobile", id="a decimal in text"),
        pytest.param("90812501.0", 47, "invalid_mobile", id="a national decimal in text"),
        pytest.param("4.790812501E+9", 47, "invalid_mobile", id="an exponent"),
        pytest.param("+47 908", None, "invalid_mobile", id="too short"),
        pytest.param("+47 908 12 501 908 12", None, "invalid_mobile", id="too long"),
        pytest.param("555-0123", 1, "invalid_mobile", id="no area code"),
        pytest.param("+999 908 12 501", None, "invalid_mobile", id="no country"),
        pytest.param("+", 47, "invalid_mobile", id="only a plus"),
        pytest.param("-", 47, "invalid_mobile", id="only a hyphen"),
        pytest.param("[x 12.50]", None, "invalid_mobile", id="junk without default"),
        pytest.param("n/a", 47, "invalid_mobile", id="not available"),
        pytest.param(-90812501, 47, "invalid_mobile", id="negative"),
        pytest.param(10**5000, 47, "invalid_mobile", id="enormous"),
        pytest.param(90812501.5, 47, "invalid_mobile", id="a fraction"),
        pytest.param(float("nan"), 47, "invalid_mobile", id="NaN"),
        pytest.param(True, 47, "invalid_mobile", id="a boolean"),
        pytest.param({"number": "90812501"}, 47, "invalid_mobile", id="an object"),
        pytest.param("9" * 10_000, 47, "invalid_mobile", id="much too long"),
        pytest.param("+47 908 12 501\u00b2", None, "invalid_mobile", id="a footnote"),
    ],
)
def test_what_cannot_be_a_mobile_is_refused(
    written: object, default: int | None, code: str
) -> None:
    assert code_of(parse_mobile, written, default) == code


@pytest.mark.parametrize(
    ("written", "what"),
    [
        ("4.79E+10", "is in scientific notation, as spreadsheets write it: its digits are lost"),
        ("4,79E+10", "is in scientific notation"),
        ("4.790812501e10", "is in scientific notation"),
        ("4790812501.0", "is written as a decimal number"),
        ("+47 908 12 501 ::: +47 934 54 496", "contains several numbers"),
        ("90812501; 93454496", "contains several numbers"),
        ("908 12 501 / 934 54 496", "contains several numbers"),
        ("90812501 ext. 7", "has a number with an extension"),
        ("call 90812501", "contains more than the digits of one mobile number"),
    ],
)
def test_the_reason_names_what_is_wrong(written: str, what: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        parse_mobile(written, 47)
    assert caught.value.what.startswith(what)


@pytest.mark.parametrize("parse", [parse_mobile, parse_country_code])
@pytest.mark.parametrize("empty", [None, "", "  ", "\t\n"])
def test_an_empty_number_is_absent(parse: t.Callable[[object], object], empty: object) -> None:
    assert parse(empty) is None


def by_the_library(text: str, default: int | None) -> Mobile | None:
    """Split a number as `phonenumbers` alone would, None if it would not."""
    text = text.strip()
    if text.startswith("00"):
        text = f"+{text[2:]}"
    region = phonenumbers.region_code_for_country_code(default) if default else None
    try:
        number = phonenumbers.parse(text, None if text.startswith("+") else region)
    except phonenumbers.NumberParseException:
        return None
    result = phonenumbers.is_possible_number_with_reason(number)
    if result != phonenumbers.ValidationResult.IS_POSSIBLE or number.italian_leading_zero:
        return None
    assert number.national_number is not None
    return Mobile(number.country_code, number.national_number)


NUMBER_LIKE = st.builds(
    lambda start, code, zero, rest: f"{start}{code}{zero}{rest}",
    st.sampled_from(["+", "00", "", "(+", "+ ", "000", "+0"]),
    st.sampled_from(["", *map(str, COUNTRY_CODES)]),
    st.sampled_from(["", "", "0", " (0)", "1", "8", "15", "9"]),
    st.from_regex(re.compile(r"[ .()/-]?\d([ .()/-]?\d){3,14}", re.ASCII), fullmatch=True),
)


@settings(max_examples=800)
@given(NUMBER_LIKE, st.none() | st.sampled_from(COUNTRY_CODES))
@example("0007196178981", 1)
def test_the_quick_route_agrees_with_the_library(text: str, default: int | None) -> None:
    if (quick := quick_mobile(text, default)) is not None:
        assert quick == by_the_library(text, default)


@pytest.mark.parametrize("code", COUNTRY_CODES)
def test_the_quick_route_agrees_on_every_country(code: int) -> None:
    """The libraries' own example numbers, internationally, nationally, and as dialled at home."""
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code]
    for region in regions:
        number = (
            phonenumbers.example_number_for_non_geo_entity(code)
            if region == "001"
            else phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
        )
        if number is None:
            continue
        for form in vars(phonenumbers.PhoneNumberFormat).values():
            if not isinstance(form, int):
                continue
            text = phonenumbers.format_number(number, form)
            for default in (None, code):
                quick = quick_mobile(text, default)
                assert quick is None or quick == by_the_library(text, default)


def examples(code: int) -> t.Iterator[phonenumbers.PhoneNumber]:
    """The library's own example numbers of a country code, of every kind and region."""
    for region in phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code]:
        if region == "001":
            number = phonenumbers.example_number_for_non_geo_entity(code)
            if number is not None:
                yield number
            continue
        for kind in phonenumbers.PhoneNumberType.values():
            number = phonenumbers.example_number_for_type(region, kind)
            if number is not None:
                yield number


DEFAULTS = [1, 7, 39, 44, 45, 47, 54, 55, 61, 81, 86, 225, 246, 354, 358, 372, 590, 800, 883]
"""Countries that dial a zero, an eight, or nothing; with several regions; and of no country."""


@pytest.mark.parametrize("code", COUNTRY_CODES)
def test_the_quick_route_agrees_when_the_default_is_another_countrys_code(code: int) -> None:
    """A default must never touch a number that says its country, nor misread one that does not."""
    quickly = 0
    for number in examples(code):
        digits = f"{number.national_number}"
        zeros = "0" * (number.number_of_leading_zeros or 1) if number.italian_leading_zero else ""
        for text in (f"+{code}{zeros}{digits}", f"00{code} {digits}", digits, f"0{digits}"):
            for default in DEFAULTS:
                if (quick := quick_mobile(text, default)) is not None:
                    quickly += 1
                    assert quick == by_the_library(text, default), (text, default)
    assert quickly or not any(examples(code))


@pytest.mark.parametrize("text", ["{}.0", "+{}.0", " {}.5 ", "{}.00", "+{}.12"])
@pytest.mark.parametrize("default", [None, 47, 1, 354])
def test_a_decimal_spelling_is_never_taken_for_a_number(text: str, default: int | None) -> None:
    """Its last zero is no digit: `9081250.0` is not `90812500`."""
    for digits in ("9081250", "90812501", "4790812501", "2025550123"):
        written = text.format(digits)
        quick = quick_mobile(written, default)
        if written.strip().rpartition(".")[2] in {"0", "5"}:
            assert quick is None
            assert code_of(parse_mobile, written, default) == "invalid_mobile"
        elif quick is not None:
            assert quick == by_the_library(written, default)


SPELLINGS = st.sampled_from(
    [
        phonenumbers.PhoneNumberFormat.E164,
        phonenumbers.PhoneNumberFormat.INTERNATIONAL,
        phonenumbers.PhoneNumberFormat.RFC3966,
    ]
)


def mobile_of(number: phonenumbers.PhoneNumber) -> Mobile:
    return Mobile(number.country_code, t.cast("int", number.national_number))


MOBILES = st.builds(
    lambda code, number: phonenumbers.PhoneNumber(country_code=code, national_number=number),
    st.sampled_from(COUNTRY_CODES),
    st.integers(10**6, 10**11),
).filter(
    lambda number: (
        phonenumbers.is_possible_number_with_reason(number)
        == phonenumbers.ValidationResult.IS_POSSIBLE
        and by_the_library(phonenumbers.format_number(number, 0), None) == mobile_of(number)
    )
)


@settings(max_examples=300)
@given(MOBILES, SPELLINGS, st.sampled_from(["{}", " {} ", "\u202a{}\u202c"]))
def test_a_number_is_the_same_in_any_spelling(
    number: phonenumbers.PhoneNumber, form: int, around: str
) -> None:
    text = phonenumbers.format_number(number, form)
    expected = mobile_of(number)
    assert parse_mobile(around.format(text)) == expected
    assert parse_mobile(around.format(text.replace("+", "00").removeprefix("tel:"))) == expected


@given(st.text(), st.none() | st.sampled_from(COUNTRY_CODES))
def test_a_mobile_always_fits_the_api(text: str, default: int | None) -> None:
    try:
        mobile = parse_mobile(text, default)
    except InvalidValueError:
        return
    if mobile is not None:
        assert mobile.country_code in COUNTRY_CODES
        assert 0 < mobile.number <= INT64_MAX


# In parts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "number", "expected"),
    [
        pytest.param(47, 90812501, (47, 90812501), id="integers"),
        pytest.param(47, "90812501", (47, 90812501), id="digits in text"),
        pytest.param(47, "908 12 501", (47, 90812501), id="spaces"),
        pytest.param(None, 90812501, (None, 90812501), id="no country code"),
        pytest.param(47, 1, (47, 1), id="taken as it is"),
        pytest.param(44, "07700 900123", (44, 7700900123), id="zero that is only dialled"),
        pytest.param(47, INT64_MAX, (47, INT64_MAX), id="largest"),
    ],
)
def test_a_number_in_parts_is_taken_as_it_is(
    code: int | None, number: object, expected: tuple[int | None, int]
) -> None:
    assert parse_national_number(number, code) == Mobile(*expected)


@pytest.mark.parametrize(
    ("code", "number", "refused_as"),
    [
        pytest.param(225, "0700000000", "leading_zero", id="zero of its own"),
        pytest.param(None, "07700900123", "leading_zero", id="zero of an unknown country"),
        pytest.param(47, "+4790812501", "invalid_mobile", id="a whole number"),
        pytest.param(47, "-90812501", "invalid_mobile", id="negative text"),
        pytest.param(47, 0, "invalid_mobile", id="zero"),
        pytest.param(47, INT64_MAX + 1, "invalid_mobile", id="beyond int64"),
        pytest.param(47, "9" * 5000, "invalid_mobile", id="endless"),
        pytest.param(47, "90812501.0", "invalid_mobile", id="a decimal in text"),
        pytest.param(47, [90812501], "invalid_mobile", id="an array"),
    ],
)
def test_a_number_in_parts_must_be_sendable(
    code: int | None, number: object, refused_as: str
) -> None:
    assert code_of(parse_national_number, number, code) == refused_as


@pytest.mark.parametrize("code", ["NO", 0, -47, INT32_MAX + 1, "4 7", True, [47]])
def test_a_country_code_is_a_positive_int32(code: object) -> None:
    assert parse_country_code(INT32_MAX) == INT32_MAX
    assert code_of(parse_country_code, code) == "invalid_country_code"
