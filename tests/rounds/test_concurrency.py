"""How many requests are in flight: as many as it takes, or as many as the user says."""

from __future__ import annotations

import typing as t

import pytest

from tests.loads import people

if t.TYPE_CHECKING:
    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import RunTarget

LATENCY = 2.0
BATCHES = 40


def most_in_flight(crm: RunningSandbox) -> int:
    """Return how many requests the CRM was working on at once, at most."""
    began = [request.started for request in crm.requests()]
    return max(sum(at <= moment < at + LATENCY for at in began) for moment in began)


def test_a_load_whose_answers_are_slow_has_all_that_the_plan_allows_in_flight(
    crm: RunningSandbox, run_target: RunTarget
) -> None:
    """Not even the first answer is waited for: it may take half a window."""
    crm.set_faults(f"latency={LATENCY}")
    own = {"rate_limit_requests": None, "rate_limit_plan": "pro", "batch_size_rows": 10}
    ended = run_target(*people(10 * BATCHES), **own)
    assert ended.code == 0, ended.log
    assert most_in_flight(crm) >= 30, "all 40, but for a slow machine"


@pytest.mark.parametrize("most", [1, 3])
def test_a_number_that_the_user_sets_is_kept_to(
    crm: RunningSandbox, run_target: RunTarget, most: int
) -> None:
    crm.set_faults(f"latency={LATENCY / 4}")
    own = {"rate_limit_requests": None, "batch_size_rows": 10, "max_concurrent_requests": most}
    run_target(*people(60), **own).ok()
    began = sorted(request.started for request in crm.requests())
    assert len(began) == 6
    for earlier, later in zip(began, began[most:], strict=False):
        assert later - earlier >= LATENCY / 4
