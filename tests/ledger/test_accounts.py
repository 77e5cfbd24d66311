"""A ledger keeps every account by itself: other addresses and users have memories of their own."""

import re

import requests

from mainbrainer_sandbox.running import RunningSandbox
from tests.histories import histories, play
from tests.ledger.outside import Night

PEOPLE = "1-3 p# yes"


@histories("""
a run elsewhere leaves an account's memory alone: no contact is new, no yes is raised once more *
  set omit impatient; 1-3 p# yes; unsubscribe p1; at [user|rehearsal.db|slash]; again; at home;
  again ? 0 batches, 3 unchanged
also one that fails *
  set omit impatient; 1-3 p# yes; unsubscribe p1; at [nowhere|misspelt|path]; again ? fails;
  at home; again ? 0 batches, 3 unchanged
every rehearsal finds its own memory, and gets every yes, too
  set omit; 1-3 p# yes; at first.db; again ? 3 created, 3 opt_ins_given; at second.db;
  again ? 3 created; at first.db; set dry_run=true; again ? 3 unchanged; set dry_run=false;
  again ? 3 unchanged; at home; again ? 3 unchanged, 0 batches
as long as its file is not recreated
  at first.db; 1-3 p# yes; unlink first.db; again ? 3 created
an address is one however it is spelt
  at localhost; 1-3 p# yes; at LocalHost; again ? 3 unchanged
a wrong token leaves no doubt about the good one: it has delivered nothing
  1-3 p# yes; at wrong; set everything; again ? fails; at home; set unchanged_contacts=skip;
  again ? 0 batches, 3 unchanged, hides forget, hides token
""")
def test_a_run_elsewhere_leaves_an_accounts_memory_alone(night: Night, story: str) -> None:
    """Each account is found again."""
    play(night, story)


def new_token(crm: RunningSandbox) -> str:
    known = crm.credentials
    body = {"userName": known.username, "password": known.password, "validity": "Default"}
    body["privateToken"] = known.private_token
    return str(requests.post(f"{crm.url}/token", json=body, timeout=20).json()["access_token"])


def test_a_changed_token_is_mentioned_once_it_has_delivered_something(night: Night) -> None:
    """It may be the same account's, so it is mentioned once."""
    logs = [night(PEOPLE).log]
    other = {"access_token": new_token(night.crm)}
    logs += [night("1-4 p# yes", **other).log for _ in range(3)]
    assert sum(bool(re.search("token.*ledger|ledger.*token", log)) for log in logs) == 1
    assert len(night.crm.contacts()) == 4
