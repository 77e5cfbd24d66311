"""What each column of a stream is: decided once, from its name and the settings.

Nothing is guessed from values, and nothing but an exact name makes a column an identifier.
"""

from __future__ import annotations

import enum
import typing as t
from collections import defaultdict

from target_mainbrainer.contacts.contact import PropertyRef
from target_mainbrainer.errors import MappingError
from target_mainbrainer.wording import is_utf8, listed, shown

if t.TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping

    from target_mainbrainer.settings.declared import FieldMap, UnmappedColumns


class ContactField(enum.StrEnum):
    """What a column can be besides a property; `PROPERTIES` only by its name."""

    CONTACT_ID = "contact_id"
    MOBILE = "mobile"
    MOBILE_COUNTRY_CODE = "mobile_country_code"
    MOBILE_NUMBER = "mobile_number"
    EMAIL = "email"
    MOBILE_OPT_IN = "mobile_opt_in"
    EMAIL_OPT_IN = "email_opt_in"
    LIST_ID = "list_id"
    PROPERTIES = "property_fields"


class NotSent(enum.Enum):
    """Why a column is not sent."""

    MAPPED_TO_NULL = "null in 'field_map'"
    METADATA = "Singer metadata"
    UNMAPPED = "'unmapped_columns' is 'ignore'"


ColumnRole: t.TypeAlias = ContactField | PropertyRef | NotSent

IDENTIFIERS = (
    ContactField.CONTACT_ID,
    ContactField.MOBILE,
    ContactField.MOBILE_NUMBER,
    ContactField.EMAIL,
)
DELETED_AT = "_sdc_deleted_at"
METADATA_PREFIX = "_sdc_"
UNANNOUNCED_METADATA = (
    "_sdc_extracted_at",
    "_sdc_received_at",
    "_sdc_batched_at",
    "_sdc_sync_started_at",
    "_sdc_sequence",
    "_sdc_table_version",
    DELETED_AT,
)
"""What the SDK takes out of a schema while the records still have it."""


def is_deleted(record: Mapping[str, t.Any]) -> bool:
    """Tell whether a record was deleted in the source; file taps leave the column blank if not.

    >>> [is_deleted({DELETED_AT: at}) for at in ("2026-01-31T00:00:00Z", " ", None)]
    [True, False, False]
    """
    deleted_at = record.get(DELETED_AT)
    if isinstance(deleted_at, str):
        return bool(deleted_at.strip())
    return deleted_at is not None and deleted_at is not False


def plain_name(name: str) -> str:
    """Return a name without what does not count in it: case, `_` and `-`.

    >>> plain_name("mobile-opt-in") == plain_name("mobileOptIn") == plain_name("MOBILE_OPT_IN")
    True
    """
    return name.casefold().replace("_", "").replace("-", "")


FIELDS_BY_NAME = {plain_name(field): field for field in ContactField}
MAPPABLE_FIELDS = {
    field.value: field for field in ContactField if field is not ContactField.PROPERTIES
}


def role_of(column: str, field_map: FieldMap, unmapped_columns: UnmappedColumns) -> ColumnRole:
    """Return what a column is: what `field_map` says, else what its name says.

    >>> role_of("e-mail", {"e-mail": "email"}, "property")
    <ContactField.EMAIL: 'email'>
    >>> role_of("Email", {}, "ignore")
    <ContactField.EMAIL: 'email'>
    >>> role_of("Email", {"Email": {"property_name": "email"}}, "property")
    PropertyRef(property_id=None, name='email')
    >>> role_of("mail", {}, "property")
    PropertyRef(property_id=None, name='mail')
    """
    if column in field_map:
        return _mapped_use(field_map[column])
    if (field := FIELDS_BY_NAME.get(plain_name(column))) is not None:
        return field
    if column.startswith(METADATA_PREFIX):
        return NotSent.METADATA
    return NotSent.UNMAPPED if unmapped_columns == "ignore" else PropertyRef(None, column)


def _mapped_use(target: str | Mapping[str, str] | None) -> ColumnRole:
    if target is None:
        return NotSent.MAPPED_TO_NULL
    if isinstance(target, str):
        return MAPPABLE_FIELDS.get(target) or PropertyRef(None, target)
    return PropertyRef(target.get("property_id"), target.get("property_name"))


def roles_of(
    stream: str, columns: Iterable[str], field_map: FieldMap, unmapped_columns: UnmappedColumns
) -> dict[str, ColumnRole]:
    """Return what each column of a stream is.

    Raises:
        MappingError: Columns get in each other's way, or a property cannot be addressed.
    """
    roles = {column: role_of(column, field_map, unmapped_columns) for column in columns}
    if problems := [*_unaddressable(roles), *_doubles(roles), *_contradictions(roles)]:
        message = " ".join(f"Stream '{shown(stream)}': {problem}" for problem in problems)
        raise MappingError(message)
    return roles


def _unaddressable(roles: Mapping[str, ColumnRole]) -> Iterator[str]:
    for column, role in roles.items():
        if not isinstance(role, PropertyRef):
            continue
        if not role.property_id and not role.name:
            yield (
                f"column '{shown(column)}' would be a property without a name. Give it one in "
                f"'field_map', or set it to null there."
            )
        elif not is_utf8(role.property_id or role.name or ""):
            yield (
                f"column '{shown(column)}' would be a property whose name cannot be written as "
                "UTF-8. Give it another in 'field_map', or set it to null there."
            )


def _doubles(roles: Mapping[str, ColumnRole]) -> Iterator[str]:
    columns_of: defaultdict[Hashable, list[str]] = defaultdict(list)
    for column, role in roles.items():
        if isinstance(role, ContactField):
            columns_of[role].append(column)
        elif isinstance(role, PropertyRef):
            columns_of[role.address].append(column)
    for columns in columns_of.values():
        if len(columns) > 1:
            yield (
                f"columns {listed(columns)} would all be {described(roles[columns[0]])}. In "
                "'field_map', set those that are not to null, or to another property."
            )


def _contradictions(roles: Mapping[str, ColumnRole]) -> Iterator[str]:
    column_of = {role: column for column, role in roles.items()}
    whole = column_of.get(ContactField.MOBILE)
    number = column_of.get(ContactField.MOBILE_NUMBER)
    code = column_of.get(ContactField.MOBILE_COUNTRY_CODE)
    if whole is None:
        return
    if number is not None:
        yield (
            f"column '{shown(whole)}' is the whole mobile number, and column '{shown(number)}' "
            "is the number without its country code. In 'field_map', set one of them to null."
        )
    elif code is not None:
        yield (
            f"column '{shown(whole)}' is the whole mobile number, and column '{shown(code)}' is "
            f"its country code again. In 'field_map', set '{shown(whole)}' to 'mobile_number' if "
            f"it holds national numbers, or '{shown(code)}' to null."
        )


# For people --------------------------------------------------------------------------------


def described(role: ColumnRole) -> str:
    """Say what a column is, to follow "column x is"."""
    match role:
        case ContactField.PROPERTIES:
            return "properties in the API's own shape"
        case ContactField():
            return f"the contact's {role}"
        case NotSent():
            return f"not sent ({role.value})"
        case PropertyRef(property_id=None, name=name):
            return f"property '{shown(name or '')}'"
        case _:
            return f"property {shown(role.property_id or '')}"
