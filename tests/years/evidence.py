"""What the oracle knows, and what it excuses: who is whose, who is doubtful, who is left behind."""

from __future__ import annotations

import math
import re
import typing as t
from collections import defaultdict

from tests.years.history import (
    Columns,
    Identity,
    Run,
    Said,
    Written,
    covers,
    folded,
    identity_in,
    identity_of,
    is_refused,
    kept,
    moves,
    written,
)
from tests.years.source import STREAMS, is_mappable

if t.TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from mainbrainer_sandbox.rules import Contact, Sent
    from tests.years.crm import CRM, Batch
    from tests.years.source import Source
    from tests.years.world import Process

DAY = 86_400.0
SLACK_SECONDS = 2.0
"""How long an answer is on its way at most."""

OPT_INS = ("email_opt_in", "mobile_opt_in")


class Evidence:
    """What an oracle knows: records, requests, contacts, what was done by hand, and warnings.

    Args:
        source: What the taps read.
        crm: What the requests reach.

    Attributes:
        has_new_stream: There was another stream, in which the people were unknown, or are others'.
        known: The people who have come, under each name of the stream.
        vacated: Identities whose contact was deleted or given another one by hand.
        unnoticed: Those that no run has recreated since, and was told so.
        twins: People who had two contacts of one identity, one of them spelt differently, made
            unseen or not followed any more: which one a request reaches the CRM decides.
        moving: People who have come with another address since the last run that ended well.
        torn: Identities of contacts that may have moved, or not.
        doubt: Nights until everything is known again, after something went wrong.
    """

    def __init__(self, source: Source, crm: CRM) -> None:
        self.source = source
        self.crm = crm
        self.people: dict[int, Said] = defaultdict(Said)
        self.runs: dict[Process, Run] = {}
        self.doubt = 0
        self.has_restored = False
        self.has_new_stream = False
        self.twins: set[int] = set()
        self.mappings: set[str] = set()
        self.known: set[tuple[str, int]] = set()
        self.turns: dict[str, list[Process]] = defaultdict(list)
        self.vacated: set[Identity] = set()
        self.unnoticed: set[Identity] = set()
        self.torn: set[Identity] = set()
        self.moving: set[int] = set()
        self._by_email: dict[str, set[int]] = defaultdict(set)
        self._by_mobile: dict[int, set[int]] = defaultdict(set)

    def read(self, process: Process, key: int, columns: Columns) -> None:
        """Note a record that a run reads; with the key 0 a STATE, with -1 the end."""
        run = self.runs[process]
        if key < 0:
            for other, one in self.people.items() if self.source.is_full else ():
                one.missed += other not in run.by_key
            return
        if not key:
            run.marks[columns["at"]] = len(run.records)
            return
        run.records.append((key, columns))
        run.by_key[key].append(columns)
        self.people[key].missed, self.people[key].came_at = 0, self.crm.world.now
        if (columns.get("email") or "").startswith("join"):
            run.joined.add(key)
            return
        if not is_mappable(columns):  # its person has come, and may say no for its number
            self._note_no(self.people[key], columns)
            self._note_address(key, (None, identity_of(columns)[1]))
            return
        self.people[key].is_deleted = bool(columns.get("_sdc_deleted_at"))
        if not self.people[key].is_deleted:
            rows = [row for row in run.by_key[key] if is_mappable(row) and "email" in row]
            is_first = len(rows) == 1
            self._learn(key, self.people[key], columns, is_first=is_first)
            run.movers.discard(key)
            began = self.people[key].began
            if began and moves(identity_of(began[1]), identity_of(columns)):
                run.movers.add(key)

    def _learn(self, key: int, one: Said, columns: Columns, *, is_first: bool) -> None:
        email, mobile = identity_of(columns)
        self._note_address(key, (email, mobile))
        now = self.crm.world.now
        if one.last is not None:
            # Versions of a person in one run count for what was there before it.
            if is_first:
                one.began = one.before, one.last
            before, last = one.began or (one.before, one.last)
            # Spelt differently counts.
            one.moved |= any(columns[name] != one.last[name] for name in ("email", "mobile"))
            one.moved |= identity_of(one.last) != (email, mobile)
            has_moved = identity_of(last) != (email, mobile)
            is_there = not is_refused(last) and not one.is_stuck
            one.before = identity_of(last) if has_moved and is_there else before
            if one.last.get("city") != columns.get("city"):
                one.city_at = now
        one.last = columns
        self._note_no(one, columns)

    def _note_address(self, key: int, identity: Identity) -> None:
        email, mobile = identity
        if email:
            self.people[key].emails.add(email)
            self._by_email[email].add(key)
        if mobile:
            self.people[key].mobiles.add(mobile)
            self._by_mobile[mobile].add(key)

    def _note_no(self, one: Said, columns: Columns) -> None:
        one.no_at |= {name: self.crm.world.now for name in OPT_INS if columns[name] is False}

    def certain(self) -> list[int]:
        """Return the people of whom the ledger knows where their contact is, with all its parts."""
        is_new = self.has_new_stream or self.source.streams != STREAMS[:1]
        if is_new or self.has_restored or self.source.config["identity_changes"] == "create":
            return []
        there = {*map(identity_in, self._followed())}
        return [
            key
            for key, one in self.people.items()
            if one.last is not None
            and identity_of(one.last) in one.sent_as & there
            and not (is_refused(one.last) or one.is_absent or one.missed)
            and not (one.is_rejected or one.is_stuck or one.is_deleted or one.is_scattered)
        ]

    def owners(self, email: str | None, mobile: int | None) -> set[int]:
        """Return the people who have, or had, an address and a number together."""
        if email is None and mobile is None:
            return set()
        by_email = self._by_email.get((email or "").lower(), set())
        by_mobile = self._by_mobile.get(mobile or 0, set())
        if email is None:
            return set(by_mobile)
        return by_email & by_mobile if mobile is not None else set(by_email)

    def whose(self, one: Sent | Contact) -> set[int]:
        """Return the people whom a contact, or a request for it, may be about."""
        found = self.owners(one.email, one.mobile_number)
        contact_id = getattr(one, "contact_id", None) or getattr(one, "id", None)
        for email, mobile in self.identities(contact_id):
            found |= self.owners(email, mobile)
        return found

    def identities(self, contact_id: int | None) -> set[Identity]:
        """Return all the identities that a contact has had."""
        held = self.crm.held.get(contact_id or 0)
        return set() if held is None else held.identities

    def _has_had(self, contact: Contact, identity: Identity) -> bool:
        return identity in map(folded, self.identities(contact.id))

    def leaves(self, contact: Contact) -> None:
        """Note that a contact is about to be deleted, or to get another address, by hand."""
        had = {folded(one) for one in self.identities(contact.id)}
        for key in self.whose(contact):
            self.people[key].is_absent = True
        self._doubt_opt_ins(self.whose(contact), *had)
        held = self.crm.held[contact.id]
        held.is_left_behind = held.was_left_behind = True
        self.vacated |= had
        self.unnoticed |= had

    def _may_move(self, sent: Sent, whose: set[int]) -> None:
        """Expect nothing of the consent of a contact that moves if no status may say so.

        The contact may have the new address then, and the new data comes with all opt-ins, as for a
        new contact; or with none that was said before, if it was asked to move.
        """
        had = {identity_in(sent), *map(folded, self.identities(sent.contact_id))}
        self._doubt_opt_ins([key for key in whose if self.people[key].moved], *had)
        self.torn |= had if sent.contact_id is not None else set()
        held = self.crm.held.get(sent.contact_id or 0)
        if held is not None:
            held.unsubscribed.clear()
            held.known_yes.clear()

    def _found(self, sent: Sent) -> Contact | None:
        """Return the contact that a request would update now."""
        contact_id = sent.contact_id
        if contact_id is None:
            contact_id = self.crm.known.with_identity(sent)
        return None if contact_id is None else self.crm.contacts.get(contact_id)

    def batches(self, process: Process) -> list[Batch]:
        """Return the batches that a run knows of."""
        batches = self.crm.batches.values()
        return [one for one in batches if one.process is process and not one.is_copy]

    def _people_in(self, batches: Iterable[Batch]) -> set[int]:
        return {key for one in batches for sent in one.contacts for key in self.whose(sent)}

    def _late(self, process: Process) -> set[int]:
        """Return the people in batches whose status came too late, or never."""
        return self._people_in(filter(self._is_late, self.batches(process)))

    def _is_late(self, batch: Batch) -> bool:
        patience: float = self.runs[batch.process].config["confirm_timeout_seconds"]
        return batch.confirmed_at > batch.accepted_at + patience - SLACK_SECONDS

    def _doubt(self, run: Run, process: Process) -> None:
        """Note who is sent whole again: of whom a run did not learn how all has ended.

        That is so, too, for a day after it, and for a batch in which contacts were recreated: which
        ones shows only when all of it is sent once more.
        """
        now = self.crm.world.now
        run.unsure = {key for key, one in self.people.items() if one.is_unsure}
        unsure = run.sent | run.by_key.keys() if process.code else set[int]()
        if not run.is_certain:
            unsure |= run.sent
        is_asked = run.config["confirm_batches"] != "none"
        unsure |= self._people_in(
            batch
            for batch in self.batches(process)
            if (is_asked and self._is_late(batch))
            or ((done := batch.applied) and done.inserted and done.updated)
        )
        for key in run.sent_data & run.by_key.keys():
            self.people[key].is_unsure &= now <= self.people[key].unsure_at + DAY
        for key in unsure:
            self.people[key].is_unsure, self.people[key].unsure_at = True, now

    def _lost(self) -> set[Identity]:
        """Return the identities in batches that the CRM has accepted and not applied."""
        return {
            identity_in(sent)
            for batch in self.crm.batches.values()
            if batch.fails or batch.is_lost
            for sent in batch.contacts
        }

    def _lost_by_crm(self, process: Process) -> set[int]:
        """Return the people whose batch the CRM has accepted and lost without saying so in time."""
        if self.runs[process].config["confirm_batches"] == "require" and not self.doubt:
            return set()
        return self._people_in(
            batch
            for batch in self.crm.batches.values()
            if not (batch.is_told and batch.process is process and process.code == 0)
            and not batch.is_copy
            and (batch.fails or batch.is_lost)
        )

    def _book(self, batch: Batch) -> None:
        """Note whose yes a run has booked; a no was said even if its batch has failed."""
        for sent in batch.contacts:
            contact = self._found(sent)
            if contact is not None:
                held = self.crm.held[contact.id]
                if sent.contact_id is not None and not self._is_late(batch):
                    held.is_left_behind = False
                if not batch.fails:
                    held.known_yes |= {name for name in OPT_INS if getattr(sent, name) is True}
                held.known_yes -= {name for name in OPT_INS if getattr(sent, name) is False}

    def _follow_again(self, run: Run, process: Process) -> None:
        """Note that people who are back at an old address have their old contact again.

        What they have lost that contact keeps. If two contacts have that address, it may be either.
        A run that fails before it has sent them anything leaves them where they are.
        """
        creates = run.config["identity_changes"] == "create"
        made = _inserted_in(self.batches(process))
        old = [one for one in self.crm.contacts.values() if one.id not in made]
        there = {*map(identity_in, old)}
        late = {identity_in(sent) for batch in self.crm.open for sent in batch.contacts}
        missing = (self.unnoticed | self._lost() | late) - there
        for contact in [one for one in old if not self._has_twin(one)]:
            for key in self.whose(contact) & (run.sent if process.code else run.by_key.keys()):
                one = self.people[key]
                if one.last is None or one.last["email"] not in {None, contact.email}:
                    continue
                now = identity_of(one.last)
                mine = [
                    each
                    for each in old
                    if covers(identity_in(each), now) and key in self.whose(each)
                ]
                if any(map(self._is_followed, mine)):
                    continue
                wanted = now if creates else kept(one.before, now)
                if wanted in missing:
                    continue
                known = wanted if wanted in there else now
                is_its = mine == [contact] and contact.email in {None, *one.emails}
                is_its &= not one.is_scattered
                if identity_in(contact) == known or is_its:
                    self.crm.held[contact.id].is_left_behind = False

    def _excuse(self, run: Run, process: Process) -> None:
        """Note whose old contacts were left behind, as a warning says."""
        named = self._named(process, "not be followed")
        movers = {
            key
            for key in run.by_key
            if key in run.movers or (self.people[key].is_unsure and self._has_moved(key))
        }
        failed = self._people_in(
            batch
            for batch in self.batches(process)
            if batch.fails and any(sent.properties for sent in batch.contacts)
        )
        self._doubt_opt_ins(named & self._late(process))  # it may have moved
        for key in self._named(process, "not be followed", unnamed=movers):
            last = self.people[key].last
            if last is not None and not is_refused(last):  # if it is, the contact has not moved
                # If its new data failed, too, it is not known where its contact is.
                is_lost, is_in = key in failed, process.code == 0
                to = run.sent_to.get(key)
                self._leave_behind(key, to, creates=key in named, is_lost=is_lost, is_in=is_in)
                if key in named and is_in and not is_lost:
                    self.people[key].before = identity_of(last)
                self.people[key].is_scattered |= key in named and (is_lost or not is_in)
        for contact in self.crm.contacts.values():
            if self._has_twin(contact):  # they share what was said
                held = self.crm.held[contact.id]
                held.by_hand |= {*OPT_INS}
                if held.was_left_behind or held.was_ghost or self._was_respelt(contact):
                    self.twins |= self.whose(contact)
        creates = run.config["identity_changes"] == "create"
        come = {(name, key) for name in self.source.streams for key in run.by_key}
        new = {key for _, key in come - self.known if not run.has_moved(key)}
        for key in self.people if creates else new:
            self._leave_behind(key, None, creates=True)
        self.known |= come
        if run.is_certain and process.code == 0 and run.config["confirm_batches"] != "none":
            for key in self._recreated(process):
                self.people[key].is_absent = False
            made = [one for one in self._inserted(process) if one.properties]
            self.unnoticed -= {identity_in(one) for one in made}

    def _doubt_opt_ins(self, keys: Iterable[int], *identities: Identity) -> None:
        for key in keys:
            doubted = {(name, one) for name in OPT_INS for one in (None, *identities)}
            self.people[key].doubtful |= doubted

    def _has_moved(self, key: int) -> bool:
        one = self.people[key]
        return one.last is not None and moves(one.before, identity_of(one.last))

    def _named(self, process: Process, words: str, unnamed: Collection[int] = ()) -> set[int]:
        """Return the people whom the warnings with certain words name; some may name none."""
        found: set[int] = set()
        for text in process.warnings:
            if words in text:
                some = {int(key) for key in re.findall(r"id='?(\d+)", text)}
                found |= some if some and ", ..." not in text else some.union(unnamed)
        return found

    def _held_for(self, key: int) -> set[Identity]:
        """Return which identities the CRM may hold for a person: it keeps a part that was lost."""
        one = self.people[key]
        if one.last is None:
            return set()
        now = identity_of(one.last)
        has_stayed = one.is_rejected or one.is_stuck or one.is_deleted
        return {now, kept(one.before, now), one.before if has_stayed else now}

    def _recreated(self, process: Process) -> set[int]:
        """Return the people for whom a run has made the CRM insert contacts, and was told so."""
        return {
            key
            for one in self._inserted(process)
            for key in self.whose(one)
            if (row := self.people[key].last) is not None
            and covers(identity_in(one), identity_of(row))
        }

    def _inserted(self, process: Process) -> list[Contact]:
        confirmed = [one for one in self.batches(process) if one.confirmed_at < math.inf]
        inserted = _inserted_in(confirmed)
        return [one for one in self.crm.contacts.values() if one.id in inserted]

    def _leave_behind(
        self,
        key: int,
        sent_to: Written | None,
        *,
        creates: bool,
        is_lost: bool = False,
        is_in: bool = True,
    ) -> None:
        """Note that a person's contacts but the one of today are not followed any more.

        One that may have moved is sent to where it would be, with a part that is lost.
        """
        row = self.people[key].last
        if row is None:
            return
        today = row["email"], row["mobile"]
        mine = [one for one in self.crm.contacts.values() if self._is_own(key, one)]
        is_there = today in map(written, mine)
        creates |= is_there
        for contact in mine:
            has = written(contact)
            if not creates:  # what a person has lost the contact keeps
                has = has[0] if today[0] else None, has[1] if today[1] else None
            held = self.crm.held[contact.id]
            is_where_sent = not is_there and sent_to == written(contact)
            if is_lost or (has != today and not is_where_sent):
                held.is_left_behind = held.was_left_behind = True
            elif creates and is_in:
                held.is_left_behind = False

    def _is_own(self, key: int, contact: Contact) -> bool:
        """Return whether a contact is of one person, or others who had its address have left it."""
        now = identity_in(contact)
        others = [self.people[one].last for one in self.whose(contact) - {key}]
        return key in self.owners(*now) and not any(
            covers(now, identity_of(row)) for row in others if row is not None
        )

    def _followed(self) -> list[Contact]:
        return [*filter(self._is_followed, self.crm.contacts.values())]

    def _is_followed(self, contact: Contact) -> bool:
        held = self.crm.held[contact.id]
        return not held.is_left_behind and not held.is_ghost

    def _has_twin(self, contact: Contact) -> bool:
        """Return whether another contact has the same address, spelt otherwise."""
        email = (contact.email or "").lower()
        twins = [
            one
            for one in self.crm.contacts.values()
            if (one.email or "").lower() == email and one.mobile_number == contact.mobile_number
        ]
        return len(twins) > 1

    def _was_respelt(self, contact: Contact) -> bool:
        now = identity_in(contact)
        had = self.identities(contact.id)
        return any(folded(one) == now and one[0] != contact.email for one in had)


def _inserted_in(batches: Iterable[Batch]) -> set[int]:
    return {contact_id for one in batches if one.applied for contact_id in one.applied.inserted}
