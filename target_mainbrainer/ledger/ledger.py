"""The ledger of one run: opened for an account, and taken stream by stream."""

from __future__ import annotations

import itertools
import typing as t

import sqlalchemy as sa

from target_mainbrainer.ledger import entry_queries, store
from target_mainbrainer.ledger.comparison import Digests
from target_mainbrainer.ledger.lease import refuse_if_held, take_stream
from target_mainbrainer.ledger.machine import Process, this_process
from target_mainbrainer.ledger.marking import TOKEN_BITS
from target_mainbrainer.ledger.run_context import RunContext
from target_mainbrainer.ledger.stream_ledger import StreamLedger
from target_mainbrainer.ledger.tables import streams
from target_mainbrainer.ledger.transactions import Transactions

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from target_mainbrainer.ledger.database import Database

BATCHES_KEPT_SECONDS = 30 * 24 * 60 * 60


class Account(t.NamedTuple):
    """What a ledger is filled from.

    Attributes:
        fingerprint: Of the API's address and the user name, or of the sandbox's file.
        access_token: Fingerprint of a token that does not say whose it is; None with a user name.
    """

    fingerprint: str
    access_token: str | None = None


class Ledger:
    """The ledger of one run.

    Args:
        database: Where it is.
        account: What it is filled from now; another one starts it anew.
        clock: Seconds that only ever grow.
        process: Which process this is.
        retry_max_seconds: How long to wait for a database that goes away in mid-run.
        is_ending: Returns whether the run is to end, so that nothing is waited for any more.

    Attributes:
        notes: Sentences for the log about how it was found.

    Raises:
        LedgerError: A run that still goes on fills it from another account.
    """

    def __init__(
        self,
        database: Database,
        account: Account,
        *,
        clock: Callable[[], float],
        process: Process | None = None,
        retry_max_seconds: float = 0.0,
        is_ending: Callable[[], bool] = lambda: False,
    ) -> None:
        self.notes: list[str] = []
        self._process = process or this_process()
        self._numbers = itertools.count(1)
        with database.transaction() as connection:
            header = self._take_over(connection, account, database.name)
            number = header.last_run + 1
            store.update_header(
                connection,
                account=account.fingerprint,
                access_token=account.access_token,
                last_run=number,
            )
            doubtful = entry_queries.unresolved_hashes(connection)
            doubtful |= store.take_doubts(connection, number)
            newest_id = entry_queries.newest_id(connection)
        self._run = RunContext(
            number=number,
            account=account.fingerprint,
            transactions=Transactions(
                database, retry_max_seconds=retry_max_seconds, is_ending=is_ending
            ),
            digests=Digests(header.digest_key),
            next_token=self._token,
            clock=clock,
            doubtful=doubtful,
            newest_id=newest_id,
        )

    def _take_over(self, connection: sa.Connection, account: Account, name: str) -> store.Header:
        """Return what the ledger says of itself, emptied if it is another account's."""
        header = store.read_header(connection, lock=True)
        if header is None:
            store.create_header(connection)
            header = t.cast("store.Header", store.read_header(connection))
        if header.account not in {None, account.fingerprint}:
            now = store.now_of(connection)
            for stream in connection.execute(sa.select(streams)).all():
                refuse_if_held(stream, now)
            store.delete_everything(connection)
            self.notes.append(
                f"The ledger {name} was filled from another account or sandbox, so it starts "
                "anew: every contact is sent."
            )
        elif header.access_token != account.access_token and header.account is not None:
            self.notes.append(
                "The access token is not the one that the ledger was filled with. If it "
                "belongs to another account, run 'mainbrainer-ledger forget' first: contacts "
                "that have not changed are not sent."
            )
        return header

    def _token(self) -> int:
        return self._run.number << TOKEN_BITS | next(self._numbers)

    def close(self) -> None:
        """Close the database."""
        self._run.transactions.close()

    def open_stream(self, name: str, *, sends_all: bool = False) -> StreamLedger:
        """Take a stream for this run.

        Raises:
            LedgerError: Another run delivers it.
        """
        run = self._run

        def take(connection: sa.Connection) -> tuple[int, int, list[tuple[int, str, int]]]:
            stream = take_stream(connection, name, run=run.number, process=self._process)
            before = int(store.now_of(connection)) - BATCHES_KEPT_SECONDS
            store.delete_closed_batches(connection, before)
            open_batches = store.open_batches(connection, stream)
            return stream, entry_queries.newest_id(connection), open_batches

        stream, newest_id, open_batches = run.write(take)
        return StreamLedger(
            run,
            name,
            stream,
            newest_id=newest_id,
            open_batches=open_batches,
            sends_all=sends_all,
        )
