"""Trouble on demand, the documented limits, tokens, and what happens after a 202."""

import datetime as dt
import logging
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime

import pytest
import requests

from mainbrainer_sandbox.engine import Limiter
from mainbrainer_sandbox.faults import FaultError, Faults, parse
from mainbrainer_sandbox.store import Store
from mainbrainer_sandbox.switches import Switches
from tests.loads import cases, wait_until
from tests.mainbrainer_sandbox.crm import SINGLE, A, B, Clock, Crm, Record, a, prop


@cases(
    "wrong",
    *["", "nonsense", "999", "199", "latency", "late", "reset=3", "503@", "503@p2", "503@x"],
    *["503@every3", "latency=1.2.3", "503:nowhere", "503@1:"],
)
def test_a_fault_that_is_misspelt_is_an_error(wrong: str) -> None:
    with pytest.raises(FaultError):
        parse(wrong)


@cases(
    "text met",
    *(("503", [1, 2, 3, 4, 5, 6]), ("503@2", [2]), ("503@2,4-5", [2, 4, 5])),
    *(("503@p0", []), ("503@p1", [1, 2, 3, 4, 5, 6]), ("503@2:batch", [3])),
)
def test_faults_meet_the_requests_they_name(text: str, met: list[int]) -> None:
    """Those of an endpoint count its requests alone."""
    faults = Faults([text])
    calls = ["batch", "token", "batch", "status", "batch", "batch"]
    assert [n for n, call in enumerate(calls, start=1) if faults.triggered(call)] == met


def test_the_same_seed_gives_the_same_faults() -> None:
    one, same, other = (Faults(["503@p0.3"], seed) for seed in (1, 1, 2))
    met = [[bool(faults.triggered("batch")) for _ in range(300)] for faults in (one, same, other)]
    assert met[0] == met[1] != met[2]
    assert 60 < sum(met[0]) < 120


def test_a_status_is_answered_and_nothing_processed(crm: Crm) -> None:
    crm.sandbox.set_faults("503@1", "500@2", "429@3", "429=30@4")
    answers = [crm.batch(A) for _ in range(4)]
    assert [one.status_code for one in answers] == [503, 500, 429, 429]
    assert [one.headers.get("Retry-After") for one in answers] == [None, None, "1", "30"]
    assert crm.contacts() == []
    assert crm.batch(A).status_code == 202


SKIPPED: Record = {"inserted": {"count": 1, "contactIds": [1000001]}}
SKIPPED |= {"updated": {"count": 0, "contactIds": []}, "skipped": {"count": 2, "contactIds": [5]}}


@cases(
    "fault status emails",
    ("fail:batch", {"status": 3, "statusText": "Failed"}, []),
    ("skip=2", {"statusText": "Completed", "processedObj": SKIPPED}, ["b@example.com"]),
    # What the numbers and words are is unknown (section 6).
    ("odd", {"status": 17, "statusText": "Ferdig"}, [None, "a@example.com", "b@example.com"]),
)
def test_what_becomes_of_a_batch(crm: Crm, fault: str, status: Record, emails: list[str]) -> None:
    crm.sandbox.set_faults(fault)
    said = crm.status(crm.batch({"contactId": 5}, A, B))
    assert said | status == said
    assert bool(said["statusFailedReason"]) is (status.get("status") == 3)
    assert crm.emails == emails


@cases("path", "reset", "faults", "switches")
def test_nothing_that_is_sent_to_it_changes_the_sandbox_itself(crm: Crm, path: str) -> None:
    """So neither a web page in a browser nor a webhook can; and no webhook is called."""
    crm.batch(A, webHookUrl=f"{crm.sandbox.url}/_sandbox/{path}")
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = crm.ask(method, f"/_sandbox/{path}", json={"faults": ["503"]}, headers=crm.headers)
        assert answer.status_code == 404
    assert crm.emails == ["a@example.com"]
    assert {one.path for one in crm.sandbox.requests()} == {"/contacts/batch"}


# The documented limits, with a clock that is told the time


@cases(
    "plan burst daily",
    *(("freemium", 100, 250_000), ("starter", 150, 500_000), ("pro", 200, 1_000_000)),
)
def test_plans_have_the_documented_limits(clock: Clock, plan: str, burst: int, daily: int) -> None:
    """Section 9."""
    assert Switches().changed(plan=plan).limits() == (burst, daily)
    limiter = Limiter(clock)
    assert [limiter.take("t", burst, daily) for _ in range(burst)] == [None] * burst
    assert limiter.take("t", burst, daily)
    assert limiter.take("other", burst, daily) is None, "each token has limits of its own"


@cases(
    "burst daily waits refused",
    pytest.param(3, None, [0, 4, 5, 1, 0], [*[None] * 4, ("burst", 9.0)], id="any ten seconds"),
    # It is stricter so; which it is, is unknown.
    pytest.param(1, None, [0, 5], [None, ("burst", 10.0)], id="refused calls count"),
    pytest.param(9, 1, [0, 0, 30], [None, ("daily", 30.0), None], id="the day ends at midnight"),
)
def test_limits_go_by_the_clock(
    clock: Clock, burst: int, daily: int | None, waits: list[int], refused: list[object]
) -> None:
    limiter, found = Limiter(clock), []
    clock.time = dt.datetime(2026, 6, 1, 23, 59, 30, tzinfo=dt.UTC).timestamp()
    for wait in waits:
        clock.time += wait
        found.append(limiter.take("t", burst, daily))
    assert found == refused


def test_a_daily_limit_of_choice_is_answered_429(crm: Crm) -> None:
    crm.sandbox.set_switches(daily=1)
    assert crm.single(**A).status_code == 202
    refused = crm.single(**B)
    assert refused.status_code == 429
    assert "daily" in refused.json()["message"]


@cases("form", "seconds", "date", "none")
def test_a_429_names_the_time_to_come_back(crm: Crm, clock: Clock, form: str) -> None:
    crm = crm.another(plan="freemium", burst=2, retry_after=form, now=clock)
    answers = [crm.single(email=f"{number}@example.com") for number in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    header = answers[2].headers.get("Retry-After", "")
    assert bool(header) is (form != "none")
    later = clock.time + int(header or 10) if form != "date" else None
    clock.time = later or parsedate_to_datetime(header).timestamp()
    assert crm.single(**A).status_code == 202
    assert len(crm.contacts()) == 3


def test_status_polls_count_and_the_page_does_not(crm: Crm, clock: Clock) -> None:
    crm = crm.another(burst=2, now=clock)
    accepted = crm.batch(A)
    assert crm.get("/").status_code == 200
    assert crm.status(accepted)["statusText"] == "Completed"
    assert crm.single(**B).status_code == 429


# Tokens, and what happens to a batch after its 202


def test_tokens_expire(crm: Crm, clock: Clock) -> None:
    """The file holds none of them."""
    crm = crm.another(now=clock)
    for validity, minutes in (("ShortLive", 10), ("LongLive", 43_200), (None, 120)):
        assert crm.token(validity=validity).json()["expires_in"] == minutes
    bearer = f"Bearer {crm.token().json()['access_token']}"
    clock.time += 7199
    assert crm.post(SINGLE, A, Authorization=bearer).ok
    clock.time += 1
    assert crm.post(SINGLE, A, Authorization=bearer).status_code == 401
    crm.sandbox.set_switches(token_lifetime_seconds=60)
    assert crm.token().json()["expires_in"] == 1
    crm.sandbox.close()
    for token in (bearer.removeprefix("Bearer "), crm.sandbox.token):
        assert token.encode() not in crm.sandbox.path.read_bytes()


def test_a_late_batch_holds_up_those_behind_it(crm: Crm) -> None:
    """Batches are processed in the order accepted, or a later one would be undone."""
    crm.sandbox.set_faults("late=1@1")
    late = crm.batch(a(prop("n", "1")))
    crm.batch(a(prop("n", "2")))
    assert crm.sandbox.contacts(settle=False) == []
    assert crm.status(late)["statusText"] == "Completed"
    assert crm.contact["properties"] == {"n": "2"}


def test_a_stuck_batch_is_passed_by_and_stays(crm: Crm) -> None:
    crm.sandbox.set_faults("stuck@1")
    stuck = crm.batch(A)
    crm.batch(B)
    assert crm.emails == ["b@example.com"]
    assert crm.status(stuck)["statusText"] == "Queued"
    assert crm.again().emails == ["b@example.com"]


def test_a_batch_it_cannot_process_fails_alone(crm: Crm) -> None:
    with crm.patch.context() as patch:
        patch.setattr(Store, "process", lambda: "takes no arguments")
        assert crm.single(**A).json()["data"]["contactId"] is None
        assert crm.status(crm.batch(A))["statusText"] == "Failed"
    assert "failed to process batch 1" in crm.log.text
    assert crm.single(**A).json()["data"]["contactId"] == "1000001"


# Starting, closing and what is kept


def test_everything_accepted_is_in_the_file_after_closing_and_ids_go_on(crm: Crm) -> None:
    crm.sandbox.set_faults("late=60")
    people = [f"person{n}@example.com" for n in range(40)]
    assert [crm.batch({"email": one}).status_code for one in people] == [202] * 40
    numbers = [one.number for one in crm.sandbox.requests()]
    crm.sandbox.close()
    assert [one.name for one in crm.sandbox.path.parent.iterdir()] == ["x.db"]
    crm = crm.again()
    assert crm.emails == people
    for email, number in ((people[0], "1000001"), ("new@example.com", "1000041")):
        assert crm.single(email=email).json()["data"]["contactId"] == number
    assert [one.number for one in crm.sandbox.requests()] == [*numbers, 41, 42]


def test_nothing_is_said_of_contacts(crm: Crm) -> None:
    crm.log.set_level(logging.DEBUG)
    crm.sandbox.set_faults("lost@2", "cut@3")
    crm.batch({"email": "secret@example.com"})
    with pytest.raises(requests.ConnectionError):
        crm.batch({"email": "secret@example.com"})
    crm.batch({"email": "secret@example"})
    crm.get("/secret@example.com")
    crm.sandbox.close()
    mine = [one for one in crm.log.records if not one.name.startswith(("urllib3", "asyncio"))]
    assert not any("secret" in one.getMessage() for one in mine)
    assert "secret" not in "".join(crm.printed.readouterr())


def test_a_fault_of_its_own_is_answered_500_and_logged(crm: Crm) -> None:
    crm.patch.setattr(Store, "accept", lambda: "takes no arguments")
    response = crm.single(**A)
    assert (response.status_code, response.json()["status"]) == (500, "Failed")
    assert "failed on request 1" in crm.log.text


def test_generated_ids_skip_those_that_contacts_brought(crm: Crm) -> None:
    crm.batch({"contactId": 1000001}, {"contactId": 1000003})
    crm.batch(A, B, {"email": "c@example.com"})
    ids = [one["id"] for one in crm.contacts() if one["email"]]
    assert ids == [1000002, 1000004, 1000005]


# How connections are reset, and how the server ends


@cases("fault applied", ("reset", []), ("lost", ["a@example.com"]))
def test_a_connection_is_reset_before_or_after(crm: Crm, fault: str, applied: list[str]) -> None:
    """A true reset, not the polite end of a connection."""
    crm.sandbox.set_faults(fault)
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        crm.single(**A)
    assert crm.emails == applied
    assert [(one.status, one.fault) for one in crm.sandbox.requests()] == [(0, fault)]


def is_a_request_under_way(crm: Crm) -> bool:
    """Return whether a request is under way: it has a number and is not on record yet."""
    crm.get("/contacts/x/Status")
    numbers = [one.number for one in crm.sandbox.requests()]
    return numbers[-1] > len(numbers)


def test_closing_does_not_wait_for_what_hangs(crm: Crm) -> None:
    crm.sandbox.set_faults("hang:insertupdate")
    with ThreadPoolExecutor(1) as pool:
        posted = pool.submit(crm.single, **A)
        wait_until(lambda: is_a_request_under_way(crm), "the first request did not come")
        crm.sandbox.close()
        assert isinstance(posted.exception(), requests.ConnectionError)
