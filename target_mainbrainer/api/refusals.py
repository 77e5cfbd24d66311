"""Refusals: what they say, and which contacts they name.

The form of a refusal is not documented (API note, section 4.3): the API's own envelope, problem
details, a page of HTML and nothing at all are all possible. Reading one never fails. A refusal's
message may repeat contact data: `redact` it before it goes anywhere.
"""

from __future__ import annotations

import html
import re
import typing as t
from dataclasses import dataclass, field

from target_mainbrainer.api.invalid import (
    InvalidProperty,
    invalid_contacts,
    invalid_properties,
    is_meant,
)
from target_mainbrainer.api.lenient_json import (
    UnreadableResponseError,
    decode,
    folded,
    integer_of,
    leaves,
)

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from target_mainbrainer.contacts import Contact

_MESSAGE_LENGTH = 4000
"""More than `redact` reads, so that no value is cut in half before it is taken out."""

_TEXT_LENGTH = 200_000
_PAGE_LENGTH = 20_000
"""Of longer texts and pages only the beginning is searched, which a hostile server cannot slow."""

_ERRORS_QUOTED = 3
_INT64_DIGITS = 19
_EMAIL = re.compile(r"[^\s\"'<>()\[\],;:@]{1,64}@[^\s\"'<>()\[\],;:@]{1,255}\.[^\W_]{1,63}")
_NUMBER = re.compile(r"\d{5,}|\+?\d(?:[ ().\-/]{0,2}\d){4,}")
_POSITION = re.compile(
    r"contacts(?:\[(\d{1,4})\]|[./](\d{1,4})(?=[./]|$))|(?:^|[\s.])\$?\.?\[(\d{1,4})\]",
    re.IGNORECASE,
)
_CONTACT_ID = re.compile(r"contact[\s_-]?ids?\W{0,4}(\d{1,19})(?!\d)", re.IGNORECASE)
_NOT_ABOUT_CONTACTS = frozenset(
    ["traceid", "requestid", "instance", "type", "status", "timestamp", "listid"]
)
_MESSAGES = ("message", "title", "detail", "error", "errordescription")


@dataclass(frozen=True)
class Suspects:
    """What a refusal names, as raw as it names it; `find_suspects` makes contacts of it.

    Attributes:
        positions: 0-based places in `createUpdateContacts`. Only the spelling of a path counts
            (`createUpdateContacts[3].email`): "contact 4" may count from 0 or from 1.
        numbers: Any number long enough to be a mobile number or a contact id.
    """

    positions: frozenset[int] = frozenset()
    contact_ids: frozenset[int] = frozenset()
    emails: frozenset[str] = frozenset()
    numbers: frozenset[int] = frozenset()
    properties: tuple[InvalidProperty, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """MainBrainer refuses what was sent: the whole request, for one bad contact or for itself.

    Attributes:
        status: The HTTP status; a 2xx when only the response's own `status` says that it failed.
        message: What the response says to people, "" if nothing. It may repeat contact data:
            `redact` it before it goes anywhere.
    """

    status: int
    message: str = field(default="", repr=False)
    suspects: Suspects = field(default=Suspects(), repr=False)


@dataclass(frozen=True)
class TooLarge:
    """A batch is refused for its size: fewer contacts at once may pass."""


def decode_refusal(status: int, body: bytes, content_type: str = "") -> Refusal:
    """Return what a refusal says and names, in whatever form it comes.

    >>> body = b'{"title": "Bad", "errors": {"createUpdateContacts[3].email": ["Not valid."]}}'
    >>> refusal = decode_refusal(400, body)
    >>> refusal.message, refusal.suspects.positions
    ('Bad; createUpdateContacts[3].email: Not valid.', frozenset({3}))
    """
    try:
        response = decode(body)
    except UnreadableResponseError:
        return _refusal_in_words(status, body, content_type)
    return refusal_in_json(status, response)


def find_suspects(refusal: Refusal, contacts: Sequence[Contact]) -> list[int]:
    """Return which of the contacts sent a refusal names, as indices, in order.

    Empty if it names none, or all of them, which tells nothing. To be named is no proof: a suspect
    is blamed only after it was sent alone and refused again.

    >>> from target_mainbrainer.contacts import Contact
    >>> refusal = decode_refusal(422, b'{"message": "b@example.com is not valid"}')
    >>> find_suspects(refusal, [Contact(email="a@example.com"), Contact(email="b@example.com")])
    [1]
    """
    suspects = refusal.suspects
    found = [
        index
        for index, contact in enumerate(contacts)
        if index in suspects.positions
        or (contact.email is not None and contact.email.casefold() in suspects.emails)
        or (contact.contact_id is not None and contact.contact_id in suspects.contact_ids)
        or not suspects.numbers.isdisjoint(_numbers_of(contact))
        or any(_carries(contact, named) for named in suspects.properties)
    ]
    return found if len(found) < len(contacts) else []


def human_message(body: bytes, content_type: str = "") -> str:
    """Return what a response says to people, "" if nothing; bounded, but not redacted."""
    return decode_refusal(0, body, content_type).message


def refusal_in_json(status: int, response: object) -> Refusal:
    """Return the refusal that a decoded response is."""
    envelope = folded(response)
    data = folded(envelope.get("data"))
    said = [text for key in _MESSAGES if isinstance(text := envelope.get(key), str)]
    said += [text for key in _MESSAGES if isinstance(text := data.get(key), str)]
    said += _errors_in_words(envelope.get("errors") or data.get("errors"))
    if not isinstance(response, dict):
        said += _errors_in_words(response)
    return Refusal(status, _sentence(said), _suspects(response, {**envelope, **data}))


def _errors_in_words(errors: object) -> list[str]:
    """Return the first few of problem details' errors: a map of paths, or a list of objects."""
    words = []
    for path, _, value in leaves(errors, without=_NOT_ABOUT_CONTACTS):
        if isinstance(value, str) and value.strip():
            where = path.split(".detail")[0].split(".message")[0]
            named = isinstance(errors, dict) and where
            words.append(f"{where}: {value}" if named else value)
        if len(words) == _ERRORS_QUOTED:
            break
    return words


def _refusal_in_words(status: int, body: bytes, content_type: str) -> Refusal:
    text = body.decode("utf-8", errors="replace")
    if "html" in content_type.lower() or text.lstrip()[:1] == "<":
        text = re.sub(r"(?is)<(script|style)\b.*?</\1\s*>", " ", text[:_PAGE_LENGTH])
        title = re.search(r"(?is)<(title|h1)[^<>]*>(.*?)</\1>", text)
        said = title[2] if title else text
        text = html.unescape(re.sub(r"<[^<>]*>", " ", text))
        said = html.unescape(re.sub(r"<[^<>]*>", " ", said))
    else:
        # Cut-off JSON and binary data say nothing to people.
        said = "" if text.lstrip()[:1] in ("{", "[") or "\ufffd" in text else text
    return Refusal(status, _sentence([said]), _suspects(text, {}))


def _sentence(said: Iterable[str]) -> str:
    """Join what a response says into one bounded line; what it says twice stands there once."""
    lines = [" ".join(text.split()) for text in said]
    text = "; ".join(dict.fromkeys(line for line in lines if line))
    return text if len(text) <= _MESSAGE_LENGTH else text[: _MESSAGE_LENGTH - 1] + "…"


def _suspects(response: object, data: Mapping[str, t.Any]) -> Suspects:
    positions: set[int] = set()
    contact_ids: set[int] = set(invalid_contacts(data).ids)
    emails: set[str] = set()
    numbers: set[int] = set()
    for path, key, value in leaves(response, without=_NOT_ABOUT_CONTACTS):
        number = integer_of(value)
        if number is not None and key in ("contactid", "contactids"):
            contact_ids.add(number)
        elif number is not None and key == "mobilenumber":
            numbers.add(number)
        texts = (path, value[:_TEXT_LENGTH]) if isinstance(value, str) else (path,)
        for text in texts:
            positions.update(int(next(filter(None, m))) for m in _POSITION.findall(text))
            contact_ids.update(int(m) for m in _CONTACT_ID.findall(text))
            emails.update(m.strip(".").casefold() for m in _EMAIL.findall(text))
            numbers.update(_numbers_in(text))
    return Suspects(
        positions=frozenset(positions),
        contact_ids=frozenset(contact_ids),
        emails=frozenset(emails),
        numbers=frozenset(numbers),
        properties=invalid_properties(data),
    )


def _numbers_in(text: str) -> Iterator[int]:
    for written in _NUMBER.findall(text):
        digits = re.sub(r"\D", "", written)
        if len(digits) <= _INT64_DIGITS:
            yield int(digits)
    for digits in re.findall(r"(?<!\d)\d{5,19}(?!\d)", text):
        yield int(digits)


def _numbers_of(contact: Contact) -> Iterator[int]:
    """Yield the numbers by which a response might mean this contact."""
    if contact.mobile is not None:
        country_code, number = contact.mobile.country_code, contact.mobile.number
        yield number
        if country_code is not None:
            yield int(f"{country_code}{number}")
    if contact.contact_id is not None:
        yield contact.contact_id


def _carries(contact: Contact, named: InvalidProperty) -> bool:
    """Return whether a contact has the property, with the value if one is named."""
    return any(
        is_meant(ref, named) and named.value in (None, value)
        for ref, value in contact.properties.items()
    )
