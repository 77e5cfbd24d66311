"""Whether a contact differs from what its source key was last delivered as. Knows no database.

Compared are digests, keyed with a random key of the ledger's own. Beside the digest of the whole
content, four bytes are kept for each field, two for its name and two for its value, so that a dry
run can say which fields changed: one change in 65,536 goes unseen there, and none in the
comparison itself.
"""

from __future__ import annotations

import enum
import hashlib
import struct
import typing as t
from zlib import crc32

import msgspec
from typing_extensions import override

from target_mainbrainer.contacts import HIDDEN, Contact, Identity, Mobile, PropertyRef

if t.TYPE_CHECKING:
    from collections.abc import Iterable

KEY_BYTES = 32
_CHECK = 0xFFFF
LONGEST_KEY = 512
"""A longer key is kept as a digest: PostgreSQL cannot index more than about 2,700 bytes."""

_encode = msgspec.json.encode
_encode_content = msgspec.msgpack.Encoder().encode


class Comparison(enum.Enum):
    """What a contact is, compared with the ledger."""

    NEW = "new"
    """Nothing was ever accepted for this source key."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    UNKNOWN = "unknown"
    """It may differ or not, so it is sent: see `docs/ledger.md`."""


class Entry(msgspec.Struct):
    """What the ledger holds of one source key.

    Attributes:
        id: None until it is in the database.
        identity: As the CRM holds it, or as it was first tried; `identity_text` of it.
        source_identity: As the source says it, if that differs.
        pending: The identity under which it is being tried, if that is another one.
        moving_id: The id of its contact, from when that is known until it has the new identity.
        content: Digest of the contact last delivered; None if unknown.
        fields: Checks of its fields.
        mobile_opt_in: The value known to be delivered; None if none is.
        email_opt_in: Likewise.
        shared: Another source key holds the same identity, or did when this one was last marked.
        doubt: Another source key has left its identity since it was marked, so that it stays
            unknown whatever the outcome.
        token: Of the try whose outcome is awaited; None if there is none.
        delivered_at: When anything was last accepted, in seconds since the epoch.
    """

    stream: int
    key: str
    identity: str
    identity_hash: int
    id: int | None = None
    source_identity: str | None = None
    pending: str | None = None
    pending_hash: int | None = None
    moving_id: int | None = None
    content: bytes | None = None
    fields: bytes | None = None
    mobile_opt_in: bool | None = None
    email_opt_in: bool | None = None
    shared: bool = False
    doubt: bool = False
    token: int | None = None
    delivered_at: int | None = None

    @override
    def __repr__(self) -> str:
        return f"Entry(id={self.id}, key={HIDDEN})"

    @property
    def hashes(self) -> set[int]:
        """The hashes of all identities it holds."""
        hashes = {self.identity_hash}
        if self.pending_hash is not None:
            hashes.add(self.pending_hash)
        return hashes

    @property
    def newest_hash(self) -> int:
        """The hash of the identity it was last tried or delivered under."""
        return self.identity_hash if self.pending_hash is None else self.pending_hash


class Candidate(msgspec.Struct, gc=False):
    """A contact of a stream, ready to be compared.

    Attributes:
        key: `key_text` of its record.
        contact: As it is to be sent.
        identity: `identity_text` of it.
        content: Digest of it as mapped.
        identity_hash: `Digests.hash_of` it, once that was asked for.
    """

    key: str
    contact: Contact
    identity: str
    content: bytes
    identity_hash: int | None = None

    @override
    def __repr__(self) -> str:
        return f"Candidate({HIDDEN})"


def key_text(key: str) -> str:
    """Return a source key as it is kept: as it is, if it is not too long to be indexed.

    >>> key_text("[7]"), key_text("x" * 600)[:8]
    ('[7]', '#c875df1')
    """
    encoded = key.encode()
    if len(encoded) > LONGEST_KEY:
        return "#" + hashlib.blake2b(encoded, digest_size=24).hexdigest()
    return key


def identity_text(contact: Contact | Identity) -> str:
    """Return what the CRM matches a contact on, as a text.

    >>> identity_text(Contact(mobile=Mobile(47, 90812501), email="ola@example.com"))
    '[47,90812501,"ola@example.com"]'
    >>> identity_text(Contact(contact_id=7, email="ola@example.com"))
    '[7]'
    """
    if contact.contact_id is not None:
        return f"[{contact.contact_id}]"
    country_code, number = contact.mobile or (None, None)
    return _encode((country_code, number, contact.email)).decode()


def identity_from(text: str) -> Identity:
    """Return the identity that `identity_text` made a text of.

    >>> identity_from('[47,90812501,null]').mobile.country_code
    47
    """
    parts = msgspec.json.decode(text)
    if len(parts) == 1:
        return Identity(contact_id=parts[0])
    country_code, number, email = parts
    return Identity(None, None if number is None else Mobile(country_code, number), email)


class Digests:
    """Digests under one ledger's key."""

    def __init__(self, key: bytes) -> None:
        self._content = hashlib.blake2b(key=key, digest_size=16)
        self._identity = hashlib.blake2b(key=key, digest_size=8, person=b"identity")
        self._seed = int.from_bytes(key[:4], "big")
        self._names = _NameChecks(self._seed)

    def candidate(
        self, key: str, contact: Contact, list_id: str | None, *, sent: Contact | None = None
    ) -> Candidate:
        """Return a contact ready to be compared.

        The list counts as content: a contact that changes its list is sent. The properties count
        in their order, because the last of two that the CRM takes for one decides there.

        Args:
            key: The source key.
            contact: As mapped, before anything is left out of it.
            list_id: The list it goes to, its own or its stream's.
            sent: As it is to be sent, if something is left out of it.
        """
        digest = self._content.copy()
        digest.update(_encode_content((list_id, contact)))
        return Candidate(key_text(key), sent or contact, identity_text(contact), digest.digest())

    def identity(self, contact: Contact | Identity) -> int:
        """Return a hash of an identity that errs on the side of "the same".

        Case and country code do not count, as in `identifiers_of`. The hash of a contact id is
        negative, so that the kinds can be told apart.
        """
        digest = self._identity.copy()
        if contact.contact_id is not None:
            digest.update(b"%d" % contact.contact_id)
            return ~(int.from_bytes(digest.digest(), "big") >> 1)
        number = "" if contact.mobile is None else contact.mobile.number
        email = "" if contact.email is None else contact.email.strip().casefold()
        digest.update(f"{number} {email}".encode())
        return int.from_bytes(digest.digest(), "big") >> 1

    def hash_of(self, candidate: Candidate) -> int:
        """Return the hash of a candidate's identity."""
        found = candidate.identity_hash
        if found is None:
            found = candidate.identity_hash = self.identity(candidate.contact)
        return found

    def fields(self, contact: Contact, list_id: str | None) -> bytes:
        """Return four bytes for each field that a contact has."""
        seed, names = self._seed, self._names
        found = _fields_of(contact, list_id)
        checks = [crc32(text.encode(), seed) & _CHECK for _, text in found]
        return struct.pack(f"<{2 * len(found)}H", *[names[name] for name, _ in found], *checks)

    def changed_fields(self, fields: bytes, contact: Contact, list_id: str | None) -> list[str]:
        """Return which fields of a contact differ from those delivered, by their names.

        A field that the contact does not have any more has no name here.

        Args:
            fields: What `fields` returned for the contact that was delivered.
            contact: The contact as it is now.
            list_id: Likewise.
        """
        numbers = struct.unpack(f"<{len(fields) // 2}H", fields)
        half = len(numbers) // 2
        before = dict(zip(numbers[:half], numbers[half:], strict=True))
        return [
            name if isinstance(name, str) else name.name or name.property_id or ""
            for name, text in _fields_of(contact, list_id)
            if before.get(self._names[name]) != crc32(text.encode(), self._seed) & _CHECK
        ]


class _NameChecks(dict["str | PropertyRef", int]):
    """Two bytes for each name of a field, made when it is first asked for."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed

    def __missing__(self, name: str | PropertyRef) -> int:
        text = name if isinstance(name, str) else "\0".join(name.address)
        check = self[name] = crc32(text.encode(), self._seed) & _CHECK
        return check


def _fields_of(contact: Contact, list_id: str | None) -> list[tuple[str | PropertyRef, str]]:
    """Return every field that has a value: its name, and the value as a text."""
    fields: list[tuple[str | PropertyRef, str]] = []
    if contact.mobile is not None:
        fields.append(("mobile", f"{contact.mobile.country_code} {contact.mobile.number}"))
    if contact.email is not None:
        fields.append(("email", contact.email))
    if contact.contact_id is not None:
        fields.append(("contact_id", str(contact.contact_id)))
    if contact.mobile_opt_in is not None:
        fields.append(("mobile_opt_in", str(contact.mobile_opt_in)))
    if contact.email_opt_in is not None:
        fields.append(("email_opt_in", str(contact.email_opt_in)))
    if list_id is not None:
        fields.append(("list_id", list_id))
    fields.extend(contact.properties.items())
    return fields


def is_unchanged(entry: Entry | None, candidate: Candidate) -> bool:
    """Return whether the CRM certainly holds this contact, so that sending it changes nothing.

    While another source key holds its identity it never does: the other may have been sent since.
    """
    return entry is not None and entry.content == candidate.content and not entry.shared


def compare(entry: Entry | None, candidate: Candidate) -> Comparison:
    """Return what a contact is that has to be sent, compared with its entry."""
    if entry is None or entry.delivered_at is None:
        return Comparison.NEW
    if entry.content is None or entry.content == candidate.content:
        return Comparison.UNKNOWN
    return Comparison.CHANGED


def known_opt_in(values: Iterable[bool | None]) -> bool | None:
    """Return the opt-in that the CRM is known to hold, given what each holder last delivered.

    >>> known_opt_in([True, True]), known_opt_in([True, None]), known_opt_in([])
    (True, None, None)
    """
    found = set(values)
    return found.pop() if len(found) == 1 else None
