"""MainBrainer's endpoints, one method each, their token, and what repeats their requests.

A method returns what the API says about contacts, good or bad, and raises what is about anything
else. Permits, pauses, retries and the token are dealt with in here and nowhere else; how a
response is read stands in `answers`.
"""

from __future__ import annotations

import logging
import math
import threading
import typing as t
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from http import HTTPStatus
from importlib.metadata import version
from urllib.parse import quote

from target_mainbrainer import errors
from target_mainbrainer.api.answers import Accepted, Answer, BatchStatus, Refused, Token
from target_mainbrainer.api.http import Endpoint, Response, Transport
from target_mainbrainer.api.limits import (
    TOO_MANY_REQUESTS_SECONDS,
    OncePerMinute,
    Permit,
    RateLimiter,
    pause_before_retry,
)
from target_mainbrainer.api.requests import encode_batch, encode_credentials, encode_single
from target_mainbrainer.contacts import Contact
from target_mainbrainer.privacy import Redactor
from target_mainbrainer.settings.declared import Settings
from target_mainbrainer.words import counted

_T = t.TypeVar("_T")
_MOST_RENEWALS = 5
_LOOK_SECONDS = 0.1
_FRESH_SECONDS = 1.0
"""A token this young is used, even if its answer says that it has ended."""

_MARGIN_SECONDS = 60.0
_MARGIN_PART = 0.2

logger = logging.getLogger(__name__)


class MainBrainerClient:
    """Talks to MainBrainer for all threads.

    Args:
        settings: Credentials, addresses and limits.
        rate_limiter: Provides a permit for every request.
        transport: Sends the requests, if it is not the network.
        may_send: Returns whether a request may leave; it waits until it may.

    Attributes:
        redactor: Removes personal data and this account's secrets from what the server says.
        limiter: The same as given; it counts the requests.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        rate_limiter: RateLimiter,
        transport: Transport | None = None,
        may_send: Callable[[], bool] = lambda: True,
    ) -> None:
        self.redactor = Redactor(settings.username, settings.password, settings.private_token)
        self._base = base = settings.api_url.rstrip("/")
        self._batch = Endpoint("POST", "/contacts/batch", f"{base}/contacts/batch")
        self._contact = Endpoint("POST", "/contacts/insertupdate", f"{base}/contacts/insertupdate")
        self._token = Endpoint("POST", "/token", settings.token_url)
        self._transport = transport or Transport(
            user_agent=settings.user_agent or f"target-mainbrainer/{version('target-mainbrainer')}",
            timeout_seconds=settings.request_timeout_seconds,
        )
        self.limiter = rate_limiter
        self._clock = rate_limiter.clock
        self._may_send = may_send
        credentials = encode_credentials(settings)
        self._tokens = TokenSource(
            token=settings.access_token,
            create=lambda: self._request(self._token, credentials, Answer.token),
            keep_secret=self.redactor.keep_secret,
            clock=self._clock,
        )
        self._retry_max_seconds: float = settings.retry_max_seconds
        self._log = OncePerMinute(self._clock)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def send_batch(
        self,
        contacts: Sequence[Contact],
        list_id: str | None = None,
        webhook_url: str | None = None,
    ) -> Accepted | Refused:
        """Send a batch.

        A response may get lost after the batch was accepted; sending it again is an upsert of the
        same data.

        Args:
            contacts: Its contacts.
            list_id: The list to put them in.
            webhook_url: The address that MainBrainer is to call.

        Raises:
            AuthError: The token is refused.
            RequestRefusedError: The request is refused, with any contacts in it.
            ProtocolError: The response is not the API's.
            TransientError: It did not work for `retry_max_seconds`.
            InterruptedRunError: The run was asked to stop.
        """
        body = encode_batch(contacts, list_id, webhook_url)
        return self._request(self._batch, body, Answer.accepted, contacts=contacts)

    def send_contact(self, contact: Contact, *, list_id: str | None = None) -> Accepted | Refused:
        """Send one contact by itself, to the endpoint for single contacts.

        Raises:
            TargetMainBrainerError: As `send_batch` does.
        """
        body = encode_single(contact, list_id=list_id)
        return self._request(self._contact, body, Answer.accepted, contacts=[contact])

    def batch_status(self, batch_id: str) -> BatchStatus | None:
        """Ask once how far a batch is; None if that is not known now.

        A status that cannot be read fails nothing, for any reason: the batch is in, and
        another poll may succeed.

        Args:
            batch_id: As its 202 named it.

        Raises:
            InterruptedRunError: The run was asked to stop.
        """
        try:
            return self._request(self._status_of(batch_id), None, Answer.batch_status, is_once=True)
        except errors.InterruptedRunError:
            raise
        except errors.TargetMainBrainerError as error:
            logger.debug("The status of a batch could not be read: %s", error)
            return None

    def check(self) -> str:
        """Return in plain words what an exchange that changes nothing shows about the account.

        Nothing is tried again.

        Raises:
            TargetMainBrainerError: It shows that the settings do not work.
        """
        self._retry_max_seconds = 0
        found = []
        if self._tokens.is_renewable:
            self._tokens.get()
            found.append(f"{self._token.host} issued an access token for the credentials.")
        self._request(self._status_of(str(uuid.uuid4())), None, Answer.check)
        found.append(
            f"{self._batch.host} answers and does not refuse the access token. Whether it may "
            "write contacts only shows when one is written."
        )
        return " ".join(found)

    def _status_of(self, batch_id: str) -> Endpoint:
        url = f"{self._base}/contacts/{quote(batch_id, safe='')}/Status"
        return Endpoint("GET", "/contacts/{id}/Status", url)

    def _request(
        self,
        endpoint: Endpoint,
        body: bytes | None,
        read: Callable[[Answer], _T],
        *,
        contacts: Sequence[Contact] = (),
        is_once: bool = False,
    ) -> _T:
        """Send a request until `read` returns a result.

        Time counts while sending and pausing; waiting for a permit is no failure.

        Args:
            endpoint: The address.
            body: The content.
            read: Makes a result of an answer, or raises.
            contacts: The contacts in it.
            is_once: Do not try again.

        Raises:
            TargetMainBrainerError: As `read` raises it, or there was no response in time.
        """
        limit = 0.0 if is_once else self._retry_max_seconds
        tries, renewals, spent, is_lost = 0, 0, 0.0, False
        try:
            while True:
                tries += 1
                token = None if endpoint is self._token else self._tokens.get()
                permit = self._permit_for(endpoint, is_retry=tries > 1)
                began = self._clock()
                try:
                    response = self._send(endpoint, body, token, permit)
                    if response.status != HTTPStatus.UNAUTHORIZED or token is None:
                        answer = Answer(endpoint, response, self.redactor, contacts)
                        answer.raise_for_status()
                        result = read(answer)
                        if is_lost and isinstance(result, Accepted | Refused):
                            return replace(result, follows_lost_answer=True)
                        return result
                except errors.TransientError as error:
                    is_lost |= not isinstance(
                        error, errors.TooManyRequestsError | errors.UnreachableError
                    )
                    spent += self._clock() - began
                    spent += self._pause_or_raise(endpoint, error, tries, spent, limit)
                else:
                    spent += self._clock() - began
                    self._renew_or_raise(endpoint, token, renewals)
                    renewals += 1
        except errors.TargetMainBrainerError as error:
            error.may_be_applied = is_lost or isinstance(error, errors.ProtocolError)
            raise

    def _permit_for(self, endpoint: Endpoint, *, is_retry: bool) -> Permit:
        """Wait until a request may leave at once."""
        permit = self.limiter.acquire(str(endpoint), is_retry=is_retry)
        while not self._may_send():
            self.limiter.unsent(permit)
            while not self._may_send():
                self.limiter.pause(_LOOK_SECONDS)
            permit = self.limiter.acquire(str(endpoint))
        return permit

    def _send(
        self, endpoint: Endpoint, body: bytes | None, token: Token | None, permit: Permit
    ) -> Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token.value}"}
        try:
            response = self._transport.send(endpoint, body, headers)
        except errors.UnreachableError:
            self.limiter.unsent(permit)
            raise
        except BaseException:
            self.limiter.answered(permit, None)
            raise
        self.limiter.answered(permit, response.status)
        return response

    def _renew_or_raise(self, endpoint: Endpoint, token: Token, renewals: int) -> None:
        """Renew a token that was refused, unless that has been tried.

        A new token that is refused will never do, unless it expired while it waited for a permit.
        """
        most = 1 if self._tokens.is_current(token) else _MOST_RENEWALS
        if renewals >= (most if self._tokens.is_renewable else 0):
            raise errors.AuthError(
                f"MainBrainer refused the access token (401 on {endpoint}). Check that "
                "'access_token', or else the credentials, are complete, belong to this account and "
                "have not expired or been revoked."
            )
        self._tokens.get(refused=token)

    def _pause_or_raise(
        self,
        endpoint: Endpoint,
        error: errors.TransientError,
        tries: int,
        spent: float,
        limit: float,
    ) -> float:
        """Pause before the next try, or give up.

        Returns:
            How long the pause was; for a 429 how long it will be, because then all requests wait
            for their permits.
        """
        pause = pause_before_retry(error, tries=tries, spent=spent, limit=limit)
        if isinstance(error, errors.TooManyRequestsError):
            asked = TOO_MANY_REQUESTS_SECONDS if error.retry_after is None else error.retry_after
            most = max(self._retry_max_seconds, TOO_MANY_REQUESTS_SECONDS)
            seconds = min(asked, most) if pause is None else pause
            self.limiter.block(seconds, f"MainBrainer answered 429 to {endpoint}")
        if not limit:
            raise error
        if pause is None:
            asks = f"It asks to wait {error.retry_after:.0f} s. " if error.retry_after else ""
            message = (
                f"{endpoint} was given up after {counted(tries, 'try', 'tries')} in {spent:.0f} s. "
                f"The last one: {error} {asks}'retry_max_seconds' is {limit:.0f}."
            )
            if isinstance(error, errors.TooManyRequestsError):
                message += (
                    " The day's number of requests may be used up; the count starts again at "
                    "midnight in the account's time zone."
                )
            raise type(error)(message, retry_after=error.retry_after) from error
        if not isinstance(error, errors.TooManyRequestsError):
            is_outage = tries > 1 and self._log.is_due("an outage")
            level = logging.WARNING if is_outage else logging.DEBUG
            text = "%s Trying again in %.1f s, and for up to %.0f s in all ('retry_max_seconds')."
            logger.log(level, text, error, pause, limit)
            self.limiter.pause(pause)
        return pause


# The bearer token: one for all threads, renewed by one of them


class TokenSource:
    """Provides the token, and gets a new one when it expires or is refused.

    Its end is timed by our own clock from before the token was asked for, so that no clock needs
    to be right (API note, section 7). It is renewed a minute early, or a fifth of a short
    lifetime; but never more than once a second.

    Args:
        token: A ready token, which cannot be renewed.
        create: Gets a new token otherwise.
        keep_secret: Is called with every token, before it is used.
        clock: Seconds that only ever grow.
    """

    def __init__(
        self,
        *,
        token: str | None = None,
        create: Callable[[], Token],
        keep_secret: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self.is_renewable = token is None
        self._create = create
        self._keep_secret = keep_secret
        self._clock = clock
        self._lock = threading.Lock()
        self._token = None if token is None else Token(self._sendable(token))
        self._renew_at = math.inf
        self._failure: errors.TargetMainBrainerError | None = None

    def is_current(self, token: Token | None) -> bool:
        """Return whether this is the latest token, and not yet to be renewed."""
        return token is self._token and self._clock() < self._renew_at

    def get(self, refused: Token | None = None) -> Token:
        """Return a token other than the refused one; a new one if it is time to renew it.

        However many threads come with the same refused token, one request is made. If it fails
        for good, it fails for all of them, without one request each.

        Raises:
            AuthError: The credentials are refused.
        """
        with self._lock:
            token = self._token
            if token is not None and token is not refused and self.is_current(token):
                return token
            if self._failure is not None:
                raise type(self._failure)(str(self._failure))
            asked = self._clock()
            try:
                token = self._create()
                self._sendable(token.value)
            except errors.InterruptedRunError:
                raise
            except errors.TargetMainBrainerError as error:
                self._failure = error
                raise
            lifetime = math.inf if token.lifetime_seconds is None else token.lifetime_seconds
            margin = min(_MARGIN_SECONDS, lifetime * _MARGIN_PART)
            earliest = self._clock() + _FRESH_SECONDS
            self._token, self._renew_at = token, max(asked + lifetime - margin, earliest)
            return token

    def _sendable(self, token: str) -> str:
        """Return a token that a header can carry, and keep it out of all that is logged.

        Raises:
            AuthError: It cannot; an exception further down would quote it.
        """
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise errors.AuthError(
                "The access token contains characters that cannot be sent. Check it for spaces, "
                "line breaks and quotation marks that came with copying."
            )
        self._keep_secret(token)
        return token
