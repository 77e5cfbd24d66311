"""The measurements: each one runs what it compares in turns, and says what came out as ratios."""

from __future__ import annotations

import json
import math
import statistics
import sys
import threading
import typing as t
from dataclasses import dataclass
from pathlib import Path

from benchmarks import inputs
from benchmarks.processes import Ran, Server, run, server
from benchmarks.server import WINDOW_SECONDS

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

RECORDS = 200_000
RECORDS_OF: t.Final = {"nested": 50_000, "wide": 30_000}
"""Where the SDK takes long, fewer are enough for a ratio."""

SIZES = (10_000, 100_000, 300_000, 1_000_000)
LARGE = 1000
ADVISED = 100
START_RECORDS = 100
PACED_WINDOWS = 6
MEMORY_LIMIT_MIB = 150
MEMORY_GROWTH_MIB = 15


class Line(t.NamedTuple):
    """One line of the table.

    Attributes:
        values: One for each run; the median counts.
        goal: In words.
        is_met: What the goal asks of the median, or None if nothing.
        note: What the median stands for, in numbers of this machine.
    """

    what: str
    values: Sequence[float]
    form: str = "{:.2f}"
    goal: str = ""
    is_met: Callable[[float], bool] | None = None
    note: str = ""

    @property
    def median(self) -> float:
        """The value that counts."""
        return statistics.median(self.values)


@dataclass
class Bench:
    """A place for inputs and logs, and how often everything is run."""

    folder: Path
    runs: int
    say: Callable[[str], None]

    def input(self, shape: str, records: int) -> Path:
        """Return an input, which is made only once."""
        return inputs.write(self.folder / f"{shape}-{records}.singer", shape, records)

    def noop(self, lines: Path) -> Ran:
        """Run the SDK's sink that does nothing."""
        command = [sys.executable, "-m", "benchmarks.noop"]
        return run(command, stdin=lines, log=self.folder / "noop.log")

    def target(self, lines: Path, crm: Server, records: int, **settings: object) -> Ran:
        """Run the target, and make sure that it has delivered everything.

        Raises:
            RuntimeError: It has not.
        """
        name = f"target-{crm.url.rsplit(':', 1)[1]}"
        config, report = self.folder / f"{name}.json", self.folder / f"{name}-report.json"
        own = {"api_url": crm.url, "access_token": "made-up", "report_path": str(report)}
        # Statuses are off where sending alone is measured; `measure_confirming` has them on.
        usual = {"rate_limit_requests": 0, "confirm_batches": "none"}
        config.write_text(json.dumps(inputs.SETTINGS | own | usual | settings))
        command = [
            str(Path(sys.executable).with_name("target-mainbrainer")),
            "--config",
            str(config),
        ]
        ran = run(command, stdin=lines, log=self.folder / f"{name}.log")
        counts = next(iter(json.loads(report.read_text())["streams"].values()))
        if counts["accepted"] != records:
            message = f"{counts} of {records} records: the benchmark's input does not get through."
            raise RuntimeError(message)
        return ran


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
            for (size, rans), (least, best) in zip(
                ours.items(), ((2.5, 4.0), (1.6, 2.0)), strict=True
            ):
                yield Line(
                    f"{shape}, batches of {size}: speed beside the SDK's no-op sink",
                    [a.seconds / b.seconds for a, b in zip(noop, rans, strict=True)],
                    form="{:.2f}x",
                    goal=f">= {least}x, try {best}x",
                    is_met=lambda value, least=least: value >= least,  # type: ignore[misc]
                    note=f"{_rate(records, rans)} beside {_rate(records, noop)} records/s; "
                    f"processor time {_cpu_ratio(noop, rans):.2f}x less",
                )


def measure_confirming(bench: Bench) -> Iterator[Line]:
    """See what asking for every batch's status adds when nothing paces it."""
    lines = bench.input("flat", RECORDS)
    with server() as crm:
        for size in (LARGE, ADVISED):
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
        goal="<= 1.5x",
        is_met=lambda value: value <= 1.5,
        note=f"{statistics.median(firsts):.2f} s beside "
        f"{statistics.median(ran.seconds for ran in imports):.2f} s",
    )


def measure_pace(bench: Bench) -> Iterator[Line]:
    """See how much of a plan is used over a minute, at a distance and without being refused."""
    plans = (("freemium", 100, 0.3), ("pro", 200, 1.0))
    found: dict[str, Line] = {}

    def pace(plan: str, burst: int, latency: float) -> None:
        requests = PACED_WINDOWS * burst + burst // 2
        lines = bench.input("flat", requests * ADVISED)
        with server(latency=latency, burst=burst) as crm:
            own = {"rate_limit_requests": burst, "confirm_batches": "report"}
            bench.target(lines, crm, requests * ADVISED, **own)
            seen = crm.seen()
        counted = PACED_WINDOWS * burst
        seconds = seen["batches"][counted] - seen["batches"][0]
        found[plan] = Line(
            f"share of `{plan}` used at {latency} s an answer",
            [counted / burst * WINDOW_SECONDS / seconds],
            form="{:.1%}",
            goal=">= 95 %, no 429",
            is_met=lambda value: value >= 0.95 and not seen["refused"],
            note=f"{counted} batches in {seconds:.1f} s, {seen['refused']} answers 429, at most "
            f"{seen['most']} requests in any 10 s",
        )

    for _, burst, _ in plans:  # made before anything is timed
        bench.input("flat", (PACED_WINDOWS * burst + burst // 2) * ADVISED)
    bench.say("pace, both plans at once, a minute")
    threads = [threading.Thread(target=pace, args=plan) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for plan, _, _ in plans:
        yield found.get(plan) or Line(f"share of `{plan}` used", [math.nan], goal="failed")


PARTS: t.Final[dict[str, Callable[[Bench], Iterator[Line]]]] = {
    "throughput": measure_throughput,
    "confirming": measure_confirming,
    "growth": measure_growth,
    "start": measure_start,
    "pace": measure_pace,
}


def _rate(records: int, rans: Sequence[Ran]) -> str:
    return f"{records / statistics.median(ran.seconds for ran in rans):,.0f}"


def _cpu_ratio(first: Sequence[Ran], second: Sequence[Ran]) -> float:
    ratios = [a.cpu_seconds / b.cpu_seconds for a, b in zip(first, second, strict=True)]
    return statistics.median(ratios)
