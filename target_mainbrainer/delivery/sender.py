"""One request with contacts in it, and what its answer says about them."""

from __future__ import annotations

import re
import typing as t
from functools import cached_property

from target_mainbrainer.api.answers import Refusal, TooLarge, find_suspects
from target_mainbrainer.api.requests import encode_batch, encode_contact, encode_single
from target_mainbrainer.privacy.redaction import redact, values_of
from target_mainbrainer.wording import shown

if t.TYPE_CHECKING:
    from collections.abc import Sequence

    from target_mainbrainer.api.answers import Accepted
    from target_mainbrainer.api.client import MainBrainerClient
    from target_mainbrainer.contacts.contact import PropertyRef
    from target_mainbrainer.delivery.batch import Destination
    from target_mainbrainer.delivery.pending_contact import PendingContact

_PLACE = re.compile(r"propertyfields\[(\d+)\](?:\.property(?:name|id|value))?", re.IGNORECASE)
"""How the API names a property of a contact: by its place in what was sent."""


class Refused:
    """The API has refused a request for what is in it.

    Attributes:
        refusal: What it said, unredacted.
        contacts: What was sent.
    """

    def __init__(self, refusal: Refusal, contacts: Sequence[PendingContact]) -> None:
        self.refusal = refusal
        self.contacts = contacts

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.refusal.status

    @cached_property
    def message(self) -> str:
        """What the API said, without anything of the contacts it is about."""
        said = redact(self.refusal.message, values_of(c.contact for c in self.contacts))
        if len(self.contacts) > 1:
            return said
        properties = list(self.contacts[0].contact.properties)
        return _PLACE.sub(lambda place: _name_of(place, properties), said)

    @property
    def words(self) -> tuple[int, str]:
        """Status and message; equal for equal reasons, whatever contact they name."""
        return self.status, self.message

    @property
    def suspects(self) -> list[PendingContact]:
        """The contacts that the refusal names; none if it names all."""
        places = find_suspects(self.refusal, [c.contact for c in self.contacts])
        return [self.contacts[place] for place in places]


def _name_of(place: re.Match[str], properties: Sequence[PropertyRef]) -> str:
    """Return what we call the property that the API names by its place, if there is one."""
    number = int(place[1])
    if number >= len(properties):
        return place[0]
    ref = properties[number]
    return f"property '{shown(ref.name or ref.property_id or '')}'"


class Sender:
    """Encodes contacts and sends them, alone or as a batch."""

    def __init__(self, client: MainBrainerClient) -> None:
        self._client = client

    def send(
        self, destination: Destination, contacts: Sequence[PendingContact], *, alone: bool
    ) -> Accepted | TooLarge | Refused:
        """Send contacts in one request, and return what the API says about them.

        Raises:
            TargetMainBrainerError: It says nothing about them, and the run cannot go on.
        """
        response = self._post(destination, contacts, alone=alone)
        if isinstance(response, Refusal):
            return Refused(response, contacts)
        return response

    def _post(
        self, destination: Destination, contacts: Sequence[PendingContact], *, alone: bool
    ) -> Accepted | TooLarge | Refusal:
        if alone:
            (only,) = contacts
            body = encode_single(only.contact, list_id=destination.list_id)
            return self._client.post_contact(body)
        return self._client.post_batch(_body(destination, contacts), size=len(contacts))


def _body(destination: Destination, contacts: Sequence[PendingContact]) -> bytes:
    parts = [contact.encoded or encode_contact(contact.contact) for contact in contacts]
    for contact in contacts:
        contact.encoded = None  # it is in the body now, and needed again only after a refusal
    return encode_batch(parts, list_id=destination.list_id, webhook_url=destination.webhook_url)
