"""Accounts, content and consent of an identity, and people, as the ledger keeps them.

Knows no database. A field is 12 bytes: 4 of its name, 8 of its value, hashed with the ledger's own
seed. A false match of two values is as likely as one in 2**64. Guessing values is not what the seed
prevents: the ledger is personal data.
"""

from __future__ import annotations

import hashlib
import json
import re
import typing as t
from collections.abc import Iterator, Sequence
from decimal import Decimal
from urllib.parse import urlsplit

import msgspec
import xxhash

from target_mainbrainer.contacts import (
    Contact,
    Identity,
    Mobile,
    Private,
    PropertyRef,
    identifiers_of,
)
from target_mainbrainer.settings.declared import Settings

LONGEST_KEY = 512
"""A longer key is kept as a digest: PostgreSQL cannot index more than about 2,700 bytes."""

UNSURE_SECONDS = 24 * 60 * 60
"""How long a try of which the end is unknown may still be applied."""

ALIAS = " as "
"""Stands between the names of a stream before and after stream maps, if they differ."""

FIELD_BYTES = 12

_NAME_BYTES = 4

_PORTS = {"http": 80, "https": 443}

_PLAIN_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", re.ASCII)
"""A text that is written as a number is; 007 is another key than 7."""

_encode = msgspec.json.encode


class Row(Private, msgspec.Struct, gc=False):
    """Knowledge of the ledger about one identity.

    Attributes:
        id: None until it is in the database.
        spelling: Hash of the identity as it was delivered, its case and country code included.
        fields: Those known to be in the CRM, delivered by any stream; None if unknown.
        delivered_at: When anything of it was last accepted; None if never.
        batch: The number of the batch that it last went out in.
        open_mark: The run and the round that are sending it; None if none is.
        unsure_at: When a try began of which it is not known how it ended.
        mobile_said: The last opt-in that the source said and that was accepted; None if none was.
        email_said: The same for e-mail.
        mobile_raised_in: The batch that last raised it to true.
        email_raised_in: The same for e-mail.
    """

    id: int | None
    hash: int
    spelling: int
    fields: bytes | None = None
    delivered_at: int | None = None
    batch: int | None = None
    open_mark: int | None = None
    open_at: int | None = None
    unsure_at: int | None = None
    mobile_said: bool | None = None
    email_said: bool | None = None
    mobile_raised_in: int | None = None
    email_raised_in: int | None = None


class Person(Private, msgspec.Struct, gc=False):
    """One source key of a stream.

    Attributes:
        id: None until it is in the database.
        key: `key_text` of its record's key.
        identity: The one that the CRM holds for it, or under which it was first sent.
        hash: Of the identity, folded.
        previous: The identity before, while a change of it is being delivered.
        moving_id: The contact's id, from when it is known until the contact has the new identity.
        missed: Full reads in a row in which it did not come.
        is_gone: It was missing often enough to count as gone, or is deleted, and owns no identity.
        earlier: The identities that it had, one a line, for the suppression list.
    """

    id: int | None
    stream: int
    key: str
    identity: str
    hash: int
    previous: str | None = None
    moving_id: int | None = None
    missed: int = 0
    is_gone: bool = False
    seen_at: int = 0
    earlier: str = ""

    @property
    def had(self) -> list[str]:
        """The identities that it had."""
        return [*filter(None, self.earlier.split("\n"))]

    def change(self, identity: str, hash_: int) -> None:
        """Take another identity, which is yet to be delivered."""
        self.previous = self.previous or self.identity
        self._note_earlier()
        self.identity, self.hash = identity, hash_

    def _note_earlier(self) -> None:
        self.earlier = "\n".join(dict.fromkeys([*self.had, self.identity]))

    def put_back(self, hashes: Hashes) -> None:
        """Return to the identity before a change that was not delivered."""
        self._note_earlier()
        self.identity, self.previous = t.cast("str", self.previous), None
        self.hash = hashes.identity(identity_from(self.identity))


class Fields(Private, msgspec.Struct, gc=False):
    """The fields of one contact, ready to be compared.

    Attributes:
        refs: The property, or the name, of each; the list that it is put in is the last one.
        entries: 12 bytes for each, as a row has them.
    """

    refs: list[PropertyRef | str]
    entries: bytes


class Account(t.NamedTuple):
    """Whose contacts these are.

    Attributes:
        name: The server's address and the user name, or the sandbox's file.
        access_token: Fingerprint of a token that does not say whose it is; None with a user name.
    """

    name: str
    access_token: str | None = None


def account_of(settings: Settings, sandbox_id: str | None) -> Account:
    """Return the account that the settings name.

    Args:
        settings: The run's settings.
        sandbox_id: The id of the sandbox's file, None for the real MainBrainer.
    """
    if sandbox_id is not None:
        return Account(f"sandbox {sandbox_id}")
    address = _address(settings.api_url)
    if settings.username:
        return Account(f"{settings.username.strip()} at {address}")
    return Account(address, fingerprint(settings.access_token or ""))


def _address(url: str) -> str:
    """Return a server's address, spelt one way.

    >>> _address("HTTPS://ApiCRM.mainbrainer.com:443/v1/")
    'https://apicrm.mainbrainer.com/v1'
    """
    parts = urlsplit(url.strip())
    scheme = parts.scheme.lower()
    host = (parts.hostname or "").rstrip(".")
    port = f":{parts.port}" if parts.port and parts.port != _PORTS.get(scheme) else ""
    return f"{scheme}://{host}{port}{parts.path.rstrip('/')}"


def fingerprint(token: str) -> str:
    """Return a name for a token that does not reveal it."""
    return hashlib.blake2b(token.encode(), digest_size=16).hexdigest()


class Hashes:
    """Hashes with one ledger's seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed % 2**64
        self._names: dict[PropertyRef | str, bytes] = {}

    def identity(self, contact: Contact | Identity) -> int:
        """Return a hash of an identity that errs on the side of "the same".

        Case, spelling of the domain and country code do not count, as in `identifiers_of`. The hash
        of a contact id is negative, so that the two kinds can be told apart.

        >>> hashes = Hashes(7)
        >>> one, other = Contact(email="ola@example.com"), Contact(email="Ola@Example.com")
        >>> hashes.identity(one) == hashes.identity(other), hashes.identity(one) >= 0
        (True, True)
        """
        if contact.contact_id is not None:
            return ~(xxhash.xxh64_intdigest(b"%d" % contact.contact_id, self._seed) >> 1)
        folded = identifiers_of(Contact(mobile=contact.mobile, email=contact.email))
        kind = "mobile" if contact.email is None else "email" if contact.mobile is None else "both"
        text = " ".join((kind, *map(str, folded)))
        return xxhash.xxh64_intdigest(text.encode("utf-8", "surrogatepass"), self._seed) >> 1

    def spelling(self, identity: Contact | Identity) -> int:
        """Return a hash of an identity as it is written."""
        text = identity_text(identity).encode("utf-8", "surrogatepass")
        return xxhash.xxh64_intdigest(text, self._seed) >> 1

    def fields(self, contact: Contact, list_id: str | None) -> Fields:
        """Return the fields of a contact; opt-ins are consent, and no fields.

        Nor is what identifies the contact a field: it is part of the row's spelling.
        """
        refs: list[PropertyRef | str] = list(contact.properties)
        values = list(contact.properties.values())
        if contact.contact_id is not None:
            if contact.mobile is not None:
                refs.append("mobile")
                values.append(f"{contact.mobile.country_code} {contact.mobile.number}")
            if contact.email is not None:
                refs.append("email")
                values.append(contact.email)
        refs.append("list")
        names, seed, digest = self._names, self._seed, xxhash.xxh64_digest
        try:
            entries = [
                names[ref] + digest(value.encode(), seed)
                for ref, value in zip(refs, values, strict=False)
            ]
        except KeyError:
            for ref in refs:
                names[ref] = self._name(ref)
            return self.fields(contact, list_id)
        entries.append(self._name(f"list {list_id or ''}") + bytes(8))
        return Fields(refs, b"".join(entries))

    def _name(self, ref: PropertyRef | str) -> bytes:
        text = ref if isinstance(ref, str) else "\0".join(ref.address)
        return xxhash.xxh32_digest(text.encode("utf-8", "surrogatepass"), self._seed % 2**32)


def known_fields(fields: bytes) -> dict[bytes, bytes]:
    """Return what a row's fields say: the hash of each value by that of its name."""
    return dict(_entries(fields))


def _entries(fields: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the hashes of the name and of the value of each field."""
    for start in range(0, len(fields), FIELD_BYTES):
        middle = start + _NAME_BYTES
        yield fields[start:middle], fields[middle : start + FIELD_BYTES]


def changed_fields(known: bytes, fields: Fields) -> list[PropertyRef | str]:
    """Return the fields of a contact that are not known to be in the CRM as they are."""
    if known == fields.entries:
        return []
    row = known_fields(known)
    return [
        ref
        for ref, (name, value) in zip(fields.refs, _entries(fields.entries), strict=True)
        if row.get(name) != value
    ]


def union(known: bytes, delivered: bytes) -> bytes:
    """Return a row's fields after more were delivered; the later value of each counts."""
    if not known or known == delivered:
        return delivered
    merged = known_fields(known) | known_fields(delivered)
    return b"".join(name + value for name, value in merged.items())


def identity_text(contact: Contact | Identity) -> str:
    """Return an identity as a text, as it is written.

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


def names_of(refs: list[PropertyRef | str]) -> Iterator[str]:
    """Yield the names of fields for the log."""
    for ref in refs:
        yield ref if isinstance(ref, str) else ref.name or ref.property_id or ""


def key_text(values: Sequence[object]) -> str:
    """Return a source key as it is kept, given its values.

    A tap may write one key as 1, "1" or 1.0, today and tomorrow; it is one key. Two texts are one
    only if they are the same whole number: "4711.1" and "4711.10" may be two members of a family.

    >>> key_text([1]) == key_text(["1"]) == key_text(["1.0"]) == key_text([1.0])
    True
    >>> key_text(["x", 1, "4711.10", Decimal("1.10")])
    '["x","1","4711.10","1.1"]'
    >>> key_text(["1234567890123456789012345678901234567.0"]), key_text([Decimal("1e9999999")])
    ('["1234567890123456789012345678901234567"]', '["1E+9999999"]')
    """
    plain = list(map(_plain, values))
    try:
        text = _encode(plain).decode()
    except (TypeError, ValueError):  # an unpaired surrogate
        text = json.dumps(plain, default=str)
    if len(text) > LONGEST_KEY:
        return "#" + hashlib.blake2b(text.encode(), digest_size=24).hexdigest()
    return text


def _plain(value: object) -> object:
    is_text = isinstance(value, str)
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        value = str(Decimal(repr(value)) if isinstance(value, float) else value)
    if isinstance(value, str) and "." in value and _PLAIN_NUMBER.fullmatch(value):
        number = value.rstrip("0").rstrip(".")
        return value if is_text and "." in number else number
    return value


class Seen:
    """Which people have come, a byte for each, so that a million take one megabyte.

    >>> seen = Seen()
    >>> seen.add(7)
    >>> 7 in seen, 8 in seen, 7_000_000 in seen
    (True, False, False)
    """

    def __init__(self) -> None:
        self._seen = bytearray()

    def add(self, number: int) -> None:
        """Add a person's number."""
        self._seen.extend(bytes(max(0, number + 1 - len(self._seen))))
        self._seen[number] = True

    def __contains__(self, number: int) -> bool:
        return number < len(self._seen) and bool(self._seen[number])
