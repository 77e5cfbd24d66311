"""`make bench`: measures, and prints a table of ratios."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import typing as t
from pathlib import Path

from benchmarks.bench import Bench, Line
from benchmarks.isolation import measure_isolation
from benchmarks.ledger import measure_ledger
from benchmarks.pace import WINDOWS, measure_grid, measure_sharing
from benchmarks.speed import (
    measure_confirming,
    measure_growth,
    measure_start,
    measure_throughput,
    measure_waiting,
)

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PARTS: t.Final[dict[str, Callable[[Bench], Iterator[Line]]]] = {
    "throughput": measure_throughput,
    "confirming": measure_confirming,
    "ledger": measure_ledger,
    "growth": measure_growth,
    "waiting": measure_waiting,
    "start": measure_start,
    "grid": measure_grid,
    "sharing": measure_sharing,
    "isolation": measure_isolation,
}


def table(lines: Sequence[Line]) -> str:
    """Return the lines as a table in Markdown."""
    head = ("What", "Goal", "Median", "Min to max", "Met", "Note")
    rows = [head, ("---",) * len(head)]
    for line in lines:
        form = line.form.format
        met = "" if line.is_met is None else "yes" if line.is_met(line.median) else "NO"
        spread = f"{form(min(line.values))} to {form(max(line.values))}"
        rows.append((line.what, line.goal, form(line.median), spread, met, line.note))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", default="", help=f"some of: {', '.join(PARTS)}")
    parser.add_argument("--runs", type=int, default=3, help="how often each is run")
    parser.add_argument(
        "--windows", type=int, nargs="*", default=WINDOWS, help="lengths of the grid's loads"
    )
    parser.add_argument("--folder", type=Path, help="where to keep the inputs")
    options = parser.parse_args()
    chosen = options.only.replace(",", " ").split() or list(PARTS)
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    started = time.monotonic()
    lines: list[Line] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(
            folder, options.runs, options.windows, lambda what: print(what, file=sys.stderr)
        )
        for part in chosen:
            for line in PARTS[part](bench):
                lines.append(line)
                bench.say(table([line]).splitlines()[-1])
    print(table(lines))
    print(f"\nTook {(time.monotonic() - started) / 60:.1f} minutes.")


if __name__ == "__main__":
    main()
