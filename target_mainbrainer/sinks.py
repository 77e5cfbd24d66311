"""`ContactsSink`: the records of one stream become contacts."""

from __future__ import annotations

import typing as t

from singer_sdk.sinks import BatchSink
from singer_sdk.target_base import Target
from typing_extensions import override

from target_mainbrainer.contacts import (
    Contact,
    Record,
    Rejection,
    RejectionCode,
    identity_of,
    with_identity,
)
from target_mainbrainer.ledger.content import ALIAS, key_text
from target_mainbrainer.mapping.columns import DELETED_AT, METADATA_PREFIXES, is_deleted
from target_mainbrainer.mapping.mapper import Omitted, compile_mapping
from target_mainbrainer.report.rejects import RecordLabels
from target_mainbrainer.rounds.batches import Destination
from target_mainbrainer.rounds.round import Stream
from target_mainbrainer.run import Run
from target_mainbrainer.singer.reader import MessageReader, SchemaMessage
from target_mainbrainer.singer.state import SourceRecord
from target_mainbrainer.singer.stream_maps import MappedStream
from target_mainbrainer.words import shown

_OF_AN_IDENTITY = frozenset(
    {
        RejectionCode.INVALID_EMAIL,
        RejectionCode.INVALID_MOBILE,
        RejectionCode.NO_COUNTRY_CODE,
        RejectionCode.INVALID_COUNTRY_CODE,
        RejectionCode.LEADING_ZERO,
    }
)

OPTED_OUT = Contact(mobile_opt_in=False, email_opt_in=False)


class ContactsSink(BatchSink):
    """Maps the records of one stream to contacts; the load sends them in rounds.

    Args:
        target: The SDK's part of the target.
        stream: The stream after stream maps.
        announced: Its SCHEMA message, which is the line being read.
        run: Takes the contacts.
        reader: Knows the line that is being read.

    Raises:
        MappingError: The settings do not fit the schema.
        LedgerError: Another run delivers the stream, or its key has other columns than before.
    """

    def __init__(
        self,
        target: Target,
        stream: MappedStream,
        announced: SchemaMessage,
        run: Run,
        reader: MessageReader,
    ) -> None:
        super().__init__(target, stream.name, stream.schema, stream.key_properties)
        self.logger = target.logger  # the SDK's has the name of the stream as it is, unescaped
        self._run = run
        self._reader = reader
        # Asked for once: behind it the SDK asks the settings again for every record.
        self._adds_metadata = self.include_sdc_metadata_properties
        settings = run.settings.for_stream(self.stream_name)
        key = list(self.key_properties)
        self._report = run.report.stream(self.stream_name)
        self._mapping = compile_mapping(
            self.stream_name,
            self.schema if self._adds_metadata else self.original_schema,
            key,
            settings,
            dropped=self._report.dropped_by_code,
            paths=stream.paths,
        )
        # A key of metadata, such as the number of a line, identifies a record and no person.
        self._has_key = not all(column.startswith(METADATA_PREFIXES) for column in key)
        # Some taps announce the columns of a key in another order in each run.
        self._key = sorted(key) if run.ledger is not None and self._has_key else []
        country_code = settings.default_country_code
        # Its name in the input, and after stream maps; several streams may have that one.
        names = dict.fromkeys((announced.stream, self.stream_name))
        self._stream = Stream(
            self.stream_name,
            reader.line,
            RecordLabels(key, self._mapping.sensitive_columns, country_code),
            self._report,
            Destination(settings.list_id, settings.webhook_url),
            number=None
            if run.ledger is None
            else run.ledger.open_stream(ALIAS.join(names), ", ".join(self._key)),
            once=self._mapping.once,
            opt_ins=self._mapping.opt_ins,
        )
        self._may_be_partial = settings.full_table and bool(announced.bookmark_properties)
        if run.missing is not None and settings.full_table:
            run.missing.expect(self._stream)
        is_key_shown = len(key) == 1 and key[0] not in self._mapping.sensitive_columns
        self._shown_key = key[0] if is_key_shown else None

    @override
    def get_validator(self) -> None:
        """Leave validation to `compile_validator`: the SDK's is slow, and logs what it refuses."""

    @override
    def setup(self) -> None:
        """Log once how every column of the stream is used."""
        self.logger.info("Columns of stream '%s':", shown(self.stream_name))
        for line in (*self._mapping.summary, *self._mapping.hints):
            self.logger.info("%s", line)
        if self._run.ledger is not None and not self._has_key:
            self.logger.info(
                "Stream '%s' has no 'key_properties' that identify people, so a changed e-mail "
                "address or mobile number makes another contact.",
                shown(self.stream_name),
            )
        if self._may_be_partial:
            self.logger.warning(
                "'streams.%s.full_table' is true, but the tap announces 'bookmark_properties': it "
                "may read only what has changed, and people who have not changed would count as "
                "missing. Set the stream to a full read in the tap, or 'full_table' to false.",
                shown(self.stream_name),
            )
        for line in self._mapping.warnings:
            self.logger.warning("%s", line)

    @override
    def process_record(self, record: Record, context: dict[str, t.Any]) -> None:
        """Count a record, and hand it over as a contact, set it aside, or leave it out.

        Args:
            record: Its columns; the SDK's metadata columns are added if they are asked for.
            context: The RECORD message.
        """
        if self._adds_metadata:
            record = dict(record)
            self._add_sdc_metadata_to_record(record, context, {})
        source_record = self._count(record)
        outcome = self._mapping.map_record(record)
        if outcome is Omitted.DELETED_WITHOUT_IDENTITY:
            outcome = self._as_known(OPTED_OUT, source_record.source_key) or Omitted.DELETED
        match outcome:
            case Contact():
                self._add(outcome, source_record, record)
            case Rejection():
                self._reject(outcome, source_record)
            case Omitted():
                self.note_unsent(record)
                self._report.omitted += 1
                self._run.state.settle([source_record])

    def _add(self, contact: Contact, source_record: SourceRecord, record: Record) -> None:
        if self._run.looks_for_duplicates:
            key = None if self._shown_key is None else record.get(self._shown_key)
            self._run.summary.duplicates.add(contact, self.stream_name, source_record.number, key)
        if source_record.source_key is None:
            self._note_unsent(None)
        is_deletion = record.get(DELETED_AT) is not None and is_deleted(record)
        self._run.load.add(contact, source_record, self._stream, is_deletion=is_deletion)

    def reject(self, rejection: Rejection, record: Record, mapped: Record | None = None) -> None:
        """Count a record that did not get as far as `process_record`, and set it aside.

        Args:
            rejection: The reason.
            record: Its columns, as they came.
            mapped: Its columns after stream maps, if these could be applied.
        """
        if mapped is not None:
            rejection = self._mapping.with_withdrawal(rejection, mapped)
        self._reject(rejection, self._count(record))

    def _reject(self, rejection: Rejection, source_record: SourceRecord) -> None:
        self._note_unsent(source_record.source_key)
        run, no = self._run, rejection.withdrawal
        run.rejects.add(self._stream, [source_record], rejection._replace(withdrawal=None))
        if no is None:
            return
        # What is left of an identity is another one, and the ledger has not seen it.
        is_other = run.comparer is not None and rejection.code in _OF_AN_IDENTITY
        contact = self._as_known(no, source_record.source_key) or (None if is_other else no)
        if contact is not None and identity_of(contact) is not None:
            run.state.expect_no(source_record)
            run.load.add(contact, source_record, self._stream, is_rejected=True)

    def _as_known(self, contact: Contact, key: str | None) -> Contact | None:
        """Return a contact under the identity that MainBrainer holds for a source key.

        Or is about to, if its person is new in this run; None if there is no such identity.
        """
        run, stream = self._run, self._stream.number
        if run.comparer is None or stream is None or key is None:
            return None
        found = [run.comparer.identity_of(stream, key), run.load.identity_of((stream, key))]
        if run.settings.identity_changes == "create":
            found.reverse()  # a changed address is another contact, which the ledger has not yet
        known = found[0] or found[1]
        return None if known is None else with_identity(contact, known)

    def note_unsent(self, record: Record | None) -> None:
        """Note that a person has come of whom no record is sent; with None, anyone may have."""
        self._note_unsent(None if record is None else self._key_of(record))

    def _note_unsent(self, key: str | None) -> None:
        if self._run.missing is None or self._stream.number is None:
            return
        if key is None:
            self._run.missing.incomplete.add(self._stream.number)
        else:
            self._run.load.note_unsent(self._stream.number, key)

    def _key_of(self, record: Record) -> str | None:
        """Return a record's key; None without a ledger, or if a part is null or all are blank."""
        if not self._key:
            return None
        values: list[t.Any] = [record.get(column) for column in self._key]
        is_key = None not in values and "".join(map(str, values)).strip()
        return key_text(values) if is_key else None

    def _count(self, record: Record) -> SourceRecord:
        self._report.read += 1
        self.record_counter_metric.increment()
        interval = self._run.state.interval
        interval.read += 1
        return SourceRecord(interval, self._report.read, self._reader.line, self._key_of(record))

    @override
    def process_batch(self, context: dict[str, t.Any]) -> None:
        """Rounds are sent by the load, for all streams."""
