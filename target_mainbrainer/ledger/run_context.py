"""What the streams of one run have in common."""

from __future__ import annotations

import threading
import typing as t
from dataclasses import dataclass, field

from target_mainbrainer.errors import LedgerError
from target_mainbrainer.ledger import store
from target_mainbrainer.ledger.seen import Seen

if t.TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

    from target_mainbrainer.ledger.comparison import Digests
    from target_mainbrainer.ledger.transactions import Transactions

_T = t.TypeVar("_T")


@dataclass
class RunContext:
    """What the streams of one run have in common.

    Attributes:
        number: The run's number; a higher one is a later run.
        account: Fingerprint of what the ledger is filled from.
        transactions: Of the ledger's database.
        digests: Under the ledger's key.
        next_token: Returns a token that no other try has.
        clock: Seconds that only ever grow.
        doubtful: Hashes of identities under which an attempt of the run before may still land,
            or one of this run may land twice.
        newest_id: The highest id of an entry when the run began.
        lock: Held by whichever thread writes.
        seen: Ids of the entries whose source keys have come in this run.
        streams: The streams that the run has taken.
    """

    number: int
    account: str
    transactions: Transactions
    digests: Digests
    next_token: Callable[[], int]
    clock: Callable[[], float]
    doubtful: set[int]
    newest_id: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    seen: Seen = field(default_factory=Seen)
    streams: set[int] = field(default_factory=set)

    def read(self, work: Callable[[sa.Connection], _T]) -> _T:
        """Return what `work` returns, in a transaction that only reads."""
        return self.transactions.read(work)

    def write(self, work: Callable[[sa.Connection], _T]) -> _T:
        """Return what `work` returns, after it was committed.

        Nothing else writes meanwhile, in this run or in another, so that no two wait for each
        other.

        Raises:
            LedgerError: The ledger is another account's by now, or cannot be used.
        """

        def checked(connection: sa.Connection) -> _T:
            header = store.read_header(connection, lock=True)
            if header is None or header.account != self.account:
                message = (
                    "Another run has started the ledger anew for another account or sandbox while "
                    "this one went on. Give each account a ledger of its own ('ledger_uri')."
                )
                raise LedgerError(message)
            return work(connection)

        with self.lock:
            return self.transactions.write(checked)
