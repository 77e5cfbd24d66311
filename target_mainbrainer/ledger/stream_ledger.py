"""What was delivered of one stream: compared with, marked before sending, written afterwards.

The safe order, for each block of contacts and each batch made of them:

1. `compare` looks the block up, decides, marks what will be sent as unknown with a token of this
   try, and has committed that before it returns. Only then may anything of it be sent.
2. When an outcome counts (accepted; confirmed, if that is required), `delivered` takes it; when a
   contact is refused for good, `refused` does.
3. `flush` commits what these two took. Only then may STATE go on.

So whatever happens between two steps, an entry says less than the CRM holds, never more.
"""

from __future__ import annotations

import threading
import typing as t

from target_mainbrainer.errors import LedgerError
from target_mainbrainer.ledger import entry_store, store
from target_mainbrainer.ledger.comparison import is_unchanged, key_text
from target_mainbrainer.ledger.marking import UNCHANGED, Block, Decision
from target_mainbrainer.ledger.moves_plan import follow

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import sqlalchemy as sa

    from target_mainbrainer.ledger.comparison import Candidate, Digests, Entry
    from target_mainbrainer.ledger.database import Database
    from target_mainbrainer.ledger.marking import Mark
    from target_mainbrainer.ledger.seen import Seen

LEASE_SECONDS = 180.0
"""How long a run on another machine keeps a stream after it was last heard of."""

LEASE_STEP_SECONDS = 30.0
FLUSH_AT = 2_000
"""So many outcomes are written at once at most."""

_PAGE = 1_000


class Run(t.NamedTuple):
    """What the streams of one run have in common.

    Attributes:
        number: The run's number; a higher one is a later run.
        next_token: Returns a token that no other try has.
        clock: Seconds that only ever grow.
        lock: Held by whichever thread uses the database.
        doubtful: Hashes of identities under which an attempt of the run before may still land,
            or one of this run may land twice.
        seen: Ids of the entries whose source keys have come in this run.
        newest_id: The highest one when the run began.
        streams: The streams that the run has taken.
    """

    number: int
    database: Database
    digests: Digests
    next_token: Callable[[], int]
    clock: Callable[[], float]
    lock: threading.Lock
    doubtful: set[int]
    seen: Seen
    newest_id: int
    streams: set[int]


class OpenBatch(t.NamedTuple):
    """A batch of an earlier run whose outcome is not known."""

    batch_id: str
    contacts: int


class StreamLedger:
    """The ledger of one stream, held by this run.

    The reading thread compares; any thread may hand in outcomes.

    Attributes:
        name: The stream.
        is_mixed: Some records of the ledger name contacts by id and others do not, so that
            nothing is skipped.
    """

    def __init__(
        self,
        run: Run,
        name: str,
        number: int,
        *,
        newest_id: int,
        open_batches: Sequence[tuple[int, str, int]],
        sends_all: bool,
    ) -> None:
        self.name = name
        self.is_mixed = False
        self._run = run
        self._stream = number
        self._newest_id = newest_id
        self._sends_all = sends_all
        # A first look that writes nothing is worth it only where most is unchanged.
        self._expects_change = sends_all
        self._seen = run.seen
        run.streams.add(number)
        self._batches = {batch_id: batch for batch, batch_id, _ in open_batches}
        self._open_batches = [OpenBatch(batch_id, size) for _, batch_id, size in open_batches]
        self._outcomes = threading.Lock()
        self._delivered: list[tuple[Sequence[Mark], str | None, int]] = []
        self._doubts: set[int] = set()
        self._refused: list[Mark] = []
        self._ended: list[str] = []
        self._failed: list[str] = []
        self._waiting = 0
        self._leased_at = run.clock()

    @property
    def number(self) -> int:
        """Its number in the ledger."""
        return self._stream

    @property
    def digests(self) -> Digests:
        """Digests under the ledger's key."""
        return self._run.digests

    def compare(
        self, block: Sequence[tuple[Candidate, str | None]], *, follows: bool = False
    ) -> list[Decision]:
        """Return what is to be done with each contact of a block; what is to be sent is marked.

        Args:
            block: Contacts in the order of the input, and the list that each goes to.
            follows: Whether people are followed whose identity changes.
        """
        run = self._run
        concerned = [True] * len(block)
        if not self._expects_change:
            with run.database.transaction(reads_only=True) as connection:
                known = self._entries(connection, block)
            concerned = self._concerned(block, known)
            if not any(concerned):
                return [UNCHANGED] * len(block)
        some = [one for one, is_concerned in zip(block, concerned, strict=True) if is_concerned]
        with run.lock, run.database.transaction() as connection:
            store.read_header(connection, lock=True)
            self._keep(connection)
            if self._has_become_mixed(connection, some):
                entry_store.forget_contents(connection)
                concerned, some = [True] * len(block), list(block)
            decisions = self._mark(connection, some, follows=follows)
        sent = sum(decision.mark is not None for decision in decisions)
        self._expects_change = 2 * sent > len(block)
        decided = iter(decisions)
        return [next(decided) if is_concerned else UNCHANGED for is_concerned in concerned]

    def delivered(
        self,
        marks: Sequence[Mark],
        batch_id: str | None = None,
        *,
        contacts: int = 0,
        in_doubt: bool = False,
    ) -> None:
        """Take what counts as delivered.

        Args:
            marks: Of the contacts.
            batch_id: The batch they went out in, if its own outcome is still awaited.
            contacts: How many are in that batch.
            in_doubt: Whether an answer was lost before this one, so that the request may be
                applied twice, and the second time after a later one.
        """
        with self._outcomes:
            if in_doubt:
                self._doubts.update(mark.identity_hash for mark in marks)
            self._delivered.append((marks, batch_id, contacts))
            self._waiting += len(marks)

    def flush_if_full(self) -> None:
        """Commit the outcomes taken so far if they are many."""
        if self._waiting >= FLUSH_AT:
            self.flush()

    def saw(self, keys: Iterable[str]) -> None:
        """Take note that source keys came whose records are not sent, so that none is missing."""
        with self._run.database.transaction(reads_only=True) as connection:
            for entry in entry_store.entries_of(connection, self._stream, map(key_text, keys)):
                self._seen.add(t.cast("int", entry.id))

    def is_new_version(self, version: int) -> bool:
        """Return whether records of this version come for the first time, and take note of it.

        A tap that goes on with a full read it could not finish keeps the version.
        """
        with self._run.lock, self._run.database.transaction() as connection:
            before = store.version_of(connection, self._stream)
            store.update_stream(connection, self._stream, version=version)
        return before != version

    def refused(self, marks: Sequence[Mark]) -> None:
        """Take what was refused for good."""
        with self._outcomes:
            self._refused.extend(marks)

    def batch_ended(self, batch_id: str) -> None:
        """Take note that a batch was applied, or will never be asked for again."""
        with self._outcomes:
            self._ended.append(batch_id)

    def batch_failed(self, batch_id: str) -> None:
        """Take note that a batch failed after it was accepted: its contacts become unknown."""
        with self._outcomes:
            self._failed.append(batch_id)

    @property
    def open_batches(self) -> list[OpenBatch]:
        """The batches of earlier runs that were open when this one began."""
        return self._open_batches

    def flush(self) -> None:
        """Commit all outcomes taken so far.

        Raises:
            LedgerError: Another run has taken the stream over, or the database is away.
        """
        run = self._run
        with run.lock:
            with self._outcomes:
                delivered, self._delivered = self._delivered, []
                doubts, self._doubts = self._doubts, set()
                refused, self._refused = self._refused, []
                ended, self._ended = self._ended, []
                failed, self._failed = self._failed, []
                self._waiting = 0
            is_due = run.clock() >= self._leased_at + LEASE_STEP_SECONDS
            if not (delivered or refused or ended or failed or is_due):
                return
            with run.database.transaction() as connection:
                self._keep(connection)
                now = int(store.now_of(connection))
                run.doubtful.update(doubts)
                store.add_doubts(connection, doubts, run.number)
                unknown = _Everything() if self.is_mixed else run.doubtful
                numbered = self._number(connection, delivered, now)
                entry_store.write_delivered(
                    connection, self._stream, numbered, now=now, unknown=unknown
                )
                if refused:
                    entry_store.write_refused(connection, self._stream, refused, unknown)
                for batch_id in failed:
                    if (number := self._batches.get(batch_id)) is not None:
                        entry_store.fail_batch(connection, self._stream, number)
                over = [self._batches.pop(one, None) for one in (*ended, *failed)]
                store.close_batches(connection, [number for number in over if number is not None])

    def note_ids(self, ids: Sequence[tuple[Mark, int]]) -> None:
        """Commit the contact ids that moves go on with, before anything is sent with them."""
        with self._run.lock, self._run.database.transaction() as connection:
            self._keep(connection)
            entry_store.write_ids(connection, self._stream, ids)

    def holders(self, hashes: Iterable[int]) -> list[Entry]:
        """Return the entries, of any stream, that hold any of these identities."""
        with self._run.database.transaction(reads_only=True) as connection:
            return _each_once(entry_store.holders_of(connection, hashes))

    def missing(self) -> Iterator[list[Entry]]:
        """Yield, page by page, the entries whose source key has not come in this run."""
        after = 0
        while True:
            with self._run.database.transaction(reads_only=True) as connection:
                page = entry_store.page_of(
                    connection, self._stream, after=after, up_to=self._newest_id, size=_PAGE
                )
            if not page:
                return
            after = page[-1].id or 0
            yield [entry for entry in page if (entry.id or 0) not in self._seen]

    def count_known(self) -> int:
        """Return how many source keys were known when the run began."""
        with self._run.database.transaction(reads_only=True) as connection:
            return entry_store.count_entries(connection, self._stream, up_to=self._newest_id)

    def expire(self, gone: Sequence[Entry]) -> None:
        """Forget source keys, which a complete full read did not bring."""
        run = self._run
        with run.lock, run.database.transaction() as connection:
            store.read_header(connection, lock=True)
            self._keep(connection)
            remove_entries(connection, run.digests, self._stream, [one.key for one in gone])

    def is_shared(self, entries: Sequence[Entry]) -> list[bool]:
        """Return for each entry whether another source key holds an identity of its own."""
        with self._run.database.transaction(reads_only=True) as connection:
            return _block_of(connection, self._run.digests, self._stream, entries)[1]

    def release(self) -> None:
        """Let other runs have the stream, after everything is written."""
        self.flush()
        with self._run.lock, self._run.database.transaction() as connection:
            store.release_stream(connection, self._stream, self._run.number)

    def _entries(
        self, connection: sa.Connection, block: Sequence[tuple[Candidate, str | None]]
    ) -> dict[str, Entry]:
        keys = {candidate.key for candidate, _ in block}
        found = {one.key: one for one in entry_store.entries_of(connection, self._stream, keys)}
        for entry in found.values():
            self._seen.add(t.cast("int", entry.id))
        return found

    def _concerned(
        self, block: Sequence[tuple[Candidate, str | None]], known: dict[str, Entry]
    ) -> list[bool]:
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
            or entry.id in self._seen
            or entry.stream not in self._run.streams
        )

    def _hashes(
        self, block: Sequence[tuple[Candidate, str | None]], known: dict[str, Entry]
    ) -> set[int]:
        """Return the hashes of all identities that a block takes or leaves."""
        hashes = {self._run.digests.hash_of(candidate) for candidate, _ in block}
        for candidate, _ in block:
            if (entry := known.get(candidate.key)) is not None:
                hashes |= entry.hashes
                if (following := follow(entry, candidate.contact)) is not None:
                    hashes.add(self._run.digests.identity(following.contact))
        return hashes

    def _has_become_mixed(
        self, connection: sa.Connection, block: Sequence[tuple[Candidate, str | None]]
    ) -> bool:
        if self.is_mixed:
            return False
        by_id, plain = entry_store.has_kinds(connection)
        ids = [candidate.contact.contact_id is not None for candidate, _ in block]
        self.is_mixed = (by_id or any(ids)) and (plain or not all(ids))
        return self.is_mixed

    def _mark(
        self,
        connection: sa.Connection,
        block: Sequence[tuple[Candidate, str | None]],
        *,
        follows: bool,
    ) -> list[Decision]:
        known = self._entries(connection, block)
        hashes = self._hashes(block, known)
        decider = Block(
            self._run.digests,
            self._stream,
            self._run.next_token,
            _each_once(known.values(), entry_store.holders_of(connection, hashes)),
            sends_all=self._sends_all,
            follows=follows,
            undecided=(candidate.key for candidate, _ in block),
            is_seen=self._is_seen,
        )
        decisions = [decider.decide(candidate, list_id) for candidate, list_id in block]
        entry_store.write_marks(connection, decider.marked.values(), decider.left, decider.shared)
        return decisions

    def _number(
        self,
        connection: sa.Connection,
        delivered: Sequence[tuple[Sequence[Mark], str | None, int]],
        now: int,
    ) -> list[tuple[Mark, int | None]]:
        """Return every mark with the number of its batch; new batches are noted as open."""
        numbered: list[tuple[Mark, int | None]] = []
        new = []
        for marks, batch_id, contacts in delivered:
            number = None
            if batch_id is not None and marks:
                number = self._batches.get(batch_id)
                if number is None:
                    number = self._batches[batch_id] = self._run.next_token()
                    row = {"number": number, "stream": self._stream, "batch_id": batch_id}
                    new.append(row | {"contacts": contacts, "accepted_at": now, "is_open": True})
            numbered += [(mark, number) for mark in marks]
        store.add_batches(connection, new)
        return numbered

    def _keep(self, connection: sa.Connection) -> None:
        """Make sure that the stream is still this run's, and keep it so."""
        now = self._run.clock()
        if now >= self._leased_at + LEASE_STEP_SECONDS:
            self._leased_at = now
            until = store.now_of(connection) + LEASE_SECONDS
            is_ours = store.extend_lease(connection, self._stream, self._run.number, until)
        else:
            is_ours = store.run_of(connection, self._stream) == self._run.number
        if not is_ours:
            message = (
                f"Another run has taken over stream '{self.name}', because this one was not heard "
                f"of for {LEASE_SECONDS:.0f} s. What this run sent since is sent again."
            )
            raise LedgerError(message)


class _Everything:
    """Holds whatever it is asked for."""

    def __contains__(self, _number: object) -> bool:
        return True


def remove_entries(
    connection: sa.Connection, digests: Digests, stream: int, keys: Sequence[str]
) -> int:
    """Delete entries, and make unknown what else holds their identities; return how many."""
    gone = entry_store.entries_of(connection, stream, keys)
    block, _ = _block_of(connection, digests, stream, gone)
    for entry in gone:
        block.remove(entry)
    deleted = {entry.id for entry in gone}
    entry_store.write_left(connection, [one for one in block.left if one.entry.id not in deleted])
    entry_store.delete_entries(connection, gone)
    return len(gone)


def _block_of(
    connection: sa.Connection, digests: Digests, stream: int, some: Sequence[Entry]
) -> tuple[Block, list[bool]]:
    hashes = {held for entry in some for held in entry.hashes}
    entries = _each_once(some, entry_store.holders_of(connection, hashes))
    block = Block(digests, stream, lambda: 0, entries)
    return block, [block.is_shared(entry) for entry in some]


def _each_once(*groups: Iterable[Entry]) -> list[Entry]:
    """Return every entry once, the first of each id."""
    found: dict[int | None, Entry] = {}
    for group in groups:
        for entry in group:
            found.setdefault(entry.id, entry)
    return list(found.values())
