"""Finding the contacts for which the API refuses a whole batch (API note, section 4.3).

One bad contact prevents the whole batch, and the answer need not say which. `deliver` decides
what to send next; it sends nothing itself, so that it can be read, tested and simulated without
a network. Three rules hold throughout:

- what passes is written, so it is never sent again;
- a contact is blamed only after it was sent alone and refused again;
- contacts that share an identifier reach the API in the order of the input.
"""

from __future__ import annotations

import math
import sys
import typing as t
from collections import Counter, deque
from dataclasses import dataclass

if t.TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Iterable, Sequence

    from target_mainbrainer.buffer import Entry

WITNESSES = 10
"""Contacts refused alone, all in the same words, before the request is blamed instead."""

_HARDLY_EVER_ALONE = 0.38
"""Share of bad contacts above which nothing beats sending one by one (arXiv 1801.02701)."""

_RECENT = 10
"""Contacts looked back at to notice a cluster of bad ones."""


class Verdict(t.NamedTuple):
    """What became of one request, as far as the search has to know.

    Attributes:
        passed: It was accepted.
        signature: What a refusal said (status and message); equal for equal reasons.
        suspects: Entries that the refusal names; often none.
        too_large: It was refused for its size alone, before anybody looked into it.
    """

    passed: bool
    signature: Hashable = None
    suspects: Sequence[Entry] = ()
    too_large: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """Send these entries in one request; `alone` means: to the one-contact endpoint."""

    entries: Sequence[Entry]
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Blame:
    """This entry was refused alone; `signature` is what the API said about it."""

    entry: Entry
    signature: Hashable


class RequestAtFaultError(Exception):
    """Whatever is sent is refused in the same words: the fault is not the contacts'.

    Attributes:
        signature: What the refusals said.
    """

    def __init__(self, signature: Hashable) -> None:
        super().__init__("every contact is refused for the same reason")
        self.signature = signature


Search: t.TypeAlias = "Generator[Send | Blame, Verdict, None]"


class Experience:
    """What earlier batches of the same kind have taught about the next one.

    Contacts that an answer names cost no search and do not count as bad here: while the API
    names them, full batches are best.
    """

    def __init__(self) -> None:
        self._seen = 0
        self._bad = 0
        self._most = sys.maxsize

    def add(self, seen: int, bad: int = 0) -> None:
        """Count contacts whose fate is known."""
        self._seen += seen
        self._bad += bad

    def too_large(self, size: int) -> None:
        """Remember that a request of so many contacts was too large."""
        self._most = min(self._most, max(1, size // 2))

    def group_size(self, most: int, recent: Iterable[bool] = ()) -> int:
        """Return how many contacts to send so that a pass is as likely as a refusal.

        Then each answer tells most. Two or more bad ones among the last few mean that they come
        in a cluster, and the cluster's rate counts.

        >>> experience = Experience()
        >>> experience.add(10_000)
        >>> experience.group_size(100)
        100
        >>> experience.add(0, bad=135)
        >>> experience.group_size(100)
        51
        >>> experience.group_size(100, recent=[True] * 5 + [False] * 5)
        1
        """
        most = min(most, self._most)
        cluster = sum(recent)
        if self._bad == 0 and cluster < 2:  # noqa: PLR2004 - one is no cluster
            return most
        rate = (self._bad + 0.35) / (self._seen + 100)
        if cluster > 1:
            rate = max(rate, cluster / _RECENT)
        if rate > _HARDLY_EVER_ALONE:
            return 1
        return max(1, min(most, round(math.log(0.5) / math.log1p(-rate))))


def deliver(
    entries: Sequence[Entry],
    *,
    experience: Experience,
    alone: bool = False,
    passes: Callable[[], int] = lambda: 0,
) -> Search:
    """Yield what to send and whom to blame until every entry has landed or is blamed.

    Args:
        entries: What to deliver, in order; no two of the same identity.
        experience: Shared by all batches that go the same way.
        alone: Send each one alone from the start (`write_mode: single`).
        passes: How many requests have passed so far, others' included; a pass between two
            refusals means that the request as such is fine.

    Raises:
        RequestAtFaultError: The request as such is refused, and nobody in it is to blame.
    """
    queue = deque(entries)
    recent: deque[bool] = deque(maxlen=_RECENT)
    doubt = _Doubt(passes)
    while queue:
        size = 1 if alone else experience.group_size(len(queue), recent)
        group = [queue.popleft() for _ in range(min(size, len(queue)))]
        # What is left of a batch goes alone; a batch of one contact is still a batch.
        single = alone or (len(group) == 1 and len(entries) > 1)
        verdict = yield Send(group, alone=single)
        if verdict.passed:
            _remember(experience, recent, good=len(group))
        elif verdict.too_large and len(group) > 1:
            experience.too_large(len(group))
            queue.extendleft(reversed(group))
        elif suspects := _free_to_overtake(group, verdict.suspects):
            for entry in suspects:
                answer = yield Send([entry], alone=True)
                if not answer.passed:
                    yield Blame(entry, answer.signature)
            queue.extendleft(e for e in reversed(group) if e not in suspects)
        else:
            culprit, rest = yield from _search(group, verdict, proven=single, recent=recent)
            queue.extendleft(reversed(rest))
            if culprit is not None:
                _remember(experience, recent, bad=1)
                yield from _call_witnesses(culprit, queue, doubt)


class _Doubt:
    """Whether anything at all has passed since this batch began."""

    def __init__(self, passes: Callable[[], int]) -> None:
        self._passes = passes
        self._start = passes()

    def something_passed(self) -> bool:
        return self._passes() > self._start


def _remember(experience: Experience, recent: deque[bool], *, good: int = 0, bad: int = 0) -> None:
    experience.add(good + bad, bad)
    recent.extend([False] * min(good, _RECENT))
    recent.extend([True] * bad)


def _search(
    group: list[Entry], verdict: Verdict, *, proven: bool, recent: deque[bool]
) -> Generator[Send | Blame, Verdict, tuple[Blame | None, list[Entry]]]:
    """Find one culprit in a refused group by halves.

    Returns:
        The culprit, or None if what was left over passed when it was sent alone; and what has
        not been tried, in order.
    """
    untried: list[Entry] = []
    while len(group) > 1:
        middle = len(group) // 2
        left, right = group[:middle], group[middle:]
        proven = len(left) == 1
        verdict = yield Send(left, alone=proven)
        if verdict.passed:
            recent.extend([False] * min(len(left), _RECENT))
            group, proven = right, False
        else:
            group, untried = left, right + untried
    if not proven:
        # Deduced so far: the others passed, so it must be this one. Hear what the API says of it.
        verdict = yield Send(group, alone=True)
        if verdict.passed:
            return None, untried
    return Blame(group[0], verdict.signature), untried


def _free_to_overtake(group: list[Entry], suspects: Sequence[Entry]) -> list[Entry]:
    """Return the suspects, unless sending them first would change the order somebody sees.

    If one of them shares an identifier with another contact of the group, none is singled out,
    and the search by halves, which keeps the order, finds them. Naming everybody names nobody.
    """
    if not suspects or len(suspects) >= len(group):
        return []
    shared = Counter(key for entry in group for key in entry.identifiers)
    if any(shared[key] > 1 for entry in suspects for key in entry.identifiers):
        return []
    return list(suspects)


def _call_witnesses(culprit: Blame, queue: deque[Entry], doubt: _Doubt) -> Search:
    """Blame the culprit, unless everybody else would be refused in the same words.

    While nothing has passed, nine more are asked, from all over the batch.
    """
    blamed = [culprit]
    if doubt.something_passed():
        yield culprit
        return
    for entry in _spread(queue, WITNESSES - 1):
        queue.remove(entry)
        verdict = yield Send([entry], alone=True)
        if verdict.passed:
            break
        blamed.append(Blame(entry, verdict.signature))
        if verdict.signature != culprit.signature:
            break
    if (
        len(blamed) == WITNESSES
        and not doubt.something_passed()
        and all(blame.signature == culprit.signature for blame in blamed)
    ):
        raise RequestAtFaultError(culprit.signature)
    yield from blamed


def _spread(queue: Sequence[Entry], count: int) -> list[Entry]:
    """Choose entries evenly from a queue, none of which shares an identifier with another."""
    shared = Counter(key for entry in queue for key in entry.identifiers)
    free = [e for e in queue if all(shared[key] == 1 for key in e.identifiers)]
    if len(free) < count:
        return []
    return [free[(2 * i + 1) * len(free) // (2 * count)] for i in range(count)]
