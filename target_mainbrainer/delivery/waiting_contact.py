"""A contact that waits for the end of the input, and what is sent of it then."""

from __future__ import annotations

import typing as t

import msgspec

from target_mainbrainer.contacts.contact import Contact
from target_mainbrainer.contacts.identity import identifiers_of, merge
from target_mainbrainer.delivery.pending_contact import ContactPart, PendingContact

if t.TYPE_CHECKING:
    from collections.abc import Hashable

    from target_mainbrainer.delivery.batch import Destination
    from target_mainbrainer.ledger.comparison import Candidate
    from target_mainbrainer.ledger.marking import Mark
    from target_mainbrainer.ledger.moves_plan import Following, Wait
    from target_mainbrainer.report.rejects import SourceStream
    from target_mainbrainer.singer.source_record import SourceRecord


class Arrival(t.NamedTuple):
    """A contact that has come, and where it goes."""

    candidate: Candidate
    source_record: SourceRecord
    stream: SourceStream
    destination: Destination
    batch_size: int


class Part(t.NamedTuple):
    """One record of a contact that waits.

    Attributes:
        contact: As it is to be sent.
        mark: Of the ledger.
    """

    contact: Contact
    source_record: SourceRecord
    mark: Mark


class WaitingContact:
    """The records of a source key that waits for the end of the input.

    Attributes:
        wait: What it waits for.
        parts: Its records in the order of the input; the last one says who it is now.
        last: The last one as it has come.
        following: How its contact is held; set before it moves.
        contact_id: Of its contact, once that is known.
        is_new: Its contact had been deleted in the CRM, and finding it has made it anew.
    """

    def __init__(self, wait: Wait) -> None:
        self.wait = wait
        self.parts: list[Part] = []
        self.last: Arrival
        self.following: Following
        self.contact_id: int | None = None
        self.is_new = False

    def add(self, part: Part, arrival: Arrival) -> None:
        """Take another record of it."""
        self.parts.append(part)
        self.last = arrival

    @property
    def name(self) -> str:
        """The stream it is of."""
        return self.last.stream.stream

    @property
    def stream(self) -> SourceStream:
        """Where it comes from."""
        return self.last.stream

    @property
    def source_records(self) -> list[SourceRecord]:
        """Its records."""
        return [part.source_record for part in self.parts]

    @property
    def size_bytes(self) -> int:
        """The size of its records."""
        return sum(len(part.source_record.line) for part in self.parts)

    @property
    def newest(self) -> Contact:
        """The contact of its last record."""
        return self.parts[-1].contact

    @property
    def mark(self) -> Mark:
        """The mark of its last record."""
        return self.parts[-1].mark

    @property
    def identifiers(self) -> frozenset[Hashable]:
        """Every identifier that its contact has or gets; only once it is about to move."""
        previous = Contact(
            mobile=self.following.previous.mobile, email=self.following.previous.email
        )
        return frozenset([*identifiers_of(previous), *identifiers_of(self.following.contact)])

    def first_request(self) -> PendingContact:
        """Return what finds its contact: the old identity, with the opt-ins of the new data."""
        merged, previous = self._merged(), self.following.previous
        return self._pending(
            Contact(
                mobile=previous.mobile,
                email=previous.email,
                mobile_opt_in=merged.mobile_opt_in,
                email_opt_in=merged.email_opt_in,
            )
        )

    def withdrawal(self) -> PendingContact | None:
        """Return what tells its contact of a "no" and nothing else, None if there is none."""
        found = self.first_request().contact
        if found.mobile_opt_in is not False and found.email_opt_in is not False:
            return None
        contact = msgspec.structs.replace(
            found,
            mobile_opt_in=False if found.mobile_opt_in is False else None,
            email_opt_in=False if found.email_opt_in is False else None,
        )
        return PendingContact(contact, identifiers_of(contact), [])

    def second_request(self) -> PendingContact:
        """Return what gives its contact the new identity: the new data, with its id."""
        contact = with_identity(self._merged(), self.following.contact)
        if self.is_new:  # an opt-in that was left out because the CRM had it is sent after all
            said = self.last.candidate.contact
            if contact.mobile_opt_in is None:
                contact = msgspec.structs.replace(contact, mobile_opt_in=said.mobile_opt_in)
            if contact.email_opt_in is None:
                contact = msgspec.structs.replace(contact, email_opt_in=said.email_opt_in)
        return self._pending(msgspec.structs.replace(contact, contact_id=self.contact_id))

    def _merged(self) -> Contact:
        merged = self.parts[0].contact
        for part in self.parts[1:]:
            merged = merge(merged, part.contact)
        return merged

    def _pending(self, contact: Contact) -> PendingContact:
        parts = [ContactPart(part.contact, part.source_record, part.mark) for part in self.parts]
        return PendingContact(contact, identifiers_of(contact), parts)


def with_identity(contact: Contact, like: Contact) -> Contact:
    """Return a contact with the identity of another one."""
    return msgspec.structs.replace(
        contact, contact_id=like.contact_id, mobile=like.mobile, email=like.email
    )
