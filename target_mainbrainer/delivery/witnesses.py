"""Contacts that passed lately: they tell a fault of the request from a fault of its contacts."""

from __future__ import annotations

import typing as t
from collections import deque

if t.TYPE_CHECKING:
    from collections.abc import Collection, Hashable

    from target_mainbrainer.delivery.batch import Destination
    from target_mainbrainer.delivery.pending_contact import PendingContact

KEPT = 3
"""Witnesses kept for each destination, each of another batch."""


class Witness(t.NamedTuple):
    """A contact that was accepted.

    Attributes:
        keys: Whatever orders it: its identifiers and source keys.
        alone: It was sent to the endpoint for one contact.
    """

    contact: PendingContact
    keys: set[Hashable]
    alone: bool


class Witnesses:
    """A few accepted contacts for each destination, of which no newer record has come since.

    So each may be sent once more exactly as it was, without overwriting anything newer. Not
    thread-safe by itself: the queue calls it under its own lock.
    """

    def __init__(self) -> None:
        self._kept: dict[Destination, deque[Witness]] = {}
        self._places: dict[Hashable, tuple[Destination, Witness]] = {}

    def keep(self, destination: Destination, witness: Witness) -> None:
        """Remember a witness, and forget the oldest one if there are enough."""
        kept = self._kept.setdefault(destination, deque())
        kept.append(witness)
        self._places.update(dict.fromkeys(witness.keys, (destination, witness)))
        if len(kept) > KEPT:
            self._drop(destination, kept[0])

    def forget(self, keys: Collection[Hashable]) -> None:
        """Forget the witnesses that have one of these keys."""
        for key in self._places.keys() & keys:
            if key in self._places:  # it may have gone with another key
                self._drop(*self._places[key])

    def of(self, destination: Destination) -> list[Witness]:
        """Return the witnesses of a destination, the newest first."""
        return list(reversed(self._kept.get(destination, ())))

    def _drop(self, destination: Destination, witness: Witness) -> None:
        self._kept[destination].remove(witness)
        for key in witness.keys:
            del self._places[key]
