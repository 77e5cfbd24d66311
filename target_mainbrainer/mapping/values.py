"""What a property's value is sent as: always a text."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import typing as t
import uuid

import msgspec

from target_mainbrainer.contacts.contact import PropertyRef
from target_mainbrainer.contacts.rejection import RejectionCode
from target_mainbrainer.contacts.too_deep import holds_too_deep

if t.TYPE_CHECKING:
    from collections.abc import Callable


class InvalidValueError(ValueError):
    """A value that cannot be sent.

    Attributes:
        code: What the rejection will be grouped by.
        what: The rest of a sentence that starts with the column; never repeats the value.
    """

    def __init__(self, code: RejectionCode, what: str) -> None:
        super().__init__(code)
        self.code = code
        self.what = what


_MOST_PLAIN_DIGITS = 400
"""Beyond the largest float; an exponent past this is left as it is instead of written out."""

_ENCODER = msgspec.json.Encoder(decimal_format="number")

_NOT_A_NUMBER = (
    "holds NaN or an infinity, which is no number and cannot be written in JSON; let the tap "
    "send null instead"
)
_UNSENDABLE_TEXT = (
    "holds half a character (a lone UTF-16 surrogate), which cannot be written as UTF-8"
)
_TOO_DEEP = "is nested too deeply"


def check_text(text: str) -> str:
    r"""Return a text that can be sent, unchanged.

    Everything that UTF-8 can carry passes, emoji, right-to-left marks and NUL included: what
    the CRM makes of those is its decision.

    >>> check_text("Åse\0")
    'Åse\x00'

    Raises:
        InvalidValueError: It holds a lone surrogate.
    """
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidValueError(RejectionCode.UNSENDABLE_TEXT, _UNSENDABLE_TEXT) from None
    return text


def property_text(value: object) -> str:
    """Return a value as the text that a property takes, its meaning unchanged.

    Properties are always texts, and no page says how a number or a choice of several should
    look in one (API note, section 8.5). So: numbers with the digits the record had and never
    with an exponent, dates and times in ISO 8601, arrays of plain values joined with `;` (as
    JSON if one of them holds a `;` itself, or could not be told from the next), and what is
    nested deeper as compact JSON.

    >>> property_text(decimal.Decimal("12.50")), property_text(True), property_text(["a", 1])
    ('12.50', 'true', 'a;1')
    >>> property_text({"zip": "0236", "floors": [1, 2]})
    '{"zip":"0236","floors":[1,2]}'

    Raises:
        InvalidValueError: The value cannot be written as text.
    """
    text = _scalar_text(value)
    if text is not None:
        return text
    if isinstance(value, list | tuple):
        parts = [_scalar_text(item) if item is not None else "" for item in value]
        if None not in parts and not any(";" in t.cast("str", part) for part in parts):
            plain = (
                t.cast("str", part)
                for part, item in zip(parts, value, strict=True)
                if item is not None
            )
            return ";".join(plain)
    return _json_text(value)


def _scalar_text(value: object) -> str | None:
    """Return a plain value as text, or None if it is not plain."""
    write = PLAIN_WRITERS.get(type(value))
    if write is None:  # a subclass, or not plain
        write = next((w for kind, w in PLAIN_WRITERS.items() if isinstance(value, kind)), None)
    return None if write is None else write(value)


def _integer_text(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # Python refuses to write out more than 4300 digits; decimal does not.
        return format(decimal.Decimal(value), "f")


def _decimal_text(value: decimal.Decimal) -> str:
    if not value.is_finite():
        raise InvalidValueError(RejectionCode.NOT_A_NUMBER, _NOT_A_NUMBER)
    text = str(value)
    if "E" in text and abs(value.adjusted()) < _MOST_PLAIN_DIGITS:
        return format(value, "f")
    return text


PLAIN_WRITERS: dict[type[object], Callable[[t.Any], str]] = {
    str: check_text,
    bool: lambda value: "true" if value else "false",
    int: _integer_text,
    decimal.Decimal: _decimal_text,
    float: lambda value: _decimal_text(decimal.Decimal(repr(float(value)))),
    dt.date: lambda value: value.isoformat(),  # a datetime is a date, too
    dt.time: lambda value: value.isoformat(),
    uuid.UUID: str,
}
"""How a plain value becomes text, by its exact type."""


def _json_text(value: object) -> str:
    try:
        text = _ENCODER.encode(value).decode()
        # The encoder writes a float NaN as null and a Decimal NaN as NaN.
        is_number_missing = ("null" in text or "N" in text or "I" in text) and holds_nan(value)
    except UnicodeEncodeError:
        raise InvalidValueError(RejectionCode.UNSENDABLE_TEXT, _UNSENDABLE_TEXT) from None
    except RecursionError:
        raise InvalidValueError(RejectionCode.UNSENDABLE_VALUE, _TOO_DEEP) from None
    except (TypeError, ValueError, OverflowError):
        kind = type(value).__name__
        what = f"holds a {kind}, or holds it inside, that JSON cannot carry"
        if holds_too_deep(value):
            what = _TOO_DEEP
        raise InvalidValueError(RejectionCode.UNSENDABLE_VALUE, what) from None
    if is_number_missing:
        raise InvalidValueError(RejectionCode.NOT_A_NUMBER, _NOT_A_NUMBER)
    return text


def holds_nan(value: object) -> bool:
    """Return whether a value is, or holds inside, a number that JSON cannot carry."""
    if isinstance(value, dict):
        return any(map(holds_nan, value.values()))
    if isinstance(value, list | tuple):
        return any(map(holds_nan, value))
    if isinstance(value, float):
        return value - value != 0
    return isinstance(value, decimal.Decimal) and not value.is_finite()


# The API's own shape -------------------------------------------------------------------------

_SHAPE = (
    "is not an array of properties in the API's own shape, each with 'propertyname' or "
    "'propertyid', and 'propertyvalue'"
)


def parse_property_fields(value: object) -> list[tuple[PropertyRef, object]]:
    """Return the properties of an array in the API's own shape, in its order.

    Both spellings of the API's pages are understood, `propertyid` and `propertyId` (API note,
    C1). Ids and names pass unjudged. The array may also come as JSON text, which is what
    flattening makes of it.

    >>> parse_property_fields([{"propertyname": "city", "propertyvalue": "Oslo"}])
    [(PropertyRef(property_id=None, name='city'), 'Oslo')]

    Raises:
        InvalidValueError: It has another shape.
    """
    if isinstance(value, str):
        if not value.strip():
            return []
        try:
            value = json.loads(value, parse_float=decimal.Decimal)
        except (ValueError, RecursionError, decimal.InvalidOperation):
            raise InvalidValueError(RejectionCode.INVALID_PROPERTIES, _SHAPE) from None
    if not isinstance(value, list | tuple):
        raise InvalidValueError(RejectionCode.INVALID_PROPERTIES, _SHAPE)
    return [_property_field(item) for item in value]


def _property_field(item: object) -> tuple[PropertyRef, object]:
    if not isinstance(item, dict):
        raise InvalidValueError(RejectionCode.INVALID_PROPERTIES, _SHAPE)
    parts = {str(key).lower().replace("_", ""): part for key, part in item.items()}
    property_id = parts.get("propertyid") or None
    name = parts.get("propertyname") or None
    for part in (property_id, name):
        if part is not None and not isinstance(part, str):
            raise InvalidValueError(RejectionCode.INVALID_PROPERTIES, _SHAPE)
        check_text(part or "")
    if (property_id is None and name is None) or "propertyvalue" not in parts:
        raise InvalidValueError(RejectionCode.INVALID_PROPERTIES, _SHAPE)
    return PropertyRef(property_id, name), parts["propertyvalue"]
