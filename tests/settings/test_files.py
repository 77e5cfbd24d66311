"""Files that the settings name: nothing of ours overwrites anything else of ours."""

import os
from pathlib import Path

import pytest

from target_mainbrainer.settings.checks import check_config
from target_mainbrainer.settings.declared import SETTINGS
from tests.cases import cases

OURS = ["sandbox_path", "suppression_path", "ledger_uri", "rejects_path", "report_path"]


def problems(**config: str) -> list[str]:
    return list(check_config({"access_token": "made-up"} | config, schema=SETTINGS))


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@cases("one", *OURS)
@cases("other", *OURS)
def test_no_two_settings_can_name_one_file(one: str, other: str) -> None:
    same = problems(**{one: "a.file"} | {other: "a.file"})
    assert [problem for problem in same if "name the same file" in problem] == same
    assert bool(same) is (one != other)


@cases("spelling", "./a.file", "sub/../a.file", "link", "hard", "{here}/a.file")
def test_one_file_is_known_by_any_of_its_names(tmp_path: Path, spelling: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.file").touch()
    (tmp_path / "link").symlink_to("a.file")
    (tmp_path / "ahead").symlink_to("not.yet")
    assert len(problems(rejects_path="ahead", report_path="not.yet")) == 1
    os.link("a.file", "hard")
    path = spelling.format(here=tmp_path)
    assert len(problems(rejects_path="a.file", report_path=path)) == 1


@cases("uri", "sqlite:///a.db", "sqlite+pysqlite:///a.db?timeout=3", "a.db")
def test_the_ledger_is_a_file_of_ours_however_it_is_written(uri: str) -> None:
    assert len(problems(ledger_uri=uri, report_path="a.db")) == 1
    assert problems(ledger_uri=uri, rejects_path="b.db") == []


@cases("uri", "postgresql://localhost/a.db", "sqlite://", "sqlite:///:memory:")
def test_a_ledger_in_no_file_is_no_file(uri: str) -> None:
    assert problems(ledger_uri=uri, report_path="a.db") == []


@cases("name", "rejects_path", "report_path", "sandbox_path")
@cases(
    "path expected",
    *((".", "names a folder, not a file."), ("/", "names a folder, not a file.")),
    *((odd, "contains a character that no path may contain.") for odd in ("a\0b", "a\ud800b")),
    *(("fifo", "must be a regular file."), ("/dev/null", "must be a regular file.")),
)
def test_what_can_be_no_file_is_said_in_a_sentence(name: str, path: str, expected: str) -> None:
    os.mkfifo("fifo")
    (problem,) = problems(**{name: path})
    assert problem.startswith(f"Setting '{name}' ")
    assert problem.endswith(expected)
