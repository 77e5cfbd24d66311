"""Mapping one record of a stream, and what a value is refused with."""

import decimal
import typing as t

import pytest

from target_mainbrainer.contacts import Contact, Mobile, PropertyRef, Rejection
from target_mainbrainer.mapping.mapper import Omitted, StreamMapping, compile_mapping
from target_mainbrainer.mapping.values import InvalidValueError
from target_mainbrainer.settings.declared import StreamSettings
from tests.loads import Record

D = decimal.Decimal
UUID = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
EMAIL = {"email": "ola@example.com"}
NO, GB = Mobile(47, 90812501), Mobile(44, 7700900123)


def mapping(*columns: str, **config: t.Any) -> StreamMapping:
    return mapping_of(dict.fromkeys(columns), **config)


def mapping_of(columns: Record, **config: t.Any) -> StreamMapping:
    """Return the mapping of a stream whose columns have these schemas, or any."""
    key = config.pop("key", ())
    schema = {"properties": {name: kind or {} for name, kind in columns.items()}}
    return compile_mapping("people", schema, key, StreamSettings(**config))


def mapped(record: Record, **config: t.Any) -> Contact | Rejection | Omitted:
    """Map one record of a stream that announces just its columns."""
    return mapping(*record, **config).map_record(record)


def rejected(record: Record, **config: t.Any) -> Rejection:
    """Map one record, which is rejected."""
    outcome = mapped(record, **config)
    assert isinstance(outcome, Rejection), outcome
    return outcome


def ola(**rest: t.Any) -> Contact:
    return Contact(email="ola@example.com", **rest)


def named(**properties: str) -> dict[PropertyRef, str]:
    return {PropertyRef(None, name): text for name, text in properties.items()}


def refused(parse: t.Callable[..., object], *args: object) -> InvalidValueError:
    """Return how a value is refused, and hold the sentence to its promise: no value is in it."""
    with pytest.raises(InvalidValueError) as caught:
        parse(*args)
    for value in args:
        if isinstance(value, str) and len(value) > 3:
            assert value not in caught.value.what
    return caught.value


def code_of(parse: t.Callable[..., object], *args: object) -> str:
    return refused(parse, *args).code
