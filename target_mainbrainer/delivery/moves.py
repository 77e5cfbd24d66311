"""People whose e-mail address or mobile number has changed, and how their contact follows them.

They wait until the input has ended and everything else is delivered. Then, for each of them:

1. The identity that the CRM holds goes out alone, with the opt-ins that the new data carries; its
   status names the contact's id.
2. The ledger commits the id, beside both identities.
3. The new data goes out with that id.

`ledger/moves_plan.py` says who can move when; `docs/moved-people.md` says why.
"""

from __future__ import annotations

import logging
import typing as t
from collections import Counter, defaultdict

import msgspec

from target_mainbrainer.contacts.contact import Contact
from target_mainbrainer.contacts.identity import identifiers_of, merge
from target_mainbrainer.contacts.rejection import Rejection, RejectionCode
from target_mainbrainer.delivery.confirmation import BatchEnd
from target_mainbrainer.delivery.move_requests import Reply, Request
from target_mainbrainer.delivery.outcomes import BATCH_FAILED
from target_mainbrainer.delivery.pending_contact import ContactPart, PendingContact
from target_mainbrainer.errors import DeliveryError
from target_mainbrainer.ledger.comparison import Comparison
from target_mainbrainer.ledger.moves_plan import Key, Mover, Step, Wait, next_steps

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from target_mainbrainer.delivery.batch import Destination
    from target_mainbrainer.delivery.buffer import OpenBuffers
    from target_mainbrainer.delivery.move_requests import MoveRequests
    from target_mainbrainer.delivery.outcomes import Outcomes
    from target_mainbrainer.ledger.comparison import Candidate
    from target_mainbrainer.ledger.marking import Decision, Mark
    from target_mainbrainer.ledger.moves_plan import Following
    from target_mainbrainer.ledger.stream_ledger import StreamLedger
    from target_mainbrainer.reporting.source_stream import SourceStream
    from target_mainbrainer.singer.source_record import SourceRecord

DRIFT_COUNTS_FROM = 10
"""So many contacts of a stream may have moved or be missing whatever the percentage."""

MOST_NEWCOMERS = 10_000
"""When more wait, the source has new keys for everybody, and nobody leaves anything to them."""

MAX_WAITING_BYTES = 256 * 1024 * 1024
"""Records that wait for the end of the input, all together."""

MOST_NAMED = 5
_BLOCK = 1_000

_TAKEN = Rejection(
    RejectionCode.IDENTITY_TAKEN,
    "Its new e-mail address and mobile number are those of somebody else, who does not leave them "
    "in this run; people who have swapped theirs look like this. Change one of them in MainBrainer "
    "by hand, or in two steps in the source.",
)
_FAILED = Rejection(
    BATCH_FAILED, "The batch that was to change its e-mail address or mobile number has failed."
)

logger = logging.getLogger("target-mainbrainer")


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


class _Waiting:
    """A source key that waits for the end of the input: its records, and the last of them.

    Attributes:
        parts: Its records in the order of the input; the last one says who it is now.
        last: The last one as it has come.
        following: How its contact is held; set when its turn comes.
        contact_id: Of its contact, once that is known.
        is_new: Its contact was deleted in the CRM, and has just come back.
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
    def stream(self) -> SourceStream:
        """Where it comes from."""
        return self.last.stream

    @property
    def source_records(self) -> list[SourceRecord]:
        """Its records."""
        return [part.source_record for part in self.parts]

    @property
    def contact(self) -> Contact:
        """All records merged, with the identity of the last one."""
        merged = self.parts[0].contact
        for part in self.parts[1:]:
            merged = merge(merged, part.contact)
        return with_identity(merged, self.parts[-1].contact)

    def touch(self) -> PendingContact:
        """Return what finds the contact: its old identity, and the opt-ins of the new data."""
        contact = self.contact
        previous = self.following.previous
        return self._pending(
            Contact(
                mobile=previous.mobile,
                email=previous.email,
                mobile_opt_in=contact.mobile_opt_in,
                email_opt_in=contact.email_opt_in,
            )
        )

    def rename(self) -> PendingContact:
        """Return what gives the contact its new identity: the new data, with its id."""
        contact = with_identity(self.contact, self.following.contact)
        if self.is_new:  # what was left out because the CRM had it, it has not any more
            told = self.last.candidate.contact
            contact = msgspec.structs.replace(
                contact,
                mobile_opt_in=_either(contact.mobile_opt_in, told.mobile_opt_in),
                email_opt_in=_either(contact.email_opt_in, told.email_opt_in),
            )
        return self._pending(msgspec.structs.replace(contact, contact_id=self.contact_id))

    def _pending(self, contact: Contact) -> PendingContact:
        parts = [ContactPart(part.contact, part.source_record, part.mark) for part in self.parts]
        return PendingContact(contact, identifiers_of(contact), parts)


class Moves:
    """Holds back who has moved, and lets their contacts follow at the end of the input.

    Args:
        ledgers: The ledgers of the streams, by name.
        buffers: Take what is sent as any contact.
        requests: Sends what is awaited.
        outcomes: Books what has moved.
        set_aside: Takes records that are rejected.
        drain: Waits until everything in the buffers and in the queue is delivered and written.
        max_drift_percent: How large a share of a stream may move.
    """

    def __init__(
        self,
        ledgers: Mapping[str, StreamLedger],
        buffers: OpenBuffers,
        requests: MoveRequests,
        outcomes: Outcomes,
        *,
        set_aside: Callable[[SourceStream, Sequence[SourceRecord], Rejection], None],
        drain: Callable[[], None],
        max_drift_percent: int,
    ) -> None:
        self._ledgers = ledgers
        self._buffers = buffers
        self._requests = requests
        self._outcomes = outcomes
        self._set_aside = set_aside
        self._drain = drain
        self._max_drift_percent = max_drift_percent
        self._waiting: dict[tuple[str, str], _Waiting] = {}
        self._newcomers: defaultdict[int, list[tuple[str, str]]] = defaultdict(list)
        self._newcomers_waiting = 0
        self._size_bytes = 0
        self._moving: Counter[str] = Counter()
        self._limits: dict[str, tuple[int, float]] = {}
        self._stuck: set[Key] = set()
        self._moved: dict[Key, int] = {}
        self._abandoned: set[int] = set()
        self._left_behind: defaultdict[str, list[_Waiting]] = defaultdict(list)
        self._untold = 0
        self._unconfirmed = 0

    # --- While the input is read --------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """Whether nobody waits."""
        return not self._waiting

    def moving(self, name: str) -> int:
        """Return how many known contacts of a stream have moved."""
        return self._moving[name]

    def take(self, part: Part, arrival: Arrival, decision: Decision) -> bool:
        """Take a contact that has to wait; return False if it has not.

        One that has not may let others go before it.

        Raises:
            DeliveryError: More have moved than `max_drift_percent` allows.
        """
        name, key = arrival.stream.stream, arrival.candidate.key
        if decision.wait is None:
            self._let_go_before((name, key), part)
            return False
        one = self._waiting.get((name, key))
        if one is None:
            one = self._waiting[name, key] = _Waiting(decision.wait)
            if decision.wait is Wait.NEWCOMER:
                self._newcomers_waiting += 1
            elif decision.comparison is not Comparison.NEW:
                self._count_move(name)
        if one.wait is Wait.NEWCOMER:
            self._newcomers[part.mark.identity_hash].append((name, key))
        one.add(part, arrival)
        self._size_bytes += len(arrival.source_record.line)
        if self._newcomers_waiting > MOST_NEWCOMERS:
            self._release_newcomers()
        if self._size_bytes > MAX_WAITING_BYTES:
            message = (
                "Too many records wait for the end of the input because their source keys come "
                "with other e-mail addresses or mobile numbers than before. Check that the "
                "'key_properties' of the stream are unique, or set 'identity_changes' to 'create'."
            )
            raise DeliveryError(message)
        return True

    def _let_go_before(self, place: tuple[str, str], part: Part) -> None:
        """Send what need not wait any more, because a contact has come that does not wait."""
        if (one := self._waiting.get(place)) is not None:  # it has moved back
            self._release(place, one, part.contact)
        for other in self._newcomers.pop(part.mark.identity_hash, ()):
            if (one := self._waiting.get(other)) is not None:
                self._release(other, one, one.parts[-1].contact)

    def _count_move(self, name: str) -> None:
        self._moving[name] += 1
        known, limit = self._limits.get(name) or self._limit(name)
        if self._moving[name] > limit:
            message = (
                f"Of {known:,} known contacts of stream '{name}' more than {int(limit):,} have "
                "another e-mail address or mobile number than before, more than "
                f"'max_drift_percent' ({self._max_drift_percent}) allows, so nobody was moved. "
                "Check 'field_map' and 'default_country_code'; if they have really changed, raise "
                "the setting for one run."
            )
            raise DeliveryError(message)

    def _limit(self, name: str) -> tuple[int, float]:
        known = self._ledgers[name].count_known()
        limit = max(DRIFT_COUNTS_FROM, known * self._max_drift_percent / 100)
        self._limits[name] = known, limit
        return known, limit

    def _release_newcomers(self) -> None:
        for place, one in list(self._waiting.items()):
            if one.wait is Wait.NEWCOMER:
                self._release(place, one, one.parts[-1].contact)
        self._newcomers.clear()

    def _release(self, place: tuple[str, str], one: _Waiting, like: Contact) -> None:
        del self._waiting[place]
        self._newcomers_waiting -= one.wait is Wait.NEWCOMER
        self._size_bytes -= sum(len(part.source_record.line) for part in one.parts)
        self._send(one, like)

    def _send(self, one: _Waiting, like: Contact) -> None:
        """Send all records of a source key as contacts of one identity."""
        for part in one.parts:
            self._buffers.add(
                with_identity(part.contact, like),
                part.source_record,
                stream=one.stream,
                destination=one.last.destination,
                batch_size=one.last.batch_size,
                mark=part.mark,
            )

    # --- When it has ended --------------------------------------------------------------------

    def finish(self) -> None:
        """Let everybody move who waits, in an order in which they do not meet.

        Raises:
            TargetMainBrainerError: The run cannot go on.
        """
        if not self._waiting:
            return
        self._settle()
        waiting, self._waiting = list(self._waiting.values()), {}
        newcomers = [one for one in waiting if one.wait is Wait.NEWCOMER]
        movers = self._movers([one for one in waiting if one.wait is Wait.MOVE], newcomers)
        self._settle()
        while movers:
            steps = self._next_steps(movers, newcomers)
            now = {key: movers.pop(key) for key in steps}
            self._move([one for key, one in now.items() if steps[key] is Step.MOVE])
            for key, one in now.items():
                if steps[key] is Step.JOIN:
                    one.stream.report.moved += 1
                    self._send_plain(one)
                elif steps[key] is Step.NOT_FOLLOWED:
                    self._leave_behind(one)
                elif steps[key] is Step.TAKEN:
                    self._refuse(one, _TAKEN)
            self._settle()
        for one in newcomers:
            held = one.parts[-1].mark.identity_hash
            if self._stuck and not self._stuck.isdisjoint(self._holders([held])[held]):
                self._refuse(one, _TAKEN)
            else:
                self._send(one, one.parts[-1].contact)
        self._settle()

    def _movers(
        self, waiting: Sequence[_Waiting], newcomers: list[_Waiting]
    ) -> dict[Key, _Waiting]:
        """Return who still has to move, now that everything else is in; send who has not."""
        movers: dict[Key, _Waiting] = {}
        by_stream: defaultdict[str, list[_Waiting]] = defaultdict(list)
        for one in waiting:
            by_stream[one.stream.stream].append(one)
        for of_stream in by_stream.values():
            for some in _chunks(of_stream, _BLOCK):
                for one, decision in zip(some, self._mark(some, follows=True), strict=True):
                    following = decision.following
                    if decision.wait is Wait.MOVE and following is not None:
                        one.following, one.contact_id = following, following.moving_id
                        movers[self._key(one)] = one
                    elif decision.wait is Wait.NEWCOMER:
                        newcomers.append(one)
                    else:
                        like = one.parts[-1].contact if following is None else following.contact
                        self._send(one, like)
        return movers

    def warnings(self) -> Iterator[str]:
        """Say who has become a second contact, and why."""
        for name, left in self._left_behind.items():
            labels = [one.stream.labels.key_of(one.last.source_record.line) for one in left]
            shown = ", ".join([label for label in labels if label][:MOST_NAMED])
            more = f" ({shown}{', ...' if len(left) > MOST_NAMED else ''})" if shown else ""
            yield (
                f"{len(left):,} contacts of stream '{name}' have another e-mail address or mobile "
                f"number than before and were not followed, so each is a second contact "
                f"now{more}: their old identity is somebody else's, too, or the new one is taken, "
                "or MainBrainer did not say which contact it was. Merge or delete the old ones "
                "there."
            )
        if self._untold:
            yield (
                f"MainBrainer did not say within 'confirm_timeout_seconds' which contact "
                f"{self._untold:,} of those were."
            )

    def problems(self) -> Iterator[str]:
        """Say what holds STATE back."""
        if self._unconfirmed:
            yield (
                f"{self._unconfirmed:,} contacts that have moved were accepted but not confirmed. "
                "STATE stays before them, so the next run sends them again."
            )

    def _settle(self) -> None:
        self._buffers.send_all()
        self._drain()

    def _mark(self, some: Sequence[_Waiting], *, follows: bool) -> list[Decision]:
        """Compare last records of a stream again: much may have happened since they came."""
        decisions = self._ledgers[some[0].stream.stream].compare(
            [(one.last.candidate, one.last.destination.list_id) for one in some], follows=follows
        )
        for one, decision in zip(some, decisions, strict=True):
            if decision.mark is not None:
                one.parts[-1] = one.parts[-1]._replace(mark=decision.mark)
        return decisions

    def _key(self, one: _Waiting) -> Key:
        return Key(self._ledgers[one.stream.stream].number, one.last.candidate.key)

    def _mover(self, key: Key, one: _Waiting) -> Mover:
        following = one.following
        previous = Contact(mobile=following.previous.mobile, email=following.previous.email)
        digests = self._ledgers[one.stream.stream].digests
        return Mover(
            key,
            digests.identity(previous),
            digests.identity(following.contact),
            frozenset([*identifiers_of(previous), *identifiers_of(following.contact)]),
            has_id=one.contact_id is not None,
        )

    def _next_steps(
        self, movers: Mapping[Key, _Waiting], newcomers: Sequence[_Waiting]
    ) -> dict[Key, Step]:
        waiting = [self._mover(key, one) for key, one in movers.items()]
        hashes = sorted({held for mover in waiting for held in (mover.before, mover.after)})
        holders = self._holders(hashes)
        ignored = {self._key(one) for one in newcomers}
        return next_steps(
            waiting,
            {held: keys - ignored for held, keys in holders.items()},
            stuck=self._stuck,
            moved=self._moved,
            abandoned=self._abandoned,
        )

    def _holders(self, hashes: Sequence[int]) -> dict[int, set[Key]]:
        """Return the source keys that the CRM may hold under each of these identities."""
        holders: dict[int, set[Key]] = {held: set() for held in hashes}
        ledger = next(iter(self._ledgers.values()))
        for some in _chunks(hashes, _BLOCK):
            for entry in ledger.holders(some):
                may_be_in = entry.delivered_at is not None or entry.token is not None
                if may_be_in and entry.identity_hash in holders:
                    holders[entry.identity_hash].add(Key(entry.stream, entry.key))
        return holders

    # --- One step -----------------------------------------------------------------------------

    def _move(self, movers: Sequence[_Waiting]) -> None:
        for one in self._find([one for one in movers if one.contact_id is None]):
            self._leave_behind(one)
        found = [one for one in movers if one.contact_id is not None]
        by_place: defaultdict[tuple[Destination, int], list[_Waiting]] = defaultdict(list)
        for one in found:
            by_place[one.last.destination, one.last.batch_size].append(one)
        groups = [some for (_, size), group in by_place.items() for some in _chunks(group, size)]
        again = self._rename(groups)
        # A batch that is refused, or skips some of its contacts, does not say which: one by one.
        for (one,) in self._rename([[one] for group in again for one in group]):
            self._leave_behind(one)

    def _find(self, movers: Sequence[_Waiting]) -> list[_Waiting]:
        """Find the contacts of movers by their old identity; return those not found."""
        requests = [
            Request(one.last.destination._replace(webhook_url=None), [one.touch()])
            for one in movers
        ]
        lost = []
        ids: defaultdict[str, list[tuple[Mark, int]]] = defaultdict(list)
        for one, reply in zip(movers, self._requests.deliver(requests), strict=True):
            if reply.end is BatchEnd.FAILED:
                self._refuse(one, _FAILED)
            elif (found := reply.found) is None:
                self._untold += reply.accepted is not None
                lost.append(one)
            else:
                one.contact_id, one.is_new = found
                ids[one.stream.stream].append((one.parts[-1].mark, one.contact_id))
        for name, noted in ids.items():
            self._ledgers[name].note_ids(noted)
        return lost

    def _rename(self, groups: Sequence[Sequence[_Waiting]]) -> list[Sequence[_Waiting]]:
        """Give contacts their new identity; return the groups that are to be sent otherwise."""
        renames = [[one.rename() for one in group] for group in groups]
        requests = [
            Request(group[0].last.destination, contacts)
            for group, contacts in zip(groups, renames, strict=True)
        ]
        again = []
        for group, contacts, reply in zip(
            groups, renames, self._requests.deliver(requests), strict=True
        ):
            accepted = reply.accepted
            if accepted is None or reply.end is BatchEnd.SKIPPED or accepted.invalid_contacts.ids:
                again.append(group)
                continue
            for one, contact in zip(group, contacts, strict=True):
                self._book(one, contact, reply)
        return again

    def _book(self, one: _Waiting, contact: PendingContact, reply: Reply) -> None:
        if reply.end is BatchEnd.FAILED:
            self._refuse(one, _FAILED)
            return
        is_confirmed = reply.end is BatchEnd.CONFIRMED
        self._unconfirmed += self._outcomes.moved(
            one.stream,
            contact,
            is_confirmed=is_confirmed,
            may_come_twice=reply.accepted is not None and reply.accepted.may_come_twice,
        )
        report = one.stream.report
        report.moved += 1
        report.old_parts_kept += one.following.keeps_part
        mover = self._mover(self._key(one), one)
        self._moved[mover.key] = mover.before

    def _leave_behind(self, one: _Waiting) -> None:
        """Send it as any contact, which makes it a second one."""
        one.stream.report.moves_not_followed += 1
        self._left_behind[one.stream.stream].append(one)
        self._abandoned.add(self._mover(self._key(one), one).before)
        self._send_plain(one)

    def _send_plain(self, one: _Waiting) -> None:
        self._mark([one], follows=False)
        self._send(one, one.parts[-1].contact)

    def _refuse(self, one: _Waiting, rejection: Rejection) -> None:
        self._ledgers[one.stream.stream].refused([part.mark for part in one.parts])
        self._set_aside(one.stream, one.source_records, rejection)
        self._stuck.add(self._key(one))


def with_identity(contact: Contact, like: Contact) -> Contact:
    """Return a contact with the identity of another one."""
    return msgspec.structs.replace(
        contact, contact_id=like.contact_id, mobile=like.mobile, email=like.email
    )


_T = t.TypeVar("_T")


def _chunks(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _either(first: bool | None, second: bool | None) -> bool | None:  # noqa: FBT001
    return second if first is None else first
