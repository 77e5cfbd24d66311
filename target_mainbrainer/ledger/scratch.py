"""A copy of a ledger that a dry run may write to, and that is thrown away with it.

So a dry run goes the same way as a run, and the ledger itself is only read. The copy is a SQLite
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
def scratch_copy(uri: str) -> Iterator[Database]:
    """Yield a copy of a ledger; an empty one if there is no ledger yet.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="target-mainbrainer-") as folder:
        path = str(Path(folder) / "ledger.db")
        with contextlib.closing(open_database(path, synchronous="OFF")) as copy:
            with (
                contextlib.suppress(NoLedgerError),
                contextlib.closing(open_database(uri, reads_only=True)) as original,
            ):
                _copy(original, copy)
            yield copy


def _copy(original: Database, copy: Database) -> None:
    with original.transaction(reads_only=True) as source, copy.transaction() as target:
        target.execute(ledger.delete())
        for table in metadata.sorted_tables:
            if table in {quota, schema_version}:
                continue
            rows = source.execution_options(yield_per=ROWS_AT_ONCE).execute(sa.select(table))
            for part in rows.mappings().partitions(ROWS_AT_ONCE):
                target.execute(table.insert(), [dict(row) for row in part])
        # A run that goes on at this moment does not prevent a dry run.
        target.execute(streams.update().values(run=None, lease_until=None))
