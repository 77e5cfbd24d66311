"""Compares contacts with the ledger before they are buffered; what has not changed ends here.

Contacts wait until a block of them can be looked up at once. A block is of one stream; contacts of
different streams that share an identifier are compared in the order of the input, because what is
known of the second depends on the first.
"""

from __future__ import annotations

import logging
import time
import typing as t

import msgspec

from target_mainbrainer.contacts.identity import identifiers_of
from target_mainbrainer.delivery.waiting_contact import Arrival, Part, with_identity
from target_mainbrainer.ledger.comparison import Comparison, identity_text

if t.TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Hashable

    from target_mainbrainer.contacts.contact import Contact
    from target_mainbrainer.delivery.batch import Destination
    from target_mainbrainer.delivery.buffer import OpenBuffers
    from target_mainbrainer.delivery.held_back import HeldBack
    from target_mainbrainer.delivery.state_tracker import StateTracker
    from target_mainbrainer.ledger.marking import Decision
    from target_mainbrainer.ledger.stream_ledger import StreamLedger
    from target_mainbrainer.report.rejects import SourceStream
    from target_mainbrainer.singer.source_record import SourceRecord

BLOCK_SIZE = 1_000
MAX_BLOCK_BYTES = 4 * 1024 * 1024
MAX_BLOCK_SECONDS = 0.5
"""How long a contact waits for its block to fill up; STATE and a silent tap wait with it."""

logger = logging.getLogger("target-mainbrainer")


class _Block:
    """Contacts of one stream that wait to be compared."""

    def __init__(self, since: float) -> None:
        self.since = since
        self.size_bytes = 0
        self.contacts: list[Arrival] = []
        self.identifiers: set[Hashable] = set()


class Comparer:
    """Stands before the buffers: only what is not unchanged gets there.

    Args:
        buffers: Take the contacts that are to be sent.
        state_tracker: Told of records that need not be sent.
        ledgers: The ledgers of the streams, by name.
        held_back: Takes contacts whose identity has changed; None if they are not followed.
        omits_unchanged_opt_in: Whether an opt-in is left out that is known to be delivered.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        buffers: OpenBuffers,
        state_tracker: StateTracker,
        ledgers: dict[str, StreamLedger],
        *,
        held_back: HeldBack | None = None,
        omits_unchanged_opt_in: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._buffers = buffers
        self._state_tracker = state_tracker
        self._ledgers = ledgers
        self._held_back = held_back
        self._omits_unchanged_opt_in = omits_unchanged_opt_in
        self._clock = clock
        self._blocks: dict[str, _Block] = {}
        self._is_mixed = False

    @property
    def submitted(self) -> Counter[SourceStream]:
        """Batches submitted so far, by stream."""
        return self._buffers.submitted

    def add(
        self,
        contact: Contact,
        source_record: SourceRecord,
        *,
        stream: SourceStream,
        destination: Destination,
        batch_size: int,
        mapped: Contact,
    ) -> None:
        """Take a contact that has an identity, and compare what is ready because of it.

        Args:
            contact: As it is to be sent.
            source_record: The record that it was made of.
            stream: Where it comes from.
            destination: Where it goes.
            batch_size: Most contacts in one request.
            mapped: As it was mapped, before anything was left out of it; this is compared.
        """
        name = stream.stream
        identifiers = identifiers_of(contact)
        block = self._blocks.get(name)
        if block is None:
            block = self._blocks[name] = _Block(self._clock())
        for other, waiting in list(self._blocks.items()):
            if other != name and not waiting.identifiers.isdisjoint(identifiers):
                self._compare(other)
        block.identifiers.update(identifiers)
        key = source_record.source_key or identity_text(contact)
        candidate = self._ledgers[name].digests.candidate(
            key, mapped, destination.list_id, sent=contact
        )
        block.contacts.append(Arrival(candidate, source_record, stream, destination, batch_size))
        block.size_bytes += len(source_record.line)
        if len(block.contacts) >= BLOCK_SIZE or block.size_bytes >= MAX_BLOCK_BYTES:
            self._compare(name)

    def count_of(self, stream: SourceStream) -> int:
        """Return how many contacts of a stream wait here or in the buffers."""
        block = self._blocks.get(stream.stream)
        waiting = len(block.contacts) if block is not None else 0
        return waiting + self._buffers.count_of(stream)

    def send_all_of(self, stream: SourceStream) -> None:
        """Compare and submit whatever waits of a stream."""
        self._compare(stream.stream)
        self._buffers.send_all_of(stream)

    def send_overdue(self) -> None:
        """Compare and submit what has waited long enough."""
        limit = self._clock() - MAX_BLOCK_SECONDS
        for name in [name for name, block in self._blocks.items() if block.since <= limit]:
            self._compare(name)
        self._buffers.send_overdue()

    def _compare(self, name: str) -> None:
        block = self._blocks.pop(name, None)
        if block is None:
            return
        ledger = self._ledgers[name]
        decisions = ledger.compare(
            [(one.candidate, one.destination.list_id) for one in block.contacts],
            follows=self._held_back is not None,
        )
        if ledger.is_mixed and not self._is_mixed:
            self._is_mixed = True
            logger.warning(
                "Some records name contacts by 'contact_id' and others do not, so that the ledger "
                "cannot tell which are the same person. Until that ends, every contact is sent."
            )
        for arrival, decision in zip(block.contacts, decisions, strict=True):
            self._take(arrival, decision)

    def _take(self, arrival: Arrival, decision: Decision) -> None:
        report, contact = arrival.stream.report, arrival.candidate.contact
        if decision.mark is None:
            report.unchanged += 1
            self._state_tracker.settle([arrival.source_record])
            return
        report.created += decision.comparison is Comparison.NEW
        report.updates += decision.comparison is Comparison.CHANGED
        if decision.comparison is Comparison.CHANGED and decision.previous_fields is not None:
            digests, list_id = (
                self._ledgers[arrival.stream.stream].digests,
                arrival.destination.list_id,
            )
            report.changed_columns.update(
                digests.changed_fields(decision.previous_fields, contact, list_id)
            )
        for value, known in (
            (contact.mobile_opt_in, decision.known_mobile_opt_in),
            (contact.email_opt_in, decision.known_email_opt_in),
        ):
            report.opt_ins_given += value is True and known is not True
            report.opt_ins_withdrawn += value is False and known is True
        if self._omits_unchanged_opt_in:
            contact = _without_known_opt_in(contact, decision)
        if self._held_back is not None and self._held_back.take(
            Part(contact, arrival.source_record, decision.mark), arrival, decision
        ):
            return
        if decision.following is not None:
            report.old_parts_kept += decision.following.keeps_part
            contact = with_identity(contact, decision.following.contact)
        self._buffers.add(
            contact,
            arrival.source_record,
            stream=arrival.stream,
            destination=arrival.destination,
            batch_size=arrival.batch_size,
            mark=decision.mark,
        )


def _without_known_opt_in(contact: Contact, decision: Decision) -> Contact:
    """Leave out an opt-in that was delivered before, so that it undoes no unsubscription.

    A `false` undoes none, and is always sent.
    """
    if contact.mobile_opt_in and decision.known_mobile_opt_in:
        contact = msgspec.structs.replace(contact, mobile_opt_in=None)
    if contact.email_opt_in and decision.known_email_opt_in:
        contact = msgspec.structs.replace(contact, email_opt_in=None)
    return contact
