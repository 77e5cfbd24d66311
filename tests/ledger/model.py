"""A small CRM that matches as the API note says in 8.1, and a target over it that may be killed.

Every contact says everything, so the last one to be applied decides what the CRM holds.
"""

from __future__ import annotations

import os
import typing as t
from itertools import groupby

import msgspec

from target_mainbrainer.contacts import Contact, Mobile, PropertyRef
from target_mainbrainer.ledger.ledger import Account, Ledger
from target_mainbrainer.ledger.machine import this_process

if t.TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from target_mainbrainer.ledger.database import Database
    from target_mainbrainer.ledger.marking import Mark
    from target_mainbrainer.ledger.stream_ledger import StreamLedger

BAD = "z"
"""The content that the CRM refuses."""

CONTENT = PropertyRef(None, "content")
STREAM = "people"
IDENTITIES = {
    "x": Contact(email="x@example.com"),
    "X": Contact(email="X@example.com"),
    "y": Contact(email="y@example.com"),
    "m": Contact(mobile=Mobile(47, 90812501)),
    "M": Contact(mobile=Mobile(None, 90812501)),
    "mx": Contact(mobile=Mobile(47, 90812501), email="x@example.com"),
    "7": Contact(contact_id=7),
    "8": Contact(contact_id=8),
}


class Record(t.NamedTuple):
    """One record: `k0:x{b}` of a stream, in a list or in none."""

    key: str
    identity: str
    content: str
    list_id: str | None = None
    stream: str = STREAM

    @property
    def contact(self) -> Contact:
        return msgspec.structs.replace(
            IDENTITIES[self.identity], properties={CONTENT: self.content}
        )


def parse(text: str) -> list[list[Record]]:
    """Read nights as the issue writes them.

    >>> parse("k0:x{b} k1:y{a} | k1:x{b}")[1]
    [Record(key='k1', identity='x', content='b', list_id=None, stream='people')]
    """
    nights = []
    for night in text.split("|"):
        records = []
        for word in night.split():
            key, _, rest = word.partition(":")
            identity, _, content = rest.rstrip("}").partition("{")
            stream, _, key = key.rpartition("/")
            content, _, list_id = content.partition("@")
            records.append(Record(key, identity, content or "a", list_id or None, stream or STREAM))
        nights.append(records)
    return nights


class ModelCRM:
    """Contacts, matched as the API note says; the content of each is what was applied last.

    Args:
        folds: Whether case and country code do not count.
    """

    def __init__(self, *, folds: bool = False) -> None:
        self._folds = folds
        self._next_id = 100
        self.contacts: dict[int, dict[str, t.Any]] = {}
        self._apply_plain(IDENTITIES["x"], {}, 7)

    def _matched_on(self, contact: Contact) -> tuple[object, object]:
        mobile, email = contact.mobile, contact.email
        if self._folds:
            return mobile and mobile.number, email and email.lower()
        return mobile and (mobile.country_code, mobile.number), email

    def apply(self, record: Record) -> None:
        """Upsert one contact."""
        contact = record.contact
        values = {"content": record.content, "list": record.list_id}
        if contact.contact_id in self.contacts:
            self.contacts[contact.contact_id].update(values)
        elif contact.contact_id is not None:
            self.contacts[contact.contact_id] = {"on": None, **values}
        else:
            self._apply_plain(contact, values, None)

    def _apply_plain(self, contact: Contact, values: dict[str, t.Any], id_: int | None) -> None:
        on = self._matched_on(contact)
        for held in self.contacts.values():
            if held["on"] == on:
                held.update(values)
                return
        self._next_id += 1
        self.contacts[id_ or self._next_id] = {"on": on, **values}

    def view(self, records: Sequence[Record] | None = None) -> list[tuple[object, ...]]:
        """Return all contacts, or those that records name, without the ids."""
        if records is None:
            return sorted(
                (
                    (repr(held["on"]), held.get("content"), held.get("list"))
                    for held in self.contacts.values()
                ),
                key=repr,
            )
        found = {id_ for record in records for id_ in self.matches(record)}
        return sorted(
            (
                (repr(held["on"]), held.get("content"), held.get("list"))
                for id_, held in self.contacts.items()
                if id_ in found
            ),
            key=repr,
        )

    def matches(self, record: Record) -> set[int]:
        """Return the ids of the contacts that a record names."""
        contact = record.contact
        if contact.contact_id is not None:
            return {contact.contact_id} & set(self.contacts)
        on = self._matched_on(contact)
        return {id_ for id_, held in self.contacts.items() if held["on"] == on}


class Killed(Exception):  # noqa: N818 - not an error
    """The run was killed, or could not go on."""


class Faults:
    """What goes wrong in a run; by default nothing.

    Args:
        random: Decides.
        rate: How often anything goes wrong at any step.
    """

    def __init__(self, random: random.Random, rate: float = 0.0) -> None:
        self.random = random
        self._rate = rate

    def happens(self) -> bool:
        return self.random.random() < self._rate

    def kill(self) -> None:
        if self.happens():
            raise Killed


class Target:
    """The target: compares in blocks, sends in batches, writes outcomes; in the safe order.

    Attributes:
        late: Requests whose answer was lost, and which the CRM has still to apply.
        sent: How many contacts were sent.
    """

    def __init__(self, database: Database, crm: ModelCRM, clock: Callable[[], float]) -> None:
        self._database = database
        self._crm = crm
        self._clock = clock
        self._runs = 0
        self.late: list[list[Record]] = []
        self.failing: dict[str, list[Record]] = {}
        self.sent = 0
        self.compared: list[str] = []

    def run(self, records: Sequence[Record], faults: Faults, *, is_complete: bool = True) -> bool:
        """Deliver one night; return whether it came to its end."""
        self._runs += 1
        overdue = list(self.late)
        try:
            return self._run(records, faults, is_complete=is_complete)
        finally:
            # A request whose answer an earlier run has lost lands during this one at the latest.
            for request in overdue:
                if request in self.late:
                    self.late.remove(request)
                    self._apply(request)

    def _run(self, records: Sequence[Record], faults: Faults, *, is_complete: bool) -> bool:
        ledger = Ledger(
            self._database,
            Account("tests"),
            clock=self._clock,
            process=this_process()._replace(process=f"{os.getpid()} {-self._runs}"),
        )
        names = dict.fromkeys([STREAM, *(record.stream for record in records)])
        streams = {name: ledger.open_stream(name) for name in names}
        try:
            for stream in streams.values():
                for batch in stream.open_batches:
                    faults.kill()
                    if batch.batch_id in self.failing:
                        stream.batch_failed(batch.batch_id)
                    else:
                        stream.batch_ended(batch.batch_id)
            queue = self._compare_all(records, streams, faults)
            self._send_all(queue, streams, faults)
            if is_complete:
                for stream in streams.values():
                    for page in stream.missing():
                        faults.kill()
                        stream.expire(page)
        except Killed:
            return False
        for stream in streams.values():
            stream.release()
        return True

    def _compare_all(
        self, records: Sequence[Record], streams: dict[str, StreamLedger], faults: Faults
    ) -> list[tuple[Record, Mark]]:
        queue: list[tuple[Record, Mark]] = []
        rest = list(records)
        while rest:
            size = faults.random.randint(1, 4)
            block = next(list(group) for _, group in groupby(rest[:size], lambda one: one.stream))
            rest = rest[len(block) :]
            stream = streams[block[0].stream]
            candidates = [
                (stream.digests.candidate(f'["{one.key}"]', one.contact, one.list_id), one.list_id)
                for one in block
            ]
            decisions = stream.compare(candidates)
            self.compared += [decision.comparison.value for decision in decisions]
            queue += [
                (record, decision.mark)
                for record, decision in zip(block, decisions, strict=True)
                if decision.mark is not None
            ]
            faults.kill()
            if faults.random.random() < 0.5:
                self._send_all(queue, streams, faults)
                queue = []
        return queue

    def _send_all(
        self, queue: list[tuple[Record, Mark]], streams: dict[str, StreamLedger], faults: Faults
    ) -> None:
        rest = queue
        while rest:
            size = faults.random.randint(1, 3)
            batch = next(list(of) for _, of in groupby(rest[:size], lambda one: one[0].stream))
            rest = rest[len(batch) :]
            self._send(batch, streams[batch[0][0].stream], faults)

    def _send(self, batch: list[tuple[Record, Mark]], stream: StreamLedger, faults: Faults) -> None:
        self._land_some(faults)
        faults.kill()
        self.sent += len(batch)
        good = [(record, mark) for record, mark in batch if record.content != BAD]
        bad = [mark for record, mark in batch if record.content == BAD]
        applied = [record for record, _ in good]
        in_doubt = False
        if faults.happens():
            fate = faults.random.choice(["applied", "never", "late"])
            if fate == "applied":
                self._apply(applied)
            elif fate == "late":
                self.late.append(applied)
            if faults.random.random() < 0.5:
                raise Killed
            in_doubt = True  # another attempt passes
        batch_id = f"batch {faults.random.random()}"
        fails = faults.happens()
        if fails:
            self.failing[batch_id] = applied
        else:
            self._apply(applied)
        faults.kill()
        stream.delivered([mark for _, mark in good], batch_id, in_doubt=in_doubt)
        stream.refused(bad)
        faults.kill()
        if faults.random.random() < 0.7:
            stream.flush()
            faults.kill()
            if faults.random.random() < 0.5:
                (stream.batch_failed if fails else stream.batch_ended)(batch_id)

    def _apply(self, records: Sequence[Record]) -> None:
        for record in records:
            self._crm.apply(record)

    def _land_some(self, faults: Faults) -> None:
        while self.late and faults.random.random() < 0.3:
            self._apply(self.late.pop())


def send_everything(crm: ModelCRM, records: Sequence[Record]) -> None:
    """Deliver one night as without a ledger."""
    for record in records:
        if record.content != BAD:
            crm.apply(record)
