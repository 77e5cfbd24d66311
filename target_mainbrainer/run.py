"""One run, put together: everything between the sinks and MainBrainer, and how the run ends."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import logging
import threading
import time
import typing as t
from functools import partial

from target_mainbrainer import local_sandbox
from target_mainbrainer.api.client import MainBrainerClient
from target_mainbrainer.api.http import DRY_TOKEN, DryTransport
from target_mainbrainer.delivery.buffer import OpenBuffers
from target_mainbrainer.delivery.delivery import Delivery
from target_mainbrainer.delivery.held_back import HeldBack
from target_mainbrainer.delivery.ledger_intake import LedgerIntake
from target_mainbrainer.delivery.move_requests import MoveRequests
from target_mainbrainer.delivery.move_steps import MoveSteps
from target_mainbrainer.delivery.moves import Moves
from target_mainbrainer.delivery.sender import Sender
from target_mainbrainer.delivery.spool import Spool
from target_mainbrainer.delivery.state_tracker import StateTracker
from target_mainbrainer.errors import DeliveryError
from target_mainbrainer.parts import make_rate_limiter, read_suppressions
from target_mainbrainer.privacy.explaining import explain
from target_mainbrainer.reporting.counts import RunReport
from target_mainbrainer.reporting.dry_run import DrySummary
from target_mainbrainer.reporting.ending import describe_dry_end, describe_end
from target_mainbrainer.reporting.record_labels import RecordLabels
from target_mainbrainer.reporting.rejections import Rejections
from target_mainbrainer.reporting.rejects_file import RejectsFile
from target_mainbrainer.reporting.report_file import write_report
from target_mainbrainer.reporting.source_stream import SourceStream
from target_mainbrainer.reporting.summary import Summary

if t.TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from target_mainbrainer.api.answers import BatchStatus
    from target_mainbrainer.config.settings import Settings
    from target_mainbrainer.ledger.stream_ledger import StreamLedger
    from target_mainbrainer.singer.source_record import State

logger = logging.getLogger("target-mainbrainer")


class Run:
    """The parts of one run, and what it has come to when it ends."""

    def __init__(self, settings: Settings, write_state: Callable[[State], None]) -> None:
        self.settings = settings
        self.state_tracker = StateTracker()
        self.report = RunReport()
        self.suppressions = read_suppressions(settings)
        self._is_over = False
        self._is_whole = False
        self._hand_out_state = write_state
        self._state_records = -1
        rejects_file = None
        if settings.rejects_path and not settings.dry_run:
            rejects_file = RejectsFile(settings.rejects_path, dt.datetime.now(dt.UTC))
        self.rejects = Rejections(
            rejects_file,
            allowed=settings.rejects_allowed,
            allowed_percent=settings.max_rejects_percent,
            settle=self.state_tracker.settle_counted,
            advises_file=settings.rejects_path is None,
        )
        self._sandbox = (
            local_sandbox.start(settings.sandbox_path)
            if settings.sandbox_path and not settings.dry_run
            else None
        )
        stop = threading.Event()
        self._rate_limiter = make_rate_limiter(settings, stop)
        self._client = MainBrainerClient(
            settings,
            base_url=self._sandbox.url if self._sandbox else None,
            token=self._sandbox.token if self._sandbox else DRY_TOKEN if settings.dry_run else None,
            transport=DryTransport() if settings.dry_run else None,
            rate_limiter=self._rate_limiter,
            stop=stop,
        )
        self._ledgers: dict[str, StreamLedger] = {}
        self._scratch = contextlib.ExitStack()
        self._summary = (DrySummary if settings.dry_run else Summary)(
            settings,
            self.report,
            self.rejects,
            effort=self._client.stats,
            rate_limiter=self._rate_limiter,
        )
        spool = None
        if rejects_file is not None and settings.confirm_batches == "report":
            spool = Spool(rejects_file.path.parent)
        self.delivery = Delivery(
            # In a dry run there is nothing to confirm.
            dataclasses.replace(settings, confirm_batches="none") if settings.dry_run else settings,
            self._client,
            state_tracker=self.state_tracker,
            rejects=self.rejects,
            spool=spool,
            ledgers=self._ledgers,
            max_in_flight=self._max_in_flight,
            can_spare_request=lambda: self._rate_limiter.can_spare,
            stop=stop,
            make_durable=self._make_durable,
            write_state=self._write_state,
            write_progress=self._summary.log_progress,
            clock=time.monotonic,
        )
        self.buffers = OpenBuffers(self.delivery.submit)
        self.intake: LedgerIntake | None = None
        if settings.ledger_uri:
            self.intake = self._open_intake(settings.ledger_uri)
        self.duplicates = self._summary.duplicates
        self.columns_of = self._summary.columns_of

    def _open_intake(self, uri: str) -> LedgerIntake:
        # SQLAlchemy takes nearly as long to load as all the rest: only with a ledger.
        from target_mainbrainer.ledger.opening import open_ledger  # noqa: PLC0415
        from target_mainbrainer.ledger.scratch import scratch_copy  # noqa: PLC0415

        if self.settings.dry_run:
            # What the account is, only credentials tell, and a sandbox that was started.
            is_told = self.settings.access_token or self.settings.username
            keeps_account = bool(is_told) and not self.settings.sandbox_path
            uri = self._scratch.enter_context(scratch_copy(uri, keeps_account=keeps_account))
        sandbox_id = self._sandbox.file_id if self._sandbox else None
        ask = partial(self._client.batch_status, wait=True)
        return LedgerIntake(
            self.settings,
            open_ledger(
                self.settings,
                uri,
                sandbox_id=sandbox_id,
                is_ending=lambda: self.delivery.is_ending,
            ),
            self._ledgers,
            self.buffers,
            self.state_tracker,
            ask=ask,
            moves=self._make_moves(ask) if self.settings.identity_changes == "follow" else None,
        )

    def _make_moves(self, ask: Callable[[str], BatchStatus | None]) -> Moves:
        """Return what lets contacts follow people whose identity has changed."""
        requests = MoveRequests(
            Sender(self._client),
            ask=ask,
            most_at_once=self._max_in_flight,
            tick=self.delivery.tick,
            timeout_seconds=0 if self.settings.dry_run else self.settings.confirm_timeout_seconds,
        )
        held_back = HeldBack(
            self._ledgers,
            self.buffers,
            max_drift_percent=self.settings.max_drift_percent,
            reads_on=self.settings.dry_run,
        )
        steps = MoveSteps(
            self._ledgers,
            held_back,
            requests,
            self.delivery.outcomes,
            reject=partial(self.rejects.add, is_ours=True),
            forget_witnesses=self.delivery.forget_witnesses,
        )
        return Moves(self._ledgers, self.buffers, held_back, steps, drain=self.delivery.drain)

    def source(
        self,
        stream: str,
        schema_line: bytes,
        key_properties: Sequence[str],
        sensitive_columns: Collection[str],
    ) -> SourceStream:
        """Return a stream as its last SCHEMA message announces it."""
        code = self.settings.default_country_code
        labels = RecordLabels(key_properties, sensitive_columns, code)
        return SourceStream(stream, schema_line, labels, self.report.stream(stream))

    def _max_in_flight(self) -> int:
        if self.settings.dry_run:
            return 1  # nothing has to be waited for
        return self.settings.max_concurrent_requests or self._rate_limiter.wanted_in_flight

    @property
    def is_to_end_early(self) -> bool:
        """Whether so much is rejected that reading on makes no sense; a dry run looks at all."""
        return self.rejects.is_too_many and not self.settings.dry_run

    def send_overdue(self) -> None:
        """Submit the contacts that have waited long enough for others."""
        (self.buffers if self.intake is None else self.intake.comparer).send_overdue()

    def _make_durable(self) -> None:
        """Bring to the disk what STATE relies on, before STATE is written."""
        self.rejects.sync()
        for ledger in self._ledgers.values():
            ledger.flush()

    def _write_state(self, state: State) -> None:
        if self.settings.dry_run:
            return
        self._hand_out_state(state)
        self._state_records = self.state_tracker.records_taken

    def finish(self, *, is_whole: bool) -> None:
        """End a run whose input was read to its end, or far enough.

        Args:
            is_whole: Whether it was read to its end.

        Raises:
            DeliveryError: Not every contact is in.
            TargetMainBrainerError: The run cannot go on; `abort` it.
        """
        self._is_whole = is_whole
        self.rejects.end_input()
        if self.intake is not None and is_whole:
            self.intake.end_input()
        self.delivery.finish()
        if problems := [*self._conclude(), *self._problems()]:
            raise DeliveryError(" ".join(problems))

    def abort(self, cause: BaseException) -> None:
        """End a run that cannot go on, if it has not ended yet; what else goes wrong is told."""
        if self._is_over:
            return
        logger.info("The run is ending: nothing new is sent, and what is in flight may finish.")
        problems = []
        try:
            self.delivery.abort()
        except Exception as error:  # noqa: BLE001 - `cause` is what ended the run
            problems = explain(error)
        for problem in dict.fromkeys([*problems, *self._conclude()]):
            if problem not in explain(cause):
                logger.warning("%s", problem)

    @property
    def ending(self) -> str:
        """What the run has come to, in half a sentence."""
        if self.settings.dry_run:
            return describe_dry_end(self.report)
        return describe_end(
            self.report,
            is_whole=self._is_whole,
            has_state=self.state_tracker.has_state,
            state_records=self._state_records,
        )

    def _problems(self) -> Iterator[str]:
        """Say why a run that came to its end has failed nevertheless."""
        yield from self.rejects.problems(self.report.streams)
        yield from self.delivery.problems()
        if self.intake is not None:
            yield from self.intake.problems()
        if self.intake is not None and self.intake.is_any_waiting:
            return  # the input was not read to its end, so not every contact could move
        for name, stream in self.report.streams.items():
            if stream.undelivered:
                yield (
                    f"The counts of stream '{name}' do not add up: {stream.read:,} records read, "
                    f"{stream.accounted_for:,} accounted for. This is a fault of this target; "
                    "please report it, and load the stream in full."
                )

    def _warnings(self) -> Iterator[str]:
        yield from self.delivery.warnings()
        if self.intake is not None:
            yield from self.intake.warnings()

    def _conclude(self) -> list[str]:
        """Close everything, say what became of every record, and return what went wrong."""
        self._is_over = True
        problems = []
        for part in (
            self.rejects,
            self.intake,
            self._scratch,
            self._client,
            self._rate_limiter,
            self._sandbox,
        ):
            try:
                if part is not None:
                    part.close()
            except Exception as error:  # noqa: BLE001 - the others are still to be closed
                problems += explain(error)
        self._summary.log(self._warnings())
        if self.settings.report_path:
            open_states = {"states_held_back": self.state_tracker.open_states}
            write_report(self.settings.report_path, self._summary.as_dict() | open_states)
        return problems
