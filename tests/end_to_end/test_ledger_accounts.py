"""What a ledger knows, it knows of one account, or of one sandbox file."""

from __future__ import annotations

import typing as t

import pytest

from mainbrainer_sandbox import command
from tests.end_to_end.unfinished import Unfinished
from tests.messages import person, schema, state

if t.TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import Ended, Record, RunTarget


@pytest.fixture
def settings(settings: Record, tmp_path: Path) -> Record:
    return {**settings, "ledger_uri": str(tmp_path / "ledger.db")}


NIGHT = [schema(), *(person(n) for n in range(3)), state(bookmark=3)]


def sent(ended: Ended) -> int:
    """Return how many contacts a run sent, 0 if all were unchanged."""
    assert ended.code == 0, ended.errors
    assert ended.counts["accepted"] + ended.counts["unchanged"] == 3
    return int(ended.counts["accepted"])


def test_nothing_is_known_of_a_sandbox_that_was_reset_and_of_another_file(
    run_target: RunTarget, tmp_path: Path
) -> None:
    first, other = str(tmp_path / "first.db"), str(tmp_path / "other.db")
    local: Record = {"api_url": "", "access_token": "", "sandbox_path": first}
    assert sent(run_target(*NIGHT, **local)) == 3
    assert sent(run_target(*NIGHT, **local)) == 0
    assert command.main(["reset", "--path", first, "--yes"]) == 0
    assert sent(run_target(*NIGHT, **local)) == 3
    assert sent(run_target(*NIGHT, **{**local, "sandbox_path": other})) == 3
    assert sent(run_target(*NIGHT, **{**local, "sandbox_path": other})) == 0


def test_nothing_is_known_of_another_server(
    run_target: RunTarget, start_crm: Callable[..., RunningSandbox]
) -> None:
    assert sent(run_target(*NIGHT)) == 3
    other = start_crm(plan="unlimited")
    assert sent(run_target(*NIGHT, api_url=other.url, access_token=other.token)) == 3
    assert len(other.contacts()) == 3


def test_what_is_known_of_one_account_outlives_a_run_with_another(
    run_target: RunTarget, start_crm: Callable[..., RunningSandbox], tmp_path: Path
) -> None:
    """A rehearsal, too, touches nothing that the ledger knows of the account."""
    other = start_crm(plan="unlimited")
    elsewhere: Record = {"api_url": other.url, "access_token": other.token}
    rehearsal: Record = {
        "api_url": "",
        "access_token": "",
        "sandbox_path": str(tmp_path / "rehearsal.db"),
    }
    assert sent(run_target(*NIGHT)) == 3
    assert sent(run_target(*NIGHT, **elsewhere)) == 3
    assert sent(run_target(*NIGHT, **rehearsal)) == 3
    assert sent(run_target(*NIGHT)) == 0
    assert sent(run_target(*NIGHT, **elsewhere)) == 0
    assert sent(run_target(*NIGHT, **rehearsal)) == 0


def test_a_server_is_the_same_however_its_address_is_spelt(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    assert sent(run_target(*NIGHT)) == 3
    assert sent(run_target(*NIGHT, api_url=f"{crm.url}/")) == 0
    assert sent(run_target(*NIGHT, api_url=crm.url.replace("http", "HTTP"))) == 0


def test_two_accounts_are_delivered_to_side_by_side(
    run_target: RunTarget,
    settings: Record,
    start_crm: Callable[..., RunningSandbox],
    tmp_path: Path,
) -> None:
    """Even of one stream: only within an account one run at a time delivers it."""
    other = start_crm(plan="unlimited")
    elsewhere = settings | {"api_url": other.url, "access_token": other.token}
    with Unfinished(elsewhere, tmp_path, NIGHT) as unfinished:
        unfinished.wait_for_state()
        assert sent(run_target(*NIGHT)) == 3
        unfinished.feed([person(4), state(bookmark=4)])
        assert unfinished.wait_for_state() == {"bookmark": 4}
    assert len(other.contacts()) == 4
