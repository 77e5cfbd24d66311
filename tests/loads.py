"""Loads of people for tests through the whole target, and what to look at afterwards."""

import json
import re
import time
import typing as t
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mainbrainer_sandbox.running import RunningSandbox
from target_mainbrainer import cli
from tests.broken_server import Serve
from tests.messages import Ended, Record, RunTarget, person, schema, state


def people(count: int, *, every: int = 50, bad: t.Container[int] = ()) -> list[str]:
    """A schema and so many people, with STATE in between; the bad ones have a bad address."""
    lines = [schema()]
    for n in range(1, count + 1):
        lines.append(person(n, email=f"bad{n}@example.com") if n in bad else person(n))
        if n % every == 0:
            lines.append(state(bookmark=n))
    return lines


def emails(crm: RunningSandbox) -> set[str]:
    return {contact["email"] for contact in crm.contacts()}


def rejected(path: Path) -> list[dict[str, t.Any]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if line["type"] == "RECORD"]


class Clock:
    """The clock of runs in this process, which a test may put forward."""

    ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


class Load:
    """Runs the target on lines of input, with all that a test needs beside it.

    Attributes:
        run: Runs the target, as the fixture of this name.
        serve: Starts a server in the place of the CRM.
        settings: Of all runs; a test may change them.
        folder: Of the test's files.
        patch: Pytest's `monkeypatch`.
        clock: Of all runs.
        caplog: The log, beside what a run returns of it.
    """

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._get = request.getfixturevalue
        self.run: RunTarget = self._get("run_target")
        self.crm: RunningSandbox = self._get("crm")
        self.serve: Serve = self._get("serve")
        self.settings: Record = self._get("settings")
        self.folder: Path = self._get("tmp_path")
        self.patch: pytest.MonkeyPatch = self._get("monkeypatch")
        self.clock = Clock()
        self.patch.setattr("target_mainbrainer.run.time", self.clock)
        self.caplog: pytest.LogCaptureFixture = self._get("caplog")

    def lines(self, *lines: str) -> Sequence[str]:
        """Return the input of a run on these."""
        return lines

    def __call__(self, *lines: str, faults: str = "", **config: t.Any) -> Ended:
        """Run the target, with these faults in the CRM until it has ended."""
        if faults:
            self.crm.set_faults(*faults.split())
        ended = self.run(*self.lines(*lines), **config)
        if faults:
            self.crm.set_faults()
        return ended

    def ok(self, *lines: str, **config: t.Any) -> Ended:
        """Run the target, which ends well."""
        return self(*lines, **config).ok()

    def fails(self, *lines: str, **config: t.Any) -> Ended:
        """Run the target, which fails."""
        ended = self(*lines, **config)
        assert ended.code == 1
        return ended

    def invoke(self, *arguments: str, sample: str = "", **config: t.Any) -> Result:
        """Run the command with these settings in a file."""
        path = self.folder / "config.json"
        path.write_text(json.dumps(config))
        command = ["--config", str(path), *arguments]
        return CliRunner().invoke(cli.command(), command, input=sample)

    def path(self, name: str) -> str:
        """Return the path of a file in the folder, for a setting."""
        return str(self.folder / name)

    @property
    def credentials(self) -> Record:
        """Settings with which a token is created."""
        names = ("username", "password", "private_token")
        return {name: getattr(self.crm.credentials, name) for name in names}

    # What the CRM has been sent, and holds

    @property
    def bodies(self) -> list[Record]:
        """The bodies of the batches that were sent."""
        return [r.body for r in self.crm.requests() if r.path == "/contacts/batch" and r.body]

    @property
    def sent(self) -> list[Record]:
        """The contacts in the batches that were sent."""
        return [contact for body in self.bodies for contact in body["createUpdateContacts"]]

    @property
    def contact(self) -> Record:
        """The one contact that there is."""
        (contact,) = self.crm.contacts()
        return contact

    def all_of(self, *names: str) -> Record:
        """Return fields of the contacts, as a tuple if they are several, by e-mail address."""
        found = {c["email"]: tuple(c[name] for name in names) for c in self.crm.contacts()}
        return {email: one if len(names) > 1 else one[0] for email, one in found.items()}

    # Rejected records

    def keep_rejects(self) -> Path:
        """Let rejected records be kept from now on, and return in which file."""
        path = self.folder / "rejects.singer"
        self.settings["rejects_path"] = str(path)
        return path

    def rejected(self) -> list[Record]:
        """Return the records in the rejects file, if there is one."""
        path = Path(self.settings["rejects_path"])
        return rejected(path) if path.exists() else []

    def rejected_ids(self) -> list[int]:
        """Return the ids of the records in the rejects file, in order."""
        return sorted(line["record"]["id"] for line in self.rejected())

    def numbers(self) -> set[t.Any]:
        """Return who is in the CRM: numbers of made-up people, or whole addresses."""
        made_up = re.compile(r"p(\d+)@example\.com")
        found = ((made_up.fullmatch(email), email) for email in emails(self.crm))
        return {int(number[1]) if number else email for number, email in found}
