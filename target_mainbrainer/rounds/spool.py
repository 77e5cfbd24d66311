"""Contacts of accepted batches, on disk until it is known how their batch has ended.

A batch can fail minutes after it was accepted, and then its records go to the rejects file; or it
has recreated contacts, which are sent once more. They wait in a private SQLite database, which has
no name, goes to the disk where memory does not suffice, and is gone with the process, however it
ends. STATE does not wait for them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from target_mainbrainer.contacts import Contact, PrivateStruct
from target_mainbrainer.errors import DeliveryError


class Kept(PrivateStruct, frozen=True, gc=False, array_like=True):
    """A contact of an accepted batch.

    Attributes:
        records: Which stream of the batch each is of, its number in it, and its line.
        contact: What the source says; empty if it cannot be recreated.
    """

    records: list[tuple[int, int, bytes]]
    contact: Contact = Contact()


class Spool:
    """Keeps the contacts of accepted batches."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("CREATE TABLE kept (number INTEGER PRIMARY KEY, contacts BLOB)")

    def keep(self, contacts: Sequence[Kept]) -> int | None:
        """Write contacts down, and return the number that they are found by.

        Raises:
            DeliveryError: There is no room for them.
        """
        data = msgspec.msgpack.encode(contacts)
        try:
            query = "INSERT INTO kept (contacts) VALUES (?)"
            return self._database.execute(query, (data,)).lastrowid
        except sqlite3.Error:
            raise DeliveryError(
                "The folder for temporary files has no room for the contacts of accepted batches, "
                "which wait there until the batches are confirmed. Make room, set 'TMPDIR' to "
                "another folder, or set 'confirm_batches' to 'none', and run again."
            ) from None

    def take(self, number: int) -> list[Kept]:
        """Return the contacts of a batch."""
        query = "SELECT contacts FROM kept WHERE number = ?"
        (data,) = self._database.execute(query, (number,)).fetchone()
        return msgspec.msgpack.decode(data, type=list[Kept])

    def forget(self, number: int) -> None:
        """Free the room of a batch that has ended."""
        self._database.execute("DELETE FROM kept WHERE number = ?", (number,))

    def close(self) -> None:
        """Remove everything."""
        self._database.close()
