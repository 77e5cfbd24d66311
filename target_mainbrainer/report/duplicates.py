"""Contacts of one load that MainBrainer holds, and bills, separately though they share something.

What is kept of a contact is five 64-bit numbers, hashes of its identifiers among them, in a file
that has no name, so that no other process can open it, and that goes with the run: 40 MB on the
disk for a million contacts. Two different identifiers get the same hash once in some millions of
loads of that size.
"""

from __future__ import annotations

import struct
import tempfile
import typing as t
from collections import Counter, defaultdict
from functools import cached_property
from itertools import chain

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from target_mainbrainer.contacts.contact import Contact

MOST_EXAMPLES = 5
MOST_CONTACTS = 10_000_000
"""Beyond this number of contacts no more are looked at: 400 MB on the disk."""

_ENTRY = struct.Struct("5q")
_pack = _ENTRY.pack
_NUMBERS = 5
_EMAIL, _MOBILE = 0, 2
"""Where an entry has the hash of its e-mail address without case, and of its mobile number."""

CHUNK_BYTES = 400 * _ENTRY.size
_READ_BYTES = 64 * CHUNK_BYTES
PART_CONTACTS = 200_000
"""So many contacts are looked at together, so that little memory is enough for any number."""

_KEY_BITS = 38
_IS_KEY = 1 << _KEY_BITS
_STREAM_SHIFT = _KEY_BITS + 1
_MOST_KEY = 1_000_000
"""A key with more than six digits may be a telephone number, or a number of the person."""

_Place: t.TypeAlias = "tuple[int, int]"
"""An identity in which the case of the e-mail address does not count, and a record's place."""


class Shared(t.NamedTuple):
    """What contacts have in common without being one contact.

    Attributes:
        email: Contacts that share an e-mail address with another contact.
        mobile: Contacts that share a mobile number with another contact.
        case: Contacts that differ from another one only in the case of the e-mail address.
        examples: Pairs of records, by key, with what they share.
        is_complete: Whether every contact was looked at.
    """

    email: int
    mobile: int
    case: int
    examples: list[str]
    is_complete: bool


class Duplicates:
    """Remembers the identifiers of every contact, and finds out at the end which are shared."""

    def __init__(self) -> None:
        self._streams: dict[str, int] = {}
        self._count = 0
        self._is_complete = True
        self._buffer = bytearray()
        self._file: t.IO[bytes] | None = None

    def add(self, contact: Contact, stream: str, number: int, key: object = None) -> None:
        """Note a contact. Called for every record, so what can wait for the end waits.

        Args:
            contact: As it would be sent.
            stream: The stream's name.
            number: The record's number in it.
            key: The record's key, if it is one whole number that the log may show.
        """
        if not self._is_complete:
            return
        place = number
        if type(key) is int and 0 <= key < _MOST_KEY:
            place = _IS_KEY | key
        if (stream_number := self._streams.get(stream)) is None:
            stream_number = self._streams[stream] = len(self._streams)
        email = contact.email
        self._buffer += _pack(
            0 if email is None else hash(email.casefold()),
            hash(email),
            0 if contact.mobile is None else hash(contact.mobile),
            contact.contact_id or 0,
            stream_number << _STREAM_SHIFT | place,
        )
        if len(self._buffer) >= CHUNK_BYTES:
            self._write()

    def _write(self) -> None:
        """Bring what has come to the disk. The load goes on if that fails."""
        written = 0
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed when read
            written = self._file.write(self._buffer)
        except OSError:
            pass
        self._count += written // _ENTRY.size
        self._is_complete = written == len(self._buffer) and self._count < MOST_CONTACTS
        self._buffer.clear()

    def _chunks(self) -> Iterator[bytes | bytearray]:
        """Yield all entries; a disk that was full may have part of one more."""
        left = self._count * _ENTRY.size
        if self._file is not None:
            self._file.seek(0)
            while left and (chunk := self._file.read(min(left, _READ_BYTES))):
                yield chunk
                left -= len(chunk)
        yield self._buffer

    def _groups(self, column: int) -> Iterator[list[_Place]]:
        """Yield the contacts of every identifier that several have: one record of each contact."""
        parts = 1 + self._count // PART_CONTACTS
        for part in range(parts):
            numbers: list[int] = []
            for chunk in self._chunks():
                column_of_chunk = memoryview(chunk).cast("q")[column::_NUMBERS]
                numbers += [n for n in column_of_chunk if n and n % parts == part]
            repeated = {number for number, count in Counter(numbers).items() if count > 1}
            if repeated:
                yield from self._contacts_with(column, repeated)

    def _contacts_with(self, column: int, identifiers: set[int]) -> Iterator[list[_Place]]:
        found: defaultdict[int, dict[int, _Place]] = defaultdict(dict)
        for entry in chain.from_iterable(map(_ENTRY.iter_unpack, self._chunks())):
            if (identifier := entry[column]) in identifiers:
                email, exact, mobile, contact_id, place = entry
                found[identifier].setdefault(
                    contact_id or hash((mobile, exact)),
                    (contact_id or hash((mobile, email)), place),
                )
        for contacts in found.values():
            if len(contacts) > 1:  # else one contact has come several times
                yield list(contacts.values())

    @cached_property
    def found(self) -> Shared:
        """How many contacts share something, with some examples. Found out once, at the end."""
        examples: dict[str, None] = {}
        emails = mobiles = cases = 0
        try:
            for places in self._groups(_EMAIL):
                cases += sum(count for count in _spellings(places).values() if count > 1)
                emails += len(places)
                self._show(examples, places, "the same e-mail address")
            for places in self._groups(_MOBILE):
                mobiles += len(places)
                self._show(examples, places, "the same mobile number")
        except (OSError, ValueError):
            self._is_complete = False
        if self._file is not None:
            self._file.close()
        return Shared(emails, mobiles, cases, list(examples), self._is_complete)

    def describe(self) -> Iterator[str]:
        """Say which contacts MainBrainer holds apart, if there are any."""
        found = self.found
        counts = {
            "share an e-mail address with another one": found.email,
            "share a mobile number with another one": found.mobile,
            "differ from another one only in the case of the e-mail address": found.case,
        }
        said = [f"{count:,} {what}" for what, count in counts.items() if count]
        if said:
            yield (
                f"Of the contacts of this load {'; '.join(said)}. MainBrainer holds, and bills, "
                f"each of them. For instance {'; '.join(found.examples)}."
            )
        if not found.is_complete:
            yield (
                f"Only the first {self._count:,} contacts were looked at to find those that share "
                "an address or a number."
            )

    def _show(self, examples: dict[str, None], places: list[_Place], what: str) -> None:
        if len(examples) < MOST_EXAMPLES:
            names = list(self._streams)
            one, other = sorted(place for _, place in places[:2])
            examples[f"{_label(names, one)} and {_label(names, other)} have {what}"] = None


def _spellings(places: list[_Place]) -> Counter[int]:
    return Counter(identity for identity, _ in places)


def _label(streams: list[str], place: int) -> str:
    stream = streams[place >> _STREAM_SHIFT]
    value = place & (_IS_KEY - 1)
    name = f"key {value}" if place & _IS_KEY else f"record {value:,}"
    return f"{name} of '{stream}'"
