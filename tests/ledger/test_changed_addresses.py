"""Changed addresses: one person stays one contact, or is named with the contact left behind."""

from __future__ import annotations

import json
import signal
import threading
import time
import typing as t

import pytest

from tests.broken_server import RESET
from tests.ledger.outside import (
    OMIT,
    Moment,
    addresses,
    by_address,
    consenting,
    copy_ledger,
    count,
    names,
    night,
    opted_in,
    person,
    run_killed,
    start_target,
)
from tests.loads import rejected
from tests.messages import record, schema, state
from tests.waiting import wait_until

if t.TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.broken_server import Reply, Request
    from tests.ledger.outside import Between, Contact
    from tests.messages import Record, RunTarget


MOBILE = "+4790000001"


def moved(number: int, **more: t.Any) -> str:
    """The record of a person whose address is another one now."""
    return person(number, f"new{number}", **{"email_opt_in": True, **more})


# Fault 16


@pytest.mark.parametrize("unchanged_opt_in", ["send", "omit"])
def test_an_address_that_was_corrected_by_hand_as_well_makes_no_second_contact_that_is_opted_in(
    run_target: RunTarget, crm: RunningSandbox, unchanged_opt_in: str
) -> None:
    """The search for the old address creates a contact, of which nobody has said yes."""
    config = {"unchanged_opt_in": unchanged_opt_in}
    run_target(*night(*consenting(1, 2)), **config)
    crm.edit("p1@example.com", email="new1@example.com")
    ended = run_target(*night(moved(1), *consenting(2)), **config).ok()
    assert count(ended, "moved") == 0
    assert names(ended, 1)
    by_address(crm)  # no two have one address
    assert opted_in(crm) == {"new1", "p2"}


def test_a_restored_ledger_makes_no_second_contact_that_is_opted_in(
    run_target: RunTarget, crm: RunningSandbox, ledger_uri: str, tmp_path: Path
) -> None:
    """It says that a person has the old address still; `unchanged_contacts: send` is the advice."""
    run_target(*night(*consenting(1, 2)))
    copy_ledger(ledger_uri, tmp_path / "backup.db")
    run_target(*night(moved(1), *consenting(2)))
    copy_ledger(tmp_path / "backup.db", ledger_uri)
    ended = run_target(*night(moved(1), *consenting(2)), unchanged_contacts="send").ok()
    assert count(ended, "moved") == 0
    assert opted_in(crm) == {"new1", "p2"}
    by_address(crm)


def test_a_search_that_arrives_late_opts_nobody_in(
    run_target: RunTarget, crm: RunningSandbox, between: Between
) -> None:
    """Its answer was lost, it was repeated, and the first one lands after the rename."""
    run_target(*night(*consenting(1, 2)), api_url=between.url)
    late: list[Request] = []

    def lose_the_first(request: Request) -> Reply | None:
        if request.method == "POST" and not late:
            late.append(request)
            return RESET
        return None

    between.rule = lose_the_first
    run_target(*night(moved(1), *consenting(2)), api_url=between.url).ok()
    between.forward(late[0])
    crm.settle()
    assert opted_in(crm) == {"new1", "p2"}


def test_a_new_address_that_another_contact_has_leaves_no_ghost_that_is_opted_in(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """The contact was deleted by hand, and the API answers 409 to a rename."""
    crm.set_switches(clash="conflict")
    run_target(*night(*consenting(1, 2)))
    run_target(*night(person(3, "new1")), ledger_uri="")
    crm.delete("p1@example.com")
    ended = run_target(*night(moved(1), *consenting(2))).ok()
    assert count(ended, "moved") == 0
    assert names(ended, 1)
    assert opted_in(crm) == {"new1", "p2"}


def test_a_no_reaches_the_contact_that_is_left_behind(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """The search carries it, so that it is said even where nobody can be renamed."""
    crm.set_switches(clash="conflict")
    run_target(*night(*consenting(1, 2)))
    run_target(*night(person(3, "new1")), ledger_uri="")
    ended = run_target(*night(moved(1, email_opt_in=False), *consenting(2))).ok()
    assert names(ended, 1)
    assert opted_in(crm) == {"p2"}
    assert by_address(crm)["p1"]["email_opt_in"] is False


def test_a_search_never_carries_a_yes(
    run_target: RunTarget, crm: RunningSandbox, bodies: Callable[[], list[Contact]]
) -> None:
    """Nor anything else than the old combination and what is withdrawn."""
    run_target(*night(person(1, mobile=MOBILE, email_opt_in=True, mobile_opt_in=True)))
    before = len(bodies())
    later = person(1, "new1", mobile=MOBILE, email_opt_in=True, mobile_opt_in=False)
    run_target(*night(later))
    search = bodies()[before]
    assert search == {
        "email": "p1@example.com",
        "mobileCountryCode": 47,
        "mobileNumber": 90000001,
        "mobileOptIn": False,
    }
    contact = by_address(crm)["new1"]
    assert (contact["email_opt_in"], contact["mobile_opt_in"]) == (True, False)


# Fault 17

THREE = (1, 2, 3)


def move_three(run_target: RunTarget, crm: RunningSandbox, between: Between) -> None:
    """Move three people, and check that each is in once and that nobody counts as moved."""
    ended = run_target(*night(*(moved(n) for n in THREE)), api_url=between.url).ok()
    assert count(ended, "moved") == 0
    assert all(names(ended, n) for n in THREE)
    found = by_address(crm)
    for n in THREE:
        assert found[f"new{n}"]["properties"]["firstname"] == f"First{n}"
    assert opted_in(crm) >= {f"new{n}" for n in THREE}


def is_search(contacts: list[Contact]) -> bool:
    return len(contacts) == 1 and "contactId" not in contacts[0]


@pytest.mark.parametrize("contact_id", [0, -5, 2**63 - 1, 999, "1000001x", None])
def test_a_status_that_names_no_contact_renames_nobody(
    run_target: RunTarget, crm: RunningSandbox, between: Between, contact_id: object
) -> None:
    """An id that is not positive, or that no contact has; the data is in all the same."""

    def falsify(contacts: list[Contact], status: Record) -> Record:
        if is_search(contacts):
            nobody = {"count": 0, "contactIds": []}
            updated = {"count": 1, "contactIds": [contact_id]}
            status["processedObj"] = {"inserted": nobody, "updated": updated, "skipped": nobody}
        return status

    run_target(*night(*consenting(*THREE)), api_url=between.url)
    between.falsify = falsify
    move_three(run_target, crm, between)


def test_an_id_that_is_named_for_three_people_renames_nobody(
    run_target: RunTarget, crm: RunningSandbox, between: Between
) -> None:
    """Two of them would be lost."""
    run_target(*night(*consenting(*THREE)), api_url=between.url)
    first = crm.contacts()[0]["id"]

    def falsify(contacts: list[Contact], status: Record) -> Record:
        if is_search(contacts):
            status["processedObj"]["updated"] = {"count": 1, "contactIds": [first]}
        return status

    between.falsify = falsify
    move_three(run_target, crm, between)


@pytest.mark.parametrize(
    "said",
    [
        {"updated": [], "inserted": [7], "skipped": []},
        {"updated": [7], "inserted": [], "skipped": []},
        {"updated": [], "inserted": [], "skipped": [7]},
        {"updated": [], "inserted": [], "skipped": []},
    ],
)
def test_only_a_status_that_says_so_counts_as_moved(
    run_target: RunTarget, crm: RunningSandbox, between: Between, said: dict[str, list[int]]
) -> None:
    """The status of the rename: `updated`, with this id."""

    def falsify(contacts: list[Contact], status: Record) -> Record:
        if any("contactId" in contact for contact in contacts):
            status["processedObj"] = {
                name: {"count": len(ids), "contactIds": ids} for name, ids in said.items()
            }
        return status

    run_target(*night(*consenting(1, 2)), api_url=between.url)
    between.falsify = falsify
    config = {"api_url": between.url, "confirm_batches": "report", "confirm_timeout_seconds": 2}
    ended = run_target(*night(moved(1), *consenting(2)), **config)
    assert count(ended, "moved") == 0
    assert names(ended, 1)
    assert "new1" in by_address(crm)


def hide(contacts: list[Contact], status: Record) -> Record:
    """Let a status say nothing."""
    del contacts
    nobody = {"count": 0, "contactIds": []}
    return status | {"processedObj": dict.fromkeys(("inserted", "updated", "skipped"), nobody)}


def hide_the_rename(contacts: list[Contact], status: Record) -> Record:
    """Let the status of a rename say nothing."""
    return hide(contacts, status) if any("contactId" in one for one in contacts) else status


def test_who_is_back_after_a_second_contact_was_made_has_the_first_one(
    run_target: RunTarget, crm: RunningSandbox, between: Between
) -> None:
    """Renamed to its old address, the second one would be the same as the first."""
    config = {
        "api_url": between.url,
        "confirm_batches": "require",
        "confirm_timeout_seconds": 2,
    }
    run_target(*night(*consenting(1, 2)), **config)
    between.falsify = hide
    assert run_target(*night(moved(1), *consenting(2)), **config).code == 1
    between.falsify = None
    run_target(*night(*consenting(1, 2)), **config).ok()
    assert addresses(crm) == ["new1", "p1", "p2"]
    assert opted_in(crm) == {"p1", "p2"}


def test_who_is_back_after_a_rename_of_unknown_end_is_in_mainbrainer(
    run_target: RunTarget, crm: RunningSandbox, between: Between
) -> None:
    """The contact has left the old address, though no status has said so: all of it is sent."""
    config = {"api_url": between.url, "confirm_timeout_seconds": 2}
    run_target(*night(*consenting(1, 2)), **config)
    between.falsify = hide_the_rename
    run_target(*night(moved(1), *consenting(2)), **config)
    between.falsify = None
    run_target(*night(*consenting(1, 2)), **config).ok()
    assert by_address(crm)["p1"]["properties"]["firstname"] == "First1"


def test_who_is_back_at_an_address_that_only_the_search_has_is_in_mainbrainer(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """The search for a contact that was deleted by hand has made one without any data."""
    run_target(*night(*consenting(1, 2)))
    crm.delete("p1@example.com")
    run_target(*night(moved(1), *consenting(2)))
    run_target(*night(*consenting(1, 2)))
    assert by_address(crm)["p1"]["properties"]["firstname"] == "First1"


def test_a_rename_of_unknown_end_signs_up_nobody_who_unsubscribed_in_mainbrainer(
    run_target: RunTarget, crm: RunningSandbox, between: Between
) -> None:
    """It may have been applied, and then the plain upsert after it reaches the same contact."""
    config = {"api_url": between.url, "confirm_timeout_seconds": 2, **OMIT}
    run_target(*night(*consenting(1, 2)), **config)
    crm.edit("p1@example.com", email_opt_in=False)
    between.falsify = hide_the_rename
    ended = run_target(*night(moved(1), *consenting(2)), **config)
    assert names(ended, 1)
    assert opted_in(crm) == {"p2"}
    assert by_address(crm)["new1"]["properties"]["firstname"] == "First1"


# Fault 18


def test_a_contact_deleted_between_a_kill_and_its_rename_is_made_anew_with_its_yes(
    run_target: RunTarget, crm: RunningSandbox, between: Between, settings: Record, tmp_path: Path
) -> None:
    """The next run knows the id of a contact that there is not any more."""
    config = {**settings, "api_url": between.url, **OMIT}
    run_target(*night(*consenting(1, 2)), **config)
    lines = night(moved(1), *consenting(2))
    run_killed(config, lines, tmp_path, between, Moment("POST", 2, "before"))
    crm.delete("p1@example.com")
    ended = run_target(*lines, **config).ok()
    assert count(ended, "moved") == 0
    assert opted_in(crm) == {"new1", "p2"}


# Fault 19


def numbers(columns: Record) -> str:
    """A SCHEMA of people whose number is in these columns."""
    return schema({name: {} for name in ("id", "email", *columns)})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"mobile": "+44 7700 900123"}, {"mobile": "900 00 001"}),
        (
            {"mobile_country_code": 44, "mobile_number": 7700900123},
            {"mobile_country_code": None, "mobile_number": 90000001},
        ),
    ],
)
@pytest.mark.parametrize("address", ["p1@example.com", None])
def test_a_new_number_without_a_country_code_is_read_with_the_default_one(
    run_target: RunTarget, crm: RunningSandbox, before: Record, after: Record, address: str | None
) -> None:
    """Never with the code of the number that it takes the place of."""
    for columns in (before, after):
        line = record("people", id=1, email=address, **columns)
        run_target(numbers(columns), line, state(), default_country_code=47).ok()
    assert [contact["mobile"] for contact in crm.contacts()] == ["+47 90000001"]


@pytest.mark.parametrize("address", ["p1@example.com", None])
def test_a_new_number_without_any_country_code_is_not_given_the_old_ones(
    run_target: RunTarget, crm: RunningSandbox, tmp_path: Path, address: str | None
) -> None:
    """Without a default it is a number that cannot be sent."""
    rejects = {"rejects_path": str(tmp_path / "rejects.singer"), "max_rejects_percent": 100}
    for code, number in ((44, 7700900123), (None, 90000001)):
        columns: Record = {"mobile_country_code": code, "mobile_number": number}
        line = record("people", id=1, email=address, **columns)
        run_target(numbers(columns), line, state(), **rejects)
    assert "+44 90000001" not in {contact["mobile"] for contact in crm.contacts()}


# Fault 20


def test_people_who_share_a_number_move_side_by_side(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """Ten of them one after the other would take ten times as long."""
    shared: Record = {"mobile": MOBILE, "email_opt_in": True}
    run_target(*night(*(person(n, **shared) for n in range(10))))
    before = len(crm.requests())
    crm.set_faults("latency=1:batch")
    ended = run_target(*night(*(moved(n, mobile=MOBILE) for n in range(10))))
    assert count(ended, "moved") == 10
    assert addresses(crm) == [f"new{n}" for n in range(10)]
    sent = [request for request in crm.requests()[before:] if request.method == "POST"]
    at_once = max(sum(one.overlaps(other) for other in sent) for one in sent)
    assert at_once >= 3, "one after the other, it would be 1"


# Fault 21


@pytest.mark.timeout(180)
@pytest.mark.parametrize("case", [("batch", 1, 3), ("status", 1, 3), ("batch", 2, 10_000)])
def test_a_signal_ends_a_run_that_waits_in_a_move(
    run_target: RunTarget,
    between: Between,
    settings: Record,
    tmp_path: Path,
    case: tuple[str, int, int],
) -> None:
    """Soon, and at a second signal at once, however long its requests may wait.

    What is in flight has 30 seconds to end, and less here.
    """
    endpoint, signals, grace = case
    config = {**settings, "api_url": between.url, "request_timeout_seconds": 100}
    run_target(*night(*consenting(1, 2)), **config)
    is_waiting, is_over = threading.Event(), threading.Event()

    def stall(request: Request) -> Reply | None:
        if (request.method == "POST") is (endpoint == "batch"):
            is_waiting.set()
            is_over.wait(100)
            return RESET
        return None

    between.rule = stall
    machine = f"from target_mainbrainer.rounds import load; load.GRACE_SECONDS = {grace}"
    process = start_target(config, night(moved(1), *consenting(2)), tmp_path, machine=machine)
    try:
        wait_until(is_waiting.is_set)
        process.send_signal(signal.SIGTERM)
        for _ in range(signals - 1):
            time.sleep(2.2)
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    finally:
        is_over.set()
        process.kill()
        process.communicate()
    assert process.returncode != 0


# Fault 22


@pytest.mark.parametrize("confirm", ["report", "require"])
@pytest.mark.parametrize("failing", ["fail@1:batch", "fail@2:batch"])
def test_a_batch_of_a_move_that_mainbrainer_fails_is_its_failure(
    run_target: RunTarget, crm: RunningSandbox, tmp_path: Path, failing: str, confirm: str
) -> None:
    """Not a rejection of ours; its reason is in the log or in the rejects file."""
    rejects = tmp_path / "rejects.singer"
    config: Record = {
        "confirm_batches": confirm,
        "rejects_path": str(rejects),
        "max_rejects_percent": 100,
    }
    run_target(*night(*consenting(1, 2)), **config)
    crm.set_faults(failing)
    ended = run_target(*night(moved(1), *consenting(2)), **config)
    crm.set_faults()
    assert count(ended, "rejected_before_sending") == 0
    assert count(ended, "moved") == 0
    told = ended.log + (rejects.read_text() if rejects.exists() else "")
    assert "A fault set in the sandbox" in told
    if rejects.exists() and rejected(rejects):
        assert "batch_failed" in json.dumps(ended.report)
    crm_before = len(crm.contacts())
    run_target(*night(moved(1), *consenting(2)), **config)
    assert "new1" in addresses(crm)
    assert len(crm.contacts()) <= crm_before + 1


# Beside the thirty: more of their kind


def test_an_address_that_a_contact_still_has_is_given_to_no_other(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """Two contacts of one address would both be opted in, and a "no" would reach one of them."""
    run_target(*night(*consenting(1, 2, 3)))
    ended = run_target(*night(person(1, "p2", email_opt_in=True)))
    assert names(ended, 1)
    assert opted_in(crm) == {"p2", "p3"}
    ended = run_target(*night(*(person(n, "p1", email_opt_in=True) for n in (1, 3))))
    assert names(ended, 3)
    assert addresses(crm) == ["p1", "p2", "p3"]
    assert opted_in(crm) == {"p1", "p2"}
    run_target(*night(*(person(n, "p1", email_opt_in=False) for n in (1, 3))))
    assert opted_in(crm) == {"p2"}
