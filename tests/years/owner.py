"""The ledger's owner, who looks into it when a year is over, and makes it forget people."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
import random
import typing as t

import click

from target_mainbrainer.ledger.command import main
from tests.years.history import covers, folded, identity_of
from tests.years.source import STREAMS

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.years.oracle import Oracle
    from tests.years.world import World

Who: t.TypeAlias = "tuple[str, str, int]"
"""The number of an account, the name of a stream, and a source key."""

Known: t.TypeAlias = "dict[Who, dict[str, str]]"


class Owner:
    """Asks `mainbrainer-ledger`.

    Attributes:
        forgotten: The people of the first account whom the ledger was made to forget.
        broken: The promises that were broken, in sentences.
    """

    def __init__(self, world: World, ledger_uri: str, oracle: Oracle) -> None:
        self._world = world
        self._ledger_uri = ledger_uri
        self._oracle = oracle
        self.forgotten: set[int] = set()
        self.broken: list[str] = []

    def looks(self, seed: int) -> None:
        """Look at everybody, and make the ledger forget some people."""
        everybody = self._everybody()
        self.broken += [*_miscounted(self._ask("show"), everybody), *self._unlike(everybody)]
        if not everybody:
            return
        rng = random.Random(f"{seed} owner")
        who = rng.choice([*everybody])
        mobile, email = json.loads(everybody[who]["identity"])[1:]
        address = ["--email", email] if email else []
        address += ["--mobile", str(mobile)] if mobile else []
        key = str(json.loads(everybody[who]["source key"])[0])
        day = dt.datetime.fromtimestamp(self._world.now - rng.randrange(30) * 86_400, dt.UTC)
        some = [["--key", key], ["--stream", who[1]], ["--last-seen-before", f"{day:%Y-%m-%d}"]]
        way = rng.choice([*some, address, address[:2]]) + rng.choice([[], ["--account", who[0]]])
        self._forgets(way, self._asked_for(way, everybody), everybody)

    def _asked_for(self, way: list[str], everybody: Known) -> set[Who]:
        """Return the people whom the options of the command select."""
        if way[0] == "--last-seen-before":
            some = {who for who, lines in everybody.items() if _last_seen(lines) < way[1]}
        elif way[0] == "--stream":
            some = {who for who in everybody if who[1] == way[1]}
        else:
            return {*self._known(*way)}
        return {who for who in some if way[2:] in ([], ["--account", who[0]])}

    def _forgets(self, way: list[str], asked: set[Who], everybody: Known) -> None:
        said = self._ask("forget", *way)
        if asked and f"forgotten {len(asked)} source key" not in said:
            self.broken.append(f"not all were forgotten: {way, asked, said}")
        if way[0] in {"--email", "--mobile"} and self._ask("show", *way):
            self.broken.append(f"an address was not forgotten: {way}")
        left = {who: lines for who, lines in everybody.items() if who not in asked}
        now = self._everybody()
        if changed := {who for who in everybody if now.get(who) != left.get(who)}:
            self.broken.append(f"others were forgotten, or not all: {way, asked, changed}")
        self.forgotten = {key for account, _, key in asked if account == "1"}

    def _unlike(self, everybody: Known) -> Iterator[str]:
        """Yield those of whom the ledger must know where their contact is, and does not."""
        for key in self._oracle.certain():
            lines = everybody.get(("1", STREAMS[0], key), {})
            _, mobile, email = json.loads(lines.get("identity", "[0, null, null]"))
            last = self._oracle.people[key].last
            if last is None or not covers(folded((email, mobile)), identity_of(last)):
                yield f"a person is not known: {key, lines}"

    def _everybody(self) -> Known:
        found: Known = {}
        for key in self._oracle.people:
            found |= self._known("--key", str(key))
        return found

    def _known(self, *options: str) -> Known:
        """Return what is known of each person."""
        found: Known = {}
        for block in self._ask("show", *options).split("\n\n"):
            lines = {line[:16].strip(): line[17:] for line in block.splitlines()}
            if lines.get("source key", "none") != "none":
                key = int(float(json.loads(lines["source key"])[0]))
                found[lines["account"].partition(":")[0], lines["stream"], key] = lines
        return found

    def _ask(self, *options: str) -> str:
        """Return what the command prints; nothing if it fails."""
        asked = ["--ledger-uri", self._ledger_uri, *options]
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            try:
                self._world.call(lambda: main(asked, standalone_mode=False))
            except click.ClickException as error:
                self.broken += [error.message] if "Unexpected" in error.message else []
                return ""
        return printed.getvalue()


def _last_seen(lines: dict[str, str]) -> str:
    """Return the last day on which a record of a person may have come."""
    day = dt.date.fromisoformat(lines["last seen"][:10])
    return f"{day + dt.timedelta(days=7):%Y-%m-%d}"


def _miscounted(table: str, everybody: Known) -> Iterator[str]:
    """Yield the rows of a table whose counts are not those of their people."""
    for section in table.split("Account ")[1:]:
        for cells in map(str.split, section.splitlines()[2:]):
            some = [
                lines
                for (account, stream, _), lines in everybody.items()
                if account == section.partition(":")[0] and stream == cells[0]
            ]
            here = [lines for lines in some if "gone" not in lines]
            said = [{lines.get("e-mail opt-in"), lines.get("mobile opt-in")} for lines in here]
            expected = [
                len(here),
                len(some) - len(here),
                sum("missed" in lines for lines in here),
                sum("earlier identity" in lines for lines in some),
                sum(not lines.get("content", "").startswith("known") for lines in here),
                sum(one <= {None, "never delivered"} for one in said),
            ]
            if [*map(int, cells[1:7])] != expected:
                yield f"the table is wrong: {cells, expected}"
