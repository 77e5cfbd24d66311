"""Singer messages to send in, and what a run leaves behind."""

import json
import re
import typing as t
from dataclasses import dataclass, field

Record: t.TypeAlias = dict[str, t.Any]

TEXT = {"type": ["string", "null"]}
PEOPLE = {"id": {"type": "integer"}, "email": TEXT, "mobile": TEXT}
PEOPLE |= {"email_opt_in": {"type": ["boolean", "null"]}, "firstname": TEXT}


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
        assert self.code == 0, self.errors
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
        """Return one of the counts, 0 if it is not there."""
        return int(self.counts.get(name) or 0)

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
