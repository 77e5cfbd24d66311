"""Tables of the ledger's database; the name of each begins with `mainbrainer_`.

There are no migrations: a database of another `SCHEMA_VERSION` is refused.
"""

from __future__ import annotations

import sqlalchemy as sa

SCHEMA_VERSION = 6

metadata = sa.MetaData()

# SQLite takes only an INTEGER primary key for the number of the row itself.
_Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")

ledger = sa.Table(
    "mainbrainer_schema",
    metadata,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seed", sa.BigInteger, nullable=False, comment="Of all hashes in this database."),
)
"""One row."""

accounts = sa.Table(
    "mainbrainer_accounts",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True, comment="Address and user name."),
    sa.Column("access_token", sa.Text, comment="Fingerprint of the last token that delivered."),
    sqlite_autoincrement=True,  # a forgotten account's number is not given to another one
)

streams = sa.Table(
    "mainbrainer_streams",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("account", sa.Integer, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("key_columns", sa.Text, comment="Names of the key_properties; null: none so far."),
    sa.Column("run", sa.Integer, comment="The run that delivers it now; its id as a number."),
    sa.Column("machine", sa.Text, comment="Where that run is."),
    sa.Column("process", sa.Text, comment="Which process that run is."),
    sa.Column("lease_until", sa.Double, comment="Seconds since the epoch."),
    sa.Column("delivered_at", sa.BigInteger, comment="When a run last read it."),
    sa.UniqueConstraint("account", "name"),
)

contacts = sa.Table(
    "mainbrainer_contacts",
    metadata,
    sa.Column("id", _Number, primary_key=True, autoincrement=False),
    sa.Column("account", sa.Integer, nullable=False),
    sa.Column("hash", sa.BigInteger, nullable=False, comment="Negative: of a contact_id."),
    sa.Column("spelling", sa.BigInteger, nullable=False, comment="Of the identity as delivered."),
    sa.Column("fields", sa.LargeBinary, comment="12 bytes for each field delivered; null: unknown"),
    sa.Column("delivered_at", sa.BigInteger, comment="When anything was last accepted."),
    sa.Column("batch", sa.BigInteger, comment="The batch it last went out in."),
    sa.Column("open_mark", sa.BigInteger, comment="The run and the round that are sending it."),
    sa.Column("open_at", sa.BigInteger),
    sa.Column("unsure_at", sa.BigInteger, comment="The last try of which the end is unknown."),
    sa.Column("mobile_said", sa.Boolean, comment="The last opt-in delivered."),
    sa.Column("email_said", sa.Boolean),
    sa.Column("mobile_raised_in", sa.BigInteger, comment="The batch that last raised it to true."),
    sa.Column("email_raised_in", sa.BigInteger),
    sa.UniqueConstraint("account", "hash"),
)
"""Content and consent of each identity."""

people = sa.Table(
    "mainbrainer_people",
    metadata,
    sa.Column("id", _Number, primary_key=True, autoincrement=False),
    sa.Column("stream", sa.Integer, nullable=False),
    sa.Column("key", sa.Text, nullable=False, comment="JSON of the key_properties' values."),
    sa.Column("identity", sa.Text, nullable=False, comment="The one that the CRM holds for it."),
    sa.Column("hash", sa.BigInteger, nullable=False),
    sa.Column("previous", sa.Text, comment="The one before, while it is not certain which."),
    sa.Column("moving_id", sa.BigInteger, comment="Its contact_id, while its address is changed."),
    sa.Column("missed", sa.Integer, nullable=False, comment="Full reads in a row without it."),
    sa.Column("is_gone", sa.Boolean, nullable=False),
    sa.Column("seen_at", sa.BigInteger, nullable=False, comment="To the week."),
    sa.Column("earlier", sa.Text, nullable=False, comment="The identities that it had."),
    sa.UniqueConstraint("stream", "key"),
)
sa.Index("mainbrainer_people_hash", people.c.hash)
_has_previous = people.c.previous.is_not(None)
sa.Index(
    "mainbrainer_people_previous",
    people.c.hash,
    sqlite_where=_has_previous,
    postgresql_where=_has_previous,
)

batches = sa.Table(
    "mainbrainer_batches",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("run", sa.Integer, nullable=False),
    sa.Column("accepted_at", sa.BigInteger, nullable=False),
)
"""Accepted batches whose status is not known yet."""

quota = sa.Table(
    "mainbrainer_quota",
    metadata,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("record", sa.Text, nullable=False),
)
"""Requests spent, one row for each account; `lease.py` reads and writes it."""
