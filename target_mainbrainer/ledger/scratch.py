"""A copy of a ledger that a dry run may write to, and that is thrown away with it.

So a dry run goes the same way as a run, and the ledger itself is only read. The copy is an SQLite
file for its owner alone, in the folder for temporary files.
"""

from __future__ import annotations

import contextlib
import tempfile
import typing as t
from pathlib import Path

import sqlalchemy as sa

from target_mainbrainer.ledger.database import NoLedgerError, open_database
from target_mainbrainer.ledger.tables import ledger, metadata, quota, schema_version, streams

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from target_mainbrainer.ledger.database import Database

ROWS_AT_ONCE = 5_000


@contextlib.contextmanager
def scratch_copy(uri: str, *, keeps_account: bool) -> Iterator[str]:
    """Copy a ledger, and yield the path of the copy; an empty one if there is no ledger yet.

    Args:
        uri: `ledger_uri`.
        keeps_account: Whether the copy is for the same account only.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="target-mainbrainer-") as folder:
        path = str(Path(folder) / "ledger.db")
        with contextlib.closing(open_database(path, synchronous="OFF")) as copy:
            if (original := _open_if_there(uri)) is not None:
                with contextlib.closing(original):
                    _copy(original, copy)
            if not keeps_account:
                with copy.transaction() as connection:
                    connection.execute(ledger.update().values(account=None, access_token=None))
        yield path


def _open_if_there(uri: str) -> Database | None:
    try:
        return open_database(uri, must_exist=True)
    except NoLedgerError:
        return None


def _copy(original: Database, copy: Database) -> None:
    with (
        original.transaction(reads_only=True) as source,
        copy.transaction() as target,
    ):
        for table in metadata.sorted_tables:
            if table in {quota, schema_version}:
                continue
            rows = source.execution_options(yield_per=ROWS_AT_ONCE).execute(sa.select(table))
            for part in rows.mappings().partitions(ROWS_AT_ONCE):
                target.execute(table.insert(), [dict(row) for row in part])
        # A run that goes on at this moment does not prevent a dry run.
        target.execute(streams.update().values(run=None, lease_until=None))
