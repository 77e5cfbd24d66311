"""Opens the ledger that the settings name, for the account that they name."""

from __future__ import annotations

import hashlib
import time
import typing as t

from target_mainbrainer.ledger.database import open_database
from target_mainbrainer.ledger.ledger import Account, Ledger

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from target_mainbrainer.settings.declared import Settings


def open_ledger(
    settings: Settings, uri: str, *, sandbox_id: str | None, is_ending: Callable[[], bool]
) -> Ledger:
    """Open a ledger for the account, or the sandbox, that the settings name.

    Args:
        settings: The run's settings.
        uri: `ledger_uri`.
        sandbox_id: What the sandbox's file calls itself, None for the real MainBrainer.
        is_ending: Returns whether the run is to end, so that nothing is waited for any more.

    Raises:
        LedgerError: It cannot be used.
    """
    database = open_database(uri)
    try:
        return Ledger(
            database,
            _account(settings, sandbox_id),
            clock=time.monotonic,
            retry_max_seconds=settings.retry_max_seconds,
            is_ending=is_ending,
        )
    except BaseException:
        database.close()
        raise


def _account(settings: Settings, sandbox_id: str | None) -> Account:
    if sandbox_id is not None:
        return Account(_fingerprint("sandbox", sandbox_id))
    if settings.username:
        return Account(_fingerprint("user", settings.api_url, settings.username))
    token = _fingerprint("token", settings.access_token or "")
    return Account(_fingerprint("api", settings.api_url), token)


def _fingerprint(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
