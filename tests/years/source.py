"""The source: people, what happens to them, the taps that read them, and the plan of a year.

All of it is drawn from the seed before the first night, each night from a seed of its own, so that
what is left out of a history changes nothing else in it.
"""

from __future__ import annotations

import json
import random
import typing as t
from dataclasses import dataclass, field

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PEOPLE = 30
STREAMS = ("people", "persons")
COUNTRIES = {"+47": "+46", "+46": "+47"}
LISTS = (None, "3fa85f64-5717-4562-b3fc-123123d23dd5")


def _weights(text: str) -> dict[str, int]:
    """Return how often each of some things happens, beside the others."""
    pairs = (one.strip().rpartition(" ") for one in text.split(","))
    return {what: int(weight) for what, _, weight in pairs}


AT_THE_SOURCE = _weights(
    """
    email 6, mobile 4, loses email 1, loses mobile 2, respelt 1, renamed 10, moves house 4,
    is as before 6, marries 2, consent 12, born 4, moves in 3, leaves 5, comes back 3, swaps 2,
    shares number 2, merges 4, moves together 3, takes over 3, bad 1, garbled 2, good 8,
    listed 3, unlisted 1
    """
)
BY_HAND = _weights("unsubscribes 10, city corrected 4, address corrected 1, deleted 3")
SETTINGS = _weights("setting 3, column 3, versions 6")
FAULTS = _weights(
    """
    lost@p0.4:batch 8, lost@1:batch 6, reset@p0.3 3, 503@p0.3 4, 503@p0.6:status 2, 429@p0.2 2,
    429=20@1 2, 413@p0.5:batch 2, 422@1-999:batch 1, 422@3-999:batch 2, fail@p0.4:batch 6,
    fail@1:batch 4, late=3@p0.5:batch 2, late=0.02@p0.5:batch 2, stuck@p0.3:batch 2,
    noid@p0.4:batch 2, noid@p0.5:status 2, odd@p0.5:status 1, skip@p0.4:batch 3,
    cut@p0.2:batch 2
    """
)
"""As the sandbox writes them."""

MOVES = _weights(
    """
    email 14, mobile 8, is as before 12, marries 6, moves in 9, swaps 4, merges 6,
    moves together 6, takes over 8
    """
)
"""In every second year people move more often than anything else,"""

LOSSES_OF_MOVES = _weights("lost@p0.4:batch 16, kill 30, away 8, taken over 6")
"""and much goes wrong meanwhile."""

BROKEN_EXPORTS = ("bad join", "bad export")
"""For one night, almost all addresses belong to no person, or the CRM refuses them."""

FEW = 10
"""So many people may move at a time, at any `max_drift_percent`."""

APART = "apart"
"""Two machines deliver a stream each, at the same time."""

TAPS = _weights("tap dies 3, tap skips 2, tap is empty 2, tap repeats 2, tap is slow 2")
MACHINES = _weights("kill 12, term 3, sleep 3, second 3, taken over 3, away 4, backup 1, restore 1")


class Event(t.NamedTuple):
    """Something that happens between two nights, or goes wrong in one.

    Attributes:
        who: The source key of the person; 0 if it is no person's.
        other: Of another person.
        draw: A number from 0 to 1.
        new: Part of a new address or name, which no other event has.
    """

    what: str
    who: int = 0
    other: int = 0
    draw: float = 0.0
    new: str = ""


class Night(t.NamedTuple):
    """One night.

    Attributes:
        hours: Since the one before.
        events: What happens before it.
        faults: What goes wrong in it.
    """

    number: int
    hours: float
    events: list[Event]
    faults: list[Event]

    @property
    def all(self) -> list[tuple[int, Event]]:
        """All of it, numbered."""
        return [*enumerate([*self.events, *self.faults])]


def _draw(rng: random.Random, weights: dict[str, int]) -> str:
    return rng.choices([*weights], weights=[*weights.values()])[0]


def has_moves(seed: int) -> bool:
    """Return whether people move much in a year."""
    return seed % 2 == 1


def has_two_streams(seed: int) -> bool:
    """Return whether a year has two streams of the same people from the beginning."""
    return seed % 8 == 2


def has_keys(seed: int) -> bool:
    """Return whether the tap announces the key of its people."""
    return seed % 16 != 12


def plan_of(seed: int, nights: int) -> list[Night]:
    """Return what happens in a year; the first nights are the same however many there are."""
    plan: list[Night] = []
    people = list(range(1, PEOPLE + 1))
    lately: list[int] = []
    moves, losses = (MOVES, LOSSES_OF_MOVES) if has_moves(seed) else ({}, {})
    losses = losses | ({APART: 30} if has_two_streams(seed) else {})
    for number in range(1, nights + 1):
        rng = random.Random(f"{seed} night {number}")
        events = []
        for place in range(rng.choice([0, 1, 1, 2, 2, 3, 5])):
            what = _draw(rng, AT_THE_SOURCE | BY_HAND | SETTINGS | moves)
            # Most of it happens to a few people, so that much comes together.
            some = [people, people[:6], lately or people]
            who, other = (rng.choice(some[int(rng.random() * 3)]) for _ in "12")
            if what in {"born", "moves in"}:
                who = number * 10 + place + 1000
                people.append(who)
            events.append(Event(what, who, other, rng.random(), f"{number:03}{place:03}"))
        if plan and plan[-1].faults and lately and rng.random() < 0.4:
            # What was perhaps delivered, and is not so any more.
            what = rng.choice(["is as before", "unsubscribes"])
            events.append(Event(what, rng.choice(lately), draw=rng.random()))
        lately = [event.who for event in events]
        faults = []
        for _ in range(rng.choice([0, 0, 0, 0, 0, 1, 1, 1, 2, 3])):
            what = _draw(rng, FAULTS | TAPS | MACHINES | losses)
            faults.append(Event(what, draw=rng.random()))
        if not faults and (broken := _broken_export(random.Random(f"{seed} export {number}"))):
            events.append(broken)
        is_soon = bool(plan and plan[-1].faults)  # what was lost may still be on its way
        hours = rng.choice([24.0] * (4 if is_soon else 12) + [1.0, 2.0, 2.0, 49.0])
        plan.append(Night(number, hours, events, faults))
    return plan


def _broken_export(rng: random.Random) -> Event | None:
    what = rng.choices([None, *BROKEN_EXPORTS], [88, 6, 6])[0]
    return None if what is None else Event(what, draw=rng.random(), new=str(rng.randrange(1000)))


def settings_of(seed: int) -> dict[str, t.Any]:
    """Return the settings of a year, beside those that every one has."""
    rng = random.Random(f"{seed} settings")
    is_full = rng.random() < 0.65
    settings = {
        "unchanged_opt_in": rng.choice(["omit", "omit", "send"]),
        "identity_changes": rng.choice(["follow"] * 6 + ["create"]),
        "missing_records": rng.choice(["ignore", "opt_out"]),
        "deleted_records": rng.choice(["skip", "opt_out"]),
        "confirm_batches": rng.choice(["report"] * 4 + ["require"] * 2 + ["none"]),
        "confirm_timeout_seconds": rng.choice([10, 120]),
        "retry_max_seconds": rng.choice([0, 30, 600]),
        "batch_size_rows": rng.choice([1, 3, 7, 100]),
        "max_concurrent_requests": rng.choice([None, 1, 2, 5]),
        "rate_limit_requests": rng.choice([0, 0, 6, 20]),
        "streams": {name: {"full_table": is_full} for name in STREAMS},
        "field_map": rng.choice([{}, ONCE]),
    }
    if not has_keys(seed):  # then no person is followed, or known to be gone
        settings |= {"identity_changes": "create", "missing_records": "ignore"}
        settings["deleted_records"] = "skip"
    return settings


ONCE = {"id": {"property_name": "id", "send": "once"}}

CHANGES: list[tuple[str, t.Any]] = [
    *[("batch_size_rows", n) for n in (1, 3, 7, 100)],
    *[("confirm_batches", how) for how in ("report", "require", "none")],
    *[("list_id", one) for one in LISTS],
    *[("retry_max_seconds", n) for n in (0, 30, 600)],
    ("unchanged_contacts", "send"),
    *[("key type", kind) for kind in ("int", "str", "float")],
    *[("field_map", mapping) for mapping in ({}, {"city": "state"})],
    *[("streams", some) for some in (STREAMS[:1], STREAMS[1:], STREAMS)],
]
"""What changes from one night to the next; `unchanged_contacts` for one night."""


def is_mappable(columns: dict[str, t.Any]) -> bool:
    """Return whether a record can be mapped."""
    return not columns.get("email") or "@" in columns["email"]


@dataclass(eq=False)
class Person:
    """A source key, as the source has it.

    Attributes:
        changed: When anything of it was last changed, counted in changes.
        before: What it was before that.
    """

    key: int
    email: str | None
    mobile: str | None
    email_opt_in: bool | None
    mobile_opt_in: bool | None
    firstname: str
    city: str = "Oslo"
    is_there: bool = True
    changed: int = 0
    before: dict[str, t.Any] = field(default_factory=dict)

    def columns(self, kind: str) -> dict[str, t.Any]:
        key: t.Any = {"int": self.key, "str": str(self.key), "float": float(self.key)}[kind]
        return {"id": key} | {name: getattr(self, name) for name in COLUMNS}


COLUMNS = ("email", "mobile", "email_opt_in", "mobile_opt_in", "firstname", "city")
SCHEMA = {"id": {"type": ["integer", "string", "number"]}} | {
    name: {"type": ["boolean" if "opt_in" in name else "string", "null"]}
    for name in (*COLUMNS, "_sdc_deleted_at")
}


@dataclass
class Source:
    """The source's table, and the settings in force.

    Attributes:
        listed: The addresses and numbers in the suppression file.
        tells_versions: The tap reads a table to which each change is appended, for one night.
        has_city: The table has such a column.
        bookmark: The newest STATE that a run has written.
        exported: Addresses that the tap writes for one night in place of the people's own.
        clock: Counts changes.
    """

    seed: int
    config: dict[str, t.Any]
    people: dict[int, Person] = field(default_factory=dict)
    listed: set[str] = field(default_factory=set)
    key_type: str = "int"
    bookmark: dict[str, t.Any] = field(default_factory=dict)
    exported: dict[int, str] = field(default_factory=dict)
    clock: int = 0
    sends_all: bool = False
    tells_versions: bool = False
    streams: tuple[str, ...] = STREAMS[:1]
    has_city: bool = True

    @property
    def is_full(self) -> bool:
        return bool(self.config["streams"]["people"]["full_table"])

    def populate(self, keys: set[int] | None) -> None:
        """Let the first people be there."""
        for key in range(1, PEOPLE + 1):
            if keys is None or key in keys:
                self._add(key, random.Random(f"{self.seed} person {key}"), f"000{key:03}")

    def _add(self, key: int, rng: random.Random, new: str) -> None:
        self.clock += 1
        email, mobile = f"p{key}@example.com", f"+4790{new}"
        kind = rng.choice(["email", "email", "mobile", "both", "both"])
        said = [True, True, False, None]
        self.people[key] = Person(
            key,
            None if kind == "mobile" else email,
            None if kind == "email" else mobile,
            rng.choice(said),
            rng.choice(said),
            f"First{new}",
            changed=self.clock,
        )
        if has_moves(self.seed) and rng.random() < 0.05:  # the CRM refuses it
            self.people[key].email = f"bad{email}"

    def _move_in(self, event: Event) -> None:
        """Let somebody new have an address that another person has left, or leaves now."""
        left = self.people.get(event.other)
        if left and event.draw < 0.5:
            self.happens(Event("moves out", left.key, new=event.new))
        used = {(one.email, one.mobile) for one in self.people.values()}
        if left and left.before and (left.before["email"], left.before["mobile"]) not in used:
            self._add(event.who, random.Random(f"{self.seed} person {event.who}"), event.new)
            new = self.people[event.who]
            new.email, new.mobile = left.before["email"], left.before["mobile"]

    def happens(self, event: Event) -> None:
        """Let something happen at the source, if it can."""
        if event.what == "born":
            self._add(event.who, random.Random(f"{self.seed} person {event.who}"), event.new)
            return
        if event.what == "moves in":
            self._move_in(event)
            return
        person = self.people.get(event.who)
        if person is None:
            return
        before = {one: (one.columns("int"), one.is_there) for one in self.people.values()}
        self._change(person, event)
        for one, (columns, was_there) in before.items():
            if (one.columns("int"), one.is_there) != (columns, was_there):
                one.before = columns
                self._touch(one)

    def _touch(self, person: Person) -> None:
        self.clock += 1
        person.changed = self.clock

    def _change(  # noqa: C901, PLR0912, PLR0915 - a line or two for each event
        self, one: Person, event: Event
    ) -> None:
        other = self.people.get(event.other)
        new_email, new_mobile = f"n{event.new}@example.com", f"+4791{event.new}"
        match event.what:
            case "email":
                one.email = new_email
            case "mobile":
                one.mobile = new_mobile
            case "moves out":
                one.email, one.mobile = one.email and new_email, one.mobile and new_mobile
            case "loses email" if one.mobile:
                one.email = None
            case "loses mobile" if one.email:
                one.mobile = None
            case "respelt" if one.mobile and event.draw < 0.5:  # it counts as the same number
                one.mobile = COUNTRIES[one.mobile[:3]] + one.mobile[3:]
            case "respelt" if one.email:
                one.email = one.email.swapcase().replace("EXAMPLE.COM", "example.com")
            case "renamed":
                one.firstname = f"First{event.new}"
            case "moves house":
                one.city = f"City{event.new}"
            case "marries":
                one.email, one.firstname = new_email, f"First{event.new}"
            case "is as before":
                for name, value in one.before.items():
                    setattr(one, "key" if name == "id" else name, value)
            case "consent":
                values = [True, False, True, False, None]
                setattr(
                    one,
                    "email_opt_in" if event.draw < 0.6 else "mobile_opt_in",
                    values[int(event.draw * 997) % 5],
                )
            case "leaves":
                one.is_there = False
            case "comes back":
                one.is_there = True
            case "bad":
                one.email = f"bad{event.new}@example.com"
            case "garbled":
                one.email = f"garbled {event.new}"
            case "good" if one.email and one.email.startswith(("bad", "garbled")):
                one.email = new_email
            case "swaps" if other and other is not one and other.email and one.email:
                one.email, other.email = other.email, one.email
                one.mobile, other.mobile = other.mobile, one.mobile
            case "shares number" if other and other is not one and other.mobile:
                one.mobile = other.mobile
            case "merges" if other and other is not one and other.is_there:
                one.email, one.mobile = other.email, other.mobile
                if event.draw < 0.4:
                    other.is_there = False
            case "moves together":
                for twin in self._twins(event.draw):
                    twin.email = new_email
            case "takes over" if other and other is not one and other.email:
                one.email, one.mobile = other.email, other.mobile
                other.email, other.mobile = new_email, None
            case "listed" if (one.email or one.mobile) and is_mappable(one.columns("int")):
                self.listed.add(t.cast("str", one.email or one.mobile))
            case "unlisted":
                self.listed -= {one.email or "", one.mobile or ""}
            case "column":
                self.has_city = not self.has_city
            case "versions":
                self.tells_versions = True
            case "setting":
                self._set(*CHANGES[int(event.draw * len(CHANGES))])
            case _:
                pass

    def _twins(self, draw: float) -> list[Person]:
        """Return the source keys of one person, if there is a person who has several."""
        by_address: dict[t.Any, list[Person]] = {}
        for one in self.people.values():
            if one.is_there:
                by_address.setdefault((one.email, one.mobile), []).append(one)
        twins = [some for some in by_address.values() if len(some) > 1]
        return twins[int(draw * len(twins))] if twins else []

    def _set(self, name: str, value: t.Any) -> None:
        if name == "key type":
            self.key_type = value
        elif name == "unchanged_contacts":
            self.sends_all = True
        elif name == "streams":
            self.streams = value
        else:
            self.config[name] = value

    def breaks(self, event: Event, known: Iterable[int]) -> None:
        """Let the tap write other addresses for known people, if it reads enough of them."""
        prefix = "join" if event.what == "bad join" else "bad"
        some = {
            key: f"{prefix}{event.new}x{key}@example.com"
            for key in known
            if (one := self.people[key]).is_there and one.email and is_mappable(one.columns("int"))
        }
        if self.is_full and len(some) > FEW + 5:
            self.exported = some

    # The tap

    def lines(
        self,
        night: Night,
        faults: dict[str, Event],
        read: Callable[[int, dict[str, t.Any]], None],
        streams: tuple[str, ...] = STREAMS,
    ) -> Iterator[str]:
        """Yield what the tap writes.

        Args:
            night: The night.
            faults: What goes wrong, by name.
            read: Called with each record before it is read, and with 0 for a STATE.
                At the end it is called with -1.
            streams: Only these, if there are several.
        """
        rng = random.Random(f"{self.seed} tap {night.number}")
        records = [] if "tap is empty" in faults else self._records(rng, "tap repeats" in faults)
        records = [one for one in records if one[1] in streams]
        left = len(records)
        if "tap dies" in faults:
            left = int(faults["tap dies"].draw * len(records))
        properties = {name: one for name, one in SCHEMA.items() if self.has_city or name != "city"}
        key = ["id"] if has_keys(self.seed) else []
        schema = {"schema": {"type": "object", "properties": properties}, "key_properties": key}
        for name in (one for one in self.streams if one in streams):
            yield json.dumps({"type": "SCHEMA", "stream": name, **schema})
        every = rng.choice([3, 10, 1000])
        for place, (one, name, columns) in enumerate(records[:left], 1):
            if "tap is slow" in faults and rng.random() < 0.2:
                yield f"~{rng.choice([0.5, 3.0, 15.0, 100.0])}"
            read(one.key, columns)
            yield json.dumps({"type": "RECORD", "stream": name, "record": columns})
            if place % every == 0 or place == len(records):
                comes_again = one in (later for later, *_ in records[place:])
                at = place if self.is_full else one.changed - comes_again
                read(0, {"at": at})
                yield json.dumps({"type": "STATE", "value": {"night": night.number, "at": at}})
        if self.streams[0] in streams:
            read(-1, {})
        if "tap dies" in faults and faults["tap dies"].draw * 1000 % 2 < 1:
            yield '{"type": "REC'

    def _records(
        self, rng: random.Random, repeats: bool
    ) -> list[tuple[Person, str, dict[str, t.Any]]]:
        """Return what the tap reads, each with its person and its stream."""
        bookmark = 0 if self.is_full else self.bookmark.get("at", 0)
        records: dict[Person, list[tuple[str, dict[str, t.Any]]]] = {}
        for one in sorted(self.people.values(), key=lambda one: one.changed):
            if one.changed <= bookmark or (self.is_full and not one.is_there):
                continue
            now = one.columns(self.key_type)
            before = {**(one.before or now), "id": now["id"]}
            if not one.is_there:
                now = {"id": now["id"], "_sdc_deleted_at": "2026-10-01T00:00:00Z"}
            versions = rng.choice([[before, now], [before, now], [now, before]])
            if one.key in self.exported:
                versions = [row | {"email": self.exported[one.key]} for row in versions]
                now, before = versions[-1], versions[0]
            for name in self.streams:
                # Of two streams one may be behind.
                is_behind = name != self.streams[0] and rng.random() < 0.3
                some = versions if self.tells_versions else [before] if is_behind else [now]
                is_twice = repeats and rng.random() < 0.4
                records.setdefault(one, []).extend(
                    (name, {k: v for k, v in columns.items() if self.has_city or k != "city"})
                    for columns in some * (1 + is_twice)
                )
        order = [one for one, some in records.items() for _ in some]
        if self.is_full:
            rng.shuffle(order)
        return [(one, *records[one].pop(0)) for one in order]
