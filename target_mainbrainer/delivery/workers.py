"""The threads that send: each takes a batch out of the queue and delivers it, contact by contact.

One refused batch is one walk down: `_deliver` sends what the search (`bisect`) asks for, after
the circuit breaker has given leave; a contact that is refused alone is held by the circuit
breaker until that is proven to be its own fault, and is rejected then (`outcomes`).
"""

from __future__ import annotations

import http
import threading
import typing as t

from target_mainbrainer.api.answers import TooLarge
from target_mainbrainer.delivery import bisect
from target_mainbrainer.delivery.circuit_breaker import CircuitBreaker
from target_mainbrainer.delivery.sender import Refused
from target_mainbrainer.delivery.witnesses import Witness

if t.TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from target_mainbrainer.delivery.batch import Batch, Destination
    from target_mainbrainer.delivery.outcomes import Outcomes
    from target_mainbrainer.delivery.pending_contact import PendingContact
    from target_mainbrainer.delivery.queue import BatchQueue
    from target_mainbrainer.delivery.sender import Sender
    from target_mainbrainer.delivery.status_polling import StatusPoller


class _Route(t.NamedTuple):
    """What is known about one destination."""

    rate: bisect.FailureRate
    breaker: CircuitBreaker


class Workers:
    """Threads that deliver batches, as many as there are batches that could be sent.

    Args:
        queue: Has the batches.
        sender: Sends contacts.
        outcomes: Books what becomes of them.
        status_poller: Follows accepted batches; None if none is followed.
        alone: Send each contact alone from the start (`write_mode: single`).
        on_failure: Told of an error that ends the run.
    """

    def __init__(
        self,
        queue: BatchQueue,
        sender: Sender,
        outcomes: Outcomes,
        status_poller: StatusPoller | None,
        *,
        alone: bool,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._queue = queue
        self._sender = sender
        self._outcomes = outcomes
        self._status_poller = status_poller
        self._alone = alone
        self._on_failure = on_failure
        self._threads: list[threading.Thread] = []
        self._routes: dict[Destination, _Route] = {}
        self._lock = threading.Lock()

    def start_if_wanted(self) -> None:
        """Start another thread if a batch could be sent by it."""
        with self._lock:
            if self._queue.wants_workers(len(self._threads)):
                thread = threading.Thread(target=self._work, name="sender", daemon=True)
                self._threads.append(thread)
                thread.start()

    def conclude(self) -> None:
        """Reject what is still held when everything has been sent.

        Raises:
            TargetMainBrainerError: The run cannot go on.
        """
        for route in self._routes.values():
            for held in route.breaker.conclude():
                self._outcomes.rejected(held)

    def close(self) -> None:
        """Send nothing more."""
        with self._lock:
            routes = list(self._routes.values())
        for route in routes:
            route.breaker.close()

    def _work(self) -> None:
        while (batch := self._queue.take()) is not None:
            witness = None
            try:
                witness = self._deliver(batch)
            except BaseException as error:  # noqa: BLE001 - raised again by the reading thread
                self._on_failure(error)
            finally:
                self._queue.done(batch, witness)
            self.start_if_wanted()  # the answer may have raised the number that may be in flight

    def _route_to(self, destination: Destination) -> _Route:
        with self._lock:
            if destination not in self._routes:
                breaker = CircuitBreaker(destination, self._queue, self._sender)
                self._routes[destination] = _Route(bisect.FailureRate(), breaker)
            return self._routes[destination]

    def _deliver(self, batch: Batch) -> Witness | None:
        """Deliver a batch; return a contact of it that was accepted, if there is one to keep."""
        rate, breaker = self._route_to(batch.destination)
        search = bisect.search(batch.contacts, rate, alone=self._alone)
        accepted: dict[int, bool] = {}  # id of the contact -> whether it was sent alone
        try:
            send = next(search)
            while True:
                result = self._send(batch, breaker, send, accepted)
                for held in breaker.take_proven():
                    self._outcomes.rejected(held)
                send = search.send(result)
        except StopIteration:
            return _witness_of(batch, accepted)
        finally:
            breaker.leave(batch)

    def _send(
        self, batch: Batch, breaker: CircuitBreaker, send: bisect.Send, accepted: dict[int, bool]
    ) -> bisect.SendResult:
        """Send one request, and book what came of it."""
        sent = breaker.wait_for_leave(batch)
        response = self._sender.send(batch.destination, send.contacts, alone=send.alone)
        if send.alone and _is_conflict(response):
            # It may have met another request on its way; only the second time counts.
            sent = breaker.wait_for_leave(batch)
            response = self._sender.send(batch.destination, send.contacts, alone=True)
        match response:
            case Refused():
                breaker.refused(response)
                if send.alone:
                    self._refused_alone(batch, breaker, send.contacts[0], response)
                return bisect.SendResult(passed=False, suspects=response.suspects)
            case TooLarge():
                return bisect.SendResult(passed=False, too_large=True)
            case _:
                breaker.passed(sent)
                accepted_batch, taken = self._outcomes.accepted(batch, send, response)
                if self._status_poller is not None:
                    self._status_poller.follow(accepted_batch)
                accepted.update(dict.fromkeys(map(id, taken), send.alone))
                batch.close(send.contacts)
                return bisect.SendResult(passed=True)

    def _refused_alone(
        self, batch: Batch, breaker: CircuitBreaker, contact: PendingContact, refused: Refused
    ) -> None:
        """Hold a contact back, unless it was merged: then its parts are sent one by one."""
        if not contact.is_merged:
            breaker.hold(batch, contact, refused)
        batch.close([contact])


def _is_conflict(response: object) -> bool:
    return isinstance(response, Refused) and response.status == http.HTTPStatus.CONFLICT


def _witness_of(batch: Batch, accepted: dict[int, bool]) -> Witness | None:
    """Return the last contact of a batch that was accepted and has no later one beside it."""
    seen: set[Hashable] = set()
    for contact in reversed(batch.contacts):
        alone = accepted.get(id(contact))
        if alone is not None and seen.isdisjoint(contact.identifiers):
            return Witness(contact, batch.keys_of(contact), alone)
        seen.update(contact.identifiers)
    return None
