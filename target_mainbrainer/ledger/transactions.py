"""The transactions of a run, which wait for a database that is away.

A database that goes away in mid-run is a server that goes away: the run waits for it, for
`retry_max_seconds`. Whether a commit was made whose answer was lost cannot be told, so what is
done in a transaction is written such that doing it twice does no harm.
"""

from __future__ import annotations

import logging
import time
import typing as t

from target_mainbrainer.errors import LedgerError
from target_mainbrainer.ledger.database import DatabaseAwayError

if t.TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

    from target_mainbrainer.ledger.database import Database

_T = t.TypeVar("_T")

PAUSE_SECONDS = 1.0
_LOOK_SECONDS = 0.1

logger = logging.getLogger(__name__)


class Transactions:
    """Does things in transactions, each again when the database went away meanwhile.

    Args:
        database: The ledger's.
        retry_max_seconds: How long to wait for it.
        is_ending: Returns whether the run is to end, so that nothing is waited for any more.
    """

    def __init__(
        self,
        database: Database,
        *,
        retry_max_seconds: float = 0.0,
        is_ending: Callable[[], bool] = lambda: False,
    ) -> None:
        self._database = database
        self._retry_max_seconds = retry_max_seconds
        self._is_ending = is_ending

    def write(self, work: Callable[[sa.Connection], _T]) -> _T:
        """Return what `work` returns, after it was committed.

        Raises:
            LedgerError: The database stayed away, or does not do what it is asked.
        """
        return self._execute(work, reads_only=False)

    def read(self, work: Callable[[sa.Connection], _T]) -> _T:
        """Return what `work` returns, which only reads and hinders nothing else.

        Raises:
            LedgerError: As `write` does.
        """
        return self._execute(work, reads_only=True)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _execute(self, work: Callable[[sa.Connection], _T], *, reads_only: bool) -> _T:
        away_since: float | None = None
        while True:
            try:
                with self._database.transaction(reads_only=reads_only) as connection:
                    result = work(connection)
            except DatabaseAwayError as error:
                now = time.monotonic()
                if away_since is None:
                    away_since = now
                self._wait_or_raise(error, now - away_since)
            else:
                if away_since is not None:
                    spent = time.monotonic() - away_since
                    logger.info("The ledger can be used again after %.0f s.", spent)
                return result

    def _wait_or_raise(self, error: DatabaseAwayError, spent: float) -> None:
        if spent == 0 and not self._is_ending():
            longest = self._retry_max_seconds
            logger.warning("%s The run waits for it, for up to %.0f s.", error, longest)
        end = time.monotonic() + PAUSE_SECONDS
        while spent < self._retry_max_seconds and not self._is_ending():
            if time.monotonic() >= end:
                return
            time.sleep(_LOOK_SECONDS)
        tried = f" It was tried for {spent:.0f} s ('retry_max_seconds')." if spent else ""
        message = f"{error}{tried}"
        raise LedgerError(message)
