"""What happens after a 202: batches are processed in the order accepted."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainbrainer_sandbox.rules import Sent
    from mainbrainer_sandbox.store import Store
    from mainbrainer_sandbox.switches import Switches

_LOG = logging.getLogger(__name__)

BROKEN_REASON = "The sandbox itself has failed; see its log."
FAILED_REASON = "The sandbox was told to fail this batch."
# The clock may be a test's, which the event loop does not know: look often.
_LOOK_SECONDS = 0.02


class Waiting(msgspec.Struct):
    """A batch that was accepted and is not processed yet.

    Attributes:
        due: When it may be processed (wall clock).
        fails: Whether a fault makes it fail as a whole.
        skip_first: How many of its contacts a fault skips.
    """

    number: int
    contacts: list[Sent]
    due: float
    fails: bool = False
    skip_first: int = 0


class Queue:
    """The batches that wait. A batch that is due is processed as soon as anything is asked for.

    Args:
        store: Where the contacts and the outcome go.
        now: Wall clock, for when a batch is due.
        switches: Returns the switches in force.
    """

    def __init__(
        self, store: Store, now: Callable[[], float], switches: Callable[[], Switches]
    ) -> None:
        self._store = store
        self._now = now
        self._switches = switches
        self._waiting: deque[Waiting] = deque()

    def add(self, waiting: Waiting) -> None:
        """Add a batch that was accepted, and process what is due."""
        self._waiting.append(waiting)
        self.process_due()

    def process_due(self) -> None:
        """Process all batches that are due; one that is not holds up those behind it."""
        while self._waiting and self._waiting[0].due <= self._now():
            self._process(self._waiting.popleft())

    async def settle(self) -> None:
        """Wait until every batch is processed."""
        self.process_due()
        while self._waiting:
            await asyncio.sleep(_LOOK_SECONDS)
            self.process_due()

    def finish(self) -> None:
        """Process every batch, due or not."""
        while self._waiting:
            self._process(self._waiting.popleft())

    def clear(self) -> None:
        """Forget every batch."""
        self._waiting.clear()

    def _process(self, waiting: Waiting) -> None:
        if waiting.fails:
            self._store.fail(waiting.number, FAILED_REASON, self._now())
            return
        try:
            self._store.process(
                waiting.number,
                waiting.contacts,
                self._switches(),
                self._now(),
                skip_first=waiting.skip_first,
            )
        except Exception:  # noqa: BLE001 - logged, and told by the batch's status
            # A mistake of the sandbox's own must not hold up what comes after it.
            _LOG.exception("The sandbox failed to process batch %d.", waiting.number)
            self._store.fail(waiting.number, BROKEN_REASON, self._now())
