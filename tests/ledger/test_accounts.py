"""A ledger keeps every account by itself: other addresses and users have memories of their own."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import requests

from tests.ledger.outside import OMIT, by_address, consenting, count, night, posts
from tests.ledgers import on_both_databases

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import Record, RunTarget


NIGHT = night(*consenting(1, 2, 3))


@pytest.fixture
def settings(settings: Record) -> Record:
    return {**settings, "retry_max_seconds": 0}


def local(path: Path) -> Record:
    """Settings of a rehearsal."""
    return {"api_url": "", "access_token": "", "sandbox_path": str(path)}


def credentials(crm: RunningSandbox, **changed: str) -> Record:
    """Settings of an account that says whose it is."""
    known = crm.credentials
    return {
        "access_token": "",
        "username": known.username,
        "password": known.password,
        "private_token": known.private_token,
        **changed,
    }


# Fault 10

ELSEWHERE: dict[str, Callable[[RunningSandbox, Path], Record]] = {
    "a dead address": lambda _, __: {"api_url": "http://127.0.0.1:9"},
    "a misspelt user name": lambda crm, _: credentials(crm, username="sandbx@example.com"),
    "another user": lambda crm, _: credentials(crm),
    "a rehearsal": lambda _, folder: local(folder / "rehearsal.db"),
    "a slash": lambda crm, _: {"api_url": f"{crm.url}/"},
    "another path": lambda crm, _: {"api_url": f"{crm.url}/elsewhere"},
}


@on_both_databases
@pytest.mark.parametrize("elsewhere", ELSEWHERE)
def test_a_run_elsewhere_leaves_an_accounts_memory_alone(
    run_target: RunTarget, crm: RunningSandbox, tmp_path: Path, elsewhere: str
) -> None:
    """Afterwards nobody is new, and no `true` is raised once more."""
    run_target(*NIGHT, **OMIT)
    crm.edit("p1@example.com", email_opt_in=False)
    run_target(*NIGHT, **OMIT, **ELSEWHERE[elsewhere](crm, tmp_path))
    sent = posts(crm)
    ended = run_target(*NIGHT, **OMIT)
    assert (posts(crm), count(ended, "unchanged")) == (sent, 3)
    assert "anew" not in ended.log


def test_another_account_has_a_memory_of_its_own(
    run_target: RunTarget, crm: RunningSandbox, start_crm: Callable[..., RunningSandbox]
) -> None:
    """Empty at first, and found again later; a yes that one was told is told the other, too."""
    other = start_crm(plan="unlimited")
    there = {"api_url": other.url, "access_token": other.token}
    run_target(*NIGHT, **OMIT)
    assert count(run_target(*NIGHT, **OMIT, **there), "created") == 3
    for account in (crm, other):
        assert by_address(account)["p1"]["email_opt_in"] is True
    sent = posts(crm), posts(other)
    for config in ({}, there, {}, there):
        assert count(run_target(*NIGHT, **OMIT, **config), "unchanged") == 3
    assert (posts(crm), posts(other)) == sent


def test_every_rehearsal_finds_its_own_memory(
    run_target: RunTarget, tmp_path: Path, crm: RunningSandbox
) -> None:
    """Of its own file, as long as that is not made anew."""
    first, second = local(tmp_path / "first.db"), local(tmp_path / "second.db")
    run_target(*NIGHT)
    for rehearsal in (first, second):
        assert count(run_target(*NIGHT, **rehearsal), "created") == 3
    for config in (first, second, {}):
        assert count(run_target(*NIGHT, **config), "unchanged") == 3
    Path(first["sandbox_path"]).unlink()
    assert count(run_target(*NIGHT, **first), "created") == 3
    for config in (first, second, {}):
        assert count(run_target(*NIGHT, **config), "unchanged") == 3
    assert posts(crm) == 1


def test_an_address_is_one_however_it_is_spelt(run_target: RunTarget, crm: RunningSandbox) -> None:
    """Scheme and host in capitals, and a slash at its end."""
    port = crm.url.rpartition(":")[2]
    run_target(*NIGHT, api_url=f"http://localhost:{port}")
    sent = posts(crm)
    for spelling in ("http://localhost:{}/", "http://LocalHost:{}", "HTTP://LOCALHOST:{}/"):
        ended = run_target(*NIGHT, api_url=spelling.format(port))
        assert count(ended, "unchanged") == 3
    assert posts(crm) == sent


# Fault 11


def new_token(crm: RunningSandbox) -> str:
    known = crm.credentials
    body = {
        "userName": known.username,
        "password": known.password,
        "privateToken": known.private_token,
        "validity": "Default",
    }
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(f"{crm.url}/token", json=body, timeout=20)
    return str(answer.json()["access_token"])


def says_another_token(log: str) -> bool:
    """Return whether a log mentions that the token is another one."""
    return any("token" in line and "ledger" in line for line in log.splitlines())


def test_a_wrong_token_leaves_no_doubt_about_the_good_one(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """It has delivered nothing, so nothing is said of it, and nothing is to be forgotten."""
    run_target(*NIGHT)
    assert run_target(*NIGHT, access_token="wrong", unchanged_contacts="send").code == 1
    sent = posts(crm)
    ended = run_target(*NIGHT)
    assert count(ended, "unchanged") == 3
    assert posts(crm) == sent
    assert not says_another_token(ended.log)
    assert "forget" not in ended.log


def test_a_changed_token_is_mentioned_once_it_has_delivered_something(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """It does not say whose it is, and may be the same account's; so it is mentioned once."""
    run_target(*NIGHT)
    other = {"access_token": new_token(crm)}
    more = night(*consenting(1, 2, 3, 4))
    said = [says_another_token(run_target(*more, **other).log) for _ in range(3)]
    assert said.count(True) == 1
    assert len(crm.contacts()) == 4
