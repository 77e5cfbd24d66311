"""A contact on its way to the API, with every record that went into it."""

from __future__ import annotations

import typing as t

import msgspec
from typing_extensions import override

from target_mainbrainer.contacts import merge

if t.TYPE_CHECKING:
    from collections.abc import Hashable

    from target_mainbrainer.contacts import Contact
    from target_mainbrainer.ledger.marking import Mark
    from target_mainbrainer.singer.records import SourceRecord

# gc=False, here as in `contact`: tens of thousands of these wait at any time, and the garbage
# collector's looking them through took a third of a run. Nothing in them can point back at them.


class ContactPart(msgspec.Struct, frozen=True, gc=False):
    """One record of a pending contact, as the contact that it is by itself.

    Attributes:
        mark: What the ledger is told once its outcome counts; None without a ledger.
    """

    contact: Contact
    source_record: SourceRecord
    mark: Mark | None = None

    @override
    def __repr__(self) -> str:
        return f"<ContactPart of record {self.source_record.number}>"

    @override
    def __rich_repr__(self) -> list[tuple[str, t.Any]]:
        """Keep pretty printers from showing the contact."""
        return []


class PendingContact(msgspec.Struct, eq=False, gc=False):
    """One contact on its way to the API.

    Attributes:
        contact: What is sent: all parts merged.
        identifiers: Every identifier of every part.
        parts: The records that it was made of, in input order; their source keys may differ.
        place: Its place in the buffer that it was collected in, counted from 0.
        encoded: Its JSON; None if it has to be encoded again: it was merged, or has been sent.
    """

    contact: Contact
    identifiers: tuple[Hashable, ...]
    parts: list[ContactPart]
    place: int = 0
    encoded: bytes | None = None

    @property
    def source_records(self) -> list[SourceRecord]:
        """The records that went into it, in input order."""
        return [part.source_record for part in self.parts]

    @property
    def marks(self) -> list[Mark]:
        """What the ledger is told of them."""
        return [part.mark for part in self.parts if part.mark is not None]

    @property
    def is_merged(self) -> bool:
        """Whether it was made of several records."""
        return len(self.parts) > 1

    def merge(self, later: ContactPart, identifiers: tuple[Hashable, ...]) -> None:
        """Add a later record of the same identity."""
        self.contact = merge(self.contact, later.contact)
        self.encoded = None
        self.parts.append(later)
        if identifiers != self.identifiers:
            self.identifiers = tuple({*self.identifiers, *identifiers})

    def halves(self) -> tuple[PendingContact, PendingContact]:
        """Return a merged contact as two: the earlier records and the later ones.

        Sent one after the other they do what the merged one does.
        """
        middle = len(self.parts) // 2
        return self._of(self.parts[:middle]), self._of(self.parts[middle:])

    def _of(self, parts: list[ContactPart]) -> PendingContact:
        contact = parts[0].contact
        for part in parts[1:]:
            contact = merge(contact, part.contact)
        return PendingContact(contact, self.identifiers, parts, self.place)

    @override
    def __repr__(self) -> str:
        return f"<PendingContact of {len(self.parts)} records>"

    @override
    def __rich_repr__(self) -> list[tuple[str, t.Any]]:
        """Keep pretty printers from showing what is encoded."""
        return []
