"""E-mail addresses, ids, mobile numbers and the suppression list."""

import contextlib
import re
import typing as t

import phonenumbers
import pytest
from email_validator import validate_email
from hypothesis import example, given, settings
from hypothesis import strategies as st

from target_mainbrainer.contacts import Contact, Identity, Mobile
from target_mainbrainer.mapping import identifiers
from target_mainbrainer.mapping.identifiers import parse_contact_id, parse_email, parse_mobile
from target_mainbrainer.mapping.suppressions import parse_suppressions
from target_mainbrainer.mapping.values import InvalidValueError
from tests.loads import cases
from tests.mapping.one_record import GB, NO, D, code_of, refused

GOOD = [
    *["ola@example.com", "Ola.Nordmann+crm@Mail.Example.ORG", "o'hara@example.com"],
    *["ola@example.travel", '"ola nordmann"@example.com', "åse@example.com", "ola@printer.local"],
    *["ola@bücher.example.com", "a\u030ase@example.com", "ola@xn--bcher-kva.example.com"],
    *["ola@example.com.invalid", "ola@example.onion", "ola@1.in-addr.arpa", "ola@shop.test"],
    *["ola@my_shop.example.com", '"ola n"@my_shop.example.com', "a" * 64 + "@example.com"],
    "ola@" + "sub." * 14 + "example.invalid",
]
BAD: list[object] = [
    *["ola", "ola@", "ola@example", "ola@@example.com", "ola nordmann@example.com"],
    *["ola..n@example.com", "Ola <ola@example.com>", "ola@example.com, kari@example.com"],
    *["mailto:ola@example.com;", "ola@localhost", "ola@127.0.0.1", "ola@example.com."],
    *["ola@[127.0.0.1]", "ola\0@example.com", "\ud800@example.com", "a" * 250 + "@example.com"],
    *["a@" + "b" * 10_000 + ".com", 5, {"address": "ola@example.com"}],
]
EMPTY = [None, "", "  ", "\t\n"]


@cases("email", *GOOD)
def test_an_email_is_sent_as_written(email: str) -> None:
    assert parse_email(email) == email
    assert parse_email(f"\t {email}\u00a0\n") == email


OWN_COLUMN = "; give each a column of its own"
SEVERAL = f"contains several e-mail addresses{OWN_COLUMN}"
BRACKETS = "has angle brackets, and perhaps a name, around its e-mail address"


@cases(
    "email what",
    *((text, BRACKETS) for text in ("Ola <ola@example.com>", "<ola@example.com", "a>@example.com")),
    (5, "is not a text, so it is not an e-mail address"),
    ("mailto:ola@example.com", "is a link that starts with 'mailto:', not an e-mail address"),
    *((f"ola@example.com{between}kari@example.com", SEVERAL) for between in ("; ", " ::: ")),
    ("a@example.com,b@example.com\nc@example.com", SEVERAL),
    ("ola\u200b@example.com", "contains an invisible character (U+200B)"),
    ("\ufeffola@example.com", "contains an invisible character (U+FEFF)"),
    *(("ola", "has no '@'"), ("ola@example.com;", "is not a valid e-mail address")),
)
def test_the_reason_names_what_is_wrong(email: object, what: str) -> None:
    assert refused(parse_email, email).what == what


LIKE = r"[a-zA-Z0-9.!'+_\"-]{1,12}@[a-zA-Z0-9._-]{1,16}\.(com|test|[a-z]{2}|local|invalid|x1)"
EMAIL_LIKE = st.from_regex(re.compile(LIKE, re.ASCII), fullmatch=True)


@given(EMAIL_LIKE | st.emails() | st.text())
@example("a@b--c.com")
@example("a@ab--c.de")
@example("a@xn--a.de")
@example("a@1.in")
@example("a" * 60 + "@b.de")
def test_a_plain_email_is_one_to_the_library_too(email: str) -> None:
    if identifiers.is_plain_email(email):
        local, _, domain = email.rpartition("@")
        known = f"{local}@{domain.replace('_', 'x')}.com"  # its opinion about endings is not asked
        validate_email(known, check_deliverability=False)
        assert parse_email(email) == email


# What is no identifier, and what is none at all

IDS = [0, -1, identifiers.INT64_MAX + 1, "12a", "1.0", 1.5, True, "-5", "\u00b2", {}, "9" * 5000]


@cases(
    "parse values code",
    (parse_email, BAD, "invalid_email"),
    (parse_contact_id, IDS, "invalid_contact_id"),
    (identifiers.parse_list_id, ["3fa85f64-5717-4562-b3fc-123123d23dds", 7], "invalid_list_id"),
    (identifiers.parse_country, ["N", 0, -47, 1000, "4 7", True, [47]], "invalid_country_code"),
)
def test_what_is_no_identifier_is_refused(parse: t.Any, values: list[object], code: str) -> None:
    assert {code_of(parse, value) for value in values} == {code}


def test_numbers_fit_the_api() -> None:
    """An id is an int64, and a country code has three digits."""
    assert parse_contact_id(str(identifiers.INT64_MAX)) == identifiers.INT64_MAX
    assert parse_contact_id(D("7.0")) == parse_contact_id("7".zfill(50)) == 7
    assert identifiers.parse_country(999) == 999


@cases(
    "parse",
    *(parse_email, parse_contact_id, identifiers.parse_list_id, parse_mobile),
    identifiers.parse_country,
)
@cases("empty", *EMPTY)
def test_an_empty_identifier_is_absent(parse: t.Callable[[object], object], empty: object) -> None:
    assert parse(empty) is None


# Mobile numbers: what passes, what is refused, and that the quick route agrees

COUNTRY_CODES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
FULL_WIDTH, ARABIC = (
    str.maketrans({str(n): chr(zero + n) for n in range(10)} | {"+": plus})
    for zero, plus in ((0xFF10, "\uff0b"), (0x0660, "+"))
)
SPELLINGS: list[object] = [
    *["+4790812501", "+47 908 12 501", "+47-908-12-501", "+47.908.12.501", "(+47) 908 12 501"],
    *["0047 908 12 501", "tel:+47-908-12-501", "\u202a+47 908 12 501\u202c"],
    *["+47\u00a0908\u202f12\u2009501", "+47\u2011908\u201312\u2212501", "+47\u3000908 12 501"],
    *["+47 908 12 501".translate(FULL_WIDTH), "+4790812501".translate(ARABIC)],
    *["'+4790812501", '="0047 90812501"', ["+4790812501"]],
]
NATIONAL = ["908 12 501", "4790812501", 90812501, 4790812501, D("90812501.0"), 90812501.0]


@cases(
    "said default mobile",
    *((said, None, NO) for said in SPELLINGS),
    *((said, 47, NO) for said in NATIONAL),
    *(("0047 908 12 501", 1, NO), ("011 47 908 12 501", 1, NO), ("07700 900123", 44, GB)),
    *((said, None, GB) for said in ("+44 7700 900123", "+44 (0)7700 900123")),
    ("(202) 555-0123", 1, Mobile(1, 2025550123)),
    *((said, 33, Mobile(33, 612345678)) for said in ("06-12-34-56-78", "06/12/34/56/78")),
    ("+1 202 555 0123", 47, Mobile(1, 2025550123)),
    ("1 2345 6789", 883, Mobile(883, 123456789)),
    ("+39 312 345 6789", None, Mobile(39, 3123456789)),
    ids=repr,
)
def test_usual_spellings_are_understood(said: object, default: int | None, mobile: Mobile) -> None:
    assert parse_mobile(said, default) == mobile


NO_MOBILES: list[object] = [
    *["+1 202 555 0123 ext. 7", "+1 202 555 0123 x7", "+1 202 555 0123;ext=7"],
    *["+1 202 555 0123#7", "call 908 12 501", "908 12 501, 934 54 496", "+47 908 12 501\u00b2"],
    # The last zero of a decimal spelling is no digit: `9081250.0` is not `90812500`.
    *["4790812501.0", "90812501.0", "9081250.0", "+9081250.0", " 4790812501.5 ", "+4790812501.0"],
    *["+4790812501+4793454496", "4.790812501E+9", "+47 908"],
    *["+47 908 12 501 908 12", "+999 908 12 501", "908 12 501 / 934 54 496", "+", "-", "n/a"],
    *["908 12 50/1", "90-812 50 ~ 1", "+47 9081250-1", "908125-01", "9081250[1]", "2025-12-31"],
    *["31.12.2025", D("4.790812E+9")],
    *["9" * 10_000, -90812501, 90812501.5, float("nan"), True, {"number": "90812501"}],
]


@cases(
    "said default code",
    *(("908 12 501", None, "no_country_code"), ("4790812501", None, "no_country_code")),
    *(("+225 07 00 00 00 00", None, "leading_zero"), ("0700000000", 225, "leading_zero")),
    *(("+39 06 1234 5678", None, "leading_zero"), ("[x 12.50]", None, "invalid_mobile")),
    *(("1-800-FLOWERS", 1, "invalid_mobile"), ("555-0123", 1, "invalid_mobile")),
    pytest.param(10**5000, 47, "invalid_mobile", id="enormous"),
    *((said, 47, "invalid_mobile") for said in NO_MOBILES),
    ids=lambda value: repr(value)[:30],
)
def test_what_cannot_be_a_mobile_is_refused(said: object, default: int | None, code: str) -> None:
    assert code_of(parse_mobile, said, default) == code


AS_TEXT = "; export the column as text"
SCIENTIFIC = "is in scientific notation, as spreadsheets write it: its digits are lost"
MANY = "+47 908 12 501 ::: +47 934 54 496 | 90812501; 93454496 | 908 12 501 / 934 54 496"


@cases(
    "what spellings",
    (f"{SCIENTIFIC}{AS_TEXT}", "4.79E+10 | 4,79E+10 | 4.790812501e10"),
    (f"is written as a decimal number, so its digits cannot be relied on{AS_TEXT}", "4790812501.0"),
    (f"contains several numbers{OWN_COLUMN}", MANY),
    ("contains more than the digits of one mobile number", "90812501-0 | 31.12.2025"),
    ("has a number with an extension, which cannot receive SMS", "90812501 ext. 7"),
    ("contains more than the digits of one mobile number", "call 90812501"),
    ("is neither a text nor a whole number, so it is not a mobile number", "yes"),
    ("is too short or too long for a mobile number of its country", "12 | +4712"),
    ("is not a mobile number, or its country code does not exist", "+999123456"),
)
def test_the_reason_names_what_is_wrong_with_a_number(what: str, spellings: str) -> None:
    for written in spellings.split(" | "):
        value = True if written == "yes" else written
        assert refused(parse_mobile, value, 47).what == what


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
    return Mobile(t.cast("int", number.country_code), number.national_number)


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
    if (quick := identifiers.quick_mobile(text, default)) is not None:
        assert quick == by_the_library(text, default)


def examples(code: int) -> t.Iterator[phonenumbers.PhoneNumber]:
    """Yield the library's own example numbers of a country code, of every kind and region."""
    for region in phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code]:
        kinds = phonenumbers.PhoneNumberType.values()
        found = [phonenumbers.example_number_for_type(region, kind) for kind in kinds]
        if region == "001":
            found = [phonenumbers.example_number_for_non_geo_entity(code)]
        yield from (number for number in found if number is not None)


DEFAULTS = [1, 7, 39, 44, 45, 47, 54, 55, 61, 81, 86, 225, 246, 354, 358, 372, 590, 800, 883]
"""Countries that dial a zero, an eight, or nothing; with several regions; and of no country."""
FORMS = [form for form in vars(phonenumbers.PhoneNumberFormat).values() if isinstance(form, int)]


@cases("code", *COUNTRY_CODES)
def test_the_quick_route_agrees_on_every_country(code: int) -> None:
    """A default must never touch a number with a country code, nor misread one without."""
    quickly = 0
    for number in examples(code):
        digits = f"{number.national_number}"
        zeros = "0" * (number.number_of_leading_zeros or 1) if number.italian_leading_zero else ""
        plain = [f"+{code}{zeros}{digits}", f"00{code} {digits}", digits, f"0{digits}"]
        cases = [(text, t.cast("int | None", one)) for text in plain for one in DEFAULTS]
        formatted = [phonenumbers.format_number(number, form) for form in FORMS]
        cases += [(text, default) for text in formatted for default in (None, code)]
        for text, default in cases:
            if (quick := identifiers.quick_mobile(text, default)) is not None:
                quickly += 1
                assert quick == by_the_library(text, default), (text, default)
    assert quickly or not any(examples(code))


@given(st.text(), st.none() | st.sampled_from(COUNTRY_CODES))
def test_a_mobile_always_fits_the_api(text: str, default: int | None) -> None:
    with contextlib.suppress(InvalidValueError):
        if (mobile := parse_mobile(text, default)) is not None:
            assert mobile.country_code in COUNTRY_CODES
            assert 0 < mobile.number <= identifiers.INT64_MAX


# A yes is never sent to who is on the list; a no always is

LINES = ["# who has unsubscribed", "", "  Kari@Example.com ", "åse@example.com"]
LINES += ["ola@bücher.example", "+44 7700 900123", "0044 7700 900456"]
LISTED = parse_suppressions(LINES)
ADDRESSES = [
    *["kari@example.com", "KARI@EXAMPLE.COM", "a\u030ase@example.com", "ÅSE@example.com"],
    *["\uff4b\uff41\uff52\uff49@example.com", "ola@xn--bcher-kva.example", "Ola@Bücher.example"],
]
NUMBERS = [Mobile(44, 7700900123), Mobile(44, 7700900456)]


def test_a_listed_address_or_number_withholds_both_opt_ins() -> None:
    by_address = [(email, Mobile(44, 7700900999)) for email in ADDRESSES]
    for email, mobile in [*by_address, *(("ola@example.com", number) for number in NUMBERS)]:
        contact = Contact(email=email, mobile=mobile, email_opt_in=True, mobile_opt_in=True)
        assert LISTED.withheld(contact) == {"email_opt_in", "mobile_opt_in"}, contact.email
    other_country = Contact(mobile=Mobile(47, 7700900123), mobile_opt_in=True)
    assert not LISTED.withheld(other_country)


@cases(
    "lines named",
    (["kari@example.com", "90812501"], "(line 2)"),
    (["mail"], "(line 1)"),
    (["email,name", "kari,x", "", "kari@example.com,y"], "(line 2)"),
    (["name,mobile", '"Kari', 'N","9081"', "x,90812501"], "(line 3, line 4)"),
    (["x"] * 7, "(line 1, line 2, line 3, line 4, line 5, ...)"),
    (["name;email", "kari,9081"], "(line 2)"),
    (["kari@example"], "(line 1)"),
    (["id,email,phone", ",,", "1,,+447700900123"], "(line 3)"),
    (["email,mobileNumber,mobileCountryCode", "kari@example.com,90812501,47"], "(line 2)"),
)
def test_a_line_that_is_neither_is_named_by_its_number_only(lines: list[str], named: str) -> None:
    with pytest.raises(ValueError, match=re.escape(named)) as caught:
        parse_suppressions(lines)
    assert "kari" not in str(caught.value)
    assert "9081" not in str(caught.value)


def test_a_further_identity_of_the_same_person_withholds_too() -> None:
    contact = Contact(email="new@example.com", email_opt_in=True, mobile_opt_in=False)
    for other in (Identity(email="Kari@example.com"), Contact(mobile=Mobile(44, 7700900123))):
        assert LISTED.withheld(contact, Identity(contact_id=7), other) == {"email_opt_in"}
    assert not LISTED.withheld(contact, Identity(email="ola@example.com"))


@cases(
    "lines",
    ["\ufeffEmail,Name,Mobile", 'kari@example.com,"Nordmann, Kari",', "ola@example.com,Ola,"],
    ["# exported today", "id;E-mail;mobile", "1;kari@example.com;+44 7700 900123"],
    ["email", "kari@example.com", ""],
    ["name\temail", "Kari\tkari@example.com"],
    ["name,email", "kari@example.com"],
)
def test_a_csv_file_is_read_by_its_columns(lines: list[str]) -> None:
    listed = parse_suppressions(f"{line}\n" for line in lines)
    assert listed.withheld(Contact(email="kari@example.com", email_opt_in=True))
    assert not listed.withheld(Contact(email="else@example.com", email_opt_in=True))
