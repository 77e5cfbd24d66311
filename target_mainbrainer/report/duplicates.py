"""Contacts of one load that MainBrainer keeps, and bills, separately though they share something.

Hashes of their identifiers are collected in a private SQLite database, which has no name, goes to
the disk where memory does not suffice, and disappears with the run. Two different identifiers get
the same hash once in some millions of loads of a million contacts.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import typing as t
from collections.abc import Iterator
from functools import cached_property

from target_mainbrainer.contacts import Contact, fold_email
from target_mainbrainer.words import shown

MOST_EXAMPLES = 5
ROWS_AT_ONCE = 1_000
_SHORT = re.compile("[0-9]{1,6}")
"""A longer key may be a telephone number, or a number of the person."""

_CREATE = "CREATE TABLE contacts (email, mobile, contact, label)"
_INSERT = "INSERT INTO contacts VALUES (?, ?, ?, ?)"
_GROUPS = """
    SELECT count(*), min(label), max(label)
    FROM (SELECT {0} AS shared, min(label) AS label FROM contacts
    WHERE {0} IS NOT NULL GROUP BY {0}, contact) GROUP BY shared HAVING count(*) > 1
"""


class Shared(t.NamedTuple):
    """Addresses and numbers that several contacts have in common.

    Attributes:
        email: Contacts that share an e-mail address with another contact.
        mobile: Contacts that share a mobile number with another contact.
        examples: Pairs of records, by key, with what they share.
        is_complete: Every contact was looked at, for which the disk had room.
    """

    email: int
    mobile: int
    examples: list[str]
    is_complete: bool


class Duplicates:
    """Collects the identifiers of every contact, and finds out at the end which are shared."""

    def __init__(self) -> None:
        self._rows: list[tuple[int | None, int | None, int, str]] = []
        self._database: sqlite3.Connection | None = None
        self._is_complete = True

    def add(self, contact: Contact, stream: str, number: int, key: object = None) -> None:
        """Note a contact. The load goes on if the disk is full.

        Args:
            contact: As it would be sent.
            stream: The stream's name.
            number: The record's number in it.
            key: The record's key, if it has one column that the log may show.
        """
        if not self._is_complete:
            return
        email = None if contact.email is None else hash(fold_email(contact.email))
        mobile = None if contact.mobile is None else hash(contact.mobile)
        identity = contact.contact_id or hash((mobile, contact.email))
        label = f"key {key}" if _SHORT.fullmatch(str(key)) else f"record {number:,}"
        self._rows.append((email, mobile, identity, f"{label} of '{stream}'"))
        if len(self._rows) >= ROWS_AT_ONCE:
            self._write()

    def _write(self) -> None:
        if not self._rows:
            return
        try:
            if self._database is None:
                self._database = sqlite3.connect("")
                self._database.execute(_CREATE)
            self._database.executemany(_INSERT, self._rows)
        except sqlite3.Error:
            self._is_complete = False
        self._rows.clear()

    @cached_property
    def found(self) -> Shared:
        """How many contacts share something, with some examples. Found out once, at the end."""
        counts = {"email": 0, "mobile": 0}
        examples: list[str] = []
        self._write()
        if self._database is not None:
            with contextlib.closing(self._database) as database:
                try:
                    for column, what in (("email", "e-mail address"), ("mobile", "mobile number")):
                        for count, one, other in database.execute(_GROUPS.format(column)):
                            counts[column] += count
                            if len(examples) < MOST_EXAMPLES:
                                examples.append(shown(f"{one} and {other} have the same {what}"))
                except sqlite3.Error:
                    self._is_complete = False
        return Shared(**counts, examples=examples, is_complete=self._is_complete)

    def describe(self) -> Iterator[str]:
        """Yield a sentence about contacts that MainBrainer keeps apart, if there are any."""
        found = self.found
        if found.email or found.mobile:
            yield (
                f"Of the contacts in this load, {found.email:,} share an e-mail address with "
                f"another one, and {found.mobile:,} a mobile number. MainBrainer keeps, and bills, "
                f"each of them. Example: {found.examples[0]}."
            )
        if not found.is_complete:
            yield "Not all contacts were searched for what they share: the disk was full."
