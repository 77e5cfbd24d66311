"""JSON as taps really write it."""

from __future__ import annotations

import json
import re
import typing as t
from decimal import Decimal

import msgspec
from singer_sdk.contrib.msgspec import decoder

from target_mainbrainer.contacts.too_deep import TOO_DEEP

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

DEEPEST_LEVEL = 200
"""Arrays and objects inside each other that are read; what is deeper is left out and marked."""

_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_MARK = "-Infinity"
"""Put in for what is too deep; a decoded constant is easily told from any text or number."""


def decode_json(line: bytes) -> t.Any:  # noqa: ANN401 - any JSON value
    r"""Decode a line of JSON, fractions as `Decimal` with the digits they have.

    What the quick decoder refuses gets a second try: Python's own writes NaN and lone surrogates,
    so taps do, and one such value should cost one record, not the run. For the same reason what
    is nested too deeply becomes `TOO_DEEP`.

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
        return json.loads(
            _without_depths(text),
            parse_float=_fraction,
            parse_int=_whole,
            parse_constant=_constant,
        )


def _without_depths(text: str) -> str:
    """Return a JSON text with a mark in the place of everything that is nested too deeply."""
    parts = []
    level = kept_until = 0
    for token in _TOKENS.finditer(text):
        match token[0]:
            case "[" | "{":
                level += 1
                if level == DEEPEST_LEVEL:
                    parts.append(text[kept_until : token.start()])
            case "]" | "}":
                if level == DEEPEST_LEVEL:
                    parts.append(_MARK)
                    kept_until = token.end()
                level -= 1
            case _:
                pass
    return "".join([*parts, text[kept_until:]]) if level == 0 else text[:0]


def _constant(name: str) -> object:
    return TOO_DEEP if name == _MARK else float(name)


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
