"""A ledger's database, and the plan that all runs that share it and a token keep to together."""

import contextlib
import itertools
import json
import stat
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from target_mainbrainer.api.limits import OCCUPIED_SECONDS, SLICE_SECONDS, Quota, Wait
from target_mainbrainer.errors import LedgerError
from target_mainbrainer.ledger.content import fingerprint
from target_mainbrainer.ledger.database import open_database
from target_mainbrainer.ledger.lease import SharedQuota
from target_mainbrainer.ledger.tables import SCHEMA_VERSION
from target_mainbrainer.settings.declared import Plan
from tests.api.helpers import World, most_in
from tests.ledger.outside import Night, empty_ledger
from tests.loads import Record, cases
from tests.postgresql import PostgreSQL

HOUR = 3600.0
PLANS = st.builds(Plan, burst=st.integers(1, 20), daily=st.just(10**6))


def all_of(take: Callable[[], float | Wait]) -> list[float]:
    """Take what there is, and return until when."""
    taken: list[float] = []
    while not isinstance(one := take(), Wait):
        taken.append(one)
    return taken


def take_now(quota: Quota, plan: Plan, now: float) -> int:
    """Take what there is, and return how much that was."""
    return len(all_of(lambda: quota.take(plan, now)))


@given(st.lists(st.tuples(st.floats(0, 15), PLANS), min_size=1, max_size=80))
def test_a_plan_that_changes_is_kept_to_from_then_on(asked: list[tuple[float, Plan]]) -> None:
    quota, now = Quota(), 0.0
    taken: list[float] = []
    for pause, plan in asked:
        now += pause
        before = sum(at > now - 10 for at in taken)
        granted = take_now(quota, plan, now)
        taken += [now] * granted
        assert granted == 0 or before + granted <= plan.burst


@given(st.lists(st.floats(0, 5 * HOUR), min_size=1, max_size=60), st.integers(1, 25))
@settings(max_examples=50)
def test_the_days_number_is_kept_in_any_24_hours(gaps: list[float], daily: int) -> None:
    quota, plan = Quota(), Plan(burst=1000, daily=daily)
    now = 0.0
    taken: list[float] = []
    for gap in gaps:
        now += gap
        while isinstance(wait := quota.take(plan, now), Wait):
            assert wait.seconds > 0
            now += wait.seconds
        taken.append(now)
    assert most_in(taken, 24 * HOUR) <= daily
    # On the safe side, but not by more than one slice a day.
    assert now <= sum(gaps) + (24 * HOUR + SLICE_SECONDS + 1) * len(gaps) / daily


def test_the_record_stays_small_however_many_requests_a_day() -> None:
    quota, plan = Quota(), Plan(burst=200, daily=1_000_000)
    for number in range(6_000):
        assert not isinstance(quota.take(plan, number * 50.0), Wait)
    assert len(quota.occupied) <= 200
    assert len(quota.slices) <= 24 * HOUR / SLICE_SECONDS + 2


@cases("step", -HOUR, -100 * HOUR, -1.0)
def test_a_clock_that_was_set_back_stretches_no_wait(step: float) -> None:
    quota, plan = Quota(), Plan(burst=5, daily=7)
    now = 1_000_000.0
    assert take_now(quota, plan, now) == 5
    quota.block(8, "MainBrainer answered 429", now)
    now += step
    wait = quota.take(plan, now)
    assert isinstance(wait, Wait)
    assert wait.seconds <= 8
    assert isinstance(quota.take(plan, now + 9), Wait)
    assert take_now(quota, plan, now + OCCUPIED_SECONDS) == 2, "the rest of the day's seven"
    assert take_now(quota, plan, now + 24 * HOUR + SLICE_SECONDS + 1) == 5


# Shared


PLAN = Plan(burst=5, daily=1000)
ACCOUNT = fingerprint("made-up")


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return empty_ledger(request, tmp_path)


@contextlib.contextmanager
def shared_quotas(uri: str, *accounts: str) -> Iterator[list[SharedQuota]]:
    """Open a ledger for a run with each of these accounts."""
    with contextlib.ExitStack() as opened:
        close = contextlib.closing
        databases = [opened.enter_context(close(open_database(uri))) for _ in accounts]
        yield list(map(SharedQuota, databases, accounts))


def take_all(quota: SharedQuota, plan: Plan = PLAN) -> list[float]:
    return all_of(lambda: quota.change(lambda shared, now: shared.take(plan, now)))


def test_each_token_has_a_plan_and_none_is_kept(ledger_uri: str) -> None:
    """Each token has a plan of its own, and no token is stored."""
    with shared_quotas(ledger_uri, ACCOUNT, fingerprint("another token")) as quotas:
        assert [len(take_all(quota)) for quota in quotas] == [5, 5]
    with contextlib.closing(open_database(ledger_uri)) as db, db.transaction() as connection:
        rows = connection.execute(sa.text("SELECT * FROM mainbrainer_quota")).all()
    assert "made-up" not in repr(rows)


def test_late_answers_and_waits_count_for_all_runs(
    ledger_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    monkeypatch.setattr("target_mainbrainer.ledger.lease.now_of", lambda _: world.now)
    with shared_quotas(ledger_uri, ACCOUNT, ACCOUNT) as (one, other):
        until = take_all(one)[0]
        world.pass_by(4)
        one.change(lambda quota, _: quota.extend(until, 3))
        world.pass_by(OCCUPIED_SECONDS - 4 + 0.01)
        assert len(take_all(other)) == 4
        reason = "MainBrainer answered 429 to POST /contacts/batch"
        other.change(lambda quota, now: quota.block(30, reason, now))
        world.pass_by(11)
        wait = one.change(lambda shared, now: shared.take(PLAN, now))
    assert isinstance(wait, Wait)
    assert wait.seconds == pytest.approx(19)
    assert wait.reason == reason


def test_threads_of_several_runs_at_once_take_no_permit_twice(ledger_uri: str) -> None:
    plan = Plan(burst=60, daily=1000)
    with shared_quotas(ledger_uri, *[ACCOUNT] * 3) as runs, ThreadPoolExecutor(9) as threads:
        taken = [*itertools.chain(*threads.map(lambda run: take_all(run, plan), runs * 3))]
    assert len(taken) == 60
    assert len(set(taken)) > 1


def test_all_requests_of_a_run_with_a_ledger_are_counted_in_it(night: Night) -> None:
    """Batches and status questions; however the server's address is spelt, it has one plan."""
    own: Record = {"rate_limit_requests": None, "confirm_batches": "require", "batch_size_rows": 10}
    for url in (night.crm.url, f"{night.crm.url}/", night.crm.url.replace("http", "HTTP")):
        night("1-30 p#", api_url=url, **own).ok()
    with contextlib.closing(open_database(night.uri)) as db, db.transaction() as connection:
        record = connection.scalars(sa.text("SELECT record FROM mainbrainer_quota")).one()
    counted = sum(part["requests"] for part in json.loads(record)["slices"])
    assert counted == len(night.crm.requests()) > 6


# What a ledger's database is opened by, and what is said when it cannot be


VERSION = sa.text("SELECT version FROM mainbrainer_schema")
FULL = 2


@contextlib.contextmanager
def transaction(uri: str) -> Iterator[sa.Connection]:
    """Open a ledger's database for one transaction."""
    with contextlib.closing(open_database(uri)) as database, database.transaction() as connection:
        yield connection


def test_all_tables_begin_with_the_product_name(ledger_uri: str) -> None:
    with transaction(ledger_uri) as connection:
        names = sa.inspect(connection).get_table_names()
    assert names
    assert all(name.startswith("mainbrainer_") for name in names)


def test_another_version_ends_with_a_sentence(ledger_uri: str) -> None:
    with transaction(ledger_uri) as connection:
        connection.execute(sa.text("UPDATE mainbrainer_schema SET version = 99"))
    with pytest.raises(
        LedgerError, match=r"another version of target-mainbrainer, .* Use that version"
    ):
        open_database(ledger_uri)


def test_an_error_rolls_back_and_hides_what_the_statement_carried(ledger_uri: str) -> None:
    def fail() -> None:
        with transaction(ledger_uri) as connection:
            connection.execute(sa.text("DELETE FROM mainbrainer_schema"))
            connection.execute(sa.text("SELECT :x FROM nowhere"), {"x": "ola@example.com"})

    with pytest.raises(LedgerError) as caught:
        fail()
    assert "ola@example.com" not in str(caught.value)
    assert caught.value.__cause__ is None
    with transaction(ledger_uri) as connection:
        assert connection.scalars(VERSION).all() == [SCHEMA_VERSION]


# SQLite


def test_a_file_and_its_companions_are_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.touch(mode=0o644)
    with transaction(str(path)) as connection:
        connection.execute(sa.text("UPDATE mainbrainer_schema SET version = version"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}


def test_a_commit_is_on_the_disk_before_it_returns(tmp_path: Path) -> None:
    with transaction(str(tmp_path / "ledger.db")) as connection:
        assert connection.scalar(sa.text("PRAGMA synchronous")) == FULL
        assert connection.scalar(sa.text("PRAGMA journal_mode")) == "wal"


@cases("uri", "sqlite:///{path}", "sqlite+pysqlite:///{path}", "{path}")
def test_a_file_has_several_spellings(tmp_path: Path, uri: str) -> None:
    path = tmp_path / "ledger.db"
    open_database(uri.format(path=path)).close()
    assert path.exists()


# PostgreSQL


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(LedgerError, match=r"Install 'target-mainbrainer\[postgres\]'"):
        open_database("postgresql://tests:hush@127.0.0.1:1/b")


@cases("scheme", "postgres", "postgresql", "postgresql+psycopg")
def test_a_server_has_several_spellings(empty_postgresql: PostgreSQL, scheme: str) -> None:
    open_database(empty_postgresql.url.replace("postgresql", scheme, 1)).close()


def test_a_missing_database_is_named_without_the_user(postgresql_server: PostgreSQL) -> None:
    with pytest.raises(LedgerError, match="no such database") as caught:
        open_database(postgresql_server.url.removesuffix("postgres") + "nowhere")
    assert "tests" not in str(caught.value)


def test_nothing_rests_on_a_session(empty_postgresql: PostgreSQL) -> None:
    """A pooler gives each transaction another session: prepared statements would be missing."""
    with transaction(empty_postgresql.url) as connection:
        for _ in range(20):
            connection.execute(VERSION)
        assert connection.scalar(sa.text("SELECT count(*) FROM pg_prepared_statements")) == 0
