"""MainBrainer's endpoints, one method each.

A method returns what the API says about contacts, good or bad, and raises what is about anything
else. How a response is read stands in `reading`, how a request is repeated in `requester`.
"""

from __future__ import annotations

import logging
import threading
import time
import typing as t
import uuid
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from importlib.metadata import version
from urllib.parse import quote

from singer_sdk import metrics

from target_mainbrainer.api import answers
from target_mainbrainer.api.answers import Accepted, Refusal, TooLarge
from target_mainbrainer.api.auth import FRESH_SECONDS, TokenSource
from target_mainbrainer.api.http import Endpoint, Transport
from target_mainbrainer.api.limits import TOO_MANY_REQUESTS_SECONDS, pause_before_retry
from target_mainbrainer.api.requests import encode_credentials
from target_mainbrainer.errors import (
    AuthError,
    InterruptedRunError,
    TargetMainBrainerError,
    TooManyRequestsError,
    TransientError,
    UnreachableError,
)
from target_mainbrainer.privacy.redaction import set_secrets

if t.TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from target_mainbrainer.api.answers import BatchStatus, Token
    from target_mainbrainer.api.auth import Bearer
    from target_mainbrainer.api.http import Response
    from target_mainbrainer.api.limits import Event, Permit, RateLimiter
    from target_mainbrainer.config.settings import Settings

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


_CHECK_SECONDS = 30


class MainBrainerClient:
    """Talks to MainBrainer for all threads.

    Args:
        settings: Credentials, addresses and limits.
        rate_limiter: Gives a permit for every single request.
        stop: Ends every pause at once, with an `InterruptedRunError`.
        base_url: Instead of the settings' addresses, the token's included: a sandbox.
        token: Instead of the settings' credentials.
        transport: Sends the requests, if it is not the network.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        rate_limiter: RateLimiter,
        stop: Event,
        base_url: str | None = None,
        token: str | None = None,
        transport: Transport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        set_secrets(settings.username, settings.password, settings.private_token)
        base = (base_url or settings.api_url).rstrip("/")
        token_url = f"{base}/token" if base_url else settings.token_url
        self._batch = Endpoint("POST", "/contacts/batch", f"{base}/contacts/batch")
        self._contact = Endpoint("POST", "/contacts/insertupdate", f"{base}/contacts/insertupdate")
        self._status = Endpoint("GET", "/contacts/{id}/Status", f"{base}/contacts/{{id}}/Status")
        self._token = Endpoint("POST", "/token", token_url)
        self._settings = settings
        self._transport = transport or Transport(
            user_agent=settings.user_agent or f"target-mainbrainer/{version('target-mainbrainer')}",
            timeout_seconds=settings.request_timeout_seconds,
        )
        self._tokens = TokenSource(
            token=token or settings.access_token, create=self._create_token, clock=clock
        )
        self._requester = Requester(
            self._transport,
            rate_limiter=rate_limiter,
            tokens=self._tokens,
            stop=stop,
            retry_max_seconds=settings.retry_max_seconds,
            clock=clock,
        )

    def __enter__(self) -> t.Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def stats(self) -> ClientStats:
        """What has been asked so far."""
        return self._requester.stats

    def close(self) -> None:
        """Close the connections and write the last numbers to the log."""
        self._transport.close()
        self._requester.close()

    def post_batch(self, body: bytes, *, size: int) -> Accepted | Refusal | TooLarge:
        """Send a batch of `size` contacts.

        A response may get lost after the batch was taken; sending it again is an upsert of the
        same data.

        Raises:
            AuthError: The token is refused.
            RequestRefusedError: The request is refused, whatever contacts are in it.
            ProtocolError: What answered is not the API.
            TransientError: It did not work for `retry_max_seconds`.
            InterruptedRunError: The run was asked to stop.
        """
        result = self._post(self._batch, body)
        if isinstance(result, Refusal) and result.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return TooLarge() if size > 1 else result
        return result

    def post_contact(self, body: bytes) -> Accepted | Refusal:
        """Send one contact by itself.

        Raises:
            TargetMainBrainerError: As `post_batch` does.
        """
        return self._post(self._contact, body)

    def batch_status(self, batch_id: str, *, wait: bool = False) -> BatchStatus | None:
        """Ask once how far a batch is; None if that cannot be told now.

        A status that cannot be read fails nothing, whatever the reason: the batch is in, and
        another poll may succeed.

        Args:
            batch_id: As its 202 named it.
            wait: Wait for a permit, instead of asking only if sending leaves one.

        Raises:
            InterruptedRunError: The run was asked to stop.
        """
        endpoint = self._status_of(batch_id)
        read = partial(answers.read_status, endpoint)
        try:
            return self._requester.request(endpoint, None, read, is_once=True, is_urgent=wait)
        except InterruptedRunError:
            raise
        except NoPermitError:
            return None
        except TargetMainBrainerError as error:
            logger.debug("The status of a batch could not be read: %s", error)
            return None

    def check(self) -> str:
        """Return in plain words what an exchange that changes nothing shows about the account.

        Raises:
            TargetMainBrainerError: It shows that the settings do not work.
        """
        self._requester.hurry(_CHECK_SECONDS)
        found = []
        if self._tokens.is_renewable:
            self._tokens.renew()
            found.append(f"{self._token.host} issued an access token for the credentials.")
        endpoint = self._status_of(str(uuid.uuid4()))
        self._requester.request(endpoint, None, partial(answers.read_check, endpoint))
        found.append(
            f"{self._batch.host} answers and does not refuse the access token. Whether it may "
            "write contacts shows only when one is written."
        )
        return " ".join(found)

    def _post(self, endpoint: Endpoint, body: bytes) -> Accepted | Refusal:
        def read(response: Response) -> Accepted | Refusal:
            result = answers.read_accepted(endpoint, response, sent=body)
            if response.may_come_twice and isinstance(result, Accepted):
                return replace(result, may_come_twice=True)
            return result

        return self._requester.request(endpoint, body, read)

    def _status_of(self, batch_id: str) -> Endpoint:
        return self._status._replace(url=self._status.url.replace("{id}", quote(batch_id, safe="")))

    def _create_token(self) -> Token:
        settings = self._settings
        body = encode_credentials(
            username=settings.username,
            password=settings.password,
            private_token=settings.private_token,
            validity=settings.token_validity,
        )
        read = partial(answers.read_token, self._token, sent=body)
        return self._requester.request(self._token, body, read, needs_token=False)
