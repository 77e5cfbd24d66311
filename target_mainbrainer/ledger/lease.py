"""State that runs with one ledger share: the leases of streams, and the quota of an account.

While the lease of a stream lasts, no other run delivers the stream. A run on this machine that has
ended is recognised by its process; a run elsewhere, or one whose process cannot be identified, by
its lease, which every transaction of a live run renews.
"""

from __future__ import annotations

import os
import socket
import time
import typing as t
from collections.abc import Callable
from pathlib import Path

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from typing_extensions import override

from target_mainbrainer.api.limits import PermitStore, Quota
from target_mainbrainer.errors import LedgerError
from target_mainbrainer.ledger.database import Database
from target_mainbrainer.ledger.tables import accounts, people, quota, streams
from target_mainbrainer.words import shown

_T = t.TypeVar("_T")

LEASE_SECONDS = 180.0
"""How long a run keeps a stream after its last transaction."""

FRESH_SECONDS = 60.0
"""No request leaves when the lease was not renewed for so long."""

RENEW_SECONDS = 20.0

LONGEST_SECONDS = 60 * 60.0
"""A lease that lasts longer was written by a clock that was ahead."""


def now_of(connection: sa.Connection) -> float:
    """Return the time by the clock that all users of this database share."""
    if connection.dialect.name == "sqlite":
        return time.time()
    clock = sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Double)
    return float(connection.scalar(sa.select(clock)) or 0)


def take_stream(connection: sa.Connection, account: int, name: str, run: int, key: str) -> int:
    """Lease a stream to a run, which is this process, and return the number of the stream.

    Raises:
        LedgerError: Another run delivers it, its account was forgotten a moment ago, or its people
            are known by other columns.
    """
    query = sa.select(streams).where(streams.c.account == account, streams.c.name == name)
    row = connection.execute(query).one_or_none()
    if row is None:
        known = sa.select(accounts.c.number).where(accounts.c.number == account)
        if connection.scalar(known) is None:
            raise LedgerError("The account was forgotten while this run was starting. Run again.")
        connection.execute(streams.insert().values(account=account, name=name))
        row = connection.execute(query).one()
    now = now_of(connection)
    if row.run != run and is_live(row, now):
        raise LedgerError(busy(row))
    if key and row.key_columns not in {None, key}:
        is_known = sa.exists().where(people.c.stream == row.number)
        if row.run == run or connection.scalar(sa.select(is_known)):
            raise LedgerError(
                f"The 'key_properties' of stream '{shown(name)}' are {shown(key)}, and the ledger "
                f"knows its people by {shown(row.key_columns)}: they would be taken for others. "
                "Give the stream another name, with an '__alias__' in 'stream_maps': its people "
                "count as new, and contacts are still known by their address. Or forget it with "
                "'mainbrainer-ledger forget --stream': then all is sent again, with every yes."
            )
    lease = {"machine": _machine(), "process": _process(os.getpid()), "run": run}
    values = {"lease_until": now + LEASE_SECONDS, "delivered_at": int(now), **lease}
    values["key_columns"] = key or row.key_columns
    connection.execute(streams.update().where(streams.c.number == row.number).values(values))
    return int(row.number)


def is_live(stream: sa.Row[t.Any], now: float) -> bool:
    """Return whether a run that may still go on delivers a stream, given its row."""
    if stream.run is None:
        return False
    number, _, started = stream.process.partition(" ")
    there = _process(int(number))
    if stream.machine != _machine() or (there and not (started and there.partition(" ")[2])):
        # It, or which process that is, cannot be seen here.
        return bool(now < stream.lease_until < now + LONGEST_SECONDS)
    return bool(there == stream.process)


def busy(stream: sa.Row[t.Any]) -> str:
    """Return the sentence about a stream that another run delivers."""
    host, process = stream.machine.partition(" ")[0], stream.process.partition(" ")[0]
    return (
        f"Another run delivers stream '{shown(stream.name)}' with this ledger: process {process} "
        f"on {host}. Wait until it has ended."
    )


def live_runs(connection: sa.Connection) -> set[int]:
    """Return the runs that may still go on."""
    now = now_of(connection)
    found = connection.execute(sa.select(streams).where(streams.c.run.is_not(None))).all()
    return {row.run for row in found if is_live(row, now)}


def renew(connection: sa.Connection, run: int, count: int) -> None:
    """Renew the leases of a run.

    Raises:
        LedgerError: Another run has taken over one of its streams.
    """
    until = now_of(connection) + LEASE_SECONDS
    query = streams.update().where(streams.c.run == run).values(lease_until=until)
    if connection.execute(query).rowcount != count:
        raise LedgerError(
            "Another run has taken over a stream of this one, because this one did not renew its "
            f"lease for {LEASE_SECONDS:.0f} s. Nothing more is sent; the next run sends the rest."
        )


def _machine() -> str:
    """Return host name, boot and, in a container, its own numbering of processes."""
    try:
        numbering = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        numbering = ""
    boot = _read("/proc/sys/kernel/random/boot_id").strip()
    return f"{socket.gethostname()} {boot} {numbering}".strip()


def _process(number: int) -> str:
    """Return the number of a process and, if the system says so, its start; "" without one."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass  # it exists, and belongs to another user
    # The name before the last bracket may contain blanks and brackets itself.
    stat = _read(f"/proc/{number}/stat").rpartition(")")[2].split()
    return f"{number} {stat[19] if stat else ''}".strip()


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


class SharedQuota(PermitStore):
    """Keeps a `Quota` in the ledger's database, for all runs with the same account.

    One row contains the whole `Quota` as JSON. A change reads it, applies the rules of
    `api.limits` to it and writes it back, unless another run has changed it in between (its
    `version` then differs); in that case it reads again. So every change is exact, no lock and no
    session outlives a statement, and a run that dies leaves nothing to clean up. The clock is the
    database's, which is the same for all machines; with SQLite the wall clock, which is the same
    for all processes. A clock that is set costs at most one 429.

    Args:
        database: The database with the row.
        account: Whose requests are counted.
    """

    def __init__(self, database: Database, account: str) -> None:
        self._database = database
        self._account = account
        self._select = sa.select(quota).where(quota.c.account == account)

    @override
    def change(self, action: Callable[[Quota, float], _T], *, waits: bool = True) -> _T:
        """Apply an action to the quota as it is now, given the time, and return its result.

        Raises:
            LedgerError: The database stayed away, or cannot be used.
        """

        def changed(connection: sa.Connection) -> tuple[bool, _T]:
            row = connection.execute(self._select).one_or_none()
            shared = Quota() if row is None else msgspec.json.decode(row.record, type=Quota)
            result = action(shared, now_of(connection))
            return self._save(connection, row, shared), result

        while True:
            is_saved, result = self._database.execute(changed, waits=waits)
            if is_saved:
                return result

    def _save(self, connection: sa.Connection, row: sa.Row[t.Any] | None, shared: Quota) -> bool:
        """Write the quota if it has changed; return False if another run was faster."""
        record = msgspec.json.encode(shared).decode()
        if row is None:
            insert = (sqlite if self._database.is_sqlite else postgresql).insert(quota)
            values = insert.values(account=self._account, version=1, record=record)
            new = values.on_conflict_do_nothing().returning(quota.c.version)
            return connection.execute(new).first() is not None
        if record == row.record:
            return True
        same = (quota.c.account == self._account) & (quota.c.version == row.version)
        update = quota.update().where(same).values(version=row.version + 1, record=record)
        return connection.execute(update).rowcount > 0
