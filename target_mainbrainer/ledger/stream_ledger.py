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

from target_mainbrainer.ledger import entry_queries, entry_store, store
from target_mainbrainer.ledger.block_comparison import BlockComparer
from target_mainbrainer.ledger.comparison import key_text
from target_mainbrainer.ledger.lease import Lease
from target_mainbrainer.ledger.pending_outcomes import Delivered, PendingOutcomes
from target_mainbrainer.ledger.removal import are_shared, each_once, remove_entries

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import sqlalchemy as sa

    from target_mainbrainer.ledger.block_comparison import Contacts
    from target_mainbrainer.ledger.comparison import Digests, Entry
    from target_mainbrainer.ledger.marking import Decision, Mark
    from target_mainbrainer.ledger.pending_outcomes import Outcomes
    from target_mainbrainer.ledger.run_context import RunContext

FLUSH_AT = 2_000
"""So many outcomes are written at once at most."""

_PAGE = 1_000


class OpenBatch(t.NamedTuple):
    """A batch of an earlier run whose outcome is not known."""

    batch_id: str
    contacts: int


class StreamLedger:
    """The ledger of one stream, held by this run.

    The reading thread compares; any thread may hand in outcomes.

    Attributes:
        name: The stream.
        number: Its number in the ledger.
    """

    def __init__(
        self,
        run: RunContext,
        name: str,
        number: int,
        *,
        newest_id: int,
        open_batches: Sequence[tuple[int, str, int]],
        sends_all: bool,
    ) -> None:
        self.name = name
        self.number = number
        self._run = run
        self._newest_id = newest_id
        self._lease = Lease(run, number, name)
        self._comparer = BlockComparer(run, number, self._lease, sends_all=sends_all)
        self._outcomes = PendingOutcomes()
        self._flushing = threading.Lock()
        self._batches = {batch_id: batch for batch, batch_id, _ in open_batches}
        self._open_batches = [OpenBatch(batch_id, size) for _, batch_id, size in open_batches]
        run.streams.add(number)

    @property
    def digests(self) -> Digests:
        """Digests under the ledger's key."""
        return self._run.digests

    @property
    def is_mixed(self) -> bool:
        """Whether some records name contacts by id and others do not, so that all are sent."""
        return self._comparer.is_mixed

    @property
    def open_batches(self) -> list[OpenBatch]:
        """The batches of earlier runs that were open when this one began."""
        return self._open_batches

    # Comparing

    def compare(self, block: Contacts, *, follows: bool = False) -> list[Decision]:
        """Return what is to be done with each contact of a block; what is to be sent is marked.

        Args:
            block: Contacts in the order of the input, and the list that each goes to.
            follows: Whether people are followed whose identity changes.
        """
        return self._comparer.compare(block, follows=follows)

    def saw(self, keys: Iterable[str]) -> None:
        """Take note that source keys came whose records are not sent, so that none is missing."""
        texts = [key_text(key) for key in keys]
        for entry in self._run.read(
            lambda connection: entry_queries.entries_of(connection, self.number, texts)
        ):
            self._run.seen.add(t.cast("int", entry.id))

    def holders(self, hashes: Iterable[int]) -> list[Entry]:
        """Return the entries, of any stream, that hold any of these identities."""
        held = list(hashes)
        return each_once(
            self._run.read(lambda connection: entry_queries.holders_of(connection, held))
        )

    def are_shared(self, entries: Sequence[Entry]) -> list[bool]:
        """Return for each entry whether another source key holds an identity of its own."""
        return self._run.read(
            lambda connection: are_shared(connection, self.digests, self.number, entries)
        )

    def note_ids(self, ids: Sequence[tuple[Mark, int]]) -> None:
        """Commit the contact ids that moves go on with, before anything is sent with them."""

        def note(connection: sa.Connection) -> None:
            self._lease.keep(connection)
            entry_store.write_ids(connection, self.number, ids)

        self._run.write(note)

    # Full reads

    def is_new_version(self, version: int) -> bool:
        """Return whether records of this version come for the first time, and take note of it.

        A tap that goes on with a full read it could not finish keeps the version.
        """
        before = self._run.read(lambda connection: store.version_of(connection, self.number))
        self._run.write(
            lambda connection: store.update_stream(connection, self.number, version=version)
        )
        return before != version

    def missing(self) -> Iterator[list[Entry]]:
        """Yield, page by page, the entries whose source key has not come in this run."""
        page = self._page(after="")
        while page:
            yield [entry for entry in page if (entry.id or 0) not in self._run.seen]
            page = self._page(after=page[-1].key)

    def _page(self, *, after: str) -> list[Entry]:
        return self._run.read(
            lambda connection: entry_queries.page_of(
                connection, self.number, after=after, up_to=self._newest_id, size=_PAGE
            )
        )

    def count_known(self) -> int:
        """Return how many source keys were known when the run began."""
        return self._run.read(
            lambda connection: entry_queries.count_entries(
                connection, self.number, up_to=self._newest_id
            )
        )

    def expire(self, gone: Sequence[Entry]) -> None:
        """Forget source keys, which a complete full read did not bring."""
        keys = [one.key for one in gone]

        def remove(connection: sa.Connection) -> None:
            self._lease.keep(connection)
            remove_entries(connection, self.digests, self.number, keys)

        self._run.write(remove)

    # Outcomes

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
        self._outcomes.delivered(Delivered(marks, batch_id, contacts), in_doubt=in_doubt)

    def refused(self, marks: Sequence[Mark]) -> None:
        """Take what was refused for good."""
        self._outcomes.refused(marks)

    def batch_ended(self, batch_id: str) -> None:
        """Take note that a batch was applied, or will never be asked for again."""
        self._outcomes.ended(batch_id)

    def batch_failed(self, batch_id: str) -> None:
        """Take note that a batch failed after it was accepted: its contacts become unknown."""
        self._outcomes.failed(batch_id)

    def flush_if_full(self) -> None:
        """Commit the outcomes taken so far if they are many."""
        if self._outcomes.contacts >= FLUSH_AT:
            self.flush()

    def flush(self) -> None:
        """Commit all outcomes taken so far.

        Raises:
            LedgerError: Another run has taken the stream over, or the database is away.
        """
        with self._flushing:
            outcomes = self._outcomes.take()
            if outcomes.is_empty and not self._lease.is_due:
                return
            new = self._number(outcomes)
            try:
                self._run.write(lambda connection: self._write(connection, outcomes, new))
            except BaseException:
                self._outcomes.put_back(outcomes)
                raise
            self._batches.update(new)
            for batch_id in (*outcomes.ended, *outcomes.failed):
                self._batches.pop(batch_id, None)

    def release(self) -> None:
        """Let other runs have the stream, after everything is written."""
        self.flush()
        self._run.write(self._lease.release)

    def _number(self, outcomes: Outcomes) -> dict[str, int]:
        """Return numbers for the batches that have none yet."""
        return {
            one.batch_id: self._run.next_token()
            for one in outcomes.delivered
            if one.batch_id is not None and one.marks and one.batch_id not in self._batches
        }

    def _write(self, connection: sa.Connection, outcomes: Outcomes, new: Mapping[str, int]) -> None:
        self._lease.keep(connection)
        now = int(store.now_of(connection))
        self._run.doubtful.update(outcomes.doubts)
        store.add_doubts(connection, outcomes.doubts, self._run.number)
        unknown = _Everything() if self.is_mixed else self._run.doubtful
        numbers = {**self._batches, **new}
        rows = {
            one.batch_id: {
                "number": new[one.batch_id],
                "stream": self.number,
                "batch_id": one.batch_id,
                "contacts": one.contacts,
                "accepted_at": now,
                "is_open": True,
            }
            for one in outcomes.delivered
            if one.batch_id is not None and one.batch_id in new
        }
        store.add_batches(connection, list(rows.values()))
        numbered = [
            (mark, None if one.batch_id is None else numbers[one.batch_id])
            for one in outcomes.delivered
            for mark in one.marks
        ]
        entry_store.write_delivered(connection, self.number, numbered, now=now, unknown=unknown)
        if outcomes.refused:
            entry_store.write_refused(connection, self.number, outcomes.refused, unknown)
        failed = [numbers[one] for one in outcomes.failed if one in numbers]
        entry_store.fail_batches(connection, self.number, failed)
        ended = [numbers[one] for one in outcomes.ended if one in numbers]
        store.close_batches(connection, [*ended, *failed])


class _Everything:
    """Holds whatever it is asked for."""

    def __contains__(self, _number: object) -> bool:
        return True
