"""The report is there from the start to the end of a run, and says what a monitor needs."""

from __future__ import annotations

import datetime as dt
import json
import typing as t

import pytest

from target_mainbrainer.errors import AuthError, DeliveryError, InterruptedRunError, SettingsError
from target_mainbrainer.report.report_file import ReportFile, outcome_of, reasons_of

if t.TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "report.json"


def test_a_run_that_is_going_on_says_so_and_the_night_before_is_gone(path: Path) -> None:
    path.write_text('{"outcome": "ok", "streams": {"people": {"read": 5}}}')
    ReportFile(str(path), "5eed")
    report = json.loads(path.read_text())
    assert set(report) == {
        *("report_version", "run", "version", "started_at", "ended_at"),
        *("outcome", "exit_code", "reasons", "state"),
    }
    assert (report["outcome"], report["run"], report["report_version"]) == ("running", "5eed", 1)
    assert (report["exit_code"], report["ended_at"], report["reasons"]) == (None, None, [])


def test_a_run_that_ends_well_has_its_counts(path: Path) -> None:
    file = ReportFile(str(path), "5eed")
    file.write(None, state="last", counts={"streams": {"people": {"read": 5}}})
    report = json.loads(path.read_text())
    assert (report["outcome"], report["exit_code"], report["state"]) == ("ok", 0, "last")
    assert report["streams"] == {"people": {"read": 5}}
    started, ended = (dt.datetime.fromisoformat(report[n]) for n in ("started_at", "ended_at"))
    assert started <= ended
    assert started.tzinfo == dt.UTC


def test_a_start_that_failed_is_told_with_its_reasons(path: Path) -> None:
    error = SettingsError(["'list_id' is not a uuid.", "'api_url' is missing."])
    ReportFile(str(path), "5eed").write(error)
    report = json.loads(path.read_text())
    assert report["reasons"] == [
        {"code": "settings", "sentence": "'list_id' is not a uuid."},
        {"code": "settings", "sentence": "'api_url' is missing."},
    ]
    assert "streams" not in report


@pytest.mark.parametrize("name", [".", "missing/report.json", "a\0b"])
def test_a_report_that_cannot_be_written_fails_at_the_start(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=r"Setting 'report_path': .* cannot be written"):
        ReportFile(str(tmp_path / name), "5eed")


def test_a_report_that_cannot_be_written_at_the_end_is_a_warning(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The contacts are in by then."""
    file = ReportFile(str(path), "5eed")
    path.unlink()
    path.mkdir()
    file.write(None)
    assert "cannot be written" in caplog.text


def test_without_a_path_nothing_is_written(tmp_path: Path) -> None:
    ReportFile(None, "5eed").write(None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AuthError("Refused."), "auth"),
        (DeliveryError("Not in."), "not_delivered"),
        (InterruptedRunError("Ended by SIGTERM."), "interrupted"),
        (ValueError("kari@example.com"), "unexpected"),
    ],
)
def test_every_reason_has_a_code(error: Exception, code: str) -> None:
    """An unexpected error may contain anybody's data."""
    (reason,) = reasons_of(error)
    assert reason.code == code
    assert (reason.sentence == str(error)) is (code != "unexpected")
    assert "kari" not in reason.sentence


def test_a_run_that_was_interrupted_is_told_apart_from_one_that_failed() -> None:
    assert outcome_of(InterruptedRunError("SIGTERM")) == "interrupted"
    assert outcome_of(AuthError("No.")) == "failed"
    assert outcome_of(AuthError("No."), dry_run=True) == "dry_run"
