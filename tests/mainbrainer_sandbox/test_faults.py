"""Trouble on demand, and what happens after a 202."""

import time
from email.utils import parsedate_to_datetime

import pytest
import requests

from mainbrainer_sandbox.faults import FaultError, Faults, parse
from tests.cases import cases
from tests.mainbrainer_sandbox.crm import SINGLE, A, B, Crm


@cases(
    "wrong",
    *["", "nonsense", "999", "199", "latency", "late", "reset=3", "503@", "503@p2", "503@x"],
    *["503@every3", "latency=2-1", "latency=1.2.3", "503:nowhere", "503@1:"],
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
    crm.sandbox.set_faults("503@1", "500@2", "429@3")
    answers = [crm.batch(A) for _ in range(3)]
    assert [one.status_code for one in answers] == [503, 500, 429]
    assert [one.headers.get("Retry-After") for one in answers] == [None, None, "1"]
    assert crm.contacts() == []
    assert crm.batch(A).status_code == 202


@cases("form", "seconds", "date", "none")
def test_a_planned_429_has_the_retry_after_of_choice(crm: Crm, form: str) -> None:
    crm.sandbox.set_switches(retry_after=form)
    crm.sandbox.set_faults("429=30", "503=30")
    header = crm.batch(A).headers.get("Retry-After")
    if form == "date":
        assert 25 < parsedate_to_datetime(str(header)).timestamp() - time.time() < 35
    else:
        assert header == ("30" if form == "seconds" else None)


def test_a_hanging_answer_hangs(crm: Crm) -> None:
    crm.sandbox.set_faults("hang=20@1", "hang=0.2@2")
    with pytest.raises(requests.ReadTimeout):
        crm.ask("POST", SINGLE, json=A, timeout=0.2)
    with pytest.raises(requests.ConnectionError):
        crm.single(**A)
    assert crm.contacts() == []


def test_latency_is_added(crm: Crm) -> None:
    crm.sandbox.set_faults("latency=0.2@1", "latency=0.1-0.3@2")
    assert [crm.single(**A).status_code for _ in range(2)] == [202, 202]
    first, second = (one.ended - one.started for one in crm.sandbox.requests())
    assert first >= 0.2
    assert 0.1 <= second < 0.6


def test_answers_that_are_not_the_apis(crm: Crm) -> None:
    crm.sandbox.set_faults("html@1", "cut@2", "noid@3")
    assert "<h1>" in crm.batch(A).text
    with pytest.raises(requests.JSONDecodeError):
        crm.batch(A).json()
    assert crm.batch(A).json()["data"]["BatchId"] is None
    assert len(crm.sandbox.batches()) == 3


def test_a_batch_can_fail(crm: Crm) -> None:
    crm.sandbox.set_faults("fail@1:batch")
    status = crm.status(crm.batch(A))
    assert (status["status"], status["statusText"]) == (3, "Failed")
    assert status["statusFailedReason"]
    assert crm.contacts() == []
    assert crm.status(crm.batch(A))["statusText"] == "Completed"


def test_a_batch_can_be_skipped_in_part(crm: Crm) -> None:
    crm.sandbox.set_faults("skip=2@1")
    done = crm.status(crm.batch({"contactId": 5}, A, B))["processedObj"]
    assert done["skipped"] == {"count": 2, "contactIds": [5]}
    assert crm.emails == ["b@example.com"]


def test_a_status_can_be_odd(crm: Crm) -> None:
    """What the numbers and words are is unknown (section 6)."""
    crm.sandbox.set_faults("odd")
    status = crm.status(crm.batch(A))
    assert (status["status"], status["statusText"]) == (17, "Ferdig")
    assert status["processedObj"]["inserted"]["count"] == 1


@cases("path", "reset", "faults", "switches")
def test_nothing_that_is_sent_to_it_changes_the_sandbox_itself(crm: Crm, path: str) -> None:
    """So neither a web page in a browser nor a webhook can; and no webhook is called."""
    crm.batch(A, webHookUrl=f"{crm.sandbox.url}/_sandbox/{path}")
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = crm.ask(method, f"/_sandbox/{path}", json={"faults": ["503"]}, headers=crm.headers)
        assert answer.status_code == 404
    assert crm.emails == ["a@example.com"]
    assert {one.path for one in crm.sandbox.requests()} == {"/contacts/batch"}
