"""The command line as a shell sees it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mainbrainer_sandbox.running import RunningSandbox
from target_mainbrainer import cli
from tests.cases import cases
from tests.messages import Record


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli.command(), arguments)


def invoke(tmp_path: Path, config: Record, *arguments: str) -> Result:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    return call("--config", str(path), *arguments)


def test_check_confirms_settings_that_work(tmp_path: Path, settings: Record) -> None:
    """A sandbox needs no account."""
    sandbox = {"sandbox_path": str(tmp_path / "crm.db")}
    works = {"does not refuse the access token": settings, "starts and can be used": sandbox}
    for said, config in works.items():
        result = invoke(tmp_path, config, "--check")
        assert result.exit_code == 0, result.output
        assert "The settings are complete" in result.output
        assert said in result.output


def test_check_gets_a_token_with_the_credentials(tmp_path: Path, crm: RunningSandbox) -> None:
    known = crm.credentials
    config = {"api_url": crm.url, "username": known.username, "password": known.password}
    config["private_token"] = known.private_token
    assert "issued an access token" in invoke(tmp_path, config, "--check").output
    assert invoke(tmp_path, config | {"password": "wrong"}, "--check").exit_code == 1
    assert list(crm.contacts()) == []


def test_check_finds_what_is_wrong(
    tmp_path: Path, settings: Record, caplog: pytest.LogCaptureFixture
) -> None:
    missing, text = tmp_path / "missing", tmp_path / "notes.txt"
    text.write_text("This is no database, and it shall stay as it is. " * 100)
    for config, said in (
        (settings | {"access_token": "wrong"}, "refused the access token"),
        ({}, "Set either 'access_token' or all of"),
        (settings | {"rejects_path": f"{missing}/r.singer"}, "Setting 'rejects_path': the folder"),
        ({"sandbox_path": f"{missing}/crm.db"}, "Setting 'sandbox_path': the folder of"),
        ({"sandbox_path": str(text)}, f"Setting 'sandbox_path': {text} is not a sandbox file"),
    ):
        assert invoke(tmp_path, config, "--check").exit_code == 1
        assert said in caplog.text
        assert "fault of target-mainbrainer" not in caplog.text


@cases("name", "report_path", "rejects_path", "ledger_uri")
def test_the_configuration_file_is_not_written_over(
    tmp_path: Path, settings: Record, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    config = settings | {name: str(tmp_path / "." / "config.json")}
    assert invoke(tmp_path, config).exit_code == 1
    assert f"Setting '{name}' names the configuration file itself" in caplog.text
    assert json.loads((tmp_path / "config.json").read_text()) == config


@cases("name", "suppression_path", "rejects_path", "ledger_uri", "the input")
def test_the_report_overwrites_no_file(tmp_path: Path, settings: Record, name: str) -> None:
    """Not even the report of a run that fails because of it."""
    path = tmp_path / "taken"
    path.write_text("taken")
    arguments = ["--input", str(path)] if name == "the input" else []
    other = {} if name == "the input" else {name: str(path)}
    config = settings | {"report_path": str(tmp_path / "." / "taken")} | other
    assert invoke(tmp_path, config, *arguments).exit_code == 1
    assert path.read_text() == "taken"


@cases(
    "arguments expected",
    *((["--version"], "target-mainbrainer v"), (["--help"], "--check")),
    (["--about", "--format", "json"], '"name": "target-mainbrainer"'),
    (["--about", "--format", "markdown"], "# `target-mainbrainer`"),
)
def test_the_target_describes_itself(arguments: list[str], expected: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 0
    assert expected in result.output


@cases(
    "content expected",
    ("{", "cannot be read: it is not JSON."),
    ('["api_url"]', "cannot be read: it is not a JSON object."),
    (None, "cannot be read: there is no such file."),
)
def test_a_broken_configuration(tmp_path: Path, content: str | None, expected: str) -> None:
    """A broken configuration is an error in one sentence."""
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content)
    result = call("--config", str(path))
    assert result.exit_code == 2
    assert expected in result.output
    assert "Traceback" not in result.output


@cases(
    "variable value expected",
    ("BATCH_SIZE_ROWS", "many", "must be a whole number."),
    ("FIELD_MAP", "{a", "must be an object, written as JSON."),
    ("STREAM_MAPS", "{a", "must be an object, written as JSON."),
)
def test_a_variable_of_the_wrong_kind_is_the_users_mistake(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    variable: str,
    value: str,
    expected: str,
) -> None:
    monkeypatch.setenv("TARGET_MAINBRAINER_ACCESS_TOKEN", "made-up-token")
    monkeypatch.setenv(f"TARGET_MAINBRAINER_{variable}", value)
    assert call("--config", "ENV").exit_code == 1
    errors = [found.getMessage() for found in caplog.records if found.levelname == "ERROR"]
    assert errors[:-1] == [f"Setting 'TARGET_MAINBRAINER_{variable}' {expected}"]
