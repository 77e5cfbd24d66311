"""Finding the contacts for which the API refuses a whole batch (API note, section 4.3).

One bad contact prevents the whole batch, and the answer need not name it. `search` decides what to
send next; it sends nothing itself, so that it can be read, tested and simulated without a network.
Two rules hold throughout:

- what was accepted is never sent again;
- a contact is refused for good only when it was sent alone and refused.

A wrong list id, or a right that the token lacks, is refused with the very status that a bad contact
is refused with. Whether the request itself is at fault is decided by `RequestAtFault`.
"""

from __future__ import annotations

import math
import sys
import threading
import typing as t
from collections import Counter, deque
from collections.abc import Callable, Generator, Hashable, Iterable, Sequence

from target_mainbrainer.api.answers import Accepted, Refused, Words
from target_mainbrainer.errors import InterruptedRunError, RequestRefusedError
from target_mainbrainer.rounds.batches import Destination
from target_mainbrainer.rounds.round import Upsert

_HARDLY_EVER_ALONE = 0.38
"""Share of bad contacts above which nothing beats sending one by one (arXiv 1801.02701)."""

_RECENT = 10
"""Contacts looked back at to notice a cluster of bad ones."""

DOUBT_AFTER = 8
"""Refusals in a row that make it doubtful whether the contacts are the cause."""

ALIKE = 10
"""Contacts refused alone in the same words, with nothing accepted since, that end the run."""

PROBES_KEPT = 3
"""Accepted contacts kept for each destination, to be sent once more if requests are refused."""


_T = t.TypeVar("_T")
Search: t.TypeAlias = Generator[Sequence[Upsert], Accepted | Refused, _T]


class FailureRate:
    """How often contacts of one destination are refused, from all its batches so far.

    Contacts that an answer names cost no search and do not count as bad here: while the API names
    them, full batches are best.
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


def search(upserts: Sequence[Upsert], rate: FailureRate, *, alone: bool = False) -> Search[None]:
    """Yield what to send until every contact is accepted, or refused for good.

    Args:
        upserts: What to deliver; no two of the same identity.
        rate: Shared by all batches for the same destination.
        alone: Send each contact alone from the start (`write_mode: single`).
    """
    queue = deque(upserts)
    recent: deque[bool] = deque(maxlen=_RECENT)
    while queue:
        size = 1 if alone else rate.group_size(len(queue), recent)
        group = [queue.popleft() for _ in range(min(size, len(queue)))]
        answer = yield group
        if isinstance(answer, Accepted):
            _remember(rate, recent, good=len(group))
        elif answer.is_too_large:
            rate.too_large(len(group))
            queue.extendleft(reversed(group))
        elif suspects := [group[place] for place in answer.suspects]:
            for suspect in suspects:
                yield from _send_alone(suspect)
            queue.extendleft(one for one in reversed(group) if one not in suspects)
        else:
            untried = yield from _find_one(group, recent, rate)
            queue.extendleft(reversed(untried))


def _find_one(group: list[Upsert], recent: deque[bool], rate: FailureRate) -> Search[list[Upsert]]:
    """Find one bad contact in a refused group by halves; return what was not tried."""
    untried: list[Upsert] = []
    is_refused_alone = len(group) == 1
    while len(group) > 1:
        middle = len(group) // 2
        left, right = group[:middle], group[middle:]
        if isinstance((yield left), Accepted):
            recent.extend([False] * min(len(left), _RECENT))
            group, is_refused_alone = right, False
        else:
            group, untried = left, right + untried
            is_refused_alone = len(left) == 1
    (upsert,) = group
    if is_refused_alone:
        yield from _take_apart(upsert)
    else:
        # Deduced so far: the others passed, so it must be this one. Its own answer counts.
        is_refused_alone = yield from _send_alone(upsert)
    if is_refused_alone:
        _remember(rate, recent, bad=1)
    return untried


def _send_alone(upsert: Upsert) -> Search[bool]:
    """Send a contact alone, taken apart if it is refused; return whether it was."""
    is_refused = isinstance((yield [upsert]), Refused)
    if is_refused:
        yield from _take_apart(upsert)
    return is_refused


def _take_apart(upsert: Upsert) -> Search[None]:
    """Send the parts of a merged contact that was refused alone, so that the good ones pass.

    In input order, and by halves, because one bad record in a hundred is the usual case.
    """
    if upsert.is_merged:
        for half in upsert.halves():
            yield from _send_alone(half)


def _remember(rate: FailureRate, recent: deque[bool], *, good: int = 0, bad: int = 0) -> None:
    rate.add(good + bad, bad)
    recent.extend([False] * min(good, _RECENT))
    recent.extend([True] * bad)


# Is the request at fault?


class RequestAtFault:
    """Decides for one destination whether the requests are refused, rather than the contacts.

    - As long as nothing was accepted, one batch at a time is searched.
    - After eight refusals in a row nothing is sent but probes: first a contact that was accepted
      before, as it was; where there is none, ten contacts from all over the round, each alone. If
      all are refused in the same words, the run ends and no contact is rejected. Probes decide
      nothing about their contacts, which are sent again with their batch.
    - A refusal counts once something was accepted that was sent after it was heard; until then it
      is pending.

    Moments are counted in refusals heard. The sender threads of a destination share this object.

    Args:
        destination: Where the requests go.
        send_alone: Sends one contact, and returns the words of its refusal; None if it passed.
    """

    def __init__(
        self, destination: Destination, send_alone: Callable[[Upsert], Words | None]
    ) -> None:
        self.destination = destination
        self.rate = FailureRate()
        self._send_alone = send_alone
        self._changed = threading.Condition()
        self._moment = 0
        self._newest_pass = -1
        self._row = 0
        self._last: Words | None = None
        self._only: object = None
        self._is_probing = False
        self._is_closed = False
        self._undecided: dict[int, Upsert] = {}
        self._alike: Counter[Words] = Counter()
        self._probes: deque[Upsert] = deque(maxlen=PROBES_KEPT)

    def begin_round(self, upserts: Iterable[Upsert], identifiers: set[Hashable]) -> None:
        """Note the contacts of the next round for this destination.

        Args:
            upserts: The contacts.
            identifiers: Of the whole round: what has changed since is never sent as it was.
        """
        self._undecided = {id(upsert): upsert for upsert in upserts}
        kept = [one for one in self._probes if identifiers.isdisjoint(one.identifiers)]
        self._probes = deque(kept, PROBES_KEPT)

    # Called by the sender threads

    def wait_for_turn(self, batch: object) -> int:
        """Wait until a batch may send, and send probes on the way; return the moment.

        Raises:
            RequestRefusedError: The request is at fault.
            InterruptedRunError: The run ends.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or self._may_send(batch))
                if self._is_closed:
                    raise InterruptedRunError("The run ended before this batch could be sent.")
                if not self._is_doubtful:
                    if self._newest_pass < 0 < self._moment:
                        self._only = batch
                    return self._moment
                self._is_probing = True
            self._try_others()
            # Not if that raises: then the run ends, and the others wait for `close`.
            with self._changed:
                self._is_probing = False
                self._changed.notify_all()

    def passed(self, sent: int, upserts: Sequence[Upsert]) -> None:
        """Note that a request passed that was sent at a moment."""
        with self._changed:
            self._newest_pass = max(self._newest_pass, sent)
            self._row = 0
            self._alike.clear()
            whole = [one for one in upserts if self._undecided.pop(id(one), None) is not None]
            # A part of a contact may be out of date, and so may one whose identity changes.
            self._probes.extend([one for one in whole if one.stream and one.moving_id is None][-1:])
            self._changed.notify_all()

    def refused(self, words: Words, upserts: Sequence[Upsert]) -> int:
        """Note a refusal; return the moment at which it was heard."""
        with self._changed:
            self._moment += 1
            self._row += 1
            self._last = words
            if len(upserts) == 1:
                self._undecided.pop(id(upserts[0]), None)
                self._alike[words] += 1
            if self._is_doubtful:
                self._changed.notify_all()
            return self._moment

    def leave(self, batch: object) -> None:
        """Note that a batch sends nothing more."""
        with self._changed:
            if self._only is batch:
                self._only = None
                self._changed.notify_all()

    def close(self) -> None:
        """End all waiting: the run ends."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    # Called when a round ends

    def is_proven(self, moment: int) -> bool:
        """Return whether a refusal that was heard at a moment is the contact's own."""
        return moment <= self._newest_pass

    @property
    def probe(self) -> Upsert | None:
        """A contact that was accepted, to be sent once more; None if there is none."""
        return self._probes[-1] if self._probes else None

    def at_fault(self, words: Words) -> RequestRefusedError:
        """Return the error that ends the run because requests are refused."""
        said = f" MainBrainer said: {words.message}" if words.message else ""
        list_id = self.destination.list_id
        place = f" for list {list_id}" if list_id else ""
        return RequestRefusedError(
            f"MainBrainer refuses every contact{place} in the same words, with status "
            f"{words.status}, so the contacts are not the cause.{said} Check 'list_id', the "
            "property names in 'field_map', and what the account and its token may do."
        )

    # Under the lock

    @property
    def _is_doubtful(self) -> bool:
        return self._row >= DOUBT_AFTER

    def _may_send(self, batch: object) -> bool:
        if self._is_probing:
            return False
        has_only_refusals = self._newest_pass < 0 < self._moment
        is_its_turn = self._only is None or self._only is batch
        return self._is_doubtful or not has_only_refusals or is_its_turn

    # The probes

    def _try_others(self) -> None:
        """Send contacts that were not refused, until one passes or enough are refused.

        Raises:
            RequestRefusedError: The request is at fault.
        """
        with self._changed:
            probes = list(reversed(self._probes))
            some = _spread(list(self._undecided.values()), ALIKE)
        found: set[Words] = set()
        for upsert in (*probes, *reversed(some)):
            if self._is_closed:
                return
            moment = self._moment
            words = self._send_alone(upsert)
            if words is not None and upsert in probes:
                if words == self._last:
                    raise self.at_fault(words)
                continue
            found.update([] if words is None else [words])
            if words is None or len(found) > 1:
                # Each is refused for a reason of its own, which shows as much as a pass.
                self.passed(moment, ())
                return
        words = next(iter(found), t.cast("Words", self._last))
        if len(some) + self._alike[words] >= ALIKE:
            raise self.at_fault(words)
        with self._changed:
            self._row = 0  # too few to tell


def _spread(upserts: Sequence[Upsert], count: int) -> list[Upsert]:
    """Return contacts evenly chosen from a sequence, or all if there are no more."""
    if len(upserts) <= count:
        return list(upserts)
    return [upserts[(2 * i + 1) * len(upserts) // (2 * count)] for i in range(count)]
