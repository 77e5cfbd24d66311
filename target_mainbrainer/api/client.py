"""MainBrainer's endpoints, one method each.

A method returns what the API says about contacts, good or bad, and raises what is about anything
else. How a response is read stands in `reading`, how a request is repeated in `requester`.
"""

from __future__ import annotations

import logging
import time
import typing as t
import uuid
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from importlib.metadata import version
from urllib.parse import quote

from target_mainbrainer.api import reading
from target_mainbrainer.api.auth import TokenSource
from target_mainbrainer.api.exchange import Endpoint
from target_mainbrainer.api.http import Transport
from target_mainbrainer.api.refusals import Refusal, TooLarge
from target_mainbrainer.api.requester import NoPermitError, Requester
from target_mainbrainer.api.requests import encode_credentials
from target_mainbrainer.api.responses import Accepted
from target_mainbrainer.errors import InterruptedRunError, TargetMainBrainerError
from target_mainbrainer.privacy import set_secrets

if t.TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from target_mainbrainer.api.exchange import Response
    from target_mainbrainer.api.rate_limit import Event, RateLimiter
    from target_mainbrainer.api.requester import ClientStats
    from target_mainbrainer.api.responses import BatchStatus, Token
    from target_mainbrainer.config.settings import Settings

_CHECK_SECONDS = 30

logger = logging.getLogger(__name__)


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
        read = partial(reading.read_status, endpoint)
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
        self._requester.request(endpoint, None, partial(reading.read_check, endpoint))
        found.append(
            f"{self._batch.host} answers and does not refuse the access token. Whether it may "
            "write contacts shows only when one is written."
        )
        return " ".join(found)

    def _post(self, endpoint: Endpoint, body: bytes) -> Accepted | Refusal:
        def read(response: Response) -> Accepted | Refusal:
            result = reading.read_accepted(endpoint, response, sent=body)
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
        read = partial(reading.read_token, self._token, sent=body)
        return self._requester.request(self._token, body, read, needs_token=False)
