"""The quota that all runs with the same ledger and the same token share.

One row for each account holds the whole `Quota` as JSON. A change reads it, applies the rules of
`quota.py` to it and writes it back, unless another run has changed it in between (its `version`
then differs); in that case it reads again. So every change is exact, no lock and no session
outlives a statement, and a run that dies leaves nothing to clean up. PostgreSQL and SQLite differ
only in the clock:

- SQLite: the machine's monotonic clock, which is the same for all processes and cannot be set.
  After a reboot, which another boot id tells, it goes on by what the time of day says has passed.
- PostgreSQL: the database's clock, which is the same for all machines and can be set. Every run
  compares it with its own monotonic clock. If it has jumped, the jump is kept in the row and left
  out from then on.
"""

from __future__ import annotations

import hashlib
import threading
import time
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from target_mainbrainer.api.limits import Quota, Taken, Wait
from target_mainbrainer.errors import LedgerError, TransientError
from target_mainbrainer.ledger.database import open_database
from target_mainbrainer.ledger.tables import quota as table

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from target_mainbrainer.config.limits import Plan
    from target_mainbrainer.ledger.database import Database

_T = t.TypeVar("_T")

JUMP_SECONDS = 0.05
"""How far two clocks may differ before one is taken to have been set."""

_DRIFT = 0.001
"""By how much the rates of two clocks may differ; a clock that is being adjusted slowly does."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_DATABASE_CLOCK = sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Double)


@dataclass
class Record:
    """What the row holds.

    Attributes:
        quota: The requests spent, by the row's own time: seconds since it was created.
        offset: What to add to the clock for the row's time.
        last: When it was last changed, by its own time.
        time_of_day: The same by the time of day, for SQLite after a reboot.
        boot: Which boot of the machine that was, for SQLite.
    """

    quota: Quota = field(default_factory=Quota)
    offset: float = 0.0
    last: float = 0.0
    time_of_day: float = 0.0
    boot: str = ""


class Sighting(t.NamedTuple):
    """When this process last looked at the row: the moment is between `asked` and `got`."""

    asked: float
    got: float
    now: float
    offset: float
    quota: Quota


def fingerprint(*parts: str) -> str:
    """Return a name for an account that does not tell its token or user name."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def open_shared_quota(ledger_uri: str, account: str) -> SharedQuota:
    """Open the quota of an account, on a connection of its own.

    A take need not survive a power loss, for which SQLite would wait for the disk.

    Raises:
        LedgerError: The database cannot be used.
    """
    return SharedQuota(open_database(ledger_uri, synchronous="NORMAL"), account)


class SharedQuota:
    """A `PermitStore` in the ledger's database.

    Args:
        database: Where the row is kept. It is closed by `close`.
        account: Whose requests are counted; see `fingerprint`.
        clock: This machine's monotonic clock.
        time_of_day: This machine's time of day.
        boot_id: Tells one boot of this machine from another.
        database_clock: The database's time, for PostgreSQL.
    """

    def __init__(
        self,
        database: Database,
        account: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        time_of_day: Callable[[], float] = time.time,
        boot_id: str | None = None,
        database_clock: sa.ColumnElement[float] = _DATABASE_CLOCK,
    ) -> None:
        self._database = database
        self._account = account
        self._clock = clock
        self._time_of_day = time_of_day
        self._boot = _read_boot_id() if boot_id is None else boot_id
        columns: list[sa.ColumnElement[t.Any]] = [table.c.version, table.c.record]
        if not database.is_sqlite:
            columns.append(database_clock.label("clock"))
        self._select_clock = sa.select(database_clock)
        everything = sa.select(*columns)
        self._select = everything.where(table.c.account == account)
        self._lock = threading.Lock()
        self._postponed: list[Callable[[Quota, float], None]] = []
        self._sighting: Sighting | None = None

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def take(self, plan: Plan | None, *, is_spare: bool = False) -> Taken | Wait:
        """Take a permit, or say how long to wait for one.

        Raises:
            TransientError: The database cannot be used now.
        """
        taken, at = self._change(lambda quota, now: quota.take(plan, now, is_spare=is_spare))
        return taken if isinstance(taken, Wait) else Taken(at, taken)

    def free(self, plan: Plan | None) -> int:
        """Return how many permits there are, as far as this process knows."""
        return self._look(lambda quota, now: quota.free(plan, now))

    def in_use(self) -> int:
        """Return how many permits are occupied, as far as this process knows."""
        return self._look(Quota.in_use)

    def correct(self, until: float, by: float) -> None:
        """Occupy a permit for so many seconds longer.

        Raises:
            TransientError: The database cannot be used now; it is done with the next change.
        """
        self._change_for_sure(lambda quota, _: quota.correct(until, until + by))

    def give_back(self, until: float) -> None:
        """Free a permit with which nothing was sent.

        Raises:
            TransientError: As `correct` does.
        """
        self._change_for_sure(lambda quota, _: quota.give_back(until))

    def hold(self, seconds: float, reason: str) -> None:
        """Give out no permit for so long, to no run.

        Raises:
            TransientError: As `correct` does.
        """
        end = self._clock() + seconds
        self._change_for_sure(lambda quota, now: quota.hold(end - self._clock(), reason, now))

    def _look(self, question: Callable[[Quota, float], int]) -> int:
        seen = self._sighting
        if seen is None:
            return question(Quota(), 0.0)
        return question(seen.quota, seen.now + self._clock() - seen.got)

    def _change_for_sure(self, action: Callable[[Quota, float], None]) -> None:
        with self._lock:
            self._postponed.append(action)
        self._change(lambda _quota, _now: None)

    def _change(self, action: Callable[[Quota, float], _T]) -> tuple[_T, float]:
        """Apply an action to the quota; return what it returns, and a moment before it."""
        with self._lock:
            while True:
                try:
                    with self._database.transaction() as connection:
                        asked = self._clock()
                        row = connection.execute(self._select).one_or_none()
                        got = self._clock()
                        record, now = self._read(connection, row, asked, got)
                        for postponed in self._postponed:
                            postponed(record.quota, now)
                        result = action(record.quota, now)
                        is_saved = self._save(connection, row, record, now)
                except LedgerError as error:
                    raise TransientError(str(error)) from None
                if is_saved:
                    self._postponed.clear()
                    self._sighting = Sighting(asked, got, now, record.offset, record.quota)
                    return result, asked

    def _read(
        self, connection: sa.Connection, row: sa.Row[t.Any] | None, asked: float, got: float
    ) -> tuple[Record, float]:
        """Return the record, and the time in its own terms."""
        if row is None:
            record = Record(boot=self._boot, time_of_day=self._time_of_day())
            is_sqlite = self._database.is_sqlite
            clock = got if is_sqlite else connection.scalar(self._select_clock)
            record.offset = -float(clock or 0)
            return record, 0.0
        record = msgspec.json.decode(row.record, type=Record)
        if self._database.is_sqlite:
            return record, self._time_by_the_machine(record, got)
        return record, self._time_by_the_database(record, row.clock, asked, got)

    def _time_by_the_machine(self, record: Record, clock: float) -> float:
        now = clock + record.offset
        if record.boot != self._boot or now < record.last:
            passed = max(0.0, self._time_of_day() - record.time_of_day)
            record.boot = self._boot
            record.offset += record.last + passed - now
            now = record.last + passed
        return now

    def _time_by_the_database(
        self, record: Record, clock: float, asked: float, got: float
    ) -> float:
        now = clock + record.offset
        seen = self._sighting
        if seen is None:
            return now
        least, most = asked - seen.got, got - seen.asked
        passed = now - seen.now
        tolerance = JUMP_SECONDS + _DRIFT * most
        jump = passed - min(max(passed, least), most)
        if abs(jump) <= tolerance:
            return now
        if seen.offset == record.offset:
            record.offset -= jump
            return now - jump
        # Another run has left out a jump that is not the whole one. Which of the two is right
        # cannot be told, and correcting each other would never end.
        record.quota.begin_anew(now)
        return now

    def _save(
        self, connection: sa.Connection, row: sa.Row[t.Any] | None, record: Record, now: float
    ) -> bool:
        """Write the record if it has changed; return False if another run was faster."""
        if row is not None and _encode(record) == row.record:
            return True
        record.last, record.time_of_day = now, self._time_of_day()
        values = {"record": _encode(record)}
        if row is not None:
            update = table.update().where(
                table.c.account == self._account, table.c.version == row.version
            )
            return connection.execute(update.values(version=row.version + 1, **values)).rowcount > 0
        insert = sqlite.insert(table) if self._database.is_sqlite else postgresql.insert(table)
        new = insert.values(account=self._account, version=1, **values).on_conflict_do_nothing()
        return connection.execute(new.returning(table.c.version)).first() is not None


def _encode(record: Record) -> str:
    return msgspec.json.encode(record).decode()


def _read_boot_id() -> str:
    """Return which boot of the machine this is, or "" if the system does not say."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
