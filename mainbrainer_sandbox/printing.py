"""Prints rows as a table or as JSON, one after the other, without collecting them."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

_ROWS_TO_JUDGE_WIDTHS_BY = 1000


def print_json(rows: Iterable[object]) -> None:
    """Print rows as an array of JSON, a line for each."""
    separator = "["
    for row in rows:
        sys.stdout.write(f"{separator}\n{msgspec.json.encode(row).decode()}")
        separator = ","
    sys.stdout.write("[]\n" if separator == "[" else "\n]\n")


def print_table(rows: Iterable[dict[str, Any]]) -> None:
    """Print rows as a table as wide as its first rows need; later, wider cells are not cut."""
    rest = iter(rows)
    head = list(itertools.islice(rest, _ROWS_TO_JUDGE_WIDTHS_BY))
    if not head:
        return
    shown = [name for name in head[0] if any(row[name] not in (None, "") for row in head)]
    widths = {
        name: max(len(name), *(len(_cell(row[name])) for row in head)) for name in shown or head[0]
    }

    def line(cells: Iterable[str]) -> None:
        padded = (one.ljust(width) for one, width in zip(cells, widths.values(), strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")

    line(widths)
    line("-" * width for width in widths.values())
    for row in itertools.chain(head, rest):
        line(_cell(row[name]) for name in widths)


def _cell(value: object) -> str:
    """Return a value on one line, without anything that could move a terminal's cursor."""
    text = "" if value is None else str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)
