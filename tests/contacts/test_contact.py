"""A contact shows nothing of itself, and a merge is two upserts in a row."""

from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer import contacts
from target_mainbrainer.contacts import Contact, Identity, Mobile, PropertyRef, fold_email
from tests.loads import cases

CITY, LIST_ID = {PropertyRef(None, "city"): "Oslo"}, "3fa85f64-5717-4562-b3fc-2c963f66afa6"
OLA = Contact(234567, Mobile(47, 90812501), "ola@example.com", True, False, CITY, LIST_ID)


def test_no_representation_shows_contact_data() -> None:
    identities = Identity(contact_id=234567), Identity(None, OLA.mobile, OLA.email)
    for shown in (str(OLA), repr(list(OLA.__rich_repr__())), *map(repr, (OLA, *identities))):
        for value in ("234567", "90812501", "47", "ola", "Oslo", "3fa8", "True", "False"):
            assert value not in shown


SPELLINGS = [
    *[("ola@example.com", " OLA@Example.COM "), ("ola@example\u3002com", "ola@example.com")],
    *[("ola@bücher.example", f"ola@{one}.example") for one in ("xn--bcher-kva", "XN--BCHER-KVA")],
    *[("ola@bu\u0308cher.example", "ola@BÜCHER.example"), ("a\u030ase@a.example", "ÅSE@a.example")],
    ("ola@straße.example", "ola@xn--strae-oqa.example"),
    ("\uff4f\uff4c\uff41\uff20example\uff0ecom", "ola@example.com"),
    ('"Ola.N"@example.com', "ola.n@example.com"),
]


@cases("email other", *SPELLINGS)
def test_spellings_of_one_address_are_one(email: str, other: str) -> None:
    assert fold_email(email) == fold_email(other)


def test_addresses_that_are_two_stay_two() -> None:
    assert fold_email("ola@example.com") != fold_email("ola@example.org")
    assert fold_email('"ola n"@example.com') != fold_email("ola n@example.com")
    assert fold_email("xn--bcher-kva@example.com") != fold_email("bücher@example.com")


@given(st.text() | st.emails() | st.from_regex(r"\A[a-z]@xn--[a-z0-9-]{1,12}\.de\Z"))
def test_folding_never_fails_and_nothing_is_left_to_fold(email: str) -> None:
    folded = fold_email(email)
    # The capital of a Turkish dotless i is that of another letter.
    assert "\u0131" in folded or fold_email(folded.upper().lower()) == fold_email(folded)
    if "xn--" not in folded:
        assert fold_email(folded) == folded


def test_the_last_word_of_a_merge_stands_last() -> None:
    """It counts even if the CRM takes two references for one property.

    That a merge does what two upserts do is shown by `rounds/test_as_if_one_by_one.py`.
    """
    refs = [PropertyRef("ID-1", "city"), PropertyRef(None, "Street"), PropertyRef(None, "zip")]
    again = [PropertyRef("id-1", "City"), PropertyRef(None, "street"), PropertyRef(None, "zip")]
    earlier, later = (Contact(7, properties=dict.fromkeys(some, "x")) for some in (refs, again))
    assert [*contacts.merge(earlier, later).properties] == [refs[1], *again]
