"""Everything the sandbox keeps, in one SQLite file that one connection writes."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from mainbrainer_sandbox import rules
from mainbrainer_sandbox.file import FORMAT, Lock, StoreError, connect
from mainbrainer_sandbox.rules import DEFAULT_PROPERTIES, Contact, Sent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from mainbrainer_sandbox.reading import Problem, Reading
    from mainbrainer_sandbox.switches import Switches

FIRST_ID = 1_000_001
# Problems of one refusal that are kept for the page.
KEPT_PROBLEMS = 50

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE contacts (
  id INTEGER PRIMARY KEY, mobile_country_code INTEGER, mobile_number INTEGER, email TEXT,
  mobile_opt_in INTEGER, email_opt_in INTEGER, properties TEXT NOT NULL, lists TEXT NOT NULL,
  identity TEXT NOT NULL
);
CREATE INDEX contacts_identity ON contacts (identity);
CREATE TABLE properties (given TEXT PRIMARY KEY, shown TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE batches (
  number INTEGER PRIMARY KEY, id TEXT UNIQUE, kind TEXT NOT NULL, request INTEGER NOT NULL,
  state TEXT NOT NULL, received REAL NOT NULL, processed REAL, sent INTEGER NOT NULL,
  inserted INTEGER NOT NULL DEFAULT 0, updated INTEGER NOT NULL DEFAULT 0,
  skipped INTEGER NOT NULL DEFAULT 0, status INTEGER NOT NULL, list_id TEXT, webhook_url TEXT,
  failed_reason TEXT, details TEXT NOT NULL
);
CREATE TABLE history (contact INTEGER NOT NULL, batch INTEGER, made REAL NOT NULL, before TEXT);
CREATE INDEX history_contact ON history (contact);
CREATE TABLE requests (
  number INTEGER PRIMARY KEY, started REAL NOT NULL, ended REAL NOT NULL, method TEXT NOT NULL,
  path TEXT NOT NULL, status INTEGER NOT NULL, contacts INTEGER NOT NULL, fault TEXT
);
"""

_properties = msgspec.json.Decoder(dict[str, str])
_lists = msgspec.json.Decoder(list[str])


class Request(msgspec.Struct):
    """One request, as recorded.

    Attributes:
        started, ended: Its arrival and the end of its answer, in seconds since the epoch.
        status: What it was answered; 0 if it was not.
        contacts: How many contacts it sent.
        fault: The faults that applied to it.
        body: What it sent, as parsed; only if the sandbox keeps bodies.
    """

    number: int
    started: float
    ended: float
    method: str
    path: str
    status: int
    contacts: int
    fault: str | None
    body: Any = None

    def overlaps(self, other: Request) -> bool:
        """Return whether both were under way at one moment."""
        return self.started < other.ended and other.started < self.ended


class Store:
    """A sandbox file, open for writing; use it from one thread.

    Args:
        path: The file; made if it does not exist.

    Raises:
        StoreError: The file is not a sandbox's, or in use.
    """

    def __init__(self, path: Path) -> None:
        self._db = connect(path, write=True)
        try:
            self._lock = Lock(path)
        except StoreError:
            self._db.close()
            raise
        self._db.execute("PRAGMA journal_mode = WAL")
        # A crash of the machine may lose the last batches, a crash of the process nothing.
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("PRAGMA cache_size = -65536")
        if self._db.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
            with self._transaction():
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                self._put("format", FORMAT)
                # A client that remembers what it has sent here can tell one file from another.
                self._put("file_id", uuid.uuid4().hex)
        self.properties = dict(DEFAULT_PROPERTIES)
        self.properties |= dict(self._db.execute("SELECT * FROM properties").fetchall())
        self._next_id = self._number("value FROM meta WHERE key = 'next_id'") or FIRST_ID
        self._next_batch = self._number("max(number) FROM batches") + 1
        self.last_request = self._number("max(number) FROM requests")

    def close(self) -> None:
        """Close the file, leaving no side files."""
        with contextlib.suppress(sqlite3.OperationalError):
            # One file is easier to copy and to read than three; a reader at work prevents it.
            self._db.execute("PRAGMA journal_mode = DELETE")
        self._db.close()
        self._lock.release()

    def reset(self) -> None:
        """Forget all contacts, batches and requests."""
        for table in ("contacts", "properties", "batches", "history", "requests"):
            self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own
        self.properties = dict(DEFAULT_PROPERTIES)

    def _number(self, query: str) -> int:
        row = self._db.execute(f"SELECT {query}").fetchone()
        return int(row[0] or 0) if row else 0

    def _put(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """Apply everything inside, or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # -- batches ---------------------------------------------------------------------------

    def accept(self, reading: Reading, **columns: object) -> tuple[int, str]:
        """Keep the record of an accepted batch, and return its number and its id."""
        batch_id = str(uuid.uuid4())
        with self._transaction():
            number = self._insert_batch(
                id=batch_id,
                state="queued",
                status=202,
                list_id=reading.list_id,
                webhook_url=reading.webhook_url,
                details=_text({"reported": reading.reported[:KEPT_PROBLEMS]}),
                **columns,
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO properties VALUES (?,?)", reading.properties.items()
            )
        self.properties |= reading.properties
        return number, batch_id

    def refuse(self, problems: list[Problem], **columns: object) -> None:
        """Keep the record of a refused batch; nothing of its contacts is kept."""
        more = max(0, len(problems) - KEPT_PROBLEMS)
        details = _text({"problems": problems[:KEPT_PROBLEMS], "more": more})
        self._insert_batch(state="refused", details=details, **columns)

    def _insert_batch(self, **columns: object) -> int:
        columns["number"] = number = self._next_batch
        marks = ",".join("?" * len(columns))
        self._db.execute(
            f"INSERT INTO batches ({','.join(columns)}) VALUES ({marks})",  # noqa: S608 - our names
            tuple(columns.values()),
        )
        self._next_batch += 1
        return number

    def rehearse(self, contacts: list[Sent], switches: Switches) -> rules.Applied:
        """Return what processing contacts now would do, without doing it."""
        new_ids = itertools.count(-1, -1).__next__
        return rules.apply(contacts, self._known(contacts), switches, new_ids)

    def process(
        self, number: int, contacts: list[Sent], switches: Switches, now: float, *, skip_first: int
    ) -> None:
        """Apply an accepted batch, all of it or nothing."""
        known, new_ids = self._known(contacts), self._new_ids(len(contacts))
        applied = rules.apply(contacts, known, switches, new_ids, skip_first=skip_first)
        with self._transaction():
            self._write(applied, now, number)
            self._put("next_id", str(self._next_id))
            self._finish(
                number,
                {
                    "inserted": applied.inserted,
                    "updated": applied.updated,
                    "skipped": applied.skipped,
                    "skip_reasons": Counter(applied.skip_reasons),
                },
                state="completed",
                processed=now,
                inserted=len(applied.inserted),
                updated=len(applied.updated),
                skipped=len(applied.skip_reasons),
            )

    def fail(self, number: int, reason: str, now: float) -> None:
        """Give up an accepted batch: nothing of it is applied."""
        self._finish(number, {}, state="failed", processed=now, failed_reason=reason)

    def _finish(self, number: int, details: dict[str, Any], **columns: object) -> None:
        changes = ", ".join(f"{name} = ?" for name in columns)
        self._db.execute(
            f"UPDATE batches SET {changes}, details = json_patch(details, ?)"  # noqa: S608
            " WHERE number = ?",
            (*columns.values(), _text(details), number),
        )

    def batch(self, batch_id: str) -> dict[str, Any] | None:
        """Return an accepted batch by its id."""
        row = self._db.execute("SELECT * FROM batches WHERE id = ?", (batch_id,)).fetchone()
        return None if row is None else as_batch(row)

    # -- contacts --------------------------------------------------------------------------

    def _known(self, contacts: list[Sent]) -> rules.Known:
        ids = {sent.contact_id for sent in contacts if sent.contact_id is not None}
        found = {contact.id: contact for contact in self._fetch("id", ids)}
        identities = rules.identities_to_look_up(contacts, found.values())
        for contact in self._fetch("identity", identities):
            found.setdefault(contact.id, contact)
        return rules.Known(found.values())

    def _fetch(self, column: Literal["id", "identity"], values: Iterable[Any]) -> list[Contact]:
        values = tuple(values)  # at most 1000; SQLite allows 32,766 in one statement
        marks = ",".join("?" * len(values))
        query = f"SELECT * FROM contacts WHERE {column} IN ({marks})"  # noqa: S608 - our names
        return [as_contact(row) for row in self._db.execute(query, values).fetchall()]

    def _new_ids(self, at_most: int) -> Callable[[], int]:
        """Return a source of contact ids that skips those that contacts brought along."""
        query = "SELECT id FROM contacts WHERE id >= ? ORDER BY id LIMIT ?"
        taken = {row[0] for row in self._db.execute(query, (self._next_id, at_most))}

        def new_id() -> int:
            while self._next_id in taken:
                self._next_id += 1
            self._next_id += 1
            return self._next_id - 1

        return new_id

    def _write(self, applied: rules.Applied, now: float, batch: int | None = None) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO contacts VALUES (?,?,?,?,?,?,?,?,?)",
            [
                (
                    *msgspec.structs.astuple(one)[:6],
                    _text(one.properties),
                    _text(one.lists),
                    rules.identity_of(one),
                )
                for one in applied.touched.values()
            ],
        )
        self._db.executemany(
            "INSERT INTO history VALUES (?,?,?,?)",
            [
                (contact, batch, now, None if before is None else _text(before))
                for contact, before in applied.history
            ],
        )

    # -- by hand, as people can in MainBrainer ---------------------------------------------

    def edit(self, selector: int | str, changes: dict[str, Any] | None, now: float) -> int:
        """Change a contact as `rules.edited` does, and return its id; None deletes it.

        An id is not used again.
        """
        before = self._one(selector)
        if changes is None:
            self._db.execute("DELETE FROM contacts WHERE id = ?", (before.id,))
            return before.id
        named = {self.properties.get(name, name): value for name, value in changes.items()}
        unknown = named.keys() - rules.EDITABLE - set(self.properties.values())
        if unknown:
            raise StoreError(f"The account has no property '{min(unknown)}'.")
        try:
            after = rules.edited(before, named)
        except ValueError as error:
            raise StoreError(str(error)) from None
        if after != before:
            with self._transaction():
                self._write(
                    rules.Applied(touched={after.id: after}, history=[(after.id, before)]), now
                )
        return after.id

    def _one(self, selector: int | str) -> Contact:
        """Return the contact with an id, an e-mail address or a mobile number.

        Raises:
            StoreError: It is not exactly one.
        """
        query = (
            "SELECT * FROM contacts WHERE id = :one OR email = :one"
            " OR '+' || mobile_country_code || mobile_number = replace(:one, ' ', '')"
        )
        found = self._db.execute(query, {"one": selector}).fetchall()
        if len(found) != 1:
            raise StoreError(
                f"{len(found)} contacts have this id, e-mail address or mobile number."
            )
        return as_contact(found[0])

    def record(self, request: Request) -> None:
        """Record a request."""
        values = msgspec.structs.astuple(request)[:-1]
        self._db.execute("INSERT OR REPLACE INTO requests VALUES (?,?,?,?,?,?,?,?)", values)


def as_contact(row: sqlite3.Row) -> Contact:
    """Return a contact's row as the rules know it."""
    return Contact(
        row["id"],
        row["mobile_country_code"],
        row["mobile_number"],
        row["email"],
        _boolean(row["mobile_opt_in"]),
        _boolean(row["email_opt_in"]),
        _properties.decode(row["properties"]),
        _lists.decode(row["lists"]),
    )


def _boolean(value: int | None) -> bool | None:
    """Return what was written as a boolean, which SQLite does not know."""
    return None if value is None else value == 1


def as_batch(row: sqlite3.Row) -> dict[str, Any]:
    """Return a batch's row with its details parsed, and why not all of it was accepted."""
    details = msgspec.json.decode(row["details"])
    why = row["failed_reason"] or " ".join(details.get("skip_reasons", {}))
    if problems := details.get("problems"):
        more = len(problems) + details["more"] - 1
        why = f"{problems[0]['text']}{f' And {more} more.' if more else ''}"
    return {**dict(row), "why": why, "details": details}


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
