"""Rounds, compared with the ledger and marked in it before they are sent.

One transaction before the first request: who the people of the round are, what the CRM holds of
them, what is sent. One after the last answer: what became known.
"""

from __future__ import annotations

import itertools
import logging
import typing as t
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import sqlalchemy as sa

from target_mainbrainer.contacts import Contact, Identity, identity_of
from target_mainbrainer.errors import DeliveryError, Reason
from target_mainbrainer.ledger import lease, people
from target_mainbrainer.ledger.content import (
    Hashes,
    Person,
    Row,
    Seen,
    identity_from,
    identity_text,
)
from target_mainbrainer.ledger.ledger import ROUND_BITS, Ledger
from target_mainbrainer.rounds.batches import Kind
from target_mainbrainer.rounds.moves import DRIFT_COUNTS_FROM, Deferred, drift_limit, follow
from target_mainbrainer.rounds.plan import Rules, compare, hashes_of, leave_out_older
from target_mainbrainer.rounds.round import ClosedRound, Part, Place, Prepared, Round, Upsert
from target_mainbrainer.settings.declared import Settings
from target_mainbrainer.words import shown

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
        self._max_drift_percent = settings.max_drift_percent
        self._is_dry = settings.dry_run
        self._created = 0
        self._ledger = ledger
        self._warned_of_mix = False
        self.deferred = Deferred()
        self.seen = Seen()
        self.newest_person = ledger.read(people.newest_id)
        self._known: dict[int, int] = {}

    def known(self, stream: int) -> int:
        """Return how many people of a stream were known when the run began."""
        if stream not in self._known:
            self._known[stream] = self._ledger.read(
                lambda c: people.count(c, stream, up_to=self.newest_person)
            )
        return self._known[stream]

    def identity_of(self, stream: int, key: str) -> Identity | None:
        """Return the identity that MainBrainer holds for a source key, None if that is unknown.

        Or that of the last record, if the person is new and deferred.
        """
        found = self._ledger.read(lambda c: people.people_of(c, stream, [key])).get(key)
        if found is None and (waiting := self.deferred.movers.get((stream, key))) is not None:
            return identity_of(waiting.parts[-1].contact)
        return None if found is None else identity_from(found.identity)

    def prepare(
        self, one: ClosedRound, number: int, unsent: Iterable[Place] | None = None
    ) -> Prepared:
        """Decide what is sent of a round, and mark it in the ledger.

        Args:
            one: The round.
            number: Which round of the run it is.
            unsent: People who have come in records that are not sent; None at the end of the
                input, when no record is deferred any more.

        Raises:
            DeliveryError: It would create more contacts than `max_new_contacts` allows.
            LedgerError: The ledger cannot be used, or another run has taken over.
        """

        def prepare(connection: sa.Connection) -> Prepared:
            prepared, upserts = Prepared(), one.upserts
            known = self._people(connection, upserts, unsent or ())
            if unsent is not None and self._follows:
                upserts = self._without_deferred(connection, upserts, known, prepared)
            self._decide(connection, one._replace(upserts=upserts), known, prepared)
            rows = [t.cast("Row", upsert.row) for upsert in prepared.sent]
            self._ledger.mark(connection, rows, number)
            return prepared

        prepared = self._ledger.write(prepare)
        self._created += sum(upsert.kind is Kind.CREATE for upsert in prepared.sent)
        for place in prepared.released:
            self.deferred.forget(place)
        for part, person in prepared.deferred:
            self.deferred.add(part, person)
        if self._ledger.is_mixed and not self._warned_of_mix:
            self._warned_of_mix = True
            logger.warning(
                "Some contacts are known by 'contact_id' and others are not, so that the ledger "
                "cannot tell which are the same person: every contact is sent. Map 'contact_id' "
                "in all streams or in none; 'mainbrainer-ledger forget' forgets the others."
            )
        return prepared

    def _decide(
        self,
        connection: sa.Connection,
        one: ClosedRound,
        known: dict[Place, Person],
        prepared: Prepared,
    ) -> None:
        """Compare contacts with the ledger, or only look them up if it is decided what leaves."""
        upserts = one.upserts
        rules = self._rules._replace(is_mixed=self._ledger.is_mixed)
        identity = rules.hashes.identity
        now = self._ledger.now(connection)
        before = [_identities_before(upsert, known) for upsert in upserts]
        owns = [hashes_of(upsert, rules.hashes) for upsert in upserts]
        hashes = {*itertools.chain(*owns), *map(identity, itertools.chain(*before))}
        rows = self._ledger.rows(connection, hashes)
        busy = self._busy(connection, rows)
        self._keep_owned(connection, upserts)
        changed: dict[int, Person] = {}
        leaving: list[int] = []
        for upsert, own, others in zip(upserts, owns, before, strict=True):
            if not busy.isdisjoint(own):
                prepared.left.append(upsert)
                continue
            busy.add(own[0])  # one contact of each identity
            if one.is_decided:
                _look_up(upsert, own[0], rows, rules.hashes)
                prepared.sent.append(upsert)
                continue
            old = [rows[hash_] for hash_ in map(identity, others) if hash_ in rows]
            persons = (*others, *_had(upsert, known))
            upsert.finding = compare(upsert, own, rows, rules, old_rows=old, others=persons)
            if upsert.moving_id is not None:  # its contact may be there no more when the run ends
                leaving += [t.cast("int", row.id) for row in old]
            if upsert.finding.is_unchanged:
                prepared.unchanged.append(upsert)
            elif (upsert.kind is Kind.CREATE or upsert.owners) and _is_deletion(upsert):
                upsert.outgoing = None
                prepared.omitted.append(upsert)
                continue
            else:
                prepared.sent.append(upsert)
            for person in self._changed_people(upsert, known, now):
                changed[id(person)] = person
        if not self._is_dry and (reasons := list(self._too_many_new(prepared.sent))):
            raise DeliveryError(*reasons)
        people.save(connection, list(changed.values()))
        self._ledger.forget_content(connection, leaving)

    def _keep_owned(self, connection: sa.Connection, upserts: Iterable[Upsert]) -> None:
        """Let no deletion count where another source key has the contact."""
        identity = self._rules.hashes.identity
        deleted = {
            identity(one.contact): one
            for one in upserts
            if any(part.is_deletion for part in one.parts)
        }
        if deleted:
            account, hashes = self._ledger.account, self._rules.hashes
            held = people.holders_of(connection, account, deleted, hashes)
            for hash_, upsert in deleted.items():
                if owners := held[hash_]:
                    upsert.keep((one.stream, one.key) for one in owners)

    def problems(self) -> Iterator[Reason]:
        """Yield why a run fails that goes on nevertheless, as a dry run does."""
        yield from self._too_many_new(())
        yield from self._too_many_moving()

    def _too_many_new(self, sent: Iterable[Upsert]) -> Iterator[Reason]:
        new = self._created + sum(upsert.kind is Kind.CREATE for upsert in sent)
        if self._max_new is not None and new > self._max_new:
            more = "" if self._is_dry else " or more"
            text = (
                f"The load would create {new:,} contacts{more}, and 'max_new_contacts' allows "
                f"{self._max_new:,}. Check the source and 'field_map'; if all of them are really "
                "new, raise the setting for one run."
            )
            yield Reason("max_new_contacts", text)

    def _too_many_moving(self) -> Iterator[Reason]:
        for (stream, name), moving in self.deferred.moving().items():
            if moving <= DRIFT_COUNTS_FROM:
                continue
            known = self.known(stream)
            limit = drift_limit(known, self._max_drift_percent)
            if moving > limit:
                text = (
                    f"Of {known:,} known contacts of stream '{shown(name)}' more than {limit:,} "
                    "have another e-mail address or mobile number than before, more than "
                    f"'max_drift_percent' ({self._max_drift_percent}) allows, so none was moved. "
                    "Check 'field_map' and 'default_country_code'; if they have really changed, "
                    "raise the setting for one run."
                )
                yield Reason("max_drift_percent", text)

    def _busy(self, connection: sa.Connection, rows: dict[int, Row]) -> set[int]:
        """Return the hashes of the identities that another live run is sending."""
        ours = self._ledger.run
        others = {
            one: run
            for one, row in rows.items()
            if row.open_mark is not None and (run := row.open_mark >> ROUND_BITS) != ours
        }
        if not others:
            return set()
        live = lease.live_runs(connection)
        return {one for one, run in others.items() if run in live}

    # People

    def _people(
        self,
        connection: sa.Connection,
        upserts: Iterable[Upsert],
        unsent: Iterable[Place] = (),
    ) -> dict[Place, Person]:
        """Return what is known of people who have come, and note that they are not missing.

        A deleted person is gone, and owns no contact.
        """
        keys: dict[int, set[str]] = {}
        deleted = {part.person: part.is_deletion for upsert in upserts for part in upsert.parts}
        for stream, key in filter(None, (*unsent, *deleted)):
            keys.setdefault(stream, set()).add(key)
        known = {
            (stream, key): person
            for stream, some in keys.items()
            for key, person in people.people_of(connection, stream, some).items()
        }
        back = []
        for place, person in known.items():
            self.seen.add(t.cast("int", person.id))
            is_gone = deleted.get(place, False)
            if person.missed or person.is_gone is not is_gone:
                person.missed, person.is_gone = 0, is_gone
                back.append(person)
        people.save(connection, back)
        return known

    def _without_deferred(
        self,
        connection: sa.Connection,
        upserts: list[Upsert],
        known: dict[Place, Person],
        prepared: Prepared,
    ) -> list[Upsert]:
        """Return the contacts of a round without the people who are deferred.

        A record that has lost a part of its address goes out under the combination that the CRM
        holds; then the round is rebuilt.
        """
        parts = [part for upsert in upserts for part in upsert.parts]
        if not (likes := self._likes(connection, parts, known)):
            return upserts
        rebuilt = Round()
        for part in sorted(parts, key=lambda one: one.place):
            like = likes.get(id(part), part.contact)
            place = t.cast("Place", part.person)
            if like is None:
                prepared.deferred.append((part, known.get(place)))
                continue
            if place in self.deferred.movers and place not in prepared.released:
                # It is back at the identity that the CRM holds: what has waited goes first.
                prepared.released.append(place)
                for waiting in self.deferred.movers[place].parts:
                    rebuilt.add(waiting.under(like))
            if like is not part.contact:
                part.stream.report.old_parts_kept += 1
            rebuilt.add(part if like is part.contact else part.under(like))
        prepared.waiting += rebuilt.waiting
        return list(rebuilt.upserts.values())

    def _likes(
        self, connection: sa.Connection, parts: Sequence[Part], known: dict[Place, Person]
    ) -> dict[int, Contact | None]:
        """Return under which identity records go out, but for those of which nothing changes.

        None means that a record is deferred.
        """
        owners, never = self._others(connection, parts, known)
        likes: dict[int, Contact | None] = {}
        leaving: set[Place | None] = set(self.deferred.movers)
        # Those who are known first: a newcomer may wait for one of them.
        for part in sorted(parts, key=lambda one: one.person not in known):
            like = self._known_as(part, known, never)
            if like is None:
                leaving.add(part.person)
            elif part.person not in known and (
                part.person in self.deferred.movers
                or (part.person and owners and self._may_be_freed(part, owners, leaving))
            ):
                like = None
            if like is not part.contact or part.person in self.deferred.movers:
                likes[id(part)] = like
        return likes

    def _known_as(self, part: Part, known: dict[Place, Person], never: set[int]) -> Contact | None:
        """Return a contact of the identity that a record goes out under, None if that changes."""
        person = None if part.person is None else known.get(part.person)
        if person is None:
            return part.contact
        if person.hash in never and person.moving_id is None:
            if person.previous is None:
                return part.contact  # what is not in the CRM cannot be followed
            person.put_back(self._rules.hashes)
        following = follow(person, part.contact)
        if following is None:
            return part.contact
        return None if following.is_move else following.contact

    def _may_be_freed(
        self, part: Part, owners: dict[int, list[Person]], leaving: set[Place | None]
    ) -> bool:
        """Return whether an owner of a newcomer's identity may leave it in this run."""
        return any(
            (owner.id or 0) not in self.seen or (owner.stream, owner.key) in leaving
            for owner in owners.get(self._rules.hashes.identity(part.contact), ())
            if (owner.id or 0) <= self.newest_person
        )

    def _others(
        self, connection: sa.Connection, parts: Iterable[Part], known: dict[Place, Person]
    ) -> tuple[dict[int, list[Person]], set[int]]:
        """Return who owns the identities of newcomers, and those that were always refused."""
        new, left = set(), set()
        for part in parts:
            if part.person is None or part.contact.contact_id is not None:
                continue
            if (person := known.get(part.person)) is None:
                if self.newest_person:  # else none of them can be another person's
                    new.add(self._rules.hashes.identity(part.contact))
            elif person.identity != identity_text(part.contact):
                left.add(person.hash)
        owners: dict[int, list[Person]] = {}
        if new and self.deferred.takes_newcomers:
            account, hashes = self._ledger.account, self._rules.hashes
            owners = people.holders_of(connection, account, new, hashes)
        return owners, {
            row.hash
            for row in self._ledger.rows(connection, left).values()
            if row.delivered_at is None and row.unsure_at is None and row.open_mark is None
        }

    def _changed_people(
        self, upsert: Upsert, known: dict[Place, Person], now: int
    ) -> Iterator[Person]:
        """Yield the people of a contact who are new, or of whom something has changed."""
        text = ""
        for part in upsert.parts:
            if (place := part.person) is None:
                continue
            text = text or identity_text(upsert.contact)
            hash_ = t.cast("Row", upsert.row).hash
            person = known.get(place)
            if person is None:
                person = known[place] = Person(None, *place, text, hash_)
                person.is_gone = part.is_deletion
            elif person.identity != text or (person.previous and person.moving_id is None):
                person.change(text, hash_)
                upsert.changed_people += (person,)
            elif person.seen_at >= now - people.SEEN_SECONDS:
                person.is_gone = part.is_deletion
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
        if (place := part.person) is None or (person := known.get(place)) is None:
            continue
        own = own or identity_text(upsert.contact)
        before |= dict.fromkeys(
            text for text in (person.identity, person.previous) if text is not None and text != own
        )
    if upsert.renamed_from is not None:
        before[identity_text(upsert.renamed_from)] = None
    return tuple(map(identity_from, before))


def _had(upsert: Upsert, known: Mapping[Place, Person]) -> Iterator[Identity]:
    """Yield the identities that the people of a contact had at any time."""
    for part in upsert.parts:
        if part.person is not None and (person := known.get(part.person)) is not None:
            yield from map(identity_from, person.had)


def _look_up(upsert: Upsert, own: int, rows: Mapping[int, Row], hashes: Hashes) -> None:
    """Look up a contact of which it is decided what leaves."""
    upsert.row = rows.get(own) or Row(None, own, hashes.spelling(upsert.contact))
    # With an identity alone nothing is known that was not known before.
    upsert.fields = b""
    if upsert.since is not None:
        leave_out_older(upsert, upsert.row, hashes)


def _is_deletion(upsert: Upsert) -> bool:
    """Return whether it only opts a contact out, which is not created for that."""
    return all(part.is_deletion for part in upsert.parts)
