"""All runs that share a ledger and a token keep to the plan together."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import typing as t

import pytest
import sqlalchemy as sa

from target_mainbrainer.api.limits import OCCUPIED_SECONDS, Taken, Wait
from target_mainbrainer.config.limits import Plan
from target_mainbrainer.errors import TransientError
from target_mainbrainer.ledger.database import open_database
from target_mainbrainer.ledger.quota import SharedQuota, fingerprint, open_shared_quota
from tests.loads import people

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import RunTarget

HOUR = 3600.0
PLAN = Plan(burst=5, daily=1000)
ACCOUNT = fingerprint("https://crm.example.com", "made-up")


class Clocks:
    """The clocks of a machine and of a database, all set by hand."""

    def __init__(self, uri: str) -> None:
        self.now = 5000.0
        self.jump = 0.0
        self.boot_id = "boot 1"
        self._database = open_database(uri)
        self._uri = uri
        self._opened = [self._database]
        with self._database.transaction() as connection:
            connection.execute(sa.text("CREATE TABLE test_clock (seconds DOUBLE PRECISION)"))
            connection.execute(sa.text("INSERT INTO test_clock VALUES (0)"))
        self.pass_by(0)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        with self._database.transaction() as connection:
            update = sa.text("UPDATE test_clock SET seconds = :now")
            connection.execute(update, {"now": 1.7e9 + self.now + self.jump})

    def shared_quota(self, account: str = ACCOUNT) -> SharedQuota:
        database = open_database(self._uri, synchronous="NORMAL")
        self._opened.append(database)
        clock = sa.text("(SELECT seconds FROM test_clock)").columns(seconds=sa.Double)
        return SharedQuota(
            database,
            account,
            clock=lambda: self.now,
            time_of_day=lambda: 1.7e9 + self.now + self.jump,
            boot_id=self.boot_id,
            database_clock=clock.scalar_subquery(),
        )

    def close(self) -> None:
        for database in self._opened:
            database.close()


@pytest.fixture
def clocks(ledger_uri: str) -> Iterator[Clocks]:
    made = Clocks(ledger_uri)
    yield made
    made.close()


def take_all(quota: SharedQuota, plan: Plan = PLAN) -> list[Taken]:
    """Take what there is."""
    taken: list[Taken] = []
    while isinstance(one := quota.take(plan), Taken):
        taken.append(one)
    return taken


def seconds_to_wait(quota: SharedQuota, plan: Plan = PLAN) -> float:
    wait = quota.take(plan)
    assert isinstance(wait, Wait)
    return wait.seconds


def test_two_runs_have_one_plan_between_them(clocks: Clocks) -> None:
    one, other = clocks.shared_quota(), clocks.shared_quota()
    assert isinstance(one.take(PLAN), Taken)
    clocks.pass_by(4)
    assert len(take_all(other)) == 4
    assert seconds_to_wait(one) == pytest.approx(OCCUPIED_SECONDS - 4)
    clocks.pass_by(OCCUPIED_SECONDS - 4 + 0.01)
    assert len(take_all(one)) == 1
    clocks.pass_by(4)
    assert len(take_all(other)) == 4
    assert other.in_use() == 5
    assert other.free(PLAN) == 0
    clocks.pass_by(11)
    assert other.free(PLAN) == 5


def test_another_token_has_a_plan_of_its_own(clocks: Clocks) -> None:
    assert len(take_all(clocks.shared_quota())) == 5
    another = fingerprint("https://crm.example.com", "another token")
    assert len(take_all(clocks.shared_quota(another))) == 5


def test_an_account_is_kept_without_its_token(clocks: Clocks, ledger_uri: str) -> None:
    take_all(clocks.shared_quota())
    database = open_database(ledger_uri)
    with database.transaction() as connection:
        rows = connection.execute(sa.text("SELECT * FROM mainbrainer_quota")).all()
    database.close()
    assert "made-up" not in repr(rows)
    assert fingerprint("a", "bc") != fingerprint("ab", "c")


def test_late_answers_waits_and_permits_given_back_count_for_all_runs(clocks: Clocks) -> None:
    one, other = clocks.shared_quota(), clocks.shared_quota()
    taken = take_all(one)
    one.give_back(taken[1].until)
    assert len(take_all(other)) == 1
    clocks.pass_by(4)
    one.correct(taken[0].until, 3)
    clocks.pass_by(OCCUPIED_SECONDS - 4 + 0.01)
    assert len(take_all(other)) == 4
    other.hold(30, "MainBrainer answered 429 to POST /contacts/batch")
    clocks.pass_by(11)
    wait = one.take(PLAN)
    assert isinstance(wait, Wait)
    assert wait.seconds == pytest.approx(19)
    assert wait.reason == "MainBrainer answered 429 to POST /contacts/batch"


def test_the_days_number_survives_the_end_of_a_run(clocks: Clocks) -> None:
    plan = Plan(burst=5, daily=7)
    assert len(take_all(clocks.shared_quota(), plan)) == 5
    clocks.pass_by(HOUR)
    assert len(take_all(clocks.shared_quota(), plan)) == 2
    clocks.pass_by(23 * HOUR - 10)
    assert not take_all(clocks.shared_quota(), plan)
    clocks.pass_by(700)
    assert len(take_all(clocks.shared_quota(), plan)) == 5


def test_a_plan_may_be_another_one_in_the_next_run(clocks: Clocks) -> None:
    assert len(take_all(clocks.shared_quota(), Plan(burst=8, daily=1000))) == 8
    assert not take_all(clocks.shared_quota(), Plan(burst=5, daily=1000))
    assert len(take_all(clocks.shared_quota(), Plan(burst=10, daily=1000))) == 2


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 3.0, -3.0])
def test_a_clock_that_is_set_while_runs_are_at_work_changes_nothing(
    clocks: Clocks, jump: float
) -> None:
    one, other = clocks.shared_quota(), clocks.shared_quota()
    assert len(take_all(one)) == 5
    assert not take_all(other)
    clocks.jump = jump
    for passed in range(1, 10):
        clocks.pass_by(1)
        for run in (one, other):
            assert seconds_to_wait(run) == pytest.approx(OCCUPIED_SECONDS - passed, abs=0.1)
    clocks.pass_by(OCCUPIED_SECONDS - 9 + 0.1)
    assert len([*take_all(other), *take_all(one)]) == 5
    assert len(take_all(clocks.shared_quota())) == 0


@pytest.mark.parametrize("jumps", [(HOUR, 2 * HOUR), (-HOUR, 0.0), (HOUR, -HOUR)])
def test_a_clock_that_is_set_twice_between_two_looks_lets_nothing_through(
    clocks: Clocks, jumps: tuple[float, float]
) -> None:
    one, other = clocks.shared_quota(), clocks.shared_quota()
    assert len(take_all(one)) == 5
    assert not take_all(other)
    for jump in jumps:
        clocks.jump = jump
        clocks.pass_by(1)
        assert not take_all(other), "it looks after each jump"
    clocks.jump = jumps[0] + 7200
    clocks.pass_by(1)
    assert not take_all(one), "it looks after all three"
    clocks.pass_by(2 * OCCUPIED_SECONDS)
    assert len([*take_all(one), *take_all(other)]) == 5


@pytest.mark.parametrize("jump", [-HOUR, -100 * HOUR])
def test_a_clock_that_is_set_back_between_runs_stretches_no_wait(
    clocks: Clocks, jump: float
) -> None:
    assert len(take_all(clocks.shared_quota())) == 5
    clocks.jump = jump
    clocks.pass_by(1)
    assert seconds_to_wait(clocks.shared_quota()) <= OCCUPIED_SECONDS + 0.001


def test_after_a_reboot_the_day_goes_on_by_the_time_of_day(clocks: Clocks) -> None:
    plan = Plan(burst=5, daily=7)
    assert len(take_all(clocks.shared_quota(), plan)) == 5
    clocks.boot_id = "boot 2"
    clocks.now, clocks.jump = 20.0, 5000.0 + HOUR  # the monotonic clock begins anew
    clocks.pass_by(0)
    assert len(take_all(clocks.shared_quota(), plan)) == 2
    clocks.boot_id = "boot 3"
    clocks.now, clocks.jump = 30.0, 5000.0 + 25 * HOUR
    clocks.pass_by(0)
    assert len(take_all(clocks.shared_quota(), plan)) == 5


def test_threads_of_several_runs_at_once_take_no_permit_twice(ledger_uri: str) -> None:
    plan = Plan(burst=60, daily=1000)
    runs = [open_shared_quota(ledger_uri, ACCOUNT) for _ in range(3)]
    taken: list[Taken] = []
    threads = [
        threading.Thread(target=lambda run=run: taken.extend(take_all(run, plan)))
        for run in runs * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    for run in runs:
        run.close()
    assert len(taken) == 60
    assert len({one.until for one in taken}) > 1


def rename(uri: str, old: str, new: str) -> None:
    database = open_database(uri)
    with database.transaction() as connection:
        connection.execute(sa.text(f"ALTER TABLE {old} RENAME TO {new}"))
    database.close()


def test_what_could_not_be_written_is_written_when_the_database_is_back(
    clocks: Clocks, ledger_uri: str
) -> None:
    quota = clocks.shared_quota()
    first, *_ = take_all(quota)
    rename(ledger_uri, "mainbrainer_quota", "away")
    with pytest.raises(TransientError, match=r"The ledger .* cannot be used"):
        quota.take(PLAN)
    with pytest.raises(TransientError):
        quota.correct(first.until, 5)
    rename(ledger_uri, "away", "mainbrainer_quota")
    clocks.pass_by(OCCUPIED_SECONDS + 0.01)
    assert len(take_all(quota)) == 4


PROCESS = """
import sys, time
from target_mainbrainer.config.limits import Plan
from target_mainbrainer.ledger.quota import Taken
from target_mainbrainer.ledger.quota import open_shared_quota
quota = open_shared_quota(sys.argv[1], "account")
print("ready", flush=True)
sys.stdin.readline()
while isinstance(quota.take(Plan(burst=40, daily=1000)), Taken):
    print("taken", flush=True)
    time.sleep(0.02)
"""


def test_processes_of_which_one_is_killed_take_no_more_than_the_plan(ledger_uri: str) -> None:
    """`make bench ONLY=sharing` does the same for longer, with whole targets and slow answers."""
    command = [sys.executable, "-c", PROCESS, ledger_uri]
    runs = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
        for _ in range(3)
    ]
    outs = [t.cast("t.IO[str]", run.stdout) for run in runs]
    assert [out.readline() for out in outs] == ["ready\n"] * 3
    for run in runs:
        stdin = t.cast("t.IO[str]", run.stdin)
        stdin.write("go\n")
        stdin.flush()
    assert [outs[0].readline() for _ in range(3)] == ["taken\n"] * 3
    runs[0].kill()
    taken = [len(run.communicate()[0].splitlines()) for run in runs]
    assert min(taken[1:]) > 0
    assert 39 <= 3 + sum(taken) <= 40, "one may be killed between the take and the print"


def test_all_requests_of_a_run_with_a_ledger_are_counted_in_it(
    ledger_uri: str, crm: RunningSandbox, run_target: RunTarget
) -> None:
    """Batches, status questions and tokens; `--check` and other runs count on from there."""
    own = {"rate_limit_requests": None, "confirm_batches": "require", "ledger_uri": ledger_uri}
    ended = run_target(*people(30), batch_size_rows=10, **own)
    assert ended.code == 0, ended.log
    database = open_database(ledger_uri)
    with database.transaction() as connection:
        (record,) = connection.execute(sa.text("SELECT record FROM mainbrainer_quota")).one()
    database.close()
    counted = sum(part["requests"] for part in json.loads(record)["quota"]["slices"])
    assert counted == len(crm.requests()) >= 6
