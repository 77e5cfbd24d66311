"""One run: its parts, built in one order, and how it ends."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import logging
import threading
import time
import typing as t
from pathlib import Path

from target_mainbrainer import local_sandbox
from target_mainbrainer.api.client import MainBrainerClient
from target_mainbrainer.api.http import DRY_TOKEN, DryTransport
from target_mainbrainer.api.limits import RateLimiter
from target_mainbrainer.contacts import identity_of, with_identity
from target_mainbrainer.errors import DeliveryError, Reason, SettingsError
from target_mainbrainer.ledger.content import ALIAS, key_text
from target_mainbrainer.mapping.suppressions import Suppressions, parse_suppressions
from target_mainbrainer.privacy import explain
from target_mainbrainer.report.counts import RunReport
from target_mainbrainer.report.rejects import RecordLabels, Rejections, RejectsFile
from target_mainbrainer.report.summary import DrySummary, End, Summary
from target_mainbrainer.rounds.batches import Destination
from target_mainbrainer.rounds.booking import Booking
from target_mainbrainer.rounds.load import Load, Parts
from target_mainbrainer.rounds.round import Stream
from target_mainbrainer.rounds.sending import Sending
from target_mainbrainer.rounds.spool import Spool
from target_mainbrainer.rounds.statuses import Recreated, Statuses
from target_mainbrainer.singer.state import StateTracker
from target_mainbrainer.words import counted, shown

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from target_mainbrainer.contacts import Contact
    from target_mainbrainer.ledger.ledger import Account, Ledger
    from target_mainbrainer.mapping.mapper import StreamMapping
    from target_mainbrainer.rounds.comparing import Comparer
    from target_mainbrainer.rounds.missing import Missing
    from target_mainbrainer.rounds.moves import Moves
    from target_mainbrainer.rounds.round import ClosedRound
    from target_mainbrainer.settings.declared import Settings
    from target_mainbrainer.singer.state import State

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
        self._closing = contextlib.ExitStack()
        self._suppressed = read_suppressions(settings).withheld
        self._stop = threading.Event()
        try:
            self._build(settings, run_id)
        except BaseException:
            self._closing.close()
            raise

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
        account = None
        if settings.ledger_uri:
            # SQLAlchemy takes nearly as long to load as all the rest: only with a ledger.
            from target_mainbrainer.ledger.ledger import account_of  # noqa: PLC0415

            account = account_of(settings, sandbox_id)
        self._limiter = make_rate_limiter(settings, self._stop, account)
        self._closing.callback(self._limiter.close)
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
        self._comparer: Comparer | None = None
        self.missing: Missing | None = None
        self._moves: Moves | None = None
        if settings.ledger_uri and account is not None:
            self._open_ledger(settings.ledger_uri, account, run_id)
        is_first = self._comparer is not None and not self._comparer.newest_person
        self.looks_for_duplicates = settings.dry_run or is_first
        self.load = self._make_load(reached, file)

    def _open_ledger(self, uri: str, account: Account, run_id: str) -> None:
        from target_mainbrainer.ledger.database import open_database, scratch_copy  # noqa: PLC0415
        from target_mainbrainer.ledger.ledger import Ledger  # noqa: PLC0415
        from target_mainbrainer.rounds.comparing import Comparer  # noqa: PLC0415
        from target_mainbrainer.rounds.missing import Missing  # noqa: PLC0415

        if self.settings.dry_run:
            database = self._closing.enter_context(scratch_copy(uri))
        else:
            database = open_database(uri)
        database.retry_max_seconds = self.settings.retry_max_seconds
        database.is_ending = lambda: self._stop.is_set() or self._is_interrupted()
        self._closing.callback(database.close)
        self.ledger = Ledger(database, account, run_id)
        self._closing.callback(self.ledger.close)
        self._comparer = Comparer(self.settings, self.ledger, self._suppressed)
        self.missing = Missing(self.settings, self.ledger, self._comparer)

    def _make_load(self, settings: Settings, file: RejectsFile | None) -> Load:
        self._sending = Sending(
            self._client,
            in_flight=lambda: settings.max_concurrent_requests or self._limiter.wanted_in_flight,
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
        if self.ledger is not None:
            from target_mainbrainer.rounds.moves import Moves  # noqa: PLC0415 - only with a ledger

            self._moves = Moves(self.ledger, self._booking)
        parts = Parts(
            self._sending,
            self._booking,
            self._statuses,
            self._comparer,
            self._suppressed,
            tick=self.tick,
            share_used=lambda: self._limiter.share_used,
        )
        return Load(settings, parts, clock=time.monotonic)

    # Streams

    def stream(
        self, names: tuple[str, str], schema_line: bytes, key: Sequence[str], mapping: StreamMapping
    ) -> Stream:
        """Return a stream as its last SCHEMA message announces it, leased if there is a ledger.

        Args:
            names: Its name in the input, and after stream maps; several streams may have that one.
            schema_line: The SCHEMA message as it was read.
            key: Its `key_properties`, after stream maps.
            mapping: Of its columns.

        Raises:
            LedgerError: Another run delivers it.
        """
        name = names[1]
        known_as = ALIAS.join(dict.fromkeys(names))
        settings = self.settings.for_stream(name)
        country_code = settings.default_country_code
        labels = RecordLabels(key, mapping.sensitive_columns, country_code)
        return Stream(
            name,
            schema_line,
            labels,
            self.report.stream(name),
            Destination(settings.list_id, settings.webhook_url),
            number=None if self.ledger is None else self.ledger.open_stream(known_as),
            once=mapping.once,
            opt_ins=mapping.opt_ins,
        )

    def as_known(self, contact: Contact, stream: Stream, key: str | None) -> Contact | None:
        """Return a contact under the identity that MainBrainer holds for a source key.

        Or is about to, if its person is new in this run; None if there is no such identity.
        """
        if self._comparer is None or stream.number is None or key is None:
            return None
        place = stream.number, key_text(key)
        found = [self._comparer.identity_of(*place), self.load.identity_of(place)]
        if self.settings.identity_changes == "create":
            found.reverse()  # a changed address is another contact, which the ledger has not yet
        known = found[0] or found[1]
        return None if known is None else with_identity(contact, known)

    def withdraw(self, no: Contact, stream: Stream, key: str | None) -> None:
        """Send the opt-ins that are false of a record that is rejected.

        Args:
            no: The identity that is left of the record, if any, and these opt-ins.
            stream: Where the record comes from.
            key: Its source key; the identity that the ledger knows for it goes first.
        """
        contact = self.as_known(no, stream, key) or no
        if identity_of(contact) is not None:
            self.load.withdraw(contact)

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
        if now >= self._next_state and self.load.is_settled:
            written = self._state_records
            self.write_due_state()
            if self._state_records != written:  # else a round that ends soon need not wait
                self._next_state = now + STATE_INTERVAL_SECONDS
        if now >= self._next_progress:
            self._next_progress = now + PROGRESS_INTERVAL_SECONDS
            self.summary.log_progress(self._statuses.open_batches)

    def write_due_state(self) -> None:
        """Write the newest STATE before which every record is settled, if there is a new one."""
        self.state.settle_counted(self.rejects.sync())
        state = self.state.take_due()
        if state is not None and not self.settings.dry_run:
            self._hand_out_state(state)
            self._state_records = self.state.records_taken

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
        if problems := [*self._conclude(), *self._problems()]:
            raise DeliveryError(*problems)

    def _later(self) -> Iterator[ClosedRound]:
        """Yield what only the end of the input allows: who is missing, then who has moved."""
        if self.missing is not None:
            yield from self.missing.end()
        if self._comparer is None or self._moves is None or not self._comparer.deferred.movers:
            return
        if self.missing is not None and (problems := self.missing.problems):
            raise DeliveryError(*problems, "No changed address was followed either.")
        if reasons := list(self._comparer.problems()):
            raise DeliveryError(*reasons)
        yield from self._moves.rounds(self._comparer.deferred.end())

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

    def counts(self) -> dict[str, t.Any]:
        """Return the counts for the report file."""
        return self.summary.as_dict() | {"states_held_back": self.end.open_states}

    def _problems(self) -> Iterator[Reason | str]:
        """Yield each reason why a run that came to its end has failed nevertheless."""
        yield from self.rejects.problems(self.report)
        unconfirmed = list(self._statuses.problems())
        if self._statuses.is_required:
            unconfirmed += [
                f"{finding} STATE stays before them, so the next run sends them again."
                for finding in self._booking.findings()
            ]
        yield from (Reason("unconfirmed", problem) for problem in unconfirmed)
        if self.missing is not None:
            yield from self.missing.problems
        if self._comparer is not None:
            yield from self._comparer.problems()
        if self._comparer is not None and self._comparer.deferred.movers:
            return  # the input was not read to its end, so no contact could move
        for name, stream in self.report.streams.items():
            if stream.undelivered:
                yield (
                    f"The counts of stream '{shown(name)}' do not add up: {stream.read:,} records "
                    f"read, {stream.accounted_for:,} accounted for. This is a fault of this "
                    "target; please report it, and load the stream in full."
                )

    def _warnings(self) -> Iterator[str]:
        yield from self._statuses.warnings()
        if not self._statuses.is_required:
            yield from self._booking.findings()
        if self.missing is not None:
            yield from self.missing.warnings
        yield from self._booking.recreated.warnings()
        if self.ledger is not None and self.ledger.has_new_token and self._booking.has_accepted:
            yield (
                "The access token is not the one that the ledger's contacts were delivered with. "
                "If it belongs to another account, give that account a ledger of its own."
            )
        for name, stream in self.report.streams.items():
            if stream.opt_ins_emptied:
                yield (
                    f"{counted(stream.opt_ins_emptied, 'opt-in')} of stream '{shown(name)}' had a "
                    "value before and came empty this time. MainBrainer keeps the old value: to "
                    "withdraw an opt-in, the source has to say false."
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


def make_rate_limiter(
    settings: Settings, stop: threading.Event, account: Account | None = None
) -> RateLimiter:
    """Return a limiter for this run alone or, given a ledger's account, for all runs with both.

    Raises:
        LedgerError: The ledger's database cannot be used.
    """
    store = None
    if account is not None and settings.ledger_uri and settings.plan and not settings.dry_run:
        from target_mainbrainer.ledger.database import open_database  # noqa: PLC0415
        from target_mainbrainer.ledger.quota import SharedQuota  # noqa: PLC0415

        # A change need not survive a power loss, for which SQLite would wait for the disk.
        database = open_database(settings.ledger_uri, synchronous="NORMAL")
        database.retry_max_seconds, database.is_ending = settings.retry_max_seconds, stop.is_set
        # The ledger takes all tokens of a server for one account, the limits do not.
        store = SharedQuota(database, f"{account.name} {account.access_token or ''}")
    plan = None if settings.dry_run else settings.plan
    return RateLimiter(plan, clock=time.monotonic, stop=stop, store=store)


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
        problem = f"Setting 'suppression_path': '{shown(settings.suppression_path)}': {reason}."
        raise SettingsError([problem]) from None
