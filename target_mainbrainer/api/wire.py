"""The API's JSON, both ways: the only place that knows how MainBrainer spells things.

Requests are spelt exactly as on the page of their endpoint, which differ (API note, C1 and C2).
Answers are read without regard to case and underscores, in every shape the pages print, because
no page shows what the live service really sends (API note, sections 4.2, 4.3 and C3). Nothing
here knows a network, a clock or Singer, and no error holds any part of a body.
"""

from __future__ import annotations

import datetime as dt
import html
import re
import typing as t
from dataclasses import dataclass, field

import msgspec

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from target_mainbrainer.contacts.contact import Contact, PropertyRef

_MESSAGE_LENGTH = 1000
"""Longer than anything that is shown, so that no value is cut in half before it is redacted."""

_ERRORS_QUOTED = 3

_encode: t.Final = msgspec.json.Encoder().encode
_decode: t.Final = msgspec.json.Decoder().decode

# --- Requests -------------------------------------------------------------------------------

# gc=False: these live for the length of one encode call and cannot refer back to themselves.
# Most properties have a name and no id; a kind of their own spares the check for absent parts.


class _NamedProperty(msgspec.Struct, gc=False):
    name: str | None = msgspec.field(name="propertyname")
    value: str = msgspec.field(name="propertyvalue")


class _KnownProperty(msgspec.Struct, gc=False, omit_defaults=True):
    property_id: str | None = msgspec.field(name="propertyid")
    name: str | None = msgspec.field(name="propertyname", default=None)
    value: str | None = msgspec.field(name="propertyvalue", default=None)


class _BatchContact(msgspec.Struct, gc=False, omit_defaults=True, rename="camel"):
    contact_id: int | None = None
    mobile_country_code: int | None = None
    mobile_number: int | None = None
    mobile_opt_in: bool | None = None
    email: str | None = None
    email_opt_in: bool | None = None
    properties: list[_NamedProperty | _KnownProperty] | None = msgspec.field(
        name="propertyfields", default=None
    )


class _SingleProperty(msgspec.Struct, gc=False, omit_defaults=True, rename="camel"):
    property_id: str | None = None
    property_name: str | None = None
    property_value: str | None = None


class _SingleContact(msgspec.Struct, gc=False, omit_defaults=True, rename="camel"):
    list_id: str | None = None
    contact_id: int | None = None
    mobile_country_code: int | None = None
    mobile_number: int | None = None
    mobile_opt_in: bool | None = None
    email: str | None = None
    email_opt_in: bool | None = None
    property_fields: list[_SingleProperty] | None = None


def encode_contact(contact: Contact) -> bytes:
    """Return one element of `createUpdateContacts`, spelt as on the batch page.

    What is absent is left out, because an omitted field "will remain as it was" (API note,
    section 8.2), and a null or empty one may mean anything. The list is the batch's (C19).

    >>> from target_mainbrainer.contacts.contact import Contact, Mobile, PropertyRef
    >>> lastname = {PropertyRef(None, "lastname"): "merg"}
    >>> print(encode_contact(Contact(mobile=Mobile(47, 90812501), properties=lastname)).decode())
    ... # doctest: +NORMALIZE_WHITESPACE
    {"mobileCountryCode":47,"mobileNumber":90812501,"propertyfields":[{"propertyname":"lastname","propertyvalue":"merg"}]}
    """
    mobile = contact.mobile
    return _encode(
        _BatchContact(
            contact.contact_id,
            None if mobile is None else mobile.country_code,
            None if mobile is None else mobile.number,
            contact.mobile_opt_in,
            contact.email,
            contact.email_opt_in,
            [
                _NamedProperty(name, value)
                if property_id is None
                else _KnownProperty(property_id, name, value)
                for (property_id, name), value in contact.properties.items()
            ]
            or None,
        )
    )


def encode_batch(
    parts: Sequence[bytes], *, list_id: str | None = None, webhook_url: str | None = None
) -> bytes:
    """Join contacts that `encode_contact` has made into the body of one batch request.

    >>> encode_batch([b'{"contactId":1}', b'{"contactId":2}'])
    b'{"createUpdateContacts":[{"contactId":1},{"contactId":2}]}'
    """
    head = b'{"listId":' + _encode(list_id) + b"," if list_id else b"{"
    tail = b',"webhookUrl":' + _encode(webhook_url) + b"}" if webhook_url else b"}"
    return b"".join((head, b'"createUpdateContacts":[', b",".join(parts), b"]", tail))


def encode_single(contact: Contact, *, list_id: str | None = None) -> bytes:
    """Return the body for `/contacts/insertupdate`, spelt as on its own page.

    >>> from target_mainbrainer.contacts.contact import Contact
    >>> encode_single(Contact(email="apitest@example.com", email_opt_in=False))
    b'{"email":"apitest@example.com","emailOptIn":false}'
    """
    country_code, number = contact.mobile or (None, None)
    return _encode(
        _SingleContact(
            list_id=list_id,
            contact_id=contact.contact_id,
            mobile_country_code=country_code,
            mobile_number=number,
            mobile_opt_in=contact.mobile_opt_in,
            email=contact.email,
            email_opt_in=contact.email_opt_in,
            property_fields=[
                _SingleProperty(property_id, name, value)
                for (property_id, name), value in contact.properties.items()
            ]
            or None,
        )
    )


def encode_credentials(
    *, username: str | None, password: str | None, private_token: str | None, validity: str
) -> bytes:
    """Return the body for `POST /token`, spelt as in its schema (API note, section 7 and C14)."""
    return _encode(
        {
            "userName": username,
            "password": password,
            "privateToken": private_token,
            "validity": validity,
        }
    )


def values_sent(body: bytes | None) -> Iterator[str]:
    """Yield every value in a request's body that is a person's, or a secret.

    What a server says about a request may repeat what was in it. This finds again what must not
    reach the log when all that is left of the contacts is the body.

    >>> sorted(values_sent(b'{"listId": "1", "createUpdateContacts": [{"email": "a@b.example"}]}'))
    ['a@b.example']
    """
    if body:
        for _, key, value in _leaves(_decode(body)):
            if key in _PERSONAL and value not in (None, ""):
                yield str(value)


_PERSONAL = frozenset(
    ["contactid", "mobilenumber", "email", "propertyvalue", "username", "password", "privatetoken"]
)


# --- Answers --------------------------------------------------------------------------------


class UnreadableAnswerError(Exception):
    """An answer is not what the API sends.

    Attributes:
        cut_off: It begins like an answer of the API's, but the end of it is missing.
    """

    def __init__(self, reason: str, *, cut_off: bool = False) -> None:
        super().__init__(reason)
        self.cut_off = cut_off


class InvalidProperty(t.NamedTuple):
    """A property an answer complains about, as far as the answer names it."""

    property_id: str | None
    name: str | None
    value: str | None = None


@dataclass(frozen=True)
class Accepted:
    """MainBrainer has taken a request, perhaps not all of it (API note, C4).

    Attributes:
        invalid_contact_ids: Contacts it says it cannot place; none of these is "fine" (C5).
        invalid_properties: Properties it says it has not taken.
    """

    invalid_contact_ids: frozenset[int] = frozenset()
    invalid_properties: tuple[InvalidProperty, ...] = ()


@dataclass(frozen=True)
class BatchAccepted(Accepted):
    """A batch is queued; what becomes of it only its status tells.

    Attributes:
        batch_id: None if the answer has none: accepted, but untrackable, and never to be resent.
    """

    batch_id: str | None = None


@dataclass(frozen=True)
class ContactAccepted(Accepted):
    """One contact is taken.

    Attributes:
        contact_id: Its id, which the answer may leave out (API note, section 5).
    """

    contact_id: int | None = None


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
        status: The HTTP status; a 2xx when only the answer's own `status` says that it failed.
        message: What the answer says to people, "" if nothing. It may repeat contact data:
            `redact` it before it goes anywhere.
    """

    status: int
    message: str = field(default="", repr=False)
    suspects: Suspects = field(default=Suspects(), repr=False)


@dataclass(frozen=True)
class BatchStatus:
    """How far a batch is (API note, section 6).

    Attributes:
        skipped_ids: Contact ids of skipped contacts; fewer than `skipped` where a contact has
            none.
        failed_reason: Why the batch failed, "" if nothing says that it did. May hold contact
            data.
        status: A number whose meaning is not documented.
        status_text: A word whose possible values are not documented.
    """

    inserted: int = 0
    updated: int = 0
    skipped: int = 0
    skipped_ids: frozenset[int] = frozenset()
    failed_reason: str = field(default="", repr=False)
    status: int | None = None
    status_text: str = ""

    @property
    def processed(self) -> int:
        """How many contacts of the batch have a fate."""
        return self.inserted + self.updated + self.skipped


@dataclass(frozen=True)
class Token:
    """A bearer token.

    Attributes:
        lifetime_seconds: How long it lives from its receipt on, None if the answer does not say.
    """

    value: str = field(repr=False)
    lifetime_seconds: float | None = None


def decode_batch_answer(status: int, body: bytes) -> BatchAccepted | Refusal:
    """Read the 2xx answer to a batch; an explicit status other than "Success" is a refusal (C22).

    >>> decode_batch_answer(202, b'{"status": "Success", "data": {"BatchId": "ce2c2e48"}}').batch_id
    'ce2c2e48'
    >>> decode_batch_answer(202, b'{"status": "Failed", "message": "No such list"}').message
    'No such list'

    Raises:
        UnreadableAnswerError: It is not the API's, or cut off.
    """
    answer = _read_success(status, body)
    if isinstance(answer, Refusal):
        return answer
    data = _data(answer)
    return BatchAccepted(
        batch_id=_text(data.get("batchid")) or None,
        invalid_contact_ids=_invalid_ids(data),
        invalid_properties=tuple(_invalid_properties(data)),
    )


def decode_contact_answer(status: int, body: bytes) -> ContactAccepted | Refusal:
    """Read the 2xx answer to a single contact, whose id is text there (C9).

    >>> decode_contact_answer(202, b'{"status": "Success", "data": {"contactId": "17"}}')
    ContactAccepted(invalid_contact_ids=frozenset(), invalid_properties=(), contact_id=17)

    Raises:
        UnreadableAnswerError: It is not the API's, or cut off.
    """
    answer = _read_success(status, body)
    if isinstance(answer, Refusal):
        return answer
    data = _data(answer)
    return ContactAccepted(
        contact_id=_integer(data.get("contactid")),
        invalid_contact_ids=_invalid_ids(data),
        invalid_properties=tuple(_invalid_properties(data)),
    )


def decode_status(body: bytes) -> BatchStatus:
    """Read the status of a batch, in the CRM's spelling or its siblings' (API note, section 6).

    >>> counts = b'{"inserted": {"count": 2, "contactIds": [5, 6]}, "skipped": {"count": 1}}'
    >>> status = decode_status(b'{"id": "ce2c2e48", "status": 1, "processedObj": ' + counts + b"}")
    >>> status.inserted, status.updated, status.skipped
    (2, 0, 1)

    Raises:
        UnreadableAnswerError: It is not a batch's status.
    """
    answer = _object(body)
    inner = _folded(answer.get("data"))
    if "processedobj" in inner or "statustext" in inner:
        answer = inner
    if not answer.keys() & {"processedobj", "statustext", "statusfailedreason", "status"}:
        message = "it has none of the fields of a batch status"
        raise UnreadableAnswerError(message)
    counts = _folded(answer.get("processedobj"))
    inserted, _ = _tally(counts.get("inserted"))
    updated, _ = _tally(counts.get("updated"))
    skipped, skipped_ids = _tally(counts.get("skipped"))
    return BatchStatus(
        inserted=inserted,
        updated=updated,
        skipped=skipped,
        skipped_ids=skipped_ids,
        failed_reason=_text(answer.get("statusfailedreason")),
        status=_integer(answer.get("status")),
        status_text=_text(answer.get("statustext")),
    )


def decode_token(body: bytes) -> Token:
    """Read a new token.

    Its life is `expires` less `issued`, which no wrong clock can spoil. `expires_in` is the
    fallback, and then in seconds: the sample's figure means minutes, but renewing too early does
    no harm (API note, section 7).

    >>> decode_token(b'{"access_token": "made-up", "expires_in": 120}').lifetime_seconds
    120.0

    Raises:
        UnreadableAnswerError: There is no token in it.
    """
    answer = _object(body)
    inner = _folded(answer.get("data"))
    if "accesstoken" in inner:
        answer = inner
    value = answer.get("accesstoken")
    if not isinstance(value, str) or not value.strip():
        message = "it holds no access token"
        raise UnreadableAnswerError(message)
    return Token(value.strip(), _lifetime(answer))


def decode_refusal(status: int, body: bytes, content_type: str = "") -> Refusal:
    """Read a refusal in whatever form it comes; never fails.

    Its form is not documented (API note, section 4.3): the API's own envelope, problem details,
    a page of HTML and nothing at all are all possible.

    >>> body = b'{"title": "Bad", "errors": {"createUpdateContacts[3].email": ["Not valid."]}}'
    >>> refusal = decode_refusal(400, body)
    >>> refusal.message, refusal.suspects.positions
    ('Bad; createUpdateContacts[3].email: Not valid.', frozenset({3}))
    """
    try:
        answer = _decode_lenient(body)
    except UnreadableAnswerError:
        return _refusal_in_words(status, body, content_type)
    return _refusal_in_json(status, answer)


def find_suspects(refusal: Refusal, contacts: Sequence[Contact]) -> list[int]:
    """Return which of the contacts sent a refusal names, as indices, in order.

    Empty if it names nobody in particular, which naming everybody amounts to. To be named is no
    proof: a suspect is blamed only after it was sent alone and refused again.

    >>> from target_mainbrainer.contacts.contact import Contact
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
    """Return what an answer says to people, "" if nothing; bounded, but not redacted."""
    return decode_refusal(0, body, content_type).message


# --- Reading JSON of unknown spelling -------------------------------------------------------

_TRAILING_COMMA = re.compile(rb'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)


def _decode_lenient(body: bytes) -> t.Any:  # noqa: ANN401 - any JSON value
    """Decode JSON, even with the trailing comma that the batch page's own sample has."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return _decode(_TRAILING_COMMA.sub(rb"\1", body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # `from None`: what a decoder says may quote what it decodes.
        cut_off = "truncated" in str(error) and body.lstrip()[:1] in (b"", b"{")
        message = "it is not JSON"
        raise UnreadableAnswerError(message, cut_off=cut_off) from None


def _object(body: bytes) -> dict[str, t.Any]:
    """Decode a JSON object, its keys folded."""
    answer = _decode_lenient(body)
    if not isinstance(answer, dict):
        message = "it is not a JSON object"
        raise UnreadableAnswerError(message)
    return _folded(answer)


def _folded(value: object) -> dict[str, t.Any]:
    """Return an object with its keys in lower case and without underscores; {} for all else."""
    if not isinstance(value, dict):
        return {}
    return {str(key).replace("_", "").lower(): item for key, item in value.items()}


_ANSWER_KEYS = frozenset(["status", "message", "data", "batchid", "contactid"])


def _read_success(status: int, body: bytes) -> dict[str, t.Any] | Refusal:
    """Read the envelope of a 2xx answer, or the refusal that it is after all."""
    answer = _object(body)
    if not answer.keys() & _ANSWER_KEYS:
        message = "it has none of the fields of the API's answers"
        raise UnreadableAnswerError(message)
    if _says_failure(answer.get("status")):
        return _refusal_in_json(status, _decode_lenient(body))
    return answer


_BAD_REQUEST = 400


def _says_failure(status: object) -> bool:
    """Tell whether an answer's own `status` is an explicit failure; absent and odd ones are not.

    >>> [_says_failure(status) for status in ("success", None, "", 0, "Failed", False, 422)]
    [False, False, False, False, True, True, True]
    """
    match status:
        case str():
            return status.strip().lower() not in ("", "success")
        case bool():
            return not status
        case int():
            return status >= _BAD_REQUEST
        case _:
            return False


def _data(answer: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return the `data` of an envelope; an answer without one is read as if it were the data."""
    return _folded(answer["data"]) if "data" in answer else answer


def _text(value: object) -> str:
    if value is None or isinstance(value, (dict, list)):
        return ""
    return str(value).strip()


_INT64_DIGITS = 19


def _integer(value: object) -> int | None:
    """Return an integer that may be written as text (C9), else None.

    >>> _integer("17"), _integer(17), _integer("x"), _integer(True)
    (17, 17, None, None)
    """
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,19}\s*", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _items(value: object) -> list[t.Any]:
    """Return a list as it is, null as an empty one, and anything else as the only element."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _integers(values: Iterable[object]) -> frozenset[int]:
    return frozenset(number for value in values if (number := _integer(value)) is not None)


def _invalid_ids(data: dict[str, t.Any]) -> frozenset[int]:
    return _integers(
        item
        for key in ("invalidcontactids", "invalidcontactidlist")
        for item in _items(data.get(key))
    )


def _invalid_properties(data: dict[str, t.Any]) -> Iterator[InvalidProperty]:
    for key in ("invalidproperties", "invalidpropertieslist"):
        for item in _items(data.get(key)):
            if isinstance(item, dict):
                yield _named_property(_folded(item))
            elif text := _text(item):
                yield InvalidProperty(None, text)


def _named_property(item: dict[str, t.Any]) -> InvalidProperty:
    return InvalidProperty(
        _text(item.get("propertyid")) or None,
        _text(item.get("propertyname")) or None,
        value if isinstance(value := item.get("propertyvalue"), str) else None,
    )


def _tally(value: object) -> tuple[int, frozenset[int]]:
    """Read a count and its contact ids; the longer of the two is the count."""
    outcome = _folded(value)
    ids = _items(outcome.get("contactids"))
    count = _integer(outcome.get("count") if outcome else value) or 0
    return max(count, len(ids)), _integers(ids)


def _lifetime(answer: Mapping[str, t.Any]) -> float | None:
    try:
        issued = dt.datetime.fromisoformat(answer["issued"])
        expires = dt.datetime.fromisoformat(answer["expires"])
        seconds = (expires - issued).total_seconds()
    except (KeyError, TypeError, ValueError):
        seconds = 0.0
    if seconds <= 0:
        seconds = float(_integer(answer.get("expiresin")) or 0)
    return seconds if seconds > 0 else None


# --- Reading refusals -----------------------------------------------------------------------

_EMAIL = re.compile(r"[^\s\"'<>()\[\],;:]+@[^\s\"'<>()\[\],;:]+\.[^\W_]+")
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


def _leaves(
    value: object, path: str = "", key: str = "", depth: int = 0
) -> Iterator[tuple[str, str, object]]:
    """Yield (path as spelt, nearest key folded, value) of all that is no object or array."""
    if depth > _DEEPEST:
        return
    if isinstance(value, dict):
        for name, item in value.items():
            folded = name.replace("_", "").lower()
            if folded not in _NOT_ABOUT_CONTACTS:
                yield from _leaves(item, f"{path}.{name}" if path else name, folded, depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, path, key, depth + 1)
    else:
        yield path, key, value


_DEEPEST = 20


def _refusal_in_json(status: int, answer: object) -> Refusal:
    envelope = _folded(answer)
    data = _folded(envelope.get("data"))
    said = [text for key in _MESSAGES if isinstance(text := envelope.get(key), str)]
    said += [text for key in _MESSAGES if isinstance(text := data.get(key), str)]
    said += _errors_in_words(envelope.get("errors") or data.get("errors"))
    if not isinstance(answer, dict):
        said += _errors_in_words(answer)
    return Refusal(status, _sentence(said), _suspects(answer, {**envelope, **data}))


def _errors_in_words(errors: object) -> list[str]:
    """Return the first few of problem details' errors: a map of paths, or a list of objects."""
    words = []
    for path, _, value in _leaves(errors):
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
        text = re.sub(r"(?is)<(script|style)\b.*?</\1\s*>", " ", text)
        title = re.search(r"(?is)<(title|h1)[^>]*>(.*?)</\1>", text)
        said = title[2] if title else text
        text = html.unescape(re.sub(r"<[^>]*>", " ", text))
        said = html.unescape(re.sub(r"<[^>]*>", " ", said))
    else:
        # Cut-off JSON and binary data say nothing to people.
        said = "" if text.lstrip()[:1] in ("{", "[") or "\ufffd" in text else text
    return Refusal(status, _sentence([said]), _suspects(text, {}))


def _sentence(said: Iterable[str]) -> str:
    """Join what an answer says into one bounded line; what it says twice stands there once."""
    lines = [" ".join(text.split()) for text in said]
    text = "; ".join(dict.fromkeys(line for line in lines if line))
    return text if len(text) <= _MESSAGE_LENGTH else text[: _MESSAGE_LENGTH - 1] + "…"


def _suspects(answer: object, data: dict[str, t.Any]) -> Suspects:
    positions: set[int] = set()
    contact_ids: set[int] = set(_invalid_ids(data))
    emails: set[str] = set()
    numbers: set[int] = set()
    for path, key, value in _leaves(answer):
        number = _integer(value)
        if number is not None and key in ("contactid", "contactids"):
            contact_ids.add(number)
        elif number is not None and key == "mobilenumber":
            numbers.add(number)
        for text in (path, value) if isinstance(value, str) else (path,):
            positions.update(int(next(filter(None, m))) for m in _POSITION.findall(text))
            contact_ids.update(int(m) for m in _CONTACT_ID.findall(text))
            emails.update(m.strip(".").casefold() for m in _EMAIL.findall(text))
            numbers.update(_numbers_in(text))
    return Suspects(
        positions=frozenset(positions),
        contact_ids=frozenset(contact_ids),
        emails=frozenset(emails),
        numbers=frozenset(numbers),
        properties=tuple(_invalid_properties(data)),
    )


def _numbers_in(text: str) -> Iterator[int]:
    for written in _NUMBER.findall(text):
        digits = re.sub(r"\D", "", written)
        if len(digits) <= _INT64_DIGITS:
            yield int(digits)
    for digits in re.findall(r"(?<!\d)\d{5,19}(?!\d)", text):
        yield int(digits)


def _numbers_of(contact: Contact) -> Iterator[int]:
    """Yield the numbers by which an answer might mean this contact."""
    if contact.mobile is not None:
        country_code, number = contact.mobile.country_code, contact.mobile.number
        yield number
        if country_code is not None:
            yield int(f"{country_code}{number}")
    if contact.contact_id is not None:
        yield contact.contact_id


def _carries(contact: Contact, named: InvalidProperty) -> bool:
    """Tell whether a contact has the property, with the value if one is named."""
    return any(
        _is_named(ref, named) and named.value in (None, value)
        for ref, value in contact.properties.items()
    )


def _is_named(ref: PropertyRef, named: InvalidProperty) -> bool:
    """Tell whether an answer means this property: by id where both have one, else by name.

    Where an answer lists bare texts, an id looks like a name.
    """
    property_id, name = ((part or "").casefold() for part in ref)
    if property_id and named.property_id:
        return property_id == named.property_id.casefold()
    return bool(named.name) and (named.name or "").casefold() in (property_id, name)
