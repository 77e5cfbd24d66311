"""Looking into a sandbox file without touching it: what the page, the command and tests read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import msgspec

from target_mainbrainer.sandbox.store import connect

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType


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
        rows = self._db.execute("SELECT key, id, name FROM properties")
        return {row["key"]: row["name"] or row["id"] for row in rows}

    def contacts(self) -> Iterator[dict[str, Any]]:
        """Return all contacts by id, one at a time."""
        names = self.property_names()
        for row in self._db.execute("SELECT * FROM contacts ORDER BY id"):
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
