"""Contacts that wait for their batch to fill up, in input order over all streams and lists."""

from __future__ import annotations

import time
import typing as t
from collections import Counter

from target_mainbrainer.api.requests import encode_contact
from target_mainbrainer.contacts.identity import identifiers_of, identity_of
from target_mainbrainer.delivery.batch import Batch
from target_mainbrainer.delivery.pending_contact import ContactPart, PendingContact

if t.TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from target_mainbrainer.contacts.contact import Contact
    from target_mainbrainer.contacts.identity import Identity
    from target_mainbrainer.delivery.batch import Destination
    from target_mainbrainer.ledger.marking import Mark
    from target_mainbrainer.report.rejects import SourceStream
    from target_mainbrainer.singer.source_record import SourceRecord

MAX_BUFFER_BYTES = 4 * 1024 * 1024
"""Records of one batch, so that long ones, or many of one contact, do not fill the memory."""

MAX_WAIT_SECONDS = 10.0
"""How long a contact waits for its batch to fill up; STATE waits with it."""


class ContactBuffer:
    """Contacts for one request, at most one for each identity.

    Within one request the API documents neither an order nor what happens to two contacts that
    turn out to be one (API note, section 8.1). So whatever may be a contact that is in here
    already, under another identity, has to wait for the next batch.

    Attributes:
        since: When the first contact came.
        size_bytes: How long the records in here are, all together.
        keys: Whatever orders them: every identifier, and every source key.
    """

    def __init__(self, since: float = 0.0) -> None:
        self.since = since
        self.size_bytes = 0
        self.keys: set[Hashable] = set()
        self._contacts: dict[Identity | None, PendingContact] = {}
        self._spellings: dict[tuple[Hashable, ...], Identity | None] = {}
        self._identities_of_known: dict[Hashable, Identity | None] = {}
        self._newest_plain = self._newest_known = -1

    def __len__(self) -> int:
        return len(self._contacts)

    @property
    def contacts(self) -> list[PendingContact]:
        """The contacts in the order in which their identities first came."""
        return list(self._contacts.values())

    def add(
        self,
        contact: Contact,
        source_record: SourceRecord,
        mark: Mark | None = None,
        *,
        identifiers: tuple[Hashable, ...],
        keys: Iterable[Hashable],
    ) -> bool:
        """Put a contact in, merged with the one of the same identity if there is one.

        It is encoded here and not when it is sent, because by then it would have to be fetched
        back from memory piece by piece, which takes several times as long.

        Args:
            contact: It has an identity.
            source_record: The record that it was made of.
            mark: What the ledger is told once its outcome counts.
            identifiers: Its identifiers.
            keys: Whatever orders it: the same, and its source key.

        Returns:
            False if it cannot go into the same request as those that are here; nothing was put in
            then, and nothing can be any more.
        """
        identity = identity_of(contact)
        pending = self._contacts.get(identity)
        if not self._fits(contact, identity, identifiers, pending):
            return False
        part = ContactPart(contact, source_record, mark)
        place = len(self._contacts)
        if pending is None:
            self._contacts[identity] = PendingContact(
                contact, identifiers, [part], place, encode_contact(contact)
            )
        else:
            pending.merge(part, identifiers)
        if contact.contact_id is not None:
            self._identities_of_known.update(dict.fromkeys(identifiers, identity))
            if pending is None:
                self._newest_known = place
        elif pending is None:
            self._newest_plain = place
        self.size_bytes += len(source_record.line)
        self.keys.update(keys)
        return True

    def _fits(
        self,
        contact: Contact,
        identity: Identity | None,
        identifiers: tuple[Hashable, ...],
        pending: PendingContact | None,
    ) -> bool:
        """Return whether a contact can go into the same request as those that are here.

        Contacts that share a mobile number or an e-mail address, but not an identity, are
        different people to MainBrainer and fit. They may be one when a contact id is involved,
        or when only the spelling differs, because no page says whether that counts. A contact
        with an id may be one without even if they share nothing that can be seen here, so neither
        is merged past the other.
        """
        known = self._identities_of_known
        if contact.contact_id is None:
            if self._spellings.setdefault(identifiers, identity) != identity:
                return False
            if pending is not None and pending.place < self._newest_known:
                return False
            return not known or known.keys().isdisjoint(identifiers)
        if pending is not None and pending.place < self._newest_plain:
            return False
        return all(
            known[key] == identity if key in known else key not in self.keys for key in identifiers
        )


class OpenBuffers:
    """The buffers of all streams and lists of a run, one for each stream and destination.

    A contact that shares an identifier or a source key with one that waits in another buffer
    sends that buffer off first, so that batches are submitted in the order in which the input
    has each identity. To find it all buffers are looked at: a load that sends to so many lists
    that this takes long takes longer for its requests.

    Args:
        submit: Takes a batch that is ready to be sent.
        clock: Seconds, monotonic.

    Attributes:
        submitted: Batches submitted so far, by stream.
    """

    def __init__(
        self, submit: Callable[[Batch], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._submit = submit
        self._clock = clock
        self._buffers: dict[tuple[SourceStream, Destination], ContactBuffer] = {}
        self.submitted: Counter[SourceStream] = Counter()

    def add(
        self,
        contact: Contact,
        source_record: SourceRecord,
        *,
        stream: SourceStream,
        destination: Destination,
        batch_size: int,
        mark: Mark | None = None,
    ) -> None:
        """Buffer a contact that has an identity, and submit what is ready because of it."""
        keys = identifiers = identifiers_of(contact)
        if source_record.source_key is not None:
            keys = (*identifiers, (stream.stream, source_record.source_key))
        place = stream, destination
        buffer = self._buffers.get(place)
        if buffer is None or len(self._buffers) > 1:
            self._send_others_with(keys, place)
        if buffer is None or not buffer.add(
            contact, source_record, mark, identifiers=identifiers, keys=keys
        ):
            if buffer is not None:
                self._send(place)
            buffer = self._buffers[place] = ContactBuffer(since=self._clock())
            buffer.add(contact, source_record, mark, identifiers=identifiers, keys=keys)
        if len(buffer) >= batch_size or buffer.size_bytes >= MAX_BUFFER_BYTES:
            self._send(place)

    def count_of(self, stream: SourceStream) -> int:
        """Return how many contacts of a stream wait here, after merging."""
        return sum(len(buffer) for place, buffer in self._buffers.items() if place[0] is stream)

    def send_all_of(self, stream: SourceStream) -> None:
        """Submit whatever waits of a stream."""
        for place in [place for place in self._buffers if place[0] is stream]:
            self._send(place)

    def send_all(self) -> None:
        """Submit whatever waits."""
        for place in list(self._buffers):
            self._send(place)

    def send_overdue(self) -> None:
        """Submit the buffers whose first contact has waited long enough."""
        limit = self._clock() - MAX_WAIT_SECONDS
        for place in [place for place, buffer in self._buffers.items() if buffer.since <= limit]:
            self._send(place)

    def _send_others_with(
        self, keys: tuple[Hashable, ...], place: tuple[SourceStream, Destination]
    ) -> None:
        for other, buffer in list(self._buffers.items()):
            if other != place and not buffer.keys.isdisjoint(keys):
                self._send(other)

    def _send(self, place: tuple[SourceStream, Destination]) -> None:
        buffer = self._buffers.pop(place)
        stream, destination = place
        self.submitted[stream] += 1
        self._submit(Batch(buffer.contacts, buffer.keys, destination, stream, buffer.size_bytes))
