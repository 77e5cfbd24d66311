"""The command `target-mainbrainer`: options, configuration files, exit codes, ends in sentences.

It is the Singer SDK's command with `--check`, `--dry-run` and `--test` added. A run that fails says
why in sentences, without a traceback, and ends with exit code 1; a command line that cannot be
read, with 2.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
import time
import typing as t
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from target_mainbrainer import local_sandbox
from target_mainbrainer.api.client import MainBrainerClient
from target_mainbrainer.api.limits import RateLimiter
from target_mainbrainer.errors import InterruptedRunError, SettingsError, TransientError
from target_mainbrainer.privacy import explain, quiet_threads
from target_mainbrainer.report import summary
from target_mainbrainer.report.counts import RunReport
from target_mainbrainer.run import read_suppressions
from target_mainbrainer.singer.reader import drop_leftover
from target_mainbrainer.target import TargetMainBrainer, new_run_id

ENVIRONMENT = "ENV"
"""Value of `--config` that stands for the environment's variables, in place of a file."""

logger = TargetMainBrainer.logger


class Configuration(t.NamedTuple):
    """Configuration from the command line.

    Attributes:
        values: The settings of all files; later files win.
        reads_environment: Whether the environment's variables count, too.
    """

    values: dict[str, t.Any]
    reads_environment: bool = False


def main() -> None:
    """Run the command."""
    try:
        _ = TargetMainBrainer.cli
    except ValueError:  # the SDK sets up the log
        sys.exit(
            "The log cannot be set up. Check TARGET_MAINBRAINER_LOGLEVEL, which may be DEBUG, "
            "INFO, WARNING or ERROR, and the file that SINGER_SDK_LOG_CONFIG names."
        )
    command()()


def command() -> click.Command:
    """Return the SDK's command with our options, configuration and ends."""
    found = TargetMainBrainer.get_singer_command()
    found.callback = invoke
    config = next(param for param in found.params if param.name == "config")
    config.callback = read_configuration
    found.params += [
        click.Option(["--check"], is_flag=True, help="Check the settings and the account."),
        click.Option(["--dry-run"], is_flag=True, help="Report what a run would do and cost."),
        click.Option(
            ["--test"],
            type=click.Path(path_type=Path),
            help="Test the mapping with the records in this file; nothing is sent.",
        ),
    ]
    return found


def read_configuration(
    context: click.Context, option: click.Parameter, paths: tuple[str, ...]
) -> Configuration:
    """Read the configuration files.

    Raises:
        click.BadParameter: One cannot be read.
    """
    values: dict[str, t.Any] = {}
    for path in (path for path in paths if path != ENVIRONMENT):
        try:
            values |= json.loads(Path(path).read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            # The text of most would repeat what is in the file.
            reason = getattr(error, "strerror", None) or "it is not a JSON object"
            raise click.BadParameter(
                f"The configuration {path!r} cannot be read: {reason}.", context, option
            ) from None
    return Configuration(values, reads_environment=ENVIRONMENT in paths)


def invoke(
    *,
    config: Configuration,
    file_input: t.IO[str] | None = None,
    check: bool = False,
    dry_run: bool = False,
    test: Path | None = None,
    about: bool = False,
    about_format: str | None = None,
) -> None:
    """Run the target, and end with exit code 1 and a sentence if contacts are not in."""
    if about:
        TargetMainBrainer.print_about(about_format)
        return
    quiet_threads()
    TargetMainBrainer.print_version(print_fn=lambda line: logger.info("%s", line))
    if dry_run:
        config = config._replace(values=config.values | {"dry_run": True})
    if check:
        is_well = _print(_check(config))
    elif test:
        from target_mainbrainer.mapping_tests import run_tests  # noqa: PLC0415 - a run has no use

        is_well = _print(run_tests(config.values, config.reads_environment, test))
    else:
        is_well = _load(config, file_input or sys.stdin)
    if not is_well:
        sys.exit(1)


def _print(lines: Iterable[str]) -> bool:
    """Print lines as they come, and return whether nothing went wrong."""
    try:
        for line in lines:
            click.echo(line)
    except Exception as error:  # noqa: BLE001 - every end is explained
        _log_reasons(error)
        return False
    return True


def _check(config: Configuration) -> Iterator[str]:
    """Yield in plain words that a run could begin; no contact is sent.

    Raises:
        TargetMainBrainerError: It could not, and why.
    """
    target = TargetMainBrainer(config=config.values, parse_env_config=config.reads_environment)
    settings = target.settings
    read_suppressions(settings)
    problems = [
        f"Setting '{name}': the folder of '{path}' does not exist or cannot be written."
        for name in ("sandbox_path", "rejects_path", "report_path")
        if (path := getattr(settings, name))
        and not os.access(Path(path).absolute().parent, os.W_OK)
    ]
    if problems:
        raise SettingsError(*problems)
    yield "The settings are complete and do not contradict each other."
    if settings.ledger_uri:
        from target_mainbrainer.ledger import database  # noqa: PLC0415 - only with a ledger

        try:
            database.open_database(settings.ledger_uri, reads_only=True).close()
            yield "The ledger can be read."
        except database.NoLedgerError:
            yield "There is no ledger yet; the first run creates it."
    if settings.sandbox_path:
        local_sandbox.start(settings.sandbox_path).close()
        yield f"The sandbox in '{settings.sandbox_path}' starts and can be used."
    elif not settings.dry_run:  # which needs no account
        limiter = RateLimiter(settings.plan, clock=time.monotonic, stop=threading.Event())
        with contextlib.closing(MainBrainerClient(settings, rate_limiter=limiter)) as client:
            yield client.check()


def _load(config: Configuration, file_input: t.IO[str]) -> bool:
    """Load the input, and return whether all went well."""
    target = report_file = error = None
    try:
        run_id = new_run_id()
        report_file = summary.ReportFile(_report_path(config), run_id)
        logger.info("Run %s.", run_id)
        target = TargetMainBrainer(
            config=config.values, parse_env_config=config.reads_environment, run_id=run_id
        )
        target.run(file_input)
    except Exception as caught:  # noqa: BLE001 - every end is explained
        error = caught
        # Read on for a while, so that the tap ends by itself and the reason stands last in the log.
        drop_leftover(file_input, is_over=lambda: target is not None and target.is_interrupted)
        _log_reasons(error)
    run = None if target is None else target.begun
    end = summary.End(is_whole=False) if run is None else run.end
    report = RunReport() if run is None else run.report
    if report_file is not None:
        report_file.write(error, end.state, {} if run is None else run.summary.as_dict())
    line = summary.last_line(report, end._replace(advice=_advice(end, error)))
    logger.log(logging.ERROR if error else logging.INFO, "%s", line)
    return error is None


def _log_reasons(error: Exception) -> None:
    for sentence in explain(error):
        logger.error("%s", sentence)


def _advice(end: summary.End, error: Exception | None) -> str:
    is_interrupted = isinstance(error, InterruptedRunError)
    if error is None:
        return ""
    if end.is_dry:
        return "Not all was read." if is_interrupted else "A run would fail."
    if end.has_lost_records:
        return summary.LOAD_AGAIN
    if is_interrupted or isinstance(error, TransientError):
        return summary.RUN_AGAIN
    return summary.CORRECT


def _report_path(config: Configuration) -> str | None:
    """Return where the report goes, of a failed start too: the settings are checked later."""
    path = config.values.get("report_path")
    if not path and config.reads_environment:
        path = os.environ.get("TARGET_MAINBRAINER_REPORT_PATH")
    return path if path and isinstance(path, str) else None
