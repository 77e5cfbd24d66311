"""Years of nights from a seed: `python -m tests.years.simulate SEED`.

A year that breaks a guarantee is shortened, and printed with the command that replays it.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import shutil
import sys
import tempfile
import time
import typing as t
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import click

from mainbrainer_sandbox.switches import Switches
from tests import postgresql
from tests.years.crm import CRM, REFUSED
from tests.years.history import (
    Columns,
    Run,
    identity_in,
    identity_of,
    is_refused,
    rejected_in,
    written,
)
from tests.years.oracle import Oracle
from tests.years.owner import Owner
from tests.years.source import (
    APART,
    BROKEN_EXPORTS,
    BY_HAND,
    FAULTS,
    PEOPLE,
    STREAMS,
    Event,
    Night,
    Source,
    has_two_streams,
    is_mappable,
    plan_of,
    settings_of,
)
from tests.years.world import POSTGRESQL_CLOCK, World

if t.TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.postgresql import PostgreSQL
    from tests.years.world import Process

LAST_NIGHTS = 3
"""Nights without faults at the end of a year, in which everything is read in full."""

MEMORY = Path("/dev/shm")  # noqa: S108 - faster than a disk, and as good: nothing outlives a run
LOSSES = ("fail", "skip", "stuck")
"""Faults that a run can only notice if it asks how its batches have ended."""


class Kept(frozenset[str]):
    """The parts of a year that are simulated: `p7` is a person, `n12` a night, `12.0` an event.

    An empty one keeps everything.
    """

    def has(self, part: str) -> bool:
        """Return whether a part is simulated."""
        return not self or part in self

    @classmethod
    def of(cls, seed: int, nights: int) -> Kept:
        """Return all parts of a year."""
        plan = plan_of(seed, nights)
        return cls(
            {
                *(f"p{key}" for key in range(1, PEOPLE + 1)),
                *(f"n{night.number}" for night in plan),
                *(f"{night.number}.{place}" for night in plan for place, _ in night.all),
            }
        )


@dataclass
class Outcome:
    """How a year has gone.

    Attributes:
        broken: The guarantees that were broken, with the night.
        nights: How many were simulated.
        injected: How often each fault has come about.
        digest: Of everything that was sent, answered and written.
    """

    broken: list[str] = field(default_factory=list)
    nights: int = 0
    injected: Counter[str] = field(default_factory=Counter)
    digest: str = ""


class Year:
    """One year.

    Args:
        seed: Decides everything.
        nights: How many there are.
        kept: The part of it that is simulated.
        folder: For the ledger and the other files.
        ledger_uri: Of an empty database; else the ledger is a file in the folder.
    """

    def __init__(self, seed: int, nights: int, kept: Kept, folder: Path, ledger_uri: str) -> None:
        self._plan = plan_of(seed, nights)
        self._kept = kept
        self._folder = folder
        self._ledger_uri = ledger_uri or str(folder / "ledger.db")
        self._has_backups = not ledger_uri
        self._world = World()
        self._source = Source(seed, settings_of(seed))
        self._source.streams = STREAMS if has_two_streams(seed) else STREAMS[:1]
        self._source.populate({key for key in range(1, PEOPLE + 1) if kept.has(f"p{key}")})
        rng = seed % 24
        switches = Switches(
            plan="unlimited",
            refuse_email=REFUSED,
            refusal_names=("all", "first", "none")[rng % 3],
            clash=("allow", "conflict")[rng // 3 % 2],
            unknown_contact_id=("create", "create_new_id", "report", "create")[rng // 6],
        )
        self._crm = CRM(self._world, str(seed), switches)
        self._world.transport = self._crm.transport
        self._oracle = Oracle(self._source, self._crm)
        self._seed = seed
        self._outcome = Outcome()
        self._digest = hashlib.sha256()
        self._backup: bytes | None = None
        self._is_raised = False
        self.log: list[str] = []

    def run(self) -> Outcome:
        """Simulate it, to the first guarantee that is broken."""
        last = self._plan[-1].number if self._plan else 0
        quiet = [Night(last + n, 25.0, [], []) for n in range(1, LAST_NIGHTS + 1)]
        with self._world.replaced():
            plan = [night for night in self._plan if self._kept.has(f"n{night.number}")]
            for night in (*plan, *quiet):
                self._night(night, is_last=night.number > last)
                if self._oracle.broken:
                    break
            else:
                if self._has_backups:
                    self._ends(Night(last + LAST_NIGHTS + 1, 0.5, [], []))
        self._outcome.digest = self._digest.hexdigest()
        self._outcome.injected.update(self._crm.injected)
        return self._outcome

    def _night(self, night: Night, *, is_last: bool) -> None:
        self._world.now += night.hours * 3600
        self._world.random.seed(f"{self._seed} {night.number}")
        self._crm.settle()
        kept = [event for place, event in night.all if self._kept.has(f"{night.number}.{place}")]
        for event in kept:
            self.log.append(f"night {night.number}: {event}")
            if event not in night.faults:
                (self._by_hand if event.what in BY_HAND else self._source.happens)(event)
        faults = {event.what: event for event in kept if event in night.faults}
        faults |= self._broken_export(kept)
        if is_last:
            self._source.bookmark = {}
        if self._source.config["confirm_batches"] == "none":
            faults = {k: v for k, v in faults.items() if not k.startswith(LOSSES)}
        if not self._has_backups:
            faults = {k: v for k, v in faults.items() if k not in {"backup", "restore"}}
        if "restore" in faults and self._backup is not None:
            self._restore()
        if "tap skips" in faults:
            return
        self._outcome.nights += 1
        self._outcome.injected.update(name for name in faults if name not in FAULTS)
        self._crm.begin_night(night.number, [name for name in faults if name in FAULTS])
        processes = self._processes(night, faults)
        self._judge(night, faults, processes)
        self._source.tells_versions, self._source.exported = False, {}
        if "backup" in faults:
            self._backup = (self._folder / "ledger.db").read_bytes()

    def _ends(self, night: Night) -> None:
        """Let the owner make the ledger forget people: only they are sent again.

        Before that, another account with the same ledger is sent everything.
        """
        oracle = self._oracle
        before = next(iter(oracle.runs.values())).sent
        owner = Owner(self._world, self._ledger_uri, oracle)
        owner.broken += self._other_account(night)
        owner.looks(self._seed)
        oracle.has_restored = True  # the ledger knows less from now on
        self._night(night, is_last=True)
        whose = [
            oracle.whose(sent) for one in oracle.batches(*oracle.runs) for sent in one.contacts
        ]
        again = owner.forgotten | before
        others = [some for some in whose if len(some) == 1 and some.isdisjoint(again)]
        # Of people who share a contact, and of two streams, the last in the input is sent.
        if others and len(self._source.streams) == 1:
            owner.broken.append(f"sent again though it was not forgotten: {others}")
        self._outcome.broken += [f"night {night.number}: {one}" for one in owner.broken]

    def _other_account(self, night: Night) -> Iterator[str]:
        """Deliver everything to an account of which the ledger knows nothing."""
        self._source.bookmark = {}
        rows: dict[int, Columns] = {}
        crm = CRM(self._world, str(self._seed), self._crm.switches)
        process = self._world.start("a")
        config = self._config() | self._files(process) | {"api_url": "https://test.example.com"}
        self._world.transport = crm.transport
        self._world.run((process, 0.0, config, self._source.lines(night, {}, rows.__setitem__)))
        self._world.transport = self._crm.transport
        report = _json_of(Path(config["report_path"]))
        # What the first stream delivers the second one need not.
        if unchanged := report["streams"][self._source.streams[0]]["unchanged"]:
            yield f"what another account has is not sent: {unchanged}"
        self._world.now += 10.0
        crm.settle()
        there = {*map(identity_in, crm.contacts.values())}
        for key, row in rows.items():
            is_good = "email" in row and is_mappable(row) and not is_refused(row)
            if is_good and identity_of(row) not in there:
                yield f"another account is not sent a record: {key, row}"

    def _broken_export(self, events: Sequence[Event]) -> dict[str, Event]:
        """Let the tap write addresses of no person, or bad ones, for which the guard is raised."""
        for event in events:
            if event.what in BROKEN_EXPORTS:
                self._source.breaks(event, self._oracle.certain())
                self._is_raised = event.what == "bad export"
                return {event.what: event} if self._source.exported else {}
        return {}

    def _processes(self, night: Night, faults: dict[str, Event]) -> list[Process]:
        """Run the target once, or on two machines at a time."""
        own = _happens(faults)
        machine = "b" if "tap repeats" in faults else "a"
        runs = [(self._world.start(machine, **own), 0.0)]
        is_apart = APART in faults and self._source.is_full and len(self._source.streams) > 1
        if is_apart:
            runs.append((self._world.start("c"), max(0.0, faults[APART].draw * 3.0 - 1.0)))
        elif over := faults.get("taken over"):
            runs.append((self._world.start("c"), 200.0 + over.draw * 2_000.0))
        elif second := faults.get("second"):
            pause = (0.1, 5.0, 60.0, 500.0)[int(second.draw * 997) % 4]
            runs.append((self._world.start("c"), pause))
        config = self._config()
        processes, pauses = zip(*runs, strict=True)
        streams = [STREAMS[:1], STREAMS[1:]] if is_apart else [STREAMS] * len(runs)
        self._oracle.runs = {}
        for process, some in zip(processes, streams, strict=True):
            listed = {"listed": set(self._source.listed)}
            is_certain = not faults and not self._crm.open
            self._oracle.runs[process] = Run(config | listed, is_certain, some)
        reads = [functools.partial(self._oracle.read, process) for process in processes]
        each = zip(reads, streams, strict=True)
        lines = [self._source.lines(night, faults, read, some) for read, some in each]
        configs = [config | self._files(process) for process in processes]
        self._world.run(*zip(processes, pauses, configs, lines, strict=True))
        return [*processes]

    def _config(self) -> dict[str, t.Any]:
        config = {
            "api_url": "https://crm.example.com",
            "access_token": "token",
            "ledger_uri": self._ledger_uri,
            "max_rejects_percent": 100,
            "max_drift_percent": 100 if self._is_raised else 5,
            **self._source.config,
        }
        if config["confirm_batches"] == "require":
            config["confirm_timeout_seconds"] = 60
        if self._source.sends_all:
            config["unchanged_contacts"] = "send"
            self._source.sends_all = False
        if self._source.listed:
            path = self._folder / "listed.txt"
            path.write_text("".join(f"{one}\n" for one in sorted(self._source.listed)))
            config["suppression_path"] = str(path)
        return config

    def _files(self, process: Process) -> dict[str, str]:
        names = {"report_path": "report{}.json", "rejects_path": "rejects{}.singer"}
        return {key: str(self._folder / name.format(process.number)) for key, name in names.items()}

    def _judge(self, night: Night, faults: dict[str, Event], processes: list[Process]) -> None:
        oracle, crm = self._oracle, self._crm
        self._world.now += 10.0
        self._is_raised = False
        crm.settle()
        for process in processes:
            files = {name: Path(path) for name, path in self._files(process).items()}
            report = _json_of(files["report_path"])
            rejects = files["rejects_path"]
            lines = rejects.read_text().splitlines() if rejects.exists() else []
            oracle.ended(process, report, [*rejected_in(map(json.loads, lines))])
            # Those who have really moved are let in the night after.
            codes = {one["code"] for one in report.get("reasons", ())}
            self._is_raised |= "max_drift_percent" in codes and "bad join" not in faults
            for path in files.values():
                path.unlink(missing_ok=True)
            if process.states:
                self._source.bookmark = process.states[-1]
            self._write(night, process)
        oracle.pace(self._source.config["rate_limit_requests"])
        first = processes[0]
        is_quiet = oracle.runs[first].is_certain and not crm.open
        is_read_in_full = self._source.is_full or night.number > len(self._plan)
        if is_quiet and is_read_in_full and not first.code:
            oracle.quiet(first)
        if faults:
            oracle.doubt = 2
        elif oracle.doubt:
            oracle.doubt -= 1
        if oracle.broken:
            self._outcome.broken = [f"night {night.number}: {one}" for one in oracle.broken]

    def _write(self, night: Night, process: Process) -> None:
        """Add what a run has done to the digest, and to the log."""
        lines = [
            f"night {night.number} process {process.number} code {process.code}",
            *self._crm.trace,
            *process.log,
            *(json.dumps(state) for state in process.states),
        ]
        self._crm.trace.clear()
        self.log += lines
        for line in lines:
            self._digest.update(line.encode())

    # By hand

    def _by_hand(self, event: Event) -> None:
        """Let people do something in MainBrainer, if it can be done."""
        person = self._source.people.get(event.who)
        crm = self._crm
        found = [
            one
            for one in crm.contacts.values()
            if person is not None
            and person.email == one.email
            and person.mobile in {None, written(one)[1]}
        ]
        if person is None or len(found) != 1:
            return
        contact, now = found[0], self._world.now
        held = crm.held[contact.id]
        match event.what:
            case "unsubscribes":
                name = "email_opt_in" if event.draw < 0.6 else "mobile_opt_in"
                if getattr(contact, name):
                    crm.edit(contact.id, **{name: "false"})
                    held.by_hand.add(name)
                    if name in held.known_yes:
                        held.unsubscribed[name] = now
            case "city corrected":
                held.city, held.city_at = f"By hand {event.new}", now
                crm.edit(contact.id, city=held.city)
            case "address corrected":
                self._oracle.leaves(contact)
                crm.edit(contact.id, email=f"h{event.new}@example.com")
            case _:
                self._oracle.leaves(contact)
                crm.delete(contact.id)

    def _restore(self) -> None:
        for path in self._folder.glob("ledger.db*"):
            path.unlink()
        (self._folder / "ledger.db").write_bytes(self._backup or b"")
        self._oracle.has_restored = True


def _happens(faults: dict[str, Event]) -> dict[str, t.Any]:
    """Return what happens to a process, see `Process`."""
    own: dict[str, t.Any] = {}
    if kill := faults.get("kill"):
        own["kill_at"] = 1 + int(kill.draw**2 * 150)
        if int(kill.draw * 997) % 4 == 0:
            own |= {"kill_at": 0, "dies_renaming": True}
    if term := faults.get("term"):
        own["term_at"] = 1 + int(term.draw**2 * 150)
    if over := faults.get("taken over"):
        own |= {"sleep_at": 1 + int(over.draw * 40), "sleep_seconds": 3_000.0}
    if sleep := faults.get("sleep"):
        own["sleep_at"] = 1 + int(sleep.draw * 40)
        own["sleep_seconds"] = (20.0, 100.0, 400.0, 20_000.0)[int(sleep.draw * 997) % 4]
    if away := faults.get("away"):
        own["away"] = 8 + int(away.draw * 40), 1 + int(away.draw * 997) % 12
    return own


def _json_of(path: Path) -> dict[str, t.Any]:
    found: dict[str, t.Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def simulate(
    seed: int,
    nights: int,
    kept: Kept | None = None,
    log: list[str] | None = None,
    *,
    server: PostgreSQL | None = None,
) -> Outcome:
    """Return how a year goes; its ledger is a file, or on a server."""
    folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
    uri = ""
    if server is not None:
        server.execute(POSTGRESQL_CLOCK)
        uri = f"{server.url}?options=-csearch_path%3Dpublic,pg_catalog"
    try:
        year = Year(seed, nights, kept or Kept(), folder, uri)
        outcome = year.run()
        if log is not None:
            log += year.log
        return outcome
    finally:
        shutil.rmtree(folder)


def shortened(seed: int, nights: int, broken: str, server: PostgreSQL | None = None) -> Kept:
    """Return as few parts of a year as break the same guarantee."""
    rule = rule_of(broken)
    last = int(broken.split(":", maxsplit=1)[0].removeprefix("night "))
    left = sorted(one for one in Kept.of(seed, nights) if _night_of(one) <= last)
    size = len(left) // 2
    while size:
        start = 0
        while start < len(left):
            tried = left[:start] + left[start + size :]
            found = simulate(seed, nights, Kept(tried), server=server) if tried else Outcome()
            if any(rule_of(one) == rule for one in found.broken):
                left = tried
            else:
                start += size
        size = min(size // 2, len(left) // 2)
    return Kept(left)


def rule_of(broken: str) -> str:
    """Return the rule that a guarantee is broken by."""
    return broken.split(": ")[1]


def _night_of(part: str) -> int:
    return 0 if part.startswith("p") else int(part.removeprefix("n").split(".")[0])


def command(seed: int, nights: int, kept: Kept, ledger: str = "") -> str:
    """Return the command that replays a year."""
    only = f" ONLY='{' '.join(sorted(kept))}'" if kept else ""
    where = f" LEDGER={ledger}" if ledger else ""
    return f"make years SEED={seed} NIGHTS={nights}{where}{only}"


def main() -> None:
    """Simulate years, and print the shortest history of each that breaks a guarantee."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--nights", type=int, default=365)
    parser.add_argument("--years", type=int, default=1)
    parser.add_argument("--only", default="", help="the parts of the year that are simulated")
    parser.add_argument("--log", action="store_true", help="print all that happens")
    parser.add_argument("--ledger", choices=["", "postgresql"], default="")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        server = None
        if options.ledger:
            programs = postgresql.programs() or sys.exit("PostgreSQL is not installed.")
            server = stack.enter_context(postgresql.running(programs))
        sys.exit(_run(options, server))


def _run(options: argparse.Namespace, server: PostgreSQL | None) -> bool:
    is_broken = False
    for seed in range(options.seed, options.seed + options.years):
        began = time.perf_counter()
        kept, log = Kept(options.only.split()), list[str]()
        outcome = simulate(seed, options.nights, kept, log, server=server)
        if options.log:
            click.echo("\n".join(log))
        pace = outcome.nights / (time.perf_counter() - began)
        word = "BROKEN" if outcome.broken else "ok"
        click.echo(f"{seed}: {word}, {outcome.nights} nights, {pace:.0f}/s, {outcome.digest:.16}")
        for one in outcome.broken[:3]:
            click.echo(f"  {one}")
        if outcome.broken and not kept:
            least = shortened(seed, options.nights, outcome.broken[0], server)
            click.echo(f"  {command(seed, options.nights, least, options.ledger)}")
        is_broken |= bool(outcome.broken)
    return is_broken


if __name__ == "__main__":
    main()
