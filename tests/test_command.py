"""The command line as a shell sees it."""

from __future__ import annotations

import json
import typing as t

import pytest
from click.testing import CliRunner

from target_mainbrainer import cli
from tests.messages import schema

if t.TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import Record, RunTarget


def invoke(tmp_path: Path, config: Record | str, *arguments: str) -> Result:
    path = tmp_path / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    command = cli.command()
    return CliRunner().invoke(command, ["--config", str(path), *arguments])


def test_check_says_that_the_settings_work(tmp_path: Path, settings: Record) -> None:
    result = invoke(tmp_path, settings, "--check")
    assert result.exit_code == 0, result.output
    assert "The settings are complete" in result.output
    assert "does not refuse the access token" in result.output


def test_check_gets_a_token_with_the_credentials(tmp_path: Path, crm: RunningSandbox) -> None:
    known = crm.credentials
    config = {
        "api_url": crm.url,
        "username": known.username,
        "password": known.password,
        "private_token": known.private_token,
    }
    assert "issued an access token" in invoke(tmp_path, config, "--check").output
    assert invoke(tmp_path, config | {"password": "wrong"}, "--check").exit_code == 1
    assert list(crm.contacts()) == []


def test_check_finds_what_is_wrong(
    tmp_path: Path, settings: Record, caplog: pytest.LogCaptureFixture
) -> None:
    assert invoke(tmp_path, settings | {"access_token": "wrong"}, "--check").exit_code == 1
    assert "refused the access token" in caplog.text
    assert invoke(tmp_path, {}, "--check").exit_code == 1
    assert "Set either 'access_token' or all of" in caplog.text
    config = settings | {"rejects_path": str(tmp_path / "missing" / "rejects.singer")}
    assert invoke(tmp_path, config, "--check").exit_code == 1
    assert "Setting 'rejects_path': the folder of" in caplog.text


@pytest.mark.parametrize("name", ["report_path", "rejects_path", "ledger_uri"])
def test_the_configuration_file_is_not_written_over(
    tmp_path: Path, settings: Record, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    config = settings | {name: str(tmp_path / "." / "config.json")}
    assert invoke(tmp_path, config).exit_code == 1
    assert f"Setting '{name}' names the configuration file itself" in caplog.text
    assert json.loads((tmp_path / "config.json").read_text()) == config


@pytest.mark.parametrize("name", ["suppression_path", "rejects_path", "ledger_uri", "the input"])
def test_the_report_is_not_written_over_another_file(
    tmp_path: Path, settings: Record, name: str
) -> None:
    """Not even the report of a run that fails because of it."""
    path = tmp_path / "taken"
    path.write_text("taken")
    arguments = ["--input", str(path)] if name == "the input" else []
    other = {} if name == "the input" else {name: str(path)}
    config = settings | {"report_path": str(tmp_path / "." / "taken")} | other
    assert invoke(tmp_path, config, *arguments).exit_code == 1
    assert path.read_text() == "taken"


def test_check_of_a_sandbox_needs_no_account(tmp_path: Path) -> None:
    result = invoke(tmp_path, {"sandbox_path": str(tmp_path / "crm.db")}, "--check")
    assert result.exit_code == 0, result.output
    assert "starts and can be used" in result.output


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["--version"], "target-mainbrainer v", id="version"),
        pytest.param(["--help"], "--check", id="help"),
        pytest.param(["--about"], "batch_size_rows", id="about"),
        pytest.param(["--about", "--format", "json"], '"name": "target-mainbrainer"', id="json"),
        pytest.param(["--about", "--format", "markdown"], "# `target-mainbrainer`", id="markdown"),
    ],
)
def test_the_target_tells_about_itself(arguments: list[str], expected: str) -> None:
    result = CliRunner().invoke(cli.command(), arguments)
    assert result.exit_code == 0
    assert expected in result.output


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param("{", "cannot be read: it is not JSON.", id="no JSON"),
        pytest.param('["api_url"]', "cannot be read: it is not a JSON object.", id="a list"),
    ],
)
def test_a_broken_configuration_is_said_in_a_sentence(
    tmp_path: Path, content: str, expected: str
) -> None:
    result = invoke(tmp_path, content)
    assert result.exit_code == 2
    assert expected in result.output
    assert "Traceback" not in result.output


def test_a_missing_configuration_is_said_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "missing.json"
    result = CliRunner().invoke(cli.command(), ["--config", str(path)])
    assert result.exit_code == 2
    assert f"The configuration '{path}' cannot be read: there is no such file." in result.output


def test_a_file_that_is_no_sandbox_is_said_to_be_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("This is no database, and it shall stay as it is. " * 100)
    assert invoke(tmp_path, {"sandbox_path": str(path)}, "--check").exit_code == 1
    assert "Setting 'sandbox_path': " in caplog.text
    assert "fault of target-mainbrainer" not in caplog.text


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        pytest.param("BATCH_SIZE_ROWS", "many", "must be a whole number.", id="no number"),
        pytest.param("FIELD_MAP", "{bad", "must be an object, written as JSON.", id="no JSON"),
        pytest.param("STREAM_MAPS", "a=b", "must be an object, written as JSON.", id="the SDK's"),
    ],
)
def test_a_variable_of_the_wrong_kind_is_the_users_mistake(
    variable: str,
    value: str,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("TARGET_MAINBRAINER_ACCESS_TOKEN", "made-up-token")
    monkeypatch.setenv(f"TARGET_MAINBRAINER_{variable}", value)
    command = cli.command()
    assert CliRunner().invoke(command, ["--config", "ENV"]).exit_code == 1
    errors = [found.getMessage() for found in caplog.records if found.levelname == "ERROR"]
    assert errors[:-1] == [f"Setting 'TARGET_MAINBRAINER_{variable}' {expected}"]


def test_a_sandbox_in_no_folder_is_said_in_a_sentence(
    run_target: RunTarget, tmp_path: Path
) -> None:
    path = str(tmp_path / "missing" / "crm.db")
    settings = {"sandbox_path": path, "api_url": "", "access_token": ""}
    ended = run_target(schema(), **settings)
    assert ended.code == 1
    assert (
        ended.error == f"Setting 'sandbox_path': {path} cannot be made (No such file or directory)."
    )
