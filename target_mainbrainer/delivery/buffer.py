"""Contacts that wait for their batch to fill up, in input order over all streams and lists."""

from __future__ import annotations

import time
import typing as t
from collections import Counter

from target_mainbrainer.api.requests import encode_contact
from target_mainbrainer.contacts.identity import identifiers_of, identity_of, merge
from target_mainbrainer.delivery.batch import Batch
from target_mainbrainer.delivery.pending_contact import ContactPart, PendingContact

if t.TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from target_mainbrainer.contacts.contact import Contact
    from target_mainbrainer.contacts.identity import Identity
    from target_mainbrainer.delivery.batch import Destination
    from target_mainbrainer.ledger.marking import Mark
    from target_mainbrainer.reporting.source_stream import SourceStream
    from target_mainbrainer.singer.source_record import SourceRecord

MAX_BUFFER_BYTES = 4 * 1024 * 1024
"""Records of one batch, so that long ones, or many of one contact, do not fill the memory."""

MAX_WAIT_SECONDS = 10.0
"""How long a contact waits for its batch to fill up; STATE waits with it."""


class ContactBuffer:
    """Contacts for one request, at most one for each identity.

    Within one request the API documents neither an order nor what happens to two contacts that
    turn out to be one (API note, section 8.1). So whatever may be a contact that is in here
    already, under another identity, has to wait for the next batch; `fits` says so.

    Attributes:
        since: When the first contact came.
        size_bytes: How long the records in here are, all together.
        keys: Whatever orders them: every identifier, and every source key.
    """

    def __init__(self, since: float = 0.0) -> None:
        self.since = since
        self.size_bytes = 0
        self.keys: set[Hashable] = set()
        self._contacts: dict[Identity, PendingContact] = {}
        self._spellings: dict[tuple[Hashable, ...], Identity] = {}
        self._keys_of_plain: set[Hashable] = set()
        self._keys_of_known: dict[Hashable, Identity] = {}
        self._newest_plain = self._newest_known = -1

    def __len__(self) -> int:
        return len(self._contacts)

    @property
    def contacts(self) -> list[PendingContact]:
        """The contacts in the order in which their identities first came."""
        return list(self._contacts.values())

    def fits(self, contact: Contact, identity: Identity, identifiers: tuple[Hashable, ...]) -> bool:
        """Return whether a contact can go into the same request as those that are here.

        Contacts that share a mobile number or an e-mail address, but not an identity, are
        different people to MainBrainer and fit. They may be one when a contact id is involved,
        or when only the spelling differs, because no page says whether that counts. A contact
        with an id may be one without even if they share nothing that can be seen here, so neither
        is merged past the other.
        """
        pending = self._contacts.get(identity)
        if contact.contact_id is None:
            if self._spellings.get(identifiers, identity) != identity:
                return False
            if pending is not None and pending.place < self._newest_known:
                return False
            known = self._keys_of_known
            return not (known and any(key in known for key in identifiers))
        if pending is not None and pending.place < self._newest_plain:
            return False
        return not any(
            key in self._keys_of_plain or self._keys_of_known.get(key, identity) != identity
            for key in identifiers
        )

    def add(
        self,
        contact: Contact,
        identity: Identity,
        identifiers: tuple[Hashable, ...],
        source_record: SourceRecord,
        mark: Mark | None = None,
    ) -> None:
        """Put a contact in, merged with the one of the same identity if there is one.

        It is encoded here and not when it is sent, because by then it would have to be fetched
        back from memory piece by piece, which takes several times as long.
        """
        self.size_bytes += len(source_record.line)
        part = ContactPart(contact, source_record, mark)
        pending = self._contacts.get(identity)
        if pending is None:
            place = len(self._contacts)
            self._contacts[identity] = PendingContact(
                contact, identifiers, [part], place, encode_contact(contact)
            )
            if contact.contact_id is None:
                self._newest_plain = place
            else:
                self._newest_known = place
        else:
            pending.contact = merge(pending.contact, contact)
            pending.encoded = None
            pending.parts.append(part)
            if identifiers != pending.identifiers:
                pending.identifiers = tuple({*pending.identifiers, *identifiers})
        if contact.contact_id is None:
            self._keys_of_plain.update(identifiers)
            self._spellings[identifiers] = identity
        else:
            self._keys_of_known.update(dict.fromkeys(identifiers, identity))


class OpenBuffers:
    """The buffers of all streams and lists of a run, one for each stream and destination.

    A contact that shares an identifier or a source key with one that waits in another buffer
    sends that buffer off first, so that batches are submitted in the order in which the input
    has each identity.

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
        self._places: dict[Hashable, tuple[SourceStream, Destination]] = {}
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
        identity = t.cast("Identity", identity_of(contact))
        identifiers = identifiers_of(contact)
        place = stream, destination
        keys = identifiers
        if source_record.source_key is not None:
            keys = (*identifiers, (stream.stream, source_record.source_key))
        for key in keys:
            other = self._places.get(key)
            if other is not None and other != place:
                self._send(other)
        buffer = self._buffers.get(place)
        if buffer is not None and not buffer.fits(contact, identity, identifiers):
            self._send(place)
            buffer = None
        if buffer is None:
            buffer = self._buffers[place] = ContactBuffer(since=self._clock())
        buffer.add(contact, identity, identifiers, source_record, mark)
        buffer.keys.update(keys)
        for key in keys:
            self._places[key] = place
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

    def _send(self, place: tuple[SourceStream, Destination]) -> None:
        buffer = self._buffers.pop(place)
        for key in buffer.keys:
            del self._places[key]
        stream, destination = place
        self.submitted[stream] += 1
        self._submit(Batch(buffer.contacts, buffer.keys, destination, stream, buffer.size_bytes))
