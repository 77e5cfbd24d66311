"""What a ledger costs where nothing else holds a load up."""

from __future__ import annotations

import operator
import shutil
import typing as t
from functools import partial

from benchmarks.bench import Line
from benchmarks.postgresql import postgresql
from benchmarks.processes import Ran, server

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.bench import Bench
    from benchmarks.processes import Server

PEOPLE = 300_000
LOADS: t.Final[dict[str, float | None]] = {"first": 0.6, "unchanged": 1.3, "1 % changed": None}
"""How fast these loads should be beside one without a ledger."""


def measure_ledger(bench: Bench) -> Iterator[Line]:
    """Compare a first and an unchanged load with the same load without a ledger."""
    with server() as crm, postgresql() as database:
        yield from _measure(bench, crm, "SQLite", lambda number: _file(bench, number))
        yield from _measure(
            bench, crm, "PostgreSQL", lambda number: database.schema(f"ledger_{number}")
        )


def _file(bench: Bench, number: int) -> str:
    folder = bench.folder / f"ledger-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return str(folder / "ledger.db")


def _measure(
    bench: Bench, crm: Server, kind: str, new_ledger: Callable[[int], str]
) -> Iterator[Line]:
    lines = bench.input("flat", PEOPLE)
    changed = bench.input("flat", PEOPLE, changed_percent=1)
    rans: dict[str, list[Ran]] = {load: [] for load in ("without", *LOADS)}
    for number in range(bench.runs):
        bench.say(f"ledger, {kind}, run {number + 1} of {bench.runs}")
        uri = new_ledger(number)
        for load, some in rans.items():
            own = {} if load == "without" else {"ledger_uri": uri}
            night = changed if load == "1 % changed" else lines
            some.append(bench.target(night, crm, PEOPLE, **own))
    without = rans.pop("without")
    for load, some in rans.items():
        least = LOADS[load]
        one, other = some[0], without[0]
        yield Line(
            f"flat, ledger in {kind}: speed of {load} load beside none",
            [before.seconds / ran.seconds for before, ran in zip(without, some, strict=True)],
            form="{:.2f}x",
            goal=f">= {least}x" if least else "",
            is_met=partial(operator.le, least) if least else None,
            note=f"{one.seconds:.1f} s, {one.peak_mib:.0f} MiB; "
            f"without {other.seconds:.1f} s, {other.peak_mib:.0f} MiB",
        )
