"""Variables of the environment: what is misspelt or forgotten is said, never ignored."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from target_mainbrainer import cli
from target_mainbrainer.settings.checks import misread, misspelt, not_read
from target_mainbrainer.settings.declared import SETTINGS
from tests.cases import cases


def problems(**environ: str) -> list[str]:
    variables = {f"TARGET_MAINBRAINER_{name}": value for name, value in environ.items()}
    return [*misspelt(variables, schema=SETTINGS), *misread(variables, schema=SETTINGS)]


@cases("variable", "_LOAD_SCHEMA", "LOGLEVEL", "STREAMS_PEOPLE_LIST_ID", "LIST_ID")
def test_what_others_set_under_our_prefix_is_no_error(variable: str) -> None:
    """An extra of Meltano's, the SDK's level of the log, a member of an object, and a setting."""
    assert problems(**{variable: "x"}) == []


@cases("value", "ture", "2", "ja")
def test_a_truth_that_is_none_is_not_taken_for_false(value: str) -> None:
    """A dry run that is not one would send."""
    (problem,) = problems(DRY_RUN=value)
    assert problem == "Setting 'TARGET_MAINBRAINER_DRY_RUN' must be true or false."


@cases("value", "true", "False", "1", "off", "")
def test_truths_as_the_sdk_reads_them(value: str) -> None:
    assert problems(DRY_RUN=value) == []


def test_variables_that_were_not_read_are_named_beside_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TARGET_MAINBRAINER_ACCESS_TOKEN", "made-up-token")
    monkeypatch.setenv("TARGET_MAINBRAINER_LIST_ID", "made-up")
    assert CliRunner().invoke(cli.command(), []).exit_code == 1
    assert (
        "The environment was not read, although it contains 'TARGET_MAINBRAINER_ACCESS_TOKEN' and "
        "1 more. Add '--config ENV' to read it, too." in caplog.text
    )
    assert "made-up" not in caplog.text


def test_variables_that_a_file_gives_too_are_nothing_to_speak_of() -> None:
    """Meltano sets both."""
    environ = {"TARGET_MAINBRAINER_LIST_ID": "x", "OTHER": "y"}
    assert list(not_read(environ, {"list_id": "x"}, schema=SETTINGS)) == []


@cases("reads", [], ["--config", "ENV"], ids=["not read", "read"])
def test_a_misspelt_variable_ends_the_command(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    reads: list[str],
) -> None:
    """Also where settings come in a file only, as from Meltano."""
    monkeypatch.setenv("TARGET_MAINBRAINER_ACCES_TOKEN", "made-up-token")
    config = tmp_path / "config.json"
    config.write_text('{"access_token": "another-token"}')
    ended = CliRunner().invoke(cli.command(), ["--config", str(config), *reads])
    assert ended.exit_code == 1
    said = (
        "There is no setting 'TARGET_MAINBRAINER_ACCES_TOKEN'. Did you mean 'TARGET_MAINBRAINER_A"
    )
    assert said in caplog.text
    assert "made-up-token" not in caplog.text
