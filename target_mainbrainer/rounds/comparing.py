"""Rounds, compared with the ledger and marked in it before they are sent.

One transaction before the first request: who the people of the round are, what the CRM holds of
them, what is sent. One after the last answer: what became known.
"""

from __future__ import annotations

import logging
import typing as t

from target_mainbrainer.contacts import identity_of
from target_mainbrainer.errors import DeliveryError, Reason
from target_mainbrainer.ledger import lease, people
from target_mainbrainer.ledger.content import (
    Fields,
    Person,
    Row,
    Seen,
    identity_from,
    identity_text,
)
from target_mainbrainer.rounds.batches import Kind
from target_mainbrainer.rounds.moves import Deferred, follow
from target_mainbrainer.rounds.plan import Rules, compare, hashes_of, leave_out_older
from target_mainbrainer.rounds.round import (
    MoveRound,
    Part,
    Place,
    Prepared,
    Round,
    Upsert,
    Why,
)

if t.TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    import sqlalchemy as sa

    from target_mainbrainer.contacts import Contact, Identity
    from target_mainbrainer.ledger.ledger import Ledger
    from target_mainbrainer.settings.declared import Settings

    Suppressed: t.TypeAlias = Callable[..., frozenset[str]]

logger = logging.getLogger("target-mainbrainer")


class Comparer:
    """Decides the rounds of a run with a ledger.

    Args:
        settings: The run's settings.
        ledger: The run's ledger.
        suppressed: Returns which opt-ins of a contact must not be sent as true.

    Attributes:
        deferred: Records that wait for the end of the input.
        seen: The people who have come in this run.
        newest_person: The highest number of a person when the run began.
        streams: The numbers of the streams that have come in this run.
    """

    def __init__(self, settings: Settings, ledger: Ledger, suppressed: Suppressed) -> None:
        self._follows = settings.identity_changes == "follow"
        self._rules = Rules(
            hashes=ledger.hashes,
            sends_all=settings.unchanged_contacts == "send",
            omits_old_yes=settings.unchanged_opt_in == "omit",
            is_mixed=ledger.is_mixed,
            suppressed=suppressed,
        )
        self._max_new = settings.max_new_contacts
        self._is_dry = settings.dry_run
        self._created = 0
        self._ledger = ledger
        self._warned_of_mix = False
        self.deferred = Deferred(settings.max_drift_percent, reads_on=self._is_dry)
        self.seen = Seen()
        self.newest_person = ledger.read(people.newest_id)
        self.streams: set[int] = set()
        self._known: dict[int, int] = {}

    def known(self, stream: int) -> int:
        """Return how many people of a stream were known when the run began."""
        if stream not in self._known:
            self._known[stream] = self._ledger.read(
                lambda connection: people.count(connection, stream, up_to=self.newest_person)
            )
        return self._known[stream]

    def identity_of(self, stream: int, key: str) -> Identity | None:
        """Return the identity that MainBrainer holds for a source key, None if that is unknown.

        Or that of the last record, if the person is new and deferred.
        """
        found = self._ledger.read(lambda c: people.people_of(c, stream, [key])).get(key)
        if found is None and (stream, key) in self.deferred:
            return identity_of(self.deferred.parts_of((stream, key))[-1].contact)
        return None if found is None else identity_from(found.identity)

    def prepare(self, closed: Round) -> Prepared:
        """Decide what is sent of a round, and mark it in the ledger.

        Raises:
            DeliveryError: It would create more contacts than `max_new_contacts` allows, or more
                people have moved than `max_drift_percent` allows.
            LedgerError: The ledger cannot be used, or another run has taken over.
        """

        def prepare(connection: sa.Connection) -> Prepared:
            prepared = Prepared()
            known = self._people(connection, closed.upserts.values())
            parts = self._without_deferred(connection, closed, known, prepared)
            self._decide(connection, list(parts.upserts.values()), known, prepared)
            prepared.waiting += [part for upsert in prepared.left for part in upsert.parts]
            self._mark(connection, prepared, closed.number)
            return prepared

        return self._noted(self._ledger.write(prepare))

    def prepare_decided(self, one: MoveRound, number: int) -> Prepared:
        """Do the same for a round of which it is decided already who is in it.

        Raises:
            DeliveryError: As `prepare` does.
            LedgerError: As `prepare` does.
        """

        def prepare(connection: sa.Connection) -> Prepared:
            prepared = Prepared()
            if one.is_decided:
                self._look_up(connection, one, prepared)
            else:
                known = self._people(connection, one.upserts)
                self._decide(connection, one.upserts, known, prepared)
            self._mark(connection, prepared, number)
            return prepared

        return self._noted(self._ledger.write(prepare))

    def _noted(self, prepared: Prepared) -> Prepared:
        """Note what a round has shown, now that it is committed."""
        self._created += sum(upsert.kind is Kind.CREATE for upsert in prepared.sent)
        for place in prepared.released:
            self.deferred.forget(place)
        for part, why, person in prepared.deferred:
            self.deferred.add(part, why, person, self.known)
        if self._ledger.is_mixed and not self._warned_of_mix:
            self._warned_of_mix = True
            logger.warning(
                "Some contacts are known by 'contact_id' and others are not, so that the ledger "
                "cannot tell which are the same person: every contact is sent. Map 'contact_id' "
                "in all streams or in none; 'mainbrainer-ledger forget' forgets the others."
            )
        return prepared

    def _look_up(self, connection: sa.Connection, one: MoveRound, prepared: Prepared) -> None:
        """Look up the rows of contacts of which it is decided what leaves."""
        hashes = self._rules.hashes
        owns = {hashes.identity(upsert.contact) for upsert in one.upserts}
        rows = self._ledger.rows(connection, owns)
        busy = self._busy(connection, rows) if one.batches is None else set()
        for upsert in one.upserts:
            own = hashes.identity(upsert.contact)
            if own in busy:
                prepared.left.append(upsert)
                continue
            upsert.row = rows.get(own) or Row(None, own, hashes.spelling(upsert.contact))
            # With an identity alone nothing is known that was not known before.
            upsert.fields = Fields([], b"")
            if upsert.since is not None:
                leave_out_older(upsert, upsert.row, hashes)
            prepared.sent.append(upsert)

    def _decide(
        self,
        connection: sa.Connection,
        upserts: Sequence[Upsert],
        known: dict[Place, Person],
        prepared: Prepared,
    ) -> None:
        """Compare contacts with the ledger."""
        rules = self._rules._replace(is_mixed=self._ledger.is_mixed)
        identity = rules.hashes.identity
        now = self._ledger.now(connection)
        before = [_identities_before(upsert, known) for upsert in upserts]
        owns = [hashes_of(upsert, rules.hashes) for upsert in upserts]
        hashes = {one for own in owns for one in own}
        hashes.update(identity(one) for some in before for one in some)
        rows = self._ledger.rows(connection, hashes)
        busy = self._busy(connection, rows)
        changed: dict[int, Person] = {}
        for upsert, own, others in zip(upserts, owns, before, strict=True):
            if not busy.isdisjoint(own):
                prepared.left.append(upsert)
                continue
            busy.add(own[0])  # one contact of each identity
            old = [rows[one] for one in map(identity, others) if one in rows]
            upsert.finding = compare(upsert, own, rows, rules, old_rows=old, others=others)
            if upsert.finding.is_unchanged:
                prepared.unchanged.append(upsert)
            elif upsert.kind is Kind.CREATE and _is_deletion(upsert):
                upsert.outgoing = None
                prepared.omitted.append(upsert)
                continue
            else:
                prepared.sent.append(upsert)
            for person in self._changed_people(upsert, known, now):
                changed[id(person)] = person
        if not self._is_dry and (problems := list(self.problems(prepared.sent))):
            raise DeliveryError(*problems)
        self._ledger.note_kinds(
            connection, {upsert.contact.contact_id is not None for upsert in prepared.sent}
        )
        people.save(connection, list(changed.values()))

    def _mark(self, connection: sa.Connection, prepared: Prepared, number: int) -> None:
        rows = [t.cast("Row", upsert.row) for upsert in prepared.sent]
        self._ledger.mark(connection, rows, number)

    def problems(self, sent: Iterable[Upsert] = ()) -> Iterator[Reason]:
        """Yield why the run fails if these contacts are sent; a dry run asks at its end."""
        new = self._created + sum(upsert.kind is Kind.CREATE for upsert in sent)
        if self._max_new is not None and new > self._max_new:
            more = "" if self._is_dry else " or more"
            text = (
                f"The load would create {new:,} contacts{more}, and 'max_new_contacts' allows "
                f"{self._max_new:,}. Check the source and 'field_map'; if all of them are really "
                "new, raise the setting for one run."
            )
            yield Reason("max_new_contacts", text)

    def _busy(self, connection: sa.Connection, rows: dict[int, Row]) -> set[int]:
        """Return the hashes of the identities that another live run is sending."""
        ours = self._ledger.run
        others = {
            one: run
            for one, row in rows.items()
            if row.open_mark is not None and (run := self._ledger.run_of(row.open_mark)) != ours
        }
        if not others:
            return set()
        live = lease.live_runs(connection)
        return {one for one, run in others.items() if run in live}

    # People

    def _people(self, connection: sa.Connection, upserts: Iterable[Upsert]) -> dict[Place, Person]:
        """Return what is known of the people of contacts, who have come."""
        keys: dict[int, set[str]] = {}
        for upsert in upserts:
            for part in upsert.parts:
                if (place := part.person_key) is not None:
                    keys.setdefault(place[0], set()).add(place[1])
        self.streams.update(keys)
        return {
            (stream, key): person
            for stream, some in keys.items()
            for key, person in self.came(connection, stream, some).items()
        }

    def came(
        self, connection: sa.Connection, stream: int, keys: Collection[str]
    ) -> dict[str, Person]:
        """Return what is known of source keys, and note that these people are not missing."""
        known = people.people_of(connection, stream, keys)
        for person in known.values():
            self.seen.add(t.cast("int", person.id))
        back = [person for person in known.values() if person.missed or person.is_gone]
        for person in back:
            person.missed, person.is_gone = 0, False
        people.save(connection, back)
        return known

    def _without_deferred(
        self,
        connection: sa.Connection,
        closed: Round,
        known: dict[Place, Person],
        prepared: Prepared,
    ) -> Round:
        """Return a round without the people who are deferred.

        A record that has lost a part of its address goes out under the combination that the CRM
        holds; then the round is put together anew.
        """
        if not self._follows:
            return closed
        owned = self._owned_by_others(connection, closed, known)
        never = self._never_delivered(connection, closed, known)
        parts = [part for upsert in closed.upserts.values() for part in upsert.parts]
        verdicts: dict[int, tuple[Why | None, Contact | None]] = {}
        leaving: set[Place | None] = set()
        # Those who are known first: a newcomer may wait for one of them.
        for part in sorted(parts, key=lambda one: one.person_key not in known):
            if (verdict := self._verdict(part, known, owned, never, leaving)) is not None:
                verdicts[id(part)] = verdict
                leaving.update([part.person_key] if verdict[0] is Why.MOVE else [])
        if not verdicts:
            return closed
        anew = Round(closed.since, closed.number)
        for part in sorted(parts, key=lambda one: one.place):
            why, like = verdicts.get(id(part), (None, None))
            place = t.cast("Place", part.person_key)
            if why is not None:
                prepared.deferred.append((part, why, known.get(place)))
                continue
            if id(part) in verdicts and place in self.deferred and place not in prepared.released:
                # It is back at the identity that the CRM holds: what has waited goes first.
                prepared.released.append(place)
                for waiting in self.deferred.parts_of(place):
                    anew.add(waiting.under(like or part.contact))
            if like is not None:
                part.stream.report.old_parts_kept += 1
            anew.add(part if like is None else part.under(like))
        prepared.waiting += anew.waiting
        return anew

    def _never_delivered(
        self, connection: sa.Connection, closed: Round, known: dict[Place, Person]
    ) -> set[int]:
        """Return the hashes of identities of people that MainBrainer has always refused."""
        hashes = {
            known[place].hash
            for upsert in closed.upserts.values()
            for part in upsert.parts
            if (place := part.person_key) is not None
            and place in known
            and known[place].identity != identity_text(part.contact)
        }
        if not hashes:
            return set()
        return {
            row.hash
            for row in self._ledger.rows(connection, hashes).values()
            if row.delivered_at is None and row.unsure_at is None and row.open_mark is None
        }

    def _verdict(
        self,
        part: Part,
        known: dict[Place, Person],
        owned: dict[int, list[Person]],
        never: set[int],
        leaving: set[Place | None],
    ) -> tuple[Why | None, Contact | None] | None:
        """Return whether a record is deferred, or goes out under another identity; None if not."""
        if (place := part.person_key) is None:
            return None
        person = known.get(place)
        if person is None:
            is_deferred = place in self.deferred or (
                self.deferred.takes_newcomers
                and part.contact.contact_id is None
                and self._may_be_freed(place, part, owned, leaving)
            )
            return (Why.NEWCOMER, None) if is_deferred else None
        if person.hash in never and person.moving_id is None:
            if person.previous is None:
                return None  # what is not in the CRM cannot be followed
            person.put_back(self._rules.hashes)
        following = follow(person, part.contact)
        if following is None:
            return (None, None) if place in self.deferred else None
        if following.is_move:
            return Why.MOVE, None
        return None, following.contact

    def _owned_by_others(
        self, connection: sa.Connection, closed: Round, known: dict[Place, Person]
    ) -> dict[int, list[Person]]:
        """Return who owns the identities of those in a round who are new."""
        if not self.newest_person:
            return {}
        new = {
            self._rules.hashes.identity(part.contact)
            for upsert in closed.upserts.values()
            for part in upsert.parts
            if part.person_key is not None
            and part.person_key not in known
            and part.contact.contact_id is None
        }
        if not new:
            return {}
        return people.holders_of(connection, self._ledger.account, new, self._rules.hashes)

    def _may_be_freed(
        self, place: Place, part: Part, owned: dict[int, list[Person]], leaving: set[Place | None]
    ) -> bool:
        """Return whether somebody owns a newcomer's identity who may leave it in this run."""
        for owner in owned.get(self._rules.hashes.identity(part.contact), ()):
            owners_place = owner.stream, owner.key
            if owners_place == place or (owner.id or 0) > self.newest_person:
                continue
            if owners_place in self.deferred or owners_place in leaving:
                return True
            if owner.stream in self.streams and (owner.id or 0) not in self.seen:
                return True
        return False

    def _changed_people(
        self, upsert: Upsert, known: dict[Place, Person], now: int
    ) -> Iterator[Person]:
        """Yield the people of a contact who are new, or of whom something has changed."""
        text = ""
        for part in upsert.parts:
            if (place := part.person_key) is None:
                continue
            text = text or identity_text(upsert.contact)
            person = known.get(place)
            if person is None:
                hash_ = self._rules.hashes.identity(upsert.contact)
                person = known[place] = Person(None, *place, text, hash_)
            elif person.identity != text:
                person.previous = person.previous or person.identity
                person.identity = text
                person.hash = self._rules.hashes.identity(upsert.contact)
                upsert.changed_people += (person,)
            elif person.seen_at >= now - people.SEEN_SECONDS:
                continue
            person.seen_at = now
            yield person


def _identities_before(
    upsert: Upsert, known: Mapping[Place, Person]
) -> tuple[Contact | Identity, ...]:
    """Return the identities, other than a contact's own, that the CRM may hold for its people."""
    own = ""
    before: dict[str, None] = {}  # a set in the order of the records
    for part in upsert.parts:
        if (place := part.person_key) is None or (person := known.get(place)) is None:
            continue
        own = own or identity_text(upsert.contact)
        before |= dict.fromkeys(
            text for text in (person.identity, person.previous) if text is not None and text != own
        )
    if upsert.renamed_from is not None:
        before[identity_text(upsert.renamed_from)] = None
    return tuple(map(identity_from, before))


def _is_deletion(upsert: Upsert) -> bool:
    """Return whether it only opts a contact out, which is not created for that."""
    return all(part.is_deletion for part in upsert.parts)
