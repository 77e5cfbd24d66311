"""A run's hold on a stream: while it lasts, no other run delivers the stream."""

from __future__ import annotations

import typing as t

from target_mainbrainer.errors import LedgerError
from target_mainbrainer.ledger import store
from target_mainbrainer.ledger.machine import Process

if t.TYPE_CHECKING:
    import sqlalchemy as sa

    from target_mainbrainer.ledger.run_context import RunContext

LEASE_SECONDS = 180.0
"""How long a run on another machine keeps a stream after it was last heard of."""

LEASE_STEP_SECONDS = 30.0


class Lease:
    """This run's hold on a stream."""

    def __init__(self, run: RunContext, stream: int, name: str) -> None:
        self._run = run
        self._stream = stream
        self._name = name
        self._renewed_at = run.clock()

    @property
    def is_due(self) -> bool:
        """Whether it is time to renew it."""
        return self._run.clock() >= self._renewed_at + LEASE_STEP_SECONDS

    def keep(self, connection: sa.Connection) -> None:
        """Make sure that the stream is still this run's, and keep it so.

        Raises:
            LedgerError: It is not.
        """
        if self.is_due:
            self._renewed_at = self._run.clock()
            until = store.now_of(connection) + LEASE_SECONDS
            is_ours = store.extend_lease(connection, self._stream, self._run.number, until)
        else:
            is_ours = store.run_of(connection, self._stream) == self._run.number
        if not is_ours:
            message = (
                f"Another run has taken over stream '{self._name}', because this one was not "
                f"heard of for {LEASE_SECONDS:.0f} s. What this run sent since is sent again."
            )
            raise LedgerError(message)

    def release(self, connection: sa.Connection) -> None:
        """Let other runs have the stream."""
        store.release_stream(connection, self._stream, self._run.number)


def take_stream(connection: sa.Connection, name: str, *, run: int, process: Process) -> int:
    """Take a stream for a run, and return its number.

    Raises:
        LedgerError: Another run delivers it.
    """
    row = store.lock_stream(connection, name)
    now = store.now_of(connection)
    if row.run != run:
        refuse_if_held(row, now)
    store.update_stream(
        connection,
        row.number,
        run=run,
        machine=process.machine,
        process=process.process,
        lease_until=now + LEASE_SECONDS,
    )
    return int(row.number)


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
