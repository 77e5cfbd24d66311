"""What a dry run says: what a run would do to each stream, and what it would cost."""

from __future__ import annotations

import typing as t

from typing_extensions import override

from target_mainbrainer.reporting.column_shares import ColumnShares
from target_mainbrainer.reporting.cost import Cost
from target_mainbrainer.reporting.summary import Summary, logger
from target_mainbrainer.words import counted, shown

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from target_mainbrainer.reporting.counts import StreamReport

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
