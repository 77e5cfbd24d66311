"""What the pages list is what there is: counts, codes and settings."""

from __future__ import annotations

import re
import typing as t

from target_mainbrainer.contacts import RejectionCode
from target_mainbrainer.report.counts import StreamReport
from tests.messages import person, schema
from tests.pages import page

if t.TYPE_CHECKING:
    from tests.messages import RunTarget

REPORT = page("docs/report.md")
LISTED = set(re.findall(r"`(\w+)`", REPORT.text))


def test_everything_counted_is_explained() -> None:
    assert set(StreamReport().as_dict()) - LISTED == set()


def test_all_that_the_report_file_holds_is_explained(run_target: RunTarget) -> None:
    for dry_run in (False, True):
        report = run_target(schema(), person(1), dry_run=dry_run).report
        names = {*report, *report["streams"]["people"], *report["duplicates"]}
        names |= set(report.get("cost", ()))
        assert names - LISTED == set()


def test_every_reason_for_a_rejection_is_explained() -> None:
    assert {"batch_failed", *(code.value for code in RejectionCode)} - LISTED == set()
