"""A ledger keeps every account by itself: other addresses and users have memories of their own."""

from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from mainbrainer_sandbox.running import RunningSandbox
from tests.ledger.outside import OMIT, Night, on_both_databases, rehearsal
from tests.ledger.people import consenting
from tests.loads import Record, cases

PEOPLE = consenting(1, 2, 3)


@pytest.fixture
def settings(settings: Record) -> Record:
    return {**settings, "retry_max_seconds": 0}


def by_user(night: Night, **changed: str) -> Record:
    """Settings of an account that is known by its user."""
    return {"access_token": ""} | night.credentials | changed


# Fault 10

ELSEWHERE: dict[str, Callable[[Night], Record]] = {
    "a dead address": lambda _: {"api_url": "http://127.0.0.1:9"},
    "a misspelt user": lambda night: by_user(night, username="sandbx@example.com"),
    "another user": by_user,
    "a rehearsal": lambda night: rehearsal(night.folder / "rehearsal.db"),
    "a slash": lambda night: {"api_url": f"{night.crm.url}/"},
    "another path": lambda night: {"api_url": f"{night.crm.url}/elsewhere"},
}


@on_both_databases
@cases("elsewhere", *ELSEWHERE)
def test_a_run_elsewhere_leaves_an_accounts_memory_alone(night: Night, elsewhere: str) -> None:
    """Afterwards no contact is new, and no `true` is raised once more."""
    night(*PEOPLE, **OMIT)
    night.unsubscribe("p1")
    night(*PEOPLE, **OMIT, **ELSEWHERE[elsewhere](night))
    sent = night.posts
    ended = night(*PEOPLE, **OMIT)
    assert (night.posts, ended.count("unchanged")) == (sent, 3)
    assert "anew" not in ended.log


def test_each_account_has_a_memory(night: Night, start_crm: Callable[..., RunningSandbox]) -> None:
    """Empty at first, and found again later; a yes to one is sent to the other, too."""
    other = start_crm(plan="unlimited")
    there = {"api_url": other.url, "access_token": other.token}
    night(*PEOPLE, **OMIT)
    assert night(*PEOPLE, **OMIT, **there).count("created") == 3
    assert [one["email_opt_in"] for one in other.contacts()] == [True] * 3
    sent = night.posts, len(other.requests())
    for config in ({}, there, {}, there):
        assert night(*PEOPLE, **OMIT, **config).count("unchanged") == 3
    questions = sum(request.method == "GET" for request in other.requests())
    assert (night.posts, len(other.requests()) - questions) == sent


def test_every_rehearsal_finds_its_own_memory(night: Night) -> None:
    """Of its own file, as long as that is not made anew; a dry run before it finds the same."""
    first, second = (rehearsal(night.folder / name) for name in ("first.db", "second.db"))
    night(*PEOPLE)

    def finds(count: str, config: Record) -> None:
        for is_dry in (True, False):
            assert night(*PEOPLE, **config, dry_run=is_dry).count(count) == 3

    for config, count in ((first, "created"), (second, "created"), (first, "unchanged")):
        finds(count, config)
    Path(first["sandbox_path"]).unlink()
    for config, count in ((first, "created"), (second, "unchanged"), ({}, "unchanged")):
        finds(count, config)
    assert night.posts == 1


def test_an_address_is_one_however_it_is_spelt(night: Night) -> None:
    """Scheme and host in capitals, and a slash at its end."""
    port = night.crm.url.rpartition(":")[2]
    night(*PEOPLE, api_url=f"http://localhost:{port}")
    for spelling in ("http://localhost:{}/", "http://LocalHost:{}", "HTTP://LOCALHOST:{}/"):
        assert night(*PEOPLE, api_url=spelling.format(port)).count("unchanged") == 3
    assert night.posts == 1


# Fault 11


def new_token(crm: RunningSandbox) -> str:
    known = crm.credentials
    body = {"userName": known.username, "password": known.password, "validity": "Default"}
    body["privateToken"] = known.private_token
    return str(requests.post(f"{crm.url}/token", json=body, timeout=20).json()["access_token"])


def mentions_another_token(log: str) -> bool:
    """Return whether a log mentions that the token is another one."""
    return any("token" in line and "ledger" in line for line in log.splitlines())


def test_a_wrong_token_leaves_no_doubt_about_the_good_one(night: Night) -> None:
    """It has delivered nothing, so nothing is said of it, and nothing is to be forgotten."""
    night(*PEOPLE)
    assert night(*PEOPLE, access_token="wrong", unchanged_contacts="send").code == 1
    sent = night.posts
    ended = night(*PEOPLE)
    assert (night.posts, ended.count("unchanged")) == (sent, 3)
    assert not mentions_another_token(ended.log)
    assert "forget" not in ended.log


def test_a_changed_token_is_mentioned_once_it_has_delivered_something(night: Night) -> None:
    """It may be the same account's, so it is mentioned once."""
    night(*PEOPLE)
    other = {"access_token": new_token(night.crm)}
    people = consenting(1, 2, 3, 4)
    said = [mentions_another_token(night(*people, **other).log) for _ in range(3)]
    assert said.count(True) == 1
    assert len(night.crm.contacts()) == 4
