"""What the log says of a run: progress, the summary, the last line; and what a dry run says."""

from __future__ import annotations

import logging
import math
import time
import typing as t
from collections import Counter

from typing_extensions import override

from target_mainbrainer.mapping.columns import METADATA_PREFIX
from target_mainbrainer.report.duplicates import Duplicates
from target_mainbrainer.words import counted, ordinal, shown

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from target_mainbrainer.api.rate_limit import RateLimiter
    from target_mainbrainer.api.requester import ClientStats
    from target_mainbrainer.config.limits import Plan
    from target_mainbrainer.config.settings import Settings
    from target_mainbrainer.report.counts import RunReport, StreamReport
    from target_mainbrainer.report.rejects import Rejections

BURST_SECONDS = 10
OTHER_SIZES = (100, 1000)
"""What the API advises, and what it allows."""


_LEAST_SHARE = 0.001
"""A part of a day below which its number says nothing more."""


class Cost(t.NamedTuple):
    """The requests of a load.

    Attributes:
        sends: Requests that carry contacts, moved people's too.
        follows: Of these, the ones that only find moved people.
        statuses: Questions for what became of a batch, one for each; more if it takes long.
    """

    sends: int
    follows: int = 0
    statuses: int = 0

    @property
    def requests(self) -> int:
        """All of them, but for tokens."""
        return self.sends + self.statuses

    def minutes(self, plan: Plan | None) -> float | None:
        """Return how long the plan makes it take at the least; None without pacing.

        >>> from target_mainbrainer.config.limits import PLANS
        >>> Cost(10_000).minutes(PLANS["freemium"])
        16.7
        """
        if plan is None:
            return None
        return round(self.requests / plan.burst * BURST_SECONDS / 60, 1)

    def share_of_day(self, plan: Plan | None) -> float | None:
        """Return which part of a day's requests it takes; None without pacing."""
        return None if plan is None else round(self.requests / plan.daily, 4)

    def as_dict(self, plan: Plan | None) -> dict[str, t.Any]:
        """Return it for the report file."""
        return {
            "requests": self.requests,
            "requests_with_contacts": self.sends,
            "requests_to_find_moved_people": self.follows,
            "status_questions": self.statuses,
            "minutes": self.minutes(plan),
            "share_of_day": self.share_of_day(plan),
        }

    def describe(self, plan: Plan | None) -> Iterator[str]:
        """Say what it is."""
        parts = [counted(self.sends, "request with contacts", "requests with contacts")]
        if self.follows:
            parts[0] += f" ({self.follows:,} of them to find people who have moved)"
        if self.statuses:
            asked = counted(self.statuses, "question for a status", "questions for statuses")
            parts.append(f"at least {asked}")
        line = " and ".join(parts)
        if plan is not None:
            share = self.requests / plan.daily
            line += (
                f": {_duration(self.minutes(plan))} with {plan.burst} requests in 10 s, and "
                f"{'less than 0.1%' if share < _LEAST_SHARE else f'{share:.1%}'} of the day's "
                f"{plan.daily:,}"
            )
        yield f"Cost: {line}."

    def describe_other_sizes(self, contacts: int, size: int, plan: Plan | None) -> Iterator[str]:
        """Say what another `batch_size_rows` would change, if that is worth a word.

        Args:
            contacts: How many are sent.
            size: The setting as it is.
            plan: The limits to keep.
        """
        for other in OTHER_SIZES:
            batches = math.ceil(contacts / other)
            change = batches - math.ceil(contacts / size)
            if other == size or not change:
                continue
            statuses = max(self.statuses + change, 0) if self.statuses else 0
            cost = self._replace(sends=max(self.sends + change, 0), statuses=statuses)
            minutes = "" if plan is None else f", {_duration(cost.minutes(plan))}"
            yield (
                f"With 'batch_size_rows' {other} it would be about "
                f"{counted(cost.requests, 'request')}{minutes}."
            )


def _duration(minutes: float | None) -> str:
    """Say how long something takes at the least.

    >>> _duration(0.1), _duration(1_250.25)
    ('less than a minute', 'at least 1,250.2 minutes')
    """
    return f"at least {minutes:,.1f} minutes" if minutes and minutes >= 1 else "less than a minute"


class ColumnShares:
    """Counts the empty values of every column of a stream."""

    def __init__(self) -> None:
        self._records = 0
        self._filled: Counter[str] = Counter()

    def add(self, record: Mapping[str, t.Any]) -> None:
        """Look at a record; absent, null and an empty text all count as empty."""
        self._records += 1
        for name, value in record.items():
            self._filled[name] += value is not None and value != ""

    def as_dict(self) -> dict[str, float]:
        """Return the share of empty values by column, in order; without Singer's own columns."""
        records = max(self._records, 1)
        return {
            name: round(1 - count / records, 4)
            for name, count in self._filled.items()
            if not name.startswith(METADATA_PREFIX)
        }

    def describe(self, stream: str) -> str:
        """Return a line for the log."""
        shares = [f"'{shown(name)}' {share:.0%}" for name, share in self.as_dict().items()]
        return f"Empty values of stream '{shown(stream)}': {', '.join(shares) or 'no columns'}."


logger = logging.getLogger("target-mainbrainer")


class Summary:
    """Puts the counts of a run into words.

    Attributes:
        duplicates: Contacts that share something without being one.
    """

    def __init__(
        self,
        settings: Settings,
        report: RunReport,
        rejections: Rejections,
        *,
        effort: ClientStats,
        rate_limiter: RateLimiter,
    ) -> None:
        self._settings = settings
        self._report = report
        self._rejections = rejections
        self._effort = effort
        self._rate_limiter = rate_limiter
        self._started = self._stands_still_since = time.monotonic()
        self._accepted_before = self._retries_before = 0
        self.duplicates = Duplicates()

    def columns_of(self, stream: str) -> ColumnShares | None:  # noqa: ARG002 - a dry run's
        """Return where to count the empty values of a stream; nowhere but in a dry run."""
        return None

    @property
    def seconds(self) -> float:
        """How long the run has taken so far."""
        return max(time.monotonic() - self._started, 0.001)

    def log_progress(self) -> None:
        """Say how far the run is, or why it gets no further."""
        accepted, retries = self._report.total("accepted"), self._effort.retries
        if accepted > self._accepted_before:
            self._accepted_before, self._retries_before = accepted, retries
            self._stands_still_since = time.monotonic()
            self._log_speed(accepted)
        elif failed := retries - self._retries_before:
            logger.warning(
                "MainBrainer has taken nothing for %.0f s, in which %s failed. %s accepted so "
                "far; each request is tried again for up to %s s ('retry_max_seconds').",
                time.monotonic() - self._stands_still_since,
                counted(failed, "try", "tries"),
                f"{accepted:,}",
                self._settings.retry_max_seconds,
            )
        elif waiting := self._report.total("undelivered"):
            logger.info(
                "%s accepted, %s on their way.", f"{accepted:,}", counted(waiting, "record")
            )

    def _log_speed(self, accepted: int) -> None:
        share = f"{self._rate_limiter.share_used:.0%} of the plan's requests used in the last 10 s"
        logger.info(
            "%s accepted, %s rejected, %.0f contacts a second, %s.",
            f"{accepted:,}",
            f"{self._rejections.count:,}",
            accepted / self.seconds,
            share if self._settings.plan else "pacing is off",
        )

    def log(self, findings: Iterable[str]) -> None:
        """Say what became of every record.

        Args:
            findings: What the API says of batches it had accepted, where that fails nothing.
        """
        for line in (
            *self._rejections.describe(),
            *self._dropped(),
            *self._ignored_properties(),
            *self.duplicates.describe(),
            *findings,
        ):
            logger.warning("%s", line)
        if self._rejections.count and not self._settings.rejects_path:
            logger.warning(
                "The rejected records are kept nowhere, so STATE stays before the first of them. "
                "Set 'rejects_path' to set such records aside and go on."
            )
        for line in self._report.table():
            logger.info("%s", line)
        logger.info(
            "%s, %s, %.0f s waited for the limits, %.1f s in all, %.0f contacts a second.",
            counted(self._effort.requests, "request"),
            counted(self._effort.retries, "retry", "retries"),
            self._rate_limiter.waited_seconds,
            self.seconds,
            self._report.total("accepted") / self.seconds,
        )

    def _dropped(self) -> Iterator[str]:
        for name, stream in self._report.streams.items():
            for rejection, count in stream.dropped.most_common():
                yield (
                    f"Left out {counted(count, 'identifier')} of stream '{name}' and kept the "
                    f"contacts, {rejection.code}: {rejection.reason}"
                )

    def _ignored_properties(self) -> Iterator[str]:
        for name, stream in self._report.streams.items():
            for ignored, batches in stream.ignored_properties.most_common():
                yield (
                    f"MainBrainer named property '{ignored}' of stream '{name}' as invalid in "
                    f"{counted(batches, 'batch', 'batches')} and ignored it. Check its name or id "
                    "in 'field_map'."
                )

    def as_dict(self) -> dict[str, t.Any]:
        """Return the summary for the report file."""
        return {
            "streams": {name: stream.as_dict() for name, stream in self._report.streams.items()},
            "duplicates": self.duplicates.found._asdict(),
            "requests": self._effort.requests,
            "retries": self._effort.retries,
            "seconds": round(self.seconds, 3),
            "seconds_waited_for_limits": round(self._rate_limiter.waited_seconds, 3),
            "contacts_per_second": round(self._report.total("accepted") / self.seconds, 1),
        }


_BATCH = "POST /contacts/batch"
_SINGLE = "POST /contacts/insertupdate"
_STATUS = "GET /contacts/{id}/Status"


class DrySummary(Summary):
    """The summary of a dry run. The counts have a run's names and are what a run's would be."""

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:  # noqa: ANN401 - a summary's own
        super().__init__(*args, **kwargs)
        self._columns: dict[str, ColumnShares] = {}

    @override
    def columns_of(self, stream: str) -> ColumnShares:
        """Return where to count the empty values of a stream."""
        return self._columns.setdefault(stream, ColumnShares())

    @override
    def log_progress(self) -> None:
        """Say how far the dry run is."""
        logger.info("%s compared.", counted(self._report.total("read"), "record"))

    @override
    def log(self, findings: Iterable[str]) -> None:
        """Say what a run would do; refusals by the API are not foreseen."""
        logger.info("A run would do this with the input; refusals by MainBrainer are not foreseen.")
        for name, stream in self._report.streams.items():
            for line in self._describe(name, stream):
                logger.info("%s", line)
        for line in (
            *self._rejections.describe(),
            *self._dropped(),
            *self.duplicates.describe(),
            *findings,
        ):
            logger.warning("%s", line)
        for line in self._report.table():
            logger.info("%s", line)
        plan = self._settings.plan
        cost = self._cost()
        contacts, size = self._report.total("accepted"), self._settings.batch_size_rows
        lines = list(cost.describe(plan))
        if self._settings.write_mode == "batch":
            lines += cost.describe_other_sizes(contacts, size, plan)
        for line in lines:
            logger.info("%s", line)

    def _describe(self, name: str, stream: StreamReport) -> Iterator[str]:
        title = f"Stream '{shown(name)}': "
        at_most = "" if self._settings.ledger_uri else "at most "
        new = stream.new if self._settings.ledger_uri else stream.accepted
        yield (
            f"{title}{counted(stream.read, 'record')} read. "
            f"{counted(stream.accepted, 'contact')} would be sent, {at_most}{new:,} of them new"
            f"{f' and {stream.changed:,} changed' if stream.changed else ''}; "
            f"{stream.unchanged:,} unchanged, {stream.merged:,} merged with a later record, "
            f"{stream.omitted:,} omitted, {stream.rejected:,} rejected."
        )
        if stream.changed_columns:
            changes = [
                f"'{shown(column)}' in {count:,}"
                for column, count in stream.changed_columns.most_common()
            ]
            yield f"{title}what changed is {', '.join(changes)}."
        if stream.moved or stream.moves_not_followed or stream.old_parts_kept:
            yield (
                f"{title}of {counted(stream.moved, 'person', 'people')} whose e-mail address or "
                f"mobile number changed the contact would follow, if MainBrainer finds it; "
                f"{stream.moves_not_followed:,} would become second contacts, and "
                f"{stream.old_parts_kept:,} keep an old address or number that the source has not."
            )
        yield (
            f"{title}opt-ins: {stream.opt_ins_given:,} given, {stream.opt_ins_withdrawn:,} "
            f"withdrawn, {stream.opt_ins_held_back:,} held back."
        )
        yield self.columns_of(name).describe(name)

    def _cost(self) -> Cost:
        by_endpoint = self._effort.by_endpoint
        batches, follows = by_endpoint[_BATCH], by_endpoint[_STATUS]
        statuses = follows
        if self._settings.confirm_batches != "none":
            statuses += batches - follows
        return Cost(batches + by_endpoint[_SINGLE], follows, statuses)

    @override
    def as_dict(self) -> dict[str, t.Any]:
        """Return the summary for the report file: a run's, and what only a dry run says."""
        summary = super().as_dict()
        for name, counts in summary["streams"].items():
            counts["empty_values"] = self.columns_of(name).as_dict()
        for name in ("requests", "retries", "seconds_waited_for_limits", "contacts_per_second"):
            del summary[name]
        return {"dry_run": True, **summary, "cost": self._cost().as_dict(self._settings.plan)}


NOTHING_READ = "nothing was read and nothing was sent; STATE is as it was"


def describe_end(report: RunReport, *, is_whole: bool, has_state: bool, state_records: int) -> str:
    """Return what a run has come to, for people.

    Args:
        report: The counts.
        is_whole: Whether the input was read to its end.
        has_state: Whether the tap sent any STATE.
        state_records: How many records stand before the last STATE written; -1 if none was.

    >>> from target_mainbrainer.report.counts import RunReport
    >>> report = RunReport()
    >>> people = report.stream("people")
    >>> people.read, people.accepted = 4_800, 1_900
    >>> describe_end(report, is_whole=False, has_state=True, state_records=1_500)
    '1,900 contacts are in, 2,900 were not sent, later records were not read; STATE is at the \
1,500th record'
    """
    if not is_whole and not report.total("read"):
        return NOTHING_READ
    parts = ", ".join(_parts(report, is_whole=is_whole))
    if is_whole and not has_state:
        return f"{parts}; the tap sent no STATE"
    return f"{parts}; {_state(report, state_records)}"


def describe_dry_end(report: RunReport) -> str:
    """Return what a dry run has found, for people.

    >>> from target_mainbrainer.report.counts import RunReport
    >>> report = RunReport()
    >>> people = report.stream("people")
    >>> people.read, people.accepted, people.unchanged = 4_800, 1_900, 2_900
    >>> describe_dry_end(report)
    'this was a dry run: 1,900 contacts would be sent, 2,900 are unchanged; nothing was sent'
    """
    parts = [f"{counted(report.total('accepted'), 'contact')} would be sent"]
    if unchanged := report.total("unchanged"):
        parts.append(f"{unchanged:,} {'is' if unchanged == 1 else 'are'} unchanged")
    if rejected := report.total("rejected"):
        parts.append(f"{rejected:,} would be rejected")
    if undelivered := report.total("undelivered"):
        parts.append(f"{undelivered:,} would not be sent")
    return f"this was a dry run: {', '.join(parts)}; nothing was sent"


def _parts(report: RunReport, *, is_whole: bool) -> Iterator[str]:
    total = report.total
    yield f"{counted(total('accepted'), 'contact is', 'contacts are')} in"
    for name, words in _MORE.items():
        if number := total(name):
            yield f"{number:,} {words[number != 1]}"
    if not is_whole:
        yield "later records were not read"


_MORE = {
    "unchanged": ("was unchanged", "were unchanged"),
    "rejected": ("was rejected", "were rejected"),
    "undelivered": ("was not sent", "were not sent"),
}


def _state(report: RunReport, state_records: int) -> str:
    if state_records < 0:
        return "STATE is as it was"
    if state_records >= report.total("read"):
        return "STATE is at the end"
    return f"STATE is at the {ordinal(state_records)} record"
