"""Tokens, and what happens to a batch after its 202."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainbrainer_sandbox.store import Store
from tests.mainbrainer_sandbox.people import A, B, prop

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from tests.mainbrainer_sandbox.conftest import Client, Clock


def test_tokens_expire(make: Callable[..., Client], clock: Clock) -> None:
    crm = make(now=clock)
    for validity, minutes in (("ShortLive", 10), ("LongLive", 43_200), (None, 120)):
        assert crm.token(validity=validity).json()["expires_in"] == minutes
    bearer = {"Authorization": f"Bearer {crm.token().json()['access_token']}"}
    clock.time += 7199
    assert crm.post("/contacts/insertupdate", A, headers=bearer).ok
    clock.time += 1
    assert crm.post("/contacts/insertupdate", A, headers=bearer).status_code == 401


def test_tokens_live_as_long_as_told_and_end_with_a_reset(crm: Client) -> None:
    crm.sandbox.set_switches(token_lifetime_seconds=60)
    answer = crm.token().json()
    assert answer["expires_in"] == 1
    bearer = {"Authorization": f"Bearer {answer['access_token']}"}
    assert crm.post("/contacts/insertupdate", A, headers=bearer).ok
    crm.sandbox.reset()
    assert crm.post("/contacts/insertupdate", A, headers=bearer).status_code == 401
    assert crm.single(**A).ok, "the run's own token stays"
    crm.sandbox.close()
    for token in (answer["access_token"], crm.sandbox.token):
        assert token.encode() not in crm.sandbox.path.read_bytes()


def test_a_late_batch_holds_up_those_behind_it(crm: Client) -> None:
    """Batches are processed in the order accepted, or a later one would be undone."""
    crm.sandbox.set_faults("late=0.3@1")
    late = crm.batch({**A, "propertyFields": prop("n", "1")})
    crm.batch({**A, "propertyFields": prop("n", "2")})
    assert crm.sandbox.contacts(settle=False) == []
    assert crm.status(late)["statusText"] == "Completed"
    assert crm.contacts()[0]["properties"] == {"n": "2"}


def test_a_stuck_batch_is_passed_by_and_stays(make: Callable[..., Client]) -> None:
    crm = make(faults=["stuck@1"])
    stuck = crm.batch(A)
    crm.batch(B)
    assert [one["email"] for one in crm.contacts()] == ["b@example.com"]
    assert crm.status(stuck)["statusText"] == "Queued"
    crm.sandbox.close()
    again = make()
    assert [one["email"] for one in again.contacts()] == ["b@example.com"]


def test_a_batch_it_cannot_process_fails_alone(
    crm: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        message = "broken"
        raise RuntimeError(message)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "process", broken)
        assert crm.single(**A).json()["data"]["contactId"] is None
        status = crm.status(crm.batch(A))
    assert status["statusText"] == "Failed"
    assert "failed to process batch 1" in caplog.text
    assert crm.single(email="a@example.com").json()["data"]["contactId"] == "1000001"
