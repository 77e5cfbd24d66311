"""Who has changed their identity, and in which order people can be followed. Knows no database.

`docs/moved-people.md` tells the histories that these rules answer.
"""

from __future__ import annotations

import enum
import typing as t

from target_mainbrainer.contacts import Contact, merge
from target_mainbrainer.ledger.comparison import identity_from, identity_text

if t.TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Mapping, Sequence

    from target_mainbrainer.contacts import Identity
    from target_mainbrainer.ledger.comparison import Entry


class Wait(enum.Enum):
    """What a contact waits for until the input has ended."""

    MOVE = "move"
    """Its source key was delivered under another identity."""

    NEWCOMER = "newcomer"
    """Its source key is new, and its identity belongs to somebody who may leave it in this run."""


class Following(t.NamedTuple):
    """How the contact of a known source key is held by the CRM from now on.

    What a source has no more the CRM keeps, since fields that are not sent stay as they are. So
    the CRM holds a combination of the old identity and the new one.

    Attributes:
        previous: The identity that the CRM holds, or may hold.
        contact: The identity that it is to hold.
        identity: The same as a text.
        is_move: It is another one than before, or it is not certain what the CRM holds.
        keeps_part: The source has lost a part of it.
        moving_id: The contact's id, if an earlier run did not get to the end of its move.
    """

    previous: Identity
    contact: Contact
    identity: str
    is_move: bool
    keeps_part: bool
    moving_id: int | None


def follow(entry: Entry | None, contact: Contact) -> Following | None:
    """Return how the CRM holds this contact of a source key, None if there is nothing to follow.

    Contacts that name their contact id are found by it whatever their identity. What was refused
    when it was first sent is not in the CRM; what was first sent and got no answer may be.
    """
    if entry is None or contact.contact_id is not None:
        return None
    if entry.delivered_at is None and entry.token is None:
        return None
    own = identity_text(contact)
    if own == entry.identity and entry.moving_id is None:
        return None
    previous = identity_from(entry.identity)
    if previous.contact_id is not None:
        return None
    combined = merge(
        Contact(mobile=previous.mobile, email=previous.email),
        Contact(mobile=contact.mobile, email=contact.email),
    )
    identity = identity_text(combined)
    is_certain = entry.delivered_at is not None and entry.moving_id is None
    return Following(
        previous=previous,
        contact=combined,
        identity=identity,
        is_move=identity != entry.identity or not is_certain,
        keeps_part=identity != own,
        moving_id=entry.moving_id,
    )


class Key(t.NamedTuple):
    """A source key of any stream of the ledger."""

    stream: int
    key: str


class Mover(t.NamedTuple):
    """A source key whose contact is to get another identity.

    Attributes:
        before: Hash of the identity that the CRM holds.
        after: Hash of the one that it is to hold.
        names: Every identifier of both.
        has_id: An earlier run has found its contact already.
    """

    key: Key
    before: int
    after: int
    names: frozenset[Hashable]
    has_id: bool = False


class Step(enum.Enum):
    """What can be done with a mover now."""

    MOVE = "move"
    JOIN = "join"
    """Its contact has moved already, with another source key of the same person."""

    NOT_FOLLOWED = "not followed"
    """It is sent as any contact, and so becomes a second one."""

    TAKEN = "taken"
    """Somebody has its new identity who cannot leave it."""


def next_steps(
    movers: Sequence[Mover],
    holders: Mapping[int, Collection[Key]],
    *,
    stuck: Collection[Key] = (),
    moved: Mapping[Key, int] | None = None,
    abandoned: Collection[int] = (),
) -> dict[Key, Step]:
    """Return what can be done now; movers that are not named wait for these.

    Who moves to an identity that another mover leaves waits for that one. If all wait for each
    other, they are people who swap. Movers that share an identifier go one after the other.

    Args:
        movers: All that wait, in the order of the input.
        holders: The source keys that hold an identity now, but for newcomers that wait.
        stuck: Movers that were set aside, and so keep their identity.
        moved: Those that have moved in this run, and the identity that they have left.
        abandoned: Identities whose contact was left behind when its person was not followed.

    >>> a, b = Key(1, "a"), Key(1, "b")
    >>> first, second = Mover(a, 1, 2, frozenset("x")), Mover(b, 2, 3, frozenset("y"))
    >>> next_steps([first, second], {1: {a}, 2: {b}})
    {Key(stream=1, key='b'): <Step.MOVE: 'move'>}
    >>> swap = [first, Mover(b, 2, 1, frozenset("y"))]
    >>> set(next_steps(swap, {1: {a}, 2: {b}}).values())
    {<Step.TAKEN: 'taken'>}
    """
    waiting = {mover.key: mover for mover in movers}
    moved = moved or {}
    steps: dict[Key, Step] = {}
    busy: set[Hashable] = set()
    for mover in movers:
        key = mover.key
        others = set(holders.get(mover.after, ())) - {key} if mover.after != mover.before else set()
        if any(other in waiting and waiting[other].before == mover.after for other in others):
            continue
        if not busy.isdisjoint(mover.names):
            continue
        if others & set(stuck):
            steps[key] = Step.TAKEN
        elif any(moved.get(other) == mover.before for other in others):
            steps[key] = Step.JOIN
        elif (
            (not mover.has_id and _is_shared(mover, holders, waiting))
            or others
            or mover.after in abandoned
        ):
            steps[key] = Step.NOT_FOLLOWED
        else:
            steps[key] = Step.MOVE
        busy |= mover.names
    return steps or dict.fromkeys(waiting, Step.TAKEN)


def _is_shared(
    mover: Mover, holders: Mapping[int, Collection[Key]], waiting: Mapping[Key, Mover]
) -> bool:
    """Return whether a mover's old identity is somebody else's, too, who does not go with it."""
    return any(
        other != mover.key and not (other in waiting and waiting[other].after == mover.after)
        for other in holders.get(mover.before, ())
    )
