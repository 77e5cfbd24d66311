"""Contacts of one load that MainBrainer holds, and bills, separately though they share something.

What is kept of a contact is four 64-bit hashes for each of its identifiers, in a file that has no
name, so that no other process can open it, and that goes with the run: 64 MB on the disk for a
million contacts with a mobile number and an e-mail address each, and 2 MB in memory. Two different
identifiers get the same hash once in some millions of loads of that size.
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
MOST_IDENTIFIERS = 20_000_000
"""Beyond this number of identifiers no more are looked at: 640 MB on the disk."""

CHUNK_BYTES = 8 * 1024
_PARTS = 64
"""Identifiers are sorted into so many parts when they come; each alone fits in little memory."""

_KEY_BITS = 38
_IS_KEY = 1 << _KEY_BITS
_STREAM_SHIFT = _KEY_BITS + 1
_MOST_DIGITS_SHOWN = 6
"""A longer key may be a telephone number, or a number of the person."""

_pack = struct.Struct("4q").pack

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
    """Quadruples of numbers, sorted by the last bits of the first, kept in a nameless file."""

    def __init__(self) -> None:
        self._file: t.IO[bytes] | None = None
        self._buffers = [bytearray() for _ in range(_PARTS)]
        self._chunks: list[list[int]] = [[] for _ in range(_PARTS)]

    def add(self, identifier: int, exactly: int, roughly: int, place: int) -> None:
        part = identifier % _PARTS
        buffer = self._buffers[part]
        buffer += _pack(identifier, exactly, roughly, place)
        if len(buffer) >= CHUNK_BYTES:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it was read
            self._chunks[part].append(self._file.tell())
            self._file.write(buffer)
            buffer.clear()

    def read(self) -> Iterator[memoryview[int]]:
        """Yield the numbers of each part, and forget them."""
        for buffer, chunks in zip(self._buffers, self._chunks, strict=True):
            whole = bytearray()
            for start in chunks:
                file = t.cast("t.IO[bytes]", self._file)
                file.seek(start)
                whole += file.read(CHUNK_BYTES)
            yield memoryview(whole + buffer).cast("q")
        if self._file is not None:
            self._file.close()


class Duplicates:
    """Remembers the identifiers of every contact, and finds out at the end which are shared."""

    def __init__(self) -> None:
        self._streams: dict[str, int] = {}
        self._count = 0
        self._is_complete = True
        self._emails = _Parts()
        self._mobiles = _Parts()

    def add(self, contact: Contact, stream: str, number: int, key: object = None) -> None:
        """Note a contact.

        Args:
            contact: As it would be sent.
            stream: The stream's name.
            number: The record's number in it.
            key: The record's key, if it is one whole number that the log may show.
        """
        if self._count >= MOST_IDENTIFIERS:
            self._is_complete = False
        if not self._is_complete:
            return
        place = self._streams.setdefault(stream, len(self._streams)) << _STREAM_SHIFT
        if type(key) is int and 0 <= key < 10**_MOST_DIGITS_SHOWN:
            place |= _IS_KEY | key
        else:
            place |= min(number, _IS_KEY - 1)
        mobile = None if contact.mobile is None else hash(contact.mobile)
        email = None if contact.email is None else hash(contact.email.casefold())
        if contact.contact_id is None:
            exactly = hash((mobile, contact.email))
            roughly = hash((mobile, email))
        else:
            exactly = roughly = hash(("contact_id", contact.contact_id))
        try:
            if email is not None:
                self._count += 1
                self._emails.add(email, exactly, roughly, place)
            if mobile is not None:
                self._count += 1
                self._mobiles.add(mobile, exactly, roughly, place)
        except OSError:  # a full disk; the load itself goes on
            self._is_complete = False

    @cached_property
    def found(self) -> Shared:
        """How many contacts share something, with some examples. Found out once, at the end."""
        examples: dict[str, None] = {}
        emails = mobiles = cases = 0
        try:
            for part in self._emails.read():
                for places in _groups(part):
                    cases += sum(len(same) for same in _by_spelling(places) if len(same) > 1)
                    emails += len(places)
                    self._show(examples, places, "the same e-mail address")
            for part in self._mobiles.read():
                for places in _groups(part):
                    mobiles += len(places)
                    self._show(examples, places, "the same mobile number")
        except (OSError, ValueError):
            self._is_complete = False
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
                f"Only the first {self._count:,} mobile numbers and e-mail addresses were looked "
                "at to find contacts that share them."
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
