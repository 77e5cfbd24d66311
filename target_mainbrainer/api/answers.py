"""Answers of the API, decoded: outcomes of requests, refusals, batch statuses, tokens."""

from __future__ import annotations

import datetime as dt
import html
import re
import typing as t
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from http import HTTPStatus

import msgspec

from target_mainbrainer import errors
from target_mainbrainer.api.http import Endpoint, Response
from target_mainbrainer.contacts import Contact, PropertyRef
from target_mainbrainer.privacy import Redactor, values_of
from target_mainbrainer.words import shown

_T = t.TypeVar("_T")
_INT64 = 2**63
_INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_TRAILING_COMMA = re.compile(rb'("(?:[^"\\]|\\.)*+"?)|,(?=\s*+[}\]])', re.DOTALL)
"""Strings are matched whole, so that a comma inside one stays, and open ones to the very end."""


class UnreadableResponseError(Exception):
    """A response is not one of the API's.

    Attributes:
        cut_off: It begins like a response of the API, but the end of it is missing.
    """

    def __init__(self, *, cut_off: bool = False) -> None:
        super().__init__()
        self.cut_off = cut_off


def decode(body: bytes) -> t.Any:  # noqa: ANN401 - any JSON value
    """Decode JSON, even with the trailing comma that the batch page's own sample has.

    Raises:
        UnreadableResponseError: It is not JSON.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    problem = ""
    for text in (body, _TRAILING_COMMA.sub(rb"\1", body)):
        try:
            return msgspec.json.decode(text)
        except (ValueError, RecursionError) as error:
            problem = str(error)
    raise UnreadableResponseError(cut_off="truncated" in problem)


def decode_object(body: bytes, names: Collection[str]) -> dict[str, t.Any]:
    """Decode a JSON object and fold it.

    Raises:
        UnreadableResponseError: It is not JSON, or an object without any of these names.
    """
    found = folded(decode(body))
    if found.keys().isdisjoint(names):
        raise UnreadableResponseError
    return found


def folded(value: object) -> dict[str, t.Any]:
    """Return an object with its keys in lower case and without underscores; {} for all else.

    >>> folded({"Batch_Id": 1, "message": ""})
    {'batchid': 1, 'message': ''}
    """
    items = value.items() if isinstance(value, dict) else ()
    return {key.replace("_", "").lower(): item for key, item in items}


def text_of(value: object) -> str:
    """Return a plain value as text; "" for null, objects and lists."""
    return "" if value is None or isinstance(value, (dict, list)) else str(value).strip()


def integer_of(value: object) -> int | None:
    """Return a 64-bit integer, written as a number or as a text (API note, C9), else None.

    >>> [integer_of(value) for value in ("17", 17, "x", True, 17.5, 10**19)]
    [17, 17, None, None, None, None]
    """
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not -_INT64 <= value < _INT64:
        return None
    return value


def items_of(value: object) -> list[t.Any]:
    """Return a list as it is, nothing as an empty one, and anything else as the only element."""
    if not value:
        return []
    return value if isinstance(value, list) else [value]


_CONTACTS = ("invalidcontactids", "invalidcontactidlist")
_PROPERTIES = ("invalidproperties", "invalidpropertieslist")


@dataclass(frozen=True)
class InvalidContacts:
    """The contacts that a response names as invalid; none of them is "fine" (API note, C5).

    Attributes:
        ids: Those named by an integer.
        unreadable: How many entries name a contact in another way: an e-mail address, a UUID.
    """

    ids: frozenset[int] = frozenset()
    unreadable: int = 0


class InvalidProperty(t.NamedTuple):
    """A property that a response complains about, as far as the response names it."""

    property_id: str | None
    name: str | None
    value: str | None = None


def invalid_contacts(data: Mapping[str, t.Any]) -> InvalidContacts:
    """Return the contacts that the folded `data` of a response names as invalid.

    >>> invalid_contacts({"invalidcontactids": [17, "18", "a@b.example"]})
    InvalidContacts(ids=frozenset({17, 18}), unreadable=1)
    """
    entries = [integer_of(entry) for key in _CONTACTS for entry in items_of(data.get(key))]
    ids = frozenset(entry for entry in entries if entry is not None)
    return InvalidContacts(ids, entries.count(None))


def invalid_properties(data: Mapping[str, t.Any]) -> tuple[InvalidProperty, ...]:
    """Return the properties that the folded `data` of a response names as invalid.

    >>> invalid_properties({"invalidproperties": ["zip", {"propertyId": "8e8b"}]})
    ... # doctest: +NORMALIZE_WHITESPACE
    (InvalidProperty(property_id=None, name='zip', value=None),
     InvalidProperty(property_id='8e8b', name=None, value=None))
    """
    return tuple(_invalid_property(item) for key in _PROPERTIES for item in items_of(data.get(key)))


def _invalid_property(item: object) -> InvalidProperty:
    if not isinstance(item, dict):
        return InvalidProperty(None, text_of(item))
    named = folded(item)
    property_id, name = (text_of(named.get(key)) or None for key in ("propertyid", "propertyname"))
    value = named.get("propertyvalue")
    return InvalidProperty(property_id, name, value if isinstance(value, str) else None)


def properties_sent(
    named: Iterable[InvalidProperty], sent: Iterable[PropertyRef]
) -> tuple[frozenset[str], int]:
    """Return the names or ids of the properties meant, as we sent them, and how many are unknown.

    What a response calls a property may be anything, a person's data too. Only what was in the
    request may be shown; everything else is a number.

    >>> from target_mainbrainer.contacts import PropertyRef
    >>> named = [InvalidProperty(None, "ZIP"), InvalidProperty(None, "Kari Nordmann")]
    >>> properties_sent(named, [PropertyRef(None, "zip")])
    (frozenset({'zip'}), 1)
    """
    refs = set(sent)
    meant = [
        {ref.name or ref.property_id or "" for ref in refs if is_meant(ref, one)}
        for one in set(named)
    ]
    return frozenset().union(*meant), meant.count(set())


def is_meant(ref: PropertyRef, named: InvalidProperty) -> bool:
    """Return whether a response means this property: by id where both have one, else by name.

    Where a response lists bare texts, an id looks like a name.
    """
    property_id, name = ((part or "").casefold() for part in ref)
    if property_id and named.property_id:
        return property_id == named.property_id.casefold()
    return bool(named.name) and (named.name or "").casefold() in (property_id, name)


_MESSAGE_LENGTH = 4000
"""More than `redact` reads, so that no value is cut in half before it is taken out."""

_TEXT_LENGTH = 200_000
_PAGE_LENGTH = 20_000
"""Of longer texts and pages only the beginning is searched, which a hostile server cannot slow."""

_TITLE = re.compile(r"<(?:title|h1)[^<>]*>([^<]*)<", re.IGNORECASE)
_ERRORS_QUOTED = 3
_INT64_DIGITS = 19
_NUMBER = re.compile(r"\d{5,}|\+?\d(?:[ ().\-/]{0,2}\d){4,}")
_POSITION = re.compile(r"contacts\[(\d{1,4})\]", re.IGNORECASE)
_CONTACT_ID = re.compile(r"contact[\s_-]?ids?\W{0,4}(\d{1,19})(?!\d)", re.IGNORECASE)
_PLACE = re.compile(r"propertyfields\[(\d+)\](?:\.property(?:name|id|value))?", re.IGNORECASE)
"""How the API names a property of a contact: by its place in what was sent."""

_MESSAGES = ("message", "title", "detail", "error", "errordescription")


class Words(t.NamedTuple):
    """Words of a refusal; equal for equal reasons, for any contact."""

    status: int
    message: str


@dataclass(frozen=True)
class Refused:
    """MainBrainer refuses what was sent: the whole request, for one bad contact or for itself.

    Attributes:
        status: The HTTP status; a 2xx when only the response's own `status` says that it failed.
        unredacted: What the response says to people, "" if nothing. It may repeat contact data;
            `words` do not.
        contacts: The contacts sent.
        suspects: The places of those that it names; none if it names all.
        redactor: Removes their data from what is said.
        follows_lost_answer: An answer was lost before this one, so that MainBrainer may have
            accepted the request all the same.
    """

    status: int
    unredacted: str = field(default="", repr=False)
    contacts: Sequence[Contact] = ()
    suspects: Sequence[int] = ()
    redactor: Redactor = field(default=Redactor(), compare=False, repr=False)
    follows_lost_answer: bool = field(default=False, compare=False)

    @cached_property
    def words(self) -> Words:
        """Its words, without anything of the contacts it is about.

        A property of a contact that was refused alone has its own name in it, instead of its
        place.
        """
        said = self.redactor.redact(self.unredacted, values_of(self.contacts))
        if len(self.contacts) == 1:
            properties = list(self.contacts[0].properties)
            said = _PLACE.sub(lambda place: _name_of(place, properties), said)
        return Words(self.status, said)

    @property
    def is_too_large(self) -> bool:
        """Whether fewer contacts at once may pass."""
        return self.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and len(self.contacts) > 1


def _name_of(place: re.Match[str], properties: Sequence[PropertyRef]) -> str:
    """Return the name of the property that the API names by its place, if there is one."""
    if (number := int(place[1])) >= len(properties):
        return place[0]
    return f"property '{shown(properties[number].name or properties[number].property_id or '')}'"


def decode_refusal(response: Response, contacts: Sequence[Contact] = ()) -> Refused:
    """Return the message of a refusal and which of the contacts sent it names.

    No page shows the body of an error (API note, section 4.3). Read are the envelope of the other
    answers, the problem details of ASP.NET, a plain text, and the title of a page.

    >>> from target_mainbrainer.api.http import Response
    >>> from target_mainbrainer.contacts import Contact
    >>> body = b'{"title": "Bad", "errors": {"createUpdateContacts[3].email": ["Not valid."]}}'
    >>> refusal = decode_refusal(Response(400, body), [Contact()] * 5)
    >>> refusal.unredacted, refusal.suspects
    ('Bad; createUpdateContacts[3].email: Not valid.', [3])
    """
    try:
        content = decode(response.body)
    except UnreadableResponseError:
        return _refusal_in_words(response, contacts)
    return _refusal_in_json(response.status, content, contacts)


def _refusal_in_json(status: int, content: object, contacts: Sequence[Contact]) -> Refused:
    envelope = folded(content)
    data = folded(envelope.get("data"))
    texts = [content, *(part.get(key) for part in (envelope, data) for key in _MESSAGES)]
    said = [text for text in texts if isinstance(text, str)]
    said += _errors_in_words(envelope.get("errors"))
    suspects = _suspects(msgspec.json.encode(content).decode(), data, contacts)
    return Refused(status, _sentence(said), contacts, suspects)


def _errors_in_words(errors: object) -> list[str]:
    """Return the first few of problem details' errors, which are texts by path."""
    by_path = errors.items() if isinstance(errors, dict) else ()
    said = [(path, text_of(text)) for path, texts in by_path for text in items_of(texts)]
    return [f"{path}: {text}" if path else text for path, text in said[:_ERRORS_QUOTED]]


def _refusal_in_words(response: Response, contacts: Sequence[Contact]) -> Refused:
    text = said = response.body.decode("utf-8", errors="replace")
    if "html" in response.content_type.lower() or text.lstrip()[:1] == "<":
        title = _TITLE.search(text[:_PAGE_LENGTH])
        said = html.unescape(title[1]) if title else ""
    elif text.lstrip()[:1] in ("{", "[") or "\ufffd" in text:
        said = ""  # cut-off JSON and binary data say nothing to people
    return Refused(response.status, _sentence([said]), contacts, _suspects(text, {}, contacts))


def _sentence(said: Iterable[str]) -> str:
    """Join what a response says into one bounded line; what it says twice stands there once."""
    lines = [" ".join(text.split()) for text in said]
    text = "; ".join(dict.fromkeys(line for line in lines if line))
    return text if len(text) <= _MESSAGE_LENGTH else text[: _MESSAGE_LENGTH - 1] + "…"


def _suspects(text: str, data: Mapping[str, t.Any], contacts: Sequence[Contact]) -> list[int]:
    """Return the places of the contacts that a refusal names; none if it names all.

    To be named proves nothing: a suspect is rejected only after it was sent alone and refused
    again. Of places only the spelling of a path counts (`createUpdateContacts[3].email`):
    "contact 4" may count from 0 or from 1.

    Args:
        text: All that the response says.
        data: Its folded `data`.
        contacts: Those sent.
    """
    text = text[:_TEXT_LENGTH].casefold()
    positions = set(map(int, _POSITION.findall(text)))
    numbers = _numbers_in(text) | invalid_contacts(data).ids
    properties = invalid_properties(data)
    found = [
        index
        for index, contact in enumerate(contacts)
        if index in positions
        or (contact.email is not None and contact.email.casefold() in text)
        or not numbers.isdisjoint(_numbers_of(contact))
        or any(_carries(contact, one) for one in properties)
    ]
    return found if len(found) < len(contacts) else []


def _numbers_in(text: str) -> set[int]:
    written = [re.sub(r"\D", "", number) for number in _NUMBER.findall(text)]
    written += re.findall(r"(?<!\d)\d{5,19}(?!\d)", text) + _CONTACT_ID.findall(text)
    return {int(digits) for digits in written if len(digits) <= _INT64_DIGITS}


def _numbers_of(contact: Contact) -> set[int | None]:
    """Return the numbers by which a response might mean this contact."""
    code, number = contact.mobile or (None, None)
    return {contact.contact_id, number, None if number is None else int(f"{code}{number}")}


def _carries(contact: Contact, named: InvalidProperty) -> bool:
    """Return whether a contact has the property, with the value if one is named."""
    return any(
        is_meant(ref, named) and named.value in (None, value)
        for ref, value in contact.properties.items()
    )


_LONGEST_BATCH_ID = 200
"""The pages show UUIDs. What is longer cannot be asked for, and would be kept in memory."""


@dataclass(frozen=True)
class Accepted:
    """MainBrainer has accepted a request, perhaps not all of it (API note, C4).

    Attributes:
        batch_id: The id under which the status of a batch is asked for. None if the response has
            none: the batch is accepted but cannot be tracked, and is never to be sent again.
        invalid_contacts: Contacts it says it cannot place.
        invalid_properties: Properties it says it has ignored.
        follows_lost_answer: An answer was lost before this one, so that MainBrainer may have
            accepted the request twice, and may apply it a second time after later ones.
    """

    batch_id: str | None = None
    invalid_contacts: InvalidContacts = field(default=InvalidContacts())
    invalid_properties: tuple[InvalidProperty, ...] = ()
    follows_lost_answer: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class BatchStatus:
    """How far a batch is (API note, section 6).

    Attributes:
        inserted_ids: Contact ids of new contacts, as far as the status names them.
        updated_ids: Contact ids of known contacts, as far as the status names them.
        skipped_ids: Contact ids of skipped contacts; fewer than `skipped` where a contact has
            none.
        failed_reason: Why the batch failed, "" if nothing says that it did. May contain
            contact data: `redact` it before it goes anywhere.
    """

    inserted: int = 0
    updated: int = 0
    skipped: int = 0
    inserted_ids: frozenset[int] = frozenset()
    updated_ids: frozenset[int] = frozenset()
    skipped_ids: frozenset[int] = frozenset()
    failed_reason: str = field(default="", repr=False)

    @property
    def processed(self) -> int:
        """How many contacts of the batch have been dealt with."""
        return self.inserted + self.updated + self.skipped


@dataclass(frozen=True)
class Token:
    """A bearer token.

    Attributes:
        lifetime_seconds: How long it lives from its receipt on, None if the answer does not say.
    """

    value: str = field(repr=False)
    lifetime_seconds: float | None = None


def decode_accepted(response: Response, contacts: Sequence[Contact] = ()) -> Accepted | Refused:
    """Read the 2xx response to a batch or a contact.

    One that says of itself that it failed is a refusal (API note, C22).

    >>> from target_mainbrainer.api.http import Response
    >>> body = b'{"status": "Success", "data": {"BatchId": "ce2c2e48"}}'
    >>> decode_accepted(Response(202, body)).batch_id
    'ce2c2e48'
    >>> decode_accepted(Response(202, b'{"status": "Failed", "message": "No list"}')).unredacted
    'No list'

    Raises:
        UnreadableResponseError: It is not the API's, or cut off.
    """
    envelope = decode_object(response.body, ("status", "message", "data"))
    if _says_failure(envelope.get("status")):
        return _refusal_in_json(response.status, envelope, contacts)
    data = folded(envelope.get("data"))
    batch_id = text_of(data.get("batchid"))
    return Accepted(
        batch_id=batch_id if 0 < len(batch_id) <= _LONGEST_BATCH_ID else None,
        invalid_contacts=invalid_contacts(data),
        invalid_properties=invalid_properties(data),
    )


def decode_status(body: bytes) -> BatchStatus:
    """Read the status of a batch, in the CRM's spelling or its siblings' (API note, section 6).

    >>> counts = b'{"inserted": {"count": 2, "contactIds": [5, 6]}, "skipped": {"count": 1}}'
    >>> status = decode_status(b'{"id": "ce2c2e48", "status": 1, "processedObj": ' + counts + b"}")
    >>> status.inserted, status.updated, status.skipped
    (2, 0, 1)

    Raises:
        UnreadableResponseError: It is not a batch's status.
    """
    status = decode_object(body, ("processedobj", "statustext", "statusfailedreason", "status"))
    counts = folded(status.get("processedobj"))
    found: dict[str, t.Any] = {}
    for name in ("inserted", "updated", "skipped"):
        found[name], found[f"{name}_ids"] = _count(counts.get(name))
    return BatchStatus(**found, failed_reason=_failed_reason(status.get("statusfailedreason")))


def decode_token(body: bytes) -> Token:
    """Read a new token.

    Its life is `expires` less `issued`, which no wrong clock can spoil. `expires_in` is the
    fallback, and then in seconds: the sample's figure means minutes, but renewing too early does
    no harm (API note, section 7).

    >>> decode_token(b'{"access_token": "made-up", "expires_in": 120}').lifetime_seconds
    120.0

    Raises:
        UnreadableResponseError: There is no token in it.
    """
    response = decode_object(body, ("accesstoken",))
    value = response["accesstoken"]
    if not isinstance(value, str) or not value.strip():
        raise UnreadableResponseError
    return Token(value.strip(), _lifetime(response))


def _says_failure(status: object) -> bool:
    """Return whether a response's own `status` is an explicit failure.

    >>> [_says_failure(status) for status in ("success", None, "", 0, "Failed")]
    [False, False, False, False, True]
    """
    return isinstance(status, str) and status.strip().lower() not in ("", "success")


def _failed_reason(reason: object) -> str:
    """Return why a batch failed, "" if it did not. What is not the documented text counts, too.

    >>> _failed_reason("Out of contacts"), _failed_reason(None), _failed_reason({"code": 7})
    ('Out of contacts', '', '{"code":7}')
    """
    if isinstance(reason, str):
        return reason.strip()
    return msgspec.json.encode(reason).decode() if reason else ""


def _count(value: object) -> tuple[int, frozenset[int]]:
    """Return a count and its contact ids; the longer of the two is the count."""
    outcome = folded(value)
    ids = items_of(outcome.get("contactids"))
    count = integer_of(outcome.get("count")) or 0
    known = (number for number in map(integer_of, ids) if number is not None)
    return max(count, len(ids)), frozenset(known)


def _lifetime(response: Mapping[str, t.Any]) -> float | None:
    try:
        issued, expires = (dt.datetime.fromisoformat(response[k]) for k in ("issued", "expires"))
        seconds = (expires - issued).total_seconds()
    except (KeyError, TypeError, ValueError, OverflowError):
        seconds = 0.0
    if seconds <= 0:
        seconds = float(integer_of(response.get("expiresin")) or 0)
    return seconds if seconds > 0 else None


_REFUSALS = frozenset({400, 409, 413, 422})
"""Refusals of what was sent rather than of the request (API note, section 4.3)."""

_ADVICE = {
    403: "Check that the account and its token are allowed to do this.",
    404: "Check 'api_url'.",
    405: "Check 'api_url'.",
    402: "Check the account's plan and balance.",
    406: "The account's plan may have expired, or its balance be used up: check both there.",
}


@dataclass(frozen=True)
class Answer:
    """A response to one request, with all that is needed to say what is wrong with it.

    After `raise_for_status` one of the others is to be called. Each of them raises a
    `TransientError` for a response that is cut off, and a `ProtocolError` for one that is not the
    API's.

    Attributes:
        redactor: Removes personal data and secrets from what the server says.
        contacts: The contacts sent.
    """

    endpoint: Endpoint
    response: Response
    redactor: Redactor
    contacts: Sequence[Contact] = ()

    def raise_for_status(self) -> None:
        """Raise if the status alone says that there is nothing to read, for any question.

        Raises:
            TransientError: It asks to try again.
            ProtocolError: It is a redirect, or no status of the API's.
        """
        endpoint, response, status = self.endpoint, self.response, self.response.status
        message = f"MainBrainer answered {response.reason} to {endpoint}."
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            raise errors.TooManyRequestsError(message, retry_after=response.retry_after)
        if status == HTTPStatus.REQUEST_TIMEOUT or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise errors.TransientError(message, retry_after=response.retry_after)
        if not response.is_success and status < HTTPStatus.BAD_REQUEST:
            raise errors.ProtocolError(
                f"{endpoint.host} answered {response.reason} to {endpoint}. Redirects are never "
                "followed, because the token and the contacts would go with them. Check 'api_url' "
                "and 'auth_url', and any proxy in between."
            )

    def accepted(self) -> Accepted | Refused:
        """Return the outcome of a batch or a contact.

        Raises:
            RequestRefusedError: The request is refused, with any contacts in it.
        """
        response = self.response
        if response.is_success and not response.body.strip():
            return Accepted()
        if response.is_success:
            outcome = self._decoded(lambda _: decode_accepted(response, self.contacts))
        elif response.status in _REFUSALS:
            outcome = decode_refusal(response, self.contacts)
        else:
            raise self._refused()
        if isinstance(outcome, Accepted):
            return outcome
        return replace(outcome, redactor=self.redactor)

    def batch_status(self) -> BatchStatus:
        """Return how far a batch is.

        Raises:
            RequestRefusedError: The API refuses to say.
        """
        if not self.response.is_success:
            raise self._refused()
        return self._decoded(decode_status)

    def check(self) -> None:
        """Accept every response of the API's own, "no such batch" above all.

        Raises:
            RequestRefusedError: The token may not do this.
        """
        if self.response.status == HTTPStatus.FORBIDDEN:
            raise self._refused()
        if self.response.is_success or "html" in self.response.content_type.lower():
            self._decoded(decode_status)

    def token(self) -> Token:
        """Return the new token.

        Raises:
            AuthError: The credentials are refused.
            RequestRefusedError: The address is wrong.
        """
        endpoint, reason = self.endpoint, self.response.reason
        if self.response.is_success:
            return self._decoded(decode_token)
        if self.response.status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
            raise errors.RequestRefusedError(
                f"{endpoint.host} answered {reason} to {endpoint}: no token is created there. Set "
                "'auth_url' to the full address, which MainBrainer's public pages do not print."
            )
        raise errors.AuthError(
            f"MainBrainer refused the credentials ({reason} on {endpoint}{self._said()}). Check "
            "'username', 'password' and 'private_token'."
        )

    def _decoded(self, decode: Callable[[bytes], _T]) -> _T:
        """Decode a response that should be the API's.

        One that is cut off counts as lost: the request was probably carried out, and sending it
        again repeats the same upsert. One that is not the API's ends the run.
        """
        endpoint, response = self.endpoint, self.response
        try:
            return decode(response.body)
        except UnreadableResponseError as unreadable:
            if unreadable.cut_off:
                raise errors.TransientError(
                    f"The response to {endpoint} broke off ({len(response.body)} bytes came)."
                ) from None
        content_type = self.redactor.redact(response.content_type)
        kind = f" of type '{content_type}'" if content_type else ""
        raise errors.ProtocolError(
            f"{endpoint.host} answered {endpoint} with {response.reason} and a body{kind} that is "
            "not MainBrainer's. Check 'api_url' and 'auth_url', and any proxy in between."
        )

    def _refused(self) -> errors.RequestRefusedError:
        advice = _ADVICE.get(self.response.status, "Check the settings and the account.")
        return errors.RequestRefusedError(
            f"MainBrainer refused {self.endpoint} with {self.response.reason}{self._said()}. "
            f"The contacts are not the cause. {advice}"
        )

    def _said(self) -> str:
        said = decode_refusal(self.response).unredacted
        said = self.redactor.redact(said, values_of(self.contacts)).rstrip(".")
        return f", saying: {said}" if said else ""
