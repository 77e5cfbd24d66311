"""Outcomes of one stream that are known and not written yet. Any thread may hand them in."""

from __future__ import annotations

import threading
import typing as t
from dataclasses import dataclass, field

if t.TYPE_CHECKING:
    from collections.abc import Sequence

    from target_mainbrainer.ledger.marking import Mark


class Delivered(t.NamedTuple):
    """Contacts that were delivered together.

    Attributes:
        batch_id: The batch they went out in, if its own outcome is still awaited.
        contacts: How many are in that batch.
    """

    marks: Sequence[Mark]
    batch_id: str | None
    contacts: int


@dataclass
class Outcomes:
    """What has become of contacts and batches.

    Attributes:
        doubts: Hashes of identities under which a request may be applied a second time.
        refused: Marks of the contacts that were refused for good.
        ended: Ids of batches that were applied, or will never be asked for again.
        failed: Ids of batches that failed after they were accepted.
    """

    delivered: list[Delivered] = field(default_factory=list)
    doubts: set[int] = field(default_factory=set)
    refused: list[Mark] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.delivered or self.refused or self.ended or self.failed)


class PendingOutcomes:
    """Outcomes that are not written yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outcomes = Outcomes()

    @property
    def contacts(self) -> int:
        """How many contacts were delivered."""
        with self._lock:
            return sum(len(one.marks) for one in self._outcomes.delivered)

    def delivered(self, delivered: Delivered, *, in_doubt: bool) -> None:
        """Add contacts that were delivered."""
        with self._lock:
            if in_doubt:
                self._outcomes.doubts.update(mark.identity_hash for mark in delivered.marks)
            self._outcomes.delivered.append(delivered)

    def refused(self, marks: Sequence[Mark]) -> None:
        """Add contacts that were refused for good."""
        with self._lock:
            self._outcomes.refused.extend(marks)

    def ended(self, batch_id: str) -> None:
        """Add a batch that was applied, or will never be asked for again."""
        with self._lock:
            self._outcomes.ended.append(batch_id)

    def failed(self, batch_id: str) -> None:
        """Add a batch that failed after it was accepted."""
        with self._lock:
            self._outcomes.failed.append(batch_id)

    def take(self) -> Outcomes:
        """Return all outcomes; they are pending no more."""
        with self._lock:
            outcomes, self._outcomes = self._outcomes, Outcomes()
            return outcomes

    def put_back(self, outcomes: Outcomes) -> None:
        """Have outcomes pending again that could not be written."""
        with self._lock:
            newer, self._outcomes = self._outcomes, outcomes
            outcomes.delivered += newer.delivered
            outcomes.doubts |= newer.doubts
            outcomes.refused += newer.refused
            outcomes.ended += newer.ended
            outcomes.failed += newer.failed
