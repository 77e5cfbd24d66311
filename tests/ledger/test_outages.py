"""A ledger's database that goes away in mid-run is waited for; if it stays away nothing is lost."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import subprocess
import sys
import threading
import time
import typing as t

import pytest

from target_mainbrainer import cli
from tests.ledgers import on_both_databases
from tests.messages import Ended, person, schema, state
from tests.rounds import quick

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import Record, RunTarget
    from tests.postgresql import PostgreSQL

STEPS = {
    "target_mainbrainer.rounds.round.MAX_CONTACTS": 4,
    quick.STATE_INTERVAL: 0.05,
    "target_mainbrainer.ledger.database.BUSY_TIMEOUT_SECONDS": 0.1,
    "target_mainbrainer.ledger.database.PAUSE_SECONDS": 0.1,
}
PEOPLE = 40
PATIENCE = 60


@pytest.fixture
def settings(settings: Record) -> Record:
    return {**settings, "batch_size_rows": 2, "max_concurrent_requests": 1}


@pytest.fixture
def in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send small rounds, and look often whether the database is back."""
    for name, value in STEPS.items():
        monkeypatch.setattr(name, value)


def run_process(settings: Record, told: list[str], folder: Path) -> Ended:
    """Run the target as a process of its own, which lets the next run have its streams."""
    path, report = folder / "settings.json", folder / "report.json"
    path.write_text(json.dumps({**settings, "report_path": str(report)}))
    ran = subprocess.run(
        [sys.executable, "-m", __name__, "--config", str(path)],
        input="".join(f"{line}\n" for line in told),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    states = [json.loads(line) for line in ran.stdout.splitlines()]
    last = ran.stderr.splitlines()[-1]
    return Ended(ran.returncode, states, ran.stderr, [], last, json.loads(report.read_text()))


def lines(name: str) -> list[str]:
    """Return people, each with a STATE behind it."""
    told = (
        line
        for n in range(PEOPLE)
        for line in (person(n, firstname=f"{name}{n}"), state(bookmark=n))
    )
    return [schema(), *told]


def posts(crm: RunningSandbox) -> int:
    return sum(request.path.startswith("/contacts/batch") for request in crm.requests())


class Outage:
    """Takes the ledger's database away, and brings it back."""

    def __init__(self, take_away: Callable[[], object], bring_back: Callable[[], object]) -> None:
        self.take_away = take_away
        self._bring_back = bring_back
        self._is_away = False

    def begin(self) -> None:
        self._is_away = True
        self.take_away()

    def end(self) -> None:
        if self._is_away:
            self._bring_back()
            self._is_away = False


@pytest.fixture
def outage(request: pytest.FixtureRequest, ledger_uri: str) -> Iterator[Outage]:
    """Stop the PostgreSQL server, or lock the SQLite file as another process may."""
    if ledger_uri.startswith("postgresql"):
        server: PostgreSQL = request.getfixturevalue("postgresql_server")
        made = Outage(server.stop, server.start)
    else:
        other = sqlite3.connect(ledger_uri, isolation_level=None, check_same_thread=False)
        other.execute("PRAGMA busy_timeout = 60000")
        made = Outage(lambda: other.execute("BEGIN IMMEDIATE"), lambda: other.execute("ROLLBACK"))
    yield made
    made.end()


@contextlib.contextmanager
def during_the_run(crm: RunningSandbox, act: Callable[[], None]) -> Iterator[None]:
    """Do something in a thread of its own once a few requests have come."""

    def wait_and_act() -> None:
        end = time.monotonic() + PATIENCE
        before = posts(crm)
        while posts(crm) < before + 3 and time.monotonic() < end:
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    yield
    thread.join(PATIENCE)


def wait_until_quiet(crm: RunningSandbox) -> int:
    """Return how many requests have come once no more come for a while."""
    before, count = -1, posts(crm)
    while count > before:
        time.sleep(0.5)
        before, count = count, posts(crm)
    return count


def names(crm: RunningSandbox) -> set[str]:
    return {one["properties"]["firstname"] for one in crm.contacts()}


def everybody(name: str) -> set[str]:
    return {f"{name}{n}" for n in range(PEOPLE)}


@on_both_databases
@pytest.mark.parametrize("plan", [0, 100], ids=["unlimited", "shared quota"])
@pytest.mark.usefixtures("in_small_steps")
def test_a_database_that_comes_back_in_time_costs_nothing(
    run_target: RunTarget, crm: RunningSandbox, outage: Outage, plan: int
) -> None:
    """While it is away nothing is sent: that is not taken for "no limit"."""
    run_target(*lines("A"), rate_limit_requests=plan).ok()
    crm.set_faults("latency=0.05:batch")
    sent_meanwhile = []

    def act() -> None:
        outage.begin()
        before = wait_until_quiet(crm)
        time.sleep(0.3)
        sent_meanwhile.append(posts(crm) - before)
        outage.end()

    with during_the_run(crm, act):
        ended = run_target(*lines("B"), rate_limit_requests=plan)
    assert ended.code == 0, ended.errors
    assert sent_meanwhile == [0]
    assert ended.states[-1] == {"bookmark": PEOPLE - 1}
    assert names(crm) == everybody("B")
    assert re.search(r"The run waits for it|Nothing is sent in the meantime", ended.log)
    crm.set_faults()
    run_target(*lines("B")).ok()
    assert run_target(*lines("B")).report["streams"]["people"]["unchanged"] == PEOPLE


@on_both_databases
def test_a_database_that_stays_away_ends_the_run_and_loses_nothing(
    run_target: RunTarget, crm: RunningSandbox, settings: Record, outage: Outage, tmp_path: Path
) -> None:
    plan = {"rate_limit_requests": 100}
    run_target(*lines("A"), **plan).ok()
    crm.set_faults("latency=0.05:batch")
    with during_the_run(crm, outage.begin):
        ended = run_process({**settings, **plan, "retry_max_seconds": 1}, lines("B"), tmp_path)
    assert ended.code == 1
    assert re.search(r"The ledger '.*' cannot be used\. .* It was tried for \d+ s", ended.log)
    assert "Traceback" not in ended.log
    assert ":any@" not in ended.log + json.dumps(ended.report), "the password"
    reached = max((one["bookmark"] for one in ended.states), default=-1)
    assert {f"B{n}" for n in range(reached + 1)} <= names(crm)
    outage.end()
    crm.set_faults()
    run_target(*lines("B")).ok()
    assert names(crm) == everybody("B")


if __name__ == "__main__":
    quick.change(STEPS)
    cli.main()
