"""What the user is told about a stream before its first contact: how every column is used."""

from __future__ import annotations

import difflib
import re
import textwrap
import typing as t

from target_mainbrainer.contact import PropertyRef
from target_mainbrainer.mapping.columns import (
    FIELDS_BY_NAME,
    IDENTIFIERS,
    MAPPABLE_FIELDS,
    ContactField,
    Unsent,
    Use,
    described,
    listed,
    plain_name,
    shown,
)

if t.TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from target_mainbrainer.settings import FieldMap

_WIDTH = 100


def summary_of(uses: Mapping[str, Use]) -> list[str]:
    """Say how every column is used: one line for each kind of use, wrapped.

    >>> summary_of({"mail": ContactField.EMAIL, "zip": PropertyRef(None, "zip")})
    ["email: 'mail'", "properties of the same name: 'zip'"]
    """
    groups: dict[str, list[str]] = {_kind(field): [] for field in ContactField}
    groups |= {_RENAMED: [], _OWN_NAME: []}
    for column, use in uses.items():
        shown_column = f"'{shown(column)}'"
        if not isinstance(use, PropertyRef):
            groups.setdefault(_kind(use), []).append(shown_column)
        elif use == PropertyRef(None, column):
            groups[_OWN_NAME].append(shown_column)
        else:
            groups[_RENAMED].append(f"{shown_column} -> {described(use).removeprefix('property ')}")
    lines: list[str] = []
    for name, members in groups.items():
        if members:
            text = f"{name}: {', '.join(members)}"
            lines += textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    return lines or ["no columns are announced; each is used by its name when it comes"]


_RENAMED = "properties of another name"
_OWN_NAME = "properties of the same name"


def _kind(use: ContactField | Unsent) -> str:
    return described(use).removeprefix("the contact's ")


def warnings_of(
    stream: str, uses: Mapping[str, Use], field_map: FieldMap, *, is_open: bool
) -> list[str]:
    """Say what a person should look at before the first contact is sent.

    Args:
        stream: The stream's name.
        uses: What its columns are.
        field_map: The setting.
        is_open: Columns may come that the schema does not announce.
    """
    return [
        f"Stream '{shown(stream)}': {warning}"
        for warning in [
            *_unmatched(uses, field_map),
            *_nearly_fields(uses, field_map),
            *_useless_code(uses),
            *_unidentified(uses, is_open=is_open),
        ]
    ]


def _unmatched(uses: Mapping[str, Use], field_map: FieldMap) -> Iterator[str]:
    by_plain_name = {plain_name(column): column for column in uses}
    for name in field_map:
        if name in uses:
            continue
        near = difflib.get_close_matches(plain_name(name), by_plain_name, n=1)
        hint = f" Did you mean '{shown(by_plain_name[near[0]])}'?" if near else ""
        yield f"'field_map' names column '{shown(name)}', which the stream does not have.{hint}"


def _nearly_fields(uses: Mapping[str, Use], field_map: FieldMap) -> Iterator[str]:
    for column, target in field_map.items():
        if column not in uses or not isinstance(target, str) or target in MAPPABLE_FIELDS:
            continue
        if (field := FIELDS_BY_NAME.get(plain_name(target))) is not None:
            yield (
                f"column '{shown(column)}' is sent as a property named '{shown(target)}', because "
                f"the contact field is spelt '{field}'."
            )


def _useless_code(uses: Mapping[str, Use]) -> Iterator[str]:
    column_of = {use: column for column, use in uses.items()}
    code = column_of.get(ContactField.MOBILE_COUNTRY_CODE)
    if code is not None and ContactField.MOBILE_NUMBER not in column_of:
        yield (
            f"column '{shown(code)}' is the mobile country code, but no column is "
            "'mobile_number', so it is not sent."
        )


def _unidentified(uses: Mapping[str, Use], *, is_open: bool) -> Iterator[str]:
    if any(use in IDENTIFIERS for use in uses.values()) or (is_open and not uses):
        return
    looks = {field: column for column, field in lookalikes(uses)}
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


def lookalikes(uses: Mapping[str, Use]) -> list[tuple[str, ContactField]]:
    """Return columns that are sent as properties but look like identifiers, and like which.

    >>> lookalikes({name: PropertyRef(None, name) for name in ("work_phone", "e_mail", "mailing")})
    [('work_phone', <ContactField.MOBILE: 'mobile'>), ('e_mail', <ContactField.EMAIL: 'email'>)]
    """
    found = []
    for column, use in uses.items():
        if not isinstance(use, PropertyRef | Unsent) or use is Unsent.MAPPED_TO_NULL:
            continue
        name = _QUALIFIERS.sub("", plain_name(column).replace(" ", ""))
        found += [(column, field) for field, look in _LOOKS.items() if look.fullmatch(name)]
    return found


def telling_columns_of(uses: Mapping[str, Use]) -> frozenset[str]:
    """Return the columns that hold mobile numbers, or look as if they did.

    >>> sorted(telling_columns_of({"tel": ContactField.MOBILE, "id": PropertyRef(None, "id")}))
    ['tel']
    """
    mobile = {ContactField.MOBILE, ContactField.MOBILE_NUMBER}
    mapped = {column for column, use in uses.items() if use in mobile}
    return frozenset(mapped | {column for column, field in lookalikes(uses) if field in mobile})


def hints_of(stream: str, uses: Mapping[str, Use], field_map: FieldMap) -> list[str]:
    """Say how to map columns that look like identifiers; about what is mapped nothing is said."""
    looks = [(column, field) for column, field in lookalikes(uses) if column not in field_map]
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
