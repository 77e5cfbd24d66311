"""Columns that look like identifiers or consent, by words of the Nordic languages, German, English.

What is found here is pointed at in the log, and its values are kept out of it. No column becomes
an identifier or consent by it.
"""

from __future__ import annotations

import re
import typing as t
import unicodedata

from target_mainbrainer.contacts.contact import PropertyRef
from target_mainbrainer.mapping.columns import ColumnRole, ContactField, NotSent, plain_name

if t.TYPE_CHECKING:
    from collections.abc import Collection, Mapping

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
