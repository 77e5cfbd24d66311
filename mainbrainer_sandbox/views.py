"""Looking into a sandbox file without touching it: what the page, the command and tests read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec

from mainbrainer_sandbox import rules
from mainbrainer_sandbox.plot import BUCKET_SECONDS, Bucket
from mainbrainer_sandbox.store import connect

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType


_LIKE_SPECIAL = re.compile(r"[!%_]")


class View:
    """A read-only look at a sandbox file, at one moment or over time.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._db = connect(path, write=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def property_names(self) -> dict[str, str]:
        """Return the name each property is shown under; its id if it has no name."""
        rows = self._db.execute("SELECT key, id, name FROM properties ORDER BY place")
        return {row["key"]: row["name"] or row["id"] for row in rows}

    def contacts(self) -> Iterator[dict[str, Any]]:
        """Return all contacts by id, one at a time."""
        names = self.property_names()
        for row in self._db.execute("SELECT * FROM contacts ORDER BY id"):
            yield contact(row, names)

    def by_identity(self) -> Iterator[dict[str, Any]]:
        """Return all contacts by country code, number and e-mail; among equals by id."""
        names = self.property_names()
        query = (
            "SELECT * FROM contacts"
            " ORDER BY coalesce(country, 0), coalesce(number, 0), coalesce(email, ''), id"
        )
        for row in self._db.execute(query):
            yield contact(row, names)

    def batches(self) -> Iterator[dict[str, Any]]:
        """Return all batches, accepted and refused, in the order they came."""
        for row in self._db.execute("SELECT * FROM batches ORDER BY number"):
            yield batch(row)

    def requests(self) -> Iterator[dict[str, Any]]:
        """Return the requests on record, in the order they came."""
        for row in self._db.execute("SELECT * FROM requests ORDER BY number"):
            yield dict(row)

    def webhooks(self) -> Iterator[dict[str, Any]]:
        """Return what became of the webhooks, in the order they were tried."""
        for row in self._db.execute("SELECT * FROM webhooks ORDER BY number"):
            yield dict(row)

    def count(self, table: Literal["contacts", "batches", "requests"]) -> int:
        """Return how many rows a table has."""
        query = f"SELECT count(*) FROM {table}"  # noqa: S608 - one of three names
        return int(self._db.execute(query).fetchone()[0])

    def search(self, text: str, *, after: int | None, limit: int) -> list[dict[str, Any]]:
        """Return contacts by id whose id, mobile, e-mail or a property's value holds a text.

        Args:
            text: What to look for; nothing finds every contact.
            after: Only contacts with a larger id.
            limit: At most so many.
        """
        escaped = _LIKE_SPECIAL.sub(r"!\g<0>", text)
        like = f"%{escaped}%"
        digits = re.sub(r"[\s+()-]", "", text)
        where = "id > ?"
        values: list[int | str] = [after if after is not None else -1]
        if text:
            where += (
                " AND (email LIKE ? ESCAPE '!' OR properties LIKE ? ESCAPE '!'"
                " OR (? <> '' AND (id = ? OR number || '' LIKE ? OR country || number LIKE ?)))"
            )
            numeric = digits if digits.isascii() and digits.isdecimal() else ""
            values += [like, like, numeric, numeric, f"{numeric}%", f"{numeric}%"]
        names = self.property_names()
        query = f"SELECT * FROM contacts WHERE {where} ORDER BY id LIMIT ?"  # noqa: S608 - above
        return [contact(row, names) for row in self._db.execute(query, (*values, limit))]

    def contact(self, contact_id: int) -> dict[str, Any] | None:
        """Return one contact, or None if nobody has the id."""
        query = "SELECT * FROM contacts WHERE id = ?"
        row = self._db.execute(query, (contact_id,)).fetchone()
        return None if row is None else contact(row, self.property_names())

    def history(self, contact_id: int) -> list[dict[str, Any]]:
        """Return what changed a contact, the newest first and its creation last.

        Each entry has `batch`, `when` and `changes`, and each change `what`, `before`, `after`.
        """
        row = self._db.execute("SELECT * FROM contacts WHERE id = ?", (contact_id,)).fetchone()
        if row is None:
            return []
        names = self.property_names()
        query = (
            "SELECT history.batch, processed, changes FROM history"
            " JOIN batches ON batches.number = history.batch"
            " WHERE contact = ? ORDER BY history.rowid DESC"
        )
        entries = []
        undone = []
        for changed in self._db.execute(query, (contact_id,)):
            changes = msgspec.json.decode(changed["changes"])
            undone.append(changes)
            entries.append(
                {
                    "batch": changed["batch"],
                    "when": changed["processed"],
                    "changes": list(_named(changes, names)),
                }
            )
        first = rules.undo(as_contact(row), undone)
        query = "SELECT processed FROM batches WHERE number = ?"
        created = self._db.execute(query, (row["batch"],)).fetchone()
        initial: dict[str, Any] = {
            "mobile": [None, rules.mobile_text(first.country, first.number)],
            "email": [None, first.email],
            "mobile_opt_in": ["", first.mobile_opt_in],
            "email_opt_in": ["", first.email_opt_in],
            "properties": {key: [None, value] for key, value in first.properties.items()},
            "lists": [None, list(first.lists)],
        }
        changes = [one for one in _named(initial, names) if one["after"] not in (None, [])]
        changes.insert(0, {"what": "created", "before": None, "after": str(contact_id)})
        when = created["processed"]
        return [*entries, {"batch": row["batch"], "when": when, "changes": changes}]

    def latest(
        self, table: Literal["batches", "requests"], *, before: int | None, limit: int
    ) -> list[dict[str, Any]]:
        """Return batches or requests, the newest first."""
        query = f"SELECT * FROM {table} WHERE number < ? ORDER BY number DESC LIMIT ?"  # noqa: S608
        start = rules.INT64 if before is None else before
        shown = batch if table == "batches" else dict
        return [shown(row) for row in self._db.execute(query, (start, limit))]

    def batch(self, number: int) -> dict[str, Any] | None:
        """Return one batch, or None if there is no such."""
        row = self._db.execute("SELECT * FROM batches WHERE number = ?", (number,)).fetchone()
        return None if row is None else batch(row)

    def webhook_of(self, number: int) -> str | None:
        """Return what became of the webhook of a batch, or None if nothing yet."""
        query = "SELECT outcome FROM webhooks WHERE batch = ? ORDER BY number DESC LIMIT 1"
        row = self._db.execute(query, (number,)).fetchone()
        return None if row is None else str(row[0])

    def buckets(self) -> list[Bucket]:
        """Return how many requests came in each 10 seconds, in order; empty ones are left out."""
        query = (
            f"SELECT cast(received / {BUCKET_SECONDS} AS INTEGER) * {BUCKET_SECONDS} AS start,"  # noqa: S608
            " count(*), sum(status = 429), sum(status <> 429 AND status NOT BETWEEN 200 AND 299)"
            " FROM requests GROUP BY 1 ORDER BY 1"
        )
        return [Bucket(*row) for row in self._db.execute(query)]


def as_contact(row: sqlite3.Row) -> rules.Contact:
    """Return a contact's row as the rules know it."""
    return rules.Contact(
        row["id"],
        row["country"],
        row["number"],
        row["email"],
        _consent(row["mobile_opt_in"]),
        _consent(row["email_opt_in"]),
        msgspec.json.decode(row["properties"]),
        tuple(msgspec.json.decode(row["lists"])),
    )


_FIELDS = {
    "mobile": "mobile",
    "email": "e-mail",
    "mobile_opt_in": "SMS opt-in",
    "email_opt_in": "e-mail opt-in",
    "lists": "lists",
}


_CONSENTS = ("mobile_opt_in", "email_opt_in")
NO_CONSENT = "no consent"


def _named(changes: dict[str, Any], names: dict[str, str]) -> Iterator[dict[str, Any]]:
    for key, label in _FIELDS.items():
        if key in changes:
            values = changes[key]
            if key in _CONSENTS:
                values = [NO_CONSENT if value is None else value for value in values]
            yield {"what": label, "before": values[0], "after": values[1]}
    for key, (before, after) in changes.get("properties", {}).items():
        yield {"what": f"property {names.get(key, key)}", "before": before, "after": after}


def contact(row: sqlite3.Row, names: dict[str, str]) -> dict[str, Any]:
    """Return a contact's row as people read it."""
    properties = msgspec.json.decode(row["properties"])
    return {
        "id": row["id"],
        "mobile_country_code": row["country"],
        "mobile_number": row["number"],
        "email": row["email"],
        "mobile_opt_in": _consent(row["mobile_opt_in"]),
        "email_opt_in": _consent(row["email_opt_in"]),
        "properties": {names.get(key, key): value for key, value in properties.items()},
        "lists": msgspec.json.decode(row["lists"]),
        "batch": row["batch"],
    }


def batch(row: sqlite3.Row) -> dict[str, Any]:
    """Return a batch's row with its details parsed."""
    found = dict(row)
    found["details"] = msgspec.json.decode(found["details"] or "{}")
    return found


def _consent(value: int | None) -> bool | None:
    return None if value is None else bool(value)
