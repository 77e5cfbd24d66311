"""Where permits are kept: in this process, if there is no ledger for all runs to share."""

from __future__ import annotations

import threading
import typing as t

from target_mainbrainer.ledger.quota import Quota, Taken, Wait

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from target_mainbrainer.settings.declared import Plan


class PermitStore(t.Protocol):
    """Where a `Quota` is kept: in this process, or in the ledger's database for all runs."""

    def take(self, plan: Plan | None, *, is_spare: bool = False) -> Taken | Wait:
        """Take a permit, or say how long to wait for one."""

    def free(self, plan: Plan | None) -> int:
        """Return how many permits there are, as far as this process knows."""

    def in_use(self) -> int:
        """Return how many permits are occupied, as far as this process knows."""

    def correct(self, until: float, by: float) -> None:
        """Occupy a permit for so many seconds longer, or less long."""

    def give_back(self, until: float) -> None:
        """Free a permit with which nothing was sent."""

    def hold(self, seconds: float, reason: str) -> None:
        """Give out no permit for so long."""

    def close(self) -> None:
        """Close what the store has opened."""


class MemoryStore:
    """The permits of this process alone."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._quota = Quota()
        self._lock = threading.Lock()

    def take(self, plan: Plan | None, *, is_spare: bool = False) -> Taken | Wait:
        """Take a permit, or say how long to wait for one."""
        with self._lock:
            now = self._clock()
            taken = self._quota.take(plan, now, is_spare=is_spare)
            return taken if isinstance(taken, Wait) else Taken(now, taken)

    def free(self, plan: Plan | None) -> int:
        """Return how many permits there are."""
        with self._lock:
            return self._quota.free(plan, self._clock())

    def in_use(self) -> int:
        """Return how many permits are occupied."""
        with self._lock:
            return self._quota.in_use(self._clock())

    def correct(self, until: float, by: float) -> None:
        """Occupy a permit for so many seconds longer, or less long."""
        with self._lock:
            self._quota.correct(until, until + by)

    def give_back(self, until: float) -> None:
        """Free a permit with which nothing was sent."""
        with self._lock:
            self._quota.give_back(until)

    def hold(self, seconds: float, reason: str) -> None:
        """Give out no permit for so long."""
        with self._lock:
            self._quota.hold(seconds, reason, self._clock())

    def close(self) -> None:
        """There is nothing to close."""
