"""A ledger belongs to one account, or to one sandbox file; another one starts it anew."""

from __future__ import annotations

import contextlib
import typing as t

import pytest

from mainbrainer_sandbox import command
from target_mainbrainer.errors import LedgerError
from target_mainbrainer.ledger.database import open_database
from target_mainbrainer.ledger.ledger import Account, Ledger
from tests.messages import person, schema, state

if t.TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import Ended, Record, RunTarget


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "ledger.db")


@pytest.fixture
def settings(settings: Record, path: str) -> Record:
    return {**settings, "ledger_uri": path}


NIGHT = [schema(), *(person(n) for n in range(3)), state(bookmark=3)]


def sent(ended: Ended) -> int:
    """Return how many contacts a run sent, 0 if all were unchanged."""
    assert ended.code == 0, ended.errors
    counts = ended.report["streams"]["people"]
    assert counts["accepted"] + counts["unchanged"] == 3
    return int(counts["accepted"])


def test_a_sandbox_that_was_reset_and_another_file_start_the_ledger_anew(
    run_target: RunTarget, tmp_path: Path
) -> None:
    first, other = str(tmp_path / "first.db"), str(tmp_path / "other.db")
    local: Record = {"api_url": "", "access_token": "", "sandbox_path": first}
    assert sent(run_target(*NIGHT, **local)) == 3
    assert sent(run_target(*NIGHT, **local)) == 0
    assert command.main(["reset", "--path", first, "--yes"]) == 0
    after_reset = run_target(*NIGHT, **local)
    assert sent(after_reset) == 3
    assert "starts anew" in after_reset.log
    elsewhere = run_target(*NIGHT, **{**local, "sandbox_path": other})
    assert sent(elsewhere) == 3
    assert "starts anew" in elsewhere.log
    assert sent(run_target(*NIGHT, **{**local, "sandbox_path": other})) == 0


def test_another_api_url_starts_the_ledger_anew(
    run_target: RunTarget, start_crm: Callable[..., RunningSandbox]
) -> None:
    assert sent(run_target(*NIGHT)) == 3
    other = start_crm(plan="unlimited")
    elsewhere = run_target(*NIGHT, api_url=other.url, access_token=other.token)
    assert sent(elsewhere) == 3
    assert "starts anew" in elsewhere.log
    assert len(other.contacts()) == 3


def test_an_account_waits_for_a_run_of_another_one(
    run_target: RunTarget, crm: RunningSandbox, path: str
) -> None:
    with contextlib.closing(Ledger(open_database(path), Account("other"), clock=float)) as going_on:
        stream = going_on.open_stream("customers")
        refused = run_target(*NIGHT)
        assert refused.code == 1
        assert "Another run delivers stream 'customers' with this ledger" in refused.error
        assert crm.requests() == []
        stream.release()
    started = run_target(*NIGHT)
    assert sent(started) == 3
    assert "starts anew" in started.log


def test_a_run_whose_ledger_was_started_anew_for_another_account_says_so(
    run_target: RunTarget, path: str
) -> None:
    """It may be before it has taken its first stream."""
    with contextlib.closing(Ledger(open_database(path), Account("other"), clock=float)) as going_on:
        assert sent(run_target(*NIGHT)) == 3
        with pytest.raises(LedgerError, match="anew for another account or sandbox"):
            going_on.open_stream("customers")
    assert sent(run_target(*NIGHT)) == 0
