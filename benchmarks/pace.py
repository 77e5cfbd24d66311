"""How much of a plan is used, however long answers take, and by several runs.

The ideal is what the plan allows: so many requests at once every 10 seconds, and the time of one
answer at the end. Everything is measured by the server, from the first batch that it counts.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import threading
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor

from benchmarks.bench import Line
from benchmarks.postgresql import postgresql
from benchmarks.processes import server
from benchmarks.server import WINDOW_SECONDS

if t.TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.bench import Bench
    from benchmarks.processes import Server

BURSTS: t.Final = {"freemium": 100, "starter": 150, "pro": 200}
ANSWERS = (0.05, 0.3, 1.0, 3.0, 10.0)
WINDOWS = (2, 3, 10)
CONTACTS = 10
"""In a batch of the grid: what it looks at is the waiting, not the work."""

LONG_WINDOWS = 10
WORST: t.Final = {0.05: 1.1, 0.3: 1.1, 1.0: 1.15}
"""How much longer than the ideal a load may take, by the time of an answer."""

WORST_LONG = 1.1
"""The same with slower answers, for a load of ten windows; shorter ones have no goal there."""

SHARING_RUNS = 4
SHARING_SECONDS = 42.0
KILLED_AFTER_SECONDS = 14.0


class Cell(t.NamedTuple):
    """One load of the grid."""

    plan: str
    answer: float
    windows: int

    @property
    def ideal(self) -> float:
        """Return how many seconds the plan allows at best."""
        return WINDOW_SECONDS * (self.windows - 1) + self.answer

    @property
    def worst(self) -> float | None:
        """Return how much longer than that it may take, if there is a goal."""
        return WORST.get(self.answer, WORST_LONG if self.windows >= LONG_WINDOWS else None)


class Found(t.NamedTuple):
    """What came out: seconds from the first request to the last answer, beside the ideal."""

    cell: Cell
    ratio: float
    most: int
    refused: int

    @property
    def is_met(self) -> bool:
        """Return whether it was as quick as it should be, and never quicker than the plan."""
        is_quick = self.cell.worst is None or self.ratio <= self.cell.worst
        return is_quick and self.most <= BURSTS[self.cell.plan] and not self.refused


def measure_grid(bench: Bench) -> Iterator[Line]:
    """Load finite numbers of windows with all answers and plans."""
    for burst, windows in itertools.product(BURSTS.values(), bench.windows):
        bench.input("narrow", windows * burst * CONTACTS)  # before anything is timed
    cells = [Cell(*cell) for cell in itertools.product(BURSTS, ANSWERS, bench.windows)]
    done = itertools.count(1)

    def load(cell: Cell) -> Found:
        found = _load(bench, cell)
        bench.say(f"grid, {next(done)} of {len(cells)}: {cell} {found.ratio:.3f}x, {found.most}")
        return found

    found: list[Found] = []
    for windows in bench.windows:
        # They wait most of the time, but bursts that fall together hold each other up, which
        # counts the more the shorter a load is. So there are as many at once as it has windows.
        with ThreadPoolExecutor(windows) as pool:
            found += pool.map(load, (cell for cell in cells if cell.windows == windows))
    for plan, windows in itertools.product(BURSTS, bench.windows):
        of_plan = [one for one in found if one.cell.plan == plan and one.cell.windows == windows]
        is_met = all(one.is_met for one in of_plan)
        by_answer = ", ".join(f"{one.cell.answer} s {one.ratio:.2f}" for one in of_plan)
        most, refused = max(one.most for one in of_plan), sum(one.refused for one in of_plan)
        yield Line(
            f"`{plan}`, {windows} windows: time beside the ideal, all answers",
            [one.ratio for one in of_plan],
            form="{:.3f}x",
            goal="answers of 0.05 and 0.3 s <= 1.1, 1 s <= 1.15, longer ones in 10 windows <= 1.1; "
            "no 429",
            is_met=lambda _, is_met=is_met: is_met,  # type: ignore[misc]
            note=f"answers of {by_answer}; at most {most} requests in any 10 s, "
            f"{refused} answers 429",
        )


def _load(bench: Bench, cell: Cell) -> Found:
    burst = BURSTS[cell.plan]
    records = cell.windows * burst * CONTACTS
    lines = bench.input("narrow", records)
    with server(latency=cell.answer, burst=burst, contacts=CONTACTS) as crm:
        own = {
            "rate_limit_plan": cell.plan,
            "rate_limit_requests": None,
            "batch_size_rows": CONTACTS,
            "confirm_timeout_seconds": 1,
        }
        bench.target(lines, crm, records, confirm_batches="report", **own)
        seen = crm.seen()
    seconds = seen["batches"][-1] + cell.answer - seen["batches"][0]
    return Found(cell, seconds / cell.ideal, seen["most"], seen["refused"])


def measure_sharing(bench: Bench) -> Iterator[Line]:
    """Let several runs share a ledger and a token; one is killed."""
    yield _share(bench, "SQLite", str(bench.folder / "shared.db"))
    with postgresql() as database:
        yield _share(bench, "PostgreSQL", database.url)
        database.let_clock_step()
        yield _share(
            bench, "PostgreSQL, its clock set by an hour", database.url, database.set_clock
        )


def _share(
    bench: Bench, what: str, ledger_uri: str, set_clock: t.Callable[[float], None] | None = None
) -> Line:
    burst = BURSTS["freemium"]
    lines = bench.input("narrow", int(SHARING_SECONDS / WINDOW_SECONDS + 2) * burst * CONTACTS)
    with server(latency=1.0, burst=burst, setup=1.0, late=0.2, contacts=CONTACTS) as crm:
        bench.say(f"sharing, {what}, {SHARING_SECONDS:.0f} s")
        ended = threading.Event()
        if set_clock is not None:
            threading.Thread(target=_step, args=(set_clock, ended), daemon=True).start()
        _run_several(bench, crm, lines, ledger_uri)
        ended.set()
        seen = crm.seen()
    batches = [at for at in seen["batches"] if at < seen["batches"][0] + SHARING_SECONDS - 2]
    # The last whole windows: all runs have started, one was killed.
    steady = [at for at in batches if at >= batches[-1] - 2 * WINDOW_SECONDS]
    return Line(
        f"{SHARING_RUNS} runs on one ledger ({what}), one killed: share of the plan used",
        [len(steady) / (2 * burst)],
        form="{:.1%}",
        goal=">= 95 %, no 429",
        is_met=lambda value: value >= 0.95 and not seen["refused"] and seen["most"] <= burst,
        note=f"{len(batches)} batches, answers and set-ups of 1 s; at most {seen['most']} requests "
        f"in any 10 s, {seen['refused']} answers 429",
    )


def _run_several(bench: Bench, crm: Server, lines: Path, ledger_uri: str) -> None:
    environment = dict(os.environ, REQUESTS_CA_BUNDLE=crm.certificate)
    own: dict[str, object] = {
        "rate_limit_requests": None,
        "batch_size_rows": CONTACTS,
        "ledger_uri": ledger_uri,
    }
    with contextlib.ExitStack() as stack:
        runs = []
        for number in range(SHARING_RUNS):
            command = bench.command(
                crm.url, f"sharing-{number}", **own, stream_maps=_renamed(number)
            )
            log = stack.enter_context((bench.folder / f"sharing-{number}.log").open("wb"))
            stdin = stack.enter_context(lines.open("rb"))
            pipes = {"stdin": stdin, "stdout": subprocess.DEVNULL, "stderr": log}
            runs.append(subprocess.Popen(command, **pipes, env=environment))  # type: ignore[call-overload]
        time.sleep(KILLED_AFTER_SECONDS)
        runs[1].kill()
        time.sleep(SHARING_SECONDS - KILLED_AFTER_SECONDS)
        for run in runs:
            run.kill()
            run.wait()


def _renamed(number: int) -> dict[str, object]:
    """Return a stream map that gives each run a stream of its own, as one ledger asks for."""
    return {"narrow": {"__alias__": f"narrow_{number}"}}


def _step(set_clock: t.Callable[[float], None], ended: threading.Event) -> None:
    """Set the clock forward and back, again and again."""
    for step in itertools.cycle((3600.0, 0.0, -3600.0, 0.0)):
        if ended.wait(4.5):
            return
        set_clock(step)
