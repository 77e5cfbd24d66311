"""The bearer token: one for all threads, renewed by one of them."""

from __future__ import annotations

import math
import threading
import typing as t

from target_mainbrainer.api.answers import Token
from target_mainbrainer.errors import AuthError, InterruptedRunError, TargetMainBrainerError

if t.TYPE_CHECKING:
    from collections.abc import Callable

_FRESH_SECONDS = 1.0
"""A token this young is used, even if its answer says that it has ended."""

_MARGIN_SECONDS = 60.0
_MARGIN_PART = 0.2


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
        self._failure: TargetMainBrainerError | None = None

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
            except InterruptedRunError:
                raise
            except TargetMainBrainerError as error:
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
            message = (
                "The access token contains characters that cannot be sent. Check it for spaces, "
                "line breaks and quotation marks that came with copying."
            )
            raise AuthError(message)
        self._keep_secret(token)
        return token
