"""Everything the sandbox keeps, in one SQLite file that one connection writes.

Two things make it fast. A batch is one transaction of a handful of statements,
whatever its size: rows go in and come out as one JSON document each
(`json_each`, `json_group_array`). This is not only less work than a statement a
row. Python's `sqlite3` gives up the interpreter's lock at every row and gets it
back when another thread lets go, 5 ms later; in the process of a busy target, a
thousand rows one by one took three seconds, and take 17 ms as one document.

And what an insert wrote is not kept a second time: a contact's first state is
its present one with its changes undone (`rules.undo`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import uuid
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from mainbrainer_sandbox import rules
from mainbrainer_sandbox.rules import Contact, Properties, Property, Sent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mainbrainer_sandbox.reading import Problem, Reading
    from mainbrainer_sandbox.switches import Switches

FORMAT = 2
FIRST_ID = 1_000_001
KEPT_REQUESTS = 200_000
# Problems of one refusal that are kept for the page; a thousand sentences help nobody.
KEPT_PROBLEMS = 50

State = Literal["queued", "completed", "failed", "refused"]

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE contacts (
  id INTEGER PRIMARY KEY, identity TEXT NOT NULL,
  country INTEGER, number INTEGER, email TEXT, mobile_opt_in INTEGER, email_opt_in INTEGER,
  properties TEXT NOT NULL, lists TEXT NOT NULL, batch INTEGER NOT NULL
);
CREATE INDEX contacts_identity ON contacts (identity);
CREATE TABLE properties (place INTEGER PRIMARY KEY, key TEXT UNIQUE, id TEXT, name TEXT);
CREATE TABLE batches (
  number INTEGER PRIMARY KEY, id TEXT, kind TEXT NOT NULL, request INTEGER NOT NULL,
  state TEXT NOT NULL, received REAL NOT NULL, processed REAL, sent INTEGER NOT NULL,
  inserted INTEGER NOT NULL DEFAULT 0, updated INTEGER NOT NULL DEFAULT 0,
  skipped INTEGER NOT NULL DEFAULT 0, status INTEGER NOT NULL, list_id TEXT, webhook_url TEXT,
  failed_reason TEXT, details TEXT
);
CREATE UNIQUE INDEX batches_id ON batches (id);
CREATE TABLE waiting (batch INTEGER PRIMARY KEY, due REAL, fate TEXT, contacts BLOB NOT NULL);
CREATE TABLE history (contact INTEGER NOT NULL, batch INTEGER NOT NULL, changes TEXT NOT NULL);
CREATE INDEX history_contact ON history (contact);
CREATE TABLE requests (
  number INTEGER PRIMARY KEY, started REAL NOT NULL, ended REAL NOT NULL,
  received REAL NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL, status INTEGER NOT NULL,
  contacts INTEGER NOT NULL, fault TEXT
);
CREATE TABLE webhooks (
  number INTEGER PRIMARY KEY, batch INTEGER NOT NULL, url TEXT NOT NULL, sent REAL,
  tries INTEGER NOT NULL, status INTEGER, outcome TEXT NOT NULL
);
CREATE TABLE tokens (hash TEXT PRIMARY KEY, expires REAL NOT NULL) WITHOUT ROWID;
"""
_TABLES = (
    "contacts", "properties", "batches", "waiting", "history", "requests", "webhooks", "tokens"
)  # fmt: skip

_ROW = (
    "json_array(id, country, number, email, mobile_opt_in, email_opt_in, json(properties),"
    " json(lists))"
)
_BY_ID = (
    f"SELECT json_group_array({_ROW}) FROM contacts"  # noqa: S608 - no outside text
    " WHERE id IN (SELECT value FROM json_each(?))"
)
_BY_IDENTITY = (
    f"SELECT json_group_array({_ROW}) FROM contacts"  # noqa: S608
    " WHERE identity IN (SELECT value FROM json_each(?))"
)
_CELLS = ", ".join(f"json_extract(value, '$[{n}]')" for n in range(10))
_WRITE = f"INSERT OR REPLACE INTO contacts SELECT {_CELLS} FROM json_each(?)"  # noqa: S608
_WRITE_CHANGED = """
    UPDATE contacts SET identity = new.identity, country = new.country, number = new.number,
      email = new.email, mobile_opt_in = new.mobile_opt_in, email_opt_in = new.email_opt_in,
      properties = new.properties, lists = new.lists
    FROM (SELECT json_extract(value, '$[0]') id, json_extract(value, '$[1]') identity,
            json_extract(value, '$[2]') country, json_extract(value, '$[3]') number,
            json_extract(value, '$[4]') email, json_extract(value, '$[5]') mobile_opt_in,
            json_extract(value, '$[6]') email_opt_in, json_extract(value, '$[7]') properties,
            json_extract(value, '$[8]') lists FROM json_each(?)) new
    WHERE contacts.id = new.id
"""
_WRITE_HISTORY = (
    "INSERT INTO history SELECT json_extract(value, '$[0]'), ?, json_extract(value, '$[1]')"
    " FROM json_each(?)"
)


class StoreError(Exception):
    """The file is not a sandbox's, or cannot be used; the message is for people."""


class _Row(msgspec.Struct, array_like=True, gc=False):
    """A contact as `_ROW` gives it; SQLite knows no booleans."""

    id: int
    country: int | None
    number: int | None
    email: str | None
    mobile_opt_in: int | None
    email_opt_in: int | None
    properties: dict[str, str]
    lists: tuple[str, ...]


_rows = msgspec.json.Decoder(list[_Row])
_waiting = msgspec.json.Decoder(list[Sent])
_encode = msgspec.json.encode


def _text(value: object) -> str:
    return _encode(value).decode()


def _consent(value: int | None) -> bool | None:
    return None if value is None else bool(value)


def _contacts(document: str) -> list[Contact]:
    return [
        Contact(
            row.id,
            row.country,
            row.number,
            row.email,
            _consent(row.mobile_opt_in),
            _consent(row.email_opt_in),
            row.properties,
            row.lists,
        )
        for row in _rows.decode(document)
    ]


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """Open a sandbox file, for everything or for looking only.

    Raises:
        StoreError: There is no such file to look at, or it is not a sandbox's.
    """
    if write:
        if not path.exists():
            # Before SQLite does it, so that nobody else can read contacts for even a moment.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        target = str(path)
    else:
        if not path.is_file():
            message = f"There is no sandbox file at {path}."
            raise StoreError(message)
        target = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(
        target, isolation_level=None, check_same_thread=False, uri=not write, timeout=30
    )
    connection.row_factory = sqlite3.Row
    try:
        _check_format(connection, path, write=write)
    except sqlite3.DatabaseError as error:
        connection.close()
        message = f"{path} is not a sandbox file, or it is damaged."
        raise StoreError(message) from error
    except StoreError:
        connection.close()
        raise
    return connection


def _check_format(connection: sqlite3.Connection, path: Path, *, write: bool) -> None:
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    if not tables and write:
        return
    if "meta" not in tables:
        message = f"{path} is not a sandbox file."
        raise StoreError(message)
    found = connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
    if found is None or found[0] != str(FORMAT):
        message = f"{path} was written by another version of the sandbox; start with a new file."
        raise StoreError(message)


class _Lock:
    """Keeps a second sandbox off a file: it would not see what the first has in memory.

    A lock of its own beside the file, because SQLite loses its locks when anything in
    the process closes the file.

    Raises:
        StoreError: Another sandbox has the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}-lock")
        self._fd = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            message = f"{path} is in use by another sandbox; stop that one first."
            raise StoreError(message) from error

    def release(self) -> None:
        """Let others have the file."""
        self._path.unlink(missing_ok=True)
        os.close(self._fd)


class Waiting(msgspec.Struct):
    """A batch that was accepted and not processed yet.

    Attributes:
        due: When it may be processed (wall clock).
        fate: What a fault has in store for it, such as `fail` or `skip=3`.
    """

    number: int
    id: str
    due: float
    fate: str | None
    contacts: list[Sent]
    webhook_url: str | None


class Request(msgspec.Struct):
    """One request, for the record.

    Attributes:
        started, ended: Monotonic seconds, from its arrival to the end of its answer.
        received: Wall clock at its arrival.
        status: What it was answered; 0 if it was not.
        contacts: How many contacts it sent.
        fault: The fault that met it.
        body: What it sent, as parsed; only if the sandbox was told to keep it.
    """

    number: int
    started: float
    ended: float
    received: float
    method: str
    path: str
    status: int
    contacts: int = 0
    fault: str | None = None
    body: Any = None

    def overlaps(self, other: Request) -> bool:
        """Return whether the two were in flight at the same time."""
        return self.started < other.ended and other.started < self.ended


class Store:
    """The one writer of a sandbox file.

    Args:
        path: The file; made if it does not exist, readable by its owner alone.
        switches: What an identity is, and the properties the account has.
    """

    def __init__(self, path: Path, switches: Switches) -> None:
        self.path = path
        self._lock = _Lock(path)
        try:
            self._db = connect(path, write=True)
        except BaseException:
            self._lock.release()
            raise
        self._db.execute("PRAGMA journal_mode = WAL")
        # A crash of the machine may lose the last batches, a crash of the process none.
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA cache_size = -65536")
        self._db.execute("PRAGMA wal_autocheckpoint = 4000")
        self._requests: list[Request] = []
        with _Transaction(self._db):
            if self._db.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                self._put("format", str(FORMAT))
        self.properties = Properties()
        self._next_id = FIRST_ID
        self._next_batch = 1
        self.set_switches(switches)
        self._load()

    def close(self) -> None:
        """Write what is pending and close the file, leaving no side files."""
        self.flush()
        with contextlib.suppress(sqlite3.OperationalError):
            # One file is easier to copy and to read than three; somebody looking prevents it.
            self._db.execute("PRAGMA journal_mode = DELETE")
        self._db.close()
        self._lock.release()

    def set_switches(self, switches: Switches) -> None:
        """Take over what the switches say about identities and properties."""
        self.properties = Properties(ignore_case=switches.property_names == "ignore_case")
        for row in self._db.execute("SELECT key, id, name FROM properties"):
            self.properties.add(Property(*row))
        known = self.properties.by_key
        with _Transaction(self._db):
            for one in rules.known_properties(switches):
                if one.key not in known:
                    self._keep_property(one)
        matching = f"{switches.email_match} {switches.country_code_match}"
        if self._get("matching") != matching:
            self._rekey(switches, matching)

    def _rekey(self, switches: Switches, matching: str) -> None:
        key_of = rules.identity_keys(switches)
        self._db.create_function("identity_of", 3, key_of, deterministic=True)
        with _Transaction(self._db):
            self._db.execute("UPDATE contacts SET identity = identity_of(country, number, email)")
            self._put("matching", matching)

    def _load(self) -> None:
        self._next_id = int(self._get("next_id") or FIRST_ID)
        last = self._db.execute("SELECT max(number) FROM batches").fetchone()[0]
        self._next_batch = (last or 0) + 1

    def _get(self, key: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def _put(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    # -- accepting -----------------------------------------------------------------------

    def accept(
        self,
        reading: Reading,
        *,
        kind: str,
        request: int,
        received: float,
        due: float | None,
        fate: str | None = None,
    ) -> tuple[int, str]:
        """Keep an accepted batch until it is processed; return its number and its id."""
        number, batch_id = self._next_batch, str(uuid.uuid4())
        reported = [_problem(one) for one in reading.reported[:KEPT_PROBLEMS]]
        with _Transaction(self._db):
            self._db.execute(
                "INSERT INTO batches (number, id, kind, request, state, received, sent, status,"
                " list_id, webhook_url, details) VALUES (?,?,?,?,'queued',?,?,202,?,?,?)",
                (
                    number,
                    batch_id,
                    kind,
                    request,
                    received,
                    len(reading.contacts),
                    reading.list_id,
                    reading.webhook_url,
                    _text({"reported": reported}) if reported else None,
                ),
            )
            self._db.execute(
                "INSERT INTO waiting VALUES (?,?,?,?)",
                (number, due, fate, _encode(reading.contacts)),
            )
            for one in reading.properties:
                self._keep_property(one)
        self._next_batch += 1
        return number, batch_id

    def _keep_property(self, one: Property) -> None:
        self._db.execute(
            "INSERT INTO properties (key, id, name) VALUES (?,?,?)"
            " ON CONFLICT (key) DO UPDATE SET id = excluded.id, name = excluded.name",
            (one.key, one.id, one.name),
        )
        self.properties.add(one)

    def refuse(
        self,
        problems: list[Problem],
        *,
        kind: str,
        request: int,
        received: float,
        sent: int,
        status: int,
    ) -> None:
        """Keep the record of a refused batch; nothing of its contacts is kept."""
        details = {"problems": [_problem(one) for one in problems[:KEPT_PROBLEMS]]}
        if len(problems) > KEPT_PROBLEMS:
            details["more"] = [{"text": f"{len(problems) - KEPT_PROBLEMS} more"}]
        self._db.execute(
            "INSERT INTO batches (number, kind, request, state, received, processed, sent, status,"
            " details) VALUES (?,?,?,'refused',?,?,?,?,?)",
            (self._next_batch, kind, request, received, received, sent, status, _text(details)),
        )
        self._next_batch += 1

    # -- processing ----------------------------------------------------------------------

    def next_waiting(self) -> Waiting | None:
        """Return the batch accepted first of those to process; one that is stuck is passed by."""
        row = self._db.execute(
            "SELECT number, id, due, fate, contacts, webhook_url FROM waiting"
            " JOIN batches ON batches.number = waiting.batch"
            " WHERE due IS NOT NULL ORDER BY batch LIMIT 1"
        ).fetchone()
        if row is None:
            return None
        return Waiting(
            row["number"],
            row["id"],
            row["due"],
            row["fate"],
            _waiting.decode(row["contacts"]),
            row["webhook_url"],
        )

    def next_due(self) -> tuple[int, float] | None:
        """Return the number of the batch whose turn it is, and when it may be processed."""
        row = self._db.execute(
            "SELECT batch, due FROM waiting WHERE due IS NOT NULL ORDER BY batch LIMIT 1"
        ).fetchone()
        return None if row is None else (row[0], row[1])

    def rehearse(self, contacts: list[Sent], switches: Switches) -> rules.Applied:
        """Return what processing contacts now would do, without doing it."""
        return rules.apply(contacts, self._known(contacts, switches), switches, lambda: 0)

    def process(self, waiting: Waiting, switches: Switches, now: float) -> rules.Applied:
        """Apply an accepted batch, all of it or nothing."""
        with _Transaction(self._db):
            known = self._known(waiting.contacts, switches)
            new_ids = self._new_ids(len(waiting.contacts))
            applied = rules.apply(waiting.contacts, known, switches, new_ids)
            self._write(applied, waiting.number, known.key_of)
            self._put("next_id", str(self._next_id))
            details: dict[str, Any] = {
                "inserted": applied.inserted,
                "updated": applied.updated,
                "skipped": applied.skipped,
            }
            reasons: dict[str, int] = {}
            for reason in applied.skip_reasons:
                reasons[reason] = reasons.get(reason, 0) + 1
            if reasons:
                details["skip_reasons"] = reasons
            self._finish(waiting.number, "completed", now, details)
            self._db.execute(
                "UPDATE batches SET inserted = ?, updated = ?, skipped = ? WHERE number = ?",
                (
                    len(applied.inserted),
                    len(applied.updated),
                    len(applied.skip_reasons),
                    waiting.number,
                ),
            )
        return applied

    def fail(self, waiting: Waiting, reason: str, now: float) -> None:
        """Give up an accepted batch: nothing of it is applied."""
        with _Transaction(self._db):
            self._finish(waiting.number, "failed", now, {})
            self._db.execute(
                "UPDATE batches SET failed_reason = ? WHERE number = ?", (reason, waiting.number)
            )

    def _finish(self, number: int, state: State, now: float, details: dict[str, Any]) -> None:
        self._db.execute("DELETE FROM waiting WHERE batch = ?", (number,))
        self._db.execute(
            "UPDATE batches SET state = ?, processed = ?,"
            " details = json_patch(coalesce(details, '{}'), ?) WHERE number = ?",
            (state, now, _text(details), number),
        )

    def _known(self, contacts: list[Sent], switches: Switches) -> rules.Known:
        ids = list({sent.contact_id for sent in contacts if sent.contact_id is not None})
        found = self._fetch(_BY_ID, ids) if ids else []
        keys = rules.keys_to_look_up(contacts, found, switches)
        by_id = {contact.id: contact for contact in found}
        for contact in self._fetch(_BY_IDENTITY, list(keys)) if keys else []:
            by_id.setdefault(contact.id, contact)
        return rules.Known(by_id.values(), switches)

    def _fetch(self, query: str, values: list[Any]) -> list[Contact]:
        return _contacts(self._db.execute(query, (_text(values),)).fetchone()[0])

    def _new_ids(self, at_most: int) -> Callable[[], int]:
        """Return a source of contact ids, past those that contacts brought along."""
        first = self._next_id
        query = "SELECT id FROM contacts WHERE id >= ? ORDER BY id LIMIT ?"
        taken = {row[0] for row in self._db.execute(query, (first, at_most))}

        def new_id() -> int:
            while self._next_id in taken:
                self._next_id += 1
            self._next_id += 1
            return self._next_id - 1

        return new_id

    def _write(
        self,
        applied: rules.Applied,
        batch: int,
        key_of: Callable[[int | None, int | None, str | None], str],
    ) -> None:
        def row(one: Contact) -> tuple[Any, ...]:
            return (
                one.id,
                key_of(one.country, one.number, one.email),
                one.country,
                one.number,
                one.email,
                one.mobile_opt_in,
                one.email_opt_in,
                _text(one.properties),
                _text(one.lists),
                batch,
            )

        if applied.new:
            self._db.execute(_WRITE, (_text([row(one) for one in applied.new.values()]),))
        if applied.changed:
            changed = [row(one) for one in applied.changed.values()]
            self._db.execute(_WRITE_CHANGED, (_text(changed),))
        if applied.history:
            history = [(contact, _text(changes)) for contact, changes in applied.history]
            self._db.execute(_WRITE_HISTORY, (batch, _text(history)))

    # -- the record of requests, webhooks, tokens ----------------------------------------

    def last_request(self) -> int:
        """Return the number of the last request on record."""
        self.flush()
        return int(self._db.execute("SELECT max(number) FROM requests").fetchone()[0] or 0)

    def record(self, request: Request) -> None:
        """Put a request on record; it reaches the file a little later, with others."""
        self._requests.append(request)
        if len(self._requests) >= 100:  # noqa: PLR2004 - any number well above one
            self.flush()

    def flush(self) -> None:
        """Bring the record of requests into the file."""
        if not self._requests:
            return
        rows = [
            (
                one.number,
                one.started,
                one.ended,
                one.received,
                one.method,
                one.path,
                one.status,
                one.contacts,
                one.fault,
            )
            for one in self._requests
        ]
        cells = ", ".join(f"json_extract(value, '$[{n}]')" for n in range(9))
        with _Transaction(self._db):
            self._db.execute(
                f"INSERT OR REPLACE INTO requests SELECT {cells} FROM json_each(?)",  # noqa: S608
                (_text(rows),),
            )
            self._db.execute(
                "DELETE FROM requests WHERE number <= (SELECT max(number) FROM requests) - ?",
                (KEPT_REQUESTS,),
            )
        self._requests.clear()

    def record_webhook(
        self, batch: int, url: str, *, sent: float, tries: int, status: int | None, outcome: str
    ) -> None:
        """Put on record what became of a webhook."""
        self._db.execute(
            "INSERT INTO webhooks (batch, url, sent, tries, status, outcome) VALUES (?,?,?,?,?,?)",
            (batch, url, sent, tries, status, outcome),
        )

    def add_token(self, hashed: str, expires: float) -> None:
        """Keep a token's hash; the token itself is in no file."""
        with _Transaction(self._db):
            self._db.execute("INSERT OR REPLACE INTO tokens VALUES (?,?)", (hashed, expires))

    def tokens(self) -> dict[str, float]:
        """Return the hashes of the tokens given out, and when they expire."""
        return {row[0]: row[1] for row in self._db.execute("SELECT hash, expires FROM tokens")}

    def expire_tokens(self) -> None:
        """Make every token given out so far useless."""
        self._db.execute("DELETE FROM tokens")

    def batch(self, batch_id: str) -> dict[str, Any] | None:
        """Return an accepted batch by its id."""
        row = self._db.execute("SELECT * FROM batches WHERE id = ?", (batch_id,)).fetchone()
        return None if row is None else _batch(row)

    def reset(self) -> None:
        """Forget everything but the file's format."""
        self._requests.clear()
        with _Transaction(self._db):
            for table in _TABLES:
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own
            self._db.execute("DELETE FROM meta WHERE key = 'next_id'")
        self.properties = Properties(ignore_case=self.properties.ignore_case)
        self._load()


class _Transaction:
    """One transaction: all of it or nothing."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._connection.execute("COMMIT" if kind is None else "ROLLBACK")


def _problem(problem: Problem) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(problem)
    return found


def _batch(row: sqlite3.Row) -> dict[str, Any]:
    batch = dict(row)
    details = msgspec.json.decode(batch.pop("details") or "{}")
    return {**batch, "details": details}
