"""What the user is told about a stream before its first contact: how every column is used."""

from __future__ import annotations

import difflib
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
from target_mainbrainer.mapping.lookalikes import consent_lookalikes, lookalikes
from target_mainbrainer.wording import listed, shown

if t.TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from target_mainbrainer.settings.declared import FieldMap

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


def hints_of(
    stream: str,
    roles: Mapping[str, ColumnRole],
    field_map: FieldMap,
    booleans: Collection[str] = (),
) -> list[str]:
    """Say how to map columns that look like identifiers or consent.

    Nothing is said about a kind of identifier, or about consent, once a column is mapped to it.
    """
    named = f"Stream '{shown(stream)}': "
    is_there = set(roles.values())
    missing = set(_PREFERENCE) - is_there
    if ContactField.MOBILE_NUMBER in is_there:
        missing.discard(ContactField.MOBILE)
    if not is_there.intersection(IDENTIFIERS):
        missing.add(ContactField.CONTACT_ID)
    looks = [
        (column, field)
        for column, field in lookalikes(roles, booleans)
        if column not in field_map and field in missing
    ]
    hints = []
    if looks:
        entries = ", ".join(f'"{shown(column)}": "{field}"' for column, field in looks)
        are = "is" if len(looks) == 1 else "are"
        hint = (
            f"{named}{listed([column for column, _ in looks])} may identify contacts but {are} not "
            f'mapped. If so, add what fits of: "field_map": {{{entries}}}.'
        )
        if any(field is ContactField.CONTACT_ID for _, field in looks):
            hint += " A contact_id is MainBrainer's own id of a contact, and no other system's."
        hints.append(hint)
    if not is_there & {ContactField.EMAIL_OPT_IN, ContactField.MOBILE_OPT_IN}:
        consent = [column for column in consent_lookalikes(roles) if column not in field_map]
        if consent:
            hints.append(
                f"{named}{listed(consent)} may say what people have consented to. If so, map what "
                "fits to 'email_opt_in' or 'mobile_opt_in' in 'field_map'."
            )
    return hints
