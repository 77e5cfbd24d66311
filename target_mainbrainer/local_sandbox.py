"""Starts a local MainBrainer as a process of its own, and ends it with the run."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import urllib.request

from target_mainbrainer.errors import SettingsError

# What it has accepted is processed first; a million contacts that wait take no longer.
_END_SECONDS = 300


class LocalSandbox:
    """A sandbox process; see `start`.

    Attributes:
        url: Where it answers.
        token: The access token that it takes.
    """

    def __init__(self, process: subprocess.Popen[str], url: str, token: str) -> None:
        self.url = url
        self.token = token
        self._process = process

    @property
    def file_id(self) -> str:
        """What the sandbox's file calls itself; another file, or a reset one, is another."""
        try:
            no_proxy = urllib.request.ProxyHandler({})  # it is on this machine
            with urllib.request.build_opener(no_proxy).open(f"{self.url}/_sandbox/id") as answer:
                return str(answer.read().decode())
        except OSError:
            message = "Setting 'sandbox_path': the sandbox did not report its file."
            raise SettingsError([message]) from None

    def close(self) -> None:
        """End the process once everything it has accepted is processed and in the file."""
        with self._process as process:
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


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
    )
    said = process.stdout.readline().strip() if process.stdout else ""
    sandbox = LocalSandbox(process, said, token)
    if said.startswith("http://"):
        return sandbox
    sandbox.close()
    said = said or f"The sandbox did not start (exit code {process.returncode})."
    message = f"Setting 'sandbox_path': {said}"
    raise SettingsError([message])
