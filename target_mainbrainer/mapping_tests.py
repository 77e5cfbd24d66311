"""Mapping tests: records in a file, with the contacts or rejections that they should become.

A record goes through what it goes through in a run, from SCHEMA message to contact. Nothing is
sent, and neither a ledger nor a suppression list is read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import re
import typing as t
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import yaml
from typing_extensions import override

from target_mainbrainer.contacts import Contact, Rejection, RejectionCode, identity_of
from target_mainbrainer.errors import MappingError, SettingsError
from target_mainbrainer.mapping.values import property_text
from target_mainbrainer.settings.declared import Settings
from target_mainbrainer.singer.reader import MalformedMessageError, Message
from target_mainbrainer.singer.state import SourceRecord
from target_mainbrainer.sinks import ContactsSink
from target_mainbrainer.target import TargetMainBrainer
from target_mainbrainer.words import counted, shown

Values: t.TypeAlias = "dict[str, t.Any]"


class _Written(msgspec.Struct, forbid_unknown_fields=True):
    """A part of a file of tests."""


class Sent(_Written):
    """A contact that would be sent."""

    contact_id: int | None = None
    mobile: str | int | None = None
    email: str | None = None
    mobile_opt_in: bool | None = None
    email_opt_in: bool | None = None
    list_id: str | None = None
    properties: Values = {}


class MappingTest(_Written, kw_only=True):
    """A record and what it should become; several contacts if a stream map makes several."""

    name: str = ""
    stream: str
    record: Values
    contact: Sent | list[Sent] | None = None
    rejected: RejectionCode | None = None


class TestsFile(_Written):
    """A file of tests; a stream that is not in `schemas` has the columns of its records."""

    __test__ = False  # pytest

    tests: t.Annotated[list[MappingTest], msgspec.Meta(min_length=1)]
    schemas: dict[str, Values] = {}


class MappingTester(TargetMainBrainer):
    """Maps single records as a run would."""

    def __init__(self, config: Values, reads_environment: bool) -> None:  # noqa: FBT001
        super().__init__(config=config | {"dry_run": True}, parse_env_config=reads_environment)
        self.settings: Settings = dataclasses.replace(
            self.settings, ledger_uri=None, suppression_path=None
        )
        self._found: list[Contact | Rejection] = []
        self.default_sink_class = _observed(self._found)

    def outcome(self, schema: Message, record: object) -> tuple[list[Sent], Rejection | None]:
        """Return the contacts that a record would become, and why it would be rejected.

        Raises:
            SettingsError: One of the two messages is wrong.
            MappingError: The settings do not fit the stream's columns.
        """
        self._found.clear()
        self.reader.line = json.dumps(schema, default=str).encode()
        stream = schema["stream"]
        try:
            self._process_schema_message({**schema, "type": "SCHEMA"})
            self._process_record_message({"type": "RECORD", "stream": stream, "record": record})
        except MalformedMessageError as error:
            raise SettingsError(f"Stream '{shown(stream)}': a message {error}.") from None
        rejections = [one for one in self._found if isinstance(one, Rejection)]
        contacts = [one for one in self._found if isinstance(one, Contact)]
        # Only a ledger knows who a "no" is of that comes without an identity.
        contacts += [no for one in rejections if (no := one.withdrawal) and identity_of(no)]
        return [*map(_as_written, contacts)], next(iter(rejections), None)


def _observed(found: list[Contact | Rejection]) -> type[ContactsSink]:
    """Return a sink that adds to a list what its records become, and sends nothing."""

    class ObservedSink(ContactsSink):
        @override
        def _add(self, contact: Contact, source_record: SourceRecord, record: Values) -> None:
            found.append(contact)

        @override
        def _reject(self, rejection: Rejection, source_record: SourceRecord) -> None:
            found.append(rejection)

    return ObservedSink


def _as_written(contact: Contact) -> Sent:
    mobile = contact.mobile
    return Sent(
        contact.contact_id,
        None if mobile is None else f"+{mobile.country_code} {mobile.number}",
        contact.email,
        contact.mobile_opt_in,
        contact.email_opt_in,
        contact.list_id,
        {ref.name or ref.property_id or "": text for ref, text in contact.properties.items()},
    )


# Running tests


def run_tests(config: Values, reads_environment: bool, path: Path) -> Iterator[str]:  # noqa: FBT001
    """Run the tests of a file, and yield the results in lines.

    Raises:
        SettingsError: The settings are wrong, or the file cannot be read.
        MappingError: A test failed, or the settings do not fit the columns of a stream.
    """
    tester, file, failed = MappingTester(config, reads_environment), _read(path), 0
    for number, test in enumerate(file.tests, 1):
        alike = (one.record for one in file.tests if one.stream == test.stream)
        columns: Values = {column: {} for record in alike for column in record}
        schema = {"schema": {"properties": columns}, **file.schemas.get(test.stream, {})}
        outcome = tester.outcome({**schema, "stream": test.stream}, test.record)
        problems = [*_problems(test, *outcome)]
        failed += bool(problems)
        name = test.name or f"{test.stream}, test {number}"
        yield f"{'FAILED' if problems else 'passed'}  {name}"
        yield from (f"        {problem}" for problem in problems)
    if failed:
        raise MappingError(f"{failed} of {counted(len(file.tests), 'test')} of the mapping failed.")
    yield f"{counted(len(file.tests), 'test')} passed."


def _read(path: Path) -> TestsFile:
    try:
        content = _Loader(path.read_text(encoding="utf-8")).get_single_data()
        return msgspec.convert(content, TestsFile)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SettingsError(f"The tests in '{path}' cannot be read: {error}.") from None


def _problems(test: MappingTest, sent: list[Sent], rejection: Rejection | None) -> Iterator[str]:
    """Yield each difference; all values are the test's own, or made of them."""
    if (rejection and rejection.code) != test.rejected:
        result = f"'{rejection.code}': {rejection.reason}" if rejection else "nothing"
        yield f"rejected: expected {_shown(test.rejected)}, got {result}"
    expected = test.contact if isinstance(test.contact, list) else [test.contact]
    for one, other in itertools.zip_longest(filter(None, expected), sent):
        wanted, got = _flat(one), _flat(other)
        for field in wanted | got:
            values = wanted.get(field), got.get(field)
            if values[0] != values[1]:
                yield f"{field}: expected {_shown(values[0])}, got {_shown(values[1])}"


def _flat(contact: Sent | None) -> Values:
    """Return the fields and properties of a contact, if there is one, spelt in one way."""
    if contact is None:
        return {}
    flat = {k: v for k, v in msgspec.structs.asdict(contact).items() if v is not None}
    if contact.mobile is not None:
        flat["mobile"] = "+" + re.sub(r"\D", "", str(contact.mobile))
    for name, value in flat.pop("properties").items():
        flat[f"property '{name}'"] = "" if value is None else property_text(value)
    return flat


def _shown(value: object) -> str:
    return "nothing" if value is None else shown(json.dumps(value, ensure_ascii=False))


# YAML


class _Loader(yaml.BaseLoader):
    """Reads plain values as JSON has them: `yes`, `NO`, `0770` and dates are texts."""

    @override
    def construct_scalar(self, node: yaml.ScalarNode) -> t.Any:
        if node.style is None:
            with contextlib.suppress(ValueError):
                return json.loads(node.value or "null", parse_float=Decimal, parse_constant=str)
        return node.value
