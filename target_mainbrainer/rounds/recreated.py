"""Recreated contacts: updates for which MainBrainer has made a new contact.

A contact that the ledger knows was deleted by hand, or was given another address, if the status of
its batch says `inserted`. It has only the changed fields then, and no opt-ins. Which contacts of a
batch these are shows by halves: sent once more, whole and without opt-ins, the status of each half
names the ids in it.
"""

from __future__ import annotations

import typing as t

import msgspec

from target_mainbrainer.report.rejects import KEYS_SHOWN
from target_mainbrainer.rounds.batches import BatchEnd
from target_mainbrainer.rounds.round import MoveRound, Upsert, without
from target_mainbrainer.words import counted, examples, shown

if t.TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from target_mainbrainer.contacts import Contact
    from target_mainbrainer.report.rejects import SourceStream
    from target_mainbrainer.rounds.batches import AcceptedBatch, Destination
    from target_mainbrainer.rounds.spool import Kept

MOST_REQUESTS = 200
"""Requests of a run that place inserted ids."""


class Group(t.NamedTuple):
    """Contacts among which some were recreated.

    Attributes:
        ids: The contact ids of those.
    """

    stream: SourceStream
    destination: Destination
    contacts: Sequence[Kept]
    ids: frozenset[int]


class Recreated:
    """Finds recreated contacts, and completes them.

    Args:
        suppressed: Returns which opt-ins of a contact must not be sent as true.
    """

    def __init__(self, suppressed: Callable[..., frozenset[str]]) -> None:
        self._suppressed = suppressed
        self._groups: list[Group] = []
        self._requests = 0
        self._labels: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}

    def note(self, accepted: AcceptedBatch, contacts: Sequence[Kept]) -> None:
        """Note a batch of updates that has inserted contacts."""
        stream, status = accepted.stream, accepted.status
        if stream is None or status is None:
            return
        stream.report.recreated += status.inserted
        self._counts[stream.name] = self._counts.get(stream.name, 0) + status.inserted
        if status.inserted_ids:
            self._groups.append(Group(stream, accepted.destination, contacts, status.inserted_ids))

    def rounds(self) -> Generator[MoveRound, None, None]:
        """Yield the rounds that place the inserted ids, then one that completes the contacts."""
        found: list[tuple[Group, Kept]] = []
        left: list[Group] = []
        groups, self._groups = self._groups, []
        while groups:
            found += [(group, group.contacts[0]) for group in groups if len(group.contacts) == 1]
            groups = [group for group in groups if len(group.contacts) > 1]
            room = max(0, MOST_REQUESTS - self._requests)
            left += groups[room:]
            groups = groups[:room]
            self._requests += len(groups)
            if groups:
                groups = yield from self._halved(groups, left)
        upserts = [_upsert(group, one.contact, self._suppressed) for group, one in found]
        for group, one in found:
            self._name(group.stream, one.records[-1][-1])
        for group in left:  # whole once more, and only counted
            upserts += [_upsert(group, _without_opt_ins(one.contact)) for one in group.contacts]
        if upserts:
            yield MoveRound(upserts, is_decided=True)

    def _halved(
        self, groups: Sequence[Group], left: list[Group]
    ) -> Generator[MoveRound, None, list[Group]]:
        """Send the first half of each group, and return the halves that have inserted ids."""
        halves = [group.contacts[: len(group.contacts) // 2] for group in groups]
        batches = [
            [_upsert(group, _without_opt_ins(one.contact)) for one in half]
            for group, half in zip(groups, halves, strict=True)
        ]
        upserts = [upsert for batch in batches for upsert in batch]
        yield MoveRound(upserts, is_decided=True, awaits_status=True, batches=batches)
        found = []
        for group, half, batch in zip(groups, halves, batches, strict=True):
            accepted = batch[0].batch
            status = None if accepted is None or accepted.end is BatchEnd.OPEN else accepted.status
            named = frozenset() if status is None else status.updated_ids | status.inserted_ids
            if status is None or status.failed_reason or len(named) < len(half):
                left.append(group)  # what is not named may be in either half
                continue
            first = group.ids & named
            rest = group.contacts[len(half) :]
            parts: tuple[Group, ...] = (group._replace(contacts=half, ids=first),)
            parts += (group._replace(contacts=rest, ids=group.ids - first),)
            found += [part for part in parts if part.ids]
        return found

    def _name(self, stream: SourceStream, line: bytes) -> None:
        labels = self._labels.setdefault(stream.name, [])
        if len(labels) < KEYS_SHOWN and (label := stream.labels.key_of(line)) is not None:
            labels.append(label)

    def warnings(self) -> Iterator[str]:
        """Yield how many contacts were recreated, with some of them."""
        for name, count in self._counts.items():
            more = examples(self._labels.get(name, []), count)
            yield (
                f"MainBrainer created {counted(count, 'contact')} of stream '{shown(name)}' again"
                f"{more}: they had been deleted there, or their address had been changed by hand, "
                "so that there are two of them now. Merge or delete the other one."
            )


def _without_opt_ins(contact: Contact) -> Contact:
    return msgspec.structs.replace(contact, mobile_opt_in=None, email_opt_in=None)


def _upsert(
    group: Group, contact: Contact, suppressed: Callable[..., frozenset[str]] | None = None
) -> Upsert:
    outgoing = contact if suppressed is None else without(contact, suppressed(contact))
    return Upsert(contact, [], group.destination, outgoing=outgoing)
