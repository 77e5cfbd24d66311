"""E-mail addresses and ids: what passes, what is refused, and that the quick route agrees."""

import re
import typing as t

from email_validator import validate_email
from hypothesis import example, given
from hypothesis import strategies as st

from target_mainbrainer.mapping.identifiers import (
    INT64_MAX,
    is_plain_email,
    parse_contact_id,
    parse_email,
    parse_list_id,
)
from tests.cases import cases
from tests.mapping.one_record import D, code_of, refused

GOOD = [
    *[
        "ola@example.com",
        "Ola.Nordmann+crm@Mail.Example.ORG",
        "o'hara@example.com",
        "ola@shop.test",
    ],
    *["ola@example.travel", '"ola nordmann"@example.com', "åse@example.com", "ola@printer.local"],
    *["ola@bücher.example.com", "a\u030ase@example.com", "ola@xn--bcher-kva.example.com"],
    *["ola@example.com.invalid", "ola@example.onion", "ola@1.in-addr.arpa"],
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


@cases("email", *BAD, ids=lambda email: repr(email)[:40])
def test_what_is_no_email_is_refused(email: object) -> None:
    assert code_of(parse_email, email) == "invalid_email"


SEVERAL = "contains several e-mail addresses"


@cases(
    "email what",
    ("Ola <ola@example.com>", "has angle brackets, and perhaps a name, around its e-mail"),
    ("mailto:ola@example.com", "is a link that starts with 'mailto:', not an e-mail address"),
    *((f"ola@example.com{between}kari@example.com", SEVERAL) for between in ("; ", " ::: ")),
    ("a@example.com,b@example.com\nc@example.com", SEVERAL),
    ("ola\u200b@example.com", "contains an invisible character (U+200B)"),
    ("\ufeffola@example.com", "contains an invisible character (U+FEFF)"),
    *(("ola", "has no '@'"), ("ola@example.com;", "is not a valid e-mail address")),
)
def test_the_reason_names_what_is_wrong(email: str, what: str) -> None:
    assert refused(parse_email, email).what.startswith(what)


LIKE = r"[a-zA-Z0-9.!'+_\"-]{1,12}@[a-zA-Z0-9._-]{1,16}\.(com|test|[a-z]{2}|local|invalid|x1)"
EMAIL_LIKE = st.from_regex(re.compile(LIKE, re.ASCII), fullmatch=True)


@given(EMAIL_LIKE | st.emails() | st.text())
@example("a@b--c.com")
@example("a@ab--c.de")
@example("a@xn--a.de")
@example("a@1.in")
@example("a" * 60 + "@b.de")
def test_a_plain_email_is_one_to_the_library_too(email: str) -> None:
    if is_plain_email(email):
        local, _, domain = email.rpartition("@")
        known = f"{local}@{domain.replace('_', 'x')}.com"  # its opinion about endings is not asked
        validate_email(known, check_deliverability=False)
        assert parse_email(email) == email


# Ids of contacts and lists


@cases("contact_id", 0, -1, INT64_MAX + 1, "12a", "1.0", 1.5, True, "-5", "\u00b2", {}, "9" * 5000)
def test_a_contact_id_is_a_positive_int64(contact_id: object) -> None:
    assert parse_contact_id(str(INT64_MAX)) == INT64_MAX
    assert parse_contact_id(D("7.0")) == parse_contact_id("7".zfill(50)) == 7
    assert code_of(parse_contact_id, contact_id) == "invalid_contact_id"


@cases("list_id", "3fa85f64-5717-4562-b3fc-123123d23dds", 7)
def test_a_list_id_is_a_uuid(list_id: object) -> None:
    assert code_of(parse_list_id, list_id) == "invalid_list_id"


@cases("parse", parse_email, parse_contact_id, parse_list_id)
@cases("empty", *EMPTY)
def test_an_empty_identifier_is_absent(parse: t.Callable[[object], object], empty: object) -> None:
    assert parse(empty) is None
