"""Responses to what was accepted: batches, single contacts, batch statuses, tokens.

They are read without regard to case and underscores, in every shape the pages print, because no
page shows what the live service really sends (API note, sections 4.2, 6, 7 and C3). Nothing in
here knows a network, a clock or Singer, and no error holds any part of a body.
"""

from __future__ import annotations

import datetime as dt
import typing as t
from dataclasses import dataclass, field

from target_mainbrainer.api.invalid import (
    InvalidContacts,
    InvalidProperty,
    invalid_contacts,
    invalid_properties,
)
from target_mainbrainer.api.lenient_json import (
    UnreadableResponseError,
    all_named,
    decode_object,
    folded,
    integer_of,
    items_of,
    leaves,
    text_of,
)
from target_mainbrainer.api.refusals import Refusal, refusal_in_json

if t.TYPE_CHECKING:
    from collections.abc import Mapping

_ENVELOPE = frozenset(["status", "message", "data", "batchid", "contactid"])
_STATUS = frozenset(["processedobj", "statustext", "statusfailedreason", "status"])
_LONGEST_BATCH_ID = 200
"""The pages show UUIDs. What is longer cannot be asked for, and would be kept in memory."""

_BAD_REQUEST = 400


@dataclass(frozen=True)
class Accepted:
    """MainBrainer has taken a request, perhaps not all of it (API note, C4).

    Attributes:
        batch_id: What to ask for the status of a batch with. None if the response has none: the
            batch is accepted but cannot be tracked, and is never to be sent again.
        contact_id: The id of a contact that was sent alone, if the response names it (API note,
            section 5).
        invalid_contacts: Contacts it says it cannot place.
        invalid_properties: Properties it says it has not taken.
        may_come_twice: An answer was lost before this one, so that MainBrainer may have taken the
            request twice, and may apply it a second time after later ones.
    """

    batch_id: str | None = None
    contact_id: int | None = None
    invalid_contacts: InvalidContacts = field(default=InvalidContacts())
    invalid_properties: tuple[InvalidProperty, ...] = ()
    may_come_twice: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class BatchStatus:
    """How far a batch is (API note, section 6).

    Attributes:
        inserted_ids: Contact ids of new contacts, as far as the status names them.
        updated_ids: Contact ids of known contacts, likewise.
        skipped_ids: Contact ids of skipped contacts; fewer than `skipped` where a contact has
            none.
        failed_reason: Why the batch failed, "" if nothing says that it did. May hold contact
            data: `redact` it before it goes anywhere.
        status: A number whose meaning is not documented.
        status_text: A word whose possible values are not documented.
    """

    inserted: int = 0
    updated: int = 0
    skipped: int = 0
    inserted_ids: frozenset[int] = frozenset()
    updated_ids: frozenset[int] = frozenset()
    skipped_ids: frozenset[int] = frozenset()
    failed_reason: str = field(default="", repr=False)
    status: int | None = None
    status_text: str = ""

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


def decode_accepted(status: int, body: bytes) -> Accepted | Refusal:
    """Read the 2xx response to a batch or a contact.

    One that says of itself that it failed is a refusal (API note, C22).

    >>> decode_accepted(202, b'{"status": "Success", "data": {"BatchId": "ce2c2e48"}}').batch_id
    'ce2c2e48'
    >>> decode_accepted(202, b'{"status": "Success", "data": {"contactId": "17"}}').contact_id
    17
    >>> decode_accepted(202, b'{"status": "Failed", "message": "No such list"}').message
    'No such list'

    Raises:
        UnreadableResponseError: It is not the API's, or cut off.
    """
    response = decode_object(body)
    envelope = folded(response)
    if not envelope.keys() & _ENVELOPE:
        reason = "it has none of the fields of the API's responses"
        raise UnreadableResponseError(reason)
    if any(map(_says_failure, all_named(response, "status"))):
        return refusal_in_json(status, response)
    # A response without `data` is read as if it were the data.
    data = folded(envelope["data"]) if "data" in envelope else envelope
    batch_id = text_of(data.get("batchid"))
    return Accepted(
        batch_id=batch_id if 0 < len(batch_id) <= _LONGEST_BATCH_ID else None,
        contact_id=integer_of(data.get("contactid")),
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
    response: t.Any = decode_object(body)
    inner = folded(response).get("data")
    if folded(inner).keys() & {"processedobj", "statustext"}:
        response = inner
    status = folded(response)
    if not status.keys() & _STATUS:
        reason = "it has none of the fields of a batch status"
        raise UnreadableResponseError(reason)
    counts = folded(status.get("processedobj"))
    inserted, inserted_ids = _count(counts.get("inserted"))
    updated, updated_ids = _count(counts.get("updated"))
    skipped, skipped_ids = _count(counts.get("skipped"))
    return BatchStatus(
        inserted=inserted,
        updated=updated,
        skipped=skipped,
        inserted_ids=inserted_ids,
        updated_ids=updated_ids,
        skipped_ids=skipped_ids,
        failed_reason=_failed_reason(response),
        status=integer_of(status.get("status")),
        status_text=text_of(status.get("statustext")),
    )


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
    response = folded(decode_object(body))
    inner = folded(response.get("data"))
    if "accesstoken" in inner:
        response = inner
    value = response.get("accesstoken")
    if not isinstance(value, str) or not value.strip():
        reason = "it holds no access token"
        raise UnreadableResponseError(reason)
    return Token(value.strip(), _lifetime(response))


def _says_failure(status: object) -> bool:
    """Return whether a response's own `status` is an explicit failure; absent and odd ones are not.

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


def _failed_reason(response: t.Any) -> str:  # noqa: ANN401 - any JSON value
    """Return why a batch failed: a text, or all that an object or a list says.

    >>> _failed_reason({"statusFailedReason": {"code": 7, "errors": ["Out of contacts"]}})
    '7; Out of contacts'
    """
    said = [
        text_of(value)
        for reason in all_named(response, "statusfailedreason")
        for _, _, value in leaves(reason)
        if value is not False
    ]
    return "; ".join(dict.fromkeys(text for text in said if text))


def _count(value: object) -> tuple[int, frozenset[int]]:
    """Return a count and its contact ids; the longer of the two is the count."""
    outcome = folded(value)
    ids = items_of(outcome.get("contactids"))
    count = integer_of(outcome.get("count") if outcome else value) or 0
    known = (number for number in map(integer_of, ids) if number is not None)
    return max(count, len(ids)), frozenset(known)


def _lifetime(response: Mapping[str, t.Any]) -> float | None:
    try:
        issued = dt.datetime.fromisoformat(response["issued"])
        expires = dt.datetime.fromisoformat(response["expires"])
        seconds = (expires - issued).total_seconds()
    except (KeyError, TypeError, ValueError, OverflowError):
        seconds = 0.0
    if seconds <= 0:
        seconds = float(integer_of(response.get("expiresin")) or 0)
    return seconds if seconds > 0 else None
