"""Makes the parts of a run that take more than a line."""

from __future__ import annotations

import time
import typing as t
from pathlib import Path

from target_mainbrainer.api.limits import RateLimiter
from target_mainbrainer.errors import SettingsError
from target_mainbrainer.mapping.suppressions import parse_suppressions
from target_mainbrainer.wording import shown

if t.TYPE_CHECKING:
    import threading

    from target_mainbrainer.config.settings import Settings
    from target_mainbrainer.mapping.suppressions import Suppressions


def make_rate_limiter(settings: Settings, stop: threading.Event) -> RateLimiter:
    """Return a limiter for this run alone or, with a ledger, for all runs with the same token.

    Raises:
        LedgerError: The ledger's database cannot be used.
    """
    store = None
    if settings.ledger_uri and settings.plan and not settings.dry_run:
        from target_mainbrainer.ledger import quota as shared_quota  # noqa: PLC0415 - only with a ledger

        server = settings.sandbox_path or settings.api_url
        user = settings.username or settings.access_token or ""
        account = shared_quota.fingerprint(server, user)
        store = shared_quota.open_shared_quota(settings.ledger_uri, account)
    return RateLimiter(
        None if settings.dry_run else settings.plan,
        clock=time.monotonic,
        stop=stop,
        store=store,
        retry_max_seconds=settings.retry_max_seconds,
    )


def read_suppressions(settings: Settings) -> Suppressions | None:
    """Read whose consent is never sent, if a setting names a file of them.

    Raises:
        SettingsError: The file cannot be read, or a line of it is no address and no number.
    """
    if settings.suppression_path is None:
        return None
    try:
        with Path(settings.suppression_path).open(encoding="utf-8-sig") as lines:
            return parse_suppressions(lines)
    except UnicodeDecodeError:
        reason = "it is not written in UTF-8"
    except ValueError as error:
        reason = str(error)
    except OSError as error:
        reason = f"'{shown(str(settings.suppression_path))}' cannot be read ({error.strerror})"
    raise SettingsError([f"Setting 'suppression_path': {reason}."])
