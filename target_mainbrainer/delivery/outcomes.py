"""What the API's answers mean for records: each ends as accepted, merged or rejected, once.

Four things happen to what was sent: it is accepted, or rejected alone; an accepted batch is
confirmed later, or fails after all.
"""

from __future__ import annotations

import threading
import typing as t
from collections import Counter
from dataclasses import dataclass, field

from target_mainbrainer.api.answers import decode, leaves, properties_sent
from target_mainbrainer.contacts.rejection import Rejection
from target_mainbrainer.privacy.redaction import redact

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from target_mainbrainer.api.answers import Accepted
    from target_mainbrainer.delivery.batch import Batch
    from target_mainbrainer.delivery.bisect import Send
    from target_mainbrainer.delivery.circuit_breaker import Held
    from target_mainbrainer.delivery.pending_contact import PendingContact
    from target_mainbrainer.delivery.spool import Spool, Spooled
    from target_mainbrainer.delivery.state_tracker import StateTracker
    from target_mainbrainer.ledger.marking import Mark
    from target_mainbrainer.ledger.stream_ledger import StreamLedger
    from target_mainbrainer.reporting.rejections import Rejections
    from target_mainbrainer.reporting.source_stream import SourceStream
    from target_mainbrainer.singer.source_record import SourceRecord, StateInterval

UNKNOWN_CONTACT_ID = Rejection(
    "unknown_contact_id",
    "MainBrainer took the batch but named this contact's id as invalid, so it was not updated.",
)


BATCH_FAILED = "batch_failed"


@dataclass(frozen=True, slots=True)
class AcceptedBatch:
    """Contacts that were accepted together and may still fail; kept for long, so no contacts.

    Attributes:
        batch_id: MainBrainer's id of the batch, None if it gave none.
        is_batch: It went to the batch endpoint; what is sent alone never has an id.
        contacts: How many contacts were sent.
        named: The contact ids among them that the answer named as invalid.
        taken: How many contacts count as accepted.
        merged: How many records count as merged.
        intervals: How many records STATE waits for; none unless confirmation is required.
        spooled: Where the records are, if they are kept.
        marks: What the ledger is told once they are confirmed; none unless that is required.
        may_come_twice: MainBrainer may apply the batch a second time, after later ones.
    """

    stream: SourceStream
    batch_id: str | None
    is_batch: bool
    contacts: int
    taken: int
    merged: int = 0
    named: frozenset[int] = frozenset()
    intervals: Mapping[StateInterval, int] = field(default_factory=dict)
    spooled: Spooled | None = None
    marks: Sequence[Mark] = ()
    may_come_twice: bool = False


class Outcomes:
    """Counts what was delivered, sets aside what was refused, and tells STATE what is settled.

    Args:
        state_tracker: Says which STATE may be written.
        rejects: Takes rejected records.
        spool: Keeps the records of accepted batches, for when one fails; None to keep none.
        ledgers: Told what was delivered of a stream; none without a ledger.
        is_followed: The status of accepted batches is asked for.
        is_confirmation_required: STATE waits until a batch is confirmed.
    """

    def __init__(
        self,
        *,
        state_tracker: StateTracker,
        rejects: Rejections,
        spool: Spool | None,
        ledgers: Mapping[str, StreamLedger],
        is_followed: bool,
        is_confirmation_required: bool,
    ) -> None:
        self._state_tracker = state_tracker
        self._rejects = rejects
        self._spool = spool
        self._ledgers = ledgers
        self._is_followed = is_followed
        self._is_confirmation_required = is_confirmation_required
        self._lock = threading.Lock()
        self._unmatched: Counter[str] = Counter()

    def accepted(
        self, batch: Batch, send: Send, response: Accepted
    ) -> tuple[AcceptedBatch, Sequence[PendingContact]]:
        """Book contacts that the API has taken, but for those that its answer names as invalid.

        Returns:
            What is to be followed, and the contacts that were taken.
        """
        named: frozenset[int] = frozenset()
        unmatched = response.invalid_contacts.unreadable
        taken = send.contacts
        if ids := response.invalid_contacts.ids:
            named = ids & {contact.contact.contact_id for contact in send.contacts}
            unmatched += len(ids) - len(named)
            taken = [c for c in send.contacts if c.contact.contact_id not in named]
            for contact in send.contacts:
                if contact.contact.contact_id in named:
                    self._refuse(batch.stream, contact.marks)
                    self._rejects.add(batch.stream, contact.source_records, UNKNOWN_CONTACT_ID)
        parts = [part for contact in taken for part in contact.parts]
        source_records = [part.source_record for part in parts]
        report = batch.stream.report
        with self._lock:
            report.accepted += len(taken)
            report.merged += len(source_records) - len(taken)
            report.ignored_properties.update(_properties(send, response))
            self._unmatched[batch.stream.stream] += unmatched
        marks = [part.mark for part in parts if part.mark is not None]
        intervals: Counter[StateInterval] = Counter()
        if self._is_confirmation_required and (unmatched or not send.alone):
            if not unmatched:  # else nothing can confirm them
                intervals.update(record.interval for record in source_records)
        else:
            self._deliver(batch, send, response, marks)
            marks = []
            self._state_tracker.settle(source_records)
        keeps = self._spool is not None and not send.alone and response.batch_id is not None
        accepted = AcceptedBatch(
            stream=batch.stream,
            batch_id=response.batch_id,
            is_batch=not send.alone,
            contacts=len(send.contacts),
            taken=len(taken),
            merged=len(source_records) - len(taken),
            named=named,
            intervals=intervals,
            spooled=self._spool.keep(source_records) if self._spool and keeps else None,
            marks=marks,
            may_come_twice=response.may_be_applied_twice,
        )
        return accepted, taken

    def _deliver(self, batch: Batch, send: Send, response: Accepted, marks: list[Mark]) -> None:
        """Tell the ledger what counts as delivered, with the batch if that may still fail."""
        if (ledger := self._ledgers.get(batch.stream.stream)) is not None:
            ledger.delivered(
                marks,
                response.batch_id if self._is_followed and not send.alone else None,
                contacts=len(send.contacts),
                in_doubt=response.may_be_applied_twice,
            )
            ledger.flush_if_full()

    def moved(
        self,
        stream: SourceStream,
        contact: PendingContact,
        *,
        is_confirmed: bool,
        may_come_twice: bool,
    ) -> bool:
        """Book an accepted contact that has followed its person; return whether STATE waits for it.

        Unless it is confirmed, the ledger keeps its contact id and sends it again.
        """
        source_records = contact.source_records
        with self._lock:
            stream.report.accepted += 1
            stream.report.merged += len(source_records) - 1
        ledger = self._ledgers.get(stream.stream)
        if is_confirmed and ledger is not None:
            ledger.delivered(contact.marks[-1:], in_doubt=may_come_twice)
        if self._is_confirmation_required and not is_confirmed:
            return True
        self._state_tracker.settle(source_records)
        return False

    def _refuse(self, stream: SourceStream, marks: Sequence[Mark]) -> None:
        if (ledger := self._ledgers.get(stream.stream)) is not None:
            ledger.refused(marks)

    def rejected(self, held: Held) -> None:
        """Book a contact that was refused alone."""
        refused = held.refused
        self._refuse(held.batch.stream, held.contact.marks)
        said = f"MainBrainer said: {refused.message}" if refused.message else ""
        reason = f"Refused alone with status {refused.status}."
        self._rejects.add(
            held.batch.stream,
            held.contact.source_records,
            Rejection(
                f"refused_{refused.status}", f"{reason} {said or 'MainBrainer gave no reason.'}"
            ),
            answer={"status": refused.status, "message": refused.refusal.message},
        )

    def ended(self, accepted: AcceptedBatch, *, is_confirmed: bool) -> None:
        """Book a batch that was accepted and has not failed."""
        if accepted.spooled is not None and self._spool is not None:
            self._spool.forget(accepted.spooled)
        ledger = self._ledgers.get(accepted.stream.stream)
        if ledger is not None and accepted.marks:
            if is_confirmed:
                ledger.delivered(accepted.marks, in_doubt=accepted.may_come_twice)
        elif ledger is not None and accepted.batch_id is not None:
            # Which contacts of it were skipped, its status need not say.
            (ledger.batch_ended if is_confirmed else ledger.batch_failed)(accepted.batch_id)
        if is_confirmed and accepted.intervals:
            self._state_tracker.settle_counted(accepted.intervals)

    def failed(self, accepted: AcceptedBatch, reason: str) -> None:
        """Book a batch that was accepted and has failed after all: its records are rejected."""
        ledger = self._ledgers.get(accepted.stream.stream)
        if ledger is not None and accepted.marks:
            ledger.refused(accepted.marks)
        elif ledger is not None and accepted.batch_id is not None:
            ledger.batch_failed(accepted.batch_id)
        report = accepted.stream.report
        with self._lock:
            report.accepted -= accepted.taken
            report.merged -= accepted.merged
        if accepted.spooled is None or self._spool is None:
            with self._lock:
                report.rejected_by_code[BATCH_FAILED] += accepted.taken + accepted.merged
            return
        records = self._spool.take(accepted.spooled)
        said = redact(reason, _values_in(records)) if reason else ""
        words = f" MainBrainer said: {said}" if said else ""
        rejection = Rejection(BATCH_FAILED, f"Its batch failed after it was accepted.{words}")
        answer = {"batch_id": accepted.batch_id, "message": reason}
        self._rejects.add(accepted.stream, records, rejection, answer=answer)

    def findings(self) -> Iterator[str]:
        """Say which of MainBrainer's complaints about contacts cannot be placed."""
        for stream, count in self._unmatched.items():
            if count:
                yield (
                    f"MainBrainer named {count:,} contacts of stream '{stream}' as invalid in "
                    "batches that it accepted, in a way that matches no contact that was sent."
                )


def _values_in(records: Iterable[SourceRecord]) -> Iterator[str]:
    """Yield every value of these records, any of which a reason may repeat."""
    for record in records:
        for _, _, value in leaves(decode(record.line).get("record")):
            if value is not None and not isinstance(value, bool):
                yield str(value)


def _properties(send: Send, response: Accepted) -> set[str]:
    """Return the properties that a response names as invalid, as far as they were sent."""
    if not response.invalid_properties:
        return set()
    sent = {ref for contact in send.contacts for ref in contact.contact.properties}
    shown, unknown = properties_sent(response.invalid_properties, sent)
    return {*shown, "?"} if unknown else set(shown)
