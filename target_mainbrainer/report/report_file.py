"""The report file: the summary as JSON, for a monitor."""

from __future__ import annotations

import json
import logging
import typing as t
from pathlib import Path

logger = logging.getLogger("target-mainbrainer")


def write_report(path: str, content: dict[str, t.Any]) -> None:
    """Write a report whole or not at all; a run does not fail for it."""
    try:
        target = Path(path).resolve()
        beside = target.with_name(f".{target.name}.part")
        beside.write_text(json.dumps(content, indent=2) + "\n")
        beside.replace(target)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no path"
        logger.warning("The report %r cannot be written (%s).", path, reason)
