"""Reads a sandbox file without changing it: for the pages, the command and tests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec

from mainbrainer_sandbox.file import connect
from mainbrainer_sandbox.rules import Contact, mobile_text
from mainbrainer_sandbox.store import as_batch, as_contact

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

NO_CONSENT = "no consent"
_CONSENTS = ("SMS opt-in", "e-mail opt-in")
_LIKE_SPECIAL = re.compile(r"[!%_]")


class View:
    """A read-only view of a sandbox file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._db = connect(path, write=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def file_id(self) -> str:
        """Return what the file calls itself."""
        query = "SELECT value FROM meta WHERE key = 'file_id'"
        return str(self._db.execute(query).fetchone()[0])

    def contacts(self) -> Iterator[dict[str, Any]]:
        """Return all contacts by id, one at a time."""
        return map(_contact, self._db.execute("SELECT * FROM contacts ORDER BY id"))

    def by_identity(self) -> Iterator[dict[str, Any]]:
        """Return all contacts by country code, number and e-mail; among equals by id."""
        query = (
            "SELECT * FROM contacts ORDER BY coalesce(mobile_country_code, 0),"
            " coalesce(mobile_number, 0), coalesce(email, ''), id"
        )
        return map(_contact, self._db.execute(query))

    def batches(self) -> Iterator[dict[str, Any]]:
        """Return all batches, accepted and refused, in the order they came."""
        return map(as_batch, self._db.execute("SELECT * FROM batches ORDER BY number"))

    def requests(self) -> Iterator[dict[str, Any]]:
        """Return the requests on record, in the order they came."""
        return map(dict, self._db.execute("SELECT * FROM requests ORDER BY number"))

    def count(self, table: Literal["contacts", "batches", "requests"]) -> int:
        """Return how many rows a table has."""
        query = f"SELECT count(*) FROM {table}"  # noqa: S608 - one of three names
        return int(self._db.execute(query).fetchone()[0])

    def search(self, text: str, *, offset: int, limit: int) -> list[dict[str, Any]]:
        """Return contacts by id whose id, mobile, e-mail or a property's value contains a text.

        Nothing finds every contact.
        """
        like = "%" + _LIKE_SPECIAL.sub(r"!\g<0>", text) + "%"
        digits = re.sub(r"[\s+()-]", "", text)
        digits = digits if digits.isascii() and digits.isdecimal() else ""
        query = (
            "SELECT * FROM contacts WHERE :text = '' OR email LIKE :like ESCAPE '!'"
            " OR properties LIKE :like ESCAPE '!' OR (:digits <> '' AND (id = :digits"
            " OR mobile_number || '' LIKE :digits || '%'"
            " OR mobile_country_code || mobile_number LIKE :digits || '%'))"
            " ORDER BY id LIMIT :limit OFFSET :offset"
        )
        values = {"text": text, "like": like, "digits": digits, "limit": limit, "offset": offset}
        return [_contact(row) for row in self._db.execute(query, values)]

    def contact(self, contact_id: int) -> dict[str, Any] | None:
        """Return one contact, or None if there is none with the id."""
        query = "SELECT * FROM contacts WHERE id = ?"
        row = self._db.execute(query, (contact_id,)).fetchone()
        return None if row is None else _contact(row)

    def history(self, contact_id: int) -> list[dict[str, Any]]:
        """Return what changed a contact, the newest first and its creation last.

        Each entry has `batch` (None if it was done by hand), `when` and `changes`, and each
        change `what`, `before`, `after`.
        """
        row = self._db.execute("SELECT * FROM contacts WHERE id = ?", (contact_id,)).fetchone()
        after = Contact(contact_id) if row is None else as_contact(row)
        query = "SELECT batch, made, before FROM history WHERE contact = ? ORDER BY rowid DESC"
        entries = []
        for batch, when, text in self._db.execute(query, (contact_id,)):
            before = msgspec.json.decode(text, type=Contact) if text else None
            changes = list(_changes(before, after))
            entries.append({"batch": batch, "when": when, "changes": changes})
            after = before or after
        return entries

    def written(self, contact_id: int) -> dict[str, int | None]:
        """Return which batch wrote a contact's fields as they are; None for by hand."""
        written: dict[str, int | None] = {}
        for entry in self.history(contact_id):
            for change in entry["changes"]:
                written.setdefault(change["what"], entry["batch"])
        return written

    def latest(
        self, table: Literal["batches", "requests"], *, offset: int, limit: int
    ) -> list[dict[str, Any]]:
        """Return batches or requests, the newest first."""
        query = f"SELECT * FROM {table} ORDER BY number DESC LIMIT ? OFFSET ?"  # noqa: S608
        shown = as_batch if table == "batches" else dict
        return [shown(row) for row in self._db.execute(query, (limit, offset))]

    def batch(self, number: int) -> dict[str, Any] | None:
        """Return one batch, or None if there is none with the number."""
        row = self._db.execute("SELECT * FROM batches WHERE number = ?", (number,)).fetchone()
        return None if row is None else as_batch(row)


def _contact(row: sqlite3.Row) -> dict[str, Any]:
    """Return a contact's row as people read it."""
    contact = as_contact(row)
    return {**msgspec.structs.asdict(contact), "mobile": mobile_text(contact)}


def _changes(before: Contact | None, after: Contact) -> Iterator[dict[str, Any]]:
    """Return what a change was in; of a new contact, without its properties."""
    had: dict[str, Any] = {"lists": []}
    has = {"created": after.id, **_fields(after)}
    if before is not None:
        had, has = ({**_fields(one), **_properties(one)} for one in (before, after))
    for what in {**had, **has}:
        was, is_now = had.get(what), has.get(what)
        if was != is_now:
            if what in _CONSENTS and before is not None:
                was, is_now = (NO_CONSENT if one is None else one for one in (was, is_now))
            yield {"what": what, "before": was, "after": is_now}


def _fields(contact: Contact) -> dict[str, Any]:
    return {
        "mobile": mobile_text(contact),
        "e-mail": contact.email,
        "SMS opt-in": contact.mobile_opt_in,
        "e-mail opt-in": contact.email_opt_in,
        "lists": contact.lists,
    }


def _properties(contact: Contact) -> dict[str, str]:
    return {f"property {name}": value for name, value in contact.properties.items()}


def consent_text(value: bool | None) -> str:  # noqa: FBT001
    """Return an opt-in as people read it.

    >>> consent_text(None)
    'no consent'
    """
    return NO_CONSENT if value is None else str(value).lower()
