"""The table, the last line and the report have what a monitor and a reader need."""

import datetime as dt
import json
import re
import resource
import types
import typing as t
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer import errors
from target_mainbrainer.contacts import Contact, Mobile
from target_mainbrainer.errors import AuthError, InterruptedRunError, SettingsError
from target_mainbrainer.report import summary
from target_mainbrainer.report.counts import RunReport
from target_mainbrainer.report.duplicates import Duplicates, Shared
from target_mainbrainer.report.rejects import Rejections
from target_mainbrainer.report.summary import LOAD_AGAIN, RUN_AGAIN, End, ReportFile, Summary
from target_mainbrainer.settings.declared import Settings
from tests.conftest import OUTCOMES
from tests.loads import cases


def night(text: str) -> RunReport:
    """The counts of one stream; `refused` and `failed` are records refused by MainBrainer."""
    report = RunReport()
    people = report.stream("people")
    codes = {"rejected": "invalid_email", "refused": "refused_422", "failed": "batch_failed"}
    for count in text.split(", ") if text else ():
        number, name = count.split(" ")
        if name in codes:
            people.rejected_by_code[codes[name]] = int(number)
            people.rejected_before_sending += int(number) if name == "rejected" else 0
        else:
            setattr(people, name, int(number))
    return report


def test_the_table_shows_every_count_that_is_not_zero_and_no_other() -> None:
    report = night("1200 read, 1200 unchanged, 7 skipped")
    report.stream("others")
    head, people, others = report.table()
    words = "stream read accepted merged unchanged rejected undelivered skipped"
    assert head.split() == words.split()
    assert people.split() == ["people", "1,200", "0", "0", "1,200", "0", "0", "7"]
    assert len(people) == len(head) == len(others)


LAST, NONE = "STATE is at the tap's last.", "the tap sent no STATE."
REFUSED = "FAILED: nothing was accepted: all 8 contacts sent were refused"
OPTED_OUT = "OK: nothing had changed; 3 opt-outs of people who are gone."
GONE = f"OK: 1 record read: 1 contact sent; 1 opt-out of people who are gone; {NONE}"
MERGED = (
    "OK: 10 records read: 4 contacts sent, 3 merged with a later one, 2 deleted or empty and left "
    f"out, 1 rejected; {LAST}"
)
EARLIER = "OK: 4 records read: 3 unchanged, 1 rejected; STATE is at record 2."
FAILED = f"FAILED: 5 records read: 5 rejected; {LAST} {LOAD_AGAIN}"
EIGHT, TEN, NO_STATE = End(state_records=8), End(state_records=10), End(has_state=False)


@cases(
    "counts end expected",
    *(("8 read, 8 unchanged", end, "OK: nothing had changed.") for end in (EIGHT, NO_STATE)),
    ("8 read, 8 unchanged, 3 opted_out", EIGHT, OPTED_OUT),
    ("1 read, 1 accepted, 1 opted_out", NO_STATE, GONE),
    ("10 read, 4 accepted, 3 merged, 2 omitted, 1 rejected", TEN, MERGED),
    ("4 read, 3 unchanged, 1 rejected", End(open_states=1, state_records=2), EARLIER),
    ("", NO_STATE, "OK: there was no record to deliver."),
    ("", End(state_records=0), f"OK: there was no record to deliver; {LAST}"),
    ("8 read, 8 refused", EIGHT, f"{REFUSED}. {LAST}"),
    ("5 read, 5 failed", End(LOAD_AGAIN, state_records=5), FAILED),
    ("8 read, 3 refused, 5 failed", EIGHT, f"OK: 8 records read: 8 rejected; {LAST}"),
)
def test_the_last_line_sums_up_the_night(counts: str, end: End, expected: str) -> None:
    assert summary.last_line(night(counts), end) == expected


@given(
    st.fixed_dictionaries(dict.fromkeys([*OUTCOMES, "refused"], st.integers(0, 3))),
    st.sampled_from(["", RUN_AGAIN]),
)
def test_a_run_without_an_accepted_contact_fails(counts: dict[str, int], advice: str) -> None:
    """A run that sent contacts of which none was accepted is never OK."""
    told = ", ".join(f"{number} {name}" for name, number in counts.items())
    line = summary.last_line(night(f"{sum(counts.values())} read, {told}"), End(advice))
    is_all_refused = counts["refused"] > 0 and not counts["accepted"]
    assert line.startswith("FAILED: ") is (is_all_refused or bool(advice))
    assert not re.search(r"\b0\b", line)


@cases(
    "end state",
    *((End(state_records=5), "last"), (End(), "unchanged"), (End(has_state=False), "none")),
    (End(state_records=5, open_states=1), "earlier"),
    (End(state_records=5, is_whole=False), "earlier"),
    (End(has_state=False, is_whole=False), "unchanged"),
)
def test_where_state_stands_is_one_word_in_the_report(end: End, state: str) -> None:
    assert end.state == state


def test_progress_needs_progress(caplog: pytest.LogCaptureFixture) -> None:
    """It is silent while tries fail and while the tap is silent, but not while statuses come."""
    caplog.set_level("INFO")
    report, limiter = night("500 read"), types.SimpleNamespace(requests=Counter(), retries=0)
    settings = Settings.from_config({"access_token": "made-up"})
    told = Summary(settings, report, Rejections(None, settings), t.cast("t.Any", limiter))
    for accepted, retries, awaited, lines in (
        *((300, 0, 0, 1), (300, 4, 0, 1), (500, 4, 0, 2), (500, 4, 0, 2)),
        *((500, 4, 3, 3), (500, 4, 3, 4), (500, 5, 3, 4)),
    ):
        report.streams["people"].accepted, limiter.retries = accepted, retries
        told.log_progress(awaited)
        assert len(caplog.messages) == lines
    assert "300 accepted, 0 rejected, 200 records in flight, 0 batches" in caplog.messages[0]
    assert "3 batches to be confirmed" in caplog.messages[-1]


# The report is there from the start to the end of a run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "report.json"


def test_the_report_of_a_run_under_way_takes_the_place_of_one_that_ended_well(path: Path) -> None:
    ReportFile(str(path), "last").write(None, "last", {"streams": {"people": {"read": 5}}})
    last = json.loads(path.read_text())
    assert (last["outcome"], last["exit_code"], last["state"]) == ("ok", 0, "last")
    assert last["streams"] == {"people": {"read": 5}}
    started, ended = (dt.datetime.fromisoformat(last[n]) for n in ("started_at", "ended_at"))
    assert started <= ended
    assert started.tzinfo == dt.UTC
    ReportFile(str(path), "5eed")
    report = json.loads(path.read_text())
    assert set(report) == set(last) - {"streams"}
    assert (report["outcome"], report["run"], report["report_version"]) == ("running", "5eed", 1)
    assert (report["exit_code"], report["ended_at"], report["reasons"]) == (None, None, [])


def test_a_start_that_failed_is_reported_with_its_reasons(path: Path) -> None:
    error = SettingsError("'list_id' is not a uuid.", "'api_url' is missing.")
    assert str(error) == "'list_id' is not a uuid. 'api_url' is missing."
    ReportFile(str(path), "5eed").write(error, "unchanged", {})
    report = json.loads(path.read_text())
    assert report["reasons"] == [
        {"code": "settings", "sentence": "'list_id' is not a uuid."},
        {"code": "settings", "sentence": "'api_url' is missing."},
    ]
    assert "streams" not in report


@cases(
    "name reason",
    *((".", "it is another file"), ("a\0b", "it is not a path")),
    ("missing/report.json", "No such file or directory"),
)
def test_an_unwritable_path_fails_at_once(tmp_path: Path, name: str, reason: str) -> None:
    said = rf"Setting 'report_path': .* cannot be written \({reason}\)\.$"
    with pytest.raises(SettingsError, match=said):
        ReportFile(str(tmp_path / name), "5eed")


def test_an_unwritable_report_is_a_warning(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The contacts are in by then."""
    file = ReportFile(str(path), "5eed")
    path.unlink()
    path.mkdir()
    file.write(None, "last", {})
    assert "cannot be written" in caplog.text


@cases(
    "error outcome",
    *((InterruptedRunError("SIGTERM"), "interrupted"), (AuthError("No."), "failed"), (None, "ok")),
)
def test_an_interruption_is_an_outcome(path: Path, error: Exception | None, outcome: str) -> None:
    ReportFile(str(path), "1").write(error, "unchanged", {})
    assert json.loads(path.read_text())["outcome"] == outcome


# The error tree tells the SDK, and us, what to do next


def test_every_error_has_a_code_of_its_own_for_the_report() -> None:
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Exception)]
    ours = [c for c in classes if issubclass(c, errors.TargetMainBrainerError)]
    assert len({c.code for c in ours}) == len(ours)


# Contacts that share something are counted, and named without personal data


A, B = "a@example.com", "b@example.com"
M1, M2 = Mobile(44, 7700900001), Mobile(44, 7700900002)


def shared(*contacts: Contact) -> Shared:
    found = Duplicates()
    for number, contact in enumerate(contacts, start=1):
        found.add(contact, "people", number, key=number * 10)
    return found.found


@cases(
    "key shown",
    *(("4711", "key 4711"), ("007", "key 007"), (None, "record 7"), ("a1", "record 7")),
    *(("4790812501", "record 7"), ("kari@example.com", "record 7")),
)
def test_a_key_that_is_no_short_number_is_not_shown(key: str | None, shown: str) -> None:
    found = Duplicates()
    for mobile in (M1, M2):
        found.add(Contact(email=A, mobile=mobile), "people", 7, key=key)
    (example,) = found.found.examples
    assert example.startswith(f"{shown} of 'people' and {shown} of 'people' have")


EMAILS, MOBILES = st.sampled_from([None, A, A.upper(), B]), st.sampled_from([None, M1, M2])
IDS = st.none() | st.integers(1, 3)


@given(st.lists(st.builds(Contact, contact_id=IDS, email=EMAILS, mobile=MOBILES), max_size=12))
def test_the_counts_are_those_of_a_plain_search(contacts: list[Contact]) -> None:
    found = shared(*contacts)
    for name, count in (("email", found.email), ("mobile", found.mobile)):
        groups = defaultdict(set)
        for contact in contacts:
            if value := getattr(contact, name):
                value = value.lower() if name == "email" else value
                groups[value].add(contact.contact_id or (contact.mobile, contact.email))
        assert count == sum(len(ids) for ids in groups.values() if len(ids) > 1)


def test_a_full_disk_ends_the_looking_and_nothing_else() -> None:
    found = Duplicates()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        for number in range(100_000):
            found.add(Contact(email=A, mobile=Mobile(47, number)), "people", number)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not found.found.is_complete
    assert "Not all contacts were searched for what they share" in list(found.describe())[-1]


def test_one_example_is_in_the_log_and_five_are_in_the_report() -> None:
    found = Duplicates()
    for number in range(20):
        found.add(Contact(email=f"p{number // 2}@example.com", mobile=Mobile(47, number)), "p", 1)
    (line,) = found.describe()
    assert len(found.found.examples) == 5
    assert line.count("have the same") == 1
    assert len(line) < 250
