"""Finding the contacts for which the API refuses a whole batch (API note, section 4.3).

One bad contact prevents the whole batch, and the answer need not say which. `search` decides
what to send next; it sends nothing itself, so that it can be read, tested and simulated without
a network. Three rules hold throughout:

- what was accepted is never sent again;
- a contact is refused for good only when it was sent alone and refused;
- contacts that share an identifier reach the API in the order of the input.
"""

from __future__ import annotations

import math
import sys
import typing as t
from collections import Counter, deque
from dataclasses import dataclass

if t.TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from target_mainbrainer.delivery.pending_contact import PendingContact

_HARDLY_EVER_ALONE = 0.38
"""Share of bad contacts above which nothing beats sending one by one (arXiv 1801.02701)."""

_RECENT = 10
"""Contacts looked back at to notice a cluster of bad ones."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send these contacts in one request; `alone` means: to the endpoint for one contact.

    A contact that is refused alone, and was not merged, is refused for good.
    """

    contacts: Sequence[PendingContact]
    alone: bool = False


@dataclass(frozen=True, slots=True)
class SendResult:
    """How one request ended, as far as the search has to know.

    Attributes:
        passed: It was accepted.
        suspects: The contacts that a refusal names; often none.
        too_large: It was refused for its size alone.
    """

    passed: bool
    suspects: Sequence[PendingContact] = ()
    too_large: bool = False


Search: t.TypeAlias = "Generator[Send, SendResult, None]"


class FailureRate:
    """How often contacts of one destination are refused, from all its batches so far.

    Contacts that an answer names cost no search and do not count as bad here: while the API
    names them, full batches are best.
    """

    def __init__(self) -> None:
        self._seen = 0
        self._bad = 0
        self._most = sys.maxsize

    def add(self, seen: int, bad: int = 0) -> None:
        """Count contacts whose outcome is known."""
        self._seen += seen
        self._bad += bad

    def too_large(self, size: int) -> None:
        """Remember that a request of so many contacts was too large."""
        self._most = min(self._most, max(1, size // 2))

    def group_size(self, most: int, recent: Iterable[bool] = ()) -> int:
        """Return how many contacts to send so that a pass is as likely as a refusal.

        Then each answer tells most. Two or more bad ones among the last few mean that they come
        in a cluster, and the cluster's rate counts.

        >>> rate = FailureRate()
        >>> rate.add(10_000)
        >>> rate.group_size(100)
        100
        >>> rate.add(0, bad=135)
        >>> rate.group_size(100)
        51
        >>> rate.group_size(100, recent=[True] * 5 + [False] * 5)
        1
        """
        most = min(most, self._most)
        cluster = sum(recent)
        if self._bad == 0 and cluster < 2:  # noqa: PLR2004 - one is no cluster
            return most
        share = (self._bad + 0.35) / (self._seen + 100)
        if cluster > 1:
            share = max(share, cluster / _RECENT)
        if share > _HARDLY_EVER_ALONE:
            return 1
        return max(1, min(most, round(math.log(0.5) / math.log1p(-share))))


def search(contacts: Sequence[PendingContact], rate: FailureRate, *, alone: bool = False) -> Search:
    """Yield what to send until every contact is accepted, or refused for good.

    Args:
        contacts: What to deliver, in order; no two of the same identity.
        rate: Shared by all batches for the same destination.
        alone: Send each contact alone from the start (`write_mode: single`).
    """
    queue = deque(contacts)
    recent: deque[bool] = deque(maxlen=_RECENT)
    while queue:
        size = 1 if alone else rate.group_size(len(queue), recent)
        group = [queue.popleft() for _ in range(min(size, len(queue)))]
        # What is left of a batch goes alone; a batch of one contact is still a batch.
        is_alone = alone or (len(group) == 1 and len(contacts) > 1)
        result = yield Send(group, alone=is_alone)
        if result.passed:
            _remember(rate, recent, good=len(group))
        elif result.too_large and len(group) > 1:
            rate.too_large(len(group))
            queue.extendleft(reversed(group))
        elif suspects := _free_to_overtake(group, result.suspects):
            for suspect in suspects:
                yield from _send_alone(suspect)
            queue.extendleft(c for c in reversed(group) if c not in suspects)
        else:
            untried = yield from _find_one(group, recent, rate, is_proven=is_alone)
            queue.extendleft(reversed(untried))


def _find_one(
    group: list[PendingContact], recent: deque[bool], rate: FailureRate, *, is_proven: bool
) -> Generator[Send, SendResult, list[PendingContact]]:
    """Find one bad contact in a refused group by halves.

    Args:
        group: Was refused as a whole.
        recent: Takes what is learnt.
        rate: Likewise.
        is_proven: The group is a single contact that was sent alone.

    Returns:
        What has not been tried, in order.
    """
    untried: list[PendingContact] = []
    while len(group) > 1:
        middle = len(group) // 2
        left, right = group[:middle], group[middle:]
        is_alone = len(left) == 1
        result = yield Send(left, alone=is_alone)
        if result.passed:
            recent.extend([False] * min(len(left), _RECENT))
            group, is_proven = right, False
        else:
            group, untried = left, right + untried
            is_proven = is_alone
    (contact,) = group
    if is_proven:
        yield from _take_apart(contact)
    else:
        # Deduced so far: the others passed, so it must be this one. See what the API says of it.
        is_proven = yield from _send_alone(contact)
    if is_proven:
        _remember(rate, recent, bad=1)
    return untried


def _send_alone(contact: PendingContact) -> Generator[Send, SendResult, bool]:
    """Send a contact alone, taken apart if it is refused; return whether it was."""
    result = yield Send([contact], alone=True)
    if not result.passed:
        yield from _take_apart(contact)
    return not result.passed


def _take_apart(contact: PendingContact) -> Generator[Send, SendResult, None]:
    """Send the parts of a merged contact that was refused alone, so that the good ones pass.

    In input order, and by halves, because one bad record in a hundred is the usual case.
    """
    if contact.is_merged:
        for half in contact.halves():
            yield from _send_alone(half)


def _remember(rate: FailureRate, recent: deque[bool], *, good: int = 0, bad: int = 0) -> None:
    rate.add(good + bad, bad)
    recent.extend([False] * min(good, _RECENT))
    recent.extend([True] * bad)


def _free_to_overtake(
    group: list[PendingContact], suspects: Sequence[PendingContact]
) -> list[PendingContact]:
    """Return the suspects, unless sending them first would break the order of an identifier.

    If one of them shares an identifier with another contact of the group, none is singled out,
    and the search by halves, which keeps the order, finds them. Naming all names none.
    """
    if not suspects or len(suspects) >= len(group):
        return []
    shared = Counter(key for contact in group for key in contact.identifiers)
    if any(shared[key] > 1 for contact in suspects for key in contact.identifiers):
        return []
    return list(suspects)
