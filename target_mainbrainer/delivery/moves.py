"""People whose e-mail address or mobile number has changed, and how their contact follows them.

While the input is read they are held back (`held_back.py`). When it has ended and everything else
is delivered, they move in an order in which none gets an identity that another still has
(`ledger/moves_plan.py`). `move_steps.py` does what is to be done for each of them.
"""

from __future__ import annotations

import typing as t
from collections import defaultdict

from target_mainbrainer.contacts import Contact
from target_mainbrainer.delivery.move_steps import IDENTITY_TAKEN, MOVE_FAILED
from target_mainbrainer.ledger.moves_plan import Key, Mover, Step, Wait, next_steps

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from target_mainbrainer.delivery.buffer import OpenBuffers
    from target_mainbrainer.delivery.held_back import HeldBack
    from target_mainbrainer.delivery.move_steps import MoveSteps
    from target_mainbrainer.delivery.waiting_contact import WaitingContact
    from target_mainbrainer.ledger.stream_ledger import StreamLedger

_BLOCK_SIZE = 1_000


class Moves:
    """Lets the contacts that were held back follow their people.

    Args:
        ledgers: The ledgers of the streams, by name.
        buffers: Take what is sent as any contact.
        held_back: The contacts that wait.
        steps: Does what is to be done for each.
        drain: Waits until everything in the buffers and in the queue is delivered and written.

    Attributes:
        held_back: The contacts that wait.
        steps: What has been done.
    """

    def __init__(
        self,
        ledgers: Mapping[str, StreamLedger],
        buffers: OpenBuffers,
        held_back: HeldBack,
        steps: MoveSteps,
        *,
        drain: Callable[[], None],
    ) -> None:
        self.held_back = held_back
        self.steps = steps
        self._ledgers = ledgers
        self._buffers = buffers
        self._drain = drain
        self._stuck: set[Key] = set()
        self._moved: dict[Key, int] = {}
        self._abandoned: set[int] = set()

    def finish(self) -> None:
        """Let every contact move that waits, then send those that wait for a freed identity.

        Raises:
            TargetMainBrainerError: The run cannot go on.
        """
        if self.held_back.is_empty:
            return
        self._deliver_all()
        waiting = self.held_back.end()
        newcomers = [one for one in waiting if one.wait is Wait.NEWCOMER]
        movers = self._movers([one for one in waiting if one.wait is Wait.MOVE], newcomers)
        self._deliver_all()
        while movers:
            steps = self._next_steps(movers, newcomers)
            self._take_steps({key: movers.pop(key) for key in steps}, steps)
            self._deliver_all()
        for newcomer in newcomers:
            self._send_newcomer(newcomer)
        self._deliver_all()

    def _deliver_all(self) -> None:
        self._buffers.send_all()
        self._drain()

    def _movers(
        self, waiting: Sequence[WaitingContact], newcomers: list[WaitingContact]
    ) -> dict[Key, WaitingContact]:
        """Return what still has to move, now that everything else is in; send what has not."""
        movers: dict[Key, WaitingContact] = {}
        by_stream: defaultdict[str, list[WaitingContact]] = defaultdict(list)
        for one in waiting:
            by_stream[one.name].append(one)
        for some in [block for of_stream in by_stream.values() for block in _blocks(of_stream)]:
            for one, decision in zip(some, self.steps.compare(some, follows=True), strict=True):
                following = decision.following
                if decision.wait is Wait.MOVE and following is not None:
                    one.following, one.contact_id = following, following.moving_id
                    movers[self._key(one)] = one
                elif decision.wait is Wait.NEWCOMER:
                    newcomers.append(one)
                else:
                    like = one.newest if following is None else following.contact
                    self.held_back.send(one, like)
        return movers

    def _next_steps(
        self, movers: Mapping[Key, WaitingContact], newcomers: Sequence[WaitingContact]
    ) -> dict[Key, Step]:
        plan = [self._mover(key, one) for key, one in movers.items()]
        holders = self._holders({held for mover in plan for held in (mover.before, mover.after)})
        ignored = {self._key(newcomer) for newcomer in newcomers}
        return next_steps(
            plan,
            {held: keys - ignored for held, keys in holders.items()},
            stuck=self._stuck,
            moved=self._moved,
            abandoned=self._abandoned,
        )

    def _take_steps(self, movers: Mapping[Key, WaitingContact], steps: Mapping[Key, Step]) -> None:
        results = self.steps.move([one for key, one in movers.items() if steps[key] is Step.MOVE])
        for one in results.moved:
            mover = self._mover(self._key(one), one)
            self._moved[mover.key] = mover.before
        for one in results.not_followed:
            self._not_follow(one)
        for one in results.failed:
            self.steps.set_aside(one, MOVE_FAILED)
            self._stuck.add(self._key(one))
        for key, one in movers.items():
            if steps[key] is Step.NOT_FOLLOWED or (
                steps[key] is Step.JOIN and not self.steps.join(one)
            ):
                self._not_follow(one)
        taken = {key: one for key, one in movers.items() if steps[key] is Step.TAKEN}
        self.steps.withdraw_opt_ins(list(taken.values()))
        for key, one in taken.items():
            self.steps.set_aside(one, IDENTITY_TAKEN)
            self._stuck.add(key)

    def _not_follow(self, one: WaitingContact) -> None:
        self._abandoned.add(self._mover(self._key(one), one).before)
        self.steps.not_follow(one)

    def _send_newcomer(self, newcomer: WaitingContact) -> None:
        held = newcomer.mark.identity_hash
        if self._stuck and not self._stuck.isdisjoint(self._holders({held})[held]):
            self.steps.set_aside(newcomer, IDENTITY_TAKEN)
            self._stuck.add(self._key(newcomer))
        else:
            self.held_back.send(newcomer, newcomer.newest)

    def _key(self, one: WaitingContact) -> Key:
        return Key(self._ledgers[one.name].number, one.last.candidate.key)

    def _mover(self, key: Key, one: WaitingContact) -> Mover:
        following = one.following
        previous = Contact(mobile=following.previous.mobile, email=following.previous.email)
        digests = self._ledgers[one.name].digests
        return Mover(
            key,
            digests.identity(previous),
            digests.identity(following.contact),
            one.identifiers,
            has_id=one.contact_id is not None,
        )

    def _holders(self, hashes: set[int]) -> dict[int, set[Key]]:
        """Return the source keys that the CRM may hold under each of these identities."""
        holders: dict[int, set[Key]] = {held: set() for held in hashes}
        ledger = next(iter(self._ledgers.values()))
        for some in _blocks(sorted(hashes)):
            for entry in ledger.holders(some):
                may_be_in = entry.delivered_at is not None or entry.token is not None
                if may_be_in and entry.identity_hash in holders:
                    holders[entry.identity_hash].add(Key(entry.stream, entry.key))
        return holders


_T = t.TypeVar("_T")


def _blocks(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (items[start : start + _BLOCK_SIZE] for start in range(0, len(items), _BLOCK_SIZE))
