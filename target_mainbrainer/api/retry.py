"""When to send a request again: one policy, error -> seconds or stop."""

from __future__ import annotations

import datetime as dt
import re
import typing as t
from email.utils import parsedate_to_datetime

import backoff

from target_mainbrainer.errors import TooManyRequestsError, TransientError

if t.TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_PAUSE_SECONDS = 60.0
TOO_MANY_REQUESTS_SECONDS = 10.0
"""One window of the plan's limit: what a 429 that names no time is worth (API note, section 9)."""

_JITTER_SECONDS = 2.0
"""Most that is added to the time that a server asks for."""

_LONGEST_ASKED_SECONDS = 365 * 86_400.0


def pause_before_retry(
    error: Exception,
    *,
    tries: int,
    spent: float,
    limit: float,
    jitter: Callable[[float], float] = backoff.full_jitter,
) -> float | None:
    """Return how many seconds to wait before the next try, or None to give up.

    Pauses grow with full jitter. What a server asks for is a floor that jitter only adds to, and
    when it asks for more time than is left there is no use in trying earlier.

    >>> lost = TransientError("No response.")
    >>> [pause_before_retry(lost, tries=n, spent=0, limit=600, jitter=float) for n in (1, 2, 9)]
    [1.0, 2.0, 60.0]
    >>> busy = TransientError("Busy.", retry_after=30)
    >>> pause_before_retry(busy, tries=1, spent=0, limit=600, jitter=float)
    31.0
    >>> pause_before_retry(busy, tries=1, spent=580, limit=600) is None
    True

    Args:
        error: What went wrong; only a `TransientError` is worth another try.
        tries: How many there have been, at least 1.
        spent: Seconds that trying and pausing have taken so far.
        limit: Seconds after which to give up.
        jitter: Picks a number between 0 and the one given.
    """
    left = limit - spent
    if not isinstance(error, TransientError) or left <= 0:
        return None
    floor = error.retry_after
    if floor is None:
        floor = TOO_MANY_REQUESTS_SECONDS if isinstance(error, TooManyRequestsError) else 0.0
    if floor > left:
        return None
    spread = min(2.0 ** min(tries - 1, 10), LONGEST_PAUSE_SECONDS)
    if floor:
        spread = min(spread, _JITTER_SECONDS)
    return min(floor + jitter(spread), left)


def seconds_asked(retry_after: str | None, *, date: str | None, now: dt.datetime) -> float | None:
    """Return the seconds that a `Retry-After` header asks for; None if it says nothing usable.

    A date is compared with the server's own `Date`, so that a wrong clock on either side does
    not matter. More than a year is cut to a year.

    >>> noon = dt.datetime(2026, 5, 1, 12, tzinfo=dt.timezone.utc)
    >>> seconds_asked("Fri, 01 May 2026 12:00:30 GMT", date=None, now=noon)
    30.0
    >>> seconds_asked("1.5", date=None, now=noon), seconds_asked("soon", date=None, now=noon)
    (1.5, None)
    """
    if retry_after is None:
        return None
    if re.fullmatch(r"\s*[0-9]{1,9}(\.[0-9]{1,9})?\s*", retry_after, re.ASCII):
        seconds = float(retry_after)
    else:
        moment = _moment(retry_after)
        if moment is None:
            return None
        seconds = (moment - (_moment(date) or now)).total_seconds()
    return min(max(0.0, seconds), _LONGEST_ASKED_SECONDS)


def _moment(date: str | None) -> dt.datetime | None:
    """Return a date of a header in UTC, None if it is absent, unreadable or out of all bounds."""
    try:
        moment = parsedate_to_datetime(date or "")
        return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
