"""Compares a block of contacts in their order, and marks what will be sent. Knows no database.

The rules, each of which answers a history in which the CRM would end otherwise than without a
ledger (`docs/ledger.md` tells them):

- What is marked is unknown until its outcome counts: it is sent again whenever it comes again.
- An entry is not skipped while another source key holds its identity.
- When an entry leaves an identity, everything else that holds it becomes unknown.

Two more rules need no comparison (`stream_ledger.py`): what is tried while an earlier try of the
same identity may still land stays unknown for one more run, and nothing is known while some
records name contacts by their id and others do not.
"""

from __future__ import annotations

import typing as t

import msgspec
from typing_extensions import override

from target_mainbrainer.ledger.comparison import (
    Candidate,
    Comparison,
    Entry,
    Move,
    compare,
    find_move,
    identity_from,
    is_unchanged,
    known_opt_in,
)

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from target_mainbrainer.contacts.identity import Identity
    from target_mainbrainer.ledger.comparison import Digests

TOKEN_BITS = 32
"""A token is the number of a run and, in so many bits, the number of the try in it."""


class Mark(msgspec.Struct, frozen=True, gc=False):
    """One try to deliver one source key; what is written once its outcome counts.

    Attributes:
        is_move: The identity is not the one that the entry was delivered under.
    """

    token: int
    key: str
    content: bytes
    fields: bytes
    identity: str
    identity_hash: int
    source_identity: str | None
    mobile_opt_in: bool | None
    email_opt_in: bool | None
    is_move: bool

    @override
    def __repr__(self) -> str:
        return f"<Mark of try {self.token}>"


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What is to be done with one contact.

    Attributes:
        comparison: What it is; only what is `UNCHANGED` is not sent.
        mark: What to hand to `delivered` or `refused`; None if it is not sent.
        move: How its identity differs from the one delivered; None if it does not.
        previous: The identity that the CRM holds, if `move` says that it is another one.
        is_previous_shared: Another source key holds that one, too.
        known_mobile_opt_in: What the CRM is known to hold for this identity; None if unknown.
        known_email_opt_in: Likewise.
        previous_fields: Checks of the fields last delivered; None if unknown.
    """

    comparison: Comparison
    mark: Mark | None = None
    move: Move | None = None
    previous: Identity | None = None
    is_previous_shared: bool = False
    known_mobile_opt_in: bool | None = None
    known_email_opt_in: bool | None = None
    previous_fields: bytes | None = None


UNCHANGED = Decision(Comparison.UNCHANGED)
_UNTOLD = Entry(stream=0, key="", identity="", identity_hash=0)


class Left(t.NamedTuple):
    """An entry whose identity another one has left; with what is known of that one."""

    entry: Entry
    mobile_opt_in: bool | None
    email_opt_in: bool | None


class Block:
    """The entries that a block of contacts may concern, and what becomes of them.

    Args:
        digests: Under the ledger's key.
        stream: The number of the stream.
        next_token: Returns a new token.
        entries: Of the block's source keys, and of all that hold an identity of theirs.
        sends_all: Whether what is unchanged is sent, too.

    Attributes:
        marked: Entries that are tried now.
        left: Others whose identity was left, in this order.
        shared: Others whose identity one more holds now.
    """

    def __init__(
        self,
        digests: Digests,
        stream: int,
        next_token: Callable[[], int],
        entries: Iterable[Entry],
        *,
        sends_all: bool = False,
    ) -> None:
        self._digests = digests
        self._stream = stream
        self._next_token = next_token
        self._sends_all = sends_all
        self._entries: dict[str, Entry] = {}
        self._holders: dict[int, dict[int, Entry]] = {}
        self.marked: dict[str, Entry] = {}
        self.left: list[Left] = []
        self.shared: list[Entry] = []
        for entry in entries:
            if entry.stream == stream:
                self._entries[entry.key] = entry
            self._hold(entry)

    def decide(self, candidate: Candidate, list_id: str | None) -> Decision:
        """Return what is to be done with the next contact, and mark it if it is to be sent."""
        entry = self._entries.get(candidate.key)
        if is_unchanged(entry, candidate) and not self._sends_all:
            return UNCHANGED
        contact = candidate.contact
        new_hash = self._digests.hash_of(candidate)
        move, previous, is_previous_shared = None, None, False
        identity = candidate.identity
        if entry is not None and entry.delivered_at is not None:
            if entry.source_identity == identity and entry.pending is None:
                identity, new_hash = entry.identity, entry.identity_hash
            move = find_move(entry.identity, identity)
            if move is not None:
                previous = identity_from(entry.identity)
                is_previous_shared = bool(self._others(entry, entry.identity_hash))
        # An entry that was only tried under this identity tells nothing about it.
        holders = [
            holder if holder.identity_hash == new_hash else _UNTOLD
            for holder in self._holders.get(new_hash, {}).values()
        ]
        comparison = compare(entry, candidate)
        fields = None if entry is None else entry.fields
        known_mobile = known_email = None
        if holders:
            known_mobile = known_opt_in(holder.mobile_opt_in for holder in holders)
            known_email = known_opt_in(holder.email_opt_in for holder in holders)
        mark = Mark(
            token=self._next_token(),
            key=candidate.key,
            content=candidate.content,
            fields=self._digests.fields(contact, list_id),
            identity=identity,
            identity_hash=new_hash,
            source_identity=None if identity == candidate.identity else candidate.identity,
            mobile_opt_in=contact.mobile_opt_in,
            email_opt_in=contact.email_opt_in,
            is_move=entry is not None and entry.identity != identity,
        )
        self._apply(entry, mark)
        return Decision(
            comparison=comparison,
            mark=mark,
            move=move,
            previous=previous,
            is_previous_shared=is_previous_shared,
            known_mobile_opt_in=known_mobile,
            known_email_opt_in=known_email,
            previous_fields=fields,
        )

    def remove(self, entry: Entry) -> None:
        """Let an entry leave all its identities, because it is to be deleted."""
        for held in entry.hashes:
            self._leave(entry, held)
            self._holders[held].pop(id(entry), None)

    def is_shared(self, entry: Entry) -> bool:
        """Return whether another source key holds an identity of this one."""
        return any(self._others(entry, held) for held in entry.hashes)

    def _apply(self, entry: Entry | None, mark: Mark) -> None:
        if entry is None:
            entry = Entry(
                stream=self._stream,
                key=mark.key,
                identity=mark.identity,
                identity_hash=mark.identity_hash,
            )
            self._entries[mark.key] = entry
        else:
            if entry.newest_hash != mark.identity_hash:
                self._leave(entry, entry.newest_hash)
            for held in entry.hashes:
                self._holders[held].pop(id(entry), None)
            entry.pending = mark.identity if mark.is_move else None
            entry.pending_hash = mark.identity_hash if mark.is_move else None
        entry.doubt = False
        entry.content = entry.fields = None
        entry.mobile_opt_in = _after_try(entry.mobile_opt_in, mark.mobile_opt_in)
        entry.email_opt_in = _after_try(entry.email_opt_in, mark.email_opt_in)
        entry.token = mark.token
        others = self._others(entry, mark.identity_hash)
        entry.shared = bool(others)
        for other in others:
            if not other.shared:
                other.shared = True
                self.shared.append(other)
        self._hold(entry)
        self.marked[mark.key] = entry

    def _leave(self, entry: Entry, held: int) -> None:
        """Make everything else unknown that holds this identity.

        The CRM may hold what this entry was last delivered as there, and from now on nothing sends
        it again. Opt-ins stay known where this entry delivered the same ones.
        """
        for other in self._others(entry, held):
            left = Left(other, entry.mobile_opt_in, entry.email_opt_in)
            other.doubt = other.doubt or other.token is not None
            other.content = other.fields = None
            other.mobile_opt_in = known_opt_in([other.mobile_opt_in, left.mobile_opt_in])
            other.email_opt_in = known_opt_in([other.email_opt_in, left.email_opt_in])
            self.left.append(left)

    def _hold(self, entry: Entry) -> None:
        for held in entry.hashes:
            self._holders.setdefault(held, {})[id(entry)] = entry

    def _others(self, entry: Entry, held: int) -> list[Entry]:
        return [other for other in self._holders.get(held, {}).values() if other is not entry]


def _after_try(known: bool | None, tried: bool | None) -> bool | None:  # noqa: FBT001
    """Return what is known of an opt-in while a value is being tried, whether it lands or not.

    A contact that does not say leaves the CRM's value as it is.
    """
    return known if tried is None or tried == known else None
