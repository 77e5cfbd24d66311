"""The quota that all runs with the same ledger and the same account share.

One row for each account contains the whole `Quota` as JSON. A change reads it, applies the rules
of `api.limits` to it and writes it back, unless another run has changed it in between (its
`version` then differs); in that case it reads again. So every change is exact, no lock and no
session outlives a statement, and a run that dies leaves nothing to clean up. The clock is the
database's, which is the same for all machines; with SQLite the wall clock, which is the same for
all processes. A clock that is set costs at most one 429.
"""

from __future__ import annotations

import typing as t

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from typing_extensions import override

from target_mainbrainer.api.limits import PermitStore, Quota
from target_mainbrainer.ledger.lease import now_of
from target_mainbrainer.ledger.tables import quota as table

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from target_mainbrainer.ledger.database import Database

_T = t.TypeVar("_T")


class SharedQuota(PermitStore):
    """Keeps a `Quota` in the ledger's database.

    Args:
        database: The database with the row. It is closed by `close`.
        account: Whose requests are counted.
    """

    def __init__(self, database: Database, account: str) -> None:
        self._database = database
        self._account = account
        self._select = sa.select(table).where(table.c.account == account)

    @override
    def close(self) -> None:
        """Close the database."""
        self._database.close()

    @override
    def change(self, action: Callable[[Quota, float], _T], *, waits: bool = True) -> _T:
        """Apply an action to the quota as it is now, given the time, and return its result.

        Raises:
            LedgerError: The database stayed away, or cannot be used.
        """

        def changed(connection: sa.Connection) -> tuple[bool, _T]:
            row = connection.execute(self._select).one_or_none()
            quota = Quota() if row is None else msgspec.json.decode(row.record, type=Quota)
            result = action(quota, now_of(connection))
            return self._save(connection, row, quota), result

        while True:
            is_saved, result = self._database.execute(changed, waits=waits)
            if is_saved:
                return result

    def _save(self, connection: sa.Connection, row: sa.Row[t.Any] | None, quota: Quota) -> bool:
        """Write the quota if it has changed; return False if another run was faster."""
        record = msgspec.json.encode(quota).decode()
        if row is None:
            insert = (sqlite if self._database.is_sqlite else postgresql).insert(table)
            values = insert.values(account=self._account, version=1, record=record)
            new = values.on_conflict_do_nothing().returning(table.c.version)
            return connection.execute(new).first() is not None
        if record == row.record:
            return True
        same = (table.c.account == self._account) & (table.c.version == row.version)
        update = table.update().where(same).values(version=row.version + 1, record=record)
        return connection.execute(update).rowcount > 0
