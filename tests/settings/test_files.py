"""Files that the settings name: nothing of ours overwrites anything else of ours."""

from __future__ import annotations

import os
import typing as t

import pytest

from target_mainbrainer.settings.checks import check_config
from target_mainbrainer.settings.declared import SETTINGS

if t.TYPE_CHECKING:
    from pathlib import Path

OURS = ["sandbox_path", "suppression_path", "ledger_uri", "rejects_path", "report_path"]


def problems(**config: str) -> list[str]:
    return list(check_config({"access_token": "made-up"} | config, schema=SETTINGS))


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("one", OURS)
@pytest.mark.parametrize("other", OURS)
def test_no_two_settings_can_name_one_file(one: str, other: str) -> None:
    same = problems(**{one: "a.file"} | {other: "a.file"})
    assert [problem for problem in same if "name the same file" in problem] == same
    assert bool(same) is (one != other)


@pytest.mark.parametrize("spelling", ["./a.file", "sub/../a.file", "link", "hard", "{here}/a.file"])
def test_one_file_is_known_by_any_of_its_names(tmp_path: Path, spelling: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.file").touch()
    (tmp_path / "link").symlink_to("a.file")
    os.link("a.file", "hard")
    path = spelling.format(here=tmp_path)
    assert len(problems(rejects_path="a.file", report_path=path)) == 1


def test_a_link_to_a_file_that_is_not_there_yet_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("a.file")
    assert len(problems(rejects_path="link", report_path="a.file")) == 1


@pytest.mark.parametrize("uri", ["sqlite:///a.db", "sqlite+pysqlite:///a.db?timeout=3", "a.db"])
def test_the_ledger_is_a_file_of_ours_however_it_is_written(uri: str) -> None:
    assert len(problems(ledger_uri=uri, report_path="a.db")) == 1
    assert len(problems(ledger_uri=uri, rejects_path="a.db-wal")) == 1
    assert len(problems(ledger_uri=uri, suppression_path="a.db-journal")) == 1
    assert problems(ledger_uri=uri, rejects_path="b.db") == []


@pytest.mark.parametrize("uri", ["postgresql://localhost/a.db", "sqlite://", "sqlite:///:memory:"])
def test_a_ledger_in_no_file_is_no_file(uri: str) -> None:
    assert problems(ledger_uri=uri, report_path="a.db") == []


@pytest.mark.parametrize("name", ["rejects_path", "report_path", "sandbox_path"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param(".", "names a folder, not a file.", id="here"),
        pytest.param("/", "names a folder, not a file.", id="the root"),
        pytest.param("a\0b", "contains a NUL, which a path cannot contain.", id="NUL"),
        pytest.param(
            "a\ud800b",
            "contains an unpaired surrogate, which a path cannot contain.",
            id="surrogate",
        ),
        pytest.param("fifo", "must be a regular file.", id="FIFO"),
        pytest.param("/dev/null", "must be a regular file.", id="device"),
    ],
)
def test_what_can_be_no_file_is_said_in_a_sentence(name: str, path: str, expected: str) -> None:
    os.mkfifo("fifo")
    (problem,) = problems(**{name: path})
    assert problem.startswith(f"Setting '{name}' ")
    assert problem.endswith(expected)
