"""MainBrainer in memory, by the rules of the sandbox, and the faults of its answers."""

from __future__ import annotations

import itertools
import math
import random
import typing as t
from collections import deque
from dataclasses import dataclass, field

from typing_extensions import override

from mainbrainer_sandbox import reading, responses, rules
from mainbrainer_sandbox.faults import Faults
from target_mainbrainer.api.http import Endpoint, Response, Transport
from target_mainbrainer.errors import TransientError, UnreachableError

if t.TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mainbrainer_sandbox.rules import Contact, Sent
    from mainbrainer_sandbox.switches import Switches
    from tests.years.world import Process, World

HOUR = 3_600.0
STALE_SECONDS = 15.0
"""As `api.http`: what was asked for so long ago does not leave."""

LATEST_COPY_SECONDS = 20 * HOUR
PATIENCE_SECONDS = 10.0
"""A run waits so long for a status at least."""

REFUSED = "bad"
"""E-mail addresses that begin so are refused."""


@dataclass(eq=False)
class Batch:
    """A batch that was accepted.

    Attributes:
        due: When it is applied; infinity for never.
        is_copy: It is what is left of a request without an answer.
        is_told: A status has said that it has failed.
        confirmed_at: When a status first said what was done.
        applied: What it has done.
    """

    number: int
    process: Process
    contacts: Sequence[Sent]
    due: float
    accepted_at: float
    fails: bool = False
    skip_first: bool = False
    is_copy: bool = False
    is_told: bool = False
    confirmed_at: float = math.inf
    applied: rules.Applied | None = None

    @property
    def is_lost(self) -> bool:
        return self.skip_first or self.due == math.inf

    @property
    def id(self) -> str:
        return f"00000000-0000-4000-8000-{self.number:012d}"


@dataclass
class Held:
    """What people have done to a contact by hand, and whose it was.

    Attributes:
        identities: All it has had.
        unsubscribed: When each opt-in was withdrawn by hand, if the yes before was known.
        known_yes: The opt-ins whose yes a run has booked.
        by_hand: The opt-ins that were withdrawn by hand, known to a run or not.
        city: What it was corrected to.
        city_at: When that was.
        is_left_behind: It is no person's any more, as a warning has said.
        was_left_behind: It was so once.
        is_late: It was last changed by a copy that came late.
        is_ghost: It was made by such a copy, by a batch after its run has ended, or by a search for
            a contact that was gone, and no run has sent it data since.
        was_ghost: It has been one: what was said at its address before is not said again.
    """

    identities: set[tuple[str | None, int | None]] = field(default_factory=set)
    unsubscribed: dict[str, float] = field(default_factory=dict)
    known_yes: set[str] = field(default_factory=set)
    by_hand: set[str] = field(default_factory=set)
    city: str | None = None
    city_at: float = 0.0
    is_left_behind: bool = False
    was_left_behind: bool = False
    is_late: bool = False
    is_ghost: bool = False
    was_ghost: bool = False


class CRM:
    """Contacts and batches.

    Attributes:
        switches: Which reading of the documentation holds.
        arrivals: When requests came.
        refused_at: When a good request was refused first in this night.
        refused: The contacts in such requests.
        refused_ids: Contacts that were refused under their id, alone, in this night.
        injected: How many faults of each kind have come about.
        watch: Called with each request for contacts, before anything is done with it.
    """

    def __init__(self, world: World, seed: str, switches: Switches) -> None:
        self.world = world
        self.switches = switches
        self.known = rules.Known(())
        self.held: dict[int, Held] = {}
        self.batches: dict[str, Batch] = {}
        self.arrivals: list[float] = []
        self.injected: dict[str, int] = {}
        self.watch: Callable[[Process, Sequence[Sent]], None] = lambda *_: None
        self.trace: list[str] = []
        self._seed = seed
        self._faults = Faults()
        self._random = random.Random(seed)
        self._queue: deque[Batch] = deque()
        self._properties = {name: name for name in rules.DEFAULT_PROPERTIES}
        self._next_id = 1000
        self._reached = 0.0
        self.refused_at = math.inf
        self.refused: list[Sent] = []
        self.refused_ids: set[int | None] = set()

    @property
    def contacts(self) -> Mapping[int, Contact]:
        return self.known.by_id

    def begin_night(self, number: int, faults: Sequence[str]) -> None:
        """Let other things go wrong from now on."""
        self._faults = Faults(faults, seed=number)
        self._random = random.Random(f"{self._seed} {number}")
        self.refused_at, self.refused, self.refused_ids = math.inf, [], set()

    def inject(self, kind: str) -> None:
        self.injected[kind] = self.injected.get(kind, 0) + 1

    # Requests

    def transport(self, process: Process) -> Wire:
        return Wire(self, process)

    def answer(self, process: Process, endpoint: Endpoint, body: bytes | None) -> Response:
        """Return the answer to a request.

        Raises:
            TransientError: There is none.
        """
        self.settle()
        now = self.world.now
        self.arrivals.append(now)
        kind = "status" if endpoint.method == "GET" else "batch"
        faults = {fault.kind: fault for fault in self._faults.triggered(kind)}
        for name in faults:
            self.inject(f"{name}:{kind}")
        self.trace.append(
            f"{now:.3f} {process.number} {endpoint.method} {(body or b'').decode()} {[*faults]}"
        )
        if "reset" in faults:
            raise _no_answer(endpoint)
        if "status" in faults:
            fault = faults["status"]
            if fault.status == 422 and body is not None:
                self.refused_at = min(self.refused_at, now)
                self.refused += reading.read(body, "batch", self.switches, {}).contacts
            if fault.status != 413 or body is None or body.count(b"propertyfields") > 1:
                after = fault.value or None
                return Response(fault.status, b'{"message": "No."}', "application/json", after)
        if kind == "status":
            return self._status(endpoint, faults)
        return self._accept(process, endpoint, body or b"", faults)

    def _accept(
        self, process: Process, endpoint: Endpoint, body: bytes, faults: Mapping[str, t.Any]
    ) -> Response:
        found = reading.read(body, "batch", self.switches, self._properties)
        self.watch(process, found.contacts)
        if problems := found.problems or self._problems_ahead(found):
            self.inject("refused")
            if len(found.contacts) == 1:
                self.refused_ids.add(found.contacts[0].contact_id)
            status = min(one.status for one in problems)
            refusal = responses.refusal(status, problems, self.switches.refusal_names)
            return _response(responses.error_response(refusal, self.switches.error_body))
        self._properties |= found.properties
        now = self.world.now
        due = now + self._delay(faults)
        batch = Batch(len(self.batches) + 1, process, found.contacts, due, now)
        if "noid" not in faults:
            batch.fails = "fail" in faults
            batch.skip_first = "skip" in faults
        self.batches[batch.id] = batch
        if "lost" in faults:
            # It is applied now, or only later, or now and once more.
            when = self._random.choice(["now", "later", "twice"])
            self.inject(f"lost, applied {when}")
            if when != "now":
                late = now + self._random.choice([5.0, 60.0, 3 * HOUR, LATEST_COPY_SECONDS])
                self._copy(batch, late)
            if when == "later":
                batch.due, batch.fails = -1.0, True
        self._queue.append(batch)
        self.settle()
        if "lost" in faults:
            raise _no_answer(endpoint)
        if "cut" in faults:
            return Response(202, b'{"status": "Succ', "application/json")
        batch_id = None if "noid" in faults else batch.id
        return _response(responses.batch_accepted(batch_id, found.reported))

    def _problems_ahead(self, found: reading.Reading) -> list[reading.Problem]:
        if all(sent.contact_id is None for sent in found.contacts):
            return []
        known, new_ids = rules.Known(self.contacts.values()), itertools.count(-1, -1).__next__
        ahead = rules.apply(found.contacts, known, self.switches, new_ids)
        return reading.problems_ahead(found, ahead, self.switches, "batch")

    def _copy(self, batch: Batch, due: float) -> None:
        copy = Batch(len(self.batches) + 1, batch.process, batch.contacts, due, 0.0, is_copy=True)
        self.batches[copy.id] = copy
        self._queue.append(copy)

    def _delay(self, faults: Mapping[str, t.Any]) -> float:
        if "stuck" in faults and "noid" not in faults:
            return math.inf
        if "late" in faults:
            return float(faults["late"].value) * HOUR
        return self._random.choice([0.0, 0.0, 0.2, 2.0])

    def _status(self, endpoint: Endpoint, faults: Mapping[str, t.Any]) -> Response:
        batch = self.batches.get(endpoint.url.split("/")[-2])
        if batch is None:
            return Response(404, b"{}", "application/json")
        done = batch.applied or rules.Applied()
        is_done = batch.applied is not None
        failed = is_done and batch.fails
        if is_done and not failed and not done.skip_reasons:
            batch.confirmed_at = min(batch.confirmed_at, self.world.now)
        ids = {name: getattr(done, name) for name in ("inserted", "updated", "skipped")}
        counts = {name: len(some) for name, some in ids.items()}
        counts["skipped"] = len(done.skip_reasons)
        if "noid" in faults:  # or one that no contact can have
            ids = self._random.choice([{}, {name: [0] * count for name, count in counts.items()}])
        state = "failed" if failed else "completed" if is_done else "queued"
        row = {"id": batch.id, "state": state, "details": ids, **counts}
        row["failed_reason"] = "It did not work." if failed else None
        return _response(responses.batch_status(row, is_odd="odd" in faults))

    # What happens after a 202

    def settle(self) -> None:
        """Apply what is due: batches in their order, copies whenever they come."""
        now = self.world.now
        order = [one for one in self._queue if not one.is_copy and one.due < math.inf]
        for batch in order:
            if batch.due > now:
                break
            self._apply(batch)
        for copy in [one for one in self._queue if one.is_copy and one.due <= now]:
            self.inject("late copy")
            self._apply(copy)

    @property
    def open(self) -> list[Batch]:
        """Batches that may still be applied."""
        return [one for one in self._queue if one.due < math.inf]

    def _apply(self, batch: Batch) -> None:
        self._queue.remove(batch)
        if batch.fails:
            batch.applied = rules.Applied()
            return
        batch.applied = done = rules.apply(
            batch.contacts, self.known, self.switches, self._new_id, skip_first=batch.skip_first
        )
        self._reached = max(self._reached, batch.due)
        is_slow = batch.is_copy or self._reached > batch.accepted_at + PATIENCE_SECONDS
        for contact_id in {*done.inserted, *done.updated}:
            contact = self.contacts[contact_id]
            held = self.held.setdefault(contact_id, Held())
            held.identities.add((contact.email, contact.mobile_number))
            held.is_late = batch.is_copy
            has_failed = batch.process.is_dead and (is_slow or bool(batch.process.code))
            is_blind = batch.is_copy or has_failed or not contact.properties
            held.is_ghost = is_blind and (contact_id in done.inserted or held.is_ghost)
            held.was_ghost |= held.is_ghost
        for sent in batch.contacts:
            # A run that sends data to a contact, or names it, follows it again; a change of address
            # that comes late takes it away unseen.
            touched = self.known.with_identity(sent) if sent.contact_id is None else sent.contact_id
            if touched in self.held and (sent.contact_id or (sent.properties and not is_slow)):
                self.held[touched].is_left_behind = is_slow
                self.held[touched].was_left_behind |= is_slow

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id

    # By hand

    def edit(self, contact_id: int, **changes: t.Any) -> None:
        contact = rules.edited(self.contacts[contact_id], changes)
        self.known.put(contact)
        self.held[contact_id].identities.add((contact.email, contact.mobile_number))

    def delete(self, contact_id: int) -> None:
        left = [one for one in self.contacts.values() if one.id != contact_id]
        self.known = rules.Known(left)
        del self.held[contact_id]


class Wire(Transport):
    """The way from a process to the CRM and back."""

    def __init__(self, crm: CRM, process: Process) -> None:
        self._crm = crm
        self._process = process

    @override
    def close(self) -> None:
        """Do nothing."""

    @override
    def send(
        self, endpoint: Endpoint, body: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> Response:
        """Send a request, with a kill or the machine's sleep at any point of it."""
        del headers
        world = self._crm.world
        asked_at = world.now
        if self._process.dies_renaming and b"contactId" in (body or b""):
            self._process.kill_at = self._process.steps + world.random.choice([1, 2, 3])
        world.step()
        world.rest()
        world.pause(world.random.choice([0.01, 0.05, 0.2]))
        if world.now > asked_at + STALE_SECONDS:
            message = f"The connection failed on {endpoint}."
            raise UnreachableError(message)
        answers = []
        try:
            answers.append(self._crm.answer(self._process, endpoint, body))
        except TransientError:
            world.pause(world.random.choice([0.1, 5.0, 30.0]))
            raise
        world.step()
        world.rest()
        world.pause(world.random.choice([0.01, 0.05, 0.5]))
        world.step()
        (answer,) = answers
        if endpoint.method == "GET" and b"It did not work" in answer.body:
            self._crm.batches[endpoint.url.split("/")[-2]].is_told = True
        return answer


def _no_answer(endpoint: Endpoint) -> TransientError:
    return TransientError(f"The connection failed on {endpoint}: reset.")


def _response(response: t.Any) -> Response:
    return Response(response.status_code, response.body, response.media_type or "")
