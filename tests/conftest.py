"""Fixtures: a fresh MainBrainer on loopback, and the target as Singer and a shell see it."""

import contextlib
import io
import json
import logging
import os
import threading
import typing as t
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

import mainbrainer_sandbox as sandbox
from mainbrainer_sandbox.running import RunningSandbox
from target_mainbrainer import cli
from tests import postgresql
from tests.broken_server import BrokenServer, Reply, Request, Serve
from tests.loads import Ended, Load, Record, RunTarget
from tests.postgresql import PostgreSQL

OUTCOMES = ("accepted", "merged", "unchanged", "rejected", "omitted")
"""Every record of every stream has exactly one of them, or is undelivered."""

# How long an example takes says how busy the machine is, and nothing about the code.
# The examples of a test share its fixtures: it empties the CRM itself.
_CHECKS = [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture]
hypothesis.settings.register_profile("any machine", deadline=None, suppress_health_check=_CHECKS)
hypothesis.settings.load_profile("any machine")


def pytest_xdist_auto_num_workers() -> int:
    """Run three tests for every two cores: many wait for a server's pace or a time-out."""
    return max(2, (os.cpu_count() or 1) * 3 // 2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests, so that none is under way when all others are done."""
    folders = ["end_to_end", "ledger", "rounds"]

    def place(item: pytest.Item) -> tuple[float, int]:
        limit, folder = item.get_closest_marker("timeout"), item.path.parent.name
        rank = folders.index(folder) if folder in folders else len(folders)
        return -(limit.args[0] if limit else 0.0), rank

    items.sort(key=place)


@pytest.fixture
def start_crm(tmp_path: Path) -> Iterator[Callable[..., RunningSandbox]]:
    """Start a MainBrainer with switches of its own."""
    running: list[RunningSandbox] = []

    def start(name: str = "", **options: t.Any) -> RunningSandbox:
        path = tmp_path / (name or f"crm{len(running)}.db")
        running.append(sandbox.start(path, **({"keep_bodies": True} | options)))
        return running[-1]

    yield start
    for crm in running:
        crm.close()


@pytest.fixture
def crm(start_crm: Callable[..., RunningSandbox]) -> RunningSandbox:
    """A fresh MainBrainer on loopback, without limits."""
    return start_crm(plan="unlimited")


@pytest.fixture
def settings(crm: RunningSandbox) -> Record:
    """Settings that reach the CRM."""
    account = {"api_url": crm.url, "access_token": crm.token}
    return account | {"rate_limit_requests": 0, "confirm_batches": "none"}


@pytest.fixture
def serve(settings: Record) -> Iterator[Serve]:
    """Start a server that takes the CRM's place and answers by a test's function."""
    with contextlib.ExitStack() as running:

        def start(answer: Callable[[Request], Reply]) -> BrokenServer:
            server = running.enter_context(BrokenServer(answer))
            settings["api_url"] = server.url
            return server

        yield start


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQL]:
    """Start a PostgreSQL server for the whole session."""
    programs = postgresql.programs()
    if programs is None:
        reason = "PostgreSQL is not installed; .ci/system installs it."
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with postgresql.running(programs) as server:
        yield server


@pytest.fixture
def empty_postgresql(postgresql_server: PostgreSQL) -> PostgreSQL:
    """Return the server with an empty database."""
    postgresql_server.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return postgresql_server


@pytest.fixture(autouse=True)
def _pytests_own_excepthook(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put back afterwards what the command replaces by its own."""
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)


@pytest.fixture
def log_level() -> int:
    """What the user has set; a module may have its own."""
    return logging.INFO


@pytest.fixture
def run_target(
    settings: Record,
    log_level: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> RunTarget:
    """Run the target as its command does: Singer lines in; STATE, log and exit code out."""

    def run(*lines: str, **config: t.Any) -> Ended:
        config = {"report_path": str(tmp_path / "report.json")} | settings | config
        report = Path(config["report_path"])
        report.unlink(missing_ok=True)
        caplog.clear()
        caplog.set_level(log_level)
        capsys.readouterr()
        code = 0
        try:
            cli.invoke(
                config=cli.Configuration(config),
                file_input=io.StringIO("".join(f"{line}\n" for line in lines)),
            )
        except SystemExit as ended:
            code = int(ended.code or 0)
        states = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        errors = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
        last = caplog.records[-1].getMessage()
        assert last.startswith("FAILED: " if code else "OK: "), last
        errors = [error for error in errors if error != last]
        # A fault of ours is one only if it does not come from a test.
        assert all("test_" in error for error in errors if "fault of target-" in error), errors
        counts = json.loads(report.read_text()) if report.exists() else {}
        for stream in counts.get("streams", {}).values():
            outcomes = sum(stream[name] for name in OUTCOMES)
            assert outcomes + stream["undelivered"] == stream["read"]
            assert stream["undelivered"] >= 0 or "do not add up" in errors[0]
        return Ended(code, states, caplog.text, errors, last, counts)

    return run


@pytest.fixture
def load(request: pytest.FixtureRequest) -> Load:
    """The target, the CRM and what a test looks at, in one."""
    return Load(request)
