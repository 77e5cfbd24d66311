"""What the user is told about a stream before its first contact: how every column is used."""

from __future__ import annotations

import difflib
import re
import textwrap
import typing as t

from target_mainbrainer.contacts.contact import PropertyRef
from target_mainbrainer.mapping.columns import (
    FIELDS_BY_NAME,
    IDENTIFIERS,
    MAPPABLE_FIELDS,
    ColumnRole,
    ContactField,
    NotSent,
    described,
    plain_name,
)
from target_mainbrainer.wording import listed, shown

if t.TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from target_mainbrainer.config.limits import FieldMap

_WIDTH = 100


def summary_of(roles: Mapping[str, ColumnRole]) -> list[str]:
    """Say how every column is used: one line for each kind of use, wrapped.

    >>> summary_of({"mail": ContactField.EMAIL, "zip": PropertyRef(None, "zip")})
    ["email: 'mail'", "properties of the same name: 'zip'"]
    """
    groups: dict[str, list[str]] = {_kind(field): [] for field in ContactField}
    groups |= {_RENAMED: [], _OWN_NAME: []}
    for column, role in roles.items():
        shown_column = f"'{shown(column)}'"
        if not isinstance(role, PropertyRef):
            groups.setdefault(_kind(role), []).append(shown_column)
        elif role == PropertyRef(None, column):
            groups[_OWN_NAME].append(shown_column)
        else:
            groups[_RENAMED].append(
                f"{shown_column} -> {described(role).removeprefix('property ')}"
            )
    lines: list[str] = []
    for name, members in groups.items():
        if members:
            text = f"{name}: {', '.join(members)}"
            lines += textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    return lines or ["no columns are announced; each is used by its name when it comes"]


_RENAMED = "properties of another name"
_OWN_NAME = "properties of the same name"


def _kind(role: ContactField | NotSent) -> str:
    return described(role).removeprefix("the contact's ")


def warnings_of(
    stream: str, roles: Mapping[str, ColumnRole], field_map: FieldMap, *, is_open: bool
) -> list[str]:
    """Say what a person should look at before the first contact is sent.

    Args:
        stream: The stream's name.
        roles: What its columns are.
        field_map: The setting.
        is_open: Columns may come that the schema does not announce.
    """
    return [
        f"Stream '{shown(stream)}': {warning}"
        for warning in [
            *_unmatched(roles, field_map),
            *_nearly_fields(roles, field_map),
            *_useless_code(roles),
            *_unidentified(roles, is_open=is_open),
        ]
    ]


def _unmatched(roles: Mapping[str, ColumnRole], field_map: FieldMap) -> Iterator[str]:
    by_plain_name = {plain_name(column): column for column in roles}
    for name in field_map:
        if name in roles:
            continue
        near = difflib.get_close_matches(plain_name(name), by_plain_name, n=1)
        hint = f" Did you mean '{shown(by_plain_name[near[0]])}'?" if near else ""
        yield f"'field_map' names column '{shown(name)}', which the stream does not have.{hint}"


def _nearly_fields(roles: Mapping[str, ColumnRole], field_map: FieldMap) -> Iterator[str]:
    for column, target in field_map.items():
        if column not in roles or not isinstance(target, str) or target in MAPPABLE_FIELDS:
            continue
        if (field := FIELDS_BY_NAME.get(plain_name(target))) is not None:
            yield (
                f"column '{shown(column)}' is sent as a property named '{shown(target)}', because "
                f"the contact field is spelt '{field}'."
            )


def _useless_code(roles: Mapping[str, ColumnRole]) -> Iterator[str]:
    column_of = {role: column for column, role in roles.items()}
    code = column_of.get(ContactField.MOBILE_COUNTRY_CODE)
    if code is not None and ContactField.MOBILE_NUMBER not in column_of:
        yield (
            f"column '{shown(code)}' is the mobile country code, but no column is "
            "'mobile_number', so it is not sent."
        )


def _unidentified(roles: Mapping[str, ColumnRole], *, is_open: bool) -> Iterator[str]:
    if any(role in IDENTIFIERS for role in roles.values()) or (is_open and not roles):
        return
    looks = {field: column for column, field in lookalikes(roles)}
    field, column = next(
        ((field, looks[field]) for field in _PREFERENCE if field in looks),
        (ContactField.EMAIL, "<column>"),
    )
    yield (
        "no column can identify a contact, so its records will be rejected. Map one to 'email', "
        f"'mobile' or 'contact_id', such as: "
        f'"field_map": {{"{shown(column)}": "{field}"}}.'
    )


_PREFERENCE = (ContactField.EMAIL, ContactField.MOBILE)

_LOOKS = {
    ContactField.EMAIL: re.compile(r"e?mail(addr(ess)?)?\d?"),
    ContactField.MOBILE: re.compile(
        r"(mobile?|cell|tele?)?(phone|fone|telefon|tel)(number|no|nr|num)?\d?"
        r"|mobil|cell(ular)?|msisdn|gsm|sms|handy(nummer)?|mobilnummer"
    ),
    ContactField.CONTACT_ID: re.compile(r"id"),
}
_QUALIFIERS = re.compile(
    r"^(contact|customer|user|person|primary|private|work|home|personal|business|member|crm"
    r"|mainbrainer)"
)


def lookalikes(roles: Mapping[str, ColumnRole]) -> list[tuple[str, ContactField]]:
    """Return columns that are sent as properties but look like identifiers, and like which.

    >>> lookalikes({name: PropertyRef(None, name) for name in ("work_phone", "e_mail", "mailing")})
    [('work_phone', <ContactField.MOBILE: 'mobile'>), ('e_mail', <ContactField.EMAIL: 'email'>)]
    """
    found = []
    for column, role in roles.items():
        if not isinstance(role, PropertyRef | NotSent) or role is NotSent.MAPPED_TO_NULL:
            continue
        name = _QUALIFIERS.sub("", plain_name(column).replace(" ", ""))
        found += [(column, field) for field, look in _LOOKS.items() if look.fullmatch(name)]
    return found


def sensitive_columns_of(roles: Mapping[str, ColumnRole]) -> frozenset[str]:
    """Return the columns that hold mobile numbers, or look as if they did.

    >>> sorted(sensitive_columns_of({"tel": ContactField.MOBILE, "id": PropertyRef(None, "id")}))
    ['tel']
    """
    mobile = {ContactField.MOBILE, ContactField.MOBILE_NUMBER}
    mapped = {column for column, role in roles.items() if role in mobile}
    return frozenset(mapped | {column for column, field in lookalikes(roles) if field in mobile})


def hints_of(stream: str, roles: Mapping[str, ColumnRole], field_map: FieldMap) -> list[str]:
    """Say how to map columns that look like identifiers; about what is mapped nothing is said."""
    looks = [(column, field) for column, field in lookalikes(roles) if column not in field_map]
    if not looks:
        return []
    entries = ", ".join(f'"{shown(column)}": "{field}"' for column, field in looks)
    are = "is" if len(looks) == 1 else "are"
    hint = (
        f"Stream '{shown(stream)}': {listed([column for column, _ in looks])} may identify "
        f'contacts but {are} not mapped. If so, add what fits of: "field_map": {{{entries}}}.'
    )
    if any(field is ContactField.CONTACT_ID for _, field in looks):
        hint += " A contact_id is MainBrainer's own id of a contact, and no other system's."
    return [hint]
