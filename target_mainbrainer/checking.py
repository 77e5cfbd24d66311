"""What `--check` finds: whether a run could begin."""

from __future__ import annotations

import contextlib
import os
import threading
import typing as t
from pathlib import Path

from target_mainbrainer import local_sandbox
from target_mainbrainer.api.client import MainBrainerClient
from target_mainbrainer.errors import SettingsError
from target_mainbrainer.parts import make_rate_limiter, read_suppressions

if t.TYPE_CHECKING:
    from target_mainbrainer.settings.declared import Settings


def check(settings: Settings) -> list[str]:
    """Say in plain words whether a run could begin, without sending a contact.

    Raises:
        TargetMainBrainerError: It could not, and why.
    """
    read_suppressions(settings)
    problems = [
        f"Setting '{name}': the folder of '{path}' does not exist or cannot be written."
        for name, path in (
            ("sandbox_path", settings.sandbox_path),
            ("rejects_path", settings.rejects_path),
            ("report_path", settings.report_path),
        )
        if path and not os.access(Path(path).absolute().parent, os.W_OK)
    ]
    if problems:
        raise SettingsError(problems)
    found = ["The settings are complete and do not contradict each other."]
    if settings.ledger_uri:
        from target_mainbrainer.ledger.database import open_database  # noqa: PLC0415 - as in `run`

        open_database(settings.ledger_uri).close()
        found.append("The ledger can be used.")
    if settings.sandbox_path:
        with local_sandbox.start(settings.sandbox_path):
            found.append(f"The sandbox in '{settings.sandbox_path}' starts and can be used.")
        return found
    if settings.dry_run:  # which needs no account
        return found
    stop = threading.Event()
    with (
        contextlib.closing(make_rate_limiter(settings, stop)) as rate_limiter,
        MainBrainerClient(settings, rate_limiter=rate_limiter, stop=stop) as client,
    ):
        found.append(client.check())
    return found
