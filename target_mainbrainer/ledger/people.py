"""People: which identity the CRM holds for each source key of a stream.

When in doubt, a person is not moved, opted out or forgotten.
"""

from __future__ import annotations

import typing as t
from collections.abc import Collection, Iterator, Sequence

import sqlalchemy as sa
from msgspec.structs import astuple

from target_mainbrainer.ledger.content import Hashes, Person, identity_from
from target_mainbrainer.ledger.database import ROWS_AT_ONCE, Writer, number_new, one_of
from target_mainbrainer.ledger.lease import now_of
from target_mainbrainer.ledger.tables import contacts, people, streams

ABSENT_SECONDS = 30 * 24 * 60 * 60
"""A stream that was not delivered for so long owns no identity any more."""

SEEN_SECONDS = 7 * 24 * 60 * 60
"""How exactly it is known when a person was last seen."""

_COLUMNS = Person.__struct_fields__
_SELECT = sa.select(*(people.c[name] for name in _COLUMNS))
_INSERT = Writer(people, _COLUMNS)
_UPDATE = Writer(people, ("id", *_COLUMNS[3:]), by=1)


def people_of(connection: sa.Connection, stream: int, keys: Collection[str]) -> dict[str, Person]:
    """Return what is known of source keys of a stream."""
    query = _SELECT.where(people.c.stream == stream, one_of(connection, people.c.key, keys))
    return {one.key: one for one in _people(connection, query)}


def holders_of(
    connection: sa.Connection, account: int, wanted: Collection[int], hashes: Hashes
) -> dict[int, list[Person]]:
    """Return who owns identities, of any stream that was delivered lately; not who is gone.

    Who has another identity owns the previous one, too, as long as it is not certain which.
    """
    query = sa.select(streams.c.number).where(
        streams.c.account == account, streams.c.delivered_at > now_of(connection) - ABSENT_SECONDS
    )
    present = set(connection.scalars(query))
    holders: dict[int, list[Person]] = {one: [] for one in wanted}
    for person in _people(connection, _SELECT.where(one_of(connection, people.c.hash, wanted))):
        if person.stream in present and not person.is_gone:
            holders[person.hash].append(person)
    for person in _people(connection, _SELECT.where(people.c.previous.is_not(None))):
        previous = hashes.identity(identity_from(t.cast("str", person.previous)))
        is_present = person.stream in present and not person.is_gone
        if is_present and previous in holders and previous != person.hash:
            holders[previous].append(person)
    return holders


def save(connection: sa.Connection, some: Sequence[Person]) -> None:
    """Write people, new ones and those that were read before."""
    known = [person for person in some if person.id is not None]
    new = number_new(connection, people, some)
    _INSERT.write(connection, [astuple(person) for person in new])
    _UPDATE.write(connection, [(p.id, *astuple(p)[3:]) for p in known])


def count(connection: sa.Connection, stream: int, *, up_to: int) -> int:
    """Return how many source keys of a stream are known that are not gone."""
    query = sa.select(sa.func.count()).where(
        people.c.stream == stream, people.c.id <= up_to, ~people.c.is_gone
    )
    return connection.scalar(query) or 0


def newest_id(connection: sa.Connection) -> int:
    """Return the highest number of any person, 0 if there is none."""
    return connection.scalar(sa.select(sa.func.max(people.c.id))) or 0


def not_gone(connection: sa.Connection, stream: int, *, up_to: int) -> Iterator[Person]:
    """Return all people of a stream who are not gone, in the order of their keys."""
    query = _SELECT.where(people.c.stream == stream, people.c.id <= up_to, ~people.c.is_gone)
    query = query.order_by(people.c.key).execution_options(yield_per=ROWS_AT_ONCE)
    return _people(connection, query)


# For people who look into the ledger

has_people = sa.exists().where(people.c.stream == streams.c.number)
"""The condition that a row of `streams` has a known person."""


def search(
    connection: sa.Connection, conditions: Sequence[sa.ColumnElement[bool]]
) -> Iterator[Person]:
    """Return the people for whom all conditions hold, those who are gone included."""
    query = _SELECT.where(*conditions).order_by(people.c.stream, people.c.key)
    return _people(connection, query)


def summary(connection: sa.Connection) -> Sequence[sa.Row[t.Any]]:
    """Return a row for each stream: how many people are known, and what is known of them.

    Someone is `changing` whose address is, `unknown` if it is not known what MainBrainer holds, and
    has `no_opt_in` if none was ever delivered.
    """
    is_here = people.c.id.is_not(None) & ~people.c.is_gone
    counts = {
        "known": is_here,
        "gone": people.c.is_gone,
        "missing": is_here & (people.c.missed > 0),
        "changing": people.c.previous.is_not(None),
        "unknown": is_here & contacts.c.fields.is_(None),
        "no_opt_in": is_here & contacts.c.mobile_said.is_(None) & contacts.c.email_said.is_(None),
    }
    query = (
        sa.select(
            streams,
            *(sa.func.count(sa.case((where, 1))).label(name) for name, where in counts.items()),
            sa.func.min(contacts.c.open_at).label("open_since"),
        )
        .outerjoin(people, people.c.stream == streams.c.number)
        .outerjoin(
            contacts,
            (contacts.c.hash == people.c.hash) & (contacts.c.account == streams.c.account),
        )
        .group_by(streams.c.number)
        .order_by(streams.c.name)
    )
    return connection.execute(query).all()


def owns_contact() -> sa.Exists:
    """Return the condition that some source key has the identity of a row of `contacts`."""
    query = sa.select(people.c.id).join(streams, streams.c.number == people.c.stream)
    return (
        query.where(people.c.hash == contacts.c.hash, streams.c.account == contacts.c.account)
        .correlate(contacts)
        .exists()
    )


def previous_of(connection: sa.Connection, account: int) -> list[str]:
    """Return the previous identities of the people of an account whose identity is changing."""
    query = sa.select(people.c.previous).join(streams, streams.c.number == people.c.stream)
    query = query.where(streams.c.account == account, people.c.previous.is_not(None))
    return list(connection.scalars(query))


def delete(connection: sa.Connection, some: Sequence[Person]) -> None:
    """Forget people."""
    numbers = [person.id for person in some]
    connection.execute(people.delete().where(one_of(connection, people.c.id, numbers)))


def _people(connection: sa.Connection, query: sa.Select[t.Any]) -> Iterator[Person]:
    return (Person(*row) for row in connection.execute(query))
