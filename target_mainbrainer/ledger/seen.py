"""Which entries a run has met: a bit for each, so that a million take 125 kB."""

from __future__ import annotations


class Seen:
    """A set of small positive numbers, in a bit each.

    >>> seen = Seen()
    >>> seen.add(7)
    >>> 7 in seen, 8 in seen, 7_000_000 in seen
    (True, False, False)
    """

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, number: int) -> None:
        """Put a number in."""
        place = number >> 3
        if place >= len(self._bits):
            self._bits.extend(bytes(place + 4096 - len(self._bits)))
        self._bits[place] |= 1 << (number & 7)

    def __contains__(self, number: int) -> bool:
        place = number >> 3
        return place < len(self._bits) and bool(self._bits[place] >> (number & 7) & 1)
