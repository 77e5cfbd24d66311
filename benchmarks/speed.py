"""How fast the target reads, maps and sends, beside the SDK's own sink; and how it grows."""

from __future__ import annotations

import itertools
import statistics
import sys
import typing as t

from benchmarks import inputs
from benchmarks.bench import Line
from benchmarks.processes import Ran, run, server

if t.TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.bench import Bench

RECORDS = 200_000
RECORDS_OF: t.Final = {"nested": 50_000, "wide": 30_000}
"""Where the SDK takes long, fewer are enough for a ratio."""

GOALS = (2.5, 2.0)
GOALS_NARROW = (2.0, 1.5)
"""Of batches of 1,000 and of 100, beside the SDK's no-op sink."""

SIZES = (10_000, 100_000, 300_000, 1_000_000)
LARGE = 1000
ADVISED = 100
START_RECORDS = 100
WAITING_SECONDS = 3.0
WAITING_RECORDS: t.Final = {"flat": 60_000, "wide": 24_000}
"""More than the 20,000 contacts that may be queued and in flight."""

MEMORY_LIMIT_MIB = 150
MEMORY_GROWTH_MIB = 15


def measure_throughput(bench: Bench) -> Iterator[Line]:
    """Compare the target with the SDK's no-op sink, on all shapes."""
    with server() as crm:
        for shape in inputs.SHAPES:
            records = RECORDS_OF.get(shape, RECORDS)
            lines = bench.input(shape, records)
            noop: list[Ran] = []
            ours: dict[int, list[Ran]] = {LARGE: [], ADVISED: []}
            for number in range(bench.runs):
                bench.say(f"throughput, {shape}, run {number + 1} of {bench.runs}")
                noop.append(bench.noop(lines))
                for size, rans in ours.items():
                    rans.append(bench.target(lines, crm, records, batch_size_rows=size))
            goals = GOALS_NARROW if shape == "narrow" else GOALS
            for (size, rans), least in zip(ours.items(), goals, strict=True):
                yield Line(
                    f"{shape}, batches of {size}: speed beside the SDK's no-op sink",
                    [a.seconds / b.seconds for a, b in zip(noop, rans, strict=True)],
                    form="{:.2f}x",
                    goal=f">= {least}x",
                    is_met=lambda value, least=least: value >= least,  # type: ignore[misc]
                    note=f"{_rate(records, rans)} beside {_rate(records, noop)} records/s; "
                    f"processor time {_cpu_ratio(noop, rans):.2f}x less",
                )


def measure_confirming(bench: Bench) -> Iterator[Line]:
    """See what asking for every batch's status adds when nothing paces it."""
    lines = bench.input("flat", RECORDS)
    for size in (LARGE, ADVISED):
        with server(contacts=size) as crm:
            rans: dict[str, list[Ran]] = {"none": [], "report": []}
            for number in range(bench.runs):
                bench.say(f"confirming, batches of {size}, run {number + 1} of {bench.runs}")
                for mode, of_mode in rans.items():
                    options = {"batch_size_rows": size, "confirm_batches": mode}
                    of_mode.append(bench.target(lines, crm, RECORDS, **options))
            yield Line(
                f"flat, batches of {size}: time with `confirm_batches: report` beside `none`",
                [a.seconds / b.seconds for a, b in zip(rans["report"], rans["none"], strict=True)],
                form="{:.2f}x",
                note="of which about a second is the first look's wait at the end",
            )


def measure_growth(bench: Bench) -> Iterator[Line]:
    """Compare memory and time as the load grows."""
    rans: dict[int, list[Ran]] = {size: [] for size in SIZES}
    with server() as crm:
        for number in range(bench.runs):
            for size, of_size in rans.items():
                bench.say(f"growth, {size:,} records, run {number + 1} of {bench.runs}")
                lines = bench.input("flat", size)
                of_size.append(bench.target(lines, crm, size, batch_size_rows=LARGE))
    small, usual, huge = rans[SIZES[0]], rans[100_000], rans[SIZES[-1]]
    yield Line(
        "peak memory at 1,000,000 records, MiB",
        [ran.peak_mib for ran in huge],
        form="{:.0f}",
        goal=f"< {MEMORY_LIMIT_MIB}",
        is_met=lambda value: value < MEMORY_LIMIT_MIB,
    )
    yield Line(
        "the same less peak memory at 100,000 records, MiB",
        [b.peak_mib - a.peak_mib for a, b in zip(usual, huge, strict=True)],
        form="{:+.0f}",
        goal=f"within {MEMORY_GROWTH_MIB}",
        is_met=lambda value: abs(value) <= MEMORY_GROWTH_MIB,
    )
    # Processor time: what else runs on the machine would bend the line more than anything here.
    slopes = {
        size: [
            (ran.cpu_seconds - start.cpu_seconds) / (size - SIZES[0])
            for start, ran in zip(small, of_size, strict=True)
        ]
        for size, of_size in rans.items()
        if size != SIZES[0]
    }
    for size in SIZES[2:]:
        yield Line(
            f"processor time per record up to {size:,} beside up to 100,000, start left out",
            [b / a for a, b in zip(slopes[100_000], slopes[size], strict=True)],
            form="{:.2f}x",
            goal="linear: 1",
            is_met=lambda value: value <= 1.2,  # a fifth is this machine's noise
            note=f"{1e6 * statistics.median(slopes[size]):.1f} µs per record",
        )


def measure_waiting(bench: Bench) -> Iterator[Line]:
    """See the memory when as many contacts wait for their answers as may."""
    for shape, size in itertools.product(("flat", "wide"), (LARGE, ADVISED)):
        records = WAITING_RECORDS[shape]
        lines = bench.input(shape, records)
        peaks = []
        for number in range(bench.runs):
            bench.say(f"waiting, {shape}, batches of {size}, run {number + 1} of {bench.runs}")
            with server(latency=WAITING_SECONDS) as crm:
                own = {"batch_size_rows": size, "rate_limit_plan": "pro"}
                ran = bench.target(lines, crm, records, rate_limit_requests=None, **own)
            peaks.append(ran.peak_mib)
        yield Line(
            f"{shape}, batches of {size}, answers after {WAITING_SECONDS:.0f} s: peak memory, MiB",
            peaks,
            form="{:.0f}",
            goal=f"< {MEMORY_LIMIT_MIB}",
            is_met=lambda value: value < MEMORY_LIMIT_MIB,
        )


def measure_start(bench: Bench) -> Iterator[Line]:
    """Compare the start up to the first request with importing the SDK."""
    lines = bench.input("flat", START_RECORDS)
    imports, firsts = [], []
    with server() as crm:
        for number in range(2 * bench.runs + 1):
            bench.say(f"start, run {number + 1} of {2 * bench.runs + 1}")
            command = [sys.executable, "-c", "import singer_sdk"]
            imports.append(run(command, stdin=lines, log=bench.folder / "import.log"))
            ran = bench.target(lines, crm, START_RECORDS)
            firsts.append(crm.seen()["batches"][0] - ran.started)
    ratios = [b / a.seconds for a, b in zip(imports, firsts, strict=True)][1:]  # one to warm up
    yield Line(
        "start to first request beside `import singer_sdk`",
        ratios,
        form="{:.2f}x",
        goal="<= 1.2x",
        is_met=lambda value: value <= 1.2,
        note=f"{statistics.median(firsts):.2f} s beside "
        f"{statistics.median(ran.seconds for ran in imports):.2f} s",
    )


def _rate(records: int, rans: Sequence[Ran]) -> str:
    return f"{records / statistics.median(ran.seconds for ran in rans):,.0f}"


def _cpu_ratio(first: Sequence[Ran], second: Sequence[Ran]) -> float:
    ratios = [a.cpu_seconds / b.cpu_seconds for a, b in zip(first, second, strict=True)]
    return statistics.median(ratios)
