"""The ledger as its users see it: nights of people in, and what the CRM holds afterwards.

Nothing here knows how the target remembers anything.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import typing as t
from collections import Counter
from pathlib import Path

from tests.broken_server import RESET, BrokenServer, Reply, Request, reply
from tests.messages import PEOPLE, Ended, record, schema, state

if t.TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import Record

FULL: Record = {"streams": {"people": {"full_table": True}}}
"""Every run reads the stream in full."""

OPT_OUT: Record = {**FULL, "missing_records": "opt_out", "max_drift_percent": 100}
"""And whoever is gone is opted out."""

OMIT: Record = {"unchanged_opt_in": "omit"}

COLUMNS = PEOPLE | {"mobile_opt_in": {"type": ["boolean", "null"]}}

_time = time.time

SOON_SECONDS = 0.005

Contact: t.TypeAlias = "dict[str, t.Any]"


def person(number: t.Any, email: str | None = "", stream: str = "people", **more: t.Any) -> str:
    """A record of a person; the address is only its first part, and made of the number if empty."""
    address = f"{email or f'p{number}'}@example.com" if email is not None else None
    columns = {"id": number, "email": address, "firstname": f"First{number}"} | more
    return record(stream, **columns)


def one(
    number: int,
    email: str | None = None,
    mobile: str | None = None,
    *,
    consent: bool | None = None,
    **more: t.Any,
) -> str:
    """A person with all columns, null unless they are given."""
    return person(number, email, mobile=mobile, email_opt_in=consent, **more)


def consenting(*numbers: int, **more: t.Any) -> list[str]:
    """Records of people who have given the consent to e-mail."""
    return [person(number, email_opt_in=True, **more) for number in numbers]


def night(*people: str, stream: str = "people", **more: t.Any) -> list[str]:
    """What a tap writes in one night."""
    return [schema(COLUMNS, stream=stream, **more), *people, state(bookmark=len(people))]


def by_address(crm: RunningSandbox) -> dict[str | None, Contact]:
    """Return the contacts by the first part of their address; two with one address fail."""
    found: dict[str | None, Contact] = {}
    for contact in crm.contacts():
        name = contact["email"] and contact["email"].partition("@")[0]
        assert name not in found, f"two contacts have the address of {name}"
        found[name] = contact
    return found


def addresses(crm: RunningSandbox) -> list[str]:
    """Return the first part of every contact's address, in order."""
    return sorted((contact["email"] or "").partition("@")[0] for contact in crm.contacts())


def opted_in(crm: RunningSandbox) -> set[str]:
    """Return the first part of the addresses that may be written to."""
    return {
        contact["email"].partition("@")[0] for contact in crm.contacts() if contact["email_opt_in"]
    }


def opted_out(crm: RunningSandbox) -> set[str]:
    """Return the first part of the addresses that said no."""
    return {
        contact["email"].partition("@")[0]
        for contact in crm.contacts()
        if contact["email_opt_in"] is False
    }


def posts(crm: RunningSandbox) -> int:
    """Return how many requests with contacts the CRM has had."""
    return sum(request.method == "POST" for request in crm.requests())


def count(ended: Ended, name: str, stream: str = "people") -> int:
    """Return a count of the report, 0 if it is not there."""
    return int(ended.report["streams"][stream].get(name) or 0)


def counts(ended: Ended) -> dict[str, int]:
    """Return the counts that are not 0."""
    return {name: n for name, n in ended.counts.items() if n and type(n) is int}


def held(crm: RunningSandbox) -> list[tuple[str | None, str | None, bool | None, str | None]]:
    """Return number, first part of the address, consent and first name of every contact."""
    return [
        (
            f"+{c['mobile_country_code']}{c['mobile_number']}" if c["mobile_number"] else None,
            c["email"] and c["email"].partition("@")[0],
            c["email_opt_in"],
            c["properties"].get("firstname"),
        )
        for c in crm.contacts()
    ]


def warnings(ended: Ended) -> list[str]:
    """Return the lines of the log that are warnings."""
    return [line for line in ended.log.splitlines() if line.startswith("WARNING")]


def names(ended: Ended, number: t.Any) -> bool:
    """Return whether a warning names the person with this key, alone or among others."""
    named = re.compile(rf"\bids?[= ]([^)]*\W)?{re.escape(str(number))}\b")
    return any(named.search(line) for line in warnings(ended))


def days_later(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    """Let this process's clock of the day be so many days ahead."""
    ahead = days * 86_400
    monkeypatch.setattr(time, "time", lambda: _time() + ahead)


def copy_ledger(source: str | Path, target: str | Path) -> None:
    """Put one file of a ledger, with its companions, in the place of another one."""
    for end in ("", "-wal", "-shm"):
        Path(f"{target}{end}").unlink(missing_ok=True)
        if Path(f"{source}{end}").exists():
            shutil.copy(f"{source}{end}", f"{target}{end}")


def ledger_command(uri: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `mainbrainer-ledger`."""
    command = str(Path(sys.executable).with_name("mainbrainer-ledger"))
    return subprocess.run(
        [command, "--ledger-uri", uri, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def start_target(
    settings: Record,
    lines: list[str],
    folder: Path,
    *options: str,
    name: str = "process",
    machine: str = "",
) -> subprocess.Popen[str]:
    """Start the target in a process of its own, with its log in a file beside its settings.

    Args:
        settings: Its settings.
        lines: Its input.
        folder: Where its files are put.
        *options: More options of its command.
        name: What its files are called.
        machine: Code to run in it first, which makes another machine of this one.
    """
    config, source = folder / f"{name}.json", folder / f"{name}.singer"
    config.write_text(json.dumps(settings))
    source.write_text("".join(f"{line}\n" for line in lines))
    code = f"{machine}\nfrom target_mainbrainer import cli\ncli.main()"
    with source.open() as stdin, (folder / f"{name}.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-c", code, "--config", str(config), *options],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


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


class Between(BrokenServer):
    """Hands requests on to a CRM, may change what is said, and may kill who sends them.

    Attributes:
        crm: The CRM behind it.
        rule: Answers a request in the place of the CRM, or returns None.
        falsify: Changes what the CRM says of a batch, given the contacts that were sent in it and
            the JSON of its status.
    """

    def __init__(self, crm: RunningSandbox) -> None:
        super().__init__(self._answer)
        self.crm = crm
        self.rule: Callable[[Request], Reply | None] = lambda _request: None
        self.falsify: Callable[[list[Contact], Record], Record] | None = None
        self._batches: dict[str, list[Contact]] = {}
        self._seen: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._moment: Moment | None = None
        self._popen: subprocess.Popen[str] | None = None

    def watch(self, popen: subprocess.Popen[str], moment: Moment) -> None:
        """Kill a process at a moment, counted from now."""
        self._seen.clear()
        self._popen, self._moment = popen, moment

    def reached(self, what: str, number: int, when: str) -> bool:
        """Kill the process if this is the moment, and return whether it is."""
        is_it = self._popen is not None and self._moment == (what, number, when)
        if self._popen is not None and is_it:
            self._popen.kill()
        return is_it

    def _answer(self, request: Request) -> Reply:
        with self._counting:
            self._seen[request.method] += 1
            number = self._seen[request.method]
        if self.reached(request.method, number, "before"):
            return RESET
        answer = self.rule(request) or self.forward(request)
        self.reached(request.method, number, "after")
        soon = threading.Timer(SOON_SECONDS, self.reached, (request.method, number, "answered"))
        soon.daemon = True
        soon.start()
        return answer

    def forward(self, request: Request) -> Reply:
        """Let the CRM answer."""
        connection = http.client.HTTPConnection(self.crm.url.removeprefix("http://"), timeout=60)
        headers = {name: value for name, value in request.headers.items() if name != "host"}
        try:
            connection.request(request.method, request.path, request.body, headers)
            answer = connection.getresponse()
            status, body = answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return RESET
        finally:
            connection.close()
        if self.falsify and status == http.client.ACCEPTED:
            self._batches[json.loads(body)["data"]["BatchId"]] = contacts_of(request)
        if self.falsify and request.path.lower().endswith("/status"):
            said = json.loads(body)
            body = json.dumps(self.falsify(self._batches.get(said["id"], []), said)).encode()
        pause = answer.getheader("Retry-After")
        return reply(status, body, headers={"Retry-After": pause} if pause else None)


class Gate:
    """A rule that lets no batch pass until it is opened.

    Attributes:
        seen: How many have come.
    """

    def __init__(self) -> None:
        self.seen = 0
        self._is_open = threading.Event()

    def __call__(self, request: Request) -> Reply | None:
        if request.method == "POST":
            self.seen += 1
            self._is_open.wait(60)
        return None

    def open(self) -> None:
        """Let everything pass, from now on."""
        self._is_open.set()


def run_process(
    settings: Record, lines: list[str], folder: Path, *options: str, **more: str
) -> tuple[int, str]:
    """Run the target in a process of its own, and return its exit code and its log."""
    process = start_target(settings, lines, folder, *options, **more)
    process.communicate(timeout=240)
    return process.returncode, (folder / f"{more.get('name', 'process')}.log").read_text()


def run_killed(
    settings: Record,
    lines: list[str],
    folder: Path,
    between: Between,
    moment: Moment,
    *,
    machine: str = "",
    surely: bool = True,
) -> Ended:
    """Run the target in a process that is killed at a moment.

    Args:
        settings: Its settings, but for the address.
        lines: Its input.
        folder: Where its files are put.
        between: Where it sends to.
        moment: Soon after an answer it may have ended by itself.
        machine: As `start_target` has it.
        surely: Whether the moment comes.
    """
    config, log = folder / "settings.json", folder / "killed.log"
    config.write_text(json.dumps(settings | {"api_url": between.url}))
    code = f"{machine}\nfrom tests.rounds import quick\nquick.main()"
    states: list[Record] = []
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-c", code, "30", "--config", str(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as popen,
    ):
        between.watch(popen, moment)
        stdin, stdout = t.cast("t.IO[str]", popen.stdin), t.cast("t.IO[str]", popen.stdout)
        with contextlib.suppress(BrokenPipeError), stdin:
            stdin.write("".join(f"{line}\n" for line in lines))
        for line in stdout:
            states.append(json.loads(line))
            between.reached("STATE", len(states), "answered")
        popen.wait(120)
    is_killed = popen.returncode == -signal.SIGKILL
    assert is_killed or moment.when == "answered" or not surely, log.read_text()
    return Ended(popen.returncode, states, log.read_text())


def contacts_of(request: Request) -> list[Contact]:
    """Return the contacts that a request sends."""
    if request.method != "POST" or not request.body:
        return []
    found: list[Contact] = json.loads(request.body).get("createUpdateContacts", [])
    return found
