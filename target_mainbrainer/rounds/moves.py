"""Changed addresses: people whose e-mail address or mobile number is another one than before.

MainBrainer makes a second contact of them. While the input is read they are deferred, because a
chain of changes can be followed only when all of it is known. When the input has ended they move
in an order in which no contact gets an identity that another still has: the old identity is sent
alone and its status names the contact's id; the id is committed; the new data is sent with the id.
The histories behind these rules are in `docs/design-notes.md`.
"""

from __future__ import annotations

import enum
import logging
import typing as t
from collections import Counter, defaultdict
from collections.abc import Collection, Generator, Mapping, Sequence

import sqlalchemy as sa

from target_mainbrainer.contacts import (
    Contact,
    Identity,
    Rejection,
    RejectionCode,
    merge,
    with_identity,
)
from target_mainbrainer.errors import DeliveryError
from target_mainbrainer.ledger import people
from target_mainbrainer.ledger.content import Person, identity_from, identity_text
from target_mainbrainer.ledger.ledger import Ledger
from target_mainbrainer.report.rejects import KEYS_SHOWN
from target_mainbrainer.rounds.batches import BatchEnd
from target_mainbrainer.rounds.booking import Booking
from target_mainbrainer.rounds.round import (
    ClosedRound,
    Part,
    Place,
    Stream,
    Upsert,
    destination_of,
    merged,
)
from target_mainbrainer.words import counted, examples, shown

logger = logging.getLogger("target-mainbrainer")

DRIFT_COUNTS_FROM = 10
"""So many people of a stream may have moved or be missing, at any percentage."""

MOST_NEWCOMERS = 10_000
"""When more wait, the source has new keys for all its people, and waiting for these is no use."""

MAX_WAITING_BYTES = 256 * 1024 * 1024
"""Records that wait for the end of the input, all together."""

MOST_IDENTITIES = 50
"""A source key with more of them in one run is not a person's, such as 0 or "N/A"."""

IDENTITY_TAKEN = Rejection(
    RejectionCode.IDENTITY_TAKEN,
    "Its new e-mail address and mobile number are those of another person, who keeps them in this "
    "run; perhaps the two have swapped theirs. Change one of them in MainBrainer by hand, or in "
    "two steps in the source.",
)


def drift_limit(known: int, max_drift_percent: int) -> int:
    """Return how many of the known people of a stream may have moved or be missing.

    >>> drift_limit(1_000, 5), drift_limit(20, 5)
    (50, 10)
    """
    return max(DRIFT_COUNTS_FROM, known * max_drift_percent // 100)


class Following(t.NamedTuple):
    """How the CRM holds the contact of a known person from now on.

    What a source has no more the CRM keeps, since fields that are not sent stay as they are. So
    the CRM holds a combination of the old identity and the new one.

    Attributes:
        previous: The identity that the CRM holds, or may hold.
        contact: The identity that it is to hold.
        is_move: It is another one than before, or it is not certain what the CRM holds.
    """

    previous: Identity
    contact: Contact
    is_move: bool


def follow(person: Person, contact: Contact) -> Following | None:
    """Return how the CRM holds the contact of a person, None if there is nothing to follow.

    Contacts that name their contact id are found by it under any identity.
    """
    if contact.contact_id is not None:
        return None
    if identity_text(contact) == person.identity and person.moving_id is None:
        return None
    is_pending = person.moving_id is not None and person.previous is not None
    newest = identity_from(person.identity)
    previous = identity_from(t.cast("str", person.previous)) if is_pending else newest
    if previous.contact_id is not None:
        return None
    combined = Contact(
        mobile=contact.mobile or newest.mobile or previous.mobile,
        email=contact.email or newest.email or previous.email,
    )
    is_move = identity_text(combined) != identity_text(previous) or person.moving_id is not None
    return Following(previous, combined, is_move)


class Mover:
    """The records of a person who waits for the end of the input.

    Attributes:
        parts: In input order; the last one says who it is now.
        identities: `identifiers` of all parts.
        following: How its contact is to be held; None if there is nothing to follow.
        person: As the ledger knows it; None for a newcomer.
        before: Hash of the identity that the CRM holds.
        spelling: Hash of the same as it is written; twins in all but case are two contacts.
        after: Hash of the one that it is to hold.
        own: Hash of the same without a part that its person has lost.
        asked: Hash of the one that an interrupted change has asked for.
        contact_id: Of its contact, once that is known.
        is_sent_on: It was sent to be renamed, and not refused: a contact has the new identity with
            all parts, perhaps one that was recreated.
        may_have_moved: The same, and no status shows whether it was.
        is_refused: It was sent to be renamed, and refused: its contact is where it was.
    """

    def __init__(self, place: Place, person: Person | None) -> None:
        self.place = place
        self.person = person
        self.parts: list[Part] = []
        self.identities: set[t.Any] = set()
        self.following: Following | None = None
        self.before = self.after = self.own = self.asked = self.spelling = 0
        self.contact_id: int | None = None
        self.is_sent_on = self.may_have_moved = self.is_refused = False

    @property
    def has_begun(self) -> bool:
        """Whether an earlier run has found its contact."""
        return self.person is not None and self.person.moving_id is not None

    @property
    def begins_to_move(self) -> bool:
        """Whether it moves, and not to where an earlier run has sent its contact, nor back."""
        person = self.person
        following = None if person is None else follow(person, self.parts[-1].contact)
        if person is None or following is None or not following.is_move:
            return False
        goes_on = {person.identity, person.previous} if self.has_begun else set()
        return identity_text(following.contact) not in goes_on

    @property
    def stream(self) -> Stream:
        """Where it comes from."""
        return self.parts[-1].stream

    def upsert(self, like: Contact | Identity | None = None) -> Upsert:
        """Return all its records as one contact, under another identity if one is given."""
        identity = self.parts[-1].contact if like is None else like
        contact = with_identity(merged(self.parts), identity)
        upsert = Upsert(contact, list(self.parts), destination_of(self.parts[-1]))
        if (self.may_have_moved or self.has_begun) and self.following is not None:
            upsert.renamed_from = self.following.previous
        return upsert

    def old_contact(self, *, opts_out: bool = False) -> Upsert:
        """Return the contact as the CRM holds it, with every opt-in that is false and no true."""
        said = merged(self.parts)
        no = Contact(
            mobile_opt_in=False if opts_out or said.mobile_opt_in is False else None,
            email_opt_in=False if opts_out or said.email_opt_in is False else None,
        )
        no = with_identity(no, t.cast("Following", self.following).previous)
        destination = destination_of(self.parts[-1])._replace(webhook_url=None)
        return Upsert(no, [], destination, outgoing=no)


class Deferred:
    """Records that wait for the end of the input.

    Attributes:
        movers: Those of each person.
    """

    def __init__(self) -> None:
        self.movers: dict[Place, Mover] = {}
        self._bytes = 0

    @property
    def takes_newcomers(self) -> bool:
        """Whether more newcomers may wait."""
        newcomers = sum(mover.person is None for mover in self.movers.values())
        return newcomers < MOST_NEWCOMERS

    def moving(self) -> Counter[tuple[int, str]]:
        """Return how many people of each stream, by number and name, begin to move in this run.

        Those in whose last record nothing has changed do not: a log of changes tells of the past.
        """
        return Counter(
            (mover.place[0], mover.stream.name)
            for mover in self.movers.values()
            if mover.begins_to_move
        )

    def add(self, part: Part, person: Person | None) -> None:
        """Add a record.

        Raises:
            DeliveryError: There is no room for more, or its key is not one person's.
        """
        place = t.cast("Place", part.person)
        mover = self.movers.setdefault(place, Mover(place, person))
        mover.parts.append(part)
        mover.identities.add(part.identifiers)
        self._bytes += len(part.record.line)
        if self._bytes > MAX_WAITING_BYTES or len(mover.identities) > MOST_IDENTITIES:
            raise DeliveryError(
                "Too many records wait for the end of the input because their source keys come "
                "with other e-mail addresses or mobile numbers than before. Check that the "
                "'key_properties' of the stream are unique, or set 'identity_changes' to 'create'."
            )

    def forget(self, place: Place) -> None:
        """Remove a person whose records need not wait any more."""
        self._bytes -= sum(len(part.record.line) for part in self.movers.pop(place).parts)

    def end(self) -> list[Mover]:
        """Return all who wait, in input order; none waits afterwards."""
        movers = sorted(self.movers.values(), key=lambda mover: mover.parts[0].place)
        self.movers = {}
        return movers


# The order. Pure.


class Step(enum.Enum):
    """Next step of a mover."""

    MOVE = "move"
    JOIN = "join"
    """Its contact has moved already, with another source key of the same person."""

    NOT_FOLLOWED = "not followed"
    """It is sent as any contact, and so becomes a second one."""

    MERGED = "merged"
    """Another contact has its new identity: that one gets the data."""

    TAKEN = "taken"
    """Another person has its new identity, and cannot leave it."""


def next_steps(
    movers: Sequence[Mover],
    owners: Mapping[int, Collection[Place]],
    *,
    stuck: Collection[int],
    moved: Mapping[Place, int],
    kept: Collection[int],
) -> dict[Place, Step]:
    """Return what can be done now; movers that are not named wait for these.

    Who moves to an identity that another mover leaves waits for that one. If all wait for each
    other, they are people who swap.

    Args:
        movers: All that wait, in input order.
        owners: The source keys that own each identity now.
        stuck: Identities of movers that were set aside, and so keep it.
        moved: Those that have moved in this run, and the spelling of the identity they have left.
        kept: Identities of contacts that no person has any more, and that none is leaving.
    """
    waiting = {mover.place: mover for mover in movers}
    steps: dict[Place, Step] = {}
    busy: set[int] = set()
    for mover in movers:
        place = mover.place
        others = (
            set(owners.get(mover.after, ())) - {place} if mover.after != mover.before else set()
        )
        if any(other in waiting and waiting[other].before == mover.after for other in others):
            continue
        if not busy.isdisjoint({mover.before, mover.after}):
            continue  # another one with the same identity moves now
        if mover.after in stuck and mover.after != mover.before:
            steps[place] = Step.TAKEN
        elif any(moved.get(other) == mover.spelling for other in others):
            steps[place] = Step.JOIN
        elif _is_shared(mover, owners, waiting):
            steps[place] = Step.NOT_FOLLOWED
        elif others or (mover.after in kept and mover.after != mover.before):
            steps[place] = Step.MERGED
        else:
            steps[place] = Step.MOVE
            busy |= {mover.before, mover.after}
    return steps or dict.fromkeys(waiting, Step.TAKEN)


def _is_shared(
    mover: Mover, owners: Mapping[int, Collection[Place]], waiting: Mapping[Place, Mover]
) -> bool:
    """Return whether a mover's old identity is another person's, too, who does not go with it."""
    return any(
        other != mover.place and not (other in waiting and waiting[other].after == mover.after)
        for other in owners.get(mover.before, ())
    )


# Find and rename


Rounds: t.TypeAlias = "Generator[ClosedRound, None, None]"


class Moves:
    """Rounds that let the contacts of those who were deferred follow them.

    Args:
        ledger: The run's ledger.
        booking: Books those who have moved.
    """

    def __init__(self, ledger: Ledger, booking: Booking) -> None:
        self._ledger = ledger
        self._booking = booking
        self._stuck: dict[Place, int] = {}
        self._moved: dict[Place, int] = {}
        self._kept: set[int] = set()

    def rounds(self, deferred: Sequence[Mover]) -> Rounds:
        """Yield the rounds that bring everybody who was deferred to their new identity."""
        newcomers = [mover for mover in deferred if mover.person is None]
        known = [mover for mover in deferred if mover.person is not None]
        movers = {mover.place: mover for mover in known if self._prepare(mover)}
        back = [mover for mover in known if mover.place not in movers]
        for mover in newcomers:
            mover.after = self._ledger.hashes.identity(mover.parts[-1].contact)
        yield ClosedRound(
            [mover.upsert(mover.following and mover.following.contact) for mover in back]
        )
        owners = self._owners({one for m in movers.values() for one in (m.before, m.after)})
        self._kept = self._kept_identities(movers.values())
        while movers:
            steps = next_steps(
                list(movers.values()),
                owners,
                stuck=set(self._stuck.values()),
                moved=self._moved,
                kept=self._kept,
            )
            now = {movers.pop(place): step for place, step in steps.items()}
            coming = {mover.after for mover in (*movers.values(), *newcomers)}
            coming |= {mover.own for mover in movers.values()}
            yield from self._take(now, owners, coming)
            for mover in now:
                if mover.place not in self._stuck:
                    owners[mover.before].discard(mover.place)
                    owners.setdefault(mover.after, set()).add(mover.place)
        stuck = set(self._stuck.values())
        taken = [mover.upsert() for mover in newcomers if mover.after in stuck]
        self._booking.reject(taken, IDENTITY_TAKEN)
        yield ClosedRound([mover.upsert() for mover in newcomers if mover.after not in stuck])

    def _prepare(self, mover: Mover) -> bool:
        """Note where a mover comes from and goes to; return False if it need not move."""
        person, hashes = t.cast("Person", mover.person), self._ledger.hashes
        following = mover.following = follow(person, merged(mover.parts))
        if following is None or not following.is_move:
            return False
        mover.before = hashes.identity(following.previous)
        mover.spelling = hashes.spelling(following.previous)
        mover.after = hashes.identity(following.contact)
        mover.own = hashes.identity(mover.parts[-1].contact)
        mover.contact_id, mover.asked = person.moving_id, person.hash
        return True

    def _owners(self, hashes: Collection[int]) -> dict[int, set[Place]]:
        ledger = self._ledger
        found = ledger.read(lambda c: people.holders_of(c, ledger.account, hashes, ledger.hashes))
        return {one: {(who.stream, who.key) for who in owners} for one, owners in found.items()}

    def _kept_identities(self, movers: Collection[Mover]) -> set[int]:
        """Return the new identities that MainBrainer has a contact with, and that none leaves.

        Its person is gone, or was not followed. Renamed to it, a mover's contact would be a second
        one of the same identity.
        """
        # Where an earlier run has sent a contact with its id, that contact may be.
        new = {m.after for m in movers if m.contact_id is None or m.after != m.asked}
        rows = self._ledger.read(lambda connection: self._ledger.rows(connection, new))
        there = {one for one, row in rows.items() if row.delivered_at is not None}
        return there - {mover.before for mover in movers}

    def _take(
        self, steps: Mapping[Mover, Step], owners: dict[int, set[Place]], coming: Collection[int]
    ) -> Rounds:
        by_step: defaultdict[Step, list[Mover]] = defaultdict(list)
        for mover, step in steps.items():
            by_step[step].append(mover)
        left_behind = {
            "its old address is another person's, too": by_step[Step.NOT_FOLLOWED],
            "MainBrainer did not name its contact": (yield from self._move(by_step[Step.MOVE])),
            "another contact has its new address": by_step[Step.MERGED],
        }
        for reason, movers in left_behind.items():
            for mover in movers:
                self._kept.add(mover.before)
                if not mover.is_sent_on:
                    mover.after = mover.own
                mover.stream.report.not_followed_by_reason[reason] += 1
        plain = [mover for movers in left_behind.values() for mover in movers]
        _warn(plain)
        for mover in by_step[Step.JOIN]:
            mover.stream.report.moved += 1
        merged = {mover.before: mover for mover in by_step[Step.MERGED]}
        leave = {mover.place for mover in by_step[Step.MERGED]}
        coming = {*coming, *(mover.after for mover in plain)}
        no = [
            mover.old_contact(opts_out=True)
            for before, mover in merged.items()
            if owners[before] <= leave and before not in coming
        ]
        for mover in by_step[Step.TAKEN]:
            self._stuck[mover.place] = mover.before
            self._booking.reject([mover.upsert()], IDENTITY_TAKEN)
            withdrawal = mover.old_contact()
            if False in {withdrawal.contact.mobile_opt_in, withdrawal.contact.email_opt_in}:
                no.append(withdrawal)
        joining = by_step[Step.JOIN]
        # A contact that may have moved is found where it would be then, or made there.
        followed = {*joining, *(mover for mover in plain if mover.is_sent_on)}
        upserts = [
            mover.upsert(mover.following and mover.following.contact)
            if mover in followed
            else mover.upsert()
            for mover in (*joining, *plain)
        ]
        yield ClosedRound(_merged(upserts))
        yield ClosedRound(no, is_decided=True, size=1)
        others = (Step.NOT_FOLLOWED, Step.MERGED, Step.JOIN)
        self._end_begun([mover for step in others for mover in by_step[step]])

    def _end_begun(self, movers: Sequence[Mover]) -> None:
        """End changes that an earlier run has begun, of people who were not followed now."""
        begun = [mover for mover in movers if mover.has_begun]
        for mover in begun:
            t.cast("Person", mover.person).moving_id = None
        if begun:
            self._end_moves(begun, (), begun)

    def _move(self, movers: Sequence[Mover]) -> Generator[ClosedRound, None, list[Mover]]:
        """Find contacts and rename them; return the movers whose contact stays as it was."""
        if not movers:
            return []
        unknown = [mover for mover in movers if mover.contact_id is None]
        if unknown:
            finds = [mover.old_contact() for mover in unknown]
            yield ClosedRound(finds, is_decided=True, awaits_status=True, size=1)
            self._note_ids(unknown, finds)
        found = [mover for mover in movers if mover.contact_id is not None]
        left_behind = [mover for mover in movers if mover.contact_id is None]
        forgotten: list[int] = []
        renames = []
        for mover in found:
            upsert = mover.upsert(t.cast("Following", mover.following).contact)
            upsert.moving_id = mover.contact_id
            renames.append(upsert)
        yield ClosedRound(renames, awaits_status=True)
        for mover, upsert in zip(found, renames, strict=True):
            person = t.cast("Person", mover.person)
            accepted = upsert.batch
            status = None if accepted is None else accepted.status
            has_failed = accepted is not None and accepted.end is BatchEnd.FAILED
            has_moved = (
                not has_failed and status is not None and mover.contact_id in status.updated_ids
            )
            # If it only was to be spelt otherwise, its contact has this identity in any case.
            forgotten += {mover.before, mover.after} - {mover.after if has_moved else mover.before}
            if accepted is not None and has_failed:
                self._booking.failed_to_move(upsert, accepted)
                self._stuck[mover.place] = mover.before
                continue  # the next run goes on with the id
            person.moving_id = None
            if has_moved:
                self._booking.moved(upsert)
                self._moved[mover.place] = mover.spelling
                if asked := {mover.asked} - {mover.before, mover.after}:
                    forgotten += [one for one, who in self._owners(asked).items() if not who]
                continue
            left_behind.append(mover)
            is_refused = accepted is None and not upsert.may_be_applied
            mover.is_refused = is_refused and mover.asked in {mover.before, mover.after}
            mover.is_sent_on = not is_refused
            mover.may_have_moved = not is_refused and not (status and status.inserted)
            if accepted is None and not mover.is_refused:
                person.moving_id = mover.contact_id  # it may be where an earlier run has sent it
        self._end_moves(found, forgotten, left_behind)
        return left_behind

    def _note_ids(self, movers: Sequence[Mover], finds: Sequence[Upsert]) -> None:
        """Commit the ids of the contacts that were found, before anything is sent with them."""
        ids = [_found_id(upsert) for upsert in finds]
        times = Counter(ids)
        some = []
        for mover, contact_id in zip(movers, ids, strict=True):
            if contact_id is not None and times[contact_id] == 1:
                person = t.cast("Person", mover.person)
                mover.contact_id = person.moving_id = contact_id
                person.previous = None  # that of an earlier change is another contact's
                some.append(person)
        self._ledger.write(lambda connection: people.save(connection, some))

    def _end_moves(
        self, movers: Sequence[Mover], forgotten: Sequence[int], left_behind: Sequence[Mover]
    ) -> None:
        """Commit that contacts have moved.

        Args:
            movers: Their people.
            forgotten: Identities that no contact has any more.
            left_behind: Those whose contact may have left its old identity, or may not have.
        """
        doubted = [mover.before for mover in left_behind if not mover.is_refused]

        def end(connection: sa.Connection) -> None:
            current = {}
            for mover in movers:
                stream, key = mover.place
                for person in people.people_of(connection, stream, [key]).values():
                    person.moving_id = t.cast("Person", mover.person).moving_id
                    if mover.is_refused and person.previous is not None:
                        person.put_back(self._ledger.hashes)
                    if person.moving_id is None:
                        person.previous = None
                    current[mover.place] = person
            people.save(connection, list(current.values()))
            self._ledger.delete_rows(connection, forgotten)
            self._ledger.doubt_identities(connection, doubted)

        self._ledger.write(end)


def _warn(not_followed: Sequence[Mover]) -> None:
    """Warn of second contacts, before they are sent: a run that is killed has named them, too."""
    by_stream: defaultdict[str, list[Mover]] = defaultdict(list)
    for mover in not_followed:
        by_stream[mover.stream.name].append(mover)
    for name, movers in by_stream.items():
        labels = [mover.stream.labels.key_of(mover.parts[-1].record.line) for mover in movers]
        more = examples([label for label in labels if label][:KEYS_SHOWN], len(movers))
        logger.warning(
            "Sent as new, because the change of e-mail address or mobile number could not be "
            "followed: %s of stream '%s'%s. The old identity is another person's, too, or the new "
            "one is, or MainBrainer did not name the contact or refuses the change. Merge or "
            "delete the old contact when the new one is in MainBrainer.",
            counted(len(movers), "contact"),
            shown(name),
            more,
        )


def _merged(upserts: Sequence[Upsert]) -> list[Upsert]:
    """Return contacts, one of each identity, destination and stream."""
    found: dict[t.Any, Upsert] = {}
    for upsert in upserts:
        name = upsert.parts[-1].stream.name
        one = found.setdefault((identity_text(upsert.contact), upsert.destination, name), upsert)
        if one is not upsert:
            one.contact = merge(one.contact, upsert.contact)
            one.parts += upsert.parts
    return list(found.values())


def _found_id(upsert: Upsert) -> int | None:
    """Return the id of a contact that was looked for, None if MainBrainer does not name it."""
    status = None if upsert.batch is None else upsert.batch.status
    if status is None or status.failed_reason or status.processed != 1 or status.updated != 1:
        return None
    ids = status.updated_ids
    if len(ids) != 1 or status.inserted_ids or status.skipped_ids:
        return None
    contact_id = next(iter(ids))
    return contact_id if contact_id > 0 else None
