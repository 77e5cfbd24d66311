"""Contacts to load: made from their numbers alone, so they are the same every time.

No real person is in them. E-mail addresses are under domains reserved for examples. Mobile numbers
have the length that numbers of their country have, and begin as no subscriber's number there does.
"""

from __future__ import annotations

import typing as t
from decimal import Decimal

import msgspec

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Columns: t.TypeAlias = dict[str, t.Any]

RECORDS_PER_STATE = 10_000
MOST_RECORDS = 10_000_000
SETTINGS: t.Final = {"default_country_code": 47}
"""What the target has to know about these contacts."""

_FIRST = ("Ola", "Kari", "Åse", "Jürgen", "Chloé", "Anna-Lena", "Søren", "Maja", "Li", "Zoë")
_LAST = ("Nordmann", "Hansen", "Ødegård", "Müller", "O'Neill", "van Dijk", "Garcia Lopez", "Berg")
_CITIES = ("Oslo", "Tromsø", "København", "Malmö", "Leeds", "Sevilla", "Köln", "Rotterdam", "Graz")
_ENDS = ("com", "org", "net")
_SPELLINGS: tuple[Callable[[str], str], ...] = (  # each holds all seven digits it is given
    lambda n: f"+47 1{n[:2]} {n[2:4]} {n[4:]}",
    lambda n: f"+471{n}",
    lambda n: f"00451{n}",
    lambda n: f"+45 1{n[:3]} {n[3:]}",
    lambda n: f"+1 (2{n[:2]}) 0{n[2:4]}-1{n[4:]}",
    lambda n: f"+1-2{n[:2]}-0{n[2:4]}-1{n[4:]}",
    lambda n: f"+44 (0)60 {n[:4]} 1{n[4:]}",
    lambda n: f"+34 10.{n[:3]}.{n[3:]}",
    lambda n: f"1{n[:2]} {n[2:4]} {n[4:]}",
)

_TEXT = {"type": ["string", "null"]}
_INTEGER = {"type": ["integer", "null"]}
_NUMBER = {"type": ["number", "null"]}
_BOOLEAN = {"type": ["boolean", "null"]}
_DATE = {"type": ["string", "null"], "format": "date"}
_TIME = {"type": ["string", "null"], "format": "date-time"}


class Shape(t.NamedTuple):
    """What the records of a stream look like.

    Attributes:
        columns: Their schemas.
        make: Makes the record of a number.
    """

    name: str
    columns: Columns
    make: Callable[[int], Columns]


def _flat(number: int) -> Columns:
    seven = f"{number * 7_654_321 % MOST_RECORDS:07}"
    first, last = _FIRST[number % 10], _LAST[number // 10 % 8]
    # One in 101 has an address that is not plain ASCII, as some really do.
    mailbox = f"{first if number % 101 == 0 else 'contact'}.{number}"
    host = f"mail{number * 31 % 997}.example.{_ENDS[number % 3]}"
    return {
        "id": number,
        "email": f"{mailbox}@{host}",
        "mobile": None if number % 11 == 0 else _SPELLINGS[number % len(_SPELLINGS)](seven),
        "email_opt_in": (True, False, None)[number % 3],
        "mobile_opt_in": (True, False)[number % 2],
        "firstname": first,
        "lastname": last,
        "street": f"{last} gate {number % 211}",
        "postcode": seven[:4],
        "city": _CITIES[number % 9],
        "birth_date": f"{1940 + number % 70}-{1 + number % 12:02}-{1 + number % 28:02}",
        "updated_at": f"2026-{1 + number % 12:02}-17T{number % 24:02}:{number % 60:02}:09+00:00",
        "balance": Decimal(number * 17 % 1_000_003).scaleb(-2),
    }


_FLAT = Shape(
    "flat",
    {
        "id": {"type": "integer"},
        "email": _TEXT,
        "mobile": _TEXT,
        "email_opt_in": _BOOLEAN,
        "mobile_opt_in": _BOOLEAN,
        "firstname": _TEXT,
        "lastname": _TEXT,
        "street": _TEXT,
        "postcode": _TEXT,
        "city": _TEXT,
        "birth_date": _DATE,
        "updated_at": _TIME,
        "balance": _NUMBER,
    },
    _flat,
)


def _nested(number: int) -> Columns:
    flat = _flat(number)
    flat["address"] = {name: flat.pop(name) for name in ("street", "postcode", "city")}
    flat["address"]["position"] = {"lat": Decimal("59.91"), "lon": Decimal("10.75")}
    flat["interests"] = ["sailing", "chess", "Jazz"][: number % 4]
    flat["orders"] = [{"id": number + k, "total": flat["balance"]} for k in range(number % 3)]
    return flat


_NESTED = Shape(
    "nested",
    {
        name: what
        for name, what in _FLAT.columns.items()
        if name not in ("street", "postcode", "city")
    }
    | {
        "address": {
            "type": "object",
            "properties": {
                "street": _TEXT,
                "postcode": _TEXT,
                "city": _TEXT,
                "position": {"type": "object", "properties": {"lat": _NUMBER, "lon": _NUMBER}},
            },
        },
        "interests": {"type": "array", "items": {"type": "string"}},
        "orders": {
            "type": "array",
            "items": {"type": "object", "properties": {"id": _INTEGER, "total": _NUMBER}},
        },
    },
    _nested,
)

_KINDS = (_TEXT, _INTEGER, _NUMBER, _BOOLEAN, _DATE, _TIME, _TEXT)
_MORE = {f"field_{place}": _KINDS[place % len(_KINDS)] for place in range(80 - len(_FLAT.columns))}


def _wide(number: int) -> Columns:
    record = _flat(number)
    values = (
        f"value {number % 977}",
        number * 13 % 100_003,
        record["balance"],
        number % 2 == 0,
        record["birth_date"],
        record["updated_at"],
        None,
    )
    return record | {name: values[place % len(values)] for place, name in enumerate(_MORE)}


def _narrow(number: int) -> Columns:
    record = _flat(number)
    return {"id": record["id"], "email": record["email"]}


SHAPES: t.Final = {
    shape.name: shape
    for shape in (
        _FLAT,
        _NESTED,
        Shape("wide", _FLAT.columns | _MORE, _wide),
        Shape("narrow", {name: _FLAT.columns[name] for name in ("id", "email")}, _narrow),
    )
}


def messages(shape: Shape, records: int, *, changed_percent: int = 0) -> Iterator[bytes]:
    """Yield the Singer messages of a tap: SCHEMA, RECORD, and a STATE now and then.

    Args:
        shape: What the records look like.
        records: How many there are.
        changed_percent: How many of them have another city than they usually have.
    """
    encode = msgspec.json.Encoder(decimal_format="number").encode
    schema = {"type": "object", "properties": shape.columns}
    yield encode(
        {"type": "SCHEMA", "stream": shape.name, "schema": schema, "key_properties": ["id"]}
    )
    head = f'{{"type":"RECORD","stream":"{shape.name}","record":'.encode()
    for number in range(1, records + 1):
        record = shape.make(number)
        if number % 100 < changed_percent:
            record["city"] = "Bergen"
        yield head + encode(record) + b"}"
        if number % RECORDS_PER_STATE == 0 or number == records:
            yield encode({"type": "STATE", "value": {"bookmarks": {shape.name: {"id": number}}}})


def write(path: Path, shape: str, records: int, *, changed_percent: int = 0) -> Path:
    """Write an input, unless it is there already."""
    if not path.exists():
        part = path.with_suffix(".part")
        with part.open("wb") as lines:
            for message in messages(SHAPES[shape], records, changed_percent=changed_percent):
                lines.write(message + b"\n")
        part.rename(path)
    return path
