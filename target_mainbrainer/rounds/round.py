"""A round: contacts that are sent together, at most one of each identity.

Order does not matter within a round, so nothing in it has to wait for anything else in it. A record
that the CRM may take for the same contact as one in the round, under another identity, waits for
the next round.
"""

from __future__ import annotations

import functools
import typing as t
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from target_mainbrainer.contacts import (
    Contact,
    Identity,
    Private,
    PrivateStruct,
    PropertyRef,
    identifiers_of,
    identity_of,
    merge,
    with_identity,
)
from target_mainbrainer.ledger.content import Person, Row
from target_mainbrainer.report.rejects import SourceStream
from target_mainbrainer.rounds.batches import AcceptedBatch, Destination, Kind
from target_mainbrainer.singer.state import SourceRecord

MAX_CONTACTS = 10_000
MAX_BYTES = 3 * 1024 * 1024
"""Bounds of a round, so that memory stays flat. A record takes some eight times its length while it
waits, and one round waits while another is sent; at 314 bytes both bounds are the same."""


Place: t.TypeAlias = "tuple[int, str]"
"""A stream's number in the ledger, and a source key."""


@dataclass(frozen=True, eq=False)
class Stream(SourceStream):
    """A stream as its last SCHEMA message announces it, and where its contacts go.

    Attributes:
        destination: Unless a record names a list of its own.
        number: In the ledger; None without one.
        once: Properties that only a new contact gets.
        opt_ins: Which opt-ins a column is mapped to.
    """

    destination: Destination
    number: int | None = None
    once: frozenset[PropertyRef] = frozenset()
    opt_ins: frozenset[str] = frozenset()


class Part(PrivateStruct, frozen=True, gc=False):
    """One record, as the contact that it is by itself.

    Attributes:
        identifiers: Those of `contact`; they are asked for in every round that it waits for.
        place: Which record of the run it is, counted over all streams.
        person: The number of its stream and its source key; None without a ledger or a key.
        is_deletion: It was deleted in the source, and opts its contact out.
        is_rejected: It is rejected, and only its "no" is sent, which no stream counts.
    """

    contact: Contact
    record: SourceRecord
    stream: Stream
    identifiers: tuple[Hashable, ...]
    place: int
    person: Place | None = None
    is_deletion: bool = False
    is_rejected: bool = False

    def under(self, like: Contact | Identity) -> Part:
        """Return the record as a contact of another identity."""
        contact = with_identity(self.contact, like)
        return msgspec.structs.replace(self, contact=contact, identifiers=identifiers_of(contact))


class Finding(t.NamedTuple):
    """Result of comparing one contact with the ledger.

    Attributes:
        is_unchanged: It need not be sent.
        changed: The names of its changed fields and opt-ins; none where the content was unknown.
        reason: Why it is sent though nothing may have changed; "" if it has changed or is new.
        emptied: Opt-ins that the source has emptied, and that MainBrainer keeps.
        suppressed: Opt-ins withheld because of the suppression list.
    """

    is_unchanged: bool = False
    changed: tuple[str, ...] = ()
    reason: str = ""
    emptied: tuple[str, ...] = ()
    suppressed: frozenset[str] = frozenset()


class Upsert(Private, msgspec.Struct, eq=False, gc=False):
    """One contact of a round, with every record that went into it.

    Attributes:
        contact: All parts merged: what the source says.
        parts: The records that it was made of, in input order; none if no record asks for it.
        destination: Where it goes.
        kind: What it is expected to do.
        outgoing: What is sent; None until that is decided.
        row: What the ledger knows of its identity.
        fields: The fields of `contact`, as the ledger has them.
        withheld: Opt-ins that must not leave, though the source says yes.
        finding: What the comparison with the ledger has shown.
        moving_id: The contact_id of a contact that gets another identity.
        renamed_from: Its identity before a rename that may have been applied; what was said of it
            there counts, so that an old yes is no new one.
        changed_people: The people of whom this delivery changes the identity, or settles it.
        batch: The batch in which it was accepted; None if it was not.
        may_be_applied: It was sent as a probe and not refused, or sent without an answer: it
            may be applied however its batch ends, and after later requests.
        since: The number of the batch that it is completed for; what was said later stays.
        owners: The source keys that have it although one of its records is a deletion.
    """

    contact: Contact
    parts: list[Part]
    destination: Destination
    kind: Kind = Kind.OTHER
    outgoing: Contact | None = None
    row: Row | None = None
    fields: bytes | None = None
    withheld: frozenset[str] = frozenset()
    finding: Finding = Finding()
    moving_id: int | None = None
    renamed_from: Identity | None = None
    changed_people: tuple[Person, ...] = ()
    batch: AcceptedBatch | None = None
    may_be_applied: bool = False
    since: int | None = None
    owners: frozenset[Place | None] = frozenset()

    @property
    def stream(self) -> Stream | None:
        """The stream that counts it; None if no record asks for it, or only rejected ones."""
        has_one = self.parts and not self.parts[-1].is_rejected
        return self.parts[-1].stream if has_one else None

    @property
    def identifiers(self) -> tuple[Hashable, ...]:
        """`identifiers_of` its contact, which most records have with them."""
        for part in self.parts:
            if part.contact is self.contact:
                return part.identifiers
        return identifiers_of(self.contact)

    @property
    def records(self) -> list[SourceRecord]:
        """The records that went into it, in input order."""
        return [part.record for part in self.parts]

    @property
    def is_merged(self) -> bool:
        """Whether it was made of several records, and can be sent in parts."""
        return sum(map(self._counts, self.parts)) > 1 and self.moving_id is None

    def add(self, part: Part) -> None:
        """Merge a later record of the same identity into it."""
        self.parts.append(part)
        self.contact = merge(self.contact, part.contact)

    def keep(self, owners: Iterable[Place | None]) -> None:
        """Let no deletion count of another source key than these, which have the contact."""
        self.owners |= {*owners}
        if any(map(self._counts, self.parts)):
            self.contact = self._merged(self.parts)

    def halves(self) -> tuple[Upsert, Upsert]:
        """Return a merged contact as two: the earlier records and the later ones.

        Sent one after the other they do what the merged one does.
        """
        parts = sorted(self.parts, key=self._counts)  # those that do not count come first
        middle = len(parts) - sum(map(self._counts, parts)) // 2
        return self._of(parts[:middle]), self._of(parts[middle:])

    def _counts(self, part: Part) -> bool:
        return not (part.is_deletion and self.owners - {part.person})

    def _merged(self, parts: Iterable[Part]) -> Contact:
        contact = merged([*filter(self._counts, parts)])
        if contact.contact_id is not None:
            return contact  # its address and number are what these records say
        # The identity may be another one than the records': the one that the CRM holds.
        return with_identity(contact, self.contact)

    def _of(self, parts: list[Part]) -> Upsert:
        contact = self._merged(parts)
        outgoing = without(contact, self.withheld)
        return Upsert(
            contact,
            parts,
            self.destination,
            Kind.OTHER,
            outgoing,
            withheld=self.withheld,
            row=self.row,
            changed_people=self.changed_people,
            may_be_applied=self.may_be_applied,
            owners=self.owners,
        )


def merged(parts: Sequence[Part]) -> Contact:
    """Return the one contact that several records of one identity are, in input order."""
    return functools.reduce(merge, (part.contact for part in parts))


def without(contact: Contact, names: Iterable[str]) -> Contact:
    """Return a contact without opt-ins that are true and named; a false is never left out."""
    left_out = {name: None for name in names if getattr(contact, name)}
    return msgspec.structs.replace(contact, **left_out) if left_out else contact


class ClosedRound(t.NamedTuple):
    """A round that takes no more contacts: those that were merged, or that a move asks for.

    Attributes:
        is_decided: What leaves is decided already, and nothing is compared.
        awaits_status: The status of each batch is asked for until it has ended.
        size: How many contacts go out in a request, if that matters.
    """

    upserts: list[Upsert]
    is_decided: bool = False
    awaits_status: bool = False
    size: int | None = None


class Prepared(msgspec.Struct, gc=False):
    """A round, decided.

    Attributes:
        sent: The contacts to send, each with what leaves of it.
        unchanged: Contacts that need not be sent.
        omitted: Contacts deleted in the source that MainBrainer never had, or that another row has.
        waiting: Records that wait for the next round, in input order.
        left: Contacts that another run is sending, which wait for the next round.
        deferred: Records that wait for the end of the input, each with its person if that is known.
        released: People of whom nothing has to wait any more.
    """

    sent: list[Upsert] = []
    unchanged: list[Upsert] = []
    omitted: list[Upsert] = []
    waiting: list[Part] = []
    left: list[Upsert] = []
    deferred: list[tuple[Part, Person | None]] = []
    released: list[Place] = []


def most_contacts(window: int) -> int:
    """Return how many contacts a round may have, given how many a plan lets pass in 10 s.

    A round that ends with such a window leaves no requests of the plan unused while its last
    answers are awaited.

    >>> most_contacts(1_500), most_contacts(15_000)
    (9000, 10000)
    """
    return MAX_CONTACTS // window * window or MAX_CONTACTS


class Round:
    """Contacts that wait to be sent together, and those that wait for the round after.

    Args:
        since: When the first of them came; None before that.
        waiting: Records that could not be in the round before, in input order.

    Attributes:
        upserts: The contacts by identity, in the order in which their identities came.
        waiting: Records that have to wait for a later round, in input order.
        unsent: People who have come in a record that is not sent.
    """

    def __init__(self, since: float | None = None, waiting: Iterable[Part] = ()) -> None:
        self.since = since
        self.upserts: dict[Identity, Upsert] = {}
        self.waiting: list[Part] = []
        self.unsent: set[Place] = set()
        self._awaited: set[Hashable] = set()
        self._bytes = 0
        self._spellings: dict[tuple[Hashable, ...], Identity] = {}
        self._identity_by_key: dict[Hashable, Identity] = {}
        self._identifiers: set[Hashable] = set()
        self._known: dict[Hashable, Identity] = {}
        self._newest = {True: -1, False: -1}
        for part in waiting:
            self.add(part)

    def __len__(self) -> int:
        return len(self.upserts) + len(self.waiting) + len(self.unsent)

    def is_full(self, most: int) -> bool:
        """Return whether it has to be sent before more is added, given how many it may have."""
        return len(self) >= most or self._bytes >= MAX_BYTES

    def close(self) -> ClosedRound:
        """Return the contacts; no deletion counts where another source key has the contact."""
        for one in self.upserts.values():
            if len(one.parts) > 1 and any(part.is_deletion for part in one.parts):
                last = {part.person: part for part in one.parts}
                one.keep(person for person, part in last.items() if not part.is_deletion)
        return ClosedRound([*self.upserts.values()])

    def identity_of(self, place: Place) -> Identity | None:
        """Return the identity of the last record of a source key, None if there is none."""
        for part in reversed(self.waiting if place in self._awaited else ()):
            if part.person == place:
                return identity_of(part.contact)
        return self._identity_by_key.get(place)

    def add(self, part: Part) -> None:
        """Add a record, merged with the contact of its identity if there is one.

        A record that cannot be in this round waits for a later one, and so does every later one
        that shares an identifier or a source key with it. Records with a contact id and others keep
        their order: which address belongs to an id only the CRM knows.
        """
        self._bytes += len(part.record.line)
        has_id = part.contact.contact_id is not None
        is_behind = self.waiting and not self._awaited.isdisjoint(_keys_of(part, not has_id))
        if is_behind or not self._admit(part):
            self.waiting.append(part)
            self._awaited.update(_keys_of(part, has_id))

    def _admit(self, part: Part) -> bool:
        """Add a record if it can be in this round; return whether it can."""
        contact, identifiers = part.contact, part.identifiers
        identity = t.cast("Identity", identity_of(contact))
        present = self.upserts.get(identity)
        if not self._fits(part, identity, present):
            return False
        self._newest[contact.contact_id is not None] = part.place
        self._identifiers.update(identifiers)
        self._spellings[identifiers] = identity
        if part.person is not None:
            self._identity_by_key[part.person] = identity
        if contact.contact_id is not None:
            self._known.update(dict.fromkeys(identifiers, identity))
        if present is not None:
            present.add(part)
        else:
            self.upserts[identity] = Upsert(contact, [part], destination_of(part))
        return True

    def _fits(self, part: Part, identity: Identity, present: Upsert | None) -> bool:
        """Return whether a record can be in this round.

        Contacts that share a mobile number or an e-mail address, but not an identity, are
        different people to MainBrainer. They may be one if a contact id is involved, or if only
        the spelling differs, because no page says whether that counts.
        """
        identifiers = part.identifiers
        if present is not None and (
            present.destination != destination_of(part)
            or present.parts[0].stream.name != part.stream.name
            or present.parts[0].is_rejected is not part.is_rejected
            or present.parts[0].place < self._newest[part.contact.contact_id is None]
        ):
            # Each batch is of one stream, so that its outcome counts there; and a merged record
            # would go before one of the other kind.
            return False
        if self._identity_by_key.get(part.person, identity) != identity:
            return False
        if part.contact.contact_id is None:
            if self._spellings.get(identifiers, identity) != identity:
                return False
            return not self._known or self._known.keys().isdisjoint(identifiers)
        return all(
            self._known[one] == identity if one in self._known else one not in self._identifiers
            for one in identifiers
        )


def _keys_of(part: Part, has_id: bool) -> tuple[Hashable, ...]:  # noqa: FBT001
    """Return what orders a record: its identifiers, its source key, and whether it has an id."""
    keys = (*part.identifiers, ("contact id", has_id))
    return keys if part.person is None else (*keys, part.person)


def destination_of(part: Part) -> Destination:
    """Return where a record goes: to the list that it names, else to its stream's.

    The "no" of a rejected record puts its person in no list.
    """
    if part.is_rejected:
        return Destination(None, None)
    if part.contact.list_id is None:
        return part.stream.destination
    return part.stream.destination._replace(list_id=part.contact.list_id)
