"""Contacts that are delivered together, and where they go."""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from target_mainbrainer.delivery.pending_contact import PendingContact
    from target_mainbrainer.report.rejects import SourceStream


class Destination(t.NamedTuple):
    """Where a batch goes; what the API says about one destination says nothing about others."""

    list_id: str | None
    webhook_url: str | None


class Batch:
    """Contacts that are delivered together, and the earlier batches they have to wait for.

    Attributes:
        keys: Whatever orders the contacts: identifiers and source keys.
        stream: Where they come from.
        size_bytes: How long their records are.
        open: The contacts whose outcome is not known yet, in order.
        number: Its place in the order of all batches.
    """

    def __init__(
        self,
        contacts: Sequence[PendingContact],
        keys: set[Hashable],
        destination: Destination,
        stream: SourceStream,
        size_bytes: int = 0,
    ) -> None:
        self.contacts = contacts
        self.keys = keys
        self.destination = destination
        self.stream = stream
        self.size_bytes = size_bytes
        self.open = contacts
        self.number = 0
        self._earlier: set[Batch] = set()
        self._later: dict[Batch, None] = {}

    def close(self, contacts: Sequence[PendingContact]) -> None:
        """Note that the outcome of these contacts is known."""
        closed = set(map(id, contacts))
        self.open = [contact for contact in self.open if id(contact) not in closed]

    def sendable(self) -> list[PendingContact]:
        """Return the open contacts that share no identifier with an earlier open one."""
        seen: set[Hashable] = set()
        free = []
        for contact in self.open:
            if seen.isdisjoint(contact.identifiers):
                free.append(contact)
            seen.update(contact.identifiers)
        return free

    def keys_of(self, contact: PendingContact) -> set[Hashable]:
        """Return whatever orders one contact of this batch."""
        source_keys = (record.source_key for record in contact.source_records)
        stream = self.stream.stream
        return {*contact.identifiers, *((stream, key) for key in source_keys if key is not None)}

    def follow(self, earlier: set[Batch]) -> None:
        """Wait for earlier batches."""
        self._earlier = earlier
        for batch in earlier:
            batch._later[self] = None  # noqa: SLF001 - the other end of the same tie

    @property
    def is_free(self) -> bool:
        """Whether it waits for no other batch."""
        return not self._earlier

    def release(self) -> list[Batch]:
        """Release the later batches, and return those that now wait for nothing."""
        free = []
        for batch in self._later:
            batch._earlier.discard(self)  # noqa: SLF001
            if batch.is_free:
                free.append(batch)
        self._later = {}
        return free
