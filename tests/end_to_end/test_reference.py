"""What the pages list is what there is: counts, codes and settings."""

from __future__ import annotations

import re

from target_mainbrainer.contacts.rejection import RejectionCode
from target_mainbrainer.delivery.outcomes import BATCH_FAILED
from target_mainbrainer.reporting.counts import StreamReport
from tests.pages import page

REPORT = page("docs/report.md")
LISTED = set(re.findall(r"`(\w+)`", REPORT.text))


def test_everything_counted_is_explained() -> None:
    assert set(StreamReport().as_dict()) - LISTED == set()


def test_every_reason_for_a_rejection_is_explained() -> None:
    assert {BATCH_FAILED, *(code.value for code in RejectionCode)} - LISTED == set()
