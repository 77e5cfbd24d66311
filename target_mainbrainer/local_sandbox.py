"""Starts a local MainBrainer as a process of its own, and ends it with the run."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from target_mainbrainer.errors import SettingsError

# What it has accepted is processed first; a million contacts that wait take no longer.
_END_SECONDS = 300


@dataclass
class LocalSandbox:
    """A sandbox process; see `start`.

    Attributes:
        process: The process.
        token: The access token that it takes.
        url: Where it answers.
        file_id: What its file calls itself; another file, or a reset one, is another.
    """

    process: subprocess.Popen[str]
    token: str
    url: str
    file_id: str

    def close(self) -> None:
        """End the process once everything it has accepted is processed and in the file."""
        with self.process as process:
            try:
                process.communicate(timeout=_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def file_id(path: str) -> str:
    """Return what a sandbox's file calls itself, which is only read; "" if there is none."""
    uri = f"{Path(path).absolute().as_uri()}?mode=ro"
    query = "SELECT value FROM meta WHERE key = 'file_id'"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
            return "".join(database.execute(query).fetchone() or ())
    except sqlite3.Error:
        return ""


def start(path: str) -> LocalSandbox:
    """Start a sandbox that is kept in a file; it ends with this process at the latest.

    Raises:
        SettingsError: The extra `sandbox` is not installed, or the file cannot be used.
    """
    token = secrets.token_urlsafe(24)
    # -P keeps modules of the current folder from taking the place of installed ones. The token
    # is in the environment because every user of the machine can read a command line.
    command = [sys.executable, "-P", "-m", "mainbrainer_sandbox", "serve", "--until-eof"]
    process = subprocess.Popen(  # noqa: S603 - our own command
        [*command, "--path", path, "--port", "0"],
        env=os.environ | {"MAINBRAINER_SANDBOX_TOKEN": token},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,  # what a terminal sends is for the run, which ends it in good order
    )
    said = process.stdout.readline().strip() if process.stdout else ""
    url, _, file_id = said.partition(" ")
    sandbox = LocalSandbox(process, token, url, file_id)
    if url.startswith("http://"):
        return sandbox
    sandbox.close()
    said = said or f"The sandbox did not start (exit code {process.returncode})."
    raise SettingsError(f"Setting 'sandbox_path': {said}")
