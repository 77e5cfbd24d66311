"""A yes is never sent to who is on the list; a no always is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer.contacts import Contact, Mobile
from target_mainbrainer.mapping.suppressions import parse_suppressions

LINES = [
    "# who has unsubscribed",
    "",
    "  Kari@Example.com ",
    "åse@example.com",
    "+44 7700 900123",
    "0044 7700 900456",
]
LISTED = parse_suppressions(LINES)


@pytest.mark.parametrize(
    "email", ["kari@example.com", "KARI@EXAMPLE.COM", "a\u030ase@example.com", "ÅSE@example.com"]
)
def test_an_address_holds_back_the_opt_in_to_email_alone(email: str) -> None:
    contact = Contact(
        email=email, mobile=Mobile(44, 7700900999), email_opt_in=True, mobile_opt_in=True
    )
    held, count = LISTED.withhold(contact)
    assert (held.email_opt_in, held.mobile_opt_in, count) == (None, True, 1)
    assert (held.email, held.mobile) == (contact.email, contact.mobile)


@pytest.mark.parametrize(
    "mobile", [Mobile(44, 7700900123), Mobile(44, 7700900456), Mobile(None, 7700900123)]
)
def test_a_number_holds_back_the_opt_in_to_sms_alone(mobile: Mobile) -> None:
    contact = Contact(email="ola@example.com", mobile=mobile, email_opt_in=True, mobile_opt_in=True)
    held, count = LISTED.withhold(contact)
    assert (held.email_opt_in, held.mobile_opt_in, count) == (True, None, 1)


def test_the_same_number_of_another_country_is_another_number() -> None:
    contact = Contact(mobile=Mobile(47, 7700900123), mobile_opt_in=True)
    assert LISTED.withhold(contact) == (contact, 0)


@pytest.mark.parametrize("consent", [False, None])
def test_a_no_and_nothing_pass_as_they_are(consent: bool | None) -> None:
    contact = Contact(email="kari@example.com", email_opt_in=consent)
    assert LISTED.withhold(contact) == (contact, 0)


@given(
    st.sampled_from(["kari@example.com", "ola@example.com", None]),
    st.sampled_from([Mobile(44, 7700900123), Mobile(47, 40000000), None]),
    st.none() | st.booleans(),
    st.none() | st.booleans(),
)
def test_consent_is_only_ever_left_out(
    email: str | None, mobile: Mobile | None, email_opt_in: bool | None, mobile_opt_in: bool | None
) -> None:
    contact = Contact(
        email=email, mobile=mobile, email_opt_in=email_opt_in, mobile_opt_in=mobile_opt_in
    )
    held, _ = LISTED.withhold(contact)
    assert held.email_opt_in in {contact.email_opt_in, None}
    assert held.mobile_opt_in in {contact.mobile_opt_in, None}
    if contact.email_opt_in is False:
        assert held.email_opt_in is False


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (["kari@example.com", "90812501"], "line 2 holds neither"),
        (["email"], "line 1 holds neither"),
        (["x"] * 7, "lines 1, 2, 3, 4, 5 and 2 more hold neither"),
        (["kari@example"], "line 1 holds"),
    ],
)
def test_a_line_that_is_neither_is_named_by_its_number_only(lines: list[str], named: str) -> None:
    with pytest.raises(ValueError, match=named) as caught:
        parse_suppressions(lines)
    assert "kari" not in str(caught.value)
    assert "9081" not in str(caught.value)
