"""The command `target-mainbrainer`: options, configuration files, exit codes, ends in sentences.

It is the Singer SDK's command with `--check` and `--dry-run` beside it. A run that fails says why
in sentences, without a traceback, and ends with exit code 1; a command line that cannot be read,
with 2.
"""

from __future__ import annotations

import json
import sys
import typing as t
from pathlib import Path

import click

from target_mainbrainer import checking
from target_mainbrainer.config.files import check_configuration_files
from target_mainbrainer.errors import InterruptedRunError, SettingsError, TransientError
from target_mainbrainer.privacy.explaining import explain
from target_mainbrainer.privacy.log_filters import quiet_threads
from target_mainbrainer.report.counts import RunReport
from target_mainbrainer.report.summary import CORRECT, LOAD_AGAIN, RUN_AGAIN, End, last_line
from target_mainbrainer.singer.leftover import drop_leftover
from target_mainbrainer.target import TargetMainBrainer

ENVIRONMENT = "ENV"
"""What `--config` says instead of a file for the environment's variables."""

logger = TargetMainBrainer.logger


class Configuration(t.NamedTuple):
    """What the command line gives as configuration.

    Attributes:
        values: The settings of all files; later files win.
        reads_environment: Whether the environment's variables count, too.
        files: Where the settings come from.
    """

    values: dict[str, t.Any]
    reads_environment: bool = False
    files: tuple[Path, ...] = ()


def main() -> None:
    """Run the command."""
    _as_ours(TargetMainBrainer.cli)()


def command() -> click.Command:
    """Return the command, for those who call it from Python."""
    return _as_ours(TargetMainBrainer.get_singer_command())


def _as_ours(command: click.Command) -> click.Command:
    """Let the SDK's command read the configuration and end a run as this module does."""
    command.callback = invoke
    config = next(param for param in command.params if param.name == "config")
    config.callback = read_configuration
    command.params += [
        click.Option(
            ["--check"],
            is_flag=True,
            help="Say whether the settings and the credentials work; no contact is sent.",
        ),
        click.Option(
            ["--dry-run"],
            is_flag=True,
            help="Read the input and say what a run would do and cost; nothing is sent.",
        ),
    ]
    return command


def read_configuration(
    context: click.Context, option: click.Parameter, paths: tuple[str, ...]
) -> Configuration:
    """Read the configuration files.

    Raises:
        click.BadParameter: One cannot be read.
    """
    values: dict[str, t.Any] = {}
    for path in paths:
        if path == ENVIRONMENT:
            continue
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
        except OSError as error:
            reason = "there is no such file"
            if not isinstance(error, FileNotFoundError):
                reason = error.strerror or type(error).__name__
        except (ValueError, RecursionError):  # its own text would repeat what is in the file
            reason = "it is not JSON"
        else:
            if isinstance(content, dict):
                values |= content
                continue
            reason = "it is not a JSON object"
        message = f"The configuration {path!r} cannot be read: {reason}."
        raise click.BadParameter(message, context, option)
    return Configuration(
        values,
        reads_environment=ENVIRONMENT in paths,
        files=tuple(Path(path) for path in paths if path != ENVIRONMENT),
    )


def invoke(
    *,
    config: Configuration,
    file_input: t.IO[str] | None = None,
    check: bool = False,
    dry_run: bool = False,
    about: bool = False,
    about_format: str | None = None,
) -> None:
    """Run the target, and end with exit code 1 and a sentence if contacts are not in."""
    if about:
        from target_mainbrainer.about import about as describe  # noqa: PLC0415 - a run has no use

        click.echo(describe(about_format))
        return
    quiet_threads()
    TargetMainBrainer.print_version(print_fn=logger.info)
    target = None
    values = config.values | ({"dry_run": True} if dry_run else {})
    try:
        target = TargetMainBrainer(config=values, parse_env_config=config.reads_environment)
        if problems := list(check_configuration_files(target.config, config.files)):
            raise SettingsError(problems)  # noqa: TRY301 - explained below like any other
        if check:
            for sentence in checking.check(target.settings):
                click.echo(sentence)
            return
        target.run(file_input)
    except Exception as error:  # noqa: BLE001 - every end is explained
        if not check:
            _let_the_tap_end(target, file_input or sys.stdin)
        for sentence in explain(error):
            logger.error("%s", sentence)  # noqa: TRY400 - a traceback may hold data
        if not check:
            logger.error("%s", _last_line(target, error))  # noqa: TRY400
        sys.exit(1)
    logger.info("%s", target.last_line())


def _last_line(target: TargetMainBrainer | None, error: Exception) -> str:
    advice = RUN_AGAIN if isinstance(error, _PASSES) else CORRECT
    if target is None:
        return last_line(RunReport(), End(advice, is_whole=False))
    is_whole = not isinstance(error, InterruptedRunError)
    problem = "a run would fail" if is_whole else "not all was read"
    return target.last_line(LOAD_AGAIN if target.has_lost_records else advice, problem)


_PASSES = (TransientError, InterruptedRunError)
"""What is worth another run as things are."""


def _let_the_tap_end(target: TargetMainBrainer | None, file_input: t.IO[str]) -> None:
    """Read on for a while, so that the tap ends by itself and the reason stands last in the log."""

    def is_interrupted() -> bool:
        return target is not None and target.is_interrupted

    drop_leftover(file_input, is_over=is_interrupted)
