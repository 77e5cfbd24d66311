"""The threads that send: each takes a batch and sends it until every contact of it is decided.

They decide nothing but what to send next. What came of it goes to the main thread, which alone
changes counts, rejects, the ledger and STATE.
"""

from __future__ import annotations

import http
import logging
import queue
import threading
import typing as t
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from target_mainbrainer.api.answers import Accepted, BatchStatus, Refused, Words
from target_mainbrainer.api.client import MainBrainerClient
from target_mainbrainer.contacts import OPT_INS, Contact
from target_mainbrainer.errors import InterruptedRunError, TransientError
from target_mainbrainer.report.rejects import SourceStream
from target_mainbrainer.rounds.batches import AcceptedBatch, Destination, Kind
from target_mainbrainer.rounds.isolation import RequestAtFault, search
from target_mainbrainer.rounds.round import Upsert, without

logger = logging.getLogger("target-mainbrainer")

MAX_ASKED = 16
"""Questions for statuses under way at once."""


@dataclass(eq=False)
class Batch:
    """Contacts that are sent together.

    Attributes:
        stream: The stream that they come from; None if no record asks for them.
        kind: What the batch is expected to do.
        awaits_status: A move waits for its status.
        is_probe: Its only contact was accepted before, and is sent once more to see whether
            requests are refused by now.
        may_be_applied: It is being sent, or ended with a request of which it is not known whether
            it was applied.
    """

    destination: Destination
    kind: Kind
    stream: SourceStream | None
    upserts: Sequence[Upsert]
    awaits_status: bool = False
    is_probe: bool = False
    may_be_applied: bool = False


def cut(upserts: Sequence[Upsert], size: int, *, awaits_status: bool) -> list[Batch]:
    """Return the batches that contacts are sent in, each for one place and of one kind."""
    groups: dict[tuple[Destination, Kind, str | None], list[Upsert]] = {}
    for upsert in upserts:
        # The records of a contact that moves are booked when its status shows that it has moved.
        stream = upsert.stream if upsert.moving_id is None else None
        name = None if stream is None else stream.name
        groups.setdefault((upsert.destination, upsert.kind, name), []).append(upsert)
    return [
        Batch(
            destination,
            kind,
            None if name is None else group[0].stream,
            group[start : start + size],
            awaits_status,
        )
        for (destination, kind, name), group in groups.items()
        for start in range(0, len(group), size)
    ]


class Sent(t.NamedTuple):
    """The answer to one request with contacts that was accepted."""

    batch: Batch
    upserts: Sequence[Upsert]
    answer: Accepted


class Pending(t.NamedTuple):
    """A contact that was refused alone, while it is not proven that it is the cause.

    Attributes:
        moment: How many refusals had been heard with this one, of its destination.
    """

    moment: int
    batch: Batch
    upsert: Upsert
    refused: Refused


class Done(t.NamedTuple):
    """A job that a thread has ended.

    Attributes:
        batch: None if the job was no batch.
        may_be_applied: Whether it may, now that it has ended.
    """

    threads: Threads
    batch: Batch | None
    may_be_applied: bool


class Asked(t.NamedTuple):
    """The answer to a question for a status; None if it could not be read."""

    accepted: AcceptedBatch
    status: BatchStatus | None


class Failed(t.NamedTuple):
    """An error that ends the run."""

    error: BaseException


Result: t.TypeAlias = "Sent | Pending | Done | Asked | Failed"


class Threads:
    """Daemon threads that work through jobs, as many as there are jobs up to a bound.

    A process that ends does not wait for them.

    Args:
        name: Of the threads.
        bound: How many there may be.
    """

    def __init__(self, name: str, bound: int) -> None:
        self._name = name
        self._bound = bound
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._count = 0
        self.open_jobs = 0

    def submit(self, job: Callable[[], None]) -> None:
        """Hand over a job. Only the main thread calls this."""
        self.open_jobs += 1
        self._jobs.put(job)
        if self._count < min(self._bound, self.open_jobs):
            self._count += 1
            threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def drop(self) -> None:
        """Forget the jobs that no thread has begun."""
        try:
            while True:
                self._jobs.get_nowait()
                self.open_jobs -= 1
        except queue.Empty:
            pass

    def _work(self) -> None:
        while True:
            self._jobs.get()()


class Sending:
    """Sends the batches of one round at a time, and asks for statuses.

    Args:
        client: Talks to MainBrainer; shared by all threads.
        in_flight: How many requests may be under way.
        alone: Send each contact by itself to the endpoint for one (`write_mode: single`).
        stop: Set when the run has to end: no request leaves any more.
    """

    def __init__(
        self,
        client: MainBrainerClient,
        *,
        in_flight: int,
        alone: bool,
        stop: threading.Event,
    ) -> None:
        self._client = client
        self._alone = alone
        self._stop = stop
        self._results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self._senders = Threads("sender", in_flight)
        self._askers = Threads("status", MAX_ASKED)
        self._rules: dict[Destination, RequestAtFault] = {}
        self._probes: list[Upsert] = []

    def send(self, batches: Sequence[Batch]) -> None:
        """Send the batches of a round; the one before must be done."""
        by_destination: dict[Destination, list[Upsert]] = {}
        for batch in batches:
            by_destination.setdefault(batch.destination, []).extend(batch.upserts)
            self.rule_of(batch.destination)
        sent = (upsert for batch in batches for upsert in batch.upserts)
        identifiers = {one for upsert in sent for one in upsert.identifiers}
        for destination, rule in self._rules.items():
            rule.begin_round(by_destination.get(destination, ()), identifiers)
        for batch in batches:
            self._submit(partial(self._deliver, batch), batch)

    def probe(self, rule: RequestAtFault) -> bool:
        """Send a contact once more that was accepted; return False if there is none."""
        upsert = rule.probe
        if upsert is None:
            return False
        batch = self._probe(upsert)
        self._submit(partial(self._deliver, batch), batch)
        return True

    def take_probes(self) -> list[Upsert]:
        """Return what was sent as a probe since the last call; those under way may be applied."""
        probes, self._probes = self._probes, []
        return probes

    def check(self) -> None:
        """Ask once whether the account works, in a run that has sent nothing.

        So a wrong token is noticed. A server that is away is only a warning then.
        """

        def check() -> None:
            try:
                self._client.check()
            except TransientError as error:
                logger.warning("Nothing had to be sent. %s", error)

        self._submit(check)

    def ask(self, accepted: AcceptedBatch) -> None:
        """Ask for the status of a batch."""

        def ask() -> None:
            status = self._client.batch_status(accepted.batch_id or "")
            self._results.put(Asked(accepted, status))

        self._askers.submit(lambda: self._run(self._askers, ask))

    def take(self, wait_seconds: float) -> list[Result]:
        """Return what has come, after waiting so long for the first of it."""
        results: deque[Result] = deque()
        try:
            if wait_seconds:
                results.append(self._results.get(timeout=wait_seconds))
            while True:
                results.append(self._results.get_nowait())
        except queue.Empty:
            pass
        for result in results:
            if isinstance(result, Done):
                result.threads.open_jobs -= 1
                if result.batch is not None:
                    result.batch.may_be_applied = result.may_be_applied
        return list(results)

    @property
    def is_sending(self) -> bool:
        """Whether a batch is not done yet."""
        return self._senders.open_jobs > 0

    def rule_of(self, destination: Destination) -> RequestAtFault:
        """Return what decides for a destination whether its requests are at fault."""
        if destination not in self._rules:

            def send_alone(upsert: Upsert) -> Words | None:
                upsert.may_be_applied = True
                probe = self._probe(upsert)
                answer = self._post(destination, probe.upserts)
                probe.upserts[0].may_be_applied = answer.follows_lost_answer
                upsert.may_be_applied = isinstance(answer, Accepted) or answer.follows_lost_answer
                if not isinstance(answer, Accepted):
                    return answer.words
                self._results.put(Sent(probe, probe.upserts, answer))
                return None

            self._rules[destination] = RequestAtFault(destination, send_alone)
        return self._rules[destination]

    def close(self) -> None:
        """Send nothing new; what is under way goes on."""
        self._stop.set()
        self._senders.drop()
        self._askers.drop()
        for rule in self._rules.values():
            rule.close()

    # The sender threads

    def _submit(self, job: Callable[[], None], batch: Batch | None = None) -> None:
        self._senders.submit(lambda: self._run(self._senders, job, batch))

    def _run(self, threads: Threads, job: Callable[[], None], batch: Batch | None = None) -> None:
        may_be_applied = False
        if batch is not None:
            batch.may_be_applied = True
        try:
            job()
        except BaseException as error:  # noqa: BLE001 - raised again by the main thread
            may_be_applied = getattr(error, "may_be_applied", True)
            if not (isinstance(error, InterruptedRunError) and self._stop.is_set()):
                self._results.put(Failed(error))
        finally:
            self._results.put(Done(threads, batch, may_be_applied))

    def _deliver(self, batch: Batch) -> None:
        """Send a batch, and parts of it as long as it is refused."""
        rule = self.rule_of(batch.destination)
        steps = search(batch.upserts, rule.rate, alone=self._alone)
        try:
            upserts = next(steps)
            while True:
                upserts = steps.send(self._step(batch, rule, upserts))
        except StopIteration:
            return
        finally:
            rule.leave(batch)

    def _step(
        self, batch: Batch, rule: RequestAtFault, upserts: Sequence[Upsert]
    ) -> Accepted | Refused:
        """Send one request, and report what came of it."""
        moment = rule.wait_for_turn(batch)
        answer = self._post(batch.destination, upserts)
        if len(upserts) == 1 and _is_conflict(answer):
            # It may have met another request on its way; only the second time counts.
            moment = rule.wait_for_turn(batch)
            answer = self._post(batch.destination, upserts)
        for upsert in upserts:
            is_open = upsert.may_be_applied and not batch.is_probe  # that has its answer
            upsert.may_be_applied = is_open or answer.follows_lost_answer
        if isinstance(answer, Accepted):
            rule.passed(moment, upserts)
            self._results.put(Sent(batch, upserts, answer))
        elif not answer.is_too_large:
            moment = rule.refused(answer.words, upserts)
            if len(upserts) == 1 and not upserts[0].is_merged:
                self._results.put(Pending(moment, batch, upserts[0], answer))
        return answer

    def _probe(self, upsert: Upsert) -> Batch:
        """Return a batch of one contact, without a yes: its own batch gives that, and may fail."""
        outgoing = without(t.cast("Contact", upsert.outgoing), OPT_INS)
        probe = Upsert(upsert.contact, [], upsert.destination, outgoing=outgoing, row=upsert.row)
        probe.may_be_applied = True  # as long as it has no answer
        self._probes.append(probe)
        return Batch(upsert.destination, Kind.OTHER, None, [probe], is_probe=True)

    def _post(self, destination: Destination, upserts: Sequence[Upsert]) -> Accepted | Refused:
        contacts = [t.cast("Contact", upsert.outgoing) for upsert in upserts]
        if self._alone:
            return self._client.send_contact(contacts[0], list_id=destination.list_id)
        return self._client.send_batch(contacts, destination.list_id, destination.webhook_url)


def _is_conflict(answer: object) -> bool:
    return isinstance(answer, Refused) and answer.status == http.HTTPStatus.CONFLICT
