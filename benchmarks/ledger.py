"""What a ledger costs where nothing else holds a load up."""

from __future__ import annotations

import shutil
import typing as t

from benchmarks.bench import Line
from benchmarks.postgresql import postgresql
from benchmarks.processes import Ran, server

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.bench import Bench
    from benchmarks.processes import Server

RECORDS = 200_000
GOALS: t.Final = {"SQLite": (0.7, 0.9), "PostgreSQL": (0.5, 0.5)}
"""How fast a first and an unchanged load should be beside one without a ledger."""


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
    lines = bench.input("flat", RECORDS)
    loads: dict[str, list[Ran]] = {"without": [], "first": [], "unchanged": []}
    for number in range(bench.runs):
        bench.say(f"ledger, {kind}, run {number + 1} of {bench.runs}")
        uri = new_ledger(number)
        for load, rans in loads.items():
            own = {} if load == "without" else {"ledger_uri": uri}
            rans.append(bench.target(lines, crm, RECORDS, **own))
    for load, least in zip(("first", "unchanged"), GOALS[kind], strict=True):
        pairs = list(zip(loads["without"], loads[load], strict=True))
        yield Line(
            f"flat, ledger in {kind}: speed of {load} load beside none",
            [without.seconds / with_one.seconds for without, with_one in pairs],
            form="{:.2f}x",
            goal=f">= {least}x",
            is_met=lambda value, least=least: value >= least,  # type: ignore[misc]
            note=f"{RECORDS / loads[load][0].seconds:,.0f} records/s",
        )
