"""A 202 only queues: what becomes of batches is asked for, and never assumed."""

from __future__ import annotations

import typing as t

import pytest

from tests.loads import people

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import RunTarget

LIST = "3fa85f64-5717-4562-b3fc-2c963f66afa6"


@pytest.mark.parametrize(
    ("options", "code", "bookmark", "words"),
    [
        pytest.param({}, 0, 300, "", id="at once"),
        pytest.param({"faults": ["late=0.5:batch"]}, 0, 300, "", id="late"),
        pytest.param({"faults": ["late=0.3"]}, 0, 300, "", id="all late"),
        pytest.param({"faults": ["odd"]}, 0, 300, "", id="unknown words"),
        pytest.param({"faults": ["503@p0.5:status"]}, 0, 300, "", id="status hard to get"),
        pytest.param({"faults": ["stuck@3:batch"]}, 1, 200, "not confirmed", id="never"),
        pytest.param({"faults": ["fail@2:batch"]}, 1, 100, "failed", id="a failure"),
        pytest.param({"faults": ["skip=2@2:batch"]}, 1, 100, "skipped contacts", id="skips"),
        pytest.param({"faults": ["noid@2:batch"]}, 1, 100, "without a batch id", id="no id"),
        pytest.param({"faults": ["404:status"]}, 1, 0, "not confirmed", id="no status"),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_required_confirmation_holds_state(  # noqa: PLR0917 - a table of cases
    run_target: RunTarget,
    start_crm: Callable[..., RunningSandbox],
    options: dict[str, t.Any],
    code: int,
    bookmark: int,
    words: str,
) -> None:
    crm = start_crm(plan="unlimited", **options)
    ended = run_target(
        *people(300),
        api_url=crm.url,
        access_token=crm.token,
        confirm_batches="require",
        confirm_timeout_seconds=2,
        max_concurrent_requests=1,  # so that batches come in order
    )
    assert ended.code == code, ended.errors
    assert (ended.states[-1]["bookmark"] if ended.states else 0) == bookmark
    if code:
        assert words in ended.error


@pytest.mark.parametrize(
    ("faults", "counts"),
    [
        pytest.param(["stuck@3:batch"], {"inserted": 200, "unconfirmed": 100}, id="never"),
        pytest.param(["fail@2:batch"], {"inserted": 200, "failed": 100}, id="a failure"),
        pytest.param(["skip=2@2:batch"], {"inserted": 298, "skipped": 2}, id="skips"),
        pytest.param(["noid@2:batch"], {"inserted": 200, "untracked": 100}, id="no id"),
        pytest.param(["404:status"], {"unreadable": 300}, id="no status"),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_reported_confirmation_counts_and_fails_nothing(
    run_target: RunTarget,
    start_crm: Callable[..., RunningSandbox],
    faults: list[str],
    counts: dict[str, int],
) -> None:
    crm = start_crm(plan="unlimited", faults=faults)
    ended = run_target(
        *people(300),
        api_url=crm.url,
        access_token=crm.token,
        confirm_batches="report",
        confirm_timeout_seconds=2,
    )
    assert ended.code == 0, ended.errors
    assert ended.states[-1] == {"bookmark": 300}
    found = ended.report["streams"]["people"]
    assert {name: found[name] for name in counts} == counts


@pytest.mark.usefixtures("impatient")
def test_contacts_sent_one_by_one_are_taken_but_untracked(run_target: RunTarget) -> None:
    """There is no batch whose status could be asked for."""
    ended = run_target(*people(50), write_mode="single", confirm_batches="require")
    assert ended.code == 0, ended.errors
    assert ended.states[-1] == {"bookmark": 50}
    assert ended.report["streams"]["people"]["untracked"] == 50
