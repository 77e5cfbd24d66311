"""`ContactsSink`: the records of one stream become contacts."""

from __future__ import annotations

import typing as t

from singer_sdk import metrics
from singer_sdk.sinks import BatchSink
from typing_extensions import override

from target_mainbrainer.config.limits import ADVISED_BATCH_SIZE
from target_mainbrainer.contacts.contact import Contact
from target_mainbrainer.contacts.rejection import Rejection
from target_mainbrainer.delivery.batch import Destination
from target_mainbrainer.delivery.full_reads import StreamPlan
from target_mainbrainer.mapping.mapper import Omitted, compile_mapping
from target_mainbrainer.mapping.schema_validator import compile_validator
from target_mainbrainer.singer.source_key import source_key_reader
from target_mainbrainer.singer.source_record import SourceRecord

if t.TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from singer_sdk.target_base import Target

    from target_mainbrainer.run import Run
    from target_mainbrainer.singer.reader import MessageReader


class ContactsSink(BatchSink):
    """Maps the records of one stream to contacts; the run buffers them until a batch is full."""

    MAX_SIZE_DEFAULT = ADVISED_BATCH_SIZE

    def __init__(
        self,
        target: Target,
        stream_name: str,
        schema: dict[str, t.Any],
        key_properties: Sequence[str] | None,
        *,
        run: Run,
        reader: MessageReader,
        source_stream: str,
    ) -> None:
        """Decide what every column is; the SCHEMA message is the line being read.

        Args:
            target: The SDK's part of the target.
            stream_name: The stream's name, after stream maps.
            schema: The stream's schema, after stream maps.
            key_properties: The stream's key, after stream maps.
            run: Takes the contacts.
            reader: Knows the line that is being read.
            source_stream: The stream's name in the input.

        Raises:
            MappingError: The settings do not fit the schema.
        """
        super().__init__(target, stream_name, schema, key_properties)
        self._run = run
        self._reader = reader
        self._intake = run.intake
        self._buffers = run.buffers if run.intake is None else run.intake.comparer
        # Asked for once: behind these two the SDK asks the settings again for every record.
        self._adds_metadata = self.include_sdc_metadata_properties
        self._most = self.max_size
        settings = run.settings.for_stream(stream_name)
        self._destination = Destination(settings.list_id, settings.webhook_url)
        key = list(self.key_properties)
        schema = self.schema if self._adds_metadata else self.original_schema
        report = run.report.stream(stream_name)
        self._mapping = compile_mapping(
            stream_name,
            schema,
            key,
            settings,
            on_drop=lambda rejection: report.dropped.update([rejection]),
        )
        self._validate = None
        if self.validate_schema:
            self._validate = compile_validator(schema, key, stream=stream_name)
        self._source = run.source(stream_name, reader.line, key, self._mapping.sensitive_columns)
        self._report = report
        self._duplicates = run.duplicates
        self._state_tracker = run.state_tracker
        self._columns = run.columns_of(stream_name)
        self._shown_key = None
        if len(key) == 1 and key[0] not in self._mapping.sensitive_columns:
            self._shown_key = key[0]
        self._key_of: Callable[[dict[str, t.Any]], str | None] = _no_key
        if run.settings.ledger_uri is not None:
            alias_of = source_stream if source_stream != stream_name else None
            self._key_of = source_key_reader(key, alias_of)
        if self._intake is not None:
            self._intake.open_stream(
                StreamPlan(
                    self._source, key, self._destination, self._most, is_full=settings.full_table
                )
            )
        self._counted = self._report.read
        self._counted_batches = 0
        self._batches = metrics.Counter(
            metrics.Metric.BATCH_COUNT, {metrics.Tag.STREAM: stream_name}
        )

    @override
    def get_validator(self) -> None:
        """Leave validation to `compile_validator`: the SDK's is slow, and logs what it refuses."""

    @override
    def setup(self) -> None:
        """Say once how every column of the stream is used."""
        for line in (*self._mapping.summary, *self._mapping.hints):
            self.logger.info("%s", line)
        for line in self._mapping.warnings:
            self.logger.warning("%s", line)

    @override
    def process_record(self, record: dict[str, t.Any], context: dict[str, t.Any]) -> None:
        """Count a record, and buffer it as a contact, set it aside, or leave it out.

        Args:
            record: Its columns; the SDK's metadata columns are added if they are asked for.
            context: The RECORD message.
        """
        if self._intake is not None and type(version := context.get("version")) is int:
            self._intake.full_reads.note_version(self.stream_name, version)
        if self._adds_metadata:
            record = dict(record)
            self._add_sdc_metadata_to_record(record, context, {})
        source_record = self._count(self._key_of(record))
        if self._columns is not None:
            self._columns.add(record)
        validation_error = self._validate(record) if self._validate is not None else None
        outcome = validation_error or self._mapping.map_record(record)
        match outcome:
            case Contact():
                self._take(outcome, source_record, record)
            case Rejection():
                self._note_unsent(source_record.source_key)
                self._run.rejects.add(self._source, [source_record], outcome)
            case Omitted.DELETED:
                self._note_unsent(source_record.source_key)
                self._report.omitted += 1
                self._state_tracker.settle([source_record])

    def reject(self, rejection: Rejection) -> None:
        """Count a record that did not get as far as `process_record`, and set it aside."""
        self._note_unsent(None)
        self._run.rejects.add(self._source, [self._count()], rejection)

    def _note_unsent(self, source_key: str | None) -> None:
        """Tell the ledger that a source key came though its record is not sent."""
        if self._intake is not None:
            self._intake.full_reads.note_unsent(self.stream_name, source_key)

    def _count(self, source_key: str | None = None) -> SourceRecord:
        self._report.read += 1
        interval = self._state_tracker.interval
        interval.read += 1
        return SourceRecord(interval, self._report.read, self._reader.line, source_key)

    def _take(
        self, contact: Contact, source_record: SourceRecord, record: dict[str, t.Any]
    ) -> None:
        """Look at a contact as it was mapped, and buffer it as it may be sent."""
        key = None if self._shown_key is None else record.get(self._shown_key)
        self._duplicates.add(contact, self.stream_name, source_record.number, key)
        mapped = contact
        if self._run.suppressions is not None:
            contact, held_back = self._run.suppressions.withhold(contact)
            self._report.opt_ins_withheld += held_back
        destination = self._destination
        if contact.list_id is not None:
            destination = destination._replace(list_id=contact.list_id)
        if self._intake is not None:
            self._intake.comparer.add(
                contact,
                source_record,
                stream=self._source,
                destination=destination,
                batch_size=self._most,
                mapped=mapped,
            )
            return
        if contact.mobile_opt_in is not None:
            self._count_opt_in(is_given=contact.mobile_opt_in)
        if contact.email_opt_in is not None:
            self._count_opt_in(is_given=contact.email_opt_in)
        self._run.buffers.add(
            contact,
            source_record,
            stream=self._source,
            destination=destination,
            batch_size=self._most,
        )

    def _count_opt_in(self, *, is_given: bool) -> None:
        if is_given:
            self._report.opt_ins_given += 1
        else:
            self._report.opt_ins_withdrawn += 1

    @override
    def activate_version(self, new_version: int) -> None:
        """Take note that the tap has read the stream in full."""
        if self._intake is not None:
            self._intake.full_reads.activate(self.stream_name)

    def measure(self) -> None:
        """Tell the SDK's metrics about the records and batches since last time."""
        self.record_counter_metric.increment(self._report.read - self._counted)
        self._counted = self._report.read
        batches = self._buffers.submitted[self._source]
        self._batches.increment(batches - self._counted_batches)
        self._counted_batches = batches

    @override
    def clean_up(self) -> None:
        """Log the last metrics."""
        self.measure()
        self._batches.exit()
        super().clean_up()

    @override
    def process_batch(self, context: dict[str, t.Any]) -> None:
        """Submit whatever of this stream waits for its batch to fill up."""
        self._buffers.send_all_of(self._source)

    @property
    @override
    def current_size(self) -> int:
        """How many contacts wait for their batch to fill up, after merging."""
        return self._buffers.count_of(self._source)


def _no_key(_record: dict[str, t.Any]) -> None:
    return None
