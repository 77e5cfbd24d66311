"""The last line of the log: what a run has come to, and where STATE stands."""

from __future__ import annotations

import typing as t

from target_mainbrainer.words import counted, ordinal

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from target_mainbrainer.reporting.counts import RunReport

NOTHING_READ = "nothing was read and nothing was sent; STATE is as it was"


def describe_end(report: RunReport, *, is_whole: bool, has_state: bool, state_records: int) -> str:
    """Return what a run has come to, for people.

    Args:
        report: The counts.
        is_whole: Whether the input was read to its end.
        has_state: Whether the tap sent any STATE.
        state_records: How many records stand before the last STATE written; -1 if none was.

    >>> from target_mainbrainer.reporting.counts import RunReport
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

    >>> from target_mainbrainer.reporting.counts import RunReport
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
