"""Kills the target without notice, at a moment that can be seen from outside.

A proxy stands before the CRM, and so knows when a request comes, when the CRM has done what it
asks, and when the target has been told.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import typing as t
from collections import Counter
from dataclasses import dataclass

import requests

from tests.broken_server import BrokenServer, Reply, reply

if t.TYPE_CHECKING:
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.broken_server import Request
    from tests.messages import Record


class Moment(t.NamedTuple):
    """When to kill.

    Attributes:
        what: A request by its method, or `STATE`.
        number: Which one of the run, from 1.
        when: Before the CRM sees it, after it has done it but before it answers, or soon after it
            has answered; a STATE is always answered.
    """

    what: str
    number: int = 1
    when: str = "answered"


@dataclass
class Killed:
    """What a run has left that may have been killed.

    Attributes:
        code: Its exit code; -9 if it was.
        states: What it has written.
        log: Its log.
    """

    code: int
    states: list[Record]
    log: str


SOON_SECONDS = 0.005


class Proxy(BrokenServer):
    """Hands requests on to a CRM, and kills the process that is being watched."""

    def __init__(self, crm: RunningSandbox) -> None:
        super().__init__(self._hand_on)
        self.crm = crm
        self._seen: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._moment: Moment | None = None
        self._popen: subprocess.Popen[str] | None = None

    def watch(self, popen: subprocess.Popen[str], moment: Moment) -> None:
        """Kill a process at a moment, counted from now."""
        self._seen.clear()
        self._popen, self._moment = popen, moment

    def reached(self, what: str, when: str, number: int) -> None:
        """Kill the process if this is the moment."""
        if self._popen is not None and self._moment == (what, number, when):
            self._popen.kill()

    def _hand_on(self, request: Request) -> Reply:
        with self._counting:
            self._seen[request.method] += 1
            number = self._seen[request.method]
        self.reached(request.method, "before", number)
        kept = ("authorization", "content-type")
        try:
            answer = requests.request(
                request.method,
                f"{self.crm.url}{request.path}",
                data=request.body,
                headers={name: request.headers[name] for name in kept if name in request.headers},
                timeout=60,
            )
        except requests.ConnectionError:
            return Reply(then="reset")
        self.reached(request.method, "after", number)
        soon = threading.Timer(SOON_SECONDS, self.reached, (request.method, "answered", number))
        soon.daemon = True
        soon.start()
        pause = answer.headers.get("Retry-After")
        headers = {"Retry-After": pause} if pause else None
        return reply(answer.status_code, answer.content, headers=headers)


def run_killed(
    settings: Record, lines: list[str], folder: Path, proxy: Proxy, moment: Moment
) -> Killed:
    """Run the target in a process that is killed at a moment, if it gets there."""
    config, log = folder / "settings.json", folder / "killed.log"
    config.write_text(json.dumps(settings | {"api_url": proxy.url}))
    states: list[Record] = []
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", "tests.rounds.quick", "30", "--config", str(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as popen,
    ):
        proxy.watch(popen, moment)
        stdin, stdout = t.cast("t.IO[str]", popen.stdin), t.cast("t.IO[str]", popen.stdout)
        try:
            stdin.write("".join(f"{line}\n" for line in lines))
            stdin.close()
        except BrokenPipeError:
            pass
        for line in stdout:
            states.append(json.loads(line))
            proxy.reached("STATE", "answered", len(states))
        popen.wait(120)
    return Killed(popen.returncode, states, log.read_text())
