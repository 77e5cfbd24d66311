"""The report file: the outcome of a run, as JSON, for a monitor."""

from __future__ import annotations

import datetime as dt
import json
import logging
import typing as t
from importlib import metadata
from pathlib import Path

from target_mainbrainer.errors import InterruptedRunError, SettingsError
from target_mainbrainer.privacy import reasons_of
from target_mainbrainer.words import shown

if t.TYPE_CHECKING:
    from collections.abc import Mapping

Outcome: t.TypeAlias = t.Literal["running", "ok", "failed", "interrupted", "dry_run"]

VERSION = 1
"""Raised when a name of the report gets another meaning or goes; docs/report.md promises that."""

_BEGINNING = b'{\n  "report_version"'

logger = logging.getLogger("target-mainbrainer")


def outcome_of(error: BaseException | None) -> Outcome:
    """Return how a run has ended that was not dry.

    >>> outcome_of(None), outcome_of(InterruptedRunError()), outcome_of(OSError())
    ('ok', 'interrupted', 'failed')
    """
    if error is None:
        return "ok"
    return "interrupted" if isinstance(error, InterruptedRunError) else "failed"


class ReportFile:
    """Writes the report at the start of a run and at its end, each time whole or not at all.

    A run that is killed leaves a report that says `running`.

    Args:
        path: Where it goes; None for nowhere.
        run_id: The run's id.

    Raises:
        SettingsError: It cannot be written.
    """

    def __init__(self, path: str | None, run_id: str) -> None:
        self._path = path
        self._start = {
            "report_version": VERSION,
            "run": run_id,
            "version": metadata.version("target-mainbrainer"),
            "started_at": _now(),
            "ended_at": None,
            "outcome": "running",
            "exit_code": None,
            "reasons": [],
            "state": None,
        }
        if reason := self._write(self._start):
            problem = f"Setting 'report_path': '{shown(str(path))}' cannot be written ({reason})."
            raise SettingsError(problem)

    def write(
        self, error: BaseException | None, state: str | None, counts: Mapping[str, t.Any]
    ) -> None:
        """Write how the run has ended. It does not fail for that any more; the log says so.

        Args:
            error: Why it did not end well; None if it did.
            state: Where STATE stands, see `End.state`; None after a dry run.
            counts: The summary's `as_dict`, if the run began.
        """
        end = {
            "ended_at": _now(),
            "outcome": "dry_run" if state is None else outcome_of(error),
            "exit_code": int(error is not None),
            "reasons": [reason._asdict() for reason in reasons_of(error)],
            "state": state,
        }
        if reason := self._write({**self._start, **end, **counts}):
            logger.warning(
                "The report '%s' cannot be written (%s).", shown(str(self._path)), reason
            )

    def _write(self, content: Mapping[str, t.Any]) -> str:
        """Write it, unless there is no path; return why that failed, or ""."""
        if self._path is None:
            return ""
        try:
            target = Path(self._path).resolve()
            if target.exists() and not _is_report(target):
                return "it is another file"
            beside = target.with_name(f".{target.name}.part")
            beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            beside.replace(target)
        except (OSError, ValueError) as error:
            return getattr(error, "strerror", None) or "it is not a path"
        return ""


def _is_report(path: Path) -> bool:
    """Return whether a file is an earlier report or empty, so that nothing is lost with it."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _BEGINNING.startswith(file.read(len(_BEGINNING)))


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
