"""Outcomes, booked record by record: counts, rejects, ledger, STATE. Only the main thread is here.

Each record read ends as accepted, merged, unchanged, omitted or rejected, once. A round is settled
when its last answer is booked: one transaction of the ledger, then the rejects, then STATE.
"""

from __future__ import annotations

import logging
import typing as t
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from target_mainbrainer.api.answers import Accepted, properties_sent
from target_mainbrainer.contacts import Contact, Rejection
from target_mainbrainer.ledger.content import UNSURE_SECONDS, Person, Row, identity_text
from target_mainbrainer.report.counts import BATCH_FAILED
from target_mainbrainer.report.rejects import Rejections, SourceStream, refusal
from target_mainbrainer.rounds.batches import AcceptedBatch, BatchEnd, Kind
from target_mainbrainer.rounds.plan import SAID, note_delivery
from target_mainbrainer.rounds.round import Prepared, Upsert, without
from target_mainbrainer.rounds.sending import Pending, Sent
from target_mainbrainer.rounds.spool import Kept, Spool
from target_mainbrainer.rounds.statuses import Recreated, Statuses
from target_mainbrainer.singer.reader import decode_json
from target_mainbrainer.singer.state import SourceRecord, StateInterval, StateTracker

if t.TYPE_CHECKING:
    import sqlalchemy as sa

    from target_mainbrainer.ledger.ledger import Ledger

logger = logging.getLogger("target-mainbrainer")

UNKNOWN_CONTACT_ID = Rejection(
    "unknown_contact_id",
    "MainBrainer accepted the batch but named this contact's id as invalid, so it was not updated.",
)


class Booking:
    """Books outcomes.

    Args:
        state: Says which STATE may be written.
        rejects: Sets records aside.
        statuses: Follows accepted batches.
        spool: Keeps the contacts of accepted batches until they have ended.
        recreated: Completes contacts that MainBrainer has recreated.
        ledger: Remembers what was delivered; None without one.
    """

    def __init__(
        self,
        state: StateTracker,
        rejects: Rejections,
        statuses: Statuses,
        *,
        spool: Spool,
        ledger: Ledger | None,
        recreated: Recreated,
    ) -> None:
        self._state = state
        self._rejects = rejects
        self._statuses = statuses
        self._spool = spool
        self._ledger = ledger
        self.recreated = recreated
        self.pending: list[Pending] = []
        self.has_accepted = False
        self._passed_again: set[int] = set()
        self._lost: set[int] = set()
        self._overtaken: dict[int, set[int]] = {}  # by the number of a batch that has not ended
        self._left: set[int] = set()
        self._settled: dict[int, Row] = {}
        self._people: list[Person] = []
        self._accepted: list[AcceptedBatch] = []
        self._ended: list[AcceptedBatch] = []
        self._waiting: dict[AcceptedBatch, list[Upsert]] = {}

    # Before a round is sent

    def prepared(self, prepared: Prepared) -> None:
        """Book what the comparison of a round with the ledger has shown."""
        for upsert in (*prepared.sent, *prepared.unchanged):
            if not any(upsert.finding) or upsert.stream is None:
                continue
            finding, report = upsert.finding, upsert.stream.report
            report.opt_ins_emptied += len(finding.emptied)
            report.opt_ins_withheld += len(finding.suppressed)
            report.changed_columns.update(finding.changed)
            report.updates += bool(finding.changed)
            if finding.reason:
                report.resent_by_reason[finding.reason] += 1
        for name, upserts in (("unchanged", prepared.unchanged), ("omitted", prepared.omitted)):
            for upsert in upserts:
                if upsert.stream is not None:
                    report = upsert.stream.report
                    setattr(report, name, getattr(report, name) + len(upsert.parts))
                self._state.settle(upsert.records)

    # Answers

    def accepted(self, sent: Sent) -> None:
        """Book contacts that MainBrainer has accepted, but for those that it names as invalid."""
        answer = sent.answer
        # Contacts that no record asks for have no properties, and so prove nothing of the others.
        self.has_accepted |= sent.batch.stream is not None
        accepted = AcceptedBatch(
            sent.batch.stream,
            sent.batch.destination,
            sent.batch.kind,
            len(sent.upserts),
            answer.batch_id,
        )
        taken, unmatched = self._without_unknown(sent.upserts, answer, accepted)
        stream = sent.batch.stream
        if stream is not None:
            self._count_accepted(accepted, taken)
            stream.report.ignored_properties.update(_properties(sent.upserts, answer))
            self._statuses.unmatched[stream.name] += unmatched
        if self._ledger is not None:
            accepted.number = self._ledger.next_batch()
            self._accepted.append(accepted)
        for upsert in taken:
            upsert.batch = accepted
        # Those of a contact that moves are settled when its status shows that it has moved.
        settled = [upsert for upsert in taken if upsert.moving_id is None]
        counts = Counter(part.record.interval for upsert in settled for part in upsert.parts)
        accepted.is_for_records = bool(counts)
        if not self._statuses.is_required:
            self._state.settle_counted(counts)
            self._deliver(accepted, taken)
        elif accepted.batch_id is not None:  # otherwise nothing can confirm them
            self._waiting[accepted] = list(taken) if self._ledger is not None else []
            if not unmatched:
                accepted.intervals = counts
        if self._statuses.is_followed or sent.batch.awaits_status:
            accepted.is_followed = accepted.batch_id is not None
            if accepted.is_followed:
                self._overtaken[accepted.number] = set()
            self._statuses.follow(accepted, is_awaited=sent.batch.awaits_status)
        if stream is not None and accepted.is_followed:
            self._keep(accepted, taken)

    def _without_unknown(
        self, upserts: Sequence[Upsert], answer: Accepted, accepted: AcceptedBatch
    ) -> tuple[Sequence[Upsert], int]:
        """Reject contacts whose ids are named as invalid.

        Returns:
            The other contacts, and how many of the named ids match no contact.
        """
        unmatched = answer.invalid_contacts.unreadable
        if not (ids := answer.invalid_contacts.ids):
            return upserts, unmatched
        by_id = [(t.cast("Contact", upsert.outgoing).contact_id, upsert) for upsert in upserts]
        accepted.named = frozenset(ids.intersection(id_ for id_, _ in by_id))
        named = [upsert for id_, upsert in by_id if id_ in accepted.named]
        # One that moves goes out as any contact.
        self.reject([one for one in named if one.moving_id is None], UNKNOWN_CONTACT_ID)
        taken = [upsert for id_, upsert in by_id if id_ not in accepted.named]
        return taken, unmatched + len(ids) - len(accepted.named)

    def _keep(self, accepted: AcceptedBatch, taken: Sequence[Upsert]) -> None:
        """Keep the records of a batch that may fail, and the contacts that it may recreate."""
        is_update = accepted.kind is Kind.UPDATE
        if not self._statuses.keeps_records and not is_update:
            return
        parts = (part for upsert in taken for part in upsert.parts)
        streams: list[SourceStream] = [*dict.fromkeys(part.stream for part in parts)]
        accepted.streams = streams
        accepted.kept = self._spool.keep(
            [
                Kept(
                    [
                        (streams.index(part.stream), part.record.number, part.record.line)
                        for part in upsert.parts
                    ],
                    without(upsert.contact, upsert.finding.suppressed) if is_update else Contact(),
                )
                for upsert in taken
            ]
        )

    def _count_accepted(self, accepted: AcceptedBatch, taken: Sequence[Upsert]) -> None:
        for upsert in taken:
            self._count_records(upsert)
            upsert.parts[-1].stream.report.created += upsert.kind is Kind.CREATE
            accepted.merged += len(upsert.parts) - 1
        accepted.taken = len(taken)

    def _count_records(self, upsert: Upsert) -> None:
        row, report = upsert.row, upsert.parts[-1].stream.report
        report.accepted += 1
        report.merged += len(upsert.parts) - 1
        for name, attribute in SAID.items():
            value, said = getattr(upsert.outgoing, name), row and getattr(row, attribute)
            report.opt_ins_given += value is True and not said
            report.opt_ins_withdrawn += value is False and (said is True or not row)

    def _deliver(self, accepted: AcceptedBatch, taken: Iterable[Upsert]) -> None:
        """Note what the ledger knows of contacts once their round is settled."""
        if self._ledger is None:
            return
        now = self._ledger.last_time
        for upsert in taken:
            if upsert.row is not None and upsert.row.batch in self._overtaken:
                self._overtaken[upsert.row.batch].add(upsert.row.hash)
            note_delivery(upsert, self._ledger.hashes, accepted.number, now)
            self._settle_row(upsert)
            if upsert.row is not None and upsert.row.id is not None:
                accepted.rows.append(upsert.row.id)
            for person in upsert.changed_people:
                if person.moving_id is None:
                    # Another part of a contact that was taken apart may have put it back.
                    person.identity, person.previous = identity_text(upsert.contact), None
                    person.hash = self._ledger.hashes.identity(upsert.contact)
                    self._people.append(person)

    def _settle_row(self, upsert: Upsert) -> None:
        if upsert.row is not None and upsert.row.id is not None:
            self._settled[upsert.row.id] = upsert.row

    def probed(self, upserts: Iterable[Upsert]) -> None:
        """Note that contacts have passed that were sent once more to prove a refusal.

        They are there even if the batch fails in which their records are sent.
        """
        rows = (upsert.row for upsert in upserts)
        self._passed_again |= {row.id for row in rows if row is not None and row.id is not None}

    def refused(self, pending: Pending) -> None:
        """Keep a contact that was refused alone until it is proven that it is the cause."""
        if pending.batch.stream is None:  # no record is rejected for it, or it is already
            self._leave(pending.upsert)
            said_no = [part for part in pending.upsert.parts if part.is_rejected]
            for part in said_no:
                refused = refusal(*pending.refused.words)
                self._rejects.note_opt_out(part.stream, part.record, refused)
            self._state.settle([part.record for part in said_no])
        else:
            self.pending.append(pending)

    def unsent(self, upserts: Iterable[Upsert]) -> None:
        """Note that contacts of a run that ends were not applied: what is known of them stays."""
        for upsert in upserts:
            if upsert.batch is None:
                self._leave(upsert)

    def _leave(self, upsert: Upsert, *, is_proven: bool = False) -> None:
        """Note that a contact is as it was, unless a request without an answer may change it.

        Its people have the identity that they had before, unless an earlier run may have given
        them this one. A proven refusal counts for more than a request of days ago.
        """
        if not upsert.may_be_applied:
            self._settle_row(upsert)
        if (ledger := self._ledger) is None or upsert.row is None:
            return
        began = upsert.row.unsure_at
        is_certain = began is None or (is_proven and began <= ledger.last_time - UNSURE_SECONDS)
        for person in upsert.changed_people if is_certain else ():
            if person.previous is not None and person.moving_id is None:
                person.put_back(ledger.hashes)
                self._people.append(person)

    def reject_pending(self, pending: Iterable[Pending], *, is_proven: bool = True) -> None:
        """Reject contacts that were refused alone.

        Args:
            pending: The contacts.
            is_proven: They are the cause; otherwise STATE stays before them.
        """
        for one in pending:
            self.reject(
                [one.upsert],
                refusal(*one.refused.words),
                answer={"status": one.refused.status, "message": one.refused.unredacted},
                is_proven=is_proven,
            )

    def moved(self, upsert: Upsert) -> None:
        """Book the records of a contact that has followed its person."""
        self.has_accepted = True
        self._count_records(upsert)
        for person in upsert.changed_people:
            self.recreated.moved(person.previous or "", person.identity)
        upsert.parts[-1].stream.report.moved += 1
        self._state.settle(upsert.records)

    def failed_to_move(self, upsert: Upsert, accepted: AcceptedBatch) -> None:
        """Reject the records of a contact that was to move, and whose batch has failed."""
        if upsert.row is not None:
            upsert.row.fields = None  # whether some of it was applied is not said
        self.has_accepted = True  # at first
        stream = upsert.parts[-1].stream
        stream.report.failed += 1
        self._statuses.failed[accepted] = None
        if not self._statuses.keeps_records:
            stream.report.rejected_by_code[BATCH_FAILED] += len(upsert.parts)
            return
        rejection, answer = self._failure(accepted, upsert.records)
        self.reject([upsert], rejection, answer=answer)

    def reject(
        self,
        upserts: Iterable[Upsert],
        rejection: Rejection,
        *,
        answer: dict[str, t.Any] | None = None,
        is_proven: bool = True,
    ) -> None:
        """Reject the records of contacts, whose rows and people are as they were."""
        records: dict[SourceStream, list[SourceRecord]] = {}
        for upsert in upserts:
            self._leave(upsert, is_proven=is_proven)
            for part in upsert.parts:
                records.setdefault(part.stream, []).append(part.record)
        for stream, some in records.items():
            self._rejects.add(stream, some, rejection, answer=answer, is_proven=is_proven)

    def _failure(
        self, accepted: AcceptedBatch, records: Iterable[SourceRecord]
    ) -> tuple[Rejection, dict[str, t.Any]]:
        """Return why the records of a batch that has failed are rejected, and what was said."""
        values = (decode_json(record.line).get("record") for record in records)
        said = self._statuses.reason_of(
            accepted, (text for value in values for text in _values_in(value))
        )
        words = f" MainBrainer said: {said}" if said else ""
        rejection = Rejection(BATCH_FAILED, f"Its batch failed after it was accepted.{words}")
        unredacted = "" if accepted.status is None else accepted.status.failed_reason
        return rejection, {"batch_id": accepted.batch_id, "message": unredacted}

    # Statuses

    def ended(self, accepted: AcceptedBatch, end: BatchEnd) -> None:
        """Book a batch that has ended, as its status says."""
        accepted.end = end
        self._overtaken.pop(accepted.number, None)
        self._ended.append(accepted)
        self._book_end(accepted)
        if accepted.kept is not None:
            self._spool.forget(accepted.kept)

    def _book_end(self, accepted: AcceptedBatch) -> None:
        upserts = self._waiting.pop(accepted, [])
        if accepted.end is BatchEnd.FAILED:
            for upsert in upserts:  # whether some of it was applied is not said
                if upsert.row is not None:
                    upsert.row.fields = None
                self._leave(upsert)
            self._book_failure(accepted)
            return
        self._deliver(accepted, upserts)
        if accepted.end is BatchEnd.CONFIRMED:
            self._state.settle_counted(accepted.intervals)
        status, stream = accepted.status, accepted.stream
        if status is None:
            return
        if accepted.kind is Kind.CREATE and stream is not None:
            stream.report.already_there += status.updated
        # Contacts that no record asks for are opted out, or looked for: they should be there, too.
        if (accepted.kind is Kind.UPDATE or stream is None) and status.inserted:
            accepted.has_recreated = True
            self.recreated.note(accepted, self._kept(accepted))

    def _kept(self, accepted: AcceptedBatch) -> list[Kept]:
        return [] if accepted.kept is None else self._spool.take(accepted.kept)

    def _book_failure(self, accepted: AcceptedBatch) -> None:
        """Book a batch that was accepted and has failed after all: its records are rejected."""
        stream = accepted.stream
        if stream is None:
            reason, _ = self._failure(accepted, ())
            logger.warning(
                "A batch of changed addresses or of opt-outs has failed. %s", reason.reason
            )
            return
        stream.report.accepted -= accepted.taken
        stream.report.merged -= accepted.merged
        if not self._statuses.keeps_records:
            stream.report.rejected_by_code[BATCH_FAILED] += accepted.taken + accepted.merged
            return
        taken: dict[SourceStream, list[SourceRecord]] = {}
        for one in self._kept(accepted):
            for place, number, line in one.records:
                record = SourceRecord(StateInterval(), number, line)
                taken.setdefault(accepted.streams[place], []).append(record)
        everything = [record for records in taken.values() for record in records]
        rejection, answer = self._failure(accepted, everything)
        for announced, records in taken.items():
            self._rejects.add(announced, records, rejection, answer=answer)

    def give_up(self) -> None:
        """Note that batches have not ended of which contacts went out once more since."""
        self._left.update(*self._overtaken.values())

    # The end of a round

    def settle(self, probes: Iterable[Upsert]) -> None:
        """Bring to the disk what was booked: the ledger, then the rejects. STATE may follow.

        Args:
            probes: Contacts sent to prove refusals. One without an answer may be applied after
                later requests.

        Raises:
            LedgerError: The ledger cannot be written, or another run has taken over.
            DeliveryError: The rejects file cannot be written.
        """
        ledger = self._ledger
        rows = (probe.row for probe in probes if probe.may_be_applied)
        self._left |= {row.hash for row in rows if row is not None}
        lists = (self._accepted, self._ended, self._people, self._left)
        if ledger is not None and (self._settled or any(lists)):
            ledger.write(self._write)
            self._settled, self._accepted, self._ended, self._people = {}, [], [], []
        self._state.settle_counted(self._rejects.sync())

    def _write(self, connection: sa.Connection) -> None:
        ledger = t.cast("Ledger", self._ledger)
        ledger.settle(connection, self._settled.values())
        ledger.save_people(connection, self._people)
        ledger.add_batches(connection, [one.number for one in self._accepted if one.is_followed])
        failed = [one for one in self._ended if one.end is BatchEnd.FAILED]
        lost = {row for b in self._ended if b.may_be_incomplete for row in b.rows}
        # What was delivered to a contact meanwhile, or is on its way, was compared with that.
        self._lost |= lost
        ledger.forget_content(connection, lost | (self._lost & self._settled.keys()))
        for one in self._ended:
            # Which contacts were recreated the status need not say; what was sent later is
            # completed.
            if one.has_recreated or (one.end is BatchEnd.FAILED and one.kind is Kind.CREATE):
                ledger.doubt(connection, one.rows, one.number, are_there=one.has_recreated)
        ledger.note_there(connection, self._passed_again)
        ledger.doubt_identities(connection, self._left)
        ledger.withdraw_raised(connection, [one.number for one in failed])
        ledger.end_batches(connection, [one.number for one in self._ended])

    def waiting_for(self, upserts: Iterable[Upsert]) -> list[AcceptedBatch]:
        """Return the batches that STATE waits for and that have one of these contacts."""
        if not any(self._waiting.values()):
            return []
        some = {one for upsert in upserts for one in upsert.identifiers}
        return [
            accepted
            for accepted, waiting in self._waiting.items()
            if any(not some.isdisjoint(upsert.identifiers) for upsert in waiting)
        ]

    @property
    def contacts_waiting(self) -> int:
        """How many accepted contacts STATE waits for."""
        return sum(accepted.contacts for accepted in self._waiting)


def _values_in(value: object) -> Iterator[str]:
    """Yield every value of a record, any of which a reason may repeat."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _values_in(inner)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _properties(upserts: Sequence[Upsert], answer: Accepted) -> set[str]:
    """Return the properties that an answer names as invalid, as far as they were sent."""
    if not answer.invalid_properties:
        return set()
    sent = {ref for upsert in upserts if upsert.outgoing for ref in upsert.outgoing.properties}
    shown, unknown = properties_sent(answer.invalid_properties, sent)
    return {*shown, "?"} if unknown else set(shown)
