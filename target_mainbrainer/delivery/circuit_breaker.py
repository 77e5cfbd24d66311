"""Is the request itself at fault, rather than the contacts in it?

A wrong list id, or a right that the token lacks, is refused with the very status that a bad
contact is refused with. Blaming the contacts one by one would empty the source into the rejects
file, so:

- A contact that was refused alone is held until a request passes that was *sent* after the
  refusal was heard. Only that shows that the refusal was not the request's fault; an answer heard
  later may have been under way while the fault began.
- Once a request was refused and none has passed yet, one batch at a time is sent. Until then
  nothing is held back: where answers take 10 s, waiting for the first would cost as much.
- After eight refusals in a row the circuit opens: nothing is sent but a trial.

The trial sends what tells most. First a contact that passed before, once more exactly as it was:
it passes again, or is refused in the words of the others. Where there is none, up to ten contacts
from all over whatever waits for this destination, each alone. If all are refused in the same
words, the request is at fault, and no contact is. A trial decides nothing about the contacts it
sends: they are sent again with their batch.
"""

from __future__ import annotations

import threading
import typing as t
from collections import Counter

from target_mainbrainer.delivery.batch import Batch
from target_mainbrainer.delivery.sender import Refused
from target_mainbrainer.errors import InterruptedRunError, RequestRefusedError

if t.TYPE_CHECKING:
    from collections.abc import Sequence

    from target_mainbrainer.delivery.batch import Destination
    from target_mainbrainer.delivery.pending_contact import PendingContact
    from target_mainbrainer.delivery.queue import BatchQueue
    from target_mainbrainer.delivery.sender import Sender
    from target_mainbrainer.report.rejects import SourceStream

OPENS_AFTER = 8
"""Refusals in a row, of all threads, that open the circuit."""

WITNESSES = 10
"""Contacts refused in the same words, with nothing passed, that show a fault of the request."""

SILENCE_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 30.0
"""How long the input may be silent, or slow, before a trial uses what is there."""


class Held(t.NamedTuple):
    """A contact that was refused alone, while that is not proven to be its own fault.

    Attributes:
        moment: When the refusal was heard.
    """

    moment: int
    batch: Batch
    contact: PendingContact
    refused: Refused


class CircuitBreaker:
    """Holds requests and refusals of one destination back while its requests are in doubt.

    Moments are counted in refusals heard.

    Args:
        destination: Where the requests go.
        queue: Has the contacts that can be asked.
        sender: Sends them.
    """

    def __init__(self, destination: Destination, queue: BatchQueue, sender: Sender) -> None:
        self._destination = destination
        self._queue = queue
        self._sender = sender
        self._changed = threading.Condition()
        self._moment = 0
        self._newest_pass = -1
        self._row = 0
        self._last: Refused | None = None
        self._held: list[Held] = []
        self._waiting: set[Batch] = set()
        self._only: Batch | None = None  # the one batch that is sent until a request has passed
        self._is_in_trial = False
        self._is_closed = False

    # What a worker does for each request

    def wait_for_leave(self, batch: Batch) -> int:
        """Wait until a batch may send, deciding a trial on the way; return the moment.

        Raises:
            RequestRefusedError: The request is at fault.
            InterruptedRunError: The run ends.
        """
        while True:
            with self._changed:
                self._waiting.add(batch)
                self._changed.wait_for(lambda: self._is_closed or self._may_go_on(batch))
                self._waiting.discard(batch)
                if self._is_closed:
                    raise InterruptedRunError(_ENDED)
                if not self.is_open:
                    if self._is_unproven:
                        self._only = batch
                    return self._moment
                self._is_in_trial = True
            self._hold_trial(batch)

    def passed(self, sent: int) -> None:
        """Note that a request passed that was sent at a moment."""
        with self._changed:
            self._newest_pass = max(self._newest_pass, sent)
            self._row = 0
            self._changed.notify_all()

    def refused(self, refused: Refused) -> None:
        """Note a refusal."""
        with self._changed:
            self._moment += 1
            self._row += 1
            self._last = refused
            if self.is_open:
                self._changed.notify_all()

    def hold(self, batch: Batch, contact: PendingContact, refused: Refused) -> None:
        """Keep a contact that was refused alone until that is proven to be its own fault."""
        with self._changed:
            self._held.append(Held(self._moment, batch, contact, refused))

    def take_proven(self) -> list[Held]:
        """Return the contacts that are proven to be refused for reasons of their own, once."""
        with self._changed:
            proven = [held for held in self._held if held.moment <= self._newest_pass]
            self._held = [held for held in self._held if held.moment > self._newest_pass]
        return proven

    def leave(self, batch: Batch) -> None:
        """Note that a batch sends nothing more."""
        with self._changed:
            if self._only is batch:
                self._only = None
                self._changed.notify_all()

    @property
    def is_open(self) -> bool:
        """Whether so many were refused in a row that nothing is sent but a trial."""
        return self._row >= OPENS_AFTER

    def _may_go_on(self, batch: Batch) -> bool:
        # While a trial sends a contact, its own batch must not send it too.
        if self._is_in_trial:
            return False
        return self.is_open or not self._is_unproven or self._only in {None, batch}

    @property
    def _is_unproven(self) -> bool:
        """Whether a request was refused and none has passed yet."""
        return self._newest_pass < 0 < self._moment

    # The end of the run

    def conclude(self) -> list[Held]:
        """Decide about the contacts that are still held when everything has been sent.

        Returns:
            Those that are to be rejected.

        Raises:
            RequestRefusedError: The request is at fault.
        """
        if self._held and not self._is_passed_by_witness(self._held[-1].batch.stream):
            ((_, alike),) = Counter(held.refused.words for held in self._held).most_common(1)
            if alike >= WITNESSES:
                raise self._at_fault(self._held[-1].batch.stream, self._held[-1].refused)
        with self._changed:
            held, self._held = self._held, []
        return held

    def close(self) -> None:
        """End all waiting: the run ends."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    # The trial

    def _hold_trial(self, batch: Batch) -> None:
        if not self._is_passed_by_witness(batch.stream):
            self._queue.wait_until_filled(SILENCE_SECONDS, LONGEST_WAIT_SECONDS)
            self._ask_all_over(batch)
        # Not if that raises: then the run ends, and the others wait for `close`.
        with self._changed:
            self._is_in_trial = False
            self._changed.notify_all()

    def _is_passed_by_witness(self, stream: SourceStream) -> bool:
        """Send a contact once more that passed before; return whether that decides anything.

        Raises:
            RequestRefusedError: It is refused in the words of the others.
        """
        for witness in self._queue.witnesses(self._destination):
            again = Batch([witness.contact], witness.keys, self._destination, stream)
            if not self._queue.reserve(again):
                continue
            try:
                refused = self._ask(witness.contact, alone=witness.alone)
            finally:
                self._queue.release(again)
            if refused is None:
                return True
            if self._last is not None and refused.words == self._last.words:
                raise self._at_fault(stream, refused)
        return False

    def _ask_all_over(self, batch: Batch) -> None:
        """Ask contacts from all over whatever could be sent now, the latest first.

        Raises:
            RequestRefusedError: Ten were refused in the same words, and nothing else passed.
        """
        witnesses = _spread(self._sendable(batch), WITNESSES)
        words = set()
        refused = None
        for contact in reversed(witnesses):
            if not self.is_open or self._is_closed:
                return
            refused = self._ask(contact, alone=True)
            if refused is None:
                return
            words.add(refused.words)
            if len(words) > 1:
                # Each is refused for a reason of its own, which shows as much as a pass.
                self.passed(self._moment)
                return
        alike = len(witnesses)
        if self._queue.has_input_ended:
            alike += sum(held.refused.words in words for held in self._held)
        if refused is not None and alike >= WITNESSES and self.is_open:
            raise self._at_fault(batch.stream, refused)
        with self._changed:
            self._row = 0  # too few to tell

    def _sendable(self, batch: Batch) -> list[PendingContact]:
        """Return the contacts that nothing has to wait for, in input order."""
        with self._changed:
            batches = {batch, *self._waiting}
        batches.update(self._queue.ready(self._destination))
        in_order = sorted(batches, key=lambda one: one.number)
        return [contact for one in in_order for contact in one.sendable()]

    def _ask(self, contact: PendingContact, *, alone: bool) -> Refused | None:
        """Send one contact; return its refusal, or None if it passed."""
        sent = self._moment
        response = self._sender.send(self._destination, [contact], alone=alone)
        if isinstance(response, Refused):
            return response
        self.passed(sent)
        return None

    def _at_fault(self, stream: SourceStream, refused: Refused) -> RequestRefusedError:
        said = f" MainBrainer said: {refused.message}" if refused.message else ""
        list_id = self._destination.list_id
        place = f", list {list_id}," if list_id else ""
        return RequestRefusedError(
            f"MainBrainer refuses every contact of stream '{stream.stream}'{place} for the same "
            f"reason, with status {refused.status}, so the contacts are not at fault.{said} "
            "Check 'list_id', the property names in 'field_map', and what the account and its "
            "token may do."
        )


_ENDED = "The run ended before this batch could be sent."


def _spread(contacts: Sequence[PendingContact], count: int) -> list[PendingContact]:
    """Choose contacts evenly from a sequence, or take all if there are no more."""
    if len(contacts) <= count:
        return list(contacts)
    return [contacts[(2 * i + 1) * len(contacts) // (2 * count)] for i in range(count)]
