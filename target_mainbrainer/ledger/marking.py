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
    compare,
    is_unchanged,
    known_opt_in,
)
from target_mainbrainer.ledger.moves_plan import Following, Wait, follow

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from target_mainbrainer.contacts import Contact
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
        following: How its contact is found and held although the identity may have changed; None
            if that need not be followed, or is not.
        wait: What it has to wait for until the input has ended; None if nothing.
        known_mobile_opt_in: What is known to be delivered for this source key, or this identity.
        known_email_opt_in: Likewise.
        previous_fields: Checks of the fields last delivered; None if unknown.
    """

    comparison: Comparison
    mark: Mark | None = None
    following: Following | None = None
    wait: Wait | None = None
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
        follows: Whether people are followed whose identity changes.
        undecided: Source keys of this block.
        is_seen: Returns whether an entry's source key has come in this run.

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
        follows: bool = False,
        undecided: Iterable[str] = (),
        is_seen: Callable[[Entry], bool] = lambda _entry: True,
    ) -> None:
        self._follows = follows
        self._undecided = set(undecided)
        self._is_seen = is_seen
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
        self._undecided.discard(candidate.key)
        if is_unchanged(entry, candidate) and not self._sends_all:
            return UNCHANGED
        contact = candidate.contact
        following = follow(entry, contact) if self._follows else None
        if following is None:
            identity, new_hash = candidate.identity, self._digests.hash_of(candidate)
        else:
            identity, new_hash = following.identity, self._digests.identity(following.contact)
        others = self._others(entry, new_hash)
        wait = self._wait(entry, following, contact, new_hash, others)
        comparison = compare(entry, candidate)
        fields = None if entry is None else entry.fields
        known = _known(entry, new_hash, others)
        known_mobile = known_email = None
        if known:
            known_mobile = known_opt_in(one.mobile_opt_in for one in known)
            known_email = known_opt_in(one.email_opt_in for one in known)
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
        self._apply(entry, mark, others)
        return Decision(
            comparison=comparison,
            mark=mark,
            following=following,
            wait=wait,
            known_mobile_opt_in=known_mobile,
            known_email_opt_in=known_email,
            previous_fields=fields,
        )

    def _wait(
        self,
        entry: Entry | None,
        following: Following | None,
        contact: Contact,
        new_hash: int,
        others: list[Entry],
    ) -> Wait | None:
        if following is not None and following.is_move:
            return Wait.MOVE
        if not self._follows or contact.contact_id is not None:
            return None
        if entry is not None and entry.delivered_at is not None:
            return None
        if any(self._may_leave(other, new_hash) for other in others):
            return Wait.NEWCOMER
        return None

    def _may_leave(self, other: Entry, held: int) -> bool:
        """Return whether an entry that holds this identity leaves it, or may do so in this run."""
        if other.delivered_at is None or other.identity_hash != held:
            return False
        if other.newest_hash != held:
            return True
        is_undecided = other.stream == self._stream and other.key in self._undecided
        return is_undecided or not self._is_seen(other)

    def remove(self, entry: Entry) -> None:
        """Let an entry leave all its identities, because it is to be deleted."""
        for held in entry.hashes:
            self._leave(entry, held)
            self._holders[held].pop(id(entry), None)

    def is_shared(self, entry: Entry) -> bool:
        """Return whether another source key holds an identity of this one."""
        return any(self._others(entry, held) for held in entry.hashes)

    def _apply(self, entry: Entry | None, mark: Mark, others: list[Entry]) -> None:
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

    def _others(self, entry: Entry | None, held: int) -> list[Entry]:
        return [other for other in self._holders.get(held, {}).values() if other is not entry]


def _known(entry: Entry | None, held: int, others: list[Entry]) -> list[Entry]:
    """Return the entries that tell what was delivered for a source key and an identity.

    One that was only tried under this identity tells nothing about it.
    """
    known = [other if other.identity_hash == held else _UNTOLD for other in others]
    if entry is not None and entry.delivered_at is not None:
        known.append(entry)
    return known


def _after_try(known: bool | None, tried: bool | None) -> bool | None:  # noqa: FBT001
    """Return what is known of an opt-in while a value is being tried, whether it lands or not.

    A contact that does not say leaves the CRM's value as it is.
    """
    return known if tried is None or tried == known else None
