"""A PostgreSQL of the benchmark's own, whose clock can be set."""

from __future__ import annotations

import contextlib
import typing as t

from tests.postgresql import programs, running

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgresql import PostgreSQL

_STEPPING = """
CREATE SCHEMA stepping;
CREATE TABLE stepping.clock (ahead DOUBLE PRECISION);
INSERT INTO stepping.clock VALUES (0);
CREATE FUNCTION stepping.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
  'SELECT pg_catalog.clock_timestamp() + make_interval(secs => ahead) FROM stepping.clock';
ALTER ROLE tests SET search_path = stepping, pg_catalog, public;
"""


class Database:
    """A running server."""

    def __init__(self, server: PostgreSQL) -> None:
        self._server = server
        self.url = server.url

    def schema(self, name: str) -> str:
        """Return the address of a new, empty schema."""
        self._server.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}")
        return f"{self.url}?options=-csearch_path%3D{name}"

    def let_clock_step(self) -> None:
        """Put a clock in front of the server's own that can be set."""
        self._server.execute(_STEPPING)

    def set_clock(self, ahead_seconds: float) -> None:
        """Set the clock so far ahead of the true time, or back."""
        self._server.execute(f"UPDATE stepping.clock SET ahead = {ahead_seconds}")  # noqa: S608


@contextlib.contextmanager
def postgresql() -> Iterator[Database]:
    """Start a server with an empty database.

    Raises:
        RuntimeError: PostgreSQL is not installed.
    """
    if (folder := programs()) is None:
        message = "PostgreSQL is not installed."
        raise RuntimeError(message)
    with running(folder) as server:
        yield Database(server)
