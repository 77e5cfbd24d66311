"""Which streams were read in full, and what becomes of source keys that did not come.

A stream is read in full if its tap says so (ACTIVATE_VERSION) or `full_table` does, its input ended
whole and every record's key could be read. A tap that only goes on with a full read which it could
not finish before keeps the version of its records; that is no full read.
"""

from __future__ import annotations

import datetime as dt
import logging
import typing as t
from collections import defaultdict

import msgspec

from target_mainbrainer.contacts.contact import Contact
from target_mainbrainer.delivery.drift import drift_limit
from target_mainbrainer.ledger.comparison import identity_from
from target_mainbrainer.singer.source_record import SourceRecord

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from target_mainbrainer.config.limits import MissingRecords
    from target_mainbrainer.delivery.batch import Destination
    from target_mainbrainer.delivery.comparing import Comparer
    from target_mainbrainer.delivery.state_tracker import StateTracker
    from target_mainbrainer.ledger.comparison import Entry
    from target_mainbrainer.ledger.stream_ledger import StreamLedger
    from target_mainbrainer.report.rejects import SourceStream

_NOTED_AT_ONCE = 1_000

logger = logging.getLogger("target-mainbrainer")


class StreamPlan(t.NamedTuple):
    """How contacts of a stream are sent, as its last SCHEMA message announces it.

    Attributes:
        key_properties: As announced.
        is_full: Whether the settings say that every run reads it in full.
    """

    source: SourceStream
    key_properties: list[str]
    destination: Destination
    batch_size: int
    is_full: bool


class FullReads:
    """Keeps account of what makes a read complete, and deals with what is missing at its end.

    Args:
        ledgers: The ledgers of the streams, by name.
        comparer: Takes the contacts that are opted out.
        state_tracker: Has the interval that these contacts count in.
        missing_records: What becomes of missing contacts.
        max_drift_percent: How large a share of a stream may be missing or have moved.
        moving: Returns how many contacts of a stream have moved.
    """

    def __init__(
        self,
        ledgers: dict[str, StreamLedger],
        comparer: Comparer,
        state_tracker: StateTracker,
        *,
        missing_records: MissingRecords,
        max_drift_percent: int,
        moving: Callable[[str], int],
    ) -> None:
        self._moving = moving
        self._ledgers = ledgers
        self._comparer = comparer
        self._state_tracker = state_tracker
        self._opts_out = missing_records == "opt_out"
        self._max_drift_percent = max_drift_percent
        self._plans: dict[str, StreamPlan] = {}
        self._versions: dict[str, int] = {}
        self._full: set[str] = set()
        self._partial: set[str] = set()
        self._noted: defaultdict[str, list[str]] = defaultdict(list)
        self._problems: list[str] = []

    def expect(self, plan: StreamPlan) -> None:
        """Take note of a stream."""
        name = plan.source.stream
        self._plans[name] = plan
        if plan.is_full:
            self._full.add(name)

    def note_version(self, name: str, version: int) -> None:
        """Take note of the version of a record."""
        if self._versions.get(name) != version:
            self._versions[name] = version
            if not self._ledgers[name].is_new_version(version):
                self._partial.add(name)

    def activate(self, name: str) -> None:
        """Take note that the tap has read a stream in full."""
        self._full.add(name)

    def note_unsent(self, name: str, key: str | None) -> None:
        """Take note of a record that is not sent: its key, or that there is none to be read."""
        if key is None:
            self._partial.add(name)
            return
        self._noted[name].append(key)
        if len(self._noted[name]) >= _NOTED_AT_ONCE:
            self._ledgers[name].saw(self._noted.pop(name))

    def end(self) -> None:
        """Deal with what is missing; the input has ended whole, and all of it was compared."""
        for name in sorted(self._full & self._plans.keys()):
            ledger = self._ledgers[name]
            if noted := self._noted.pop(name, None):
                ledger.saw(noted)
            if name in self._partial and not self._plans[name].is_full:
                continue
            if not self._opts_out:
                for page in ledger.missing():
                    ledger.expire(page)
            elif self._is_within_limit(name, ledger):
                self._opt_out(self._plans[name], ledger)

    def problems(self) -> Iterator[str]:
        """Say why the run has failed."""
        yield from self._problems

    def _is_within_limit(self, name: str, ledger: StreamLedger) -> bool:
        missing = sum(len(page) for page in ledger.missing())
        known = ledger.count_known()
        moving = self._moving(name)
        if missing + moving <= drift_limit(known, self._max_drift_percent):
            return True
        moved = f" and {moving:,} have moved" if moving else ""
        self._problems.append(
            f"Of {known:,} known contacts of stream '{name}' {missing:,} are missing{moved}, more "
            f"than 'max_drift_percent' ({self._max_drift_percent}) allows, so none of them was "
            "opted out. Check that the tap reads the whole stream; if they have really gone, "
            "raise the setting for one run."
        )
        return False

    def _opt_out(self, plan: StreamPlan, ledger: StreamLedger) -> None:
        for page in ledger.missing():
            gone = []
            for entry, is_shared in zip(page, ledger.are_shared(page), strict=True):
                candidate = ledger.digests.candidate(
                    entry.key, _opted_out(entry), plan.destination.list_id
                )
                # What is opted out already, or is somebody else's as well, is only forgotten.
                if is_shared or candidate.content == entry.content:
                    gone.append(entry)
                else:
                    self._add(plan, entry)
            ledger.expire(gone)
        self._comparer.send_all_of(plan.source)

    def _add(self, plan: StreamPlan, entry: Entry) -> None:
        report = plan.source.report
        report.read += 1
        report.missing += 1
        interval = self._state_tracker.interval
        interval.read += 1
        contact = _opted_out(entry)
        record = SourceRecord(interval, report.read, _deleted_record(plan, entry), entry.key)
        self._comparer.add(
            contact,
            record,
            stream=plan.source,
            destination=plan.destination,
            batch_size=plan.batch_size,
            mapped=contact,
        )


def _opted_out(entry: Entry) -> Contact:
    identity = identity_from(entry.identity)
    return Contact(
        identity.contact_id,
        identity.mobile,
        identity.email,
        mobile_opt_in=False,
        email_opt_in=False,
    )


def _deleted_record(plan: StreamPlan, entry: Entry) -> bytes:
    """Return the RECORD message that the rejects file holds if the opt-out is refused."""
    values: list[object] = []
    if plan.key_properties and entry.key.startswith("["):
        values = msgspec.json.decode(entry.key)[-len(plan.key_properties) :]
    record = dict(zip(plan.key_properties, values, strict=False))
    record["_sdc_deleted_at"] = dt.datetime.now(dt.UTC).isoformat()
    message = {"type": "RECORD", "stream": plan.source.original_stream, "record": record}
    return msgspec.json.encode(message)
