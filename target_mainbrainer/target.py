"""`TargetMainBrainer`: Singer messages, STATE and signals.

What is overridden of the SDK, and why:

- `_validate_config`: the SDK's own errors repeat the value, secrets included.
- `_process_record_message`: the SDK validates slowly, parses every date, strips
  `_sdc_deleted_at` and ends the run at the first record that does not fit.
- `_process_batch_message`: the SDK's passes stream maps and validation by, and holds whole files.
- `_process_state_message`, `process_endofpipe`: STATE is written by `Delivery`, as soon as
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

import contextlib
import copy
import json
import os
import signal
import sys
import typing as t
from functools import cached_property
from pathlib import Path

from singer_sdk.exceptions import RecordsWithoutSchemaException
from singer_sdk.helpers.capabilities import PluginCapabilities
from singer_sdk.singerlib.json import serialize_json
from singer_sdk.target_base import Target
from typing_extensions import override

from target_mainbrainer.config.checks import check_config
from target_mainbrainer.config.environment import misread, misspelt, not_read
from target_mainbrainer.config.files import FILE_SETTINGS
from target_mainbrainer.config.schema import SETTINGS
from target_mainbrainer.config.settings import Settings
from target_mainbrainer.contacts.rejection import Rejection
from target_mainbrainer.errors import InterruptedRunError, SettingsError
from target_mainbrainer.mapping.values import holds_nan
from target_mainbrainer.privacy.log_filters import quiet_loggers
from target_mainbrainer.report.counts import RunReport
from target_mainbrainer.report.summary import End, last_line, last_line_of_dry_run
from target_mainbrainer.run import Run
from target_mainbrainer.singer import batch_files
from target_mainbrainer.singer.messages import batch_message, require, schema_message
from target_mainbrainer.singer.reader import MessageReader
from target_mainbrainer.singer.state_writer import StateWriter
from target_mainbrainer.singer.stream_maps import changes_records, mapped, stream_maps_of
from target_mainbrainer.sinks import ContactsSink
from target_mainbrainer.wording import shown

if t.TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from types import FrameType

    from singer_sdk.mapper import StreamMap

    from target_mainbrainer.singer.messages import Message
    from target_mainbrainer.singer.source_record import State

_OWN_REJECTS = (
    "The input is the rejects file itself ('rejects_path'), so what is rejected again would come "
    "back for ever. Rename the file, then load it."
)


class TargetMainBrainer(Target):
    """Singer target for the MainBrainer CRM: upserts contacts, in batches."""

    name = "target-mainbrainer"
    config_jsonschema = copy.deepcopy(SETTINGS)
    default_sink_class = ContactsSink
    message_reader_class = MessageReader
    capabilities: t.ClassVar = [*Target.capabilities, PluginCapabilities.BATCH]

    def __init__(self, **kwargs: t.Any) -> None:  # noqa: ANN401 - handed on as they are
        self._reads_environment = kwargs.get("parse_env_config", False)
        try:
            super().__init__(**kwargs)
        except ValueError:
            # The SDK reads the environment and a .env file, and raises at what it cannot read.
            problems = list(self._environment_problems({}))
            if not problems:
                raise
            raise SettingsError(problems) from None
        quiet_loggers()
        self.max_parallelism = 1  # all the concurrency is Delivery's; lost if set before
        self.reader = t.cast("MessageReader", self.message_reader)
        self.reader.tick = self._tick
        self._announced: dict[str, bytes] = {}
        self._stream_targets: dict[str, list[tuple[StreamMap | None, ContactsSink]]] = {}
        self._interruption: InterruptedRunError | None = None
        self._state_writer = StateWriter(lambda: self.is_interrupted)

    @property
    def is_interrupted(self) -> bool:
        """Whether a signal has asked for the end."""
        return self._interruption is not None

    @cached_property
    def current_run(self) -> Run:
        """The run, which begins with the first SCHEMA or STATE message."""
        return Run(self.settings, self._write_state_message)

    # Messages

    @override
    def _process_schema_message(self, message_dict: Message) -> None:
        announced = schema_message(message_dict)
        stream = announced.stream
        if self._announced.get(stream) == self.reader.line:
            return
        for _, sink in self._stream_targets.pop(stream, ()):
            # The contacts that were mapped by the old schema are delivered first.
            self._retire(sink)
        self._announced[stream] = self.reader.line
        self._stream_targets[stream] = [
            (stream_map if changes_records(stream_map) else None, self._sink_of(stream_map, stream))
            for stream_map in stream_maps_of(self.mapper, announced)
        ]

    def _sink_of(self, stream_map: StreamMap, source_stream: str) -> ContactsSink:
        """Return a new sink. Streams that share an alias have one each, as their schemas differ."""
        sink = ContactsSink(
            self,
            stream_map.stream_alias,
            stream_map.transformed_schema,
            stream_map.transformed_key_properties,
            run=self.current_run,
            reader=self.reader,
            source_stream=source_stream,
        )
        sink.setup()
        return sink

    def _retire(self, sink: ContactsSink) -> None:
        """Deliver what a sink holds, for the last time."""
        self.drain_one(sink)
        sink.clean_up()

    @property
    def _sinks(self) -> Iterator[ContactsSink]:
        """All sinks that may hold contacts."""
        return (sink for targets in self._stream_targets.values() for _, sink in targets)

    @override
    def _process_record_message(self, message_dict: Message) -> None:
        try:
            record = message_dict["record"]
            stream_targets = self._stream_targets[message_dict["stream"]]
        except (KeyError, TypeError):
            raise _not_announced(message_dict) from None
        if type(record) is not dict:
            require(message_dict, record=dict)
        run = self.current_run
        if run.rejects.comes_back(self.reader.line):
            raise SettingsError([_OWN_REJECTS])
        for stream_map, sink in stream_targets:
            changed = record if stream_map is None else mapped(stream_map, record)
            if isinstance(changed, Rejection):
                sink.reject(changed)
            elif changed is not None:
                sink.process_record(changed, message_dict)
        if run.is_to_end_early:
            self.reader.is_done = True

    @override
    def _process_batch_message(self, message_dict: Message) -> None:
        message = batch_message(message_dict)
        for line in batch_files.record_messages(message, self.config.get("batch_config")):
            self.reader.handle_again(line, self._process_record_message)
            if self.reader.is_done:
                break

    @override
    def _process_state_message(self, message_dict: Message) -> None:
        require(message_dict, value=dict)
        if message_dict["value"]:  # an empty STATE would wipe the bookmarks (meltano/sdk#3000)
            self.current_run.state_tracker.close_interval(message_dict["value"])

    @override
    def _process_activate_version_message(self, message_dict: Message) -> None:
        """Take note that a stream was read in full; contacts have no versions to activate."""
        for _, sink in self._stream_targets.get(message_dict.get("stream", ""), ()):
            sink.activate_version(message_dict.get("version", 0))

    @override
    def _write_state_message(self, state: State) -> None:
        self._state_writer.write(f"{_state_line(state)}\n")

    # The run

    def run(self, file_input: t.IO[str] | None = None) -> None:
        """Read the input to its end and deliver it; end in good order if that fails.

        Raises:
            TargetMainBrainerError: Not every contact is in, and why.
        """
        self._refuse_own_files(file_input or sys.stdin)
        try:
            self.listen(file_input)
        except BaseException as error:
            if "current_run" in self.__dict__:
                self.current_run.abort(error)
                self.current_run.write_report(error)
            raise
        self.current_run.write_report(None)

    def last_line(self, advice: str = "", problem: str = "") -> str:
        """Return the last line of the log."""
        if "current_run" not in self.__dict__:
            return last_line(RunReport(), End(advice, is_whole=False))
        run = self.current_run
        if self.settings.dry_run:
            return last_line_of_dry_run(run.report, problem)
        return last_line(run.report, run.end._replace(advice=advice))

    @property
    def has_lost_records(self) -> bool:
        """Whether records stand before STATE that are not in and on no file."""
        return "current_run" in self.__dict__ and self.current_run.delivery.has_lost_records

    def _refuse_own_files(self, file_input: t.IO[str]) -> None:
        """Make sure that the input is no file that the run writes.

        Raises:
            SettingsError: It is.
        """
        try:
            given = os.fstat(file_input.fileno())
        except (OSError, ValueError, AttributeError):  # no file, or no input at all
            return
        for name in FILE_SETTINGS:
            path = getattr(self.settings, name)
            with contextlib.suppress(OSError, ValueError):  # no such file yet
                if path and os.path.samestat(Path(path).stat(), given):
                    problem = f"The input is the file that setting '{name}' names."
                    raise SettingsError([_OWN_REJECTS if name == "rejects_path" else problem])

    @override
    def process_endofpipe(self) -> None:
        """Deliver what is buffered, and bring the run to its end."""
        self._tick()  # a signal may have closed the input, too
        for sink in self._sinks:
            self._retire(sink)
        self.current_run.finish(is_whole=not self.reader.is_done)

    def _tick(self) -> None:
        """Let the run do what is due, while reading and while the tap is silent.

        Raises:
            InterruptedRunError: A signal asked for the end.
            TargetMainBrainerError: The run cannot go on.
        """
        if self._interruption is not None:
            raise self._interruption
        if "current_run" not in self.__dict__:
            return
        self.current_run.send_overdue()
        for sink in self._sinks:
            sink.measure()
        self.current_run.delivery.tick()
        if self.current_run.is_to_end_early:
            self.reader.is_done = True

    @override
    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        """Note that the run is to end; asked twice, end at once.

        Nothing is lost either way: what STATE says is delivered.
        """
        if self._interruption is not None:
            os._exit(1)
        self._interruption = InterruptedRunError(
            f"Ended by {signal.Signals(signum).name}: reading has stopped, and STATE stands where "
            "everything before it is delivered. The next run goes on from there."
        )
        if "current_run" in self.__dict__:
            self.current_run.delivery.interrupt(self._interruption)

    # Settings

    @override
    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        schema = self.config_jsonschema
        self.append_builtin_config(schema)
        problems = [
            *self._environment_problems(self._config),
            *check_config(self._config, schema=schema),
        ]
        if problems and not self._reads_environment:
            problems += not_read(os.environ, self._config, schema=schema)
        if problems and raise_errors:
            raise SettingsError(problems)
        if not problems:
            self._config = {k: v for k, v in self._config.items() if v not in ("", None)}
            self.settings = Settings.from_config(self._config)
            super()._validate_config(raise_errors=raise_errors)  # fills in the SDK's defaults
        return problems

    def _environment_problems(self, given: Container[str]) -> Iterator[str]:
        yield from misspelt(os.environ, schema=self.config_jsonschema, given=given)
        if self._reads_environment:
            yield from misread(os.environ, schema=self.config_jsonschema)


def _not_announced(message: Message) -> Exception:
    """Return the error about a record of a stream without a SCHEMA message.

    Raises:
        MalformedMessageError: The message is no proper record at all.
    """
    require(message, stream=str, record=dict)
    text = (
        f"A record of stream '{shown(message['stream'])}' came before the stream's SCHEMA message. "
        "Check that the tap follows the Singer specification."
    )
    return RecordsWithoutSchemaException(text)


def _state_line(state: State) -> str:
    """Return STATE as JSON. NaN, which the SDK would make null, stays as a tap has written it."""
    return json.dumps(state, default=float) if holds_nan(state) else serialize_json(state)
