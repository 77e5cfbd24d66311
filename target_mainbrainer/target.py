"""`TargetMainBrainer`: Singer messages, STATE and signals.

What is overridden of the SDK, and why:

- `_validate_config`: the SDK's own errors repeat the value, secrets included.
- `_process_record_message`: the SDK validates slowly, parses every date, strips
  `_sdc_deleted_at` and ends the run at the first record that does not fit.
- `_process_batch_message`: the SDK's passes stream maps and validation by, and holds whole files.
- `_process_state_message`, `process_endofpipe`: STATE is written by `Run`, as soon as
  everything before it is delivered, and never before; the SDK writes it when it drains.
- `_handle_termination`: the SDK's drains inside the signal handler and writes STATE for records
  that were never sent (meltano/sdk#3775).
- `_process_schema_message`: the SDK keeps one sink for an alias, so streams that share one would
  lose contacts; and a new schema must not overtake the contacts that the old one has mapped.
- `_process_activate_version_message`: it only says that a stream was read in full.
- `_write_state_message`: a reader that has gone, or no longer reads, must not hold up the end.

What the sinks override (`sinks.py`) is `BatchSink`'s own interface, but for `get_validator`; the
reader (`singer/reader.py`) replaces `process_lines`.

`tests/test_sdk.py` fails when one of these changes under us.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import secrets
import signal
import threading
import time
import typing as t
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import singer_sdk
from singer_sdk.exceptions import RecordsWithoutSchemaException
from singer_sdk.helpers.capabilities import PluginCapabilities
from singer_sdk.singerlib.json import serialize_json
from singer_sdk.target_base import Target
from typing_extensions import override

from target_mainbrainer.contacts import Rejection
from target_mainbrainer.errors import InterruptedRunError, SettingsError
from target_mainbrainer.mapping.validator import compile_validator
from target_mainbrainer.mapping.values import contains_nan
from target_mainbrainer.privacy import quiet_loggers
from target_mainbrainer.run import Run
from target_mainbrainer.settings.checks import check_config, misnamed, misread, misspelt, not_read
from target_mainbrainer.settings.declared import SETTINGS, Settings
from target_mainbrainer.singer.reader import (
    Message,
    MessageReader,
    SchemaMessage,
    record_messages,
    require,
    schema_message,
)
from target_mainbrainer.singer.state import State, StateWriter
from target_mainbrainer.singer.stream_maps import Change, mapped_streams
from target_mainbrainer.sinks import ContactsSink
from target_mainbrainer.words import shown

_OWN_REJECTS = (
    "The input is the rejects file itself ('rejects_path'), so records that are rejected again "
    "would be read again, without end. Rename the file, then load it."
)

MOST_SHAPES = 500
"""SCHEMA messages that are remembered, for taps that write several of a stream in turn."""

SAME_SIGNAL_SECONDS = 2.0
"""Signals that come so soon after each other count as one."""

GRACEFUL_SIGNALS = 2
"""Signals after which the run still writes STATE, report and last line."""

_SDK = Path(singer_sdk.__file__).parent
SPEAKERS = ("target-mainbrainer", "singer_sdk.metrics", "singer_sdk.mapper")
"""The loggers by which the SDK says at INFO what only its developers need."""


class Shape(t.NamedTuple):
    """Treatment of the records of a stream, as a SCHEMA message announces it.

    Attributes:
        validate: Returns the fault of a record; None without one.
        sinks: What the stream becomes after stream maps.
    """

    validate: Callable[[dict[str, t.Any]], Rejection | None]
    sinks: list[tuple[Change | None, ContactsSink]]


class TargetMainBrainer(Target):
    """Singer target for the MainBrainer CRM: upserts contacts, in batches."""

    name = "target-mainbrainer"
    config_jsonschema = copy.deepcopy(SETTINGS)
    default_sink_class: type[ContactsSink] = ContactsSink
    message_reader_class = MessageReader
    capabilities: t.ClassVar = [*Target.capabilities, PluginCapabilities.BATCH]

    def __init__(self, *, run_id: str = "", **kwargs: t.Any) -> None:  # noqa: ANN401 - handed on
        self.begun: Run | None = None
        self._run_id = run_id or new_run_id()
        self._reads_environment = kwargs.get("parse_env_config", False)
        for name in SPEAKERS:
            logging.getLogger(name).addFilter(_is_asked_for)
        self.append_builtin_config(self.config_jsonschema)
        if self._reads_environment and (
            problems := list(misread(os.environ, schema=self.config_jsonschema))
        ):
            raise SettingsError(*problems)
        super().__init__(**kwargs)
        quiet_loggers()
        self.reader = t.cast("MessageReader", self.message_reader)
        self.reader.tick = self._tick
        self._shapes: dict[bytes, Shape] = {}
        self._streams: dict[str, Shape] = {}
        self._interruption: InterruptedRunError | None = None
        self._signals = 0
        self._interrupted_at = 0.0
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGHUP, self._handle_termination)
        self._state_writer = StateWriter(lambda: self.is_interrupted)

    @property
    def is_interrupted(self) -> bool:
        """Whether a signal has asked for the end."""
        return self._interruption is not None

    @property
    def current_run(self) -> Run:
        """The run, which begins with the first SCHEMA or STATE message."""
        if self.begun is None:
            write, is_ending = self._write_state_message, lambda: self.is_interrupted
            self.begun = Run(self.settings, self._run_id, write, is_ending)
        return self.begun

    # Messages

    @override
    def _process_schema_message(self, message_dict: Message) -> None:
        announced = schema_message(message_dict)
        line = self.reader.line
        if line not in self._shapes:
            if len(self._shapes) >= MOST_SHAPES:
                for _, sink in self._shapes.pop(next(iter(self._shapes))).sinks:
                    sink.clean_up()
            self._shapes[line] = self._shape_of(announced)
        self._streams[announced.stream] = self._shapes[line]

    def _shape_of(self, announced: SchemaMessage) -> Shape:
        """Return the sinks of a stream as it is announced now."""
        sinks: list[tuple[Change | None, ContactsSink]] = []
        for stream in mapped_streams(self.mapper, announced, self.config):
            sink = self.default_sink_class(self, stream, announced, self.current_run, self.reader)
            sink.setup()
            sinks.append((stream.change, sink))
        if not sinks:
            self.logger.info(
                "Stream '%s' is not delivered: 'stream_maps' leaves it out.",
                shown(announced.stream),
            )
        if not self.config.get("validate_records", True):
            return Shape(lambda _: None, sinks)
        _, schema, key, _ = announced
        return Shape(compile_validator(schema, key, stream=announced.stream), sinks)

    @override
    def _process_record_message(self, message_dict: Message) -> None:
        try:
            record = message_dict["record"]
            shape = self._streams[message_dict["stream"]]
        except (KeyError, TypeError):
            require(message_dict, stream=str, record=dict)
            raise RecordsWithoutSchemaException(
                f"A record of stream '{shown(message_dict['stream'])}' came before the stream's "
                "SCHEMA message. Check that the tap follows the Singer specification."
            ) from None
        if type(record) is not dict:
            require(message_dict, record=dict)
        run = self.current_run
        if run.rejects.comes_back(self.reader.line):
            raise SettingsError(_OWN_REJECTS)
        misfit = shape.validate(record)
        is_reload = "rejection" in message_dict
        for change, sink in shape.sinks:
            if is_reload:
                sink.note_unsent(None)
            changed = record if change is None else change(record)
            if misfit is not None:
                sink.reject(misfit, record, changed if isinstance(changed, dict) else None)
            elif isinstance(changed, Rejection):
                sink.reject(changed, record)
            elif changed is None:
                sink.note_unsent(record)
            else:
                sink.process_record(changed, message_dict)
        if run.is_to_end_early:
            self.reader.is_done = True

    @override
    def _process_batch_message(self, message_dict: Message) -> None:
        for line in record_messages(message_dict, self.config.get("batch_config")):
            self.reader.handle_again(line, self._process_record_message)
            if self.reader.is_done:
                break

    @override
    def _process_state_message(self, message_dict: Message) -> None:
        require(message_dict, value=dict)
        if message_dict["value"]:  # an empty STATE would wipe the bookmarks (meltano/sdk#3000)
            self.current_run.state.close_interval(message_dict["value"])

    @override
    def _process_activate_version_message(self, message_dict: Message) -> None:
        """Do nothing: that a tap activates a version does not say that it has read everything."""

    @override
    def _write_state_message(self, state: State) -> None:
        # NaN, which the SDK would make null, stays as a tap has written it.
        line = json.dumps(state, default=float) if contains_nan(state) else serialize_json(state)
        self._state_writer.write(f"{line}\n")

    # The run

    def run(self, file_input: t.IO[str]) -> None:
        """Read the input to its end and deliver it; end in good order if that fails.

        Raises:
            TargetMainBrainerError: Not every contact is in, and why.
        """
        try:
            self.listen(file_input)
        except BaseException as error:  # noqa: BLE001 - raised again
            # Asked to end, the run does not wait for a database that is away, and so fails at it.
            cause = self._interruption or error
            if self.begun is not None:
                self.begun.abort(cause)
            raise cause from None

    @override
    def process_endofpipe(self) -> None:
        """Deliver what is buffered, and bring the run to its end."""
        self._tick()  # a signal may have closed the input, too
        config, came = self.config, {*self.current_run.report.streams}
        for line in (
            *misnamed("streams", config.get("streams") or (), came),
            *misnamed("stream_maps", config.get("stream_maps") or (), came | {*self._streams}),
        ):
            self.logger.warning("%s", line)
        self.current_run.finish(is_whole=not self.reader.is_done)
        for shape in self._shapes.values():
            for _, sink in shape.sinks:
                sink.clean_up()

    def _tick(self) -> None:
        """Do what is due in the run, while reading and while the tap is silent.

        Raises:
            InterruptedRunError: A signal asked for the end.
            TargetMainBrainerError: The run cannot go on.
        """
        if self._interruption is not None:
            raise self._interruption
        if (run := self.begun) is None:
            return
        run.load.tick()
        if run.is_to_end_early:
            self.reader.is_done = True

    @override
    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        """Note that the run is to end; asked again, without waiting for requests in flight.

        Asked a third time, end at once. Parents hand a signal on that reaches the whole process
        group already, so that signals at the same time count as one.
        """
        now = time.monotonic()
        if self._signals and now <= self._interrupted_at + SAME_SIGNAL_SECONDS:
            return
        self._interrupted_at = now
        self._signals += 1
        if self._signals > GRACEFUL_SIGNALS:
            os._exit(1)
        self._interruption = self._interruption or InterruptedRunError(
            f"Ended by {signal.Signals(signum).name}: reading has stopped, and STATE is where "
            "everything before it is delivered. The next run goes on from there."
        )
        if self.begun is not None:
            at_once = self._signals == GRACEFUL_SIGNALS
            self.begun.load.interrupt(self._interruption, at_once=at_once)

    # Settings

    @override
    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        schema = self.config_jsonschema
        problems = [
            *misspelt(os.environ, schema=schema, given=self._config),
            *check_config(self._config, schema=schema),
        ]
        unread = () if self._reads_environment else not_read(os.environ, self._config, schema)
        if problems:
            raise SettingsError(*problems, *unread)
        for line in unread:
            self.logger.warning("%s", line)
        self._config = {k: v for k, v in self._config.items() if v not in ("", None)}
        self.settings = Settings.from_config(self._config)
        return super()._validate_config(raise_errors=raise_errors)  # fills in the SDK's defaults


def new_run_id() -> str:
    """Return an id of 31 bits, which every database can store as an integer."""
    return f"{secrets.randbits(31) or 1:08x}"


def _is_asked_for(line: logging.LogRecord) -> bool:
    """Return whether to log a line: the SDK's own INFO, metrics too, only at the level DEBUG."""
    is_minor = line.levelno == logging.INFO and Path(line.pathname).parent == _SDK
    return not is_minor or TargetMainBrainer.logger.isEnabledFor(logging.DEBUG)
