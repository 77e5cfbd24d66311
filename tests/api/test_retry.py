"""How long to wait before the next try."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer import errors
from target_mainbrainer.api.http import seconds_asked
from target_mainbrainer.api.limits import pause_before_retry
from tests.api.helpers import NOON, in_http


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
        *((None, None), ("0", 0), ("-5", None), ("9" * 5000, None)),
        (in_http(NOON - dt.timedelta(seconds=9)), 0),
        ("Fri, 01 May 2026 12:00:09 -0000", 9),  # without a zone
    ],
    ids=lambda value: str(value)[:40],
)
def test_retry_after_is_read_leniently(header: str | None, seconds: float | None) -> None:
    assert seconds_asked(header, date=None, now=NOON) == seconds


@pytest.mark.parametrize(
    "header",
    [
        "Fri, 01 May 2026 12:00:00 +9999999999",
        "Fri, 01 May 2026 12:00:00 -99999",
        "Fri, 01 May 9999 23:59:59 -2359",
        "Fri, 01 May 0001 00:00:00 +2359",
        "Fri, 01 May 99999 12:00:00 GMT",
        "Fri, 99 May 2026 99:99:99 GMT",
        "1e400",
        "\u0661\u0662",
    ],
)
def test_an_absurd_time_is_no_time_or_a_long_one(header: str) -> None:
    for retry_after, date in ((header, None), (in_http(NOON), header)):
        seconds = seconds_asked(retry_after, date=date, now=NOON)
        assert seconds is None or 0 <= seconds <= 365 * 86_400


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ [+-]?\d+"))
def test_no_header_breaks_the_reading(header: str) -> None:
    seconds = seconds_asked(header, date=header, now=NOON)
    assert seconds is None or 0 <= seconds <= 365 * 86_400


def test_what_a_server_asks_for_gets_two_seconds_of_jitter_at_most() -> None:
    for kind, asked in ((errors.TransientError, 30.0), (errors.TooManyRequestsError, None)):
        error = kind("busy", retry_after=asked)
        floor = asked or 10.0
        for tries, seconds in ((1, floor + 1), (2, floor + 2), (12, floor + 2)):
            pause = pause_before_retry(error, tries=tries, spent=0, limit=600, jitter=float)
            assert pause == seconds
