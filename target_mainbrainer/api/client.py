"""MainBrainer's endpoints, one method each: what is asked, what came back, what that means.

A method returns what the API says about contacts, good or bad, and raises what is about anything
else. Pacing, retries and the token happen in here and nowhere else. What a server says is
redacted before it becomes part of a message.
"""

from __future__ import annotations

import http
import logging
import threading
import time
import typing as t
import uuid
from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import version
from urllib.parse import quote

from singer_sdk import metrics

from target_mainbrainer.api import wire
from target_mainbrainer.api.auth import FRESH_SECONDS, Bearer, TokenSource
from target_mainbrainer.api.http import Endpoint, Response, Transport
from target_mainbrainer.api.retry import (
    TOO_MANY_REQUESTS_SECONDS,
    TooManyRequestsError,
    pause_before_retry,
)
from target_mainbrainer.errors import (
    AuthError,
    InterruptedRunError,
    ProtocolError,
    RequestRefusedError,
    TargetMainBrainerError,
    TransientError,
)
from target_mainbrainer.privacy.redaction import redact

if t.TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from target_mainbrainer.api.rate_limit import Event, Permit, RateLimiter
    from target_mainbrainer.config.settings import Settings

    Reader: t.TypeAlias = Callable[[Endpoint, Response, bytes | None], "_T"]

_T = t.TypeVar("_T")
logger = logging.getLogger(__name__)

_LONG_PAUSE_SECONDS = 5.0
_CHECK_SECONDS = 30
_MOST_RENEWALS = 5
_REFUSALS = frozenset({400, 409, 422})
"""Refusals of what was sent rather than of the request (API note, section 4.3)."""

_ADVICE = {
    403: "Check that the account and its token are allowed to do this.",
    404: "Check 'api_url'.",
    405: "Check 'api_url'.",
    402: "Check the account's plan and balance.",
    406: "The account's plan or balance may be at its end; see what its pages say.",
}


@dataclass(frozen=True)
class TooLarge:
    """A 413: fewer contacts at once may pass."""


@dataclass
class ClientStats:
    """What has been asked so far.

    Attributes:
        requests: All of them, those for tokens and statuses too.
        retries: Those that asked again for what had failed.
        paused_seconds: Pauses before retries, of all threads together.
        by_endpoint: Requests of each kind, such as `POST /contacts/batch`.
    """

    requests: int = 0
    retries: int = 0
    paused_seconds: float = 0.0
    by_endpoint: Counter[str] = field(default_factory=Counter)


class MainBrainerClient:
    """Talks to MainBrainer for all threads.

    Args:
        settings: Credentials, addresses and limits.
        pacer: Gives leave for every single request.
        stop: Ends every pause at once, with an `InterruptedRunError`.
        base_url: Instead of the settings' addresses, the token's included: a sandbox.
        token: Instead of the settings' credentials.
        clock: Seconds that only ever grow.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        rate_limiter: RateLimiter,
        stop: Event,
        base_url: str | None = None,
        token: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        base = (base_url or settings.api_url).rstrip("/")
        token_url = f"{base}/token" if base_url else settings.token_url
        self._batch = Endpoint("POST", "/contacts/batch", f"{base}/contacts/batch")
        self._contact = Endpoint("POST", "/contacts/insertupdate", f"{base}/contacts/insertupdate")
        self._status = Endpoint("GET", "/contacts/{id}/Status", f"{base}/contacts/{{id}}/Status")
        self._token = Endpoint("POST", "/token", token_url)
        self._settings = settings
        self._rate_limiter = rate_limiter
        self._stop = stop
        self._clock = clock
        self._transport = Transport(
            user_agent=settings.user_agent or f"target-mainbrainer/{version('target-mainbrainer')}",
            timeout_seconds=settings.request_timeout_seconds,
            # Two more, for statuses and the token.
            connections=settings.max_concurrent_requests + 2,
            clock=clock,
        )
        self._tokens = TokenSource(
            token=token or settings.access_token, create=self._create_token, clock=clock
        )
        self.stats = ClientStats()
        self._stats_lock = threading.Lock()
        self._meters: dict[str, metrics.Counter] = {}

    def __enter__(self) -> t.Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and say the last numbers."""
        self._transport.close()
        with self._stats_lock:
            for meter in self._meters.values():
                meter.exit()
            self._meters.clear()

    # --- Endpoints

    def post_batch(self, body: bytes, *, size: int) -> wire.BatchAccepted | wire.Refusal | TooLarge:
        """Send a batch of so many contacts.

        An answer may get lost after the batch was taken; sending it again is an upsert of the
        same data.

        Raises:
            AuthError: The token is refused.
            RequestRefusedError: The request is refused, whoever is in it.
            ProtocolError: What answered is not the API.
            TransientError: It did not work for `retry_max_seconds`.
            InterruptedRunError: The run was asked to stop.
        """

        def read(
            call: Endpoint, answer: Response, sent: bytes | None
        ) -> wire.BatchAccepted | wire.Refusal | TooLarge:
            if answer.is_success:
                if _is_empty(answer):
                    return wire.BatchAccepted()
                return _decoded(call, answer, wire.decode_batch_answer)
            if answer.status == http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                return TooLarge() if size > 1 else _refusal(answer)
            if answer.status in _REFUSALS:
                return _refusal(answer)
            raise _refused(call, answer, sent)

        return self._ask(self._batch, body, read)

    def post_contact(self, body: bytes) -> wire.ContactAccepted | wire.Refusal:
        """Send one contact by itself.

        Raises:
            TargetMainBrainerError: As `post_batch` does.
        """

        def read(
            call: Endpoint, answer: Response, sent: bytes | None
        ) -> wire.ContactAccepted | wire.Refusal:
            if answer.is_success:
                if _is_empty(answer):
                    return wire.ContactAccepted()
                return _decoded(call, answer, wire.decode_contact_answer)
            if answer.status in _REFUSALS | {http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE}:
                return _refusal(answer)
            raise _refused(call, answer, sent)

        return self._ask(self._contact, body, read)

    def batch_status(self, batch_id: str, *, wait: bool = False) -> wire.BatchStatus | None:
        """Ask once how far a batch is; None if that cannot be told now.

        A status that cannot be read fails nothing, whatever the reason: the batch is in, and
        another poll may succeed.

        Args:
            batch_id: As its 202 named it.
            wait: Wait for a turn, instead of asking only if sending leaves one.

        Raises:
            InterruptedRunError: The run was asked to stop.
        """
        try:
            return self._ask(self._status_of(batch_id), None, _read_status, limit=0, is_urgent=wait)
        except InterruptedRunError:
            raise
        except _NoTurnError:
            return None
        except TargetMainBrainerError as error:
            logger.debug("The status of a batch could not be read: %s", error)
            return None

    def check(self) -> str:
        """Say in plain words what an exchange that changes nothing shows about the account.

        Raises:
            TargetMainBrainerError: It shows that the settings do not work.
        """
        found = []
        limit = min(self._settings.retry_max_seconds, _CHECK_SECONDS)
        if self._tokens.is_renewable:
            self._tokens.renew()
            found.append(f"{self._token.host} issued an access token for the credentials.")
        self._ask(self._status_of(str(uuid.uuid4())), None, _read_anything, limit=limit)
        found.append(
            f"{self._batch.host} answers and does not refuse the access token. Whether it may "
            "write contacts shows only when one is written."
        )
        return " ".join(found)

    def _status_of(self, batch_id: str) -> Endpoint:
        return self._status._replace(url=self._status.url.replace("{id}", quote(batch_id, safe="")))

    # --- The token

    def _create_token(self) -> wire.Token:
        settings = self._settings
        body = wire.encode_credentials(
            username=settings.username,
            password=settings.password,
            private_token=settings.private_token,
            validity=settings.token_validity,
        )
        return self._ask(self._token, body, _read_token, needs_token=False)

    def _turn(
        self, call: Endpoint, *, needs_token: bool, is_urgent: bool
    ) -> tuple[Permit, Bearer | None]:
        """Wait for leave to send, and for a token that is good at that moment.

        In this order: a wait for the budget may outlast a token.
        """
        while True:
            turn = self._rate_limiter.acquire(str(call)) if is_urgent else self._spare_turn(call)
            if turn is None:
                continue
            if not needs_token:
                return turn, None
            if (bearer := self._tokens.current()) is not None:
                return turn, bearer
            turn.give_back()
            self._tokens.renew()

    def _spare_turn(self, call: Endpoint) -> Permit:
        turn = self._rate_limiter.try_acquire(str(call))
        if turn is None:
            raise _NoTurnError
        return turn

    # --- One request, until there is an answer

    def _ask(
        self,
        call: Endpoint,
        body: bytes | None,
        read: Reader[_T],
        *,
        limit: float | None = None,
        needs_token: bool = True,
        is_urgent: bool = True,
    ) -> _T:
        """Ask until there is an answer that `read` can make something of.

        Time counts while asking and pausing; waiting for one's turn in the plan's budget is
        nobody's failure.
        """
        limit = self._settings.retry_max_seconds if limit is None else limit
        tries, renewals, spent = 0, 0, 0.0
        while True:
            turn, bearer = self._turn(call, needs_token=needs_token, is_urgent=is_urgent)
            tries += 1
            self._count(call, retry=tries > 1)
            sent_at = self._clock()
            status = None
            try:
                try:
                    answer = self._transport.send(
                        call, body=body, token=bearer.value if bearer else None
                    )
                    status = answer.status
                finally:
                    turn.answered(status)
                    spent += self._clock() - sent_at
                if bearer is None or answer.status != http.HTTPStatus.UNAUTHORIZED:
                    return _meant(call, answer, body, read)
            except TransientError as error:
                spent += self._pause_or_raise(call, error, tries=tries, spent=spent, limit=limit)
                continue
            self._renew_or_raise(call, bearer, sent_at, renewals)
            renewals += 1

    def _renew_or_raise(
        self, call: Endpoint, bearer: Bearer, sent_at: float, renewals: int
    ) -> None:
        """Renew a token that was refused, unless that has been tried.

        A new token that is refused at once will never do. One that had to wait for its turn may
        simply have ended meanwhile.
        """
        if not self._tokens.is_renewable:
            message = (
                f"MainBrainer refused the access token (401 on {call}). Check that "
                "'access_token' is complete, belongs to this account and has not ended or been "
                "revoked."
            )
            raise AuthError(message)
        is_fresh = sent_at - bearer.received <= FRESH_SECONDS
        if (renewals and is_fresh) or renewals >= _MOST_RENEWALS:
            message = (
                f"MainBrainer refused the access token (401 on {call}) after {_times(renewals)}. "
                "Check that the credentials belong to this account and have not been revoked."
            )
            raise AuthError(message)
        self._tokens.renew(bearer)

    def _pause_or_raise(
        self, call: Endpoint, error: TransientError, *, tries: int, spent: float, limit: float
    ) -> float:
        """Pause before the next try, or give up.

        Returns:
            How long the pause was; for a 429 how long it will be, because then everything waits
            for its turn.
        """
        pause = pause_before_retry(error, tries=tries, spent=spent, limit=limit)
        if isinstance(error, TooManyRequestsError):
            asked = TOO_MANY_REQUESTS_SECONDS if error.retry_after is None else error.retry_after
            most = max(self._settings.retry_max_seconds, TOO_MANY_REQUESTS_SECONDS)
            hold = min(asked, most) if pause is None else pause
            self._rate_limiter.hold(hold, f"MainBrainer answered 429 to {call}")
        if pause is None:
            raise _given_up(call, error, tries=tries, spent=spent, limit=limit) from error
        level = logging.INFO if pause > _LONG_PAUSE_SECONDS else logging.DEBUG
        if not isinstance(error, TooManyRequestsError):
            logger.log(level, "%s Trying again in %.1f s.", error, pause)
            with self._stats_lock:
                self.stats.paused_seconds += pause
            if self._stop.wait(pause):
                message = f"The run was asked to stop before {call} could be tried again."
                raise InterruptedRunError(message)
        return pause

    def _count(self, call: Endpoint, *, retry: bool) -> None:
        name = str(call)
        with self._stats_lock:
            self.stats.requests += 1
            self.stats.retries += retry
            self.stats.by_endpoint[name] += 1
            if name not in self._meters:
                self._meters[name] = metrics.Counter(
                    metrics.Metric.HTTP_REQUEST_COUNT, {metrics.Tag.ENDPOINT: name}
                )
            self._meters[name].increment()


class _NoTurnError(Exception):
    """Sending leaves nothing of the budget."""


# --- What an answer means


def _meant(call: Endpoint, answer: Response, sent: bytes | None, read: Reader[_T]) -> _T:
    """Read an answer, unless its status alone says that there is nothing to read."""
    status = answer.status
    if status == http.HTTPStatus.TOO_MANY_REQUESTS:
        message = f"MainBrainer answered 429 Too Many Requests to {call}."
        raise TooManyRequestsError(message, retry_after=answer.retry_after)
    if status == http.HTTPStatus.REQUEST_TIMEOUT or status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        message = f"MainBrainer answered {answer.reason} to {call}."
        raise TransientError(message, retry_after=answer.retry_after)
    if not answer.is_success and status < http.HTTPStatus.BAD_REQUEST:
        leads = f", a redirect to {answer.redirect_host}" if answer.redirect_host else ""
        message = (
            f"{call.host} answered {answer.reason} to {call}{leads}. Redirects are never "
            "followed, because the token and the contacts would go with them. Check 'api_url' "
            "and 'auth_url', and any proxy in between."
        )
        raise ProtocolError(message)
    return read(call, answer, sent)


def _decoded(call: Endpoint, answer: Response, decode: Callable[[int, bytes], _T]) -> _T:
    """Decode a 2xx answer.

    One that is cut off counts as lost: the request was probably carried out, and asking again
    repeats the same upsert. One that is not the API's ends the run.
    """
    try:
        return decode(answer.status, answer.body)
    except wire.UnreadableAnswerError as error:
        is_cut_off, problem = error.cut_off, str(error)
    if is_cut_off:
        message = f"The answer to {call} broke off ({len(answer.body)} bytes came)."
        raise TransientError(message)
    kind = f" of type '{redact(answer.content_type)}'" if answer.content_type else ""
    message = (
        f"{call.host} answered {call} with {answer.reason} and a body{kind} that is not "
        f"MainBrainer's: {problem}. Check 'api_url' and 'auth_url', and any proxy in between."
    )
    raise ProtocolError(message)


def _is_empty(answer: Response) -> bool:
    """Tell whether an answer has no body and says so: accepted then, but untrackable."""
    return not answer.body.strip() and answer.is_whole


def _refusal(answer: Response) -> wire.Refusal:
    return wire.decode_refusal(answer.status, answer.body, answer.content_type)


def _refused(call: Endpoint, answer: Response, sent: bytes | None) -> RequestRefusedError:
    said = redact(wire.human_message(answer.body, answer.content_type), wire.values_sent(sent))
    advice = _ADVICE.get(answer.status, "Check the settings and the account.")
    message = (
        f"MainBrainer refused {call} with {answer.reason}{f', saying: {said}' if said else ''}. "
        f"No contact is to blame. {advice}"
    )
    return RequestRefusedError(message)


def _read_status(call: Endpoint, answer: Response, sent: bytes | None) -> wire.BatchStatus:
    if not answer.is_success:
        raise _refused(call, answer, sent)
    return _decoded(call, answer, lambda _, body: wire.decode_status(body))


def _read_anything(call: Endpoint, answer: Response, sent: bytes | None) -> None:
    """Take any answer of the API's own for an answer, "no such batch" above all."""
    if answer.status == http.HTTPStatus.FORBIDDEN:
        raise _refused(call, answer, sent)
    if answer.is_success or "html" in answer.content_type.lower():
        _decoded(call, answer, lambda _, body: wire.decode_status(body))


def _read_token(call: Endpoint, answer: Response, sent: bytes | None) -> wire.Token:
    if answer.is_success:
        return _decoded(call, answer, lambda _, body: wire.decode_token(body))
    if answer.status in {404, 405}:
        message = (
            f"{call.host} answered {answer.reason} to {call}: no token is created there. Set "
            "'auth_url' to the full address, which MainBrainer's public pages do not print."
        )
        raise RequestRefusedError(message)
    said = redact(wire.human_message(answer.body, answer.content_type), wire.values_sent(sent))
    message = (
        f"MainBrainer refused the credentials ({answer.reason} on {call}"
        f"{f', saying: {said}' if said else ''}). Check 'username', 'password' and "
        "'private_token'."
    )
    raise AuthError(message)


def _given_up(
    call: Endpoint, error: TransientError, *, tries: int, spent: float, limit: float
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
        f"{call} was given up after {tries} {'try' if tries == 1 else 'tries'} in {spent:.0f} s. "
        f"The last one: {error} {why}"
    )
    return type(error)(message, retry_after=error.retry_after)


def _times(renewals: int) -> str:
    return "one renewal" if renewals == 1 else f"{renewals} renewals"
