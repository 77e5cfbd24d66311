"""A yes is never sent to who is on the list; a no always is."""

import pytest

from target_mainbrainer.contacts import Contact, Identity, Mobile
from target_mainbrainer.mapping.suppressions import parse_suppressions
from tests.cases import cases

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
    (["kari@example.com", "90812501"], "line 2 contains neither"),
    (["mail"], "line 1 contains neither"),
    (["email,name", "kari,x", "", "kari@example.com,y"], "line 2 contains neither"),
    (["name,mobile", '"Kari', 'N","9081"', "x,90812501"], "lines 3, 4 contain neither"),
    (["x"] * 7, "lines 1, 2, 3, 4, 5 and 2 more contain neither"),
    (["kari@example"], "line 1 contains"),
)
def test_a_line_that_is_neither_is_named_by_its_number_only(lines: list[str], named: str) -> None:
    with pytest.raises(ValueError, match=named) as caught:
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
)
def test_a_csv_file_is_read_by_its_columns(lines: list[str]) -> None:
    listed = parse_suppressions(f"{line}\n" for line in lines)
    assert listed.withheld(Contact(email="kari@example.com", email_opt_in=True))
    assert not listed.withheld(Contact(email="else@example.com", email_opt_in=True))
