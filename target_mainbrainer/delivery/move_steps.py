"""What is done with one contact whose person has moved: find it, rename it, book it; or give up.

The identity that the CRM holds goes out alone, and its status names the contact's id. The ledger
commits that id. Then the new data goes out with it, as many contacts in a request as usual.
"""

from __future__ import annotations

import typing as t
from collections import defaultdict

from target_mainbrainer.contacts.rejection import Rejection, RejectionCode
from target_mainbrainer.delivery.confirmation import BatchEnd
from target_mainbrainer.delivery.move_requests import Request
from target_mainbrainer.delivery.outcomes import BATCH_FAILED
from target_mainbrainer.ledger.comparison import identity_text

if t.TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence

    from target_mainbrainer.delivery.batch import Destination
    from target_mainbrainer.delivery.held_back import HeldBack
    from target_mainbrainer.delivery.move_requests import MoveRequests, Reply
    from target_mainbrainer.delivery.outcomes import Outcomes
    from target_mainbrainer.delivery.pending_contact import PendingContact
    from target_mainbrainer.delivery.waiting_contact import WaitingContact
    from target_mainbrainer.ledger.marking import Decision, Mark
    from target_mainbrainer.ledger.stream_ledger import StreamLedger
    from target_mainbrainer.reporting.source_stream import SourceStream
    from target_mainbrainer.singer.source_record import SourceRecord

MOST_NAMED = 5

IDENTITY_TAKEN = Rejection(
    RejectionCode.IDENTITY_TAKEN,
    "Its new e-mail address and mobile number are those of somebody else, who does not leave them "
    "in this run; people who have swapped theirs look like this. Change one of them in MainBrainer "
    "by hand, or in two steps in the source.",
)
MOVE_FAILED = Rejection(
    BATCH_FAILED, "The batch that was to change its e-mail address or mobile number has failed."
)


class MoveSteps:
    """Lets contacts follow, or does what is done instead, and counts both.

    Args:
        ledgers: The ledgers of the streams, by name.
        held_back: Sends what is sent as any contact.
        requests: Sends what is awaited.
        outcomes: Books what has moved.
        reject: Sets records aside.
        forget_witnesses: Makes sure that nothing with such an identifier is sent once more.
    """

    def __init__(
        self,
        ledgers: Mapping[str, StreamLedger],
        held_back: HeldBack,
        requests: MoveRequests,
        outcomes: Outcomes,
        *,
        reject: Callable[[SourceStream, Sequence[SourceRecord], Rejection], None],
        forget_witnesses: Callable[[Collection[Hashable]], None],
    ) -> None:
        self._ledgers = ledgers
        self._held_back = held_back
        self._requests = requests
        self._outcomes = outcomes
        self._reject = reject
        self._forget_witnesses = forget_witnesses
        self._left_identities: set[str] = set()
        self._not_followed: defaultdict[str, list[WaitingContact]] = defaultdict(list)
        self._without_status = 0
        self._unconfirmed = 0

    def compare(self, some: Sequence[WaitingContact], *, follows: bool) -> list[Decision]:
        """Compare the last records of contacts of one stream again, and keep their new marks."""
        decisions = self._ledgers[some[0].name].compare(
            [(one.last.candidate, one.last.destination.list_id) for one in some], follows=follows
        )
        for one, decision in zip(some, decisions, strict=True):
            if decision.mark is not None:
                one.parts[-1] = one.parts[-1]._replace(mark=decision.mark)
        return decisions

    def move(self, movers: Sequence[WaitingContact]) -> MoveResults:
        """Give contacts their new identities, side by side."""
        results = MoveResults()
        self._forget_witnesses({held for mover in movers for held in mover.identifiers})
        self._find([mover for mover in movers if mover.contact_id is None], results)
        by_place: defaultdict[tuple[Destination, int], list[WaitingContact]] = defaultdict(list)
        for mover in movers:
            if mover.contact_id is not None:
                by_place[mover.last.destination, mover.last.batch_size].append(mover)
        groups = [
            group[start : start + size]
            for (_, size), group in by_place.items()
            for start in range(0, len(group), size)
        ]
        refused = self._rename(groups, results)
        # A batch that is refused, or skips some of its contacts, does not say which: one by one.
        results.not_followed += self._rename([[mover] for mover in refused], results)
        return results

    def _find(self, movers: Sequence[WaitingContact], results: MoveResults) -> None:
        """Find contacts by their old identity, and commit the ids that this has shown."""
        requests = [
            Request(mover.last.destination._replace(webhook_url=None), [mover.first_request()])
            for mover in movers
        ]
        ids: defaultdict[str, list[tuple[Mark, int]]] = defaultdict(list)
        for mover, reply in zip(movers, self._requests.deliver(requests), strict=True):
            if reply.end is BatchEnd.FAILED:
                results.failed.append(mover)
            elif (found := reply.found) is None:
                self._without_status += reply.accepted is not None
                results.not_followed.append(mover)
            else:
                mover.contact_id, mover.is_new = found
                ids[mover.name].append((mover.mark, mover.contact_id))
        for name, of_stream in ids.items():
            self._ledgers[name].note_ids(of_stream)

    def _rename(
        self, groups: Sequence[Sequence[WaitingContact]], results: MoveResults
    ) -> list[WaitingContact]:
        """Send the new data with the contacts' ids; return the contacts of refused batches."""
        contacts = [[mover.second_request() for mover in group] for group in groups]
        requests = [
            Request(group[0].last.destination, of_group)
            for group, of_group in zip(groups, contacts, strict=True)
        ]
        replies = self._requests.deliver(requests)
        refused: list[WaitingContact] = []
        for group, of_group, reply in zip(groups, contacts, replies, strict=True):
            accepted = reply.accepted
            if accepted is None or reply.end is BatchEnd.SKIPPED or accepted.invalid_contacts.ids:
                refused += group
            elif reply.end is BatchEnd.FAILED:
                results.failed += group
            else:
                results.moved += group
                for mover, contact in zip(group, of_group, strict=True):
                    self._book(mover, contact, reply)
        return refused

    def _book(self, mover: WaitingContact, contact: PendingContact, reply: Reply) -> None:
        self._unconfirmed += self._outcomes.moved(
            mover.stream,
            contact,
            is_confirmed=reply.end is BatchEnd.CONFIRMED,
            may_come_twice=reply.accepted is not None and reply.accepted.may_be_applied_twice,
        )
        report = mover.stream.report
        report.moved += 1
        report.old_parts_kept += mover.following.keeps_part
        self._left_identities.add(identity_text(mover.following.previous))

    def join(self, mover: WaitingContact) -> bool:
        """Send another source key of a person who has moved; return False if it has a contact.

        Identities that differ only in case may be two contacts, of which only one has moved.
        """
        if identity_text(mover.following.previous) not in self._left_identities:
            return False
        report = mover.stream.report
        report.moved += 1
        report.old_parts_kept += mover.following.keeps_part
        self.compare([mover], follows=True)
        self._held_back.send(mover, mover.following.contact)
        return True

    def not_follow(self, mover: WaitingContact) -> None:
        """Send it as any contact, which makes it a second one."""
        mover.stream.report.moves_not_followed += 1
        self._not_followed[mover.name].append(mover)
        self.compare([mover], follows=False)
        self._held_back.send(mover, mover.newest)

    def withdraw_opt_ins(self, movers: Sequence[WaitingContact]) -> None:
        """Tell the contacts of people who are set aside that they have said no."""
        self._requests.deliver(
            [
                Request(mover.last.destination._replace(webhook_url=None), [withdrawal])
                for mover in movers
                if (withdrawal := mover.withdrawal()) is not None
            ]
        )

    def set_aside(self, waiting: WaitingContact, rejection: Rejection) -> None:
        """Reject the records of a contact; the CRM goes on holding what it held."""
        self._ledgers[waiting.name].refused([part.mark for part in waiting.parts])
        self._reject(waiting.stream, waiting.source_records, rejection)

    def warnings(self) -> Iterator[str]:
        """Say which source keys have a second contact now, and why."""
        for name, movers in self._not_followed.items():
            labels = [mover.stream.labels.key_of(mover.last.source_record.line) for mover in movers]
            shown = ", ".join([label for label in labels if label][:MOST_NAMED])
            more = f" ({shown}{', ...' if len(movers) > MOST_NAMED else ''})" if shown else ""
            yield (
                f"{len(movers):,} contacts of stream '{name}' have another e-mail address or "
                "mobile number than before and were not followed, so each is a second contact "
                f"now{more}: their old identity is somebody else's, too, or the new one is taken, "
                "or MainBrainer did not say which contact it was. Merge or delete the old ones "
                "there."
            )
        if self._without_status:
            yield (
                f"MainBrainer did not say within 'confirm_timeout_seconds' which contact "
                f"{self._without_status:,} of those were."
            )

    def problems(self) -> Iterator[str]:
        """Say what holds STATE back."""
        if self._unconfirmed:
            yield (
                f"{self._unconfirmed:,} contacts that have moved were accepted but not confirmed. "
                "STATE stays before them, so the next run sends them again."
            )


class MoveResults:
    """What became of contacts that were to move.

    Attributes:
        moved: Have their new identity, or will have it.
        not_followed: Whose contact was not found, or not renamed.
        failed: Whose batch failed after it was accepted.
    """

    def __init__(self) -> None:
        self.moved: list[WaitingContact] = []
        self.not_followed: list[WaitingContact] = []
        self.failed: list[WaitingContact] = []
