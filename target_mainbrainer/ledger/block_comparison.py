"""Looks up the entries that a block of contacts concerns, compares, and marks what will be sent.

Which entries those are is decided here; what becomes of them is, in `marking.py`.
"""

from __future__ import annotations

import typing as t

from target_mainbrainer.ledger import entry_queries, entry_store
from target_mainbrainer.ledger.comparison import is_unchanged
from target_mainbrainer.ledger.marking import UNCHANGED, Block, Decision
from target_mainbrainer.ledger.moves_plan import follow
from target_mainbrainer.ledger.removal import each_once

if t.TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from target_mainbrainer.ledger.comparison import Candidate, Entry
    from target_mainbrainer.ledger.lease import Lease
    from target_mainbrainer.ledger.run_context import RunContext

Contacts: t.TypeAlias = "Sequence[tuple[Candidate, str | None]]"
"""Contacts in the order of the input, and the list that each goes to."""


class BlockComparer:
    """Compares the contacts of one stream, block by block.

    Args:
        run: The run.
        stream: The number of the stream.
        lease: The run's hold on it.
        sends_all: Whether what is unchanged is sent, too.

    Attributes:
        is_mixed: Some records of the ledger name contacts by id and others do not, so that
            nothing is skipped.
    """

    def __init__(self, run: RunContext, stream: int, lease: Lease, *, sends_all: bool) -> None:
        self.is_mixed = False
        self._run = run
        self._stream = stream
        self._lease = lease
        self._sends_all = sends_all
        # A first look that writes nothing is worth it only where most is unchanged.
        self._expects_change = sends_all
        self._is_first = not run.newest_id  # the first block of a new ledger

    def compare(self, block: Contacts, *, follows: bool) -> list[Decision]:
        """Return what is to be done with each contact; what is to be sent is marked."""
        concerned = [True] * len(block)
        if not self._expects_change:
            known = self._run.read(lambda connection: self._entries(connection, block))
            concerned = self._concerned(block, known)
            if not any(concerned):
                return [UNCHANGED] * len(block)
        some = [one for one, is_concerned in zip(block, concerned, strict=True) if is_concerned]

        def mark(connection: sa.Connection) -> tuple[bool, list[Decision]]:
            self._lease.keep(connection)
            becomes_mixed = not self.is_mixed and self._is_mixed_with(connection, some)
            if becomes_mixed:
                entry_store.forget_contents(connection)
            marked = block if becomes_mixed else some
            return becomes_mixed, self._mark(connection, marked, follows=follows)

        becomes_mixed, decisions = self._run.write(mark)
        self._is_first = False
        if becomes_mixed:
            self.is_mixed = True
            concerned = [True] * len(block)
        sent = sum(decision.mark is not None for decision in decisions)
        self._expects_change = 2 * sent > len(block)
        decided = iter(decisions)
        return [next(decided) if is_concerned else UNCHANGED for is_concerned in concerned]

    def _entries(self, connection: sa.Connection, block: Contacts) -> dict[str, Entry]:
        keys = {candidate.key for candidate, _ in block}
        found = {one.key: one for one in entry_queries.entries_of(connection, self._stream, keys)}
        for entry in found.values():
            self._run.seen.add(t.cast("int", entry.id))
        return found

    def _concerned(self, block: Contacts, known: dict[str, Entry]) -> list[bool]:
        """Return for each contact whether it is to be sent, or may be because of another one."""
        changed = [not is_unchanged(known.get(candidate.key), candidate) for candidate, _ in block]
        if not any(changed):
            return changed
        some = [one for one, is_changed in zip(block, changed, strict=True) if is_changed]
        keys = {candidate.key for candidate, _ in some}
        hashes = self._hashes(some, known)
        return [
            is_changed
            or candidate.key in keys
            or not hashes.isdisjoint(known[candidate.key].hashes)
            for is_changed, (candidate, _) in zip(changed, block, strict=True)
        ]

    def _is_seen(self, entry: Entry) -> bool:
        """Return whether an entry's source key has come in this run, or cannot come."""
        return (
            entry.id is None
            or entry.id > self._run.newest_id
            or entry.id in self._run.seen
            or entry.stream not in self._run.streams
        )

    def _hashes(self, block: Contacts, known: dict[str, Entry]) -> set[int]:
        """Return the hashes of all identities that a block takes or leaves."""
        hashes = {self._run.digests.hash_of(candidate) for candidate, _ in block}
        for candidate, _ in block:
            if (entry := known.get(candidate.key)) is not None:
                hashes |= entry.hashes
                if (following := follow(entry, candidate.contact)) is not None:
                    hashes.add(self._run.digests.identity(following.contact))
        return hashes

    @staticmethod
    def _is_mixed_with(connection: sa.Connection, block: Contacts) -> bool:
        by_id, plain = entry_queries.has_kinds(connection)
        ids = [candidate.contact.contact_id is not None for candidate, _ in block]
        return (by_id or any(ids)) and (plain or not all(ids))

    def _mark(self, connection: sa.Connection, block: Contacts, *, follows: bool) -> list[Decision]:
        known = self._entries(connection, block)
        hashes = self._hashes(block, known)
        decider = Block(
            self._run.digests,
            self._stream,
            self._run.next_token,
            each_once(known.values(), entry_queries.holders_of(connection, hashes)),
            sends_all=self._sends_all,
            follows=follows,
            undecided=(candidate.key for candidate, _ in block),
            is_seen=self._is_seen,
        )
        decisions = [decider.decide(candidate, list_id) for candidate, list_id in block]
        entry_store.write_marks(connection, decider.marked.values(), decider.left, decider.shared)
        if self._is_first:
            entry_store.gather_statistics(connection)
        return decisions
