"""The ledger of one run: content and consent by identity, for one account.

The order that keeps it from ever knowing more than the CRM holds:

1. `rows` and `mark` in one transaction: contacts that are about to be sent become unknown.
2. `settle` in another one, when it is known how their requests ended: they are known again,
   unless a try of theirs is less than a day old of which the end is unknown.
3. STATE.
"""

from __future__ import annotations

import typing as t
from collections.abc import Callable, Collection, Iterable, Sequence
from operator import attrgetter

import sqlalchemy as sa

from target_mainbrainer.api.http import seconds_awake_or_asleep
from target_mainbrainer.errors import LedgerError
from target_mainbrainer.ledger import lease, people
from target_mainbrainer.ledger.content import (
    UNSURE_SECONDS,
    Account,
    Hashes,
    Person,
    Row,
    identity_from,
)
from target_mainbrainer.ledger.database import Database, Writer, number_new, one_of, update_each
from target_mainbrainer.ledger.tables import accounts, batches, contacts, ledger, streams

_T = t.TypeVar("_T")

ROUND_BITS = 24
BATCH_BITS = 30
"""A mark is the number of a run and, in so many bits, the number of the round in it."""

_COLUMNS = Row.__struct_fields__
_SELECT = sa.select(*(contacts.c[name] for name in _COLUMNS))
_INSERT = Writer(contacts, ("id", "account", "hash", "spelling", "open_mark", "open_at"))
_MARK = Writer(contacts, ("id", "open_mark", "open_at", "unsure_at"), by=1, clears=("fields",))
_SETTLED = tuple(name for name in _COLUMNS[2:] if not name.startswith("open_"))
_SETTLE = Writer(contacts, ("id", "open_mark", *_SETTLED), by=2, clears=("open_mark", "open_at"))
_values = attrgetter("id", "open_mark", *_SETTLED)
_LEFT = dict.fromkeys(name for name in _SETTLED if name not in {"spelling", "unsure_at"})
_BATCH = Writer(batches, ("number", "run", "accepted_at"))


class Ledger:
    """The ledger of one run.

    Args:
        database: Where it is.
        account: Whose contacts it is asked about; rows of other accounts are not touched.
        run: The id of this run, a hexadecimal number of 31 bits.

    Attributes:
        hashes: With the ledger's own seed.
        run: The id of this run, as a number.
        account: The number of the account.
        is_mixed: Some contacts of the account are known by `contact_id` and others are not, so
            that nothing is known to be unchanged.
        last_time: When a round was last marked, by the database's clock.
        has_new_token: The access token is not the one that the account was delivered to with.
    """

    def __init__(self, database: Database, account: Account, run: str) -> None:
        self._database = database
        self.run = int(run, 16)
        self._token = account.access_token
        self._streams: dict[str, int] = {}
        self._keys: dict[str, str] = {}
        self._renewed_at = seconds_awake_or_asleep()
        self._next_number = 0
        self.last_time = 0

        def begin(connection: sa.Connection) -> sa.Row[t.Any]:
            query = sa.select(accounts).where(accounts.c.name == account.name)
            row = connection.execute(query).one_or_none()
            if row is None:
                connection.execute(accounts.insert().values(name=account.name))
                row = connection.execute(query).one()
            self.hashes = hashes_of(connection)
            self.is_mixed = is_mixed(connection, row.number)
            _end_batches_of_dead_runs(connection)
            return row

        row = database.write(begin)
        self.account = int(row.number)
        self.has_new_token = row.access_token not in {None, self._token}

    # Streams

    def open_stream(self, name: str, key: str = "") -> int:
        """Lease a stream to this run, and return its number.

        Args:
            name: Of the stream.
            key: The names of the columns that identify its people, "" if none do.

        Raises:
            LedgerError: Another run delivers it, or its people are known by other columns.
        """
        if name not in self._streams or key != self._keys[name]:
            self._streams[name] = self._database.write(
                lambda connection: lease.take_stream(connection, self.account, name, self.run, key)
            )
            self._keys[name] = key
        return self._streams[name]

    @property
    def is_fresh(self) -> bool:
        """Whether the leases were renewed lately, so that a request may leave. Any thread asks."""
        return seconds_awake_or_asleep() < self._renewed_at + lease.FRESH_SECONDS

    def tick(self) -> None:
        """Renew the leases if it is time to.

        Raises:
            LedgerError: Another run has taken over.
        """
        if seconds_awake_or_asleep() >= self._renewed_at + lease.RENEW_SECONDS:
            self.write(lambda _connection: None)

    def write(self, work: Callable[[sa.Connection], _T]) -> _T:
        """Return the result of `work`, committed together with a renewal of the leases.

        Raises:
            LedgerError: Another run has taken over, or the database cannot be used.
        """

        def leased(connection: sa.Connection) -> _T:
            lease.renew(connection, self.run, len(self._streams))
            return work(connection)

        began = seconds_awake_or_asleep()
        result = self._database.write(leased)
        self._renewed_at = began
        return result

    def read(self, work: Callable[[sa.Connection], _T]) -> _T:
        """Return the result of `work`, which only reads.

        Raises:
            LedgerError: The database cannot be used.
        """
        return self._database.read(work)

    def close(self) -> None:
        """End the leases."""

        def end(connection: sa.Connection) -> None:
            connection.execute(streams.update().where(streams.c.run == self.run).values(run=None))
            _end_batches_of_dead_runs(connection)

        self._database.write(end)

    # Content and consent

    def rows(self, connection: sa.Connection, hashes: Collection[int]) -> dict[int, Row]:
        """Return what is known of identities, by the hash of each."""
        found = connection.execute(_SELECT.where(self._have(connection, hashes)))
        return {row.hash: row for row in (Row(*row) for row in found)}

    def _have(self, connection: sa.Connection, hashes: Collection[int]) -> sa.ColumnElement[bool]:
        """Return the condition that a row is of one of these identities."""
        return (contacts.c.account == self.account) & one_of(connection, contacts.c.hash, hashes)

    def mark(self, connection: sa.Connection, rows: Sequence[Row], round_number: int) -> None:
        """Mark rows as being sent, and their content as unknown.

        A try that was going on when a run ended counts as one of which the end is unknown. None is
        later than now, even if a clock was ahead.
        """
        mark = self.run << ROUND_BITS | round_number
        now = self.last_time = self.now(connection)
        for row in rows:
            if row.open_mark is not None:
                row.unsure_at = max(row.open_at or 0, row.unsure_at or 0)
            if row.unsure_at is not None:
                row.unsure_at = min(row.unsure_at, now)
            row.open_mark, row.open_at = mark, now
        known = [row for row in rows if row.id is not None]
        new = number_new(connection, contacts, rows)
        _INSERT.write(
            connection, [(r.id, self.account, r.hash, r.spelling, mark, now) for r in new]
        )
        _MARK.write(connection, [(r.id, mark, now, r.unsure_at) for r in known])
        self.is_mixed = is_mixed(connection, self.account)

    def settle(self, connection: sa.Connection, rows: Iterable[Row]) -> None:
        """Write how the tries of rows have ended, unless a later try of the same row has begun.

        A row stays unknown while a try of it is less than a day old of which the end is unknown.
        Only what is delivered since shows that such a try no longer counts.
        """
        oldest = self.now(connection) - UNSURE_SECONDS
        values = []
        for row in rows:
            if row.delivered_at is not None and (row.unsure_at or oldest + 1) <= oldest:
                row.unsure_at = None
            if row.unsure_at is not None or self.is_mixed:
                row.fields = None
            values.append(_values(row))
        _SETTLE.write(connection, values)

    def delete_rows(self, connection: sa.Connection, hashes: Sequence[int]) -> None:
        """Forget identities that no contact has any more.

        A request without an answer may still be applied to a contact that comes there.
        """
        is_one = self._have(connection, hashes)
        is_unsure = contacts.c.unsure_at > self.now(connection) - UNSURE_SECONDS
        connection.execute(contacts.delete().where(is_one, is_unsure.is_not(True)))
        connection.execute(contacts.update().where(is_one).values(_LEFT))

    def doubt_identities(self, connection: sa.Connection, hashes: Collection[int]) -> None:
        """Make the content of identities unknown that a request may change yet."""
        is_ours, now = contacts.c.account == self.account, self.now(connection)
        update_each(connection, contacts.c.hash, hashes, is_ours, fields=None, unsure_at=now)

    def now(self, connection: sa.Connection) -> int:
        """Return the time by the database's clock, in seconds since the epoch."""
        return int(lease.now_of(connection))

    def save_people(self, connection: sa.Connection, some: Sequence[Person]) -> None:
        """Write people, new ones and those that were read before."""
        people.save(connection, some)

    # Batches

    def next_batch(self) -> int:
        """Return a number for a batch that was accepted."""
        self._next_number += 1
        return self.run << BATCH_BITS | self._next_number

    def add_batches(self, connection: sa.Connection, numbers: Sequence[int]) -> None:
        """Note accepted batches whose status is awaited."""
        now = self.now(connection)
        _BATCH.write(connection, [(number, self.run, now) for number in numbers])
        if self._token is not None:
            is_ours = accounts.c.number == self.account
            connection.execute(accounts.update().where(is_ours).values(access_token=self._token))
            self._token = None

    def end_batches(self, connection: sa.Connection, numbers: Sequence[int]) -> None:
        """Forget batches of which nothing more is awaited."""
        if numbers:
            is_one = one_of(connection, batches.c.number, numbers)
            connection.execute(batches.delete().where(is_one))

    def forget_content(self, connection: sa.Connection, rows: Collection[int]) -> None:
        """Make the content of rows unknown."""
        update_each(connection, contacts.c.id, rows, fields=None)

    def doubt(
        self, connection: sa.Connection, rows: Collection[int], batch: int, *, are_there: bool
    ) -> None:
        """Make content unknown that was last delivered in a batch that did not end well.

        Args:
            connection: In a transaction.
            rows: The numbers of the rows.
            batch: The number of the batch.
            are_there: MainBrainer has the contacts; they were not to be created by this batch.
        """
        values = {"fields": None} | ({} if are_there else {"delivered_at": None})
        update_each(connection, contacts.c.id, rows, contacts.c.batch == batch, **values)

    def note_there(self, connection: sa.Connection, rows: Collection[int]) -> None:
        """Note that MainBrainer has contacts, however their batches have ended."""
        is_new, now = contacts.c.delivered_at.is_(None), self.now(connection)
        update_each(connection, contacts.c.id, rows, is_new, delivered_at=now)

    def withdraw_raised(self, connection: sa.Connection, numbers: Sequence[int]) -> None:
        """Forget the opt-ins that were raised in batches that failed: they were never given."""
        is_ours = contacts.c.account == self.account
        for kind in ("mobile", "email"):
            values = {f"{kind}_said": None, f"{kind}_raised_in": None}
            update_each(connection, contacts.c[f"{kind}_raised_in"], numbers, is_ours, **values)


def _end_batches_of_dead_runs(connection: sa.Connection) -> None:
    """Make content unknown that was delivered in batches whose run ended before their status."""
    is_left = batches.c.run.not_in(lease.live_runs(connection))
    left = sa.select(batches.c.number).where(is_left)
    if connection.scalar(left.limit(1)) is None:
        return
    began = sa.select(batches.c.accepted_at).where(batches.c.number == contacts.c.batch)
    values = {"fields": None, "unsure_at": began.scalar_subquery()}
    connection.execute(contacts.update().where(contacts.c.batch.in_(left)).values(values))
    connection.execute(batches.delete().where(is_left))


def hashes_of(connection: sa.Connection) -> Hashes:
    """Return hashes with the ledger's own seed."""
    return Hashes(connection.execute(sa.select(ledger.c.seed)).scalar_one())


def is_mixed(connection: sa.Connection, account: int) -> bool:
    """Return whether some contacts of an account are known by `contact_id` and others are not."""
    kinds = (contacts.c.hash < 0, contacts.c.hash >= 0)
    known = (sa.exists().where(contacts.c.account == account, kind) for kind in kinds)
    return all(connection.scalar(sa.select(one)) for one in known)


def streams_of(connection: sa.Connection, account: int) -> Sequence[sa.Row[t.Any]]:
    """Return the streams of an account."""
    return connection.execute(sa.select(streams).where(streams.c.account == account)).all()


def require_no_delivery(connection: sa.Connection, account: int) -> None:
    """Make sure that no run is going on that uses an account.

    Raises:
        LedgerError: One is.
    """
    now = lease.now_of(connection)
    for row in streams_of(connection, account):
        if lease.is_live(row, now):
            raise LedgerError(lease.busy(row))


def forget(
    connection: sa.Connection,
    account: int,
    some: Sequence[Person],
    *,
    whole: Collection[int] = (),
    hashes: Iterable[int] = (),
) -> int:
    """Forget people with their identities; return how many identities were forgotten.

    An identity that another source key of the account has stays. What a stream without
    `key_properties` has delivered belongs to no source key, so it goes with any such stream.

    Args:
        connection: In a transaction.
        account: The account.
        some: The people.
        whole: Streams of which these are all people.
        hashes: Further identities to be forgotten.
    """
    identity = hashes_of(connection).identity
    forgotten = {person.hash for person in some} | set(hashes)
    forgotten |= {identity(identity_from(one.previous)) for one in some if one.previous is not None}
    has_unowned = not {person.stream for person in some}.issuperset(whole)
    people.delete(connection, some)
    touched = {*whole, *(person.stream for person in some)}
    connection.execute(streams.delete().where(streams.c.number.in_(touched), ~people.has_people))
    is_left = bool(streams_of(connection, account))
    kept = {identity(identity_from(text)) for text in people.previous_of(connection, account)}
    where = (contacts.c.account == account) & contacts.c.hash.not_in(kept) & ~people.owns_contact()
    if is_left and not has_unowned:
        where &= one_of(connection, contacts.c.hash, forgotten)
    count = connection.execute(contacts.delete().where(where)).rowcount
    if not is_left and (whole or some):
        connection.execute(accounts.delete().where(accounts.c.number == account))
    return count
