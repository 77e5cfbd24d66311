"""Outcomes that wait to be written, also after the database could not take them."""

from __future__ import annotations

from target_mainbrainer.ledger.marking import Mark
from target_mainbrainer.ledger.pending_outcomes import Delivered, PendingOutcomes


def mark(number: int) -> Mark:
    return Mark(
        token=number,
        key=f"[{number}]",
        content=b"",
        fields=b"",
        identity="[7]",
        identity_hash=number,
        source_identity=None,
        mobile_opt_in=None,
        email_opt_in=None,
        is_move=False,
    )


def test_what_could_not_be_written_waits_with_what_came_meanwhile() -> None:
    """An older outcome stays before a newer one, and no doubt is forgotten."""
    pending = PendingOutcomes()
    older, newer = Delivered([mark(1)], "a", 1), Delivered([mark(2)], "b", 1)
    pending.delivered(older, in_doubt=True)
    pending.refused([mark(3)])
    pending.ended("c")
    taken = pending.take()
    assert pending.take().is_empty
    pending.delivered(newer, in_doubt=True)
    pending.refused([mark(4)])
    pending.failed("d")
    pending.put_back(taken)
    assert pending.contacts == 2
    again = pending.take()
    assert again.delivered == [older, newer]
    assert again.doubts == {1, 2}
    assert [one.token for one in again.refused] == [3, 4]
    assert (again.ended, again.failed) == (["c"], ["d"])
