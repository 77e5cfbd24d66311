"""The bearer token: one for all threads, renewed by one of them."""

from __future__ import annotations

import math
import threading
import typing as t
from dataclasses import dataclass, field

from target_mainbrainer.errors import AuthError, InterruptedRunError, TargetMainBrainerError
from target_mainbrainer.privacy.redaction import keep_secret

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from target_mainbrainer.api.answers import Token

FRESH_SECONDS = 1.0
"""A token this young is good, whatever its answer says about its life."""

_MARGIN_SECONDS = 60.0
_MARGIN_PART = 0.2


@dataclass(frozen=True)
class Bearer:
    """A token in use.

    Attributes:
        received: When it was asked for, by our own clock.
        renew_at: When to get another one.
    """

    value: str = field(repr=False)
    received: float = -math.inf
    renew_at: float = math.inf


class TokenSource:
    """Hands out the token, and gets a new one when it ends or is refused.

    The end is timed by our own clock from before the token was asked for, so that no clock needs
    to be right (API note, section 7). It is renewed a minute early, or a fifth of a short life;
    but never more than once a second.

    Args:
        token: A ready token, which nothing can renew.
        create: Gets a new token otherwise.
        clock: Seconds that only ever grow.
    """

    def __init__(
        self,
        *,
        token: str | None = None,
        create: Callable[[], Token],
        clock: Callable[[], float],
    ) -> None:
        self.is_renewable = token is None
        self._create = create
        self._clock = clock
        self._lock = threading.Lock()
        self._bearer = None if token is None else Bearer(_sendable(token))
        self._failure: TargetMainBrainerError | None = None

    def current(self) -> Bearer | None:
        """Return the token, or None if it is time to renew it."""
        bearer = self._bearer
        return bearer if bearer is not None and self._clock() < bearer.renew_at else None

    @property
    def latest(self) -> Bearer:
        """The token, even if it is time to renew it; `renew` or `current` comes first."""
        if self._bearer is None:
            raise RuntimeError
        return self._bearer

    def renew(self, refused: Bearer | None = None) -> Bearer:
        """Return a token other than the refused one.

        However many threads come with the same refused token, one request is made. If it fails
        for good, it fails for all of them, without one request each.

        Raises:
            AuthError: The credentials are refused.
        """
        with self._lock:
            current = self.current()
            if current is not None and current is not refused:
                return current
            if self._failure is not None:
                raise type(self._failure)(str(self._failure))
            asked = self._clock()
            try:
                token = self._create()
                value = _sendable(token.value)
            except InterruptedRunError:
                raise
            except TargetMainBrainerError as error:
                self._failure = error
                raise
            lifetime = math.inf if token.lifetime_seconds is None else token.lifetime_seconds
            margin = min(_MARGIN_SECONDS, lifetime * _MARGIN_PART)
            received = self._clock()
            renew_at = max(asked + lifetime - margin, received + FRESH_SECONDS)
            self._bearer = Bearer(value, received, renew_at)
            return self._bearer


def _sendable(token: str) -> str:
    """Return a token that a header can carry, and take it out of all that is logged.

    Raises:
        AuthError: It cannot; an exception further down would quote it.
    """
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        message = (
            "The access token holds characters that cannot be sent. Check it for spaces, line "
            "breaks and quotation marks that came with copying."
        )
        raise AuthError(message)
    keep_secret(token)
    return token
