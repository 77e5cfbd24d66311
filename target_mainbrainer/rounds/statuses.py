"""Statuses of accepted batches: a 202 only queues a batch (API note, sections 4.2 and 6).

If the status of a batch of updates says `inserted`, contacts that the ledger knows were deleted by
hand, or were given another address. MainBrainer has made new ones with only the changed fields, and
no opt-ins. Which contacts of the batch these are shows in parts of it: sent once more, whole and
without opt-ins, the status of each part names the ids in it.
"""

from __future__ import annotations

import heapq
import itertools
import math
import typing as t
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import msgspec

from target_mainbrainer.api.answers import BatchStatus
from target_mainbrainer.contacts import Contact, with_identity
from target_mainbrainer.ledger.content import identity_from, identity_text
from target_mainbrainer.privacy import Redactor
from target_mainbrainer.report.rejects import KEYS_SHOWN, SourceStream
from target_mainbrainer.rounds.batches import AcceptedBatch, BatchEnd, Destination
from target_mainbrainer.rounds.round import ClosedRound, Upsert, without
from target_mainbrainer.rounds.sending import MAX_ASKED, Sending
from target_mainbrainer.rounds.spool import Kept
from target_mainbrainer.words import counted, examples, shown

FIRST_LOOK_SECONDS = 1.0
FIRST_AWAITED_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 15.0
ID_CHARACTERS = 8
"""Of a batch id: enough to find it by, in a line that a person reads."""

MOST_REQUESTS = 200
"""Requests of a run that place the ids of recreated contacts."""

PARTS = 4
"""A batch is searched in so many parts, each of them in as many, and so on."""


def end_of_batch(
    status: BatchStatus, *, contacts: int, named: frozenset[int] = frozenset()
) -> BatchEnd:
    """Return how a batch has ended.

    It has once every contact is counted; whether those are that the answer to the batch named as
    invalid, is not documented. Counts above what was sent belong to something else.

    >>> from target_mainbrainer.api.answers import BatchStatus
    >>> end_of_batch(BatchStatus(inserted=1, updated=1), contacts=3).name
    'OPEN'
    >>> end_of_batch(BatchStatus(inserted=2, skipped=1), contacts=3).name
    'SKIPPED'
    >>> end_of_batch(BatchStatus(inserted=2, skipped=1), contacts=3, named=frozenset({7})).name
    'CONFIRMED'

    Args:
        status: What the API says now.
        contacts: How many were sent.
        named: Contact ids that the answer to the batch named as invalid.
    """
    if status.failed_reason:
        return BatchEnd.FAILED
    if not contacts - len(named) <= status.processed <= contacts:
        return BatchEnd.OPEN
    others_skipped = status.skipped_ids - named
    if status.inserted + status.updated >= contacts - len(named) and not others_skipped:
        return BatchEnd.CONFIRMED
    if status.processed == contacts or others_skipped:
        return BatchEnd.SKIPPED
    return BatchEnd.OPEN  # whether the skipped one is the one named shows when all are counted


class Statuses:
    """Asks for the status of accepted batches until each has ended, and counts what it says.

    Args:
        sending: Asks.
        redactor: Makes batch ids, and what MainBrainer says of a batch, safe for the log.
        is_followed: Batches are asked for; otherwise only those that a move waits for.
        is_required: STATE waits for confirmation, and what is not confirmed fails the run.
        keeps_records: The records of a batch that fails go to the rejects file.
        clock: Seconds, monotonic.

    Attributes:
        failed: Batches that MainBrainer says have failed.
        untracked: How many contacts were accepted without a batch id.
        unmatched: How many contacts of a stream were named as invalid that were not sent.
    """

    def __init__(
        self,
        sending: Sending,
        redactor: Redactor,
        *,
        is_followed: bool,
        is_required: bool,
        keeps_records: bool,
        clock: Callable[[], float],
    ) -> None:
        self._sending = sending
        self._redactor = redactor
        self._clock = clock
        self.is_followed = is_followed
        self.is_required = is_required
        self.keeps_records = keeps_records
        self._numbers = itertools.count()
        self._pending: list[tuple[float, int, AcceptedBatch]] = []  # when to ask, a number, it
        self._asked: dict[AcceptedBatch, None] = {}
        self.failed: dict[AcceptedBatch, None] = {}
        self._skipping: dict[AcceptedBatch, None] = {}
        self._unconfirmed: dict[AcceptedBatch, None] = {}
        self.untracked = 0
        self.unmatched: Counter[str] = Counter()

    @property
    def open_batches(self) -> int:
        """How many batches have not ended, as far as is known."""
        return len(self._pending) + len(self._asked)

    def follow(self, accepted: AcceptedBatch, *, is_awaited: bool = False) -> None:
        """Ask for an accepted batch until it has ended.

        Args:
            accepted: The batch.
            is_awaited: A move waits for it.
        """
        if accepted.batch_id is not None:
            accepted.pause = FIRST_AWAITED_SECONDS if is_awaited else FIRST_LOOK_SECONDS
            self._ask_later(accepted)
        elif self.is_followed:
            if accepted.stream is not None:
                accepted.stream.report.untracked += accepted.taken
            self.untracked += accepted.taken

    def _ask_later(self, accepted: AcceptedBatch) -> None:
        at = self._clock() + accepted.pause
        heapq.heappush(self._pending, (at, next(self._numbers), accepted))

    def ask_due(self) -> None:
        """Ask for the batches that it is time to ask for."""
        now = self._clock()
        while self._pending and self._pending[0][0] <= now and len(self._asked) < MAX_ASKED:
            *_, accepted = heapq.heappop(self._pending)
            self._asked[accepted] = None
            self._sending.ask(accepted)

    def note(self, accepted: AcceptedBatch, status: BatchStatus | None) -> BatchEnd:
        """Note an answer; a batch that has not ended is asked for again."""
        if accepted not in self._asked:
            return BatchEnd.OPEN  # it was given up meanwhile
        del self._asked[accepted]
        end = BatchEnd.OPEN
        if status is not None:
            accepted.status = status
            end = end_of_batch(status, contacts=accepted.contacts, named=accepted.named)
        if end is BatchEnd.OPEN:
            self._ask_later(accepted)
            accepted.pause = min(accepted.pause * 2, LONGEST_PAUSE_SECONDS)
        else:
            self._count(accepted, end)
        return end

    def _count(self, accepted: AcceptedBatch, end: BatchEnd) -> None:
        status, stream = accepted.status, accepted.stream
        if status is None or not accepted.is_for_records:
            return
        if end is BatchEnd.FAILED:
            self.failed[accepted] = None
        elif end is BatchEnd.SKIPPED:
            self._skipping[accepted] = None
        if stream is not None and end is BatchEnd.FAILED:
            stream.report.failed += accepted.contacts
        elif stream is not None:
            stream.report.inserted += status.inserted
            stream.report.updated += status.updated
            stream.report.skipped += status.skipped

    def give_up(self) -> None:
        """Ask no more; the batches that have not ended count as unconfirmed."""
        left = [*(accepted for *_, accepted in self._pending), *self._asked]
        self._pending, self._asked = [], {}
        for accepted in left:
            if accepted.stream is not None:
                accepted.stream.report.unconfirmed += accepted.contacts
            if accepted.is_for_records:
                self._unconfirmed[accepted] = None

    def reason_of(self, accepted: AcceptedBatch, values: Iterable[str]) -> str:
        """Return why MainBrainer says that a batch has failed, without values of its records."""
        status = accepted.status
        return "" if status is None else self._redactor.redact(status.failed_reason, values)

    @property
    def has_lost_records(self) -> bool:
        """Whether records are before STATE that are neither in MainBrainer nor on file."""
        return bool(self.failed) and not self.is_required and not self.keeps_records

    def problems(self) -> Iterator[str]:
        """Yield each reason why the run has failed because batches have not ended well."""
        if self.is_required:
            again = "STATE stays before them, so the next run sends them again."
            yield from (f"{finding} {again}" for finding in self._findings())
        elif self.has_lost_records:
            yield (
                f"MainBrainer says that {self._sum(self.failed)} failed after it had accepted "
                "them. STATE has advanced, so the next run does not read these records again: load "
                "them once more. Set 'rejects_path' to have such records set aside."
            )

    def warnings(self) -> Iterator[str]:
        """Yield which batches have not ended well, where that does not fail the run."""
        if self.is_required:
            return
        if self.failed and self.keeps_records:
            yield (
                f"MainBrainer says that {self._sum(self.failed)} failed after it had accepted "
                "them. Their records are in the rejects file."
            )
        for finding in self._findings():
            yield (
                f"{finding} The run still counts them as accepted, because 'confirm_batches' is "
                "not 'require'."
            )

    def _sum(self, batches: Collection[AcceptedBatch]) -> str:
        """Return how many batches these are, how many contacts, and the first one's id."""
        first = self._redactor.redact_id(next(iter(batches)).batch_id or "")[:ID_CHARACTERS]
        contacts = counted(sum(one.contacts for one in batches), "contact")
        which = first if len(batches) == 1 else f"the first is {first}"
        return f"{counted(len(batches), 'batch', 'batches')} of {contacts} ({which})"

    def _findings(self) -> Iterator[str]:
        if self.is_required and self.failed:
            yield f"MainBrainer says that {self._sum(self.failed)} failed."
        if self._skipping:
            yield f"MainBrainer skipped contacts in {self._sum(self._skipping)}."
        if self._unconfirmed:
            yield (
                f"MainBrainer accepted {self._sum(self._unconfirmed)} but had not confirmed that "
                "when the run ended ('confirm_timeout_seconds'). It may still be applied."
            )
        if self.is_required and self.untracked:
            yield (
                f"MainBrainer accepted {self.untracked:,} contacts without a batch id, so "
                "that they cannot be confirmed, as 'confirm_batches: require' asks."
            )
        for stream, count in (+self.unmatched).items():
            yield (
                f"MainBrainer named {counted(count, 'contact')} of stream '{shown(stream)}' as "
                "invalid in batches that it accepted, in a way that matches no contact that was "
                "sent."
            )


# Recreated contacts


class Candidate(t.NamedTuple):
    """A contact of a batch of updates in which contacts were recreated.

    Attributes:
        number: That of the batch.
        line: Its last record.
        contact: What the source says.
    """

    stream: SourceStream
    destination: Destination
    number: int
    line: bytes
    contact: Contact

    def upsert(self, suppressed: Callable[..., frozenset[str]] | None = None) -> Upsert:
        """Return the whole contact; without opt-ins unless it is certain that it was recreated."""
        if suppressed is None:
            outgoing = msgspec.structs.replace(self.contact, mobile_opt_in=None, email_opt_in=None)
        else:
            outgoing = without(self.contact, suppressed(self.contact))
        return Upsert(self.contact, [], self.destination, outgoing=outgoing, since=self.number)


class Recreated:
    """Finds recreated contacts, and completes them.

    Args:
        suppressed: Returns which opt-ins of a contact must not be sent as true.
    """

    def __init__(self, suppressed: Callable[..., frozenset[str]]) -> None:
        self._suppressed = suppressed
        self._candidates: dict[str, Candidate] = {}
        self._ids: set[int] = set()
        self._largest = 0
        self._requests = 0
        self._labels: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}
        self._moved: dict[str, str] = {}

    def moved(self, before: str, after: str) -> None:
        """Note that a contact has another identity since."""
        self._moved[before] = after

    def note(self, accepted: AcceptedBatch, contacts: Sequence[Kept]) -> None:
        """Note a batch of updates that has inserted contacts."""
        stream, status = accepted.stream, accepted.status
        if stream is None or status is None:
            return
        stream.report.recreated += status.inserted
        self._counts[stream.name] = self._counts.get(stream.name, 0) + status.inserted
        if status.inserted_ids:
            self._ids |= status.inserted_ids
            self._largest = max(self._largest, len(contacts))
            for one in contacts:
                self._candidates[identity_text(one.contact)] = Candidate(
                    stream,
                    accepted.destination,
                    accepted.number,
                    one.records[-1][-1],
                    one.contact,
                )

    def rounds(self) -> Iterator[ClosedRound]:
        """Yield the rounds that place the inserted ids, then one that completes the contacts.

        The candidates are sent in smaller and smaller batches, of which each status names the ids.
        """
        found = [found for one in self._candidates.values() if (found := self._where_it_is(one))]
        size, left = self._largest, list[Candidate]()
        self._candidates, self._largest = {}, 0
        while size > 1:
            size = math.ceil(size / PARTS)
            room = max(0, MOST_REQUESTS - self._requests) * size
            left += found[room:]
            found = found[:room]
            self._requests += math.ceil(len(found) / size)
            upserts = [one.upsert() for one in found]
            yield ClosedRound(upserts, is_decided=True, awaits_status=True, size=size)
            found = [
                one._replace(number=upsert.batch.number, contact=upsert.contact)
                for one, upsert in zip(found, upserts, strict=True)
                if upsert.batch is not None and _named(upsert) & self._ids
            ]
        for one in found:
            self._name(one.stream, one.line)
        upserts = [one.upsert(self._suppressed) for one in found]
        upserts += [one.upsert() for one in left]  # whole once more, and only counted
        yield ClosedRound(upserts, is_decided=True)

    def _where_it_is(self, one: Candidate) -> Candidate | None:
        """Return a candidate under the identity that it has by now, None if that is unclear."""
        text = identity_text(one.contact)
        passed = set[str]()
        while text in self._moved and text not in passed:
            passed.add(text)
            text = self._moved[text]
        if not passed:
            return one
        contact = with_identity(one.contact, identity_from(text))
        return None if text in passed else one._replace(contact=contact)

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


def _named(upsert: Upsert) -> frozenset[int]:
    """Return the ids that the status of a contact's batch names."""
    status = None if upsert.batch is None else upsert.batch.status
    return frozenset() if status is None else status.updated_ids | status.inserted_ids
