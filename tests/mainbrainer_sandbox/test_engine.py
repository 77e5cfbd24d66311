"""Tokens, and what happens to a batch after its 202."""

import pytest

from mainbrainer_sandbox.store import Store
from tests.mainbrainer_sandbox.crm import SINGLE, A, B, Clock, Crm, a, prop


def test_tokens_expire(crm: Crm, clock: Clock) -> None:
    crm = crm.another(now=clock)
    for validity, minutes in (("ShortLive", 10), ("LongLive", 43_200), (None, 120)):
        assert crm.token(validity=validity).json()["expires_in"] == minutes
    bearer = f"Bearer {crm.token().json()['access_token']}"
    clock.time += 7199
    assert crm.post(SINGLE, A, Authorization=bearer).ok
    clock.time += 1
    assert crm.post(SINGLE, A, Authorization=bearer).status_code == 401


def test_tokens_live_as_long_as_told_and_end_with_a_reset(crm: Crm) -> None:
    crm.sandbox.set_switches(token_lifetime_seconds=60)
    answer = crm.token().json()
    assert answer["expires_in"] == 1
    bearer = f"Bearer {answer['access_token']}"
    assert crm.post(SINGLE, A, Authorization=bearer).ok
    crm.sandbox.reset()
    assert crm.post(SINGLE, A, Authorization=bearer).status_code == 401
    assert crm.single(**A).ok, "the run's own token stays"
    crm.sandbox.close()
    for token in (answer["access_token"], crm.sandbox.token):
        assert token.encode() not in crm.sandbox.path.read_bytes()


def test_a_late_batch_holds_up_those_behind_it(crm: Crm) -> None:
    """Batches are processed in the order accepted, or a later one would be undone."""
    crm.sandbox.set_faults("late=0.3@1")
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


def test_a_batch_it_cannot_process_fails_alone(
    crm: Crm, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Store, "process", lambda: "takes no arguments")
        assert crm.single(**A).json()["data"]["contactId"] is None
        assert crm.status(crm.batch(A))["statusText"] == "Failed"
    assert "failed to process batch 1" in caplog.text
    assert crm.single(**A).json()["data"]["contactId"] == "1000001"
