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

quota = sa.Table(
    "mainbrainer_quota",
    metadata,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("record", sa.Text, nullable=False),
)
"""The requests spent, one row for each access token; `shared_quota.py` says what is in it."""
