"""`mainbrainer-ledger`: shows what a ledger knows, and makes it forget."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import typing as t
from collections.abc import Collection, Iterator
from decimal import Decimal

import click
import sqlalchemy as sa
from typing_extensions import override

from target_mainbrainer.contacts import Contact, Mobile, identifiers_of
from target_mainbrainer.errors import LedgerError
from target_mainbrainer.ledger import lease, people
from target_mainbrainer.ledger import ledger as memory
from target_mainbrainer.ledger.content import (
    ALIAS,
    FIELD_BYTES,
    UNSURE_SECONDS,
    Person,
    identity_from,
    key_text,
)
from target_mainbrainer.ledger.database import open_database
from target_mainbrainer.ledger.tables import accounts, contacts
from target_mainbrainer.ledger.tables import people as table
from target_mainbrainer.privacy import explain
from target_mainbrainer.words import counted, shown

Row: t.TypeAlias = "sa.Row[t.Any]"

_COUNTS = ("known", "gone", "missing", "changing", "unknown", "no_opt_in")
_LINE = "  {:24}" + " {:>9}" * len(_COUNTS) + "  {:23}  {}"


class _Sentences(click.Group):
    """Ends with a sentence instead of a traceback."""

    @override
    def invoke(self, ctx: click.Context) -> t.Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except OSError as error:
            raise click.ClickException(f"The system says: {error.strerror}.") from None
        except Exception as error:  # noqa: BLE001 - every end is explained
            raise click.ClickException("\n".join(explain(error))) from None


def _keys(_context: object, _option: object, value: str | None) -> set[str] | None:
    """Return the ways in which the ledger may have written a source key.

    It is JSON or plain text: the value, or a list or an object of several. Zeros at the end of a
    fraction stay, as two people's keys may differ in nothing else.
    """
    if value is None:
        return None
    try:
        found = json.loads(value, parse_int=str, parse_float=_fraction)
    except (ValueError, RecursionError):
        found = value
    if isinstance(found, dict):
        found = [found[column] for column in sorted(found)]
    spellings = [found] if isinstance(found, list) else [[found], [value]]
    return set(map(key_text, spellings))


def _fraction(text: str) -> Decimal | str:
    return Decimal(text) if "e" in text.lower() else text


class Wanted(t.NamedTuple):
    """Selection by the options; everything without any of them.

    Attributes:
        account: The number of an account.
        stream: The name of a stream.
        key: The spellings of a source key.
        email: Of a contact.
        mobile: Of a contact, without its country code.
        last_seen_before: Only people of whom no record has come since.
    """

    account: int | None = None
    stream: str | None = None
    key: Collection[str] | None = None
    email: str | None = None
    mobile: int | None = None
    last_seen_before: dt.datetime | None = None

    @property
    def names_people(self) -> bool:
        """Whether people are asked for, and not whole streams."""
        return self[2:] != Wanted()[2:]

    @property
    def contact(self) -> Contact:
        """The address that is asked for, as far as it is given."""
        mobile = None if self.mobile is None else Mobile(0, self.mobile)  # the code does not count
        return Contact(email=self.email, mobile=mobile)

    def accounts(self, connection: sa.Connection) -> Iterator[tuple[Row, dict[int, str]]]:
        """Yield the accounts that are asked for, and the names of their streams by number."""
        for account in connection.execute(sa.select(accounts).order_by(accounts.c.number)).all():
            names = {
                row.number: row.name
                for row in memory.streams_of(connection, account.number)
                if self.stream in {None, row.name, row.name.rpartition(ALIAS)[2]}
            }
            if self.account in {None, account.number} and (names or self.stream is None):
                yield account, names

    def people(self, connection: sa.Connection, streams: Collection[int]) -> list[Person]:
        """Return the people of these streams who are asked for."""
        conditions: list[sa.ColumnElement[bool]] = [table.c.stream.in_(streams)]
        if self.key:
            conditions.append(table.c.key.in_(self.key))
        if self.last_seen_before:
            before = int(self.last_seen_before.replace(tzinfo=dt.UTC).timestamp())
            conditions.append(table.c.seen_at < before - people.SEEN_SECONDS)
        wanted = set(identifiers_of(self.contact))
        return [
            one
            for one in people.search(connection, conditions)
            if any(
                wanted.issubset(identifiers_of(identity_from(identity)))
                for identity in filter(None, (one.identity, one.previous, *one.had))
            )
        ]

    def hashes(self, connection: sa.Connection) -> set[int]:
        """Return the identity that is asked for, by which people without a source key are known."""
        if self.contact == Contact() or self.key or self.last_seen_before:
            return set()
        return {memory.hashes_of(connection).identity(self.contact)}


_WHO: list[click.Parameter] = [
    click.Option(["--account"], type=int, help="Only this account, by its number."),
    click.Option(["--stream"], help="Only this stream."),
    click.Option(["--key"], callback=_keys, help="Only this source key, as text or JSON."),
    click.Option(["--email"], help="Only people with this e-mail address."),
    click.Option(["--mobile"], type=int, help="Only people with this number, no country code."),
]


@click.group(cls=_Sentences)
@click.option(
    "--ledger-uri",
    envvar="TARGET_MAINBRAINER_LEDGER_URI",
    required=True,
    show_envvar=True,
    help="The target's setting of this name: a path, or a URI of SQLite or PostgreSQL.",
)
@click.pass_context
def main(context: click.Context, ledger_uri: str) -> None:
    """Look into the ledger of target-mainbrainer, or make it forget."""
    context.obj = ledger_uri


@main.command(params=[*_WHO])
@click.pass_obj
def show(uri: str, /, **options: t.Any) -> None:  # noqa: ANN401 - see `Wanted`
    """Show how much is known of each stream, or what is known of a person."""
    wanted = Wanted(**options)
    describe = _people if wanted.names_people else _table
    with contextlib.closing(open_database(uri, reads_only=True)) as database:
        lines = database.read(lambda connection: list(describe(connection, wanted)))
    if not lines:
        raise LedgerError(f"Nothing in the ledger {database.name} matches.")
    for line in lines:
        click.echo(shown(line))


@main.command(params=[*_WHO])
@click.option(
    "--last-seen-before",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Only people without a record since this day.",
)
@click.option("--yes", is_flag=True, help="Do not ask before everything is forgotten.")
@click.pass_obj
def forget(uri: str, /, *, yes: bool, **options: t.Any) -> None:  # noqa: ANN401 - the same
    """Forget people, a stream, or everything, and overwrite what is left in the file."""
    wanted = Wanted(**options)
    open_database(uri, reads_only=True).close()  # there is one
    with contextlib.closing(open_database(uri)) as database:
        if wanted == Wanted() and not yes:
            question = f"Forget everything in {database.name}? The next run sends every contact."
            click.confirm(question, abort=True)
        persons, identities = database.write(lambda connection: _forget(connection, wanted))
        is_erased = database.erase_traces()
    if not persons and not identities:
        raise LedgerError(f"Nothing was forgotten: nothing in the ledger {database.name} matches.")
    click.echo(
        f"The ledger {database.name} has forgotten {counted(persons, 'source key')} and "
        f"{counted(identities, 'identity', 'identities')}. Its backups and the contacts in "
        "MainBrainer are unchanged. What the source still has will be sent and remembered again."
    )
    if not is_erased:
        raise LedgerError(
            "Some of it can still be read in the file, because another process has it open or the "
            "disk is full. Run the command again later, to clear the file."
        )


def _forget(connection: sa.Connection, wanted: Wanted) -> tuple[int, int]:
    """Return how many people and identities were forgotten."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete = ON")
    persons = identities = 0
    for account, names in list(wanted.accounts(connection)):
        memory.require_no_delivery(connection, account.number)
        found = wanted.people(connection, names)
        whole = [] if wanted.names_people else names
        hashes = wanted.hashes(connection)
        identities += memory.forget(connection, account.number, found, whole=whole, hashes=hashes)
        persons += len(found)
    return persons, identities


def _table(connection: sa.Connection, wanted: Wanted) -> Iterator[str]:
    rows = people.summary(connection)
    live = lease.live_runs(connection)
    for account, names in wanted.accounts(connection):
        yield f"Account {account.number}: {account.name}"
        if memory.is_mixed(connection, account.number):
            yield "  Some contacts are known by 'contact_id' and others are not: all are sent."
        titles = (name.replace("_", " ") for name in _COUNTS)
        yield _LINE.format("stream", *titles, "open since", "delivered")
        for row in rows:
            if row.number in names:
                counts = (f"{getattr(row, name):,}" for name in _COUNTS)
                last = "now" if row.run in live else _time(row.delivered_at)
                yield _LINE.format(row.name, *counts, _time(row.open_since), last)


def _people(connection: sa.Connection, wanted: Wanted) -> Iterator[str]:
    for account, names in wanted.accounts(connection):
        found = wanted.people(connection, names)
        for person in found:
            missed = counted(person.missed, "full read") + " in a row"
            yield from _lines(
                account,
                ("stream", names[person.stream]),
                ("source key", person.key),
                ("identity", person.identity),
                ("earlier identity", person.previous),
                *(("had before", text) for text in person.had),
                ("contact_id", person.moving_id and f"{person.moving_id} gets the new identity"),
                *_content(connection, account, person.hash),
                ("last seen", f"{_time(person.seen_at)}, or up to 7 days later"),
                ("missed", person.missed and missed),
                ("gone", person.is_gone and "yes, it counts as deleted in the source"),
            )
        for unowned in wanted.hashes(connection) - {person.hash for person in found}:
            if content := list(_content(connection, account, unowned)):
                yield from _lines(account, ("source key", "none"), *content)


def _lines(account: Row, *found: tuple[str, t.Any]) -> Iterator[str]:
    for name, text in (("account", f"{account.number}: {account.name}"), *found):
        if text:
            yield f"{name:16} {text}"
    yield ""


def _content(connection: sa.Connection, account: Row, of: int) -> Iterator[tuple[str, str]]:
    """Yield what is known of an identity, given its hash."""
    where = (contacts.c.account == account.number) & (contacts.c.hash == of)
    row = connection.execute(sa.select(contacts).where(where)).one_or_none()
    if row is None:
        return
    run = row.open_mark and row.open_mark >> memory.ROUND_BITS
    since = f"since {_time(row.open_at)}"
    if run and run in lease.live_runs(connection):
        content = f"being sent by run {run:08x} {since}"
    elif run:
        content = f"unknown, open {since}: run {run:08x} ended before its outcome"
    elif row.unsure_at is not None:
        until = _time(row.unsure_at + UNSURE_SECONDS)
        content = f"unknown: a request whose answer was lost may be applied until {until}"
    elif row.delivered_at is None:
        content = "unknown: MainBrainer has never accepted it"
    elif row.fields is None:
        content = "unknown: its last batch did not end well, or its address was spelt differently"
    else:
        content = f"known: {counted(len(row.fields) // FIELD_BYTES, 'field')}"
    yield "content", content
    if row.delivered_at is not None:
        by = f" by run {row.batch >> memory.BATCH_BITS:08x}" if row.batch else ""
        yield "delivered", f"{_time(row.delivered_at)}{by}"
    for name, said in (("e-mail opt-in", row.email_said), ("mobile opt-in", row.mobile_said)):
        yield name, "never delivered" if said is None else "yes" if said else "no"


def _time(seconds: int | None) -> str:
    if seconds is None:
        return "-"
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
