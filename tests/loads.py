"""What tests send in, and what is left behind: Singer messages, runs and loads of people."""

import json
import re
import time
import typing as t
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mainbrainer_sandbox.running import RunningSandbox
from target_mainbrainer import cli
from tests.broken_server import Serve


def cases(names: str, *values: t.Any, ids: t.Any = None) -> pytest.MarkDecorator:
    """Run a test once for each of these values, or tuples of values, of the named arguments."""
    return pytest.mark.parametrize(names.replace(" ", ","), values, ids=ids)


PATIENCE = 60.0


def wait_until(is_so: Callable[[], object], problem: str = "it never happened") -> None:
    """Return as soon as a condition holds; fail if it does not hold in a minute."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, problem
        time.sleep(0.005)


Record: t.TypeAlias = dict[str, t.Any]
Contact: t.TypeAlias = Record
_time = time.time

TEXT, BOOLEAN = {"type": ["string", "null"]}, {"type": ["boolean", "null"]}
PEOPLE = {"id": {"type": "integer"}, "email": TEXT, "mobile": TEXT}
PEOPLE |= dict.fromkeys(("email_opt_in", "mobile_opt_in"), BOOLEAN) | {"firstname": TEXT}


def schema(properties: t.Any = None, *, stream: str = "people", **more: t.Any) -> str:
    """A SCHEMA message; columns of any type may be named by a text, and the key is `id`."""
    key = more.pop("key", ("id",))
    if isinstance(properties, str):
        properties = {name: {} for name in properties.split()}
    body = {"type": "object", "properties": properties or PEOPLE, **more}
    message = {"type": "SCHEMA", "stream": stream, "schema": body}
    return json.dumps(message | {"key_properties": list(key)})


def record(stream: str = "people", **columns: t.Any) -> str:
    """A RECORD message."""
    return json.dumps({"type": "RECORD", "stream": stream, "record": columns})


def batch(*files: object, **members: t.Any) -> str:
    """A BATCH message that names files of JSON lines."""
    message = {"type": "BATCH", "stream": "people", "encoding": {"format": "jsonl"}}
    return json.dumps(message | {"manifest": files} | members)


def state(**value: t.Any) -> str:
    """A STATE message."""
    return json.dumps({"type": "STATE", "value": value})


def person(number: int, **more: t.Any) -> str:
    """A RECORD message of a made-up person."""
    email, name = f"p{number}@example.com", f"First{number}"
    return record(**(Record(id=number, email=email, firstname=name) | more))


OPT_INS = {"yes": ("email_opt_in", True), "no": ("email_opt_in", False)}
OPT_INS |= {"sms": ("mobile_opt_in", True), "nosms": ("mobile_opt_in", False)}


def spread(text: str) -> Iterator[str]:
    """Yield the words of a text, such as p1, p2, p3 and b of `p1-3 b`."""
    for word in text.split():
        found = re.fullmatch(r"(\D*)(\d+)-(\d+)", word)
        numbers = range(int(found[2]), int(found[3]) + 1) if found else ()
        yield from (f"{found[1]}{n}" for n in numbers) if found else [word]


def columns_of(key: str, words: list[str], name: str) -> Record:
    """Return the columns of a person."""
    found: Record = {"id": int(key), "email": None, "mobile": None, "firstname": f"{name}{key}"}
    for word in words:
        column, is_text, text = word.partition("=")
        if word == "keyless" or word[0] in "/@":
            continue
        if word == "bare":
            found = {"id": found["id"]}
        elif word == "deleted":
            found["_sdc_deleted_at"] = "2026-11-01T00:00:00Z"
        elif word in OPT_INS:
            found |= [OPT_INS[word]]
        elif is_text:
            found[column or "firstname"] = text
        elif ":" in word:
            column, _, text = word.partition(":")
            found[column] = json.loads(text)
        elif word[0] == "+":
            found["mobile"] = f"+479000000{word[1:]}"
        else:
            found["email"] = f"{word}@example.com"
    return found


def lines_of(*said: str, name: str = "First") -> list[str]:
    """Return the input of a night, of `1 a, 2-4 p# +# yes =Name city=Oslo, users:3 bare deleted`.

    That is a key, which may have a stream before it; a part of the address; the last digit of a
    number; consent; a first name, and other columns. What stands after a colon is JSON, `#` stands
    for the key, `bare` for nothing but the key, and `/50` for a STATE after each fifty; a stream
    may be `keyless`. `@5` is the version of a record, and `activate 5` that of the stream. Lines
    of messages stay as they are.
    """
    if not said or said[0].startswith("{"):
        return [*said]
    (text,), lines, streams = said, list[str](), dict[str, Record]()
    keyless = {*re.findall(r"(\w+):\S+[^,]* keyless", text)}
    for one in text.split(", ") if text not in {"", "none"} else ():
        who, *words = one.split(" ")
        marked = re.search(r" @(\d+)", one)
        version = {"version": int(marked[1])} if marked else {}
        if who == "activate":
            message = {"type": "ACTIVATE_VERSION", "stream": "people", "version": int(words[0])}
            lines.append(json.dumps(message))
            continue
        stream, _, keys = who.rpartition(":")
        for key in spread(keys):
            row = columns_of(key, [word.replace("#", key) for word in words], name)
            line = json.loads(record(stream or "people", **row))
            lines.append(json.dumps(line | version))
            known = streams.setdefault(stream or "people", {} if stream else {**PEOPLE})
            known |= {column: PEOPLE.get(column, {}) for column in row}
            known |= {} if type(row["id"]) is int else {"id": {}}
            every = next((int(word[1:]) for word in words if word[0] == "/"), 0)
            lines += [state(bookmark=int(key))] * (every > 0 and int(key) % every == 0)
    schemas = [
        schema(columns, stream=stream, key=() if stream in keyless else ("id",))
        for stream, columns in (streams or {"people": PEOPLE}).items()
    ]
    records = sum('"RECORD"' in line for line in lines)
    return [*schemas, *lines, state(bookmark=records)]


def name_of(contact: Contact) -> str:
    """Return the first part of a contact's address, "" if it has none."""
    return (contact["email"] or "").removesuffix("@example.com")


@dataclass
class Ended:
    """What a run left behind; the last line of its log stands by itself."""

    code: int
    states: list[Record]
    log: str
    errors: list[str] = field(default_factory=list)
    last: str = ""
    report: Record = field(default_factory=dict)

    @property
    def counts(self) -> Record:
        """The counts of the stream `people`."""
        return t.cast("Record", self.report["streams"]["people"])

    def ok(self) -> t.Self:
        """Return this run, which has to have ended well."""
        assert self.code == 0, self.errors or self.log
        return self

    def failed(self, *words: str) -> t.Self:
        """Return this run, which has to have failed for one reason, in these words among others."""
        assert self.code == 1
        for one in words:
            assert one in self.error
        return self

    @property
    def error(self) -> str:
        """The one error that ended the run."""
        assert len(self.errors) == 1, self.errors
        return self.errors[0]

    @property
    def bookmark(self) -> int:
        """The bookmark of the last STATE, 0 if there is none."""
        return int(self.states[-1]["bookmark"]) if self.states else 0

    @property
    def numbers(self) -> dict[str, int]:
        """The counts that are not 0."""
        return {name: n for name, n in self.counts.items() if n and type(n) is int}

    def count(self, name: str) -> int:
        """Return a count of records, or of those rejected with a code; 0 if there are none."""
        return int(self.counts.get(name) or self.counts["rejected_by_code"].get(name) or 0)

    @property
    def warnings(self) -> list[str]:
        """The lines of the log that are warnings."""
        return [line for line in self.log.splitlines() if line.startswith("WARNING")]

    def names(self, number: t.Any) -> bool:
        """Return whether a warning names the person with this key, alone or among others."""
        named = re.compile(rf"\bids?[= ]([^)]*\W)?{re.escape(str(number))}\b")
        return any(named.search(line) for line in self.warnings)


class RunTarget(t.Protocol):
    """Runs the target on lines of input."""

    def __call__(self, *lines: str, **config: t.Any) -> Ended: ...


def people(count: int, *, every: int = 50, bad: t.Container[int] = ()) -> str:
    """So many people, with STATE in between; the bad ones have a bad address."""
    numbers = range(1, count + 1)
    return ", ".join(f"{n} {'bad' if n in bad else 'p'}{n} /{every}" for n in numbers)


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
        at_end: Lets something be done when the test is over.
    """

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._get = request.getfixturevalue
        self.at_end = request.addfinalizer
        self.run: RunTarget = self._get("run_target")
        self.crm: RunningSandbox = self._get("crm")
        self.serve: Serve = self._get("serve")
        self.settings: Record = self._get("settings")
        self.folder: Path = self._get("tmp_path")
        self.patch: pytest.MonkeyPatch = self._get("monkeypatch")
        self.clock = Clock()
        self.patch.setattr("target_mainbrainer.run.time", self.clock)
        self.caplog: pytest.LogCaptureFixture = self._get("caplog")

    def __call__(self, *lines: str, faults: str = "", **config: t.Any) -> Ended:
        """Run the target on `lines_of` these, with these faults in the CRM until it has ended."""
        if faults:
            self.crm.set_faults(*faults.split())
        ended = self.run(*lines_of(*lines), **config)
        if faults:
            self.crm.set_faults()
        return ended

    def ok(self, *lines: str, **config: t.Any) -> Ended:
        """Run the target, which ends well."""
        return self(*lines, **config).ok()

    def fails(self, *lines: str, **config: t.Any) -> Ended:
        """Run the target, which fails."""
        return self(*lines, **config).failed()

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

    @property
    def addresses(self) -> list[str]:
        """The first part of every contact's address, in order."""
        return sorted(name_of(contact) for contact in self.crm.contacts())

    def said(self, opt_in: bool) -> set[str]:
        """Return the first part of the addresses that said yes, or no."""
        return {name_of(one) for one in self.crm.contacts() if one["email_opt_in"] is opt_in}

    @property
    def posts(self) -> int:
        """How many requests with contacts the CRM has had."""
        return sum(request.method == "POST" for request in self.crm.requests())

    # By hand

    def edit(self, *names: str, **changes: t.Any) -> None:
        for name in names:
            self.crm.edit(f"{name}@example.com", **changes)

    def unsubscribe(self, *names: str) -> None:
        self.edit(*names, email_opt_in=False)

    def delete(self, name: str) -> None:
        self.crm.delete(f"{name}@example.com")

    def listed(self, *lines: str) -> Record:
        """Write a suppression list, and return the setting that names it."""
        path = self.folder / "unsubscribed.txt"
        path.write_text("\n".join(["# unsubscribed", *lines]))
        return {"suppression_path": str(path)}

    def days_later(self, days: float) -> None:
        """Let this process's clock of the day be so many days ahead."""
        self.patch.setattr(time, "time", lambda: _time() + days * 86_400)

    # Rejected records

    def keep_rejects(self) -> Path:
        """Let rejected records be kept from now on, and return in which file."""
        path = self.folder / "rejects.singer"
        self.settings["rejects_path"] = str(path)
        return path

    def rejected(self) -> list[Record]:
        """Return the records in the rejects file, if there is one."""
        path = Path(self.settings["rejects_path"])
        lines = map(json.loads, path.read_text().splitlines() if path.exists() else ())
        return [line for line in lines if line["type"] == "RECORD"]

    def rejected_ids(self) -> list[int]:
        """Return the ids of the records in the rejects file, in order."""
        return sorted(line["record"]["id"] for line in self.rejected())

    def numbers(self) -> set[int]:
        """Return the numbers of the made-up people who are in the CRM."""
        return {int(name[1:]) for name in self.addresses if name.startswith("p")}
