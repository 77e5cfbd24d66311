"""From record to contact: compiled once per stream, then one pass over each record.

Nothing is lost and nothing is made up on the way: a record becomes a contact, or a rejection
that gives the reason, or is left out because it is empty or was deleted in the source.
"""

from __future__ import annotations

import enum
import functools
import typing as t
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from target_mainbrainer.contacts import (
    OPT_INS,
    Contact,
    ContactField,
    Mobile,
    PropertyRef,
    Record,
    Rejection,
    RejectionCode,
)
from target_mainbrainer.errors import MappingError
from target_mainbrainer.mapping import columns as _columns
from target_mainbrainer.mapping import identifiers
from target_mainbrainer.mapping.columns import IDENTIFIERS, METADATA_PREFIXES, is_deleted, roles_of
from target_mainbrainer.mapping.values import (
    PLAIN_WRITERS,
    InvalidValueError,
    parse_consent,
    property_text,
)
from target_mainbrainer.settings.declared import StreamSettings, all_words
from target_mainbrainer.words import is_utf8, listed, shown

_T = t.TypeVar("_T")
Reader: t.TypeAlias = "Callable[[Record], _T | None]"


class Omitted(enum.Enum):
    """Why a record becomes neither a contact nor a rejection."""

    DELETED = "deleted"
    DELETED_WITHOUT_IDENTITY = "deleted, and known by its key alone"
    EMPTY = "empty"


def compile_mapping(
    stream: str,
    schema: Mapping[str, t.Any],
    key_properties: Sequence[str],
    settings: StreamSettings,
    *,
    dropped: Counter[str] | None = None,
    paths: Mapping[str, Sequence[str]] | None = None,
) -> StreamMapping:
    """Decide the role of every column of a stream.

    Args:
        stream: The stream's name, for messages.
        schema: As announced; only the names of its properties count.
        key_properties: The key of the stream's records.
        settings: Those of this stream.
        dropped: Counts the identifiers that are dropped from contacts that are kept, by code,
            which happens only with `invalid_identifiers: drop`.
        paths: The names that lead to columns inside of objects, before they were flattened.

    Raises:
        MappingError: The settings cannot be applied to the stream's columns.
    """
    columns = schema.get("properties", {})
    _columns.require_mapped_columns(stream, columns, settings.field_map)
    mapping = StreamMapping(stream, columns, settings, Counter() if dropped is None else dropped)
    roles = mapping.roles
    is_open = schema.get("additionalProperties", True) is not False
    mapping.summary = _columns.summary_of(roles, mapping.once)
    if key_properties:
        mapping.summary.append(f"key: {', '.join(map(repr, map(shown, key_properties)))}")
    mapping.warnings = _columns.warnings_of(stream, roles, settings.field_map, is_open=is_open)
    booleans = [name for name, column in columns.items() if _is_boolean(column)]
    mapping.hints = _columns.hints_of(stream, roles, settings.field_map, booleans, paths or {})
    mapping.sensitive_columns = _columns.sensitive_columns_of(roles)
    return mapping


def _is_boolean(schema: object) -> bool:
    """Return whether a column is of nothing but true, false and null."""
    kinds: t.Any = schema.get("type") if isinstance(schema, dict) else None
    is_list = isinstance(kinds, list)
    return kinds == "boolean" or (is_list and set(map(str, kinds)) == {"boolean", "null"})


class StreamMapping:
    """The columns of one stream as fields and properties of contacts.

    A column that comes without having been announced is treated as if it had been.

    Attributes:
        roles: The role of each column.
        summary: How every column is used, in lines for the log.
        warnings: Doubts that a person should look at before anything is sent.
        hints: Columns that may identify contacts or state consent, and how to map them.
        sensitive_columns: Columns whose values identify a person; no log shows them.
        once: Properties that are sent when the contact is created and never again.
        opt_ins: The opt-ins that a column is mapped to: "mobile_opt_in", "email_opt_in".

    Raises:
        MappingError: Columns get in each other's way, or a property cannot be addressed.
    """

    def __init__(
        self,
        stream: str,
        columns: Iterable[str],
        settings: StreamSettings,
        dropped: Counter[str],
    ) -> None:
        roles = roles_of(stream, columns, settings.field_map, settings.unmapped_columns)
        self.roles = roles
        self.summary: list[str] = []
        self.warnings: list[str] = []
        self.hints: list[str] = []
        self.sensitive_columns: frozenset[str] = frozenset()
        self.once = _columns.sent_once(settings.field_map)
        self.opt_ins = frozenset(str(role) for role in OPT_INS if role in roles.values())
        self._stream = stream
        self._settings = settings
        self._dropped = dropped
        self._columns = frozenset(roles)
        self._widened = functools.lru_cache(_MOST_WIDER)(self._widen)
        fields = {role: column for column, role in roles.items() if isinstance(role, ContactField)}
        self._clears = settings.null_values == "clear"
        self._refs = {
            column: role for column, role in roles.items() if isinstance(role, PropertyRef)
        }
        identified_by = [column for column, role in roles.items() if role in IDENTIFIERS]
        self._no_identity = "No column of the stream can identify a contact."
        if identified_by:
            names = listed(identified_by)
            self._no_identity = f"Nothing identifies the contact: there is no value in {names}."
        self._contact_id = reader(fields, "contact_id", identifiers.parse_contact_id)
        self._mobile = mobile_reader(fields, settings.default_country_code)
        self._email = reader(fields, "email", identifiers.parse_email)
        words = all_words(settings.consent_words)
        self._mobile_opt_in = reader(fields, "mobile_opt_in", lambda one: parse_consent(one, words))
        self._email_opt_in = reader(fields, "email_opt_in", lambda one: parse_consent(one, words))
        self._list_id = reader(fields, "list_id", identifiers.parse_list_id)

    def map_record(self, record: Record) -> Contact | Rejection | Omitted:
        """Return the contact of a record, or the reason why it cannot be one.

        Never raises for any record, and never changes it.
        """
        if not record.keys() <= self._columns:
            wider = self._widened(frozenset(record.keys() - self._columns))
            return wider if isinstance(wider, Rejection) else wider.map_record(record)
        try:
            if record.get(_columns.DELETED_AT) is not None and is_deleted(record):
                return self._deleted(record)
            contact_id, mobile, email, dropped = self._identify(record)
            mobile_opt_in = self._mobile_opt_in and self._mobile_opt_in(record)
            email_opt_in = self._email_opt_in and self._email_opt_in(record)
            if dropped:
                # The CRM may have another number or address there; this consent is not for it.
                mobile_opt_in = mobile_opt_in and (None if "mobile" in dropped else True)
                email_opt_in = email_opt_in and (None if "email" in dropped else True)
            properties = self._properties(record)
            list_id = self._list_id and self._list_id(record)
        except InvalidValueError as invalid:
            return self._refused(record, invalid.rejection)
        return Contact(contact_id, mobile, email, mobile_opt_in, email_opt_in, properties, list_id)

    def _deleted(self, record: Record) -> Contact | Omitted:
        if self._settings.deleted_records == "skip":
            return Omitted.DELETED
        contact_id, mobile, email, _ = self._identify(record)
        return Contact(contact_id, mobile, email, mobile_opt_in=False, email_opt_in=False)

    def _identify(
        self, record: Record
    ) -> tuple[int | None, Mobile | None, str | None, dict[str, InvalidValueError]]:
        """Return the identifiers of the contact, and the faults of those that were dropped."""
        contact_id = self._contact_id and self._contact_id(record)
        dropped: dict[str, InvalidValueError] = {}
        mobile = email = None
        try:
            mobile = self._mobile and self._mobile(record)
        except InvalidValueError as invalid:
            dropped["mobile"] = invalid
        try:
            email = self._email and self._email(record)
        except InvalidValueError as invalid:
            dropped["email"] = invalid
        if dropped and self._settings.invalid_identifiers == "reject":
            raise next(iter(dropped.values()))
        if contact_id is None and mobile is None and email is None:
            no_identity = InvalidValueError(RejectionCode.NO_IDENTITY, self._no_identity)
            raise next(iter(dropped.values()), no_identity)
        for fault in dropped.values():
            self._dropped[fault.code] += 1
        return contact_id, mobile, email, dropped

    def _refused(self, record: Record, rejection: Rejection) -> Rejection | Omitted:
        if rejection.code == RejectionCode.NO_IDENTITY:
            if is_deleted(record):
                return Omitted.DELETED_WITHOUT_IDENTITY
            if _is_empty(record):
                return Omitted.EMPTY
        return self.with_withdrawal(rejection, record)

    def with_withdrawal(self, rejection: Rejection, record: Record) -> Rejection:
        """Return a rejection with the "no" of its record, which is not to wait for a correction."""
        return rejection._replace(withdrawal=self._withdrawal(record))

    def _withdrawal(self, record: Record) -> Contact | None:
        """Return the identity that is left of a record, if any, with the opt-ins that are false."""
        try:
            contact_id = self._contact_id and self._contact_id(record)
        except InvalidValueError:
            return None  # It would be another contact.
        mobile, email = _left(self._mobile, record), _left(self._email, record)
        if is_deleted(record):
            return Contact(contact_id, mobile, email, mobile_opt_in=False, email_opt_in=False)
        by_sms = _left(self._mobile_opt_in, record) and None
        by_email = _left(self._email_opt_in, record) and None
        if by_sms is None and by_email is None:
            return None
        return Contact(contact_id, mobile, email, by_sms, by_email)

    def _properties(self, record: Record) -> dict[PropertyRef, str]:
        properties: dict[PropertyRef, str] = {}
        refs = self._refs
        column = ""
        try:
            for column, value in record.items():
                if (ref := refs.get(column)) is None:
                    continue
                if type(value) is str and (value.isascii() or is_utf8(value)):
                    properties[ref] = value
                elif value is not None:
                    properties[ref] = PLAIN_WRITERS.get(type(value), property_text)(value)
                elif self._clears:
                    properties[ref] = ""
        except InvalidValueError as invalid:
            invalid.column = column
            raise
        return properties

    def _widen(self, unannounced: frozenset[str]) -> StreamMapping | Rejection:
        """Return the mapping that knows these unannounced columns, too."""
        columns = [*self.roles, *sorted(unannounced)]
        try:
            return StreamMapping(self._stream, columns, self._settings, self._dropped)
        except MappingError as error:
            return Rejection(RejectionCode.UNUSABLE_COLUMNS, str(error))


_MOST_WIDER = 100
"""Remember so many sets of unannounced columns; a stream rarely has more than two."""


# One field of a contact, read from its column ----------------------------------------------------


def reader(
    fields: Mapping[ContactField, str], name: str, parse: Callable[[object], _T | None]
) -> Reader[_T] | None:
    """Return a function that reads one field of a contact from its column; None if it has none.

    A fault of the value names the column.
    """
    if (column := fields.get(ContactField(name))) is None:
        return None

    def read(record: Record) -> _T | None:
        value = record.get(column)
        try:
            return None if value is None else parse(value)
        except InvalidValueError as invalid:
            invalid.column = column
            raise

    return read


def _left(read: Reader[_T] | None, record: Record) -> _T | None:
    """Return a field of a contact, or None if it cannot be read."""
    try:
        return read and read(record)
    except InvalidValueError:
        return None


def _is_empty(record: Record) -> bool:
    """Return whether a record has columns but no value: an empty row of a file."""
    values = [value for name, value in record.items() if not name.startswith(METADATA_PREFIXES)]
    return bool(values) and not any(
        value.strip() if isinstance(value, str) else value is not None for value in values
    )


def mobile_reader(
    fields: Mapping[ContactField, str], default_country_code: int | None
) -> Reader[Mobile] | None:
    """Return a function that reads the mobile number from its columns; None without any."""

    @functools.cache
    def of_code(code: int | None) -> Reader[Mobile]:
        read = reader(fields, "mobile", lambda value: identifiers.parse_mobile(value, code))
        return t.cast("Reader[Mobile]", read)

    read_code = reader(fields, "mobile_country_code", identifiers.parse_country)
    if read_code is None or ContactField.MOBILE not in fields:
        return of_code(default_country_code)

    def read(record: Record) -> Mobile | None:
        try:
            return of_code(None)(record)  # its own code counts before the column
        except InvalidValueError:
            return of_code(read_code(record) or default_country_code)(record)

    return read
