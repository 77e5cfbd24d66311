"""How many requests are in flight: as many as it takes, or as many as the user says."""

from __future__ import annotations

import typing as t

import pytest

from tests.loads import people

if t.TYPE_CHECKING:
    from tests.loads import Load

LATENCY = 2.0


def test_a_load_whose_answers_are_slow_has_all_that_the_plan_allows_in_flight(load: Load) -> None:
    """Not even the first answer is waited for: it may take half a window."""
    load.settings |= {"rate_limit_requests": None, "rate_limit_plan": "pro"}
    load(*people(400), faults=f"latency={LATENCY}", batch_size_rows=10).ok()
    began = [request.started for request in load.crm.requests()]
    most = max(sum(at <= moment < at + LATENCY for at in began) for moment in began)
    assert most >= 30, "all 40, but for a slow machine"


@pytest.mark.parametrize("most", [1, 3])
def test_a_number_that_the_user_sets_is_kept_to(load: Load, most: int) -> None:
    load.settings |= {"rate_limit_requests": None, "max_concurrent_requests": most}
    load(*people(60), faults=f"latency={LATENCY / 4}", batch_size_rows=10).ok()
    began = sorted(request.started for request in load.crm.requests())
    assert len(began) == 6
    for earlier, later in zip(began, began[most:], strict=False):
        assert later - earlier >= LATENCY / 4
