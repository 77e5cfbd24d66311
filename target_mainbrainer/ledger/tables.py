"""The tables of the ledger's database; all of them begin with `mainbrainer_`.

A change of any table needs a new `SCHEMA_VERSION`, and a step in `database.py` that brings an
older database up to it.
"""

from __future__ import annotations

import sqlalchemy as sa

SCHEMA_VERSION = 1

metadata = sa.MetaData()

schema_version = sa.Table(
    "mainbrainer_schema",
    metadata,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
)

# SQLite counts up a primary key only if it is an INTEGER.
_Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")

ledger = sa.Table(
    "mainbrainer_ledger",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("digest_key", sa.LargeBinary, nullable=False),
    sa.Column("account", sa.Text, comment="Fingerprint of what the ledger was filled from."),
    sa.Column("access_token", sa.Text, comment="Fingerprint of a token without a user name."),
    sa.Column("last_run", sa.Integer, nullable=False),
)
"""One row."""

streams = sa.Table(
    "mainbrainer_streams",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("run", sa.Integer, comment="The run that delivers it now."),
    sa.Column("machine", sa.Text, comment="Where that run is."),
    sa.Column("process", sa.Text, comment="Which process that run is."),
    sa.Column("lease_until", sa.Double, comment="Seconds since the epoch."),
    sa.Column("version", sa.BigInteger, comment="Of the newest records, as their tap says it."),
)

entries = sa.Table(
    "mainbrainer_entries",
    metadata,
    sa.Column("id", _Number, primary_key=True),
    sa.Column("stream", sa.Integer, nullable=False),
    sa.Column("key", sa.Text, nullable=False, comment="JSON of the key_properties' values."),
    sa.Column("identity", sa.Text, nullable=False, comment="As the CRM holds it."),
    sa.Column("identity_hash", sa.BigInteger, nullable=False),
    sa.Column("source_identity", sa.Text, comment="As the source says it, if that differs."),
    sa.Column("pending", sa.Text, comment="The identity under which it is tried, if new."),
    sa.Column("pending_hash", sa.BigInteger),
    sa.Column("moving_id", sa.BigInteger, comment="Contact id, while its identity is changed."),
    sa.Column("content", sa.LargeBinary, comment="Digest of what was delivered; null: unknown."),
    sa.Column("fields", sa.LargeBinary, comment="Four bytes for each field that was delivered."),
    sa.Column("mobile_opt_in", sa.Boolean, comment="The one delivered; null: unknown or none."),
    sa.Column("email_opt_in", sa.Boolean),
    sa.Column("shared", sa.Boolean, nullable=False, comment="Others hold this identity, too."),
    sa.Column("doubt", sa.Boolean, nullable=False, comment="Unknown whatever the try's outcome."),
    sa.Column("token", sa.BigInteger, comment="Of the try whose outcome is awaited."),
    sa.Column("batch", sa.BigInteger, comment="The batch it went out in."),
    sa.Column("delivered_at", sa.BigInteger, comment="Seconds since the epoch; null: never."),
    sa.UniqueConstraint("stream", "key"),
    sqlite_autoincrement=True,
)
sa.Index("mainbrainer_entries_identity", entries.c.identity_hash)
sa.Index(
    "mainbrainer_entries_pending",
    entries.c.pending_hash,
    sqlite_where=entries.c.pending_hash.is_not(None),
    postgresql_where=entries.c.pending_hash.is_not(None),
)

batches = sa.Table(
    "mainbrainer_batches",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("batch_id", sa.Text, nullable=False),
    sa.Column("stream", sa.Integer, nullable=False),
    sa.Column("contacts", sa.Integer, nullable=False),
    sa.Column("accepted_at", sa.BigInteger, nullable=False),
    sa.Column("is_open", sa.Boolean, nullable=False, comment="Its outcome is not known yet."),
)

doubts = sa.Table(
    "mainbrainer_doubts",
    metadata,
    sa.Column("identity_hash", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("run", sa.Integer, nullable=False, comment="That lost an answer."),
)
"""Identities under which a request may still be applied a second time."""

quota = sa.Table(
    "mainbrainer_quota",
    metadata,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("record", sa.Text, nullable=False),
)
"""The requests spent, one row for each access token; `quota.py` says what is in it."""
