"""Contacts that are held back while the input is read, because who they are has changed.

`docs/moved-people.md` says why: a chain of changes can be followed only when all of it is known.
"""

from __future__ import annotations

import typing as t
from collections import Counter, defaultdict

from target_mainbrainer.delivery.drift import drift_limit
from target_mainbrainer.delivery.waiting_contact import WaitingContact, with_identity
from target_mainbrainer.errors import DeliveryError
from target_mainbrainer.ledger.comparison import Comparison
from target_mainbrainer.ledger.moves_plan import Wait

if t.TYPE_CHECKING:
    from collections.abc import Mapping

    from target_mainbrainer.contacts import Contact
    from target_mainbrainer.delivery.buffer import OpenBuffers
    from target_mainbrainer.delivery.waiting_contact import Arrival, Part
    from target_mainbrainer.ledger.marking import Decision
    from target_mainbrainer.ledger.stream_ledger import StreamLedger

MOST_NEWCOMERS = 10_000
"""When more wait, the source has new keys for all its people, and waiting for these is no use."""

MAX_WAITING_BYTES = 256 * 1024 * 1024
"""Records that wait for the end of the input, all together."""

Place: t.TypeAlias = "tuple[str, str]"
"""A stream's name and a source key."""


class HeldBack:
    """Holds contacts back until the input has ended, or it shows that they need not wait.

    Args:
        ledgers: The ledgers of the streams, by name.
        buffers: Take what need not wait any more.
        max_drift_percent: How large a share of a stream may move.
        reads_on: Fail for too many moves only at the end of the input, as a dry run does.
    """

    def __init__(
        self,
        ledgers: Mapping[str, StreamLedger],
        buffers: OpenBuffers,
        *,
        max_drift_percent: int,
        reads_on: bool = False,
    ) -> None:
        self._ledgers = ledgers
        self._buffers = buffers
        self._max_drift_percent = max_drift_percent
        self._reads_on = reads_on
        self._too_many: dict[str, str] = {}
        self._waiting: dict[Place, WaitingContact] = {}
        self._newcomers: defaultdict[int, list[Place]] = defaultdict(list)
        self._newcomers_waiting = 0
        self._size_bytes = 0
        self._moving: Counter[str] = Counter()
        self._known: dict[str, int] = {}

    @property
    def is_empty(self) -> bool:
        """Whether no contact waits."""
        return not self._waiting

    def moving(self, name: str) -> int:
        """Return how many known contacts of a stream have moved."""
        return self._moving[name]

    def take(self, part: Part, arrival: Arrival, decision: Decision) -> bool:
        """Take a contact that has to wait; return False if it need not.

        One that need not wait may show that others need not either: these are sent before it.

        Raises:
            DeliveryError: More have moved than `max_drift_percent` allows.
        """
        place = arrival.stream.stream, arrival.candidate.key
        if decision.wait is None:
            self._release_others(place, part, decision)
            return False
        if place[0] in self._too_many:
            return True  # none is moved any more, so none is kept
        waiting = self._waiting.get(place)
        if waiting is None:
            waiting = self._waiting[place] = WaitingContact(decision.wait)
            if decision.wait is Wait.NEWCOMER:
                self._newcomers_waiting += 1
            elif decision.comparison is not Comparison.NEW:
                self._count_move(place[0])
        if waiting.wait is Wait.NEWCOMER:
            self._newcomers[part.mark.identity_hash].append(place)
        waiting.add(part, arrival)
        self._size_bytes += len(arrival.source_record.line)
        if self._newcomers_waiting > MOST_NEWCOMERS:
            self._release_newcomers()
        if self._size_bytes > MAX_WAITING_BYTES:
            message = (
                "Too many records wait for the end of the input because their source keys come "
                "with other e-mail addresses or mobile numbers than before. Check that the "
                "'key_properties' of the stream are unique, or set 'identity_changes' to 'create'."
            )
            raise DeliveryError(message)
        return True

    def end(self) -> list[WaitingContact]:
        """Return all contacts that wait, in the order of the input; none waits afterwards.

        Raises:
            DeliveryError: More have moved than `max_drift_percent` allows.
        """
        if self._too_many:
            raise DeliveryError(" ".join(self._too_many.values()))
        waiting, self._waiting = list(self._waiting.values()), {}
        return waiting

    def send(self, waiting: WaitingContact, like: Contact) -> None:
        """Send all records of a source key as contacts of one identity."""
        for part in waiting.parts:
            self._buffers.add(
                with_identity(part.contact, like),
                part.source_record,
                stream=waiting.stream,
                destination=waiting.last.destination,
                batch_size=waiting.last.batch_size,
                mark=part.mark,
            )

    def _count_move(self, name: str) -> None:
        self._moving[name] += 1
        if name not in self._known:
            self._known[name] = self._ledgers[name].count_known()
        known = self._known[name]
        limit = drift_limit(known, self._max_drift_percent)
        if self._moving[name] > limit:
            message = (
                f"Of {known:,} known contacts of stream '{name}' more than {limit:,} have "
                "another e-mail address or mobile number than before, more than "
                f"'max_drift_percent' ({self._max_drift_percent}) allows, so none was moved. "
                "Check 'field_map' and 'default_country_code'; if they have really changed, raise "
                "the setting for one run."
            )
            if not self._reads_on:
                raise DeliveryError(message)
            self._too_many[name] = message

    def _release_others(self, place: Place, part: Part, decision: Decision) -> None:
        """Send what need not wait because this contact does not."""
        if place in self._waiting:  # it is back where it was
            following = decision.following
            self._release(place, part.contact if following is None else following.contact)
        for other in self._newcomers.pop(part.mark.identity_hash, ()):
            if other in self._waiting:
                self._release(other, self._waiting[other].newest)

    def _release_newcomers(self) -> None:
        for place, waiting in list(self._waiting.items()):
            if waiting.wait is Wait.NEWCOMER:
                self._release(place, waiting.newest)
        self._newcomers.clear()

    def _release(self, place: Place, like: Contact) -> None:
        waiting = self._waiting.pop(place)
        self._newcomers_waiting -= waiting.wait is Wait.NEWCOMER
        self._size_bytes -= waiting.size_bytes
        self.send(waiting, like)
