"""The ledger of one run: opened for an account, and taken stream by stream."""

from __future__ import annotations

import threading
import typing as t

from target_mainbrainer.errors import LedgerError
from target_mainbrainer.ledger import entry_store, store
from target_mainbrainer.ledger.comparison import Digests
from target_mainbrainer.ledger.machine import Process, this_process
from target_mainbrainer.ledger.marking import TOKEN_BITS
from target_mainbrainer.ledger.seen import Seen
from target_mainbrainer.ledger.stream_ledger import LEASE_SECONDS, Run, StreamLedger

if t.TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

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

    Attributes:
        notes: Sentences for the log about how it was found.
    """

    def __init__(
        self,
        database: Database,
        account: Account,
        *,
        clock: Callable[[], float],
        process: Process | None = None,
    ) -> None:
        self.notes: list[str] = []
        self._process = process or this_process()
        self._next_token = 0
        with database.transaction() as connection:
            header = store.read_header(connection, lock=True)
            if header is None:
                store.create_header(connection)
                header = t.cast("store.Header", store.read_header(connection))
            if header.account not in {None, account.fingerprint}:
                store.delete_everything(connection)
                self.notes.append(
                    f"The ledger {database.name} was filled from another account or sandbox, so "
                    "it starts anew: every contact is sent."
                )
            elif header.access_token != account.access_token and header.account is not None:
                self.notes.append(
                    "The access token is not the one that the ledger was filled with. If it "
                    "belongs to another account, run 'mainbrainer-ledger forget' first: contacts "
                    "that have not changed are not sent."
                )
            number = header.last_run + 1
            store.update_header(
                connection,
                account=account.fingerprint,
                access_token=account.access_token,
                last_run=number,
            )
            doubtful = entry_store.unresolved_hashes(connection)
            doubtful |= store.take_doubts(connection, number)
            newest_id = entry_store.newest_id(connection)
        self._run = Run(
            number,
            database,
            Digests(header.digest_key),
            self._token,
            clock,
            threading.Lock(),
            doubtful,
            Seen(),
            newest_id,
            set(),
        )

    def _token(self) -> int:
        self._next_token += 1
        return self._run.number << TOKEN_BITS | self._next_token

    def close(self) -> None:
        """Close the database."""
        self._run.database.close()

    def open_stream(self, name: str, *, sends_all: bool = False) -> StreamLedger:
        """Take a stream for this run.

        Raises:
            LedgerError: Another run delivers it.
        """
        with self._run.lock, self._run.database.transaction() as connection:
            row = store.lock_stream(connection, name)
            now = store.now_of(connection)
            if row.run != self._run.number:
                refuse_if_held(row, now)
            store.update_stream(
                connection,
                row.number,
                run=self._run.number,
                machine=self._process.machine,
                process=self._process.process,
                lease_until=now + LEASE_SECONDS,
            )
            store.delete_closed_batches(connection, int(now) - BATCHES_KEPT_SECONDS)
            return StreamLedger(
                self._run,
                name,
                row.number,
                newest_id=entry_store.newest_id(connection),
                open_batches=store.open_batches(connection, row.number),
                sends_all=sends_all,
            )


def refuse_if_held(stream: sa.Row[t.Any], now: float) -> None:
    """Do nothing if no run delivers a stream, given its row and the time.

    Raises:
        LedgerError: A run delivers it that may still go on.
    """
    if stream.run is None:
        return
    gone = Process(stream.machine, stream.process).is_gone
    if stream.lease_until <= now if gone is None else gone:
        return
    host, process = stream.machine.partition(" ")[0], stream.process.partition(" ")[0]
    message = (
        f"Another run delivers stream '{stream.name}' with this ledger: process {process} on "
        f"{host}. Wait until it has ended."
    )
    raise LedgerError(message)
