"""Mapping one record of a stream."""

from __future__ import annotations

import decimal
import typing as t

from target_mainbrainer.contacts import Contact, PropertyRef
from target_mainbrainer.mapping.mapper import Omitted, StreamMapping, compile_mapping
from target_mainbrainer.settings.declared import StreamSettings

if t.TYPE_CHECKING:
    from target_mainbrainer.contacts import Rejection

D = decimal.Decimal
UUID = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
EMAIL = {"email": "ola@example.com"}


def mapping(*columns: str, on_drop: t.Any = None, **config: t.Any) -> StreamMapping:
    schema: dict[str, t.Any] = {"properties": {column: {} for column in columns}}
    return compile_mapping("people", schema, [], StreamSettings(**config), on_drop=on_drop)


def mapped(record: dict[str, t.Any], **config: t.Any) -> Contact | Rejection | Omitted:
    """Map one record of a stream that announces just its columns."""
    return mapping(*record, **config).map_record(record)


def ola(**rest: t.Any) -> Contact:
    return Contact(email="ola@example.com", **rest)


def named(**properties: str) -> dict[PropertyRef, str]:
    return {PropertyRef(None, name): text for name, text in properties.items()}
