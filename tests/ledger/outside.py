"""The ledger as its users see it: nights of people in, and what the CRM holds afterwards.

Nothing here knows how the target remembers anything.
"""

import http.client
import signal
import sys
import threading
import typing as t
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner, Result

from mainbrainer_sandbox.running import RunningSandbox
from target_mainbrainer.ledger.command import main
from tests.broken_server import RESET, BrokenServer, Reply, Request, reply
from tests.loads import PATIENCE, Contact, Ended, Load, Record, lines_of
from tests.postgresql import PostgreSQL
from tests.rounds.process import Process, start_process
from tests.rounds.sent import contacts_in

FULL: Record = {"streams": {"people": {"full_table": True}}}
"""Every run reads the stream in full."""

OPT_OUT: Record = {**FULL, "missing_records": "opt_out", "max_drift_percent": 100}
"""And people who are gone are opted out."""

OMIT: Record = {"unchanged_opt_in": "omit"}
REPORT: Record = {"confirm_batches": "report"}
CODE = "from target_mainbrainer import cli; cli.main()"

on_both_databases = pytest.mark.parametrize("ledger_uri", ["sqlite", "postgresql"], indirect=True)
"""For tests of a module whose `ledger_uri` is otherwise one of SQLite."""


def empty_ledger(request: pytest.FixtureRequest, folder: Path) -> str:
    """Return the URI of an empty ledger, of the kind that a fixture's parameter names."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return str(folder / "ledger.db")
    server: PostgreSQL = request.getfixturevalue("empty_postgresql")
    return server.url


def rehearsal(path: Path) -> Record:
    """Settings of a run into a sandbox of its own."""
    return {"api_url": "", "access_token": "", "sandbox_path": str(path)}


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


class Night(Load):
    """Runs the target on a night's people, and looks at what the CRM and the ledger hold."""

    def __init__(self, request: pytest.FixtureRequest, uri: str) -> None:
        super().__init__(request)
        self.uri = uri
        self.process: Process

    def between(self) -> "Between":
        """Return what stands between the target and the CRM from now on."""
        server: Between = self._get("between")
        self.settings["api_url"] = server.url
        return server

    # Other commands and processes

    def command(self, *arguments: str, answer: str | None = None) -> Result:
        """Run `mainbrainer-ledger`; its end is always a sentence."""
        ended = CliRunner().invoke(main, ["--ledger-uri", self.uri, *arguments], input=answer)
        assert ended.exception is None or isinstance(ended.exception, SystemExit)
        assert "Unexpected" not in ended.output
        return ended

    def says(self, *arguments: str, code: int = 0, answer: str | None = None) -> str:
        """Return what `mainbrainer-ledger` prints, which has to end so."""
        ended = self.command(*arguments, answer=answer)
        assert ended.exit_code == code, ended.output
        return ended.output

    def finds_nothing(self, *arguments: str) -> str:
        return self.says(*arguments, code=1)

    def check(self) -> Ended:
        """Run the target with `--check`."""
        self.caplog.clear()
        ended = self.invoke("--check", **self.settings)
        return Ended(ended.exit_code, [], ended.output + self.caplog.text)

    def open(self, *command: str, **config: t.Any) -> Process:
        """Start the target in a process of its own, which is to be fed."""
        self.process = start_process(self.crm, self.folder, self.settings | config, *command)
        self.at_end(self.process.close)
        return self.process

    def start(self, *people: str, machine: str = "", code: str = CODE, **config: t.Any) -> Process:
        """Start the target on a night's people in a process of its own.

        Args:
            *people: Its input.
            machine: Code to run in it first, which makes another machine of this one.
            code: What starts it.
            **config: More settings.
        """
        process = self.open(sys.executable, "-c", f"{machine}\n{code}", **config)
        process.feed_all(lines_of(*people))
        process.close_input()
        return process

    def killed(self, *people: str, at: Moment, machine: str = "", **config: t.Any) -> Ended:
        """Run the target in a process that is killed at a moment.

        Soon after an answer it may have ended by itself.
        """
        between = self.between()
        between.watch(at, lambda: self.process)
        code = "import sys; sys.argv.insert(1, '30'); from tests.rounds import quick; quick.main()"
        process = self.start(*people, machine=machine, code=code, **config)
        process.on_state = lambda number: between.reached("STATE", number, "answered")
        ended = process.ended()
        assert ended.code == -signal.SIGKILL or at.when == "answered", ended.log
        return ended

    def gate(self, method: str = "POST") -> "Gate":
        """Return a gate that requests have to pass from now on."""
        self.between().rule = gate = Gate(method)
        self.at_end(gate.open)
        return gate


class Between(BrokenServer):
    """Hands requests on to a CRM, may change its answers, and may kill the sender.

    Attributes:
        rule: Answers a request in the place of the CRM, or returns None.
        falsify: Changes what the CRM says of a batch, given the contacts that were sent in it and
            the JSON of its status.
    """

    def __init__(self, crm: RunningSandbox) -> None:
        super().__init__(self._answer)
        self._crm = crm
        self.rule: Callable[[Request], Reply | None] = lambda _request: None
        self.falsify: Callable[[list[Contact], Record], object] | None = None
        self._batches: dict[str, list[Contact]] = {}
        self._seen: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._moment: Moment | None = None
        self._victim: Callable[[], Process]

    def watch(self, moment: Moment, victim: Callable[[], Process]) -> None:
        """Kill a process at a moment, counted from now."""
        self._seen.clear()
        self._moment, self._victim = moment, victim

    def reached(self, what: str, number: int, when: str) -> bool:
        """Kill the process if this is the moment, and return whether it is."""
        is_it = self._moment == (what, number, when)
        if is_it:
            self._moment = None
            self._victim().popen.kill()
        return is_it

    def _answer(self, request: Request) -> Reply:
        with self._counting:
            self._seen[request.method] += 1
            number = self._seen[request.method]
        if self.reached(request.method, number, "before"):
            return RESET
        answer = self.rule(request) or self.forward(request)
        self.reached(request.method, number, "after")
        soon = threading.Timer(0.005, self.reached, (request.method, number, "answered"))
        soon.daemon = True
        soon.start()
        return answer

    def forward(self, request: Request) -> Reply:
        """Let the CRM answer."""
        headers = {name: value for name, value in request.headers.items() if name != "host"}
        try:
            with requests.Session() as session:
                session.trust_env = False
                url, body = self._crm.url + request.path, request.body
                answer = session.request(request.method, url, None, body, headers, timeout=60)
        except requests.RequestException:
            return RESET
        said = answer.json()
        if self.falsify and answer.status_code == http.client.ACCEPTED:
            self._batches[said["data"]["BatchId"]] = contacts_in(request)
        if self.falsify and request.path.lower().endswith("/status"):
            self.falsify(self._batches.get(said["id"], []), said)
        pause = answer.headers.get("Retry-After")
        return reply(answer.status_code, said, headers={"Retry-After": pause} if pause else None)


class Gate:
    """A rule that lets no request of a method pass until it is opened.

    Attributes:
        seen: How many have come.
        answer: What they get then, if it is not the CRM's answer.
    """

    answer: Reply | None = None

    def __init__(self, method: str = "POST") -> None:
        self.seen = 0
        self._method = method
        self._is_open = threading.Event()

    def __call__(self, request: Request) -> Reply | None:
        if request.method == self._method:
            self.seen += 1
            self._is_open.wait(10 * PATIENCE)
        return self.answer if request.method == self._method else None

    def open(self) -> None:
        """Let everything pass, from now on."""
        self._is_open.set()
