"""A ledger's database that goes away in mid-run is waited for; if it stays away nothing is lost."""

import contextlib
import functools
import itertools
import json
import re
import sqlite3
import threading
import time
import typing as t
from collections.abc import Callable, Iterator

import pytest

from tests.broken_server import Request
from tests.ledger.outside import Night, on_both_databases
from tests.loads import Record, cases, wait_until
from tests.postgresql import PostgreSQL
from tests.rounds import quick

STEPS = {
    "target_mainbrainer.rounds.round.MAX_CONTACTS": 4,
    quick.STATE_INTERVAL: 0.05,
    "target_mainbrainer.ledger.database.BUSY_TIMEOUT_SECONDS": 0.1,
    "target_mainbrainer.ledger.database.PAUSE_SECONDS": 0.1,
}
PEOPLE = range(1, 41)
WAITING = re.compile("The run waits for it|Nothing is sent in the meantime")
PROCESS = (
    f"from tests.rounds import quick; quick.change({STEPS}); "
    "from target_mainbrainer import cli; cli.main()"
)


def people(name: str) -> str:
    """Return people with a name and their number, each with a STATE behind it."""
    return f"1-40 p# ={name}# /1"


class Outage(t.NamedTuple):
    """Takes the ledger's database away, and brings it back."""

    begin: Callable[[], object]
    end: Callable[[], object]


@pytest.fixture
def outage(request: pytest.FixtureRequest, ledger_uri: str) -> Iterator[Outage]:
    """Stop the PostgreSQL server, or lock the SQLite file as another process may."""
    with contextlib.ExitStack() as is_away:
        if ledger_uri.startswith("postgresql"):
            server: PostgreSQL = request.getfixturevalue("postgresql_server")
            begin: Callable[[], object] = server.stop
            end: Callable[[], object] = server.start
        else:
            other = sqlite3.connect(ledger_uri, isolation_level=None, check_same_thread=False)
            other.execute("PRAGMA busy_timeout = 60000")
            begin = functools.partial(other.execute, "BEGIN IMMEDIATE")
            end = functools.partial(other.execute, "ROLLBACK")
        yield Outage(lambda: (begin(), is_away.callback(end)), is_away.close)


def during_the_run(night: Night, act: Callable[[], object]) -> None:
    """Do something when the third batch of the next run has come, before it is answered."""
    numbers = itertools.count(1)

    def rule(request: Request) -> None:
        if request.method == "POST" and next(numbers) == 3:
            act()

    night.between().rule = rule


def names(night: Night) -> set[str]:
    return {one["properties"]["firstname"] for one in night.crm.contacts()}


@pytest.fixture(autouse=True)
def _small_rounds(night: Night) -> None:
    night.settings |= {"batch_size_rows": 2, "max_concurrent_requests": 1}


@on_both_databases
@cases("plan", 0, 100, ids=["unlimited", "shared quota"])
def test_a_database_that_comes_back_costs_nothing(night: Night, outage: Outage, plan: int) -> None:
    """While it is away nothing is sent: that is not taken for "no limit"."""
    for name, value in STEPS.items():
        night.patch.setattr(name, value)
    night(people("A"), rate_limit_requests=plan).ok()
    sent_meanwhile = []

    def end_it_later() -> None:
        wait_until(lambda: WAITING.search(night.caplog.text), "the run did not wait")
        before = night.posts
        time.sleep(0.3)
        sent_meanwhile.append(night.posts - before)
        outage.end()

    def act() -> None:
        outage.begin()
        threading.Thread(target=end_it_later).start()

    during_the_run(night, act)
    ended = night(people("B"), rate_limit_requests=plan).ok()
    assert sent_meanwhile == [0]
    assert ended.bookmark == PEOPLE[-1]
    assert names(night) == {f"B{n}" for n in PEOPLE}
    night(people("B")).ok()
    assert night(people("B")).count("unchanged") == len(PEOPLE)


@on_both_databases
def test_a_database_that_stays_away_ends_the_run_alone(night: Night, outage: Outage) -> None:
    """The run is a process of its own, which lets the next run have its streams."""
    report = night.folder / "process-report.json"
    night.settings["rate_limit_requests"] = 100
    night(people("A")).ok()
    during_the_run(night, outage.begin)
    own: Record = {"retry_max_seconds": 1, "report_path": str(report)}
    ended = night.start(people("B"), code=PROCESS, **own).ended()
    assert ended.code == 1
    assert re.search(r"The ledger '.*' cannot be used\. .* for up to 1 s\.", ended.log)
    assert "Traceback" not in ended.log
    assert ":any@" not in ended.log + report.read_text(), "the password"
    assert json.loads(report.read_text())["exit_code"] == 1
    reached = range(1, ended.bookmark + 1)
    assert {f"B{n}" for n in reached} <= names(night)
    outage.end()
    night(people("B")).ok()
    assert names(night) == {f"B{n}" for n in PEOPLE}


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_ledger_that_is_moved_during_a_run_ends_it(night: Night, *, is_replaced: bool) -> None:
    """Put back, it knows what was delivered until then."""
    ledger = night.folder / "ledger.db"

    def act() -> None:
        ledger.rename(night.folder / "moved.db")
        if is_replaced:
            ledger.touch()

    during_the_run(night, act)
    ended = night.start(people("A"), code=PROCESS).ended()
    assert ended.code == 1
    assert "was moved, deleted or replaced while it was in use" in ended.log
    assert night.posts < len(PEOPLE) / 2
    reached = range(1, ended.bookmark + 1)
    assert {f"A{n}" for n in reached} <= names(night)
    (night.folder / "moved.db").rename(ledger)
    assert night(people("A")).ok().count("unchanged") >= len(reached) > 0
    assert names(night) == {f"A{n}" for n in PEOPLE}
