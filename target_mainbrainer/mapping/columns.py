"""What each column of a stream is: decided once, from its name and the settings.

Nothing is guessed from values, and nothing but an exact name makes a column an identifier.
"""

from __future__ import annotations

import difflib
import enum
import re
import textwrap
import typing as t
import unicodedata
from collections import defaultdict

from target_mainbrainer.contacts import PropertyRef
from target_mainbrainer.errors import MappingError
from target_mainbrainer.words import is_utf8, listed, shown

if t.TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping

    from target_mainbrainer.config.limits import FieldMap, UnmappedColumns


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


_WIDTH = 100
_RENAMED = "properties of another name"
_OWN_NAME = "properties of the same name"
_PREFERENCE = (ContactField.EMAIL, ContactField.MOBILE)


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


# Lookalikes ------------------------------------------------------------------------------------

_NUMBER = r"(number|num|nummer|nr|no|numero|numer)?"
_LOOKS = {
    ContactField.EMAIL: re.compile(
        r"e?mail(addr(ess)?|adress?e?)?\d?|e?post(adress?e?)?|sahkoposti(osoite)?|netfang\d?"
    ),
    ContactField.MOBILE: re.compile(
        rf"(mobile?|cell|tele?)?(phone|fone|telefon|tel|tlf){_NUMBER}\d?"
        rf"|(mobile?|cell(ular)?|handy|gsm|msisdn){_NUMBER}\d?"
        rf"|mobil(tlf|telefon|telephone){_NUMBER}|(sms|ruf)(number|nummer|nr)"
        r"|(matka)?puhelin(numero)?|kannykka|(far|gsm)?sim(i|anumer)"
    ),
    ContactField.CONTACT_ID: re.compile(r"id"),
}
_CONSENT = re.compile(
    r"consent|optin|optout|permission|subscri|newsletter|marketing|gdpr"
    r"|samtyk|samtyc|samthykk|suostum|einwillig|zustimm|tillatelse|tilladelse"
    r"|nyhetsbrev|nyhedsbrev|uutiskirje|frettabref"
    r"|abonn|abmeld|[av]vmeld|afmeld|avregistr|reserver|reklam|werbung|markkinointi|lupa|kielto"
)
_CONSENT_NAMES = re.compile(
    r"(send|ok|vil|vilha|wants?|allow|receive)?(sms|e?mail|e?post)(ok|ja|yes|allowed|varsel|utskick)"
    r"|(send|ok|vil|vilha|wants?|allow|receive)?sms"
)
_NORDIC = str.maketrans({"ø": "o", "æ": "a", "þ": "th", "ð": "d"})
_QUALIFIERS = re.compile(
    r"^(contact|kontakt|customer|user|person|primary|private|work|home|personal|business|member|crm"
    r"|mainbrainer|kunde|kund|asiakas|privat|arbeids|arbets|arbejds|jobb|tyo|medlems)(s)?"
)


def lookalikes(
    roles: Mapping[str, ColumnRole], booleans: Collection[str] = ()
) -> list[tuple[str, ContactField]]:
    """Return columns that are sent as properties but look like identifiers, and like which.

    >>> names = ("work_phone", "e_post", "mailing", "sms", "sähköposti", "Mobil-nr.")
    >>> for column, field in lookalikes({name: PropertyRef(None, name) for name in names}):
    ...     print(column, field)
    work_phone mobile
    e_post email
    sähköposti email
    Mobil-nr. mobile

    Args:
        roles: What the columns are.
        booleans: Columns that hold nothing but true and false.
    """
    found = []
    for column in _properties(roles):
        name = _letters(column)
        if column in booleans or _is_consent(name):
            continue
        short = _QUALIFIERS.sub("", name)
        found += [
            (column, field)
            for field, look in _LOOKS.items()
            if look.fullmatch(name) or look.fullmatch(short)
        ]
    return found


def consent_lookalikes(roles: Mapping[str, ColumnRole]) -> list[str]:
    """Return columns that are sent as properties but may say what a person has consented to.

    >>> names = ("sms", "nyhetsbrev", "samtykke_epost", "mobil", "city")
    >>> consent_lookalikes({name: PropertyRef(None, name) for name in names})
    ['sms', 'nyhetsbrev', 'samtykke_epost']
    """
    return [column for column in _properties(roles) if _is_consent(_letters(column))]


def _is_consent(name: str) -> bool:
    return bool(_CONSENT.search(name) or _CONSENT_NAMES.fullmatch(name))


def _properties(roles: Mapping[str, ColumnRole]) -> list[str]:
    """Return the columns that are no field of the contact and not left out on purpose."""
    return [
        column
        for column, role in roles.items()
        if isinstance(role, PropertyRef | NotSent) and role is not NotSent.MAPPED_TO_NULL
    ]


def _letters(column: str) -> str:
    """Return a name in plain small letters, without accents and what stands between words."""
    plain = unicodedata.normalize("NFKD", plain_name(column).translate(_NORDIC))
    return "".join(mark for mark in plain if mark.isalnum())


def sensitive_columns_of(roles: Mapping[str, ColumnRole]) -> frozenset[str]:
    """Return the columns whose values identify a person, or look as if they did.

    >>> sorted(sensitive_columns_of({"tel": ContactField.MOBILE, "id": PropertyRef(None, "id")}))
    ['tel']
    """
    fields = {ContactField.MOBILE, ContactField.MOBILE_NUMBER, ContactField.EMAIL}
    mapped = {column for column, role in roles.items() if role in fields}
    look = {column for column, field in lookalikes(roles) if field in fields}
    return frozenset(mapped | look)
