"""From buffer to outcome: batches in flight, in order, each record to exactly one outcome.

```
 reader ── submit ──▶ Line ──▶ senders ── isolation ──▶ client ──▶ outcome ──▶ Ledger ──▶ STATE
            tick                                          └─▶ Confirmer ──────────▲
                                                          └─▶ Rejects ────────────┘
```

The reading thread submits batches and, whenever it waits, ticks: it writes the STATE that is due
and the progress line. It alone writes to stdout. Senders deliver one batch each at a time.
"""

from __future__ import annotations

import logging
import threading
import typing as t

from target_mainbrainer.api.refusals import Refusal, TooLarge, find_suspects
from target_mainbrainer.api.requests import encode_batch, encode_contact, encode_single
from target_mainbrainer.api.responses import Accepted
from target_mainbrainer.contacts.rejection import Rejection
from target_mainbrainer.delivery import bisect
from target_mainbrainer.delivery.queue import BatchQueue
from target_mainbrainer.errors import InterruptedRunError, RequestRefusedError
from target_mainbrainer.privacy.redaction import redact, values_of

if t.TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from target_mainbrainer.api.client import MainBrainerClient
    from target_mainbrainer.config.settings import Settings
    from target_mainbrainer.contacts.contact import Contact
    from target_mainbrainer.delivery.buffer import PendingContact
    from target_mainbrainer.delivery.queue import Batch, Destination
    from target_mainbrainer.delivery.state_tracker import StateTracker
    from target_mainbrainer.delivery.status_polling import StatusPoller
    from target_mainbrainer.reporting.rejections import Rejections
    from target_mainbrainer.singer.source_record import State

PLACES_BEYOND_SENDERS = 4
"""Batches kept ready for the next free sender."""

GRACE_SECONDS = 30.0
"""How long a run that has to end waits for what is in flight."""

STATE_INTERVAL_SECONDS = 2.0
PROGRESS_INTERVAL_SECONDS = 10.0
TICK_SECONDS = 0.5

logger = logging.getLogger("target-mainbrainer")


class Route:
    """What is known about one destination, and who may send there while that is in doubt.

    Until a request has passed, and again after many refusals in a row, one batch at a time is
    tried: a wrong list id or a missing right should cost a handful of requests, not twenty
    batches' worth of searching.
    """

    def __init__(self) -> None:
        self.experience = bisect.FailureRate()
        self.answers = bisect.Answers()
        self._holder: Batch | None = None
        self._held: list[tuple[int, Batch, bisect.ContactRejected]] = []
        self._changed = threading.Condition()
        self._is_closed = False

    def wait_for_turn(self, batch: Batch) -> int:
        """Wait until this batch may send; return the moment at which it does.

        Raises:
            InterruptedRunError: The run ends before that.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self.answers.is_proven or self._holder in {None, batch} or self._is_closed
            )
            if self._is_closed:
                raise InterruptedRunError(_ENDED)
            if not self.answers.is_proven:
                self._holder = batch
            return self.answers.moment

    def passed(self, sent: int) -> list[tuple[Batch, bisect.ContactRejected]]:
        """Note that a request passed which was sent at a moment, and let the others go on.

        Returns:
            Blames that are proven by it.
        """
        with self._changed:
            self.answers.passed(sent)
            self._changed.notify_all()
            proven = [(batch, blame) for since, batch, blame in self._held if since <= sent]
            self._held = [held for held in self._held if held[0] > sent]
        return proven

    def hold(self, batch: Batch, blame: bisect.ContactRejected) -> None:
        """Keep a blame until something passes; many alike accuse the request instead.

        So small batches, which have no ten contacts to ask, cannot all be refused one by one.

        Raises:
            RequestAtFaultError: The request as such is refused.
        """
        with self._changed:
            self._held.append((self.answers.moment, batch, blame))
            words = blame.verdict.signature
            alike = sum(other.verdict.signature == words for _, _, other in self._held)
        if alike >= bisect.WITNESSES and self.answers.is_doubtful:
            raise bisect.RequestAtFaultError(blame.verdict)

    def let_go(self) -> list[tuple[Batch, bisect.ContactRejected]]:
        """Return the blames that are left when everything has been sent."""
        with self._changed:
            held, self._held = self._held, []
        return [(batch, blame) for _, batch, blame in held]

    def leave(self, batch: Batch) -> None:
        """Let another batch have its turn."""
        with self._changed:
            if self._holder is batch:
                self._holder = None
                self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any longer: the run ends."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


_ENDED = "The run ended before this batch could be sent."


class Delivery:
    """Delivers batches, several at once, and keeps account of every record in them.

    Args:
        settings: The run's settings.
        client: Speaks to MainBrainer; shared by all senders.
        ledger: Says which STATE may be written.
        rejects: Takes rejected records.
        confirmer: Follows accepted batches; None to let them be.
        stop: Set when the run has to end: whoever waits for a limit or a retry gives up.
        make_durable: Brings to the disk what STATE relies on; called before STATE is written.
        write_state: Writes a STATE message to stdout.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        settings: Settings,
        client: MainBrainerClient,
        *,
        state_tracker: StateTracker,
        rejects: Rejections,
        status_poller: StatusPoller | None,
        stop: threading.Event,
        make_durable: Callable[[], None],
        write_state: Callable[[State], None],
        write_progress: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._state_tracker = state_tracker
        self._rejects = rejects
        self._status_poller = status_poller
        self._stop = stop
        self._make_durable = make_durable
        self._write_state = write_state
        self._write_progress = write_progress
        self._clock = clock
        self._most_senders = settings.max_concurrent_requests
        self._confirm_timeout = settings.confirm_timeout_seconds
        self._alone = settings.write_mode == "single"
        self._line = BatchQueue(self._most_senders + PLACES_BEYOND_SENDERS)
        self._senders: list[threading.Thread] = []
        self._routes: dict[Destination, Route] = {}
        self._counting = threading.Lock()
        self._failure: BaseException | None = None
        self._next_state = clock() + STATE_INTERVAL_SECONDS
        self._next_progress = clock() + PROGRESS_INTERVAL_SECONDS

    # The reading thread

    def submit(self, batch: Batch) -> None:
        """Queue a batch for delivery, waiting for a place if there is none.

        Raises:
            TargetMainBrainerError: The run cannot go on.
        """
        self._routes.setdefault(batch.destination, Route())
        while not self._line.put(batch, wait_seconds=TICK_SECONDS):
            self.tick()
        if self._line.is_wanting_senders and len(self._senders) < self._most_senders:
            sender = threading.Thread(target=self._work, name="sender", daemon=True)
            self._senders.append(sender)
            sender.start()

    def tick(self) -> None:
        """Do what is due: STATE, the progress line, and the end of a run that cannot go on.

        Raises:
            TargetMainBrainerError: The run cannot go on.
        """
        if self._failure is not None:
            raise self._failure
        now = self._clock()
        if now >= self._next_state:
            self._next_state = now + STATE_INTERVAL_SECONDS
            self.write_due_state()
        if now >= self._next_progress:
            self._next_progress = now + PROGRESS_INTERVAL_SECONDS
            self._write_progress()

    def write_due_state(self) -> None:
        """Write the newest STATE before which nothing is open, if there is a new one."""
        self._make_durable()
        if (state := self._state_tracker.take_due()) is not None:
            self._write_state(state)

    def finish(self) -> None:
        """Deliver what is queued, wait for confirmations, and write the last STATE.

        Raises:
            TargetMainBrainerError: The run cannot go on.
        """
        while not self._line.wait_until_done(TICK_SECONDS):
            self.tick()
        self.tick()
        for route in self._routes.values():
            for batch, blame in route.let_go():
                self._blame(batch, blame)
        if self._status_poller is not None:
            deadline = self._clock() + self._confirm_timeout
            while not self._status_poller.wait(TICK_SECONDS) and self._clock() < deadline:
                self.tick()
        self._end()

    def interrupt(self, error: InterruptedRunError) -> None:
        """End the run at the next tick.

        A signal's handler may call this: it runs in the middle of anything, so it takes no lock.
        """
        if self._failure is None:
            self._failure = error

    def abort(self) -> None:
        """End a run that cannot go on: what is in flight finishes, nothing new begins."""
        self._close()
        self._line.wait_until_done(GRACE_SECONDS)
        self._end()

    def _close(self) -> None:
        self._line.close()
        self._stop.set()
        for route in list(self._routes.values()):  # the reader may add one
            route.close()

    def _end(self) -> None:
        self._line.close()
        if self._status_poller is not None:
            self._status_poller.close()
        self.write_due_state()

    # The senders

    def _work(self) -> None:
        while (batch := self._line.take()) is not None:
            try:
                self._deliver(batch)
            except InterruptedRunError as error:
                if not self._stop.is_set():
                    self._fail(error)
            except BaseException as error:  # noqa: BLE001 - raised again by the reading thread
                self._fail(error)
            finally:
                self._routes[batch.destination].leave(batch)
                self._line.done(batch)

    def _fail(self, error: BaseException) -> None:
        """End the run with the first error; nothing new is sent from here on."""
        if self._failure is None:
            self._failure = error
        self._close()

    def _deliver(self, batch: Batch) -> None:
        route = self._routes[batch.destination]
        search = bisect.deliver(
            batch.entries,
            experience=route.experience,
            answers=route.answers,
            alone=self._alone,
        )
        verdict: bisect.SendResult | None = None
        try:
            while True:
                step = search.send(verdict)  # type: ignore[arg-type] # None starts or goes on
                match step:
                    case bisect.Send():
                        verdict = self._send(batch, route, step)
                    case bisect.ContactRejected():
                        if step.is_proven:
                            self._blame(batch, step)
                        else:
                            route.hold(batch, step)
                        verdict = None
        except StopIteration:
            return
        except bisect.RequestAtFaultError as fault:
            raise self._fault(batch, fault.verdict) from None

    def _send(self, batch: Batch, route: Route, send: bisect.Send) -> bisect.SendResult:
        """Send one request, and book what passed."""
        sent = route.wait_for_turn(batch)
        answer = self._post(batch, send)
        match answer:
            case Accepted():
                for accused_in, blame in route.passed(sent):
                    self._blame(accused_in, blame)
                self._book(batch, send.entries, answer, is_batch=not send.alone)
                return bisect.SendResult(passed=True)
            case TooLarge():
                return bisect.SendResult(passed=False, too_large=True)
            case Refusal():
                route.answers.refused()
                contacts = [entry.contact for entry in send.entries]
                suspects = find_suspects(answer, contacts)
                return bisect.SendResult(
                    passed=False,
                    # Equal reasons have to be equal, whoever they name.
                    signature=(answer.status, _said(answer, contacts)) if send.alone else None,
                    suspects=[send.entries[place] for place in suspects],
                    answer=answer,
                )

    def _post(self, batch: Batch, send: bisect.Send) -> Accepted | Refusal | TooLarge:
        list_id, webhook_url = batch.destination
        if send.alone:
            (entry,) = send.entries
            return self._client.post_contact(encode_single(entry.contact, list_id=list_id))
        for entry in send.entries:
            if entry.encoded is None:
                entry.encoded = encode_contact(entry.contact)
        parts = [t.cast("bytes", entry.encoded) for entry in send.entries]
        body = encode_batch(parts, list_id=list_id, webhook_url=webhook_url)
        return self._client.post_batch(body, size=len(parts))

    # Outcomes

    def _book(
        self, batch: Batch, entries: Sequence[PendingContact], answer: Accepted, *, is_batch: bool
    ) -> None:
        """Book contacts that the API has taken, but for those that its answer names as invalid."""
        report = batch.source.report
        invalid = answer.invalid_contacts.ids
        unknown = [entry for entry in entries if invalid and entry.contact.contact_id in invalid]
        taken = [entry for entry in entries if entry not in unknown] if unknown else entries
        source_records = [
            source_record for entry in taken for source_record in entry.source_records
        ]
        with self._counting:
            report.accepted += len(taken)
            report.merged += len(source_records) - len(taken)
            named = {p.name or p.property_id or "?" for p in answer.invalid_properties}
            report.ignored_properties.update(named)
        for entry in unknown:
            self._rejects.add(batch.source, entry.source_records, _UNKNOWN_CONTACT_ID)
        if self._status_poller is not None:
            if is_batch and answer.batch_id is not None:
                self._status_poller.watch(
                    answer.batch_id,
                    contacts=len(entries),
                    named_invalid=len(unknown),
                    report=report,
                    source_records=source_records,
                )
            else:
                self._status_poller.cannot_follow(len(taken), report, is_batch=is_batch)
            if is_batch and self._status_poller.is_required:
                return
        self._state_tracker.settle(source_records)

    def _blame(self, batch: Batch, blame: bisect.ContactRejected) -> None:
        """Book a contact that was refused alone."""
        refusal = t.cast("Refusal", blame.verdict.answer)
        said = _said(refusal, [blame.entry.contact])
        words = f"MainBrainer said: {said}" if said else "MainBrainer gave no reason."
        code, reason = f"refused_{refusal.status}", f"Refused alone with status {refusal.status}."
        answer = {"status": refusal.status, "message": refusal.message}
        self._rejects.add(
            batch.source,
            blame.entry.source_records,
            Rejection(code, f"{reason} {words}"),
            answer=answer,
        )

    def _fault(self, batch: Batch, verdict: bisect.SendResult) -> RequestRefusedError:
        refusal = t.cast("Refusal", verdict.answer)
        said = _said(refusal, [entry.contact for entry in batch.entries])
        words = f" MainBrainer said: {said}" if said else ""
        list_id = batch.destination.list_id
        place = f"list {list_id}" if list_id else "no list"
        return RequestRefusedError(
            f"MainBrainer refuses every contact of stream '{batch.source.stream}' for {place} in "
            f"the same words, with status {refusal.status}, so the fault is not the contacts'."
            f"{words} Check 'list_id', the property names in 'field_map', and what the account "
            "and its token may do."
        )


def _said(refusal: Refusal, contacts: list[Contact]) -> str:
    """Return what a refusal says, without anything of the contacts it is about."""
    return redact(refusal.message, values_of(contacts))


_UNKNOWN_CONTACT_ID = Rejection(
    "unknown_contact_id",
    "MainBrainer took the batch but named this contact's id as invalid, so it was not updated.",
)
