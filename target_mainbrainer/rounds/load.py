"""A load: contacts in, rounds out, one after the other.

Everything about a round is decided before its first request leaves, and booked when its last answer
has come. The next round fills while this one is sent, and starts when it is booked.

```
 Load.add ──▶ open round ──▶ Comparer ──▶ batches ──▶ Sending (threads)
                                                          │ Sent, Done, Asked
 STATE ◀── Booking.settle ◀── Booking ◀───────────────────┘
```
"""

from __future__ import annotations

import sys
import typing as t
from collections.abc import Callable, Iterable
from operator import attrgetter

from target_mainbrainer.contacts import Contact, Identity, identifiers_of
from target_mainbrainer.errors import DeliveryError, InterruptedRunError
from target_mainbrainer.rounds.batches import BatchEnd
from target_mainbrainer.rounds.booking import Booking
from target_mainbrainer.rounds.round import (
    MAX_CONTACTS,
    ClosedRound,
    Finding,
    Part,
    Place,
    Prepared,
    Round,
    Stream,
    Upsert,
    most_contacts,
    without,
)
from target_mainbrainer.rounds.sending import (
    Asked,
    Batch,
    Done,
    Failed,
    Pending,
    Result,
    Sending,
    Sent,
    cut,
)
from target_mainbrainer.rounds.statuses import Statuses
from target_mainbrainer.settings.declared import Settings
from target_mainbrainer.singer.state import SourceRecord

if t.TYPE_CHECKING:
    from target_mainbrainer.rounds.comparing import Comparer

IDLE_SECONDS = 1.0
"""How long the first contact of a round waits for others while nothing is being sent."""

UNFILLED_SECONDS = 10.0
"""The same, if the round would not fill one batch."""

GRACE_SECONDS = 30.0
"""How long a run that has to end waits for what is under way."""

BUSY_SECONDS = 0.5
"""How long to wait for contacts that another run is sending."""

SPARE_SHARE = 0.5
"""While less of the plan's requests is in use, sending does not need all of them."""

MOST_OPEN_BATCHES = 4_000
"""While more have not ended, questions for them take turns with sending: they have to be asked at
some time, and so neither memory nor the disk fills with what waits for them."""

TICK_SECONDS = 0.2
MAX_UNCONFIRMED = 10 * MAX_CONTACTS
"""Accepted contacts that STATE waits for; the next round waits for their statuses."""


class Parts(t.NamedTuple):
    """Parts that a load works with.

    Attributes:
        comparer: Compares rounds with the ledger; None without one.
        suppressed: Returns which opt-ins of a contact must not be sent as true.
        tick: Does what is due in the run, and raises if it cannot go on.
        share_used: Returns how much of the plan's requests is in use, from 0 to 1.
    """

    sending: Sending
    booking: Booking
    statuses: Statuses
    comparer: Comparer | None
    suppressed: Callable[..., frozenset[str]]
    tick: Callable[[], None]
    share_used: Callable[[], float]


class Load:
    """Delivers contacts in rounds.

    Args:
        settings: The run's settings.
        parts: What it works with.
        clock: Seconds, monotonic.
    """

    def __init__(self, settings: Settings, parts: Parts, *, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._parts = parts
        self._sending, self._booking, self._statuses = parts.sending, parts.booking, parts.statuses
        self._clock = clock
        plan = settings.plan
        self._most = most_contacts(settings.batch_size_rows * (plan.burst if plan else 1))
        self._open = Round()
        self._numbers = 0
        self._places = 0
        self.is_settled = True
        self._ends_at_once = False
        self._has_probed = False
        self._is_draining = False
        self._is_patient = True
        self._failure: BaseException | None = None
        self.batches_sent = 0
        self._batches: list[Batch] = []

    # Contacts in

    def add(
        self,
        contact: Contact,
        record: SourceRecord,
        stream: Stream,
        *,
        is_deletion: bool = False,
        is_rejected: bool = False,
    ) -> None:
        """Add a record; send the round that is full because of it.

        Args:
            contact: It has an identity.
            record: The record that it was made of.
            stream: Where it comes from.
            is_deletion: It was deleted in the source, and opts its contact out.
            is_rejected: It is rejected; the contact has its "no", and its identity in the CRM.
        """
        self._places += 1
        person = None
        if record.source_key is not None and stream.number is not None and not is_rejected:
            person = stream.number, record.source_key
        self._open.add(
            Part(
                contact,
                record,
                stream,
                identifiers_of(contact),
                self._places,
                person,
                is_deletion,
                is_rejected,
            )
        )
        self._send_if_full()

    def identity_of(self, place: Place) -> Identity | None:
        """Return the identity of a person whom only the open round has; None if it has not."""
        return self._open.identity_of(place)

    def note_unsent(self, stream: int, key: str) -> None:
        """Note that a person has come of whom no record is sent."""
        self._open.unsent.add((stream, key))
        self._send_if_full()

    def _send_if_full(self) -> None:
        if self._open.since is None:
            self._open.since = self._clock()
        if self._open.is_full(self._most):
            self._send_open_round()

    def tick(self) -> None:
        """Book the answers that have come, and do what is due.

        Raises:
            TargetMainBrainerError: The run cannot go on.
        """
        self._book(0)
        if self._is_due():
            self._send_open_round()

    def _is_due(self) -> bool:
        if self._open.since is None or self._sending.is_sending or self._settings.dry_run:
            return False  # a dry run need not send early, and full rounds cost least
        is_filled = len(self._open) >= self._settings.batch_size_rows
        longest = IDLE_SECONDS if is_filled else UNFILLED_SECONDS
        return self._clock() >= self._open.since + longest

    # Rounds out

    def _send_open_round(self) -> None:
        """Close the open round, and send it when the one before is booked."""
        self._wait_until_settled()
        closed = self._open
        prepared = self._send(closed.close(), closed.unsent)
        left = (part for upsert in prepared.left for part in upsert.parts)
        waiting = sorted((*closed.waiting, *prepared.waiting, *left), key=attrgetter("place"))
        self._open = Round(self._clock() if waiting else None, waiting)

    def _send(self, one: ClosedRound, unsent: Iterable[Place] | None = None) -> Prepared:
        """Decide what is sent of a round, and send it."""
        self._await_earlier(one.upserts)
        prepared = Prepared(sent=one.upserts)
        if self._parts.comparer is not None:
            self._numbers += 1
            prepared = self._parts.comparer.prepare(one, self._numbers, unsent)
        elif not one.is_decided:
            for upsert in one.upserts:
                upsert.outgoing = upsert.contact
                if withheld := self._parts.suppressed(upsert.contact):
                    upsert.withheld, upsert.finding = withheld, Finding(suppressed=withheld)
                    upsert.outgoing = without(upsert.contact, withheld)
        self._booking.prepared(prepared)
        size = one.size or self._settings.batch_size_rows
        self._batches = cut(prepared.sent, size, awaits_status=one.awaits_status)
        self.batches_sent += len(self._batches)
        self.is_settled = self._has_probed = False
        self._sending.send(self._batches)
        return prepared

    def _wait_until_settled(self) -> None:
        """Wait until nothing is under way and everything is booked.

        Raises:
            DeliveryError: STATE waits for very many contacts, of which no more are confirmed.
        """
        while not self.is_settled:
            self._book(TICK_SECONDS if self._sending.is_sending else 0)
        if not self._await_statuses(lambda: self._booking.contacts_waiting, MAX_UNCONFIRMED):
            raise DeliveryError(
                f"MainBrainer has confirmed no batch for {self._settings.confirm_timeout_seconds} "
                "s ('confirm_timeout_seconds'), and STATE waits for "
                f"{self._booking.contacts_waiting:,} contacts. Nothing more is sent; the next run "
                "sends again what was not confirmed."
            )

    def _await_earlier(self, upserts: Iterable[Upsert]) -> None:
        """Wait until contacts that are sent again are confirmed, if STATE waits for that.

        Only then is it known what was said of them, and whether a yes is a new one.
        """
        if self._is_patient and (earlier := self._booking.waiting_for(upserts)):
            self._is_patient = self._await_statuses(lambda: sum(one.is_awaited for one in earlier))
            self._wait_until_settled()

    def _await_statuses(self, waiting: Callable[[], int], most: int = 0) -> bool:
        """Wait for statuses; return False if for too long none of those that are awaited came.

        Args:
            waiting: Returns how many there are.
            most: How many there may be in the end.
        """
        fewest, deadline = sys.maxsize, 0.0
        while (left := waiting()) > most:
            if left < fewest:
                fewest, deadline = left, self._clock() + self._settings.confirm_timeout_seconds
            elif self._clock() >= deadline:
                return False
            self._book(TICK_SECONDS)
        return True

    # Answers

    def _book(self, wait_seconds: float) -> None:
        """Book what has come, and settle the round when it is done.

        Raises:
            TargetMainBrainerError: The run cannot go on.
        """
        for result in self._sending.take(wait_seconds):
            self._take(result)
        if self._failure is not None:
            raise self._failure
        if self._may_ask:
            self._statuses.ask_due()
        if not self._sending.is_sending and not self.is_settled and not self._prove():
            self._settle()
        self._parts.tick()

    @property
    def _may_ask(self) -> bool:
        """Whether questions for statuses take nothing from sending, or are worth it."""
        return (
            self._statuses.is_required
            or not (self._sending.is_sending or self._open.is_full(self._most) or self._is_draining)
            or self._parts.share_used() < SPARE_SHARE
            or self._statuses.open_batches > MOST_OPEN_BATCHES
        )

    def _take(self, result: Result) -> None:
        match result:
            case Sent():
                if result.batch.is_probe:
                    self._booking.probed(result.upserts)
                else:
                    self._booking.accepted(result)
            case Pending():
                if result.batch.is_probe:
                    self._check_probe(result)
                else:
                    self._booking.refused(result)
            case Asked():
                end = self._statuses.note(result.accepted, result.status)
                if end is not BatchEnd.OPEN:
                    self._booking.ended(result.accepted, end)
                    self.is_settled = False
            case Failed():
                self._failure = self._failure or result.error
            case Done():
                pass

    def _settle(self) -> None:
        self._booking.settle(self._sending.take_probes())
        self._batches = []  # so that no more than two rounds are in memory
        self.is_settled = True

    def _prove(self) -> bool:
        """Prove that contacts that were refused are the cause; return whether that takes a request.

        Raises:
            RequestRefusedError: The request is at fault.
        """
        unproven: list[Pending] = []
        for one in self._booking.pending:
            rule = self._sending.rule_of(one.batch.destination)
            if self._booking.has_accepted and rule.is_proven(one.moment):
                self._booking.reject_pending([one])
            else:
                unproven.append(one)
        self._booking.pending = unproven
        if not unproven or self._has_probed:
            return False
        self._has_probed = True
        destinations = dict.fromkeys(one.batch.destination for one in unproven)
        probes = [self._sending.probe(self._sending.rule_of(one)) for one in destinations]
        return any(probes)

    def _check_probe(self, probe: Pending) -> None:
        """End the run if a contact that was accepted before is refused in the same words."""
        rule = self._sending.rule_of(probe.batch.destination)
        words = probe.refused.words
        if any(
            one.batch.destination == rule.destination and one.refused.words == words
            for one in self._booking.pending
        ):
            self._failure = self._failure or rule.at_fault(words)

    # The end

    def finish(self, later: Iterable[ClosedRound]) -> None:
        """Deliver what is left: the open round, then the rounds that only the end allows.

        Args:
            later: Each is asked for when everything before is delivered.

        Raises:
            TargetMainBrainerError: The run cannot go on.
        """
        self._drain()
        for one in later:
            self._deliver(one)
        self._end_pending()
        sent = -1
        while sent != self.batches_sent:  # what is completed has statuses, too
            sent = self.batches_sent
            self._await_statuses(lambda: self._statuses.open_batches)
            self._wait_until_settled()
            for one in self._booking.recreated.rounds():
                self._deliver(one)
        if not self.batches_sent and not self._settings.dry_run:
            self.is_settled = False
            self._sending.check()
            self._wait_until_settled()
        self._give_up()

    def _drain(self) -> None:
        self._is_draining = True
        while len(self._open):
            before = len(self._open)
            self._send_open_round()
            if len(self._open) >= before:
                self._wait_for_other_run()
        self._is_draining = False
        self._wait_until_settled()

    def _deliver(self, one: ClosedRound) -> None:
        """Deliver a round that a move, or a missing person, asks for."""
        left = one.upserts
        while left:
            prepared = self._send(one._replace(upserts=left))
            self._wait_until_settled()
            if one.awaits_status:
                self._await_statuses(lambda: _count_awaited(one.upserts))
                self._wait_until_settled()
            if len(prepared.left) == len(left):
                self._wait_for_other_run()
            left = prepared.left

    def _wait_for_other_run(self) -> None:
        """Wait for contacts that another run is sending."""
        end = self._clock() + BUSY_SECONDS
        while self._clock() < end:
            self._book(TICK_SECONDS)

    def _end_pending(self) -> None:
        """Decide about contacts that were refused and that nothing could prove."""
        pending, self._booking.pending = self._booking.pending, []
        if not pending:
            return
        words = {one.refused.words for one in pending}
        is_proven = self._booking.has_accepted or len(words) > 1
        self._booking.reject_pending(pending, is_proven=is_proven)
        self._settle()

    def abort(self) -> None:
        """End a load that cannot go on: what is under way may finish, nothing new begins.

        Raises:
            TargetMainBrainerError: What is known could not be written.
        """
        self._sending.close()
        deadline = self._clock() + GRACE_SECONDS
        while self._sending.is_sending and self._clock() < deadline and not self._ends_at_once:
            for result in self._sending.take(TICK_SECONDS):
                self._take(result)
        self._give_up()

    def _give_up(self) -> None:
        for result in self._sending.take(0):  # the last statuses may have come meanwhile
            self._take(result)
        for batch in self._batches:
            if not batch.may_be_applied:
                self._booking.unsent(batch.upserts)
        self._booking.unsent(one.upsert for one in self._booking.pending)
        self._statuses.give_up()
        self._booking.give_up()
        self._settle()

    def interrupt(self, error: InterruptedRunError, *, at_once: bool) -> None:
        """End the run at the next tick. A signal's handler may call this: it takes no lock.

        Args:
            error: Says which signal.
            at_once: What is under way is not awaited either.
        """
        self._ends_at_once = at_once
        self._failure = self._failure or error


def _count_awaited(upserts: Iterable[Upsert]) -> int:
    return sum(upsert.batch is not None and upsert.batch.is_awaited for upsert in upserts)
