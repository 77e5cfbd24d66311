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
import xml.etree.ElementTree as ET
from decimal import Decimal

import msgspec
import phonenumbers
import yaml
from typing_extensions import override

from target_mainbrainer.contacts import Contact, Rejection, RejectionCode, identity_of
from target_mainbrainer.errors import MappingError, SettingsError
from target_mainbrainer.mapping.identifiers import parse_email, parse_mobile
from target_mainbrainer.mapping.values import InvalidValueError, property_text
from target_mainbrainer.settings.declared import Settings, all_words, plain_word
from target_mainbrainer.singer.reader import MalformedMessageError, decode_message
from target_mainbrainer.sinks import ContactsSink
from target_mainbrainer.target import TargetMainBrainer
from target_mainbrainer.words import counted, shown

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from target_mainbrainer.settings.declared import StreamSettings
    from target_mainbrainer.singer.reader import Message
    from target_mainbrainer.singer.state import SourceRecord

Values: t.TypeAlias = "dict[str, t.Any]"

_HEAD = "# Written from a sample; every value was replaced by a fictional one of the same kind.\n"


class _Written(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
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

    tests: list[MappingTest]
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


def run_tests(tester: MappingTester, path: Path, junit: Path | None) -> Iterator[str]:
    """Run the tests of a file, yield the results in lines, and write them as JUnit XML.

    Raises:
        SettingsError: A file cannot be read or written.
        MappingError: A test failed, or the settings do not fit the columns of a stream.
    """
    suite = ET.Element("testsuite", name="mapping")
    if not (tests := _read(path)).tests:
        raise SettingsError(f"There are no tests in '{path}'.")
    for number, test in enumerate(tests.tests, 1):
        alike = (one.record for one in tests.tests if one.stream == test.stream)
        columns: Values = {column: {} for record in alike for column in record}
        schema = {"schema": {"properties": columns}, **tests.schemas.get(test.stream, {})}
        outcome = tester.outcome({**schema, "stream": test.stream}, test.record)
        name = test.name or f"{test.stream}, test {number}"
        case = ET.SubElement(suite, "testcase", classname=test.stream, name=name)
        problems = [*_problems(test, *outcome)]
        yield f"{'FAILED' if problems else 'passed'}  {name}"
        yield from (f"        {problem}" for problem in problems)
        if problems:
            ET.SubElement(case, "failure", message=problems[0]).text = "\n".join(problems)
    failed = len([*suite.iter("failure")])
    suite.attrib.update(tests=str(len(suite)), failures=str(failed))
    if junit is not None:
        _write(junit, ET.tostring(suite, encoding="unicode", xml_declaration=True))
    if failed:
        raise MappingError(f"{failed} of {counted(len(suite), 'test')} of the mapping failed.")
    yield f"{counted(len(suite), 'test')} passed."


def _read(path: Path) -> TestsFile:
    try:
        content = _Loader(path.read_text(encoding="utf-8")).get_single_data()
        return msgspec.convert(content, TestsFile)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SettingsError(f"The tests in '{path}' cannot be read: {error}.") from None


def _write(path: Path, text: str, mode: str = "w") -> None:
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise SettingsError(f"'{path}' cannot be written ({error.strerror}).") from None


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


# Writing tests


def write_tests(tester: MappingTester, sample: Iterable[str], path: Path) -> str:
    """Write a test for each kind of outcome in a sample to a new file, and return how many.

    Raises:
        SettingsError: A line is not a Singer message, or the file cannot be written.
        MappingError: The settings do not fit the columns of a stream.
    """
    schemas: dict[str, Message] = {}
    tests: dict[str, MappingTest] = {}
    for message in _messages(sample):
        stream, kind = message["stream"], message.get("type")
        if kind == "SCHEMA":
            schemas[stream] = message
        elif kind == "RECORD" and stream in schemas:
            record = _fictional(message.get("record"), tester.settings.for_stream(stream))
            sent, rejection = tester.outcome(schemas[stream], record)
            name = f"{stream}: {_kind(sent, rejection)}"
            tests[name] = tests.get(name) or MappingTest(
                name=name,
                stream=stream,
                record=record,
                contact=sent[0] if len(sent) == 1 else sent or None,
                rejected=rejection and RejectionCode(rejection.code),
            )
    parts = ("key_properties", "schema")
    kept = {name: {p: one[p] for p in parts if p in one} for name, one in schemas.items()}
    content = msgspec.to_builtins(TestsFile([*tests.values()], kept))
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None)
    _write(path, f"{_HEAD}{text}", "x")
    return f"{counted(len(tests), 'test')} written to '{path}'."


def _kind(sent: list[Sent], rejection: Rejection | None) -> str:
    """Return an outcome without its values, but for opt-ins and the code of a rejection."""
    kinds = [f"rejected as {rejection.code}"] if rejection else []
    for one in sent:
        fields = msgspec.structs.asdict(one).items()
        words = (
            f"{k} {_shown(v)}" if isinstance(v, bool) else k for k, v in fields if v or v is False
        )
        kinds.append(", ".join(words))
    return "; ".join(kinds) or "not sent"


def _messages(sample: Iterable[str]) -> Iterator[Message]:
    for number, line in enumerate(filter(str.strip, sample), 1):
        try:
            message = decode_message(line.encode("utf-8", "surrogatepass"))
            if isinstance(message.get("stream"), str):
                yield message
        except MalformedMessageError as error:
            raise SettingsError(f"Line {number} of the sample {error}.") from None


def _fictional(value: t.Any, settings: StreamSettings) -> t.Any:  # noqa: ANN401 - any JSON value
    """Return a made-up value of the same kind; words of consent and country codes stay."""
    if isinstance(value, dict):
        return {name: _fictional(inner, settings) for name, inner in value.items()}
    if isinstance(value, list):
        return [_fictional(inner, settings) for inner in value]
    text = str(value)
    if (
        value is None
        or plain_word(text) in all_words(settings.consent_words)
        or value in phonenumbers.COUNTRY_CODE_TO_REGION_CODE
        or text in phonenumbers.SUPPORTED_REGIONS
    ):
        return value
    made_up = _example_number(value, text, settings.default_country_code)
    if isinstance(value, str):
        return made_up or _fictional_text(value)
    number = made_up or re.sub(r"\d", "1", text)
    return int(number) if isinstance(value, int) else float(number)


def _fictional_text(text: str) -> str:
    with contextlib.suppress(InvalidValueError):
        if parse_email(text):
            return "person@example.com"
    masked = re.sub(r"\d", "1", text)
    return re.sub(r"[^\W\d_]", lambda letter: "A" if letter[0].isupper() else "a", masked)


def _example_number(value: object, text: str, country_code: int | None) -> str | None:
    """Return an example of a mobile number of the same country, spelt like this one."""
    with contextlib.suppress(InvalidValueError):
        if (mobile := parse_mobile(value, country_code)) and mobile.country_code:
            region = phonenumbers.region_code_for_country_code(mobile.country_code)
            kind = phonenumbers.PhoneNumberType.MOBILE
            if example := phonenumbers.example_number_for_type(region, kind):
                digits, number = re.sub(r"\D", "", text), str(mobile.number)
                if digits.endswith(number):  # else some of them would stay
                    head = digits.removesuffix(number)
                    return f"{'+' if '+' in text else ''}{head}{example.national_number}"
    return None


# YAML


class _Loader(yaml.BaseLoader):
    """Reads plain values as JSON has them: `yes`, `NO`, `0770` and dates are texts."""

    @override
    def construct_scalar(self, node: yaml.ScalarNode) -> t.Any:
        if node.style is None:
            with contextlib.suppress(ValueError):
                return json.loads(node.value or "null", parse_float=Decimal, parse_constant=str)
        return node.value
