"""Contacts waiting to be sent: merged where the CRM would see one contact, in order otherwise."""

from __future__ import annotations

import typing as t

import msgspec
from typing_extensions import override

from target_mainbrainer.api.requests import encode_contact
from target_mainbrainer.contacts.identity import merge

if t.TYPE_CHECKING:
    from collections.abc import Hashable

    from target_mainbrainer.contacts.contact import Contact
    from target_mainbrainer.contacts.identity import Identity
    from target_mainbrainer.singer.source_record import SourceRecord

# gc=False, here as in `contact`: tens of thousands of these wait at any time, and the garbage
# collector's looking them through took a third of a run. Nothing in them can point back at them.


class PendingContact(msgspec.Struct, eq=False, gc=False):
    """One contact on its way to the API, with every record that went into it.

    Attributes:
        place: Its place in the batch, counted from 0.
        encoded: Its JSON; None if it is to be encoded again, because it was merged.
    """

    contact: Contact
    identifiers: tuple[Hashable, ...]
    source_records: list[SourceRecord]
    place: int
    encoded: bytes | None = None

    @override
    def __repr__(self) -> str:
        return f"<Entry of {len(self.source_records)} records>"

    @override
    def __rich_repr__(self) -> list[tuple[str, t.Any]]:
        """Keep pretty printers from showing what is encoded after all."""
        return []


class ContactBuffer:
    """Contacts of one stream and one list, at most one for each identity.

    Within one request the API documents neither an order nor what happens to two contacts that
    turn out to be one (API note, section 8.1). So whatever may be a contact that is in here
    already, under another identity, has to wait for the next batch; `fits` says so.

    Attributes:
        since: When the first contact came, by the clock of whoever asks.
        size_bytes: How long the records in here are, all together.
    """

    def __init__(self, since: float = 0.0) -> None:
        self.since = since
        self.size_bytes = 0
        self._entries: dict[Identity, PendingContact] = {}
        self._spellings: dict[tuple[Hashable, ...], Identity] = {}
        self._keys: set[Hashable] = set()
        self._keys_of_known: dict[Hashable, Identity] = {}
        self._newest_plain = self._newest_known = -1

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def entries(self) -> list[PendingContact]:
        """The contacts in the order in which their identities first came."""
        return list(self._entries.values())

    @property
    def keys(self) -> set[Hashable]:
        """Every identifier of every contact in here."""
        return self._keys.union(self._keys_of_known)

    def fits(self, contact: Contact, identity: Identity, identifiers: tuple[Hashable, ...]) -> bool:
        """Tell whether a contact can go into the same request as those that are here.

        Contacts that share a mobile number or an e-mail address, but not an identity, are
        different people to MainBrainer and fit. They may be one when a contact id is involved,
        or when only the spelling differs, as nobody says whether that counts. A contact with an
        id may be one without even if they share nothing that can be seen here, so neither is
        merged past the other.
        """
        entry = self._entries.get(identity)
        if contact.contact_id is None:
            if self._spellings.get(identifiers, identity) != identity:
                return False
            if entry is not None and entry.place < self._newest_known:
                return False
            known = self._keys_of_known
            return not (known and any(key in known for key in identifiers))
        if entry is not None and entry.place < self._newest_plain:
            return False
        return not any(
            key in self._keys or self._keys_of_known.get(key, identity) != identity
            for key in identifiers
        )

    def add(
        self,
        contact: Contact,
        identity: Identity,
        identifiers: tuple[Hashable, ...],
        source_record: SourceRecord,
    ) -> None:
        """Put a contact in, merged with the one of the same identity if there is one.

        It is encoded here and not when it is sent, because by then it would have to be fetched
        back from memory piece by piece, which takes several times as long.
        """
        self.size_bytes += len(source_record.line)
        entry = self._entries.get(identity)
        if entry is None:
            place = len(self._entries)
            self._entries[identity] = PendingContact(
                contact, identifiers, [source_record], place, encode_contact(contact)
            )
            if contact.contact_id is None:
                self._newest_plain = place
            else:
                self._newest_known = place
        else:
            entry.contact = merge(entry.contact, contact)
            entry.encoded = None
            entry.source_records.append(source_record)
            if identifiers != entry.identifiers:
                entry.identifiers = tuple({*entry.identifiers, *identifiers})
        if contact.contact_id is None:
            self._keys.update(identifiers)
            self._spellings[identifiers] = identity
        else:
            self._keys_of_known.update(dict.fromkeys(identifiers, identity))
