"""Progress, summary and last line in the log of a run, and its report file.

And what a dry run says.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import time
import typing as t
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

from typing_extensions import override

from target_mainbrainer.api.limits import RateLimiter
from target_mainbrainer.errors import InterruptedRunError, SettingsError
from target_mainbrainer.privacy import reasons_of
from target_mainbrainer.report.counts import RunReport, StreamReport
from target_mainbrainer.report.duplicates import Duplicates
from target_mainbrainer.report.rejects import Rejections, all_refused, sentence
from target_mainbrainer.settings.declared import Settings
from target_mainbrainer.words import counted, shown

_LEAST_SPEED = 10
"""Contacts a second below which the number says nothing."""

logger = logging.getLogger("target-mainbrainer")


# The last line

RUN_AGAIN = "Run again to go on."
CORRECT = "Correct the cause and run again to go on."
LOAD_AGAIN = "Load the records of the failed batches once more."


class End(t.NamedTuple):
    """How a run has ended, beside its counts.

    Attributes:
        advice: What to do now; "" if the run ended well.
        is_whole: The input was read to its end.
        has_state: The tap sent STATE.
        open_states: STATE messages that were not written, because a record before them is not in.
        state_records: Records before the STATE that was written last; -1 if none was written.
        words: The status and words that all refusals share, if they do.
        is_dry: It was a dry run.
        has_lost_records: Records are before STATE that are neither in MainBrainer nor on file.
    """

    advice: str = ""
    is_whole: bool = True
    has_state: bool = True
    open_states: int = 0
    state_records: int = -1
    words: str = ""
    is_dry: bool = False
    has_lost_records: bool = False

    @property
    def state(self) -> str | None:
        """Where STATE stands, as the report file says it; None after a dry run."""
        if self.is_dry:
            return None
        if self.state_records < 0:
            return "none" if self.is_whole and not self.has_state else "unchanged"
        return "last" if self.is_whole and not self.open_states else "earlier"

    @property
    def state_in_words(self) -> str:
        """Where STATE stands, for people."""
        return {
            None: "nothing was sent",
            "none": "the tap sent no STATE",
            "unchanged": "STATE is as it was",
            "last": "STATE is at the tap's last",
            "earlier": f"STATE is at record {self.state_records:,}",
        }[self.state]


def last_line(report: RunReport, end: End) -> str:
    """Return the last line of the log: never OK if nothing that was sent was accepted.

    >>> from target_mainbrainer.report.counts import RunReport
    >>> report = RunReport()
    >>> people = report.stream("people")
    >>> people.read, people.accepted, people.unchanged = 20_050, 412, 19_638
    >>> last_line(report, End(state_records=20_050))
    "OK: 20,050 records read: 412 contacts sent, 19,638 unchanged; STATE is at the tap's last."
    >>> people.unchanged = 10_000
    >>> last_line(report, End(RUN_AGAIN, is_whole=False, state_records=1_500))
    'FAILED: 20,050 records read: 412 contacts sent, 10,000 unchanged, 9,638 not sent, later \
records were not read; STATE is at record 1,500. Run again to go on.'
    >>> people.read = 10_412
    >>> last_line(report, End(is_dry=True))
    'OK: this was a dry run: 10,412 records read: 412 contacts would be sent, 10,000 unchanged; \
nothing was sent.'
    """
    if report.is_all_refused:
        return f"FAILED: {all_refused(report, end.words)}. {sentence(end.state_in_words)}"
    read, opted_out = report.total("read"), report.total("opted_out")
    parts = [_what_was_read(report, end)]
    if opted_out:
        parts.append(f"{counted(opted_out, 'opt-out')} of people who are gone")
    if end.is_dry:
        parts[0] = f"this was a dry run: {parts[0]}"
    if (
        end.is_dry
        or end.advice
        or report.total("unchanged") < read
        or (read == 0 and end.has_state)
    ):
        parts.append(end.state_in_words)
    return f"FAILED: {'; '.join(parts)}. {end.advice}" if end.advice else f"OK: {'; '.join(parts)}."


def _what_was_read(report: RunReport, end: End) -> str:
    read = report.total("read")
    if not read:
        return "nothing was read" if end.advice else "there was no record to deliver"
    if not end.advice and report.total("unchanged") == read:
        return "nothing had changed"
    parts = [
        f"{report.total(name):,} {what}" for name, what in _PARTS.items() if report.total(name)
    ]
    if accepted := report.total("accepted"):
        verb = "would be sent" if end.is_dry else "sent"
        parts.insert(0, f"{counted(accepted, 'contact')} {verb}")
    if not end.is_whole:
        parts.append("later records were not read")
    return f"{counted(read, 'record')} read: {', '.join(parts)}"


_PARTS = {
    "merged": "merged with a later one",
    "unchanged": "unchanged",
    "omitted": "deleted or empty and left out",
    "rejected": "rejected",
    "undelivered": "not sent",
}


# Progress and summary


class Summary:
    """Puts the counts of a run into words.

    Attributes:
        duplicates: Contacts that share something without being one; empty unless it is fed.
    """

    def __init__(
        self,
        settings: Settings,
        report: RunReport,
        rejections: Rejections,
        limiter: RateLimiter,
    ) -> None:
        self._settings = settings
        self._report = report
        self._rejections = rejections
        self._limiter = limiter
        self._started = time.monotonic()
        self._progress = (0, 0, 0)
        self._retries_before = 0
        self.duplicates = Duplicates()

    @property
    def seconds(self) -> float:
        """How long the run has taken so far."""
        return max(time.monotonic() - self._started, 0.001)

    def log_progress(self, open_batches: int = 0) -> None:
        """Log how far the run is.

        Args:
            open_batches: Accepted batches whose status is awaited.
        """
        accepted, waiting = self._report.total("accepted"), self._report.total("undelivered")
        before, self._progress = self._progress, (accepted, waiting, open_batches)
        is_failing = self._limiter.retries > self._retries_before  # the client warns of that
        self._retries_before = self._limiter.retries
        if self._progress != before or (open_batches and not is_failing):
            logger.info(
                "%s accepted, %s rejected, %s in flight, %s to be confirmed%s.",
                f"{accepted:,}",
                f"{self._rejections.count:,}",
                counted(waiting, "record"),
                counted(open_batches, "batch", "batches"),
                self._speed(),
            )

    def _speed(self) -> str:
        speed = self._report.total("accepted") / self.seconds
        return f", {speed:,.0f} contacts a second" if speed >= _LEAST_SPEED else ""

    def log(self, findings: Iterable[str]) -> None:
        """Log how the records have ended.

        Args:
            findings: Other warnings about the run.
        """
        self._warn(findings)
        if self._rejections.count and not self._settings.rejects_path:
            logger.warning(
                "The rejected records are not kept, so STATE stays before the first of them. "
                "Set 'rejects_path' to set such records aside and go on."
            )
        for line in self._report.table():
            logger.info("%s", line)
        logger.info(
            "%s, %s, %.0f s waited for the limits, %.1f s in all%s.",
            counted(self._limiter.requests.total(), "request"),
            counted(self._limiter.retries, "retry", "retries"),
            self._limiter.waited_seconds,
            self.seconds,
            self._speed(),
        )

    def _warn(self, findings: Iterable[str]) -> None:
        ours = (*self._rejections.describe(), *self.duplicates.describe(), *self._doubts())
        for line in (*ours, *findings):
            logger.warning("%s", line)

    def _doubts(self) -> Iterator[str]:
        """Yield what the counts of the streams say that a person should look at."""
        for name, stream in self._report.streams.items():
            for code, count in stream.dropped_by_code.most_common():
                yield (
                    f"Left out {counted(count, 'identifier')} of stream '{shown(name)}' ({code}), "
                    "and kept the contacts."
                )
            for ignored, batches in stream.ignored_properties.most_common():
                yield (
                    f"MainBrainer named property '{shown(ignored)}' of stream '{shown(name)}' as "
                    f"invalid in {counted(batches, 'batch', 'batches')} and ignored it. Check its "
                    "name or id in 'field_map'."
                )
            if stream.opt_ins_emptied:
                yield (
                    f"{counted(stream.opt_ins_emptied, 'opt-in')} of stream '{shown(name)}' had a "
                    "value before and came empty this time. MainBrainer keeps the old value: to "
                    "withdraw an opt-in, the source has to say false."
                )

    def as_dict(self) -> dict[str, t.Any]:
        """Return the summary for the report file."""
        return {
            "streams": {name: stream.as_dict() for name, stream in self._report.streams.items()},
            "duplicates": self.duplicates.found._asdict(),
            "requests": self._limiter.requests.total(),
            "retries": self._limiter.retries,
            "seconds": round(self.seconds, 3),
            "seconds_waited_for_limits": round(self._limiter.waited_seconds, 3),
            "contacts_per_second": round(self._report.total("accepted") / self.seconds, 1),
        }


# Dry runs


class DrySummary(Summary):
    """The summary of a dry run. The counts have a run's names and are what a run's would be."""

    @override
    def log_progress(self, open_batches: int = 0) -> None:
        """Log how far the dry run is."""
        logger.info("%s compared.", counted(self._report.total("read"), "record"))

    @override
    def log(self, findings: Iterable[str]) -> None:
        """Log what a run would do; what the API would refuse is not known."""
        logger.info(
            "A run would do the following; what MainBrainer itself would refuse is not known."
        )
        for name, stream in self._report.streams.items():
            for line in self._describe(f"Stream '{shown(name)}': ", stream):
                logger.info("%s", line)
        self._warn(findings)
        for line in self._report.table():
            logger.info("%s", line)
        cost, plan = self._cost(), self._settings.plan
        line = (
            f"Cost: {counted(cost['requests'], 'request')} or more "
            f"({cost['requests_with_contacts']:,} with contacts, "
            f"{cost['status_questions']:,} for statuses)"
        )
        if plan is not None:
            line += (
                f": {cost['minutes']:,} minutes with {plan.burst} requests in 10 s, and "
                f"{cost['share_of_day']:.1%} of the day's {plan.daily:,}"
            )
        logger.info("%s.", line)

    def _describe(self, title: str, stream: StreamReport) -> Iterator[str]:
        """Yield what the table does not say: how many are new at most, and what has changed."""
        accepted = f"at most {stream.accepted:,}"
        new = f"{stream.created:,}" if self._settings.ledger_uri else accepted
        yield (
            f"{title}{counted(stream.read, 'record')} read. "
            f"{counted(stream.accepted, 'contact')} would be sent, {new} of them new."
        )
        if stream.changed_columns:
            columns = stream.changed_columns.most_common()
            changes = [f"'{shown(column)}' in {count:,}" for column, count in columns]
            yield f"{title}changed fields: {', '.join(changes)}."

    def _cost(self) -> dict[str, t.Any]:
        """Return the requests of a load, and what they take at the least; None without pacing."""
        by_endpoint = self._limiter.requests
        batches = by_endpoint["POST /contacts/batch"]
        follows = by_endpoint["GET /contacts/{id}/Status"]
        sends = batches + by_endpoint["POST /contacts/insertupdate"]
        statuses = follows if self._settings.confirm_batches == "none" else batches
        requests, plan = sends + statuses, self._settings.plan
        return {
            "requests": requests,
            "requests_with_contacts": sends,
            "requests_to_find_moved_people": follows,
            "status_questions": statuses,
            "minutes": plan and round(requests / plan.burst * 10 / 60, 1),
            "share_of_day": plan and round(requests / plan.daily, 4),
        }

    @override
    def as_dict(self) -> dict[str, t.Any]:
        """Return the summary for the report file: a run's, and what the run would cost."""
        return super().as_dict() | {"cost": self._cost()}


# The report file, for a monitor

VERSION = 1
"""Raised when a name of the report gets another meaning or goes; docs/report.md promises that."""

_BEGINNING = b'{\n  "report_version"'


class ReportFile:
    """Writes the report at the start of a run and at its end, each time whole or not at all.

    A run that is killed leaves a report that says `running`.

    Args:
        path: Where it goes; None for nowhere.
        run_id: The run's id.

    Raises:
        SettingsError: It cannot be written.
    """

    def __init__(self, path: str | None, run_id: str) -> None:
        self._path = path
        self._start = {
            "report_version": VERSION,
            "run": run_id,
            "version": metadata.version("target-mainbrainer"),
            "started_at": _now(),
            "ended_at": None,
            "outcome": "running",
            "exit_code": None,
            "reasons": [],
            "state": None,
        }
        if reason := self._write(self._start):
            raise SettingsError(
                f"Setting 'report_path': '{shown(str(path))}' cannot be written ({reason})."
            )

    def write(
        self, error: BaseException | None, state: str | None, counts: Mapping[str, t.Any]
    ) -> None:
        """Write how the run has ended. It does not fail for that any more; the log says so.

        Args:
            error: Why it did not end well; None if it did.
            state: Where STATE stands, see `End.state`; None after a dry run.
            counts: The summary's `as_dict`, if the run began.
        """
        outcome = "dry_run" if state is None else "failed" if error else "ok"
        if outcome == "failed" and isinstance(error, InterruptedRunError):
            outcome = "interrupted"
        end = {
            "ended_at": _now(),
            "outcome": outcome,
            "exit_code": int(error is not None),
            "reasons": [reason._asdict() for reason in reasons_of(error)],
            "state": state,
        }
        if reason := self._write({**self._start, **end, **counts}):
            logger.warning(
                "The report '%s' cannot be written (%s).", shown(str(self._path)), reason
            )

    def _write(self, content: Mapping[str, t.Any]) -> str:
        """Write it, unless there is no path; return why that failed, or ""."""
        if self._path is None:
            return ""
        try:
            target = Path(self._path).resolve()
            if target.exists() and not _is_report(target):
                return "it is another file"
            beside = target.with_name(f".{target.name}.part")
            beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            beside.replace(target)
        except (OSError, ValueError) as error:
            return getattr(error, "strerror", None) or "it is not a path"
        return ""


def _is_report(path: Path) -> bool:
    """Return whether a file is an earlier report or empty, so that nothing is lost with it."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _BEGINNING.startswith(file.read(len(_BEGINNING)))


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
