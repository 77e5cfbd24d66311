"""What happens after a 202: batches are processed in the order accepted, webhooks delivered."""

from __future__ import annotations

import asyncio
import http.client
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from mainbrainer_sandbox.loopback import is_loopback
from mainbrainer_sandbox.switches import Switches, words

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainbrainer_sandbox.store import Store, Waiting

_LOG = logging.getLogger(__name__)

WEBHOOK_TRIES = 3
WEBHOOK_TIMEOUT_SECONDS = 5.0
WEBHOOK_PAUSE_SECONDS = 0.2
BROKEN_REASON = "The sandbox itself has failed; see its log."
FAILED_REASON = "The sandbox was told to fail this batch."

_STATES = ("queued", "processing", "completed", "failed")


def status_body(batch: dict[str, Any], switches: Switches) -> dict[str, Any]:
    """Return the answer of `GET /contacts/{id}/Status` (section 6)."""
    place = _STATES.index(batch["state"])
    details = batch["details"]

    def ids(which: str) -> dict[str, Any]:
        return {"count": batch[which], "contactIds": details.get(which, [])}

    return {
        "id": batch["id"],
        "status": int(words(switches.status_codes)[place]),
        "statusText": words(switches.status_texts)[place],
        "statusFailedReason": batch["failed_reason"],
        "processedObj": {which: ids(which) for which in ("inserted", "updated", "skipped")},
    }


class Worker:
    """Processes accepted batches, one after the other, on the server's own thread.

    One thread for everything is on purpose: a batch is a few milliseconds of Python
    and a few statements that SQLite runs without the interpreter's lock.

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
        self._done: dict[int, asyncio.Future[list[int]]] = {}
        self._deliveries: set[asyncio.Task[None]] = set()
        self._closing = False

    def wake(self) -> None:
        """Say that a batch was accepted."""
        self._idle.clear()
        self._wake.set()

    def expect(self, number: int) -> asyncio.Future[list[int]]:
        """Return the future ids of the contacts of a batch that was accepted just now."""
        future = asyncio.get_running_loop().create_future()
        self._done[number] = future
        return future

    def held_up(self) -> bool:
        """Return whether the batch whose turn it is must wait for its time."""
        due = self._store.next_due()
        return due is not None and due[1] > self._now()

    async def settle(self) -> None:
        """Wait until every accepted batch is processed, save those that are stuck."""
        self.wake()
        await self._idle.wait()

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
                continue
            wait = due[1] - self._now()
            if wait > 0 and not self._closing:
                # The clock may be a test's, which the event loop knows nothing of: look often.
                try:
                    async with asyncio.timeout(min(wait, 0.02)):
                        await self._wake.wait()
                except TimeoutError:
                    pass
                continue
            self._process()
            # Requests that wait meanwhile get their turn between two batches.
            await asyncio.sleep(0)
        if self._deliveries:
            await asyncio.wait(self._deliveries, timeout=WEBHOOK_TIMEOUT_SECONDS)

    def finish(self) -> None:
        """Let `run` end once everything accepted is processed, due or not."""
        self._closing = True
        self._wake.set()

    def forget(self) -> None:
        """Give up on everything that waits, because the store was emptied."""
        for future in self._done.values():
            future.set_result([])
        self._done.clear()
        self.wake()

    def _process(self) -> None:
        waiting = self._store.next_waiting()
        if waiting is None:
            return
        ids: list[int] = []
        try:
            ids = self._apply(waiting)
        except Exception:  # noqa: BLE001 - logged, and told by the batch's status
            # A mistake of the sandbox's own must not hold up what comes after it.
            _LOG.exception("The sandbox failed to process batch %d.", waiting.number)
            self._store.fail(waiting, BROKEN_REASON, self._now())
        future = self._done.pop(waiting.number, None)
        if future is not None and not future.done():
            future.set_result(ids)
        if waiting.webhook_url is not None:
            self._deliver(waiting, waiting.webhook_url)

    def _apply(self, waiting: Waiting) -> list[int]:
        """Process a batch as its fate has it; return the ids of its contacts."""
        if waiting.fate == "fail":
            self._store.fail(waiting, FAILED_REASON, self._now())
            return []
        if waiting.fate is not None and waiting.fate.startswith("skip="):
            for sent in waiting.contacts[: int(waiting.fate.removeprefix("skip="))]:
                sent.skip = "The sandbox was told to skip it."
        applied = self._store.process(waiting, self._switches(), self._now())
        return applied.inserted or applied.updated

    def _deliver(self, waiting: Waiting, url: str) -> None:
        batch = self._store.batch(waiting.id)
        if batch is None:
            return
        allowed = self._switches().webhooks
        if allowed == "none" or (
            allowed == "loopback" and not is_loopback(urlsplit(url).hostname or "")
        ):
            outcome = "Not sent: the sandbox delivers webhooks to this machine only."
            if allowed == "none":
                outcome = "Not sent: the sandbox was told to deliver no webhooks."
            self._store.record_webhook(
                waiting.number, url, sent=self._now(), tries=0, status=None, outcome=outcome
            )
            return
        body = msgspec.json.encode(status_body(batch, self._switches()))
        task = asyncio.create_task(self._post(waiting.number, url, body))
        self._deliveries.add(task)
        task.add_done_callback(self._deliveries.discard)

    async def _post(self, number: int, url: str, body: bytes) -> None:
        status, outcome = None, ""
        tries = 0
        for tries in range(1, WEBHOOK_TRIES + 1):
            try:
                status = await asyncio.to_thread(_post, url, body)
            except (OSError, ValueError, http.client.HTTPException) as error:
                outcome = f"Not delivered: {type(error).__name__}."
            else:
                outcome = "Delivered." if status < 300 else f"Answered {status}."  # noqa: PLR2004
                if status < 500:  # noqa: PLR2004 - what is no server's fault will not mend
                    break
            if tries < WEBHOOK_TRIES:
                await asyncio.sleep(WEBHOOK_PAUSE_SECONDS)
        self._store.record_webhook(
            number, url, sent=self._now(), tries=tries, status=status, outcome=outcome
        )


def _post(url: str, body: bytes) -> int:
    """Post a webhook and return the status answered; no redirect is followed."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=WEBHOOK_TIMEOUT_SECONDS)
    path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()
