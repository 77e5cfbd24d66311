"""E-mail addresses: what passes, what is refused, and that the quick route agrees."""

from __future__ import annotations

import re

import pytest
from email_validator import validate_email
from hypothesis import example, given
from hypothesis import strategies as st

from target_mainbrainer.mapping.identifiers import is_plain_email, parse_email
from target_mainbrainer.mapping.values import InvalidValueError
from tests.mapping.refusals import code_of


@pytest.mark.parametrize(
    "email",
    [
        pytest.param("ola@example.com", id="plain"),
        pytest.param("Ola.Nordmann+crm@Mail.Example.ORG", id="case is kept"),
        pytest.param("o'hara@example.com", id="apostrophe"),
        pytest.param("ola@shop.test", id="reserved for tests"),
        pytest.param("ola@example.travel", id="long top-level domain"),
        pytest.param('"ola nordmann"@example.com', id="quoted"),
        pytest.param("åse@example.com", id="internationalised local part"),
        pytest.param("ola@bücher.example.com", id="internationalised domain"),
        pytest.param("a\u030ase@example.com", id="decomposed letters stay decomposed"),
        pytest.param("ola@xn--bcher-kva.example.com", id="punycode"),
        pytest.param("a" * 64 + "@example.com", id="longest local part"),
        pytest.param("ola@printer.local", id="local network"),
        pytest.param("ola@example.com.invalid", id="invalid on purpose, as every sandbox has it"),
        pytest.param("ola@" + "sub." * 14 + "example.invalid", id="long and invalid on purpose"),
        pytest.param("ola@example.onion", id="onion"),
        pytest.param("ola@1.in-addr.arpa", id="arpa"),
        pytest.param("ola@my_shop.example.com", id="underscore in a domain"),
        pytest.param('"ola n"@my_shop.example.com', id="quoted, with an underscore in its domain"),
    ],
)
def test_an_email_is_sent_as_written(email: str) -> None:
    assert parse_email(email) == email
    assert parse_email(f"\t {email}\u00a0\n") == email


@pytest.mark.parametrize(
    "email",
    [
        pytest.param("ola", id="no at"),
        pytest.param("ola@", id="no domain"),
        pytest.param("ola@example", id="no dot"),
        pytest.param("ola@@example.com", id="two ats"),
        pytest.param("ola nordmann@example.com", id="blank inside"),
        pytest.param("ola..n@example.com", id="two dots"),
        pytest.param("Ola <ola@example.com>", id="display name"),
        pytest.param("ola@example.com, kari@example.com", id="two addresses"),
        pytest.param("mailto:ola@example.com;", id="a link"),
        pytest.param("ola@localhost", id="localhost"),
        pytest.param("ola@127.0.0.1", id="an address of a machine"),
        pytest.param("ola@example.com.", id="a dot at the end"),
        pytest.param("ola@[127.0.0.1]", id="address literal"),
        pytest.param("ola\0@example.com", id="NUL"),
        pytest.param("\ud800@example.com", id="half a character"),
        pytest.param("a" * 250 + "@example.com", id="too long"),
        pytest.param("a@" + "b" * 10_000 + ".com", id="much too long"),
        pytest.param(5, id="a number"),
        pytest.param({"address": "ola@example.com"}, id="an object"),
    ],
)
def test_what_is_no_email_is_refused(email: object) -> None:
    assert code_of(parse_email, email) == "invalid_email"


@pytest.mark.parametrize(
    ("email", "what"),
    [
        (
            "Ola <ola@example.com>",
            "has angle brackets, and perhaps a name, around its e-mail address",
        ),
        ("mailto:ola@example.com", "is a link that starts with 'mailto:', not an e-mail address"),
        ("ola@example.com; kari@example.com", "contains several e-mail addresses"),
        ("ola@example.com ::: kari@example.com", "contains several e-mail addresses"),
        ("a@example.com,b@example.com\nc@example.com", "contains several e-mail addresses"),
        ("ola\u200b@example.com", "contains an invisible character (U+200B)"),
        ("\ufeffola@example.com", "contains an invisible character (U+FEFF)"),
        ("ola", "has no '@'"),
        ("ola@example.com;", "is not a valid e-mail address"),
    ],
)
def test_the_reason_names_what_is_wrong(email: str, what: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        parse_email(email)
    assert caught.value.what.startswith(what)


EMAIL_LIKE = st.from_regex(
    re.compile(
        r"[a-zA-Z0-9.!'+_\"-]{1,12}@[a-zA-Z0-9._-]{1,16}\.(com|test|[a-z]{2}|local|invalid|x1)",
        re.ASCII,
    ),
    fullmatch=True,
)


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


@pytest.mark.parametrize("empty", [None, "", "  ", "\t\n"])
def test_an_empty_email_is_absent(empty: object) -> None:
    assert parse_email(empty) is None
