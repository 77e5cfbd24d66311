"""JSON as taps really write it."""

from __future__ import annotations

import json
import typing as t
from decimal import Decimal

import msgspec
from singer_sdk.contrib.msgspec import decoder

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def decode_json(line: bytes) -> t.Any:  # noqa: ANN401 - any JSON value
    r"""Decode a line of JSON, fractions as `Decimal` with the digits they have.

    What the quick decoder refuses gets a second try: Python's own writes NaN and lone surrogates,
    so taps do, and one such value should cost one record, not the run.

    >>> decode_json(b'{"price": 12.50, "name": "\\ud800"}')
    {'price': Decimal('12.50'), 'name': '\ud800'}

    Raises:
        ValueError: It is no JSON in UTF-8.
    """
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError):
        text = line.removeprefix(_BYTE_ORDER_MARK).decode("utf-8")
        try:
            return json.loads(text, parse_float=_fraction, parse_int=_whole)
        except RecursionError:
            msg = "nested too deep"
            raise ValueError(msg) from None


def _fraction(text: str) -> Decimal | float:
    """Return a number with a fraction; infinity if it is beyond even `Decimal`."""
    try:
        return Decimal(text)
    except ArithmeticError:
        return float(text)


def _whole(text: str) -> int | Decimal:
    """Return a whole number, even one of more digits than Python reads as an `int`."""
    try:
        return int(text)
    except ValueError:
        return Decimal(text)
