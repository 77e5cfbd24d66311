"""Batches: contacts of one round that are sent in one request."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from target_mainbrainer.rounds.accepted import Kind

if t.TYPE_CHECKING:
    from collections.abc import Sequence

    from target_mainbrainer.report.rejects import SourceStream
    from target_mainbrainer.rounds.accepted import Destination
    from target_mainbrainer.rounds.round import Upsert


@dataclass(eq=False)
class Batch:
    """Contacts that are sent together.

    Attributes:
        stream: The stream that they come from; None if no record asks for them.
        kind: What the batch is expected to do.
        is_probe: Its only contact was accepted before, and is sent once more to see whether
            requests are refused by now.
        has_begun: A thread is sending it, or has sent it.
        is_done: Nothing more is sent of it.
        may_be_applied: It ended with a request of which it is not known whether it was applied.
    """

    destination: Destination
    kind: Kind
    stream: SourceStream | None
    upserts: Sequence[Upsert]
    is_probe: bool = False
    has_begun: bool = False
    is_done: bool = False
    may_be_applied: bool = False


def cut(upserts: Sequence[Upsert], size: int) -> list[Batch]:
    """Return the batches that contacts are sent in, each for one place and of one kind."""
    groups: dict[tuple[Destination, Kind, str | None], list[Upsert]] = {}
    for upsert in upserts:
        # The records of a contact that moves are booked when its status shows that it has moved.
        is_counted = upsert.moving_id is None
        name = upsert.stream.name if upsert.stream and is_counted else None
        groups.setdefault((upsert.destination, upsert.kind, name), []).append(upsert)
    return [
        Batch(
            destination,
            kind,
            None if name is None else group[0].stream,
            group[start : start + size],
        )
        for (destination, kind, name), group in groups.items()
        for start in range(0, len(group), size)
    ]


def as_batch(upserts: Sequence[Upsert]) -> Batch:
    """Return contacts that no record asks for, and that are sent together, as a batch."""
    return Batch(upserts[0].destination, Kind.OTHER, None, upserts)
