"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun.

    >>> counted(1, "request"), counted(2_000, "request"), counted(0, "batch", "batches")
    ('1 request', '2,000 requests', '0 batches')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def ordinal(number: int) -> str:
    """Return which one it is.

    >>> [ordinal(number) for number in (1, 2, 3, 4, 11, 112, 1_523)]
    ['1st', '2nd', '3rd', '4th', '11th', '112th', '1,523rd']
    """
    is_teen = number // 10 % 10 == 1
    return f"{number:,}{'th' if is_teen else _ENDINGS.get(number % 10, 'th')}"


_ENDINGS = {1: "st", 2: "nd", 3: "rd"}
