"""Finding the contacts for which the API refuses a whole batch (API note, section 4.3).

One bad contact prevents the whole batch, and the answer need not say which. `deliver` decides
what to send next; it sends nothing itself, so that it can be read, tested and simulated without
a network. Three rules hold throughout:

- what passes is written, so it is never sent again;
- a contact is blamed only after it was sent alone and refused again, and if all are refused
  alike, none is;
- contacts that share an identifier reach the API in the order of the input.
"""

from __future__ import annotations

import itertools
import math
import sys
import threading
import typing as t
from collections import Counter, deque
from dataclasses import dataclass, replace

if t.TYPE_CHECKING:
    from collections.abc import Generator, Hashable, Iterable, Iterator, Sequence

    from target_mainbrainer.delivery.buffer import PendingContact

WITNESSES = 10
"""Contacts refused alone, all in the same words, before the request is blamed instead."""

DOUBT_AFTER = 8
"""Refusals in a row, of whoever sends, after which the request itself is in doubt."""

_HARDLY_EVER_ALONE = 0.38
"""Share of bad contacts above which nothing beats sending one by one (arXiv 1801.02701)."""

_RECENT = 10
"""Contacts looked back at to notice a cluster of bad ones."""


class SendResult(t.NamedTuple):
    """What became of one request, as far as the search has to know.

    Attributes:
        passed: It was accepted.
        signature: What a refusal said (status and message); equal for equal reasons.
        suspects: Entries that the refusal names; often none.
        too_large: It was refused for its size alone, before anybody looked into it.
        answer: Whatever should come back with a blame.
    """

    passed: bool
    signature: Hashable = None
    suspects: Sequence[PendingContact] = ()
    too_large: bool = False
    answer: t.Any = None


@dataclass(frozen=True, slots=True)
class Send:
    """Send these entries in one request; `alone` means: to the one-contact endpoint."""

    entries: Sequence[PendingContact]
    alone: bool = False


@dataclass(frozen=True, slots=True)
class ContactRejected:
    """This entry was refused alone; `verdict` is what the API said about it.

    Not `is_proven` means: nothing has passed since, and nobody is left in the batch to ask.
    """

    entry: PendingContact
    verdict: SendResult
    is_proven: bool = True


class RequestAtFaultError(Exception):
    """Whatever is sent is refused in the same words: the fault is not the contacts'.

    Attributes:
        verdict: The last of the refusals.
    """

    def __init__(self, verdict: SendResult) -> None:
        super().__init__("every contact is refused for the same reason")
        self.verdict = verdict


Search: t.TypeAlias = "Generator[Send | ContactRejected, SendResult, None]"


class Answers:
    """What all senders to one place have heard; shows whether the requests as such are fine.

    Only what was *sent* after a refusal was heard, and passed, shows that the refusal was not the
    request's fault: an answer may have been under way while the fault began.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refusals = 0
        self._in_a_row = 0
        self._newest_pass = -1

    @property
    def moment(self) -> int:
        """Now, for `passed` and `has_passed_since`: time is counted in refusals."""
        return self._refusals

    def passed(self, sent: int) -> None:
        """Note that a request passed which was sent at a moment."""
        with self._lock:
            self._newest_pass = max(self._newest_pass, sent)
            self._in_a_row = 0

    def refused(self) -> None:
        """Note a refusal."""
        with self._lock:
            self._refusals += 1
            self._in_a_row += 1

    def has_passed_since(self, moment: int) -> bool:
        """Tell whether something has passed that was sent at that moment or later."""
        return self._newest_pass >= moment

    @property
    def is_doubtful(self) -> bool:
        """Whether so many were refused in a row that the request itself may be at fault."""
        return self._in_a_row >= DOUBT_AFTER

    @property
    def is_proven(self) -> bool:
        """Whether anything has ever passed, and the request is not in doubt now."""
        return self._newest_pass >= 0 and not self.is_doubtful


class FailureRate:
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

        >>> experience = FailureRate()
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
    entries: Sequence[PendingContact],
    *,
    experience: FailureRate,
    answers: Answers,
    alone: bool = False,
) -> Search:
    """Yield what to send and whom to blame until every entry has landed or is blamed.

    Args:
        entries: What to deliver, in order; no two of the same identity.
        experience: Shared by all batches that go the same way.
        answers: Likewise; whoever sends tells it every answer before it sends the verdict here.
        alone: Send each one alone from the start (`write_mode: single`).

    Raises:
        RequestAtFaultError: The request as such is refused, and nobody in it is to blame.
    """
    start = answers.moment
    queue = deque(entries)
    recent: deque[bool] = deque(maxlen=_RECENT)
    accused = _Accused(answers)
    while queue:
        if answers.is_doubtful:
            yield from _call_witnesses([], queue, accused, answers)
            yield from accused.released()
            continue
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
            yield from _hear(suspects, accused)
            queue.extendleft(e for e in reversed(group) if e not in suspects)
        else:
            proof = verdict if single else None
            culprit, rest = yield from _search(group, proof, recent, answers)
            queue.extendleft(reversed(rest))
            if culprit is not None:
                _remember(experience, recent, bad=1)
                accused.add(culprit)
                if not answers.has_passed_since(start):
                    yield from _call_witnesses([culprit], queue, accused, answers)
        yield from accused.released()
    yield from accused.all()


class _Accused:
    """Contacts refused alone, until something passes: where all are refused, none is to blame."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._blames: deque[tuple[int, ContactRejected]] = deque()

    def add(self, blame: ContactRejected) -> None:
        self._blames.append((self._answers.moment, blame))

    def released(self) -> Iterator[ContactRejected]:
        """Yield whom a pass has shown to be refused for reasons of their own."""
        while self._blames and self._answers.has_passed_since(self._blames[0][0]):
            yield self._blames.popleft()[1]

    def all(self) -> Iterator[ContactRejected]:
        """Yield the others: nobody is left to ask."""
        yield from (replace(blame, is_proven=False) for _, blame in self._blames)


def _remember(experience: FailureRate, recent: deque[bool], *, good: int = 0, bad: int = 0) -> None:
    experience.add(good + bad, bad)
    recent.extend([False] * min(good, _RECENT))
    recent.extend([True] * bad)


def _search(
    group: list[PendingContact], proof: SendResult | None, recent: deque[bool], answers: Answers
) -> Generator[Send, SendResult, tuple[ContactRejected | None, list[PendingContact]]]:
    """Find one culprit in a refused group by halves.

    Args:
        group: Was refused as a whole.
        proof: The refusal, if the group is a single contact that was sent alone.
        recent: Takes what is learnt.
        answers: Says when to give up, because searching is no use.

    Returns:
        The culprit, or None if what was left over passed when it was sent alone; and what has
        not been tried, in order.
    """
    untried: list[PendingContact] = []
    while len(group) > 1:
        if answers.is_doubtful:
            return None, group + untried
        middle = len(group) // 2
        left, right = group[:middle], group[middle:]
        is_alone = len(left) == 1
        verdict = yield Send(left, alone=is_alone)
        if verdict.passed:
            recent.extend([False] * min(len(left), _RECENT))
            group, proof = right, None
        else:
            group, untried = left, right + untried
            proof = verdict if is_alone else None
    if proof is None:
        # Deduced so far: the others passed, so it must be this one. Hear what the API says of it.
        proof = yield Send(group, alone=True)
        if proof.passed:
            return None, untried
    return ContactRejected(group[0], proof), untried


def _hear(suspects: list[PendingContact], accused: _Accused) -> Generator[Send, SendResult, None]:
    """Send each suspect alone."""
    for entry in suspects:
        verdict = yield Send([entry], alone=True)
        if not verdict.passed:
            accused.add(ContactRejected(entry, verdict))


def _free_to_overtake(
    group: list[PendingContact], suspects: Sequence[PendingContact]
) -> list[PendingContact]:
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


def _call_witnesses(
    refused: list[ContactRejected],
    queue: deque[PendingContact],
    accused: _Accused,
    answers: Answers,
) -> Generator[Send, SendResult, None]:
    """Ask contacts from all over the batch, each alone, until ten are refused or one is not.

    Args:
        refused: Who has been refused alone just now, and is one of the ten.
        queue: Who can be asked; who has been asked is taken out of it.
        accused: Takes those who are refused.
        answers: Knows what others hear meanwhile.

    Raises:
        RequestAtFaultError: All ten were refused in the same words.
    """
    start = answers.moment
    words = {blame.verdict.signature for blame in refused}
    for entry in _spread(queue, WITNESSES - len(refused)):
        queue.remove(entry)
        verdict = yield Send([entry], alone=True)
        if verdict.passed:
            return
        refused = [*refused, ContactRejected(entry, verdict)]
        accused.add(refused[-1])
        words.add(verdict.signature)
        if len(words) > 1:
            return
    if len(refused) >= WITNESSES and not answers.has_passed_since(start):
        raise RequestAtFaultError(refused[-1].verdict)


def _spread(queue: Sequence[PendingContact], count: int) -> list[PendingContact]:
    """Choose entries evenly from a queue, without overtaking one that shares an identifier.

    Where too many share one, the first in the queue have to do.
    """
    seen: set[Hashable] = set()
    free = []
    for entry in queue:
        if seen.isdisjoint(entry.identifiers):
            free.append(entry)
        seen.update(entry.identifiers)
    if len(free) < count:
        return list(itertools.islice(queue, count))
    return [free[(2 * i + 1) * len(free) // (2 * count)] for i in range(count)]
