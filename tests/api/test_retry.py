"""How long to wait before the next try."""

from __future__ import annotations

import datetime as dt

import pytest

from target_mainbrainer import errors
from target_mainbrainer.api.retry import pause_before_retry, seconds_asked
from tests.api.helpers import (
    NOON,
    in_http,
)


def test_the_policy_jitters_up_to_its_limit() -> None:
    lost = errors.TransientError("lost")
    pauses = [pause_before_retry(lost, tries=n, spent=0, limit=600) or 0.0 for n in range(1, 40)]
    assert all(0 <= pause <= 60 for pause in pauses)
    assert len(set(pauses)) > 30
    assert pause_before_retry(lost, tries=9, spent=599, limit=600, jitter=float) == 1
    assert pause_before_retry(lost, tries=9, spent=600, limit=600) is None
    assert pause_before_retry(errors.AuthError("no"), tries=1, spent=0, limit=600) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param(None, None, id="absent"),
        pytest.param("0", 0, id="now"),
        pytest.param("-5", None, id="negative"),
        pytest.param(in_http(NOON - dt.timedelta(seconds=9)), 0, id="past"),
        pytest.param("Fri, 01 May 2026 12:00:09 -0000", 9, id="a date without a zone"),
        pytest.param("9" * 5000, None, id="absurd"),
    ],
)
def test_retry_after_is_read_leniently(header: str | None, seconds: float | None) -> None:
    assert seconds_asked(header, date=None, now=NOON) == seconds
