"""Words of a server reach the log without personal data in them."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer.contacts import Contact, Mobile, PropertyRef
from target_mainbrainer.privacy import LONGEST, MARK, MOST_READ, Redactor, values_of
from tests.loads import cases

redact = Redactor().redact


STAYS = [
    *["Email is not valid", "status 400", "at most 100 contacts", "It's the list's fault"],
    *["'mobileNumber' is missing", "$.createUpdateContacts[3].mobileNumber: not an Int64"],
]


@cases(
    "text safe",
    *((text, text) for text in STAYS),
    *(("ola.nordmann@example.com: bad", "…: bad"), ("mobile 90812501 exists", "mobile … exists")),
    *(("bad address ola@localhost!", "bad address …"), ("+44 (7700) 900-123 is", "… is")),
    ("The value 'Jennifer' is wrong", "The value … is wrong"),
    *(("The “Jen” and «Mark»", "The … and …"), ("Authorization: Bearer x", "Authorization: …")),
    ("token eyJhbGciOiJIUzI1NiJ9.e30.abc", "token …"),
    ("id 3fa85f64-5717-4562-b3fc-2c963f66afa6", "id …"),
    ("see https://u:p@example.com/help?q=ola#x", "see https://example.com/help?…"),
    ("one\r\n  two\tthree\x1b[31m", "one two three [31m"),
    *(("O&#39;Brien is &lt;bad&gt;", "… is <bad>"), ("x" * 30 + " " + "y " * 200, None)),
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
    named = {PropertyRef(None, "firstname"): "Ola", PropertyRef(None, "zip"): "0236"}
    mobile, email = Mobile(44, 7700900123), "ola.nordmann@example.com"
    contact = Contact(4711, mobile, email, properties=named)
    values = list(values_of([contact, Contact(mobile=Mobile(46, 701740605))]))
    assert values == [
        *["4711", "ola.nordmann@example.com", "ola.nordmann", "7700900123", "447700900123"],
        *["Ola", "0236", "701740605", "46701740605"],
    ]
    said = "OLA (0236, ola.nordmann) and 447700900123 or +44 7700 900123 clash"
    assert redact(said, values) == f"{MARK} ({MARK}, {MARK}) and {MARK} or {MARK} clash"


# --- Secrets by their value


@pytest.fixture
def redactor() -> Redactor:
    redactor = Redactor("pw 7&x/", None, "zoe@example.org", "")
    redactor.keep_secret("abc4def")
    redactor.keep_secret("tokenofthirtycharactersandonly")
    return redactor


@cases(
    "said",
    *["token abc4def is unknown", "ABC4DEF", "xxabc4defxx", "tokenofthirtycharactersandonly"],
    *["pw 7&x/", "pw 7&amp;x/", "pw 7&amp;amp;x&#x2F;", "pw%207%26x%2F", "pw+7%26x%2f"],
    *["pw%25207%2526x%252F", r"pw 7\u0026x\/", r"pw\\u00207\\u0026x\\/", "pw \n 7&x/"],
    *["pw%2525207%252526x%25252F", "pw 7&amp;amp;amp;x/", r"pw\\\\u00207\\\\u0026x/"],
    *["pw%20" + r"7\u0026amp;x/", "a" * 1990 + " pw 7&x/ and more"],
)
def test_a_secret_is_found_however_it_is_escaped(redactor: Redactor, said: str) -> None:
    redacted = redactor.redact(said)
    for part in ("abc4", "4def", "thirty", "pw", "7&", "x/"):
        assert part not in redacted.casefold()
    assert redactor.redact(redacted) == redacted


def test_secrets_belong_to_one_redactor_and_old_tokens_are_forgotten_in_time() -> None:
    redactor = Redactor("password")
    assert redactor.redact("password") == MARK
    assert redact("password") == "password"
    for number in range(100):
        redactor.keep_secret(f"token-{number:03}x")
    assert redactor.redact("password") == "password"
    assert redactor.redact("token-000x and token-099x") == f"{MARK} and {MARK}"


def test_a_secret_may_come_while_other_threads_read() -> None:
    """A renewed token once changed a dictionary while a sender went over it."""
    redactor = Redactor(*(f"token-{number:03}x" for number in range(100)))
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(lambda: {redactor.redact("all is well") for _ in range(1000)})
        numbers = itertools.count()
        while not reading.done():
            redactor.keep_secret(f"token-{next(numbers) % 500:03}x")
    assert reading.result() == {"all is well"}


@cases(
    "batch_id is_shown",
    *((shown, True) for shown in ("ce2c2e48-47e4-4aa0-b4e7-c9deebe29852", "CE2C2E48")),
    *((odd, False) for odd in ("90812501", "4790-8125-01", "deadbeef", "Kari", "", "abc4def")),
    *((odd, False) for odd in ("ce2c2e48\nERROR forged", "ce2c2e48" * 6, "00abc4def00")),
)
def test_a_batch_id_is_shown(redactor: Redactor, batch_id: str, is_shown: bool) -> None:
    """A batch id is shown if it cannot be anything else."""
    assert redactor.redact_id(batch_id) == (batch_id if is_shown else MARK)


def test_half_a_value_at_the_end_of_what_is_read_is_not_shown() -> None:
    value = "Plugh" * 60
    for start in range(MOST_READ - 400, MOST_READ, 7):
        said = "a@b.example " * 1000
        assert "Plugh" not in redact(f"{said[:start]}{value} is no name", [value])
