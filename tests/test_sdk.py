"""What the target relies on in the SDK without the SDK promising it.

When one of these fails after an upgrade, read what is said about it in the docstring of
`target_mainbrainer.target`, look at what the SDK does now, and decide anew.
"""

from __future__ import annotations

import inspect
import io
import json
import typing as t
from decimal import Decimal
from importlib.metadata import requires, version

import pytest
from packaging.requirements import Requirement
from singer_sdk import Target
from singer_sdk.contrib.msgspec import MsgSpecReader, decoder
from singer_sdk.mapper import SameRecordTransform
from singer_sdk.plugin_base import PluginBase
from singer_sdk.singerlib.encoding.base import SingerMessageType
from singer_sdk.sinks import BatchSink
from typing_extensions import override

from target_mainbrainer import target as target_module
from target_mainbrainer.singer.reader import MessageReader
from target_mainbrainer.target import TargetMainBrainer
from tests.messages import record, schema, state

SCHEMA = json.loads(
    schema({"id": {"type": "integer"}, "at": {"type": "string", "format": "date-time"}})
)
ROW: dict[str, t.Any] = {
    "id": 1,
    "at": "2026-01-31T00:00:00Z",
    "_sdc_deleted_at": "2026-02-01T00:00:00Z",
}
RECORD = json.loads(record(**ROW))
STATE = json.loads(state(bookmarks={"people": 1}))


class KeepingSink(BatchSink):
    """The SDK's sink, which keeps what reaches it."""

    kept: t.ClassVar[list[dict[str, t.Any]]] = []

    @override
    def process_record(self, record: dict[str, t.Any], context: dict[str, t.Any]) -> None:
        self.kept.append(record)

    @override
    def process_batch(self, context: dict[str, t.Any]) -> None:
        """Keep nothing of it."""


class PlainTarget(Target):
    """The SDK's target, with nothing overridden but what tells us what it does."""

    name = "target-plain"
    config_jsonschema: t.ClassVar = {"properties": {}}
    default_sink_class = KeepingSink

    def __init__(self, **kwargs: t.Any) -> None:
        super().__init__(**kwargs)
        self.states: list[dict[str, t.Any]] = []
        KeepingSink.kept.clear()

    @override
    def _write_state_message(self, state: dict[str, t.Any]) -> None:
        self.states.append(state)


def _lines(*messages: dict[str, t.Any]) -> io.StringIO:
    return io.StringIO("".join(f"{json.dumps(message)}\n" for message in messages))


def test_the_sdk_is_one_that_the_package_asks_for() -> None:
    asked = [Requirement(text) for text in requires("target-mainbrainer") or []]
    (sdk,) = [r for r in asked if r.name == "singer-sdk" and "msgspec" in r.extras]
    assert sdk.specifier.contains(version("singer-sdk"))
    assert not sdk.specifier.contains("1.0"), "an SDK that was never tried"


PARAMETERS: dict[type, str] = {
    PluginBase: "_validate_config(self, raise_errors)",
    Target: """_write_state_message(self, state)
        _handle_termination(self, signum, frame)
        process_endofpipe(self)
        listen(self, file_input)
        drain_one(self, sink)
        drain_all(self, is_endofpipe)""",
    BatchSink: """__init__(self, target, stream_name, schema, key_properties)
        get_validator(self)
        process_record(self, record, context)
        process_batch(self, context)
        setup(self)
        _add_sdc_metadata_to_record(self, record, message, context)""",
    MsgSpecReader: "process_lines(self, file_input, callbacks)",
    SameRecordTransform: "transform(self, record)",
}


@pytest.mark.parametrize("base", PARAMETERS)
def test_what_we_override_or_call_is_what_it_was(base: type) -> None:
    lines = PARAMETERS[base].splitlines()
    kinds = ["schema", "record", "batch", "state", "activate_version"] if base is Target else []
    for line in lines + [f"_process_{kind}_message(self, message_dict)" for kind in kinds]:
        name, _, parameters = line.strip(" )").partition("(")
        assert list(inspect.signature(getattr(base, name)).parameters) == parameters.split(", ")


@pytest.mark.parametrize("name", ["current_size", "max_size", "include_sdc_metadata_properties"])
def test_a_property_of_the_sdks_sink_is_still_one(name: str) -> None:
    assert isinstance(inspect.getattr_static(BatchSink, name), property)


def test_every_method_that_is_overridden_is_explained() -> None:
    """The docstring of `target.py` names each."""
    named = target_module.__doc__ or ""
    overridden = {
        name
        for name, what in vars(TargetMainBrainer).items()
        if inspect.isfunction(what) and not name.startswith("__") and hasattr(Target, name)
    }
    assert overridden
    assert [name for name in overridden if f"`{name}`" not in named] == []


def test_the_reader_is_given_every_message_handler_and_calls_it_with_the_message() -> None:
    given: dict[str, t.Any] = {}

    class Recording(MessageReader):
        @override
        def process_lines(self, file_input: t.Any, callbacks: t.Any) -> t.Any:
            given.update(callbacks)
            return super().process_lines(file_input, callbacks)

    target = PlainTarget(message_reader=Recording())
    target.listen(_lines(SCHEMA, RECORD, STATE))
    kinds = ("SCHEMA", "RECORD", "STATE", "BATCH", "ACTIVATE_VERSION")
    assert set(given) == {SingerMessageType[kind] for kind in kinds}
    for kind in kinds:
        handler = given[SingerMessageType[kind]]
        assert handler.__func__ is getattr(Target, f"_process_{kind.lower()}_message")
    assert len(KeepingSink.kept) == 1


def test_the_sdk_writes_state_only_when_it_drains_everything() -> None:
    """So it has to be kept from ever having one; `Delivery` writes it instead."""
    target = PlainTarget()
    target._process_schema_message(SCHEMA)
    target._process_state_message(STATE)
    for sink in target._sinks_active.values():
        target.drain_one(sink)
    assert target.states == []
    target.drain_all()
    assert target.states == [STATE["value"]]


def test_the_sdk_never_has_a_state_of_ours_to_write() -> None:
    target = TargetMainBrainer(config={"api_url": "http://127.0.0.1:1", "access_token": "made-up"})
    target._process_state_message(STATE)
    assert target._latest_state is None
    target.current_run.abort(RuntimeError("the test is over"))


def test_the_sdk_still_hides_deletions_and_parses_dates() -> None:
    """Two of the reasons why `_process_record_message` is ours."""
    target = PlainTarget()
    target.listen(_lines(SCHEMA, RECORD))
    (kept,) = KeepingSink.kept
    assert "_sdc_deleted_at" not in kept
    assert not isinstance(kept["at"], str)


def test_the_sdk_ends_a_run_for_one_record_that_does_not_fit() -> None:
    target = PlainTarget()
    with pytest.raises(Exception, match=r"is not of type"):
        target.listen(_lines(SCHEMA, RECORD | {"record": {"id": "one"}}))


def test_the_sdks_decoder_keeps_the_digits() -> None:
    assert str(decoder.decode(b'{"price": 12.50}')["price"]) == "12.50"
    assert type(decoder.decode(b"1.0")) is Decimal
