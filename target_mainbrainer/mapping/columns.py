"""The role of each column of a stream, decided once, and the hints about it in the log.

Nothing is guessed from values, and nothing but an exact name makes a column an identifier. Words
of the Nordic languages, German and English find columns that look like identifiers or consent:
the log points at those, and their values stay out of it.
"""

from __future__ import annotations

import enum
import json
import re
import textwrap
import typing as t
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence

from target_mainbrainer.contacts import MAPPABLE_FIELDS, OPT_INS, ContactField, PropertyRef
from target_mainbrainer.errors import MappingError
from target_mainbrainer.mapping.values import contains_nan
from target_mainbrainer.settings.declared import FieldMap, UnmappedColumns
from target_mainbrainer.words import did_you_mean, is_utf8, listed, plain_name, shown


class NotSent(enum.Enum):
    """Why a column is not sent."""

    MAPPED_TO_NULL = "null in 'field_map'"
    METADATA = "Singer metadata"
    UNMAPPED = "'unmapped_columns' is 'ignore'"


ColumnRole: t.TypeAlias = ContactField | PropertyRef | NotSent

IDENTIFIERS = (
    ContactField.CONTACT_ID,
    ContactField.MOBILE,
    ContactField.EMAIL,
)
_NEEDED = {*IDENTIFIERS, *OPT_INS, ContactField.MOBILE_COUNTRY_CODE}
DELETED_AT = "_sdc_deleted_at"
METADATA_PREFIXES = ("_sdc_", "__sdc_", "_smart_source_")
"""Columns that taps add to a record: most of them, and those for Google Sheets and spreadsheets."""

_NOT_DELETED = {"", "0", "false", "no", "null", "none", "nan", "nat"}
_NO_DATE = "0000-00-00"
"""MySQL's, with a time or without."""

_BYTE_ORDER_MARK = "\ufeff"


def is_deleted(record: Mapping[str, t.Any]) -> bool:
    """Return whether a record was deleted in the source; some taps write that it was not.

    >>> [is_deleted({DELETED_AT: at}) for at in ("2026-01-31T00:00:00Z", " ", "False", 0, None)]
    [True, False, False, False, False]
    """
    deleted_at = record.get(DELETED_AT)
    if isinstance(deleted_at, str):
        word = deleted_at.strip().casefold()
        return word not in _NOT_DELETED and not word.startswith(_NO_DATE)
    return bool(deleted_at) and not contains_nan(deleted_at)


FIELDS_BY_NAME = {plain_name(name): field for name, field in MAPPABLE_FIELDS.items()}


def role_of(column: str, field_map: FieldMap, unmapped_columns: UnmappedColumns) -> ColumnRole:
    """Return the role of a column: from `field_map`, else from its name.

    >>> role_of("e-mail", {"e-mail": "email"}, "property")
    <ContactField.EMAIL: 'email'>
    >>> role_of("Email", {}, "ignore")
    <ContactField.EMAIL: 'email'>
    >>> role_of("Email", {"Email": {"property_name": "email"}}, "property")
    PropertyRef(property_id=None, name='email')
    >>> role_of("mail", {"mail": {"field": "email", "optional": True}}, "property")
    <ContactField.EMAIL: 'email'>
    >>> role_of("mail", {}, "property")
    PropertyRef(property_id=None, name='mail')
    """
    if column in field_map:
        return _mapped_role(field_map[column])
    if (field := FIELDS_BY_NAME.get(plain_name(column))) is not None:
        return field
    if column.startswith(METADATA_PREFIXES):
        return NotSent.METADATA
    return NotSent.UNMAPPED if unmapped_columns == "ignore" else PropertyRef(None, column)


def _mapped_role(target: str | Mapping[str, t.Any] | None) -> ColumnRole:
    if target is None:
        return NotSent.MAPPED_TO_NULL
    if isinstance(target, str):
        return MAPPABLE_FIELDS.get(target) or PropertyRef(None, target)
    if "field" in target:
        return MAPPABLE_FIELDS[target["field"]]
    return PropertyRef(target.get("property_id"), target.get("property_name"))


def sent_once(field_map: FieldMap) -> frozenset[PropertyRef]:
    """Return the properties that are sent when a contact is created and never again.

    >>> sent_once({"src": {"property_name": "source", "send": "once"}, "zip": "zip"})
    frozenset({PropertyRef(property_id=None, name='source')})
    """
    roles = [_mapped_role(target) for target in field_map.values() if _has(target, "send", "once")]
    return frozenset(role for role in roles if isinstance(role, PropertyRef))


def _has(target: object, key: str, value: object) -> bool:
    return isinstance(target, dict) and target.get(key) == value


def roles_of(
    stream: str, columns: Iterable[str], field_map: FieldMap, unmapped_columns: UnmappedColumns
) -> dict[str, ColumnRole]:
    """Return the role of each column of a stream.

    Raises:
        MappingError: Columns get in each other's way, or a property cannot be addressed.
    """
    roles = {column: role_of(column, field_map, unmapped_columns) for column in columns}
    _refuse(stream, [*_unaddressable(roles, field_map), *_doubles(roles)])
    return roles


def require_mapped_columns(stream: str, columns: Collection[str], field_map: FieldMap) -> None:
    """Refuse a stream of contacts that lacks an identifier or opt-in of `field_map`.

    A stream is one of contacts if it has a column of `field_map`, an identifier or an opt-in.

    Raises:
        MappingError: It does, and the column is not optional.
    """
    there = {role_of(column, field_map, "ignore"): column for column in columns}
    known = [column for column in columns if column in field_map]
    known += [column for role, column in there.items() if role in _NEEDED]
    _refuse(
        stream,
        [
            f"'field_map' maps column '{shown(column)}' to {described(role)}, but the stream, "
            f"which has '{shown(known[0])}', has no such column.{did_you_mean(column, columns)} "
            "If the column may be missing, map it to "
            f'{{"field": "{role}", "optional": true}}.'
            for column, target in field_map.items()
            if column not in columns and known and not _has(target, "optional", value=True)
            if (role := _mapped_role(target)) in _NEEDED - there.keys()
        ],
    )


def _refuse(stream: str, problems: Sequence[str]) -> None:
    if problems:
        raise MappingError(" ".join(f"Stream '{shown(stream)}': {problem}" for problem in problems))


def _unaddressable(roles: Mapping[str, ColumnRole], field_map: FieldMap) -> Iterator[str]:
    for column, role in roles.items():
        if column.startswith(_BYTE_ORDER_MARK) and column not in field_map:
            yield (
                f"the name of column '{shown(column.removeprefix(_BYTE_ORDER_MARK))}' starts with "
                "a byte order mark (U+FEFF), as Windows programs write it at the start of a file. "
                "Set the tap's 'encoding' to 'utf-8-sig'."
            )
        elif isinstance(role, PropertyRef):
            name = (role.property_id or role.name or "").strip()
            if not (name and is_utf8(name)):
                yield (
                    f"column '{shown(column)}' would be a property without a name, or with one "
                    "that cannot be written as UTF-8. Give it another in 'field_map', or set it to "
                    "null there."
                )


def _doubles(roles: Mapping[str, ColumnRole]) -> Iterator[str]:
    columns_of: defaultdict[Hashable, list[str]] = defaultdict(list)
    for column, role in roles.items():
        if not isinstance(role, NotSent):
            columns_of[getattr(role, "address", role)].append(column)
    for columns in columns_of.values():
        if len(columns) > 1:
            yield (
                f"columns {listed(columns)} would all be {described(roles[columns[0]])}. In "
                "'field_map', set those that are not to null, or to another property."
            )


# For people --------------------------------------------------------------------------------


def described(role: ColumnRole) -> str:
    """Return a role in words, to follow "column x is"."""
    if isinstance(role, PropertyRef):
        return f"property '{shown(role.name)}'" if role.name else f"property {role.property_id}"
    return f"the contact's {role}" if isinstance(role, ContactField) else f"not sent ({role.value})"


_WIDTH = 100
_RENAMED = "properties of another name"
_OWN_NAME = "properties of the same name"
_ONCE = "properties sent once, when the contact is created"


def summary_of(roles: Mapping[str, ColumnRole], once: Collection[PropertyRef] = ()) -> list[str]:
    """Return how every column is used: one line for each kind of use, wrapped.

    >>> summary_of({"mail": ContactField.EMAIL, "zip": PropertyRef(None, "zip")})
    ["email: 'mail'", "properties of the same name: 'zip'"]
    """
    groups: dict[str, list[str]] = {str(field): [] for field in ContactField}
    groups |= {_RENAMED: [], _OWN_NAME: [], _ONCE: []}
    for column, role in roles.items():
        text = f"'{shown(column)}'"
        kind = _OWN_NAME
        if not isinstance(role, PropertyRef):
            kind = str(role) if isinstance(role, ContactField) else described(role)
        elif role != PropertyRef(None, column):
            kind = _RENAMED
            text += f" -> {described(role).removeprefix('property ')}"
        groups.setdefault(_ONCE if role in once else kind, []).append(text)
    lines: list[str] = []
    for name, members in groups.items():
        if members:
            text = f"{name}: {', '.join(members)}"
            lines += textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    return lines or ["no columns are announced; each is used by its name when it comes"]


def warnings_of(
    stream: str, roles: Mapping[str, ColumnRole], field_map: FieldMap, *, is_open: bool
) -> list[str]:
    """Return the doubts that a person should look at before the first contact is sent.

    Args:
        stream: The stream's name.
        roles: The roles of its columns.
        field_map: The setting.
        is_open: Columns may come that the schema does not announce.
    """
    warnings = [*_doubtful_entries(roles, field_map), *_doubtful_columns(roles, field_map)]
    if not any(role in IDENTIFIERS for role in roles.values()) and (roles or not is_open):
        warnings.append(
            "no column can identify a contact, so its records will be rejected. Map one to "
            "'email', 'mobile' or 'contact_id' in 'field_map'."
        )
    return [f"Stream '{shown(stream)}': {warning}" for warning in warnings]


def _doubtful_entries(roles: Mapping[str, ColumnRole], field_map: FieldMap) -> Iterator[str]:
    for column, target in field_map.items() if roles else ():
        name = str(target)
        if column not in roles and not _has(target, "optional", value=True):
            yield (
                f"'field_map' names column '{shown(column)}', which the stream does not have."
                f"{did_you_mean(column, roles)}"
            )
        elif (field := FIELDS_BY_NAME.get(plain_name(name))) and name not in MAPPABLE_FIELDS:
            yield (
                f"column '{shown(column)}' is sent as a property named '{shown(name)}', because "
                f"the contact field is spelt '{field}'."
            )


def _doubtful_columns(roles: Mapping[str, ColumnRole], field_map: FieldMap) -> Iterator[str]:
    for column, role in roles.items():
        if role is ContactField.CONTACT_ID and column not in field_map:
            yield (
                f"column '{shown(column)}' counts as MainBrainer's own id of a contact because of "
                "its name. If it is another system's id, its records overwrite other people's "
                "contacts: set it to null or a property in 'field_map', else to 'contact_id'."
            )
        if role in OPT_INS and _NO.search(_letters(column)):
            yield (
                f"column '{shown(column)}' is mapped to '{role}', but its name suggests that "
                "a yes there means no: everybody who has opted out would be signed up. Unless a "
                "stream map inverts it already, invert it with one (docs/mapping.md)."
            )


def hints_of(
    stream: str,
    roles: Mapping[str, ColumnRole],
    field_map: FieldMap,
    booleans: Collection[str],
    paths: Mapping[str, Sequence[str]],
) -> list[str]:
    """Return how to map columns that look like identifiers or consent.

    There is no hint about a kind of identifier, or about a yes, once a column is mapped to it.

    Args:
        stream: The stream's name.
        roles: The roles of its columns.
        field_map: The setting.
        booleans: Columns of nothing but true and false.
        paths: The names that lead to columns inside of objects.
    """
    is_there = set(roles.values())
    missing = {ContactField.EMAIL, ContactField.MOBILE} - is_there
    looks = {
        column: field
        for column, field in lookalikes(roles, booleans)
        if column not in field_map and field in missing
    }
    hints = []
    if looks:
        entries = ", ".join(f'"{shown(column)}": "{field}"' for column, field in looks.items())
        hints.append(
            f"{listed([*looks])} may identify contacts. If so, add those that do: "
            f'"field_map": {{{entries}}}.'
        )
    consent = [column for column in consent_lookalikes(roles) if column not in field_map]
    said_no = [column for column in consent if _NO.search(_letters(column))]
    said_yes = [column for column in consent if column not in said_no]
    if is_there.isdisjoint(OPT_INS) and (names := _stating(said_yes, _NEITHER | _DATED)):
        hints.append(
            f"{listed(names)} may say what people have consented to. If so, map what fits to "
            "'email_opt_in' or 'mobile_opt_in' in 'field_map'."
        )
    if names := _stating(said_no, _NEITHER | {"status", "state"}):
        hints.append(_hint_at_no(stream, names, booleans, roles, paths))
    return [f"Stream '{shown(stream)}': {hint}" for hint in hints]


def _stating(columns: Collection[str], beside: Collection[str]) -> list[str]:
    """Return the columns that state a consent themselves, and not when, why or where it came."""
    last_words = re.compile(r"([A-Z]?[a-z]+|[A-Z]+)[^A-Za-z]*$")
    return [
        column
        for column in columns
        if not (last := last_words.search(column)) or last[1].lower() not in beside
    ]


def _hint_at_no(
    stream: str,
    columns: Sequence[str],
    booleans: Collection[str],
    roles: Mapping[str, ColumnRole],
    paths: Mapping[str, Sequence[str]],
) -> str:
    """Return the stream map for columns in which a yes means no.

    Where they say nothing, what is mapped to the opt-in already counts.
    """
    column_of = {role: column for column, role in roles.items()}
    replaced = [*columns]
    maps: dict[str, str] = {}
    for column in columns:
        field = _OPT_IN_OF[bool(_BY_PHONE.search(_letters(column)))]
        if field not in maps and (mapped := column_of.get(field)) not in (None, field):
            replaced.append(mapped)
        said = _value_of(column, paths)
        if column not in booleans:
            said = f"str({said}).strip().lower() not in {_SAYS_NOTHING}"
        so_far = maps.get(field) or (_value_of(mapped, paths) if mapped else "''")
        maps[field] = f"'no' if {said} else {so_far}"
    return (
        f"{listed(columns)} may say who has opted out. A yes there would mean no, so do not map it "
        "to an opt-in; invert it: "
        f'"stream_maps": {shown(json.dumps({stream: maps}, ensure_ascii=False))}, '
        f'"field_map": {shown(json.dumps(dict.fromkeys(replaced), ensure_ascii=False))}.'
    )


def _value_of(column: str, paths: Mapping[str, Sequence[str]]) -> str:
    """Return the expression that reads a column in a stream map, where nothing is flattened yet.

    A record that lacks the column says nothing.
    """
    name, *inner = paths.get(column, [column])
    value = f"_.get({name!r})"
    for member in inner:
        value = f"({value} or {{}}).get({member!r})"
    return value


# Lookalikes ------------------------------------------------------------------------------------

_NUMBER = r"(number|num|nummer|nr|no|numero|numer)?"
_LOOKS = {
    ContactField.EMAIL: re.compile(
        r"(e?mail(addr(ess)?|adress?e?)?|e?post(adress?e?)?|sahkoposti(osoite)?|netfang)\d?(value)?"
    ),
    ContactField.MOBILE: re.compile(
        rf"((mobile?|cell|tele?)?(phone|fone|telefon|tel|tlf){_NUMBER}"
        rf"|(mobile?|cell(ular)?|handy|gsm|msisdn){_NUMBER}"
        rf"|mobil(tlf|telefon|telephone){_NUMBER}|(sms|ruf)(number|nummer|nr)"
        r"|(matka)?puhelin(numero)?|kannykka|(far|gsm)?sim(i|anumer))\d?(value)?"
    ),
}
_CONSENT = re.compile(
    r"consent|optin|permission|subscri|newsletter|marketing|gdpr"
    r"|samtyk|samtyc|samthykk|suostum|einwillig|zustimm|tillatelse|tilladelse"
    r"|nyhetsbrev|nyhedsbrev|uutiskirje|frettabref|abonn|reklam|werbung|markkinointi|lupa"
)
_NO = re.compile(
    r"unsub|opt(ed|ing)?out|don(o|)t(allow)?(bulk)?(e?mail|sms|phone|call|text|contact|send|market)"
    r"|^(dn[cd]|no(e?mails?|sms|marketing|newsletters?|consent)+)$|blacklist|blocklist|withdr(e|a)w"
    r"|revoked|not(subscri|optedin)|objectionto"
    r"|(marketing|newsletter|e?mail|sms|gdpr|consent)s?"
    r"(suspend|suppress|disable|decline|refuse|block|stop|exclu|objection)"
    r"|(suppress|disable|decline|refuse|block|stop|exclude|never)[ds]?(from)?"
    r"(marketing|newsletter|e?mail|sms)"
    r"|ne[ij]ta[kc]k?|sparrad|reservasjon($|mot)"
    r"|[av]vmeld|avmal|avanmal|afmeld|abmeld|abgemeld|abbestell|av?registr|reserver|frabed|framel"
    r"|widerr|widerspr|sperr|robinson|kiel[lt]|perunut|peruutet|afskra|bannmerk|eimarkk|eisahk"
    r"|(ingen|keine?|ikke|inte)(e?mail|e?post|sms|reklam|werbung|newsletter|nyhe|marke)"
)
_DATED = frozenset({"at", "on", "date", "time", "dato", "datum"})
_NEITHER = frozenset(
    {
        *("id", "ids", "ip", "url", "link", "token", "hash", "key", "count", "source", "campaign"),
        *("title", "reason", "cause", "other"),
    }
)
"""Last words of columns that belong to a consent and do not state it."""

_SAYS_NOTHING = (
    "('', 'none', '[]', '{}', 'false', 'no', 'n', '0', '0.0', 'nei', 'nej', 'ei', 'nein')"
)
_OPT_IN_OF = (ContactField.EMAIL_OPT_IN, ContactField.MOBILE_OPT_IN)
_BY_PHONE = re.compile(r"sms|mobil|phone|call|text|tele|tlf|ring")
_CONSENT_NAMES = re.compile(
    r"(send|ok|vil|vilha|wants?|allow|receive)?(sms|e?mail|e?post)(ok|ja|yes|allowed|varsel|utskick)"
    r"|(send|ok|vil|vilha|wants?|allow|receive)?sms"
)
_NORDIC = str.maketrans({"ø": "o", "æ": "a", "þ": "th", "ð": "d"})
_QUALIFIERS = re.compile(
    r"^(contact|kontakt|billing|shipping|default|primary|other|customer|user|person|private|work|home|personal|business|member|crm"
    r"|mainbrainer|kunde|kund|asiakas|privat|arbeids|arbets|arbejds|jobb|tyo|medlems)(s)?"
)


def lookalikes(
    roles: Mapping[str, ColumnRole], booleans: Collection[str] = ()
) -> list[tuple[str, ContactField]]:
    """Return columns that are sent as properties but look like identifiers, with their lookalike.

    >>> names = ("work_phone", "e_post", "mailing", "sms", "sähköposti", "Mobil-nr.")
    >>> for column, field in lookalikes({name: PropertyRef(None, name) for name in names}):
    ...     print(column, field)
    work_phone mobile
    e_post email
    sähköposti email
    Mobil-nr. mobile

    Args:
        roles: The roles of the columns.
        booleans: Columns of nothing but true and false.
    """
    found = []
    for column in _properties(roles):
        name = _letters(column)
        if column in booleans or _is_consent(name):
            continue
        names = {name, _QUALIFIERS.sub("", name)}
        names.add(_letters(column.rpartition("__")[2]))  # as flattening writes it
        found += [
            (column, field) for field, look in _LOOKS.items() if any(map(look.fullmatch, names))
        ]
    return found


def consent_lookalikes(roles: Mapping[str, ColumnRole]) -> list[str]:
    """Return columns that are sent as properties but may state a consent, or its withdrawal.

    >>> names = ("sms", "nyhetsbrev", "samtykke_epost", "mobil", "city")
    >>> consent_lookalikes({name: PropertyRef(None, name) for name in names})
    ['sms', 'nyhetsbrev', 'samtykke_epost']
    """
    return [column for column in _properties(roles) if _is_consent(_letters(column))]


def _is_consent(name: str) -> bool:
    return bool(_CONSENT.search(name) or _NO.search(name) or _CONSENT_NAMES.fullmatch(name))


def _properties(roles: Mapping[str, ColumnRole]) -> list[str]:
    """Return the columns that are no field of the contact and not left out on purpose."""
    return [
        column
        for column, role in roles.items()
        if isinstance(role, PropertyRef | NotSent) and role is not NotSent.MAPPED_TO_NULL
    ]


def _letters(column: str) -> str:
    """Return a name in plain small letters, without accents and separators."""
    plain = unicodedata.normalize("NFKD", plain_name(column).translate(_NORDIC))
    return "".join(mark for mark in plain if mark.isalnum())


def sensitive_columns_of(roles: Mapping[str, ColumnRole]) -> frozenset[str]:
    """Return the columns whose values identify a person, or look as if they did.

    >>> sorted(sensitive_columns_of({"tel": ContactField.MOBILE, "id": PropertyRef(None, "id")}))
    ['tel']
    """
    mapped = {column for column, role in roles.items() if role in _LOOKS}
    return frozenset(mapped | {column for column, _ in lookalikes(roles)})
