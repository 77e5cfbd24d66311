"""Measures what tests cannot promise, as they run on any machine: requests, shares and memory.

    .venv/bin/python tools/prove.py isolation --bad 1.35
    .venv/bin/python tools/prove.py isolation --bad 1.35 --names all
    .venv/bin/python tools/prove.py isolation --bad 1.35 --cluster 20
    .venv/bin/python tools/prove.py pacing --plan pro --latency 1.0
    .venv/bin/python tools/prove.py memory --records 1000000

Each starts a sandbox in this process and the target in another, and prints one line of JSON.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

import mainbrainer_sandbox as sandbox

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from mainbrainer_sandbox.running import RunningSandbox

SCHEMA = {
    "type": "SCHEMA",
    "stream": "people",
    "schema": {
        "type": "object",
        "properties": {
            "id": {"type": "integer"},
            "email": {"type": "string"},
            "firstname": {"type": "string"},
            "city": {"type": "string"},
        },
    },
    "key_properties": ["id"],
}
STATE_EVERY = 1000


def lines(records: int, bad: set[int] | range = range(0)) -> Iterator[str]:
    """Yield a schema and so many records, with STATE in between; bad ones begin with `bad`."""
    yield json.dumps(SCHEMA)
    for n in range(1, records + 1):
        email = f"{'bad' if n in bad else 'p'}{n}@example.com"
        record = {"id": n, "email": email, "firstname": f"First{n}", "city": "Oslo"}
        yield json.dumps({"type": "RECORD", "stream": "people", "record": record})
        if n % STATE_EVERY == 0:
            yield json.dumps({"type": "STATE", "value": {"bookmark": n}})


def choose(records: int, percent: float, cluster: int) -> set[int]:
    """Choose who is bad: anybody, or neighbours in groups of so many."""
    dice = random.Random(1)  # noqa: S311 - no secret
    wanted = round(records * percent / 100)
    if cluster <= 1:
        return set(dice.sample(range(1, records + 1), wanted))
    bad: set[int] = set()
    while len(bad) < wanted:
        start = dice.randrange(1, records + 2 - cluster)
        bad.update(range(start, start + cluster))
    return bad


def run_target(
    crm: RunningSandbox, folder: Path, feed: list[str], **settings: t.Any
) -> dict[str, t.Any]:
    """Pipe the output of a command into the target; return its report and what it took."""
    report, log = folder / "report.json", folder / "log.txt"
    config = folder / "config.json"
    config.write_text(
        json.dumps(
            {
                "api_url": crm.url,
                "access_token": crm.token,
                "confirm_batches": "none",
                "report_path": str(report),
                "rejects_path": str(folder / "rejects.singer"),
            }
            | settings
        )
    )
    began = time.monotonic()
    with log.open("w") as stderr, (folder / "state.jsonl").open("w") as stdout:
        source = subprocess.Popen(feed, stdout=subprocess.PIPE)  # noqa: S603
        target = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "target_mainbrainer", "--config", str(config)],
            stdin=source.stdout,
            stdout=stdout,
            stderr=stderr,
        )
        t.cast("t.IO[bytes]", source.stdout).close()
        # Not resource.RUSAGE_CHILDREN: that would be the largest of all children.
        peak = 0
        while target.poll() is None:
            peak = max(peak, peak_memory(target.pid))
            time.sleep(0.05)
        source.wait()
    return {
        "exit": target.returncode,
        "seconds": round(time.monotonic() - began, 1),
        "peak_mib": round(peak / 1024, 1),
        "report": json.loads(report.read_text()),
    }


def peak_memory(pid: int) -> int:
    """Return the most memory a process has had so far, in KiB (Linux)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(row.split()[1]) for row in status.splitlines() if "VmHWM" in row), 0)


def most_in_window(times: list[float], seconds: float = 10.0) -> int:
    """Return the largest number of requests that the server saw in any so many seconds."""
    window: collections.deque[float] = collections.deque()
    most = 0
    for moment in sorted(times):
        window.append(moment)
        while window[0] <= moment - seconds:
            window.popleft()
        most = max(most, len(window))
    return most


def measure_isolation(options: argparse.Namespace, folder: Path) -> dict[str, t.Any]:
    """Load contacts of which some are refused."""
    records = options.records or 100_000
    bad = choose(records, options.bad, options.cluster)
    feed = [sys.executable, __file__, "feed", str(records)]
    feed += ["--bad", str(options.bad), "--cluster", str(options.cluster)]
    with sandbox.start(
        folder / "crm.db", plan="unlimited", refuse_email="bad", refusal_names=options.names
    ) as crm:
        ended = run_target(crm, folder, feed, rate_limit_requests=0)
        requests = crm.requests()
        landed = {contact["email"] for contact in crm.contacts()}
    blamed = [
        json.loads(line)["record"]["id"]
        for line in (folder / "rejects.singer").read_text().splitlines()
        if '"RECORD"' in line
    ]
    alone = sum(r.path == "/contacts/insertupdate" and r.status != 202 for r in requests)  # noqa: PLR2004
    return {
        "contacts": records,
        "bad": len(bad),
        "requests": len(requests),
        "sent": sum(request.contacts for request in requests),
        "blamed_exactly_the_bad_ones": sorted(blamed) == sorted(bad),
        "good_ones_landed": landed
        == {f"p{n}@example.com" for n in range(1, records + 1)}
        - {f"p{n}@example.com" for n in bad},
        "refused_alone": alone,
        "exit": ended["exit"],
        "seconds": ended["seconds"],
        "peak_mib": ended["peak_mib"],
    }


def measure_pacing(options: argparse.Namespace, folder: Path) -> dict[str, t.Any]:
    """Load for a minute at a latency, and see from the server how much of the plan is used."""
    burst = {"freemium": 100, "starter": 150, "pro": 200}[options.plan]
    records = options.records or int(burst * 100 * 7.5)
    with sandbox.start(
        folder / "crm.db", plan=options.plan, faults=[f"latency={options.latency}"]
    ) as crm:
        ended = run_target(
            crm,
            folder,
            [sys.executable, __file__, "feed", str(records)],
            rate_limit_plan=options.plan,
        )
        requests = crm.requests()
    times = [request.started for request in requests]
    # The full minute that begins with the first request; the tail of the run is no measure.
    minute = [moment for moment in times if moment < min(times) + 60]
    return {
        "plan": options.plan,
        "latency": options.latency,
        "requests": len(times),
        "requests_in_the_first_minute": len(minute),
        "share_of_plan": round(len(minute) / (burst * 6), 3),
        "most_in_any_10_s": most_in_window(times),
        "answers_429": sum(request.status == 429 for request in requests),  # noqa: PLR2004
        "exit": ended["exit"],
        "seconds": ended["seconds"],
    }


def measure_memory(options: argparse.Namespace, folder: Path) -> dict[str, t.Any]:
    """Load many contacts and look at the memory of the target."""
    records = options.records or 1_000_000
    faults = [f"latency={options.latency}"] if options.latency else []
    with sandbox.start(folder / "crm.db", plan="unlimited", faults=faults) as crm:
        ended = run_target(
            crm,
            folder,
            [sys.executable, __file__, "feed", str(records)],
            rate_limit_requests=0,
            confirm_batches=options.confirm,
            confirm_timeout_seconds=600,
        )
    accepted = ended["report"]["streams"]["people"]["accepted"]
    return {"records": records, "accepted": accepted, "latency": options.latency} | {
        key: ended[key] for key in ("exit", "seconds", "peak_mib")
    }


def feed(options: argparse.Namespace) -> None:
    """Write Singer lines to stdout: the tap of these measurements."""
    bad = choose(options.count, options.bad, options.cluster)
    for line in lines(options.count, bad):
        sys.stdout.write(f"{line}\n")


def main() -> None:
    """Measure what is asked for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=["isolation", "pacing", "memory", "feed"])
    parser.add_argument("count", type=int, nargs="?", default=0)
    parser.add_argument("--records", type=int, default=0)
    parser.add_argument("--bad", type=float, default=0.0, help="percent")
    parser.add_argument("--cluster", type=int, default=1)
    parser.add_argument("--names", default="none", choices=["none", "first", "all"])
    parser.add_argument("--plan", default="freemium", choices=["freemium", "starter", "pro"])
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--confirm", default="none", choices=["none", "report", "require"])
    options = parser.parse_args()
    if options.what == "feed":
        feed(options)
        return
    measure = {
        "isolation": measure_isolation,
        "pacing": measure_pacing,
        "memory": measure_memory,
    }[options.what]
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, Path(folder))
    sys.stdout.write(f"{json.dumps({'measured': options.what} | found)}\n")


if __name__ == "__main__":
    main()
