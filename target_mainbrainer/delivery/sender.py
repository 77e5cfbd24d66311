"""One request with contacts in it, and what its answer says about them."""

from __future__ import annotations

import typing as t
from functools import cached_property

from target_mainbrainer.api.refusals import Refusal, TooLarge, find_suspects
from target_mainbrainer.api.requests import encode_batch, encode_contact, encode_single
from target_mainbrainer.privacy.redaction import redact, values_of

if t.TYPE_CHECKING:
    from collections.abc import Sequence

    from target_mainbrainer.api.client import MainBrainerClient
    from target_mainbrainer.api.responses import Accepted
    from target_mainbrainer.delivery.batch import Destination
    from target_mainbrainer.delivery.pending_contact import PendingContact


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
        return redact(self.refusal.message, values_of(c.contact for c in self.contacts))

    @property
    def words(self) -> tuple[int, str]:
        """Status and message; equal for equal reasons, whatever contact they name."""
        return self.status, self.message

    @property
    def suspects(self) -> list[PendingContact]:
        """The contacts that the refusal names; none if it names all."""
        places = find_suspects(self.refusal, [c.contact for c in self.contacts])
        return [self.contacts[place] for place in places]


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
