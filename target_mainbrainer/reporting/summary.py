"""What the log says of a run: progress while it lasts, the summary and one last line at its end."""

from __future__ import annotations

import logging
import time
import typing as t

from target_mainbrainer.reporting.duplicates import Duplicates
from target_mainbrainer.reporting.wording import counted

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from target_mainbrainer.api.limits import ClientStats, RateLimiter
    from target_mainbrainer.config.settings import Settings
    from target_mainbrainer.reporting.column_shares import ColumnShares
    from target_mainbrainer.reporting.counts import RunReport
    from target_mainbrainer.reporting.rejections import Rejections

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
