"""How many requests it takes to find the contacts that are refused, and who is blamed."""

from __future__ import annotations

import json
import random
import typing as t

import mainbrainer_sandbox as sandbox
from benchmarks import inputs
from benchmarks.bench import Line
from benchmarks.processes import run

if t.TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.bench import Bench

RECORDS = 100_000
BATCH = 100
CASES: t.Final = (
    # percent refused, side by side in groups of, named by the API
    (0.1, 1, "none"),
    (1.35, 1, "none"),
    (1.35, 1, "all"),
    (1.35, 20, "none"),
    (5.0, 1, "none"),
)


def measure_isolation(bench: Bench) -> Iterator[Line]:
    """Load contacts of which some are refused, into a sandbox that says so."""
    for percent, group, names in CASES:
        bench.say(f"isolation, {percent} % refused, groups of {group}, names: {names}")
        yield _measure(bench, percent, group, names)


def _measure(bench: Bench, percent: float, group: int, names: str) -> Line:
    bad = _choose(RECORDS, percent, group)
    lines = _write(bench.folder / f"refused-{percent}-{group}.singer", bad)
    rejects = bench.folder / f"refused-{percent}-{group}-{names}.rejects"
    crm_path = bench.folder / f"refused-{percent}-{group}-{names}.db"
    for left in (rejects, *bench.folder.glob(f"{crm_path.name}*")):
        left.unlink(missing_ok=True)  # of an earlier run in the same folder
    options = {"plan": "unlimited", "refuse_email": "bad", "refusal_names": names}
    with sandbox.start(crm_path, **options) as crm:
        own = {"access_token": crm.token, "rejects_path": str(rejects)}
        command = bench.command(crm.url, "isolation", **own)
        run(command, stdin=lines, log=bench.folder / "isolation.log")
        requests = crm.requests()
        landed = sum(1 for _ in crm.contacts())
    rejected = [json.loads(line) for line in rejects.read_text().splitlines() if "RECORD" in line]
    blamed = sorted(one["record"]["id"] for one in rejected)
    is_exact = blamed == sorted(bad) and landed == RECORDS - len(bad)
    named = ", all named" if names == "all" else ""
    return Line(
        f"{percent} % refused in groups of {group}{named}: requests beside none refused",
        [len(requests) / (RECORDS / BATCH)],
        form="{:.2f}x",
        goal="all others land",
        is_met=lambda _: is_exact,
        note=f"{len(requests):,} requests, {len(bad):,} of {RECORDS:,} contacts refused, "
        f"{len(blamed):,} blamed, {landed:,} landed",
    )


def _choose(records: int, percent: float, group: int) -> set[int]:
    """Choose who is refused: anyone, or neighbours in groups of so many."""
    chance = random.Random(1)  # noqa: S311 - no secret
    wanted = round(records * percent / 100)
    if group == 1:
        return set(chance.sample(range(1, records + 1), wanted))
    bad: set[int] = set()
    while len(bad) < wanted:
        start = chance.randrange(1, records + 2 - group)
        bad.update(range(start, start + group))
    return bad


def _write(path: Path, bad: set[int]) -> Path:
    """Write an input in which the e-mail addresses of the refused begin with `bad`."""
    with path.open("wb") as lines:
        for number, message in enumerate(inputs.messages(inputs.SHAPES["narrow"], RECORDS)):
            # The first message is the SCHEMA; STATE follows every so many records.
            key = number - max(0, number - 1) // (inputs.RECORDS_PER_STATE + 1)
            is_bad = key in bad and b'"RECORD"' in message
            lines.write(message.replace(b'"email":"', b'"email":"bad') if is_bad else message)
            lines.write(b"\n")
    return path
