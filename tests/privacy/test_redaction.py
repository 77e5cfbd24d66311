"""What a server says reaches the log without anybody's data in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer.contacts.contact import Contact, Mobile, PropertyRef
from target_mainbrainer.privacy.redaction import LONGEST, MARK, redact, values_of


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        pytest.param("Email is not valid", "Email is not valid", id="nothing to hide"),
        pytest.param("ola.nordmann@example.com: bad", "…: bad", id="e-mail"),
        pytest.param("bad address ola@localhost!", "bad address …", id="nearly an e-mail"),
        pytest.param("mobile 90812501 exists", "mobile … exists", id="digits"),
        pytest.param("+44 (7700) 900-123 exists", "… exists", id="a spaced phone number"),
        pytest.param("status 400", "status 400", id="a short number stays"),
        pytest.param("at most 100 contacts", "at most 100 contacts", id="a limit stays"),
        pytest.param("The value 'Jennifer' is wrong", "The value … is wrong", id="quoted"),
        pytest.param("The “Jen” and «Mark»", "The … and …", id="other quotes"),
        pytest.param("It's the list's fault", "It's the list's fault", id="apostrophes stay"),
        pytest.param("'mobileNumber' is missing", "'mobileNumber' is missing", id="own field"),
        pytest.param(
            "$.createUpdateContacts[3].mobileNumber: not an Int64",
            "$.createUpdateContacts[3].mobileNumber: not an Int64",
            id="a path stays",
        ),
        pytest.param("token eyJhbGciOiJIUzI1NiJ9.e30.abc", "token …", id="token"),
        pytest.param("Authorization: Bearer abc", "Authorization: …", id="short bearer"),
        pytest.param("id 3fa85f64-5717-4562-b3fc-2c963f66afa6", "id …", id="uuid"),
        pytest.param(
            "see https://u:p@example.com/help?q=ola#x",
            "see https://example.com/help?…",
            id="a URL's query and user",
        ),
        pytest.param("one\r\n  two\tthree\x1b[31m", "one two three [31m", id="one line"),
        pytest.param("O&#39;Brien is &lt;bad&gt;", "… is <bad>", id="escaped"),
        pytest.param("x" * 30 + " " + "y " * 200, None, id="long"),
    ],
)
def test_what_stays_and_what_goes(text: str, safe: str | None) -> None:
    redacted = redact(text, values=["O'Brien"])
    assert len(redacted) <= LONGEST
    if safe is not None:
        assert redacted == safe


@given(st.text(), st.lists(st.text(min_size=3).filter(lambda v: not v.isspace()), max_size=5))
def test_no_given_value_survives(text: str, values: list[str]) -> None:
    for around in (text, text.join(values), "".join(values).upper() + text):
        redacted = redact(around, values).casefold()
        for value in values:
            if len(" ".join(value.split())) >= 3:
                assert value.casefold() not in redacted


@given(st.text())
def test_it_is_one_line_and_doing_it_twice_changes_nothing(text: str) -> None:
    redacted = redact(text)
    assert redacted == redact(redacted)
    assert redacted.isprintable()


def test_the_values_of_contacts_in_their_spellings() -> None:
    contact = Contact(
        contact_id=4711,
        mobile=Mobile(44, 7700900123),
        email="ola.nordmann@example.com",
        properties={PropertyRef(None, "firstname"): "Ola", PropertyRef(None, "zip"): "0236"},
    )
    values = list(values_of([contact, Contact(mobile=Mobile(None, 7700900124))]))
    assert values == [
        "4711",
        "ola.nordmann@example.com",
        "ola.nordmann",
        "7700900123",
        "447700900123",
        "Ola",
        "0236",
        "7700900124",
    ]
    said = "OLA (0236, ola.nordmann) and 447700900123 or +44 7700 900123 clash"
    assert redact(said, values) == f"{MARK} ({MARK}, {MARK}) and {MARK} or {MARK} clash"
