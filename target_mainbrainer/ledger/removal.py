"""Makes a ledger forget source keys, and what follows for those that share an identity."""

from __future__ import annotations

import typing as t

from target_mainbrainer.ledger import entry_queries, entry_store
from target_mainbrainer.ledger.marking import Block

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import sqlalchemy as sa

    from target_mainbrainer.ledger.comparison import Digests, Entry


def remove_entries(
    connection: sa.Connection, digests: Digests, stream: int, keys: Sequence[str]
) -> int:
    """Delete entries, and make unknown what else holds their identities; return how many."""
    gone = entry_queries.entries_of(connection, stream, keys)
    block = _block_of(connection, digests, stream, gone)
    for entry in gone:
        block.remove(entry)
    deleted = {entry.id for entry in gone}
    entry_store.write_left(connection, [one for one in block.left if one.entry.id not in deleted])
    entry_store.delete_entries(connection, gone)
    return len(gone)


def are_shared(
    connection: sa.Connection, digests: Digests, stream: int, entries: Sequence[Entry]
) -> list[bool]:
    """Return for each entry whether another source key holds an identity of its own."""
    block = _block_of(connection, digests, stream, entries)
    return [block.is_shared(entry) for entry in entries]


def each_once(*groups: Iterable[Entry]) -> list[Entry]:
    """Return every entry once, the first of each id."""
    found: dict[int | None, Entry] = {}
    for group in groups:
        for entry in group:
            found.setdefault(entry.id, entry)
    return list(found.values())


def _block_of(
    connection: sa.Connection, digests: Digests, stream: int, some: Sequence[Entry]
) -> Block:
    hashes = {held for entry in some for held in entry.hashes}
    entries = each_once(some, entry_queries.holders_of(connection, hashes))
    return Block(digests, stream, lambda: 0, entries)
