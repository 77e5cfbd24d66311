"""What happens after a 202: batches are processed in the order accepted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainbrainer_sandbox.store import Store
    from mainbrainer_sandbox.switches import Switches

_LOG = logging.getLogger(__name__)

BROKEN_REASON = "The sandbox itself has failed; see its log."
FAILED_REASON = "The sandbox was told to fail this batch."
# The clock may be a test's, which the event loop does not know: look often.
_LOOK_SECONDS = 0.02
# Made up, because no page says what they are.
_STATES = {"queued": (0, "Queued"), "completed": (2, "Completed"), "failed": (3, "Failed")}


def status_body(batch: dict[str, Any]) -> dict[str, Any]:
    """Return the answer of `GET /contacts/{id}/Status` (section 6)."""
    code, text = _STATES[batch["state"]]
    return {
        "id": batch["id"],
        "status": code,
        "statusText": text,
        "statusFailedReason": batch["failed_reason"],
        "processedObj": {
            which: {"count": batch[which], "contactIds": batch["details"].get(which, [])}
            for which in ("inserted", "updated", "skipped")
        },
    }


class Worker:
    """Processes accepted batches, one after the other, on the server's own thread.

    Args:
        store: Where accepted batches wait.
        now: Wall clock, for when a batch is due.
        switches: Returns the switches in force.
    """

    def __init__(
        self, store: Store, now: Callable[[], float], switches: Callable[[], Switches]
    ) -> None:
        self._store = store
        self._now = now
        self._switches = switches
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._closing = False

    def wake(self) -> None:
        """Say that a batch was accepted."""
        self._idle.clear()
        self._wake.set()

    def process_due(self, up_to: int | None = None) -> None:
        """Process all batches that are due now, or those up to a number."""
        while (due := self._store.next_due()) and due[1] <= self._now():
            if up_to is not None and due[0] > up_to:
                break
            self._process(due[0])

    async def settle(self) -> None:
        """Wait until every accepted batch is processed, except those that never are."""
        self.wake()
        await self._idle.wait()

    def finish(self) -> None:
        """Let `run` end once everything accepted is processed, due or not."""
        self._closing = True
        self._wake.set()

    async def run(self) -> None:
        """Process batches until told to finish, and then the rest of them."""
        while True:
            self._wake.clear()
            due = self._store.next_due()
            if due is None:
                self._idle.set()
                if self._closing:
                    break
                await self._wake.wait()
            elif due[1] > self._now() and not self._closing:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(due[1] - self._now(), _LOOK_SECONDS)):
                        await self._wake.wait()
            else:
                self._process(due[0])
                # Requests are answered between two batches.
                await asyncio.sleep(0)

    def _process(self, number: int) -> None:
        waiting = self._store.waiting(number)
        try:
            if waiting.outcome_override == "fail":
                self._store.fail(waiting, FAILED_REASON, self._now())
            else:
                self._store.process(waiting, self._switches(), self._now())
        except Exception:  # noqa: BLE001 - logged, and told by the batch's status
            # A mistake of the sandbox's own must not hold up what comes after it.
            _LOG.exception("The sandbox failed to process batch %d.", number)
            self._store.fail(waiting, BROKEN_REASON, self._now())
