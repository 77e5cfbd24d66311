"""One request after the other, until there is a response that says something.

Permits, pauses and the token are dealt with in here and nowhere else.
"""

from __future__ import annotations

import logging
import threading
import typing as t
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus

from singer_sdk import metrics

from target_mainbrainer.api.auth import FRESH_SECONDS
from target_mainbrainer.api.retry import TOO_MANY_REQUESTS_SECONDS, pause_before_retry
from target_mainbrainer.errors import (
    AuthError,
    InterruptedRunError,
    TooManyRequestsError,
    TransientError,
    UnreachableError,
)

if t.TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from target_mainbrainer.api.auth import Bearer, TokenSource
    from target_mainbrainer.api.exchange import Endpoint, Response
    from target_mainbrainer.api.http import Transport
    from target_mainbrainer.api.rate_limit import Event, Permit, RateLimiter

_T = t.TypeVar("_T")

_MOST_RENEWALS = 5
_TOLD_AGAIN_SECONDS = 10.0
"""An outage hits every thread; one line in so many seconds tells it for all of them."""

logger = logging.getLogger(__name__)


@dataclass
class ClientStats:
    """What has been asked so far.

    Attributes:
        requests: All that left, those for tokens and statuses too.
        retries: Tries that repeated what had failed, also those that found no connection.
        paused_seconds: Pauses before retries, of all threads together.
        by_endpoint: Requests of each kind, such as `POST /contacts/batch`.
    """

    requests: int = 0
    retries: int = 0
    paused_seconds: float = 0.0
    by_endpoint: Counter[str] = field(default_factory=Counter)


class NoPermitError(Exception):
    """Sending leaves nothing of the budget for a request that does not wait."""


class Requester:
    """Sends requests for all threads, each until there is a response that says something.

    Args:
        transport: Sends one request.
        rate_limiter: Gives a permit for every single request.
        tokens: Holds the token.
        stop: Ends every pause at once, with an `InterruptedRunError`.
        retry_max_seconds: How long to go on trying.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        rate_limiter: RateLimiter,
        tokens: TokenSource,
        stop: Event,
        retry_max_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self.stats = ClientStats()
        self._transport = transport
        self._rate_limiter = rate_limiter
        self._tokens = tokens
        self._stop = stop
        self._limit = retry_max_seconds
        self._retries_unreachable = True
        self._clock = clock
        self._lock = threading.Lock()
        self._meters: dict[str, metrics.Counter] = {}
        self._told = -_TOLD_AGAIN_SECONDS

    def hurry(self, seconds: float) -> None:
        """Give up after `seconds` from now on, and at once on a server that cannot be reached."""
        self._limit = min(self._limit, seconds)
        self._retries_unreachable = False

    def close(self) -> None:
        """Write the last numbers to the log."""
        with self._lock:
            for meter in self._meters.values():
                meter.exit()
            self._meters.clear()

    def request(
        self,
        endpoint: Endpoint,
        body: bytes | None,
        read: Callable[[Response], _T],
        *,
        is_once: bool = False,
        needs_token: bool = True,
        is_urgent: bool = True,
    ) -> _T:
        """Send a request until `read` can make something of the response.

        Time counts while sending and pausing; waiting for a permit is no failure.

        Args:
            endpoint: What is asked.
            body: What is sent.
            read: Makes something of a response, or raises.
            is_once: Do not try again.
            needs_token: Send the token along.
            is_urgent: Wait for a permit.

        Raises:
            NoPermitError: There is none, and it is not urgent.
            TargetMainBrainerError: As `read` raises it, or there was no response in time.
        """
        limit = 0.0 if is_once else self._limit
        tries, renewals, spent, lost = 0, 0, 0.0, False
        while True:
            tries += 1
            if tries > 1:
                with self._lock:
                    self.stats.retries += 1
            attempt = _Attempt(
                self._rate_limiter,
                self._tokens if needs_token else None,
                endpoint,
                is_urgent=is_urgent,
                clock=self._clock,
                count=partial(self._count, endpoint),
            )
            try:
                try:
                    response = self._transport.send(endpoint, body, attempt.authorize)
                    attempt.status = response.status
                finally:
                    spent += attempt.end()
                if response.status != HTTPStatus.UNAUTHORIZED or attempt.bearer is None:
                    return read(replace(response, may_come_twice=True) if lost else response)
            except TransientError as error:
                if attempt.is_without_token:
                    raise
                lost = lost or not isinstance(error, TooManyRequestsError | UnreachableError)
                spent += self._pause_or_raise(endpoint, error, tries, spent, limit)
                continue
            self._renew_or_raise(endpoint, attempt, renewals)
            renewals += 1

    def _renew_or_raise(self, endpoint: Endpoint, attempt: _Attempt, renewals: int) -> None:
        """Renew a token that was refused, unless that has been tried.

        A new token that is refused at once will never do. One that waited for a permit may simply
        have ended meanwhile.
        """
        bearer = attempt.bearer
        if bearer is None or not self._tokens.is_renewable:
            message = (
                f"MainBrainer refused the access token (401 on {endpoint}). Check that "
                "'access_token' is complete, belongs to this account and has not ended or been "
                "revoked."
            )
            raise AuthError(message)
        is_fresh = attempt.left_at - bearer.received <= FRESH_SECONDS
        if (renewals and is_fresh) or renewals >= _MOST_RENEWALS:
            times = "one renewal" if renewals == 1 else f"{renewals} renewals"
            message = (
                f"MainBrainer refused the access token (401 on {endpoint}) after {times}. "
                "Check that the credentials belong to this account and have not been revoked."
            )
            raise AuthError(message)
        self._tokens.renew(bearer)

    def _pause_or_raise(
        self, endpoint: Endpoint, error: TransientError, tries: int, spent: float, limit: float
    ) -> float:
        """Pause before the next try, or give up.

        Returns:
            How long the pause was; for a 429 how long it will be, because then all requests wait
            for their permits.
        """
        if isinstance(error, UnreachableError) and not self._retries_unreachable:
            raise error
        pause = pause_before_retry(error, tries=tries, spent=spent, limit=limit)
        if isinstance(error, TooManyRequestsError):
            asked = TOO_MANY_REQUESTS_SECONDS if error.retry_after is None else error.retry_after
            most = max(self._limit, TOO_MANY_REQUESTS_SECONDS)
            hold = min(asked, most) if pause is None else pause
            self._rate_limiter.hold(hold, f"MainBrainer answered 429 to {endpoint}")
        if pause is None:
            raise _given_up(endpoint, error, tries=tries, spent=spent, limit=limit) from error
        if not isinstance(error, TooManyRequestsError):
            self._tell(error, pause, tries)
            with self._lock:
                self.stats.paused_seconds += pause
            if self._stop.wait(pause):
                message = f"The run was asked to stop before {endpoint} could be tried again."
                raise InterruptedRunError(message)
        return pause

    def _tell(self, error: TransientError, pause: float, tries: int) -> None:
        """Log a retry; one that follows another is a WARNING."""
        level = logging.DEBUG
        with self._lock:
            now = self._clock()
            if tries > 1 and now >= self._told + _TOLD_AGAIN_SECONDS:
                self._told, level = now, logging.WARNING
        logger.log(level, "%s Trying again in %.1f s.", error, pause)

    def _count(self, endpoint: Endpoint) -> None:
        name = str(endpoint)
        with self._lock:
            self.stats.requests += 1
            self.stats.by_endpoint[name] += 1
            if name not in self._meters:
                self._meters[name] = metrics.Counter(
                    metrics.Metric.HTTP_REQUEST_COUNT, {metrics.Tag.ENDPOINT: name}
                )
            self._meters[name].increment()


class _Attempt:
    """One try at a request: its permit, its token, and how long it took.

    Attributes:
        bearer: The token that it left with.
        left_at: When it left.
        status: The status of the response, None without one.
        is_without_token: Getting a token was tried and given up, so that no request can leave.
    """

    def __init__(
        self,
        rate_limiter: RateLimiter,
        tokens: TokenSource | None,
        endpoint: Endpoint,
        *,
        is_urgent: bool,
        clock: Callable[[], float],
        count: Callable[[], None],
    ) -> None:
        self.bearer: Bearer | None = None
        self.left_at = 0.0
        self.status: int | None = None
        self.is_without_token = False
        self._rate_limiter = rate_limiter
        self._tokens = tokens
        self._kind = str(endpoint)
        self._is_urgent = is_urgent
        self._clock = clock
        self._count = count
        self._permit: Permit | None = None
        self._began = clock()
        self._waited = 0.0
        self._renewals = 0

    def authorize(self, is_ready: Callable[[], bool]) -> Mapping[str, str] | None:
        """Wait for a permit, and for a token that is good at that moment.

        Args:
            is_ready: Whether the connection is still there.

        Returns:
            The headers to send at once; None if the connection has to be looked at again.

        Raises:
            NoPermitError: There is none, and it is not urgent.
        """
        began = self._clock()
        try:
            return self._authorize(is_ready)
        finally:
            self._waited += self._clock() - began

    def _authorize(self, is_ready: Callable[[], bool]) -> Mapping[str, str] | None:
        if self._must_renew() and self._tokens is not None:
            self._renewals += 1
            try:
                self._tokens.renew()
            except TransientError:
                self.is_without_token = True
                raise
            return None
        permit = self._acquire(is_ready)
        if permit is None:
            return None
        if self._must_renew() or permit.has_lapsed:
            permit.give_back()
            return None
        self._permit, self.left_at = permit, self._clock()
        self._count()
        if self._tokens is None:
            return {}
        self.bearer = self._tokens.latest
        return {"Authorization": f"Bearer {self.bearer.value}"}

    def _acquire(self, is_ready: Callable[[], bool]) -> Permit | None:
        if self._is_urgent:
            return self._rate_limiter.acquire(self._kind, is_ready=is_ready)
        if (permit := self._rate_limiter.try_acquire(self._kind)) is None:
            raise NoPermitError
        return permit

    def _must_renew(self) -> bool:
        """Return whether the token has ended, and getting another one has not been tried often.

        Tokens may end faster than permits come; then the last one has to do.
        """
        if self._tokens is None or self._tokens.current() is not None:
            return False
        return self._renewals < _MOST_RENEWALS

    def end(self) -> float:
        """Give the permit back to its limiter; return the seconds spent, waits left out."""
        if self._permit is not None:
            self._permit.answered(self.status)
        return self._clock() - self._began - self._waited


def _given_up(
    endpoint: Endpoint, error: TransientError, *, tries: int, spent: float, limit: float
) -> TransientError:
    asked = error.retry_after or 0.0
    if asked and asked > limit - spent:
        why = (
            f"It asks to wait {asked:.0f} s, which is more than is left of 'retry_max_seconds' "
            f"({limit:.0f})."
        )
    else:
        why = f"'retry_max_seconds' is {limit:.0f}."
    if isinstance(error, TooManyRequestsError):
        why += (
            " The day's number of requests may be used up; MainBrainer counts it anew from "
            "midnight in the account's time zone."
        )
    message = (
        f"{endpoint} was given up after {tries} {'try' if tries == 1 else 'tries'} in "
        f"{spent:.0f} s. The last one: {error} {why}"
    )
    return type(error)(message, retry_after=error.retry_after)
