"""One run: its parts, built in one order, and how it ends."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import logging
import threading
import time
import typing as t
from collections.abc import Callable, Iterator
from pathlib import Path

from target_mainbrainer import local_sandbox
from target_mainbrainer.api.client import MainBrainerClient
from target_mainbrainer.api.http import DRY_TOKEN, DryTransport
from target_mainbrainer.api.limits import RateLimiter
from target_mainbrainer.errors import DeliveryError, Reason, SettingsError
from target_mainbrainer.ledger.content import Account, account_of
from target_mainbrainer.mapping.suppressions import Suppressions, parse_suppressions
from target_mainbrainer.privacy import explain
from target_mainbrainer.report.counts import RunReport
from target_mainbrainer.report.rejects import Rejections, RejectsFile
from target_mainbrainer.report.summary import DrySummary, End, Summary
from target_mainbrainer.rounds.booking import Booking
from target_mainbrainer.rounds.load import Load, Parts
from target_mainbrainer.rounds.round import ClosedRound
from target_mainbrainer.rounds.sending import Sending
from target_mainbrainer.rounds.spool import Spool
from target_mainbrainer.rounds.statuses import Recreated, Statuses
from target_mainbrainer.settings.declared import Settings
from target_mainbrainer.singer.state import State, StateTracker
from target_mainbrainer.words import shown

if t.TYPE_CHECKING:
    from target_mainbrainer.ledger.database import Database
    from target_mainbrainer.ledger.lease import SharedQuota
    from target_mainbrainer.ledger.ledger import Ledger
    from target_mainbrainer.rounds.comparing import Comparer
    from target_mainbrainer.rounds.missing import Missing

STATE_INTERVAL_SECONDS = 1.0
PROGRESS_INTERVAL_SECONDS = 10.0

logger = logging.getLogger("target-mainbrainer")


class Run:
    """The parts of one run.

    Args:
        settings: The run's settings.
        run_id: The run's id, which stands in log, report, rejects file and ledger.
        write_state: Writes a STATE message to stdout.
        is_interrupted: Returns whether a signal has asked for the end.

    Attributes:
        state: Says which STATE may be written.
        report: The counts.
        rejects: Sets records aside.
        load: Delivers contacts.
        ledger: None without one.
        comparer: Compares rounds with the ledger; None without one.
        missing: Keeps account of full reads; None without a ledger.
        summary: Puts the counts into words.
        looks_for_duplicates: Contacts that share something are looked for: in dry runs and first
            loads.
    """

    def __init__(
        self,
        settings: Settings,
        run_id: str,
        write_state: Callable[[State], None],
        is_interrupted: Callable[[], bool],
    ) -> None:
        self.settings = settings
        self.state = StateTracker()
        self.report = RunReport()
        self._hand_out_state = write_state
        self._is_interrupted = is_interrupted
        self._state_records = -1
        self._is_over = self._is_whole = False
        self._next_state = self._next_progress = 0.0
        self._suppressed = read_suppressions(settings).withheld
        self._stop = threading.Event()
        with contextlib.ExitStack() as closing:
            self._closing = closing
            self._build(settings, run_id)
            self._closing = closing.pop_all()

    def _build(self, settings: Settings, run_id: str) -> None:
        file = None
        if settings.rejects_path and not settings.dry_run:
            file = RejectsFile(settings.rejects_path, dt.datetime.now(dt.UTC), run_id)
        self.rejects = Rejections(file, settings)
        self._closing.callback(self.rejects.close)
        reached, sandbox_id = settings, None
        if settings.dry_run:
            sandbox_id = settings.sandbox_path and local_sandbox.file_id(settings.sandbox_path)
            reached = dataclasses.replace(
                settings, access_token=DRY_TOKEN, confirm_batches="none", max_concurrent_requests=1
            )
        elif settings.sandbox_path:
            sandbox = local_sandbox.start(settings.sandbox_path)
            self._closing.callback(sandbox.close)
            reached = dataclasses.replace(settings, api_url=sandbox.url, access_token=sandbox.token)
            sandbox_id = sandbox.file_id
        account = account_of(settings, sandbox_id)
        plan, store = None if settings.dry_run else settings.plan, None
        if settings.ledger_uri and plan is not None:
            store = self._shared_quota(settings.ledger_uri, account)
        self._limiter = RateLimiter(plan, clock=time.monotonic, stop=self._stop, store=store)
        self.ledger: Ledger | None = None
        self._client = MainBrainerClient(
            reached,
            transport=DryTransport() if settings.dry_run else None,
            rate_limiter=self._limiter,
            may_send=lambda: self.ledger is None or self.ledger.is_fresh,
        )
        self._closing.callback(self._client.close)
        summary = DrySummary if settings.dry_run else Summary
        self.summary = summary(settings, self.report, self.rejects, self._limiter)
        self._next_progress = time.monotonic() + PROGRESS_INTERVAL_SECONDS
        self.comparer: Comparer | None = None
        self.missing: Missing | None = None
        if settings.ledger_uri:
            self._open_ledger(settings.ledger_uri, account, run_id)
        is_first = self.comparer is not None and not self.comparer.newest_person
        self.looks_for_duplicates = settings.dry_run or is_first
        self.load = self._make_load(reached, file)

    def _shared_quota(self, uri: str, account: Account) -> SharedQuota:
        from target_mainbrainer.ledger.database import open_database  # noqa: PLC0415
        from target_mainbrainer.ledger.lease import SharedQuota  # noqa: PLC0415

        # A change need not survive a power loss, for which SQLite would wait for the disk.
        database = self._waited_for(open_database(uri, synchronous="NORMAL"))
        # The ledger takes all tokens of a server for one account, the limits do not.
        return SharedQuota(database, f"{account.name} {account.access_token or ''}")

    def _waited_for(self, database: Database) -> Database:
        """Return a database that is waited for if it is away, and closed with the run."""
        database.retry_max_seconds = self.settings.retry_max_seconds
        database.is_ending = lambda: self._stop.is_set() or self._is_interrupted()
        self._closing.callback(database.close)
        return database

    def _open_ledger(self, uri: str, account: Account, run_id: str) -> None:
        # SQLAlchemy takes nearly as long to load as all the rest: only with a ledger.
        from target_mainbrainer.ledger.database import open_database, scratch_copy  # noqa: PLC0415
        from target_mainbrainer.ledger.ledger import Ledger  # noqa: PLC0415
        from target_mainbrainer.rounds.comparing import Comparer  # noqa: PLC0415
        from target_mainbrainer.rounds.missing import Missing  # noqa: PLC0415

        if self.settings.dry_run:
            database = self._closing.enter_context(scratch_copy(uri))
        else:
            database = open_database(uri)
        self.ledger = Ledger(self._waited_for(database), account, run_id)
        self._closing.callback(self.ledger.close)
        self.comparer = Comparer(self.settings, self.ledger, self._suppressed)
        self.missing = Missing(self.settings, self.ledger, self.comparer)

    def _make_load(self, settings: Settings, file: RejectsFile | None) -> Load:
        self._sending = Sending(
            self._client,
            in_flight=settings.max_concurrent_requests,
            alone=settings.write_mode == "single",
            stop=self._stop,
        )
        self._statuses = Statuses(
            self._sending,
            self._client.redactor,
            is_followed=settings.confirm_batches != "none",
            is_required=settings.confirm_batches == "require" and settings.write_mode == "batch",
            keeps_records=file is not None and settings.confirm_batches == "report",
            clock=time.monotonic,
        )
        spool = Spool()
        self._closing.callback(spool.close)
        self._booking = Booking(
            self.state,
            self.rejects,
            self._statuses,
            spool=spool,
            ledger=self.ledger,
            recreated=Recreated(self._suppressed),
        )
        parts = Parts(
            self._sending,
            self._booking,
            self._statuses,
            self.comparer,
            self._suppressed,
            tick=self.tick,
            share_used=lambda: self._limiter.share_used,
        )
        return Load(settings, parts, clock=time.monotonic)

    # Meanwhile

    @property
    def is_to_end_early(self) -> bool:
        """Whether so much is rejected that reading on makes no sense; a dry run looks at all."""
        return self.rejects.is_too_many and not self.settings.dry_run

    def tick(self) -> None:
        """Do what is due: the lease, STATE, the progress line.

        Raises:
            LedgerError: Another run has taken over, or the ledger cannot be used.
            DeliveryError: STATE or the rejects file cannot be written.
        """
        now = time.monotonic()
        if self.ledger is not None:
            self.ledger.tick()
        if now >= self._next_state and self.load.is_settled and self.write_due_state():
            self._next_state = now + STATE_INTERVAL_SECONDS
        if now >= self._next_progress:
            self._next_progress = now + PROGRESS_INTERVAL_SECONDS
            self.summary.log_progress(self._statuses.open_batches)

    def write_due_state(self) -> bool:
        """Write the newest STATE before which every record is settled; False if there is none."""
        self.state.settle_counted(self.rejects.sync())
        state = self.state.take_due()
        if state is None or self.settings.dry_run:
            return False
        self._hand_out_state(state)
        self._state_records = self.state.records_taken
        return True

    # The end

    def finish(self, *, is_whole: bool) -> None:
        """End a run whose input was read to its end, or far enough.

        Args:
            is_whole: Whether it was read to its end.

        Raises:
            DeliveryError: Not every contact is in.
            TargetMainBrainerError: The run cannot go on; `abort` it.
        """
        self._is_whole = is_whole
        self.rejects.is_whole = True
        self.load.finish(self._later() if is_whole else ())
        self.write_due_state()
        problems = [*self._problems()]
        if self.missing is not None and set(problems) <= {*self.missing.not_opted_out}:
            self.missing.save()
        if problems := [*self._conclude(), *problems]:
            raise DeliveryError(*problems)

    def _later(self) -> Iterator[ClosedRound]:
        """Yield what only the end of the input allows: who is missing, then who has moved."""
        if self.ledger is None or self.missing is None or self.comparer is None:
            return
        yield from self.missing.end()
        if not self.comparer.deferred.movers:
            return
        if problems := self.missing.problems:
            raise DeliveryError(*problems, "No changed address was followed either.")
        if reasons := list(self.comparer.problems()):
            raise DeliveryError(*reasons)
        from target_mainbrainer.rounds.moves import Moves  # noqa: PLC0415 - only with a ledger

        yield from Moves(self.ledger, self._booking).rounds(self.comparer.deferred.end())

    def abort(self, cause: BaseException) -> None:
        """End a run that cannot go on, if it has not ended yet; what else goes wrong is logged."""
        if self._is_over:
            return
        logger.info("The run is ending: nothing new is sent, and requests in flight may finish.")
        problems: list[str] = []
        try:
            self.load.abort()
            self.write_due_state()
        except Exception as error:  # noqa: BLE001 - `cause` is what ended the run
            problems = explain(error)
        for problem in dict.fromkeys([*problems, *self._conclude()]):
            if problem not in explain(cause):
                logger.warning("%s", problem)

    @property
    def end(self) -> End:
        """Where the run has ended; what to do now depends on why."""
        return End(
            is_whole=self._is_whole,
            has_state=self.state.has_state,
            open_states=self.state.open_states,
            state_records=self._state_records,
            words=self.rejects.words_of_all,
            is_dry=self.settings.dry_run,
            has_lost_records=self._statuses.has_lost_records,
        )

    def _problems(self) -> Iterator[Reason | str]:
        """Yield each reason why a run that came to its end has failed nevertheless."""
        yield from self.rejects.problems(self.report)
        yield from (Reason("unconfirmed", problem) for problem in self._statuses.problems())
        if self.missing is not None and self.comparer is not None:
            yield from self.missing.problems
            yield from self.missing.not_opted_out
            yield from self.comparer.problems()
            if self.comparer.deferred.movers:
                return  # the input was not read to its end, so no contact could move
        for name, stream in self.report.streams.items():
            if stream.undelivered:
                yield (
                    f"The counts of stream '{shown(name)}' do not add up: of {stream.read:,} "
                    f"records read, {stream.undelivered:,} are not accounted for. This is a fault "
                    "of this target; please report it, and load the stream in full."
                )

    def _warnings(self) -> Iterator[str]:
        yield from self._statuses.warnings()
        if self.missing is not None:
            yield from self.missing.warnings
        yield from self._booking.recreated.warnings()
        if self.ledger is not None and self.ledger.has_new_token and self._booking.has_accepted:
            yield (
                "The access token is not the one that the ledger's contacts were delivered with. "
                "If it belongs to another account, give that account a ledger of its own."
            )

    def _conclude(self) -> list[str]:
        """Close everything, log how every record has ended, and return what went wrong."""
        self._is_over = True
        self._stop.set()
        problems = []
        try:
            self._closing.close()
        except Exception as error:  # noqa: BLE001 - the others are closed all the same
            problems = explain(error)
        self.summary.log(self._warnings())
        return problems


def read_suppressions(settings: Settings) -> Suppressions:
    """Read whose opt-ins are never sent as true; an empty list if no setting names a file.

    Raises:
        SettingsError: The file cannot be read, or a line of it is neither an address nor a number.
    """
    if settings.suppression_path is None:
        return Suppressions()
    try:
        with Path(settings.suppression_path).open(encoding="utf-8-sig", newline="") as lines:
            return parse_suppressions(lines)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if isinstance(error, UnicodeError):
            reason = "it is not a text in UTF-8; save it as UTF-8"
        raise SettingsError(
            f"Setting 'suppression_path': '{shown(settings.suppression_path)}': {reason}."
        ) from None
