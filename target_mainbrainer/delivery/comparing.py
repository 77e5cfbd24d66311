"""Compares contacts with the ledger before they are buffered; what has not changed ends here.

Contacts wait until a block of them can be looked up at once. A block is of one stream; contacts of
different streams that share an identifier are compared in the order of the input, because what is
known of the second depends on the first.
"""

from __future__ import annotations

import logging
import time
import typing as t

from target_mainbrainer.contacts.identity import identifiers_of
from target_mainbrainer.ledger.comparison import Comparison, identity_text

if t.TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Hashable

    from target_mainbrainer.contacts.contact import Contact
    from target_mainbrainer.delivery.batch import Destination
    from target_mainbrainer.delivery.buffer import OpenBuffers
    from target_mainbrainer.delivery.state_tracker import StateTracker
    from target_mainbrainer.ledger.comparison import Candidate
    from target_mainbrainer.ledger.marking import Decision
    from target_mainbrainer.ledger.stream_ledger import StreamLedger
    from target_mainbrainer.reporting.source_stream import SourceStream
    from target_mainbrainer.singer.source_record import SourceRecord

BLOCK_SIZE = 1_000
MAX_BLOCK_BYTES = 4 * 1024 * 1024
MAX_BLOCK_SECONDS = 0.5
"""How long a contact waits for its block to fill up; STATE and a silent tap wait with it."""

logger = logging.getLogger("target-mainbrainer")


class _Waiting(t.NamedTuple):
    candidate: Candidate
    source_record: SourceRecord
    stream: SourceStream
    destination: Destination
    batch_size: int


class _Block:
    """Contacts of one stream that wait to be compared."""

    def __init__(self, since: float) -> None:
        self.since = since
        self.size_bytes = 0
        self.contacts: list[_Waiting] = []


class Comparer:
    """Stands before the buffers: only what is not unchanged gets there.

    Args:
        buffers: Take the contacts that are to be sent.
        state_tracker: Told of records that need not be sent.
        ledgers: The ledgers of the streams, by name.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        buffers: OpenBuffers,
        state_tracker: StateTracker,
        ledgers: dict[str, StreamLedger],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._buffers = buffers
        self._state_tracker = state_tracker
        self._ledgers = ledgers
        self._clock = clock
        self._blocks: dict[str, _Block] = {}
        self._places: dict[Hashable, str] = {}
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
        places = self._places
        identifiers = identifiers_of(contact)
        for identifier in identifiers:
            if (other := places.get(identifier, name)) != name:
                self._compare(other)
        for identifier in identifiers:
            places[identifier] = name
        key = source_record.source_key or identity_text(contact)
        block = self._blocks.get(name)
        if block is None:
            block = self._blocks[name] = _Block(self._clock())
        candidate = self._ledgers[name].digests.candidate(
            key, mapped, destination.list_id, sent=contact
        )
        block.contacts.append(_Waiting(candidate, source_record, stream, destination, batch_size))
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
        self._places = {held: place for held, place in self._places.items() if place != name}
        ledger = self._ledgers[name]
        compared = ledger.compare(
            [(one.candidate, one.destination.list_id) for one in block.contacts]
        )
        if ledger.is_mixed and not self._is_mixed:
            self._is_mixed = True
            logger.warning(
                "Some records name contacts by 'contact_id' and others do not, so that the ledger "
                "cannot tell which are the same person. Until that ends, every contact is sent."
            )
        for waiting, decision in zip(block.contacts, compared, strict=True):
            self._take(waiting, decision)

    def _take(self, waiting: _Waiting, decision: Decision) -> None:
        report, contact = waiting.stream.report, waiting.candidate.contact
        if decision.mark is None:
            report.unchanged += 1
            self._state_tracker.settle([waiting.source_record])
            return
        report.new += decision.comparison is Comparison.NEW
        report.changed += decision.comparison is Comparison.CHANGED
        for value, known in (
            (contact.mobile_opt_in, decision.known_mobile_opt_in),
            (contact.email_opt_in, decision.known_email_opt_in),
        ):
            report.opt_ins_given += value is True and known is not True
            report.opt_ins_withdrawn += value is False and known is True
        self._buffers.add(
            contact,
            waiting.source_record,
            stream=waiting.stream,
            destination=waiting.destination,
            batch_size=waiting.batch_size,
            mark=decision.mark,
        )
