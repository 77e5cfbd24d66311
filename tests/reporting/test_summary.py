"""The table shows what is counted, and progress says why there is none."""

from __future__ import annotations

import types
import typing as t

import pytest

from target_mainbrainer.api.limits import ClientStats
from target_mainbrainer.config.limits import PLANS
from target_mainbrainer.config.settings import Settings
from target_mainbrainer.reporting.cost import Cost
from target_mainbrainer.reporting.counts import COUNTS, DETAILS, RunReport, StreamReport
from target_mainbrainer.reporting.ending import describe_dry_end, describe_end
from target_mainbrainer.reporting.rejections import Rejections
from target_mainbrainer.reporting.summary import Summary


class Morning:
    """A summary with everything it is made of."""

    def __init__(self) -> None:
        self.report = RunReport()
        self.people = self.report.stream("people")
        self.effort = ClientStats()
        rejections = Rejections(None, allowed=0, allowed_percent=50, settle=lambda _: None)
        limiter: t.Any = types.SimpleNamespace(share_used=0.25, waited_seconds=3.0)
        settings = Settings.from_config({"access_token": "made-up"})
        self.summary = Summary(
            settings, self.report, rejections, effort=self.effort, rate_limiter=limiter
        )


@pytest.fixture
def morning(caplog: pytest.LogCaptureFixture) -> Morning:
    caplog.set_level("INFO")
    return Morning()


def test_every_number_of_a_stream_is_declared_and_in_the_report() -> None:
    report = StreamReport()
    declared = {count.name for count in COUNTS}
    numbers = {name for name, value in vars(report).items() if isinstance(value, int)}
    assert numbers <= declared
    assert set(report.as_dict()) == declared | set(DETAILS)
    assert all(count.meaning for count in COUNTS)


@pytest.mark.parametrize("outcome", [count.name for count in COUNTS if count.is_outcome])
def test_every_outcome_accounts_for_a_record(outcome: str) -> None:
    report = StreamReport(read=3)
    if outcome == "rejected":
        report.rejected_by_code["x"] = 2
    else:
        setattr(report, outcome, 2)
    assert (report.accounted_for, report.undelivered) == (2, 1)


def test_the_table_shows_every_count_that_is_not_zero_and_no_other(morning: Morning) -> None:
    morning.people.read = morning.people.unchanged = 1_200
    morning.people.skipped = 7
    morning.report.stream("others")
    head, people, others = morning.report.table()
    assert head.split() == [
        *("stream", "read", "accepted", "merged", "unchanged", "rejected", "undelivered"),
        "skipped",
    ]
    assert people.split() == ["people", "1,200", "0", "0", "1,200", "0", "0", "7"]
    assert len(people) == len(head) == len(others)


def test_one_of_anything_is_said_in_the_singular(
    morning: Morning, caplog: pytest.LogCaptureFixture
) -> None:
    morning.effort.requests = morning.effort.retries = 1
    morning.summary.log([])
    assert "1 request, 1 retry, 3 s waited for the limits" in caplog.text


@pytest.mark.parametrize(
    ("number", "end", "dry"),
    [
        (1, "1 contact is in, 1 was unchanged, 1 was rejected, 1 was not sent", "1 is unchanged"),
        (
            2,
            "2 contacts are in, 2 were unchanged, 2 were rejected, 2 were not sent",
            "2 are unchanged",
        ),
    ],
)
def test_the_last_line_counts_in_the_singular_and_in_the_plural(
    morning: Morning, number: int, end: str, dry: str
) -> None:
    people = morning.people
    people.read, people.accepted, people.unchanged = 4 * number, number, number
    people.rejected_by_code["no_identity"] = number
    said = describe_end(morning.report, is_whole=True, has_state=True, state_records=4 * number)
    assert said == f"{end}; STATE is at the end"
    contacts = "contact" if number == 1 else "contacts"
    assert describe_dry_end(morning.report) == (
        f"this was a dry run: {number} {contacts} would be sent, {dry}, {number} would be "
        f"rejected, {number} would not be sent; nothing was sent"
    )


def test_progress_in_an_outage_says_what_is_happening(
    morning: Morning, caplog: pytest.LogCaptureFixture
) -> None:
    morning.people.read, morning.people.accepted = 500, 300
    morning.summary.log_progress()
    assert "300 accepted, 0 rejected" in caplog.messages[-1]
    morning.summary.log_progress()
    assert caplog.messages[-1] == "300 accepted, 200 records on their way."
    morning.effort.retries = 4
    for _ in range(2):  # pauses between tries grow longer than the time between two lines
        morning.summary.log_progress()
        assert caplog.records[-1].levelname == "WARNING"
        assert "in which 4 tries failed. 300 accepted so far" in caplog.messages[-1]
        assert "'retry_max_seconds'" in caplog.messages[-1]
    count = len(caplog.messages)
    morning.people.accepted = 500
    morning.summary.log_progress()
    morning.summary.log_progress()
    assert len(caplog.messages) == count + 1, "a silent tap is nothing to speak of"


def test_the_cost_of_a_load() -> None:
    cost = Cost(sends=1_300, follows=300, statuses=1_300)
    assert cost.requests == 2_600
    assert cost.minutes(PLANS["freemium"]) == pytest.approx(4.3)
    assert cost.share_of_day(PLANS["freemium"]) == pytest.approx(0.0104)
    assert (cost.minutes(None), cost.share_of_day(None)) == (None, None)
    (line,) = cost.describe(PLANS["freemium"])
    assert line == (
        "Cost: 1,300 requests with contacts (300 of them to find people who have moved) and at "
        "least 1,300 questions for statuses: at least 4.3 minutes with 100 requests in 10 s, and "
        "1.0% of the day's 250,000."
    )
    (line,) = Cost(1).describe(PLANS["freemium"])
    assert line == (
        "Cost: 1 request with contacts: less than a minute with 100 requests in 10 s, and less "
        "than 0.1% of the day's 250,000."
    )
    (line,) = cost.describe_other_sizes(100_000, 100, PLANS["freemium"])
    assert "'batch_size_rows' 1000" in line
    assert list(cost.describe_other_sizes(90, 100, None)) == []
