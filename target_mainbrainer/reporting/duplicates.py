"""Contacts of one load that MainBrainer holds, and bills, separately though they share something.

What is kept of a contact is five 64-bit numbers, hashes of its identifiers among them, in a file
that has no name, so that no other process can open it, and that goes with the run: 40 MB on the
disk for a million contacts, and 64 MB more for seconds at the end. Two different identifiers get
the same hash once in some millions of loads of that size.
"""

from __future__ import annotations

import struct
import tempfile
import typing as t
from collections import defaultdict
from functools import cached_property

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from target_mainbrainer.contacts.contact import Contact

MOST_EXAMPLES = 5
MOST_CONTACTS = 10_000_000
"""Beyond this number of contacts no more are looked at: 400 MB on the disk."""

_ENTRY = struct.Struct("5q")
_pack = _ENTRY.pack
_ENTRY_BYTES = _ENTRY.size
_pack_part = struct.Struct("4q").pack
PART_BYTES = 256 * 32
CHUNK_BYTES = 400 * _ENTRY_BYTES
_PARTS = 64
"""Identifiers are sorted into so many parts, each of which alone fits in little memory."""

_KEY_BITS = 38
_IS_KEY = 1 << _KEY_BITS
_STREAM_SHIFT = _KEY_BITS + 1
_MOST_KEY = 1_000_000
"""A key with more than six digits may be a telephone number, or a number of the person."""

_Place: t.TypeAlias = "tuple[int, int, int]"


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


class _Parts:
    """Quadruples of an identifier, two identities and a place, sorted by the identifier's end."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it was read
        self._buffers = [bytearray() for _ in range(_PARTS)]
        self._starts: list[list[int]] = [[] for _ in range(_PARTS)]

    def add(self, identifier: int, exactly: int, roughly: int, place: int) -> None:
        """Sort one in."""
        part = identifier % _PARTS
        buffer = self._buffers[part]
        buffer += _pack_part(identifier, exactly, roughly, place)
        if len(buffer) >= PART_BYTES:
            self._starts[part].append(self._file.tell())
            self._file.write(buffer)
            buffer.clear()

    def read(self) -> Iterator[memoryview[int]]:
        """Yield the numbers of one part after the other, and forget them."""
        with self._file:
            for buffer, starts in zip(self._buffers, self._starts, strict=True):
                whole = bytearray()
                for start in starts:
                    self._file.seek(start)
                    whole += self._file.read(PART_BYTES)
                yield memoryview(whole + buffer).cast("q")


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
        if type(key) is int and 0 <= key < _MOST_KEY:
            place = _IS_KEY | key
        else:
            place = min(number, _IS_KEY - 1)
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
        self._count += len(self._buffer) // _ENTRY_BYTES
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it was read
            self._file.write(self._buffer)
        except OSError:
            self._is_complete = False
        self._is_complete = self._is_complete and self._count < MOST_CONTACTS
        self._buffer.clear()

    def _sorted(self) -> tuple[_Parts, _Parts]:
        """Return the e-mail addresses and the mobile numbers of all contacts, in parts."""
        emails, mobiles = _Parts(), _Parts()
        for email, exact, mobile, contact_id, place in self._entries():
            exactly = contact_id or hash((mobile, exact))
            roughly = contact_id or hash((mobile, email))
            if email:
                emails.add(email, exactly, roughly, place)
            if mobile:
                mobiles.add(mobile, exactly, roughly, place)
        return emails, mobiles

    def _entries(self) -> Iterator[tuple[int, ...]]:
        if self._file is not None:
            self._file.seek(0)
            while chunk := self._file.read(CHUNK_BYTES):
                yield from _ENTRY.iter_unpack(chunk)
        yield from _ENTRY.iter_unpack(bytes(self._buffer))

    @cached_property
    def found(self) -> Shared:
        """How many contacts share something, with some examples. Found out once, at the end."""
        examples: dict[str, None] = {}
        emails = mobiles = cases = 0
        try:
            all_emails, all_mobiles = self._sorted()
            for part in all_emails.read():
                for places in _groups(part):
                    cases += sum(len(same) for same in _by_spelling(places) if len(same) > 1)
                    emails += len(places)
                    self._show(examples, places, "the same e-mail address")
            for part in all_mobiles.read():
                for places in _groups(part):
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
            one, other = sorted(place for _, _, place in places[:2])
            examples[f"{_label(names, one)} and {_label(names, other)} have {what}"] = None


def _groups(part: memoryview[int]) -> Iterator[list[_Place]]:
    """Yield the contacts of every identifier that several have: one record of each contact."""
    first: dict[int, int] = {}
    shared: defaultdict[int, dict[int, _Place]] = defaultdict(dict)
    for start in range(0, len(part), 4):
        identifier = part[start]
        before = first.setdefault(identifier, start)
        if part[before + 1] != part[start + 1]:
            for at in (before, start):
                shared[identifier].setdefault(
                    part[at + 1], (part[at + 1], part[at + 2], part[at + 3])
                )
    for contacts in shared.values():
        yield list(contacts.values())


def _by_spelling(places: list[_Place]) -> list[list[_Place]]:
    groups: defaultdict[int, list[_Place]] = defaultdict(list)
    for place in places:
        groups[place[1]].append(place)
    return list(groups.values())


def _label(streams: list[str], place: int) -> str:
    stream = streams[place >> _STREAM_SHIFT]
    value = place & (_IS_KEY - 1)
    name = f"key {value}" if place & _IS_KEY else f"record {value:,}"
    return f"{name} of '{stream}'"
