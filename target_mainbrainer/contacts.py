"""Contacts, what identifies them, what merging two of them gives, and why a record is refused.

Pure data: how a record becomes a contact belongs to `mapping`. No `repr` in here shows a
contact's data, so that no log, traceback or debugger can leak it by accident.
"""

from __future__ import annotations

import contextlib
import enum
import re
import typing as t
import unicodedata
from collections.abc import Hashable, Iterator

import msgspec
from msgspec.structs import asdict, replace
from typing_extensions import override

Record: t.TypeAlias = dict[str, t.Any]
"""The columns of a RECORD message, by name."""

HIDDEN = "<hidden>"


class Private:
    """Base of every struct that carries personal data: its `repr` names fields, never values."""

    __slots__ = ()
    __struct_fields__: t.ClassVar[tuple[str, ...]]

    @override
    def __repr__(self) -> str:
        given = ((name, getattr(self, name)) for name in self.__struct_fields__)
        shown = (f"{name}={None if value is None else HIDDEN}" for name, value in given)
        return f"{type(self).__name__}({', '.join(shown)})"

    def __rich_repr__(self) -> list[tuple[str, t.Any]]:
        """Keep pretty printers from showing the values after all."""
        return []


class PrivateStruct(Private, msgspec.Struct, frozen=True, gc=False):
    """Base of what stays as it is once it is made.

    Structs of `msgspec` are made several times as fast as named tuples. `gc=False` spares the
    garbage collector a look at the tens of thousands that wait, which took a third of a run;
    nothing in here can point back.
    """


class Mobile(PrivateStruct, frozen=True, gc=False):
    """A mobile number as the API takes it: two integers (API note, section 8.5).

    Attributes:
        country_code: The calling code, such as 47.
        number: The national number.
    """

    country_code: int
    number: int

    def __iter__(self) -> Iterator[int]:
        """Yield country code and number, so that they can be unpacked."""
        yield self.country_code
        yield self.number


class PropertyRef(t.NamedTuple):
    """The address of a property: its id or its name (API note, 4.1)."""

    property_id: str | None
    name: str | None

    @property
    def address(self) -> tuple[str, str]:
        """The same for two references to one property.

        Whether MainBrainer tells `Street` from `street` is not documented (API note, section
        8.6), so names are compared as written.

        >>> PropertyRef("8E8B", "zip").address == PropertyRef("8e8b", None).address
        True
        """
        if self.property_id is not None:
            return "id", self.property_id.lower()
        return "name", self.name or ""


class ContactField(enum.StrEnum):
    """The fields of a contact that a column can be, beside a property."""

    CONTACT_ID = "contact_id"
    MOBILE = "mobile"
    MOBILE_COUNTRY_CODE = "mobile_country_code"
    EMAIL = "email"
    MOBILE_OPT_IN = "mobile_opt_in"
    EMAIL_OPT_IN = "email_opt_in"
    LIST_ID = "list_id"


OPT_INS = (ContactField.MOBILE_OPT_IN, ContactField.EMAIL_OPT_IN)
MAPPABLE_FIELDS = {field.value: field for field in ContactField} | {
    "mobile_number": ContactField.MOBILE,
    "mobile_country": ContactField.MOBILE_COUNTRY_CODE,
}
"""Two fields have two names: a number may have its country code, a country may be an ISO code."""


class Contact(PrivateStruct, frozen=True, gc=False):
    """One contact to be upserted. A field that is None is not sent, and stays as it is in the CRM.

    Attributes:
        contact_id: The CRM's own id.
        mobile: The mobile number.
        email: The e-mail address as written in the source.
        mobile_opt_in: Consent to SMS; None if the source does not say.
        email_opt_in: Consent to e-mail; None if the source does not say.
        properties: Property values in sending order; an empty text clears the value.
        list_id: Only from a column that is mapped to `list_id`; else the stream's list counts.
    """

    contact_id: int | None = None
    mobile: Mobile | None = None
    email: str | None = None
    mobile_opt_in: bool | None = None
    email_opt_in: bool | None = None
    properties: dict[PropertyRef, str] = {}
    list_id: str | None = None


class Identity(PrivateStruct, frozen=True, gc=False):
    """The key that the CRM matches a contact on: its id, or else mobile and e-mail together."""

    contact_id: int | None = None
    mobile: Mobile | None = None
    email: str | None = None


def identity_of(contact: Contact) -> Identity | None:
    """Return what the CRM will match this contact on, or None if nothing can (API note, 8.1).

    An e-mail address alone matches only contacts *without* a mobile number, so
    `(None, "a@example.com")` and `(4790000000, "a@example.com")` are two people to MainBrainer.
    We keep the distinction rather than guess, and compare e-mail addresses as written, because
    no page says whether case matters.

    >>> identity_of(Contact(email="a@example.com"))
    Identity(contact_id=None, mobile=None, email=<hidden>)
    >>> identity_of(Contact(contact_id=7, email="a@example.com")) == Identity(contact_id=7)
    True
    >>> identity_of(Contact()) is None
    True
    """
    if contact.contact_id is not None:
        return Identity(contact.contact_id)
    if contact.mobile is None and contact.email is None:
        return None
    return Identity(None, contact.mobile, contact.email)


def with_identity(contact: Contact, like: Contact | Identity) -> Contact:
    """Return a contact under another identity: contact id, mobile and e-mail of `like`."""
    return replace(contact, contact_id=like.contact_id, mobile=like.mobile, email=like.email)


_NEEDLESS_QUOTES = re.compile(r'^"([\w+-]+(?:\.[\w+-]+)*)"(?=@[^@]*$)')


def fold_email(email: str) -> str:
    """Return an e-mail address in the one spelling by which addresses are compared.

    Case, blanks around it, full-width and decomposed letters do not count, nor quotes that are
    not needed, and an international domain is the same as its Punycode. It is never sent.

    >>> fold_email(" Ola@Bücher.example"), fold_email("ola@xn--bcher-kva.example")
    ('ola@bücher.example', 'ola@bücher.example')
    """
    folded = _NEEDLESS_QUOTES.sub(r"\1", email.strip()) if '"' in email else email.strip()
    if folded.isascii() and "xn--" not in (lower := folded.lower()):
        return lower
    local, at, domain = _folded(folded).replace("\u3002", ".").rpartition("@")
    domain = _folded(".".join(map(_without_punycode, domain.split("."))))
    return f"{local}{at}{domain}"


def _folded(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).casefold()
    return unicodedata.normalize("NFKC", text).strip()


def _without_punycode(label: str) -> str:
    if label.startswith("xn--"):
        with contextlib.suppress(UnicodeError):
            return label[4:].encode().decode("punycode")
    return label


def identifiers_of(contact: Contact | Identity) -> tuple[Hashable, ...]:
    """Return every identifier alone, in a form that errs on the side of "the same".

    Two contacts that share one of these may be the same record to the CRM, so they must never
    be in flight together. E-mail addresses are folded and the mobile number loses its country
    code, because it is unknown whether they count for the CRM (API note, section 8.1).

    An address is a text and a number an integer, which keeps the two apart and is quick to look
    up; a contact id, which would be an integer too, is marked as one.

    >>> identifiers_of(Contact(email="Ola@Example.com", mobile=Mobile(47, 90812501), contact_id=7))
    (('contact_id', 7), 90812501, 'ola@example.com')
    """
    identifiers: list[Hashable] = []
    if contact.contact_id is not None:
        identifiers.append(("contact_id", contact.contact_id))
    if contact.mobile is not None:
        identifiers.append(contact.mobile.number)
    if contact.email is not None:
        identifiers.append(fold_email(contact.email))
    return tuple(identifiers)


def merge(earlier: Contact, later: Contact) -> Contact:
    """Return the one upsert that does the same as the two in a row.

    Fields of the later one win, and those that only the earlier one had stay, because the API
    leaves omitted fields as they are (API note, section 8.2).

    A property that the later contact has too moves to its place there, so that its value is the
    last one even if the CRM should take two references (`Street` and `street`, a name and an id)
    for one property.

    Both must have the same identity and go to the same list. Whether the contacts between the two
    in the input allow it is for the caller to decide.

    >>> merged = merge(
    ...     Contact(contact_id=7, email="a@example.com", email_opt_in=True),
    ...     Contact(contact_id=7, email_opt_in=False),
    ... )
    >>> merged.email, merged.email_opt_in
    ('a@example.com', False)
    """
    replaced = {ref.address for ref in later.properties}
    kept = {ref: text for ref, text in earlier.properties.items() if ref.address not in replaced}
    given = {name: value for name, value in asdict(later).items() if value is not None}
    return replace(earlier, **given | {"properties": kept | later.properties})


class RejectionCode(enum.StrEnum):
    """The fault of a record in one word: stable, and the key by which rejections are grouped."""

    NO_IDENTITY = "no_identity"
    INVALID_EMAIL = "invalid_email"
    INVALID_MOBILE = "invalid_mobile"
    NO_COUNTRY_CODE = "no_country_code"
    INVALID_COUNTRY_CODE = "invalid_country_code"
    LEADING_ZERO = "leading_zero"
    INVALID_CONTACT_ID = "invalid_contact_id"
    INVALID_LIST_ID = "invalid_list_id"
    INVALID_CONSENT = "invalid_consent"
    UNUSABLE_COLUMNS = "unusable_columns"
    UNSENDABLE_TEXT = "unsendable_text"
    UNSENDABLE_VALUE = "unsendable_value"
    NOT_A_NUMBER = "not_a_number"
    MISSING_KEY = "missing_key"
    SCHEMA_MISMATCH = "schema_mismatch"
    STREAM_MAP_FAILED = "stream_map_failed"
    IDENTITY_TAKEN = "identity_taken"


class Rejection(t.NamedTuple):
    """Why a record cannot become a contact.

    Attributes:
        code: One of `RejectionCode` if the record was refused before sending.
        reason: A full sentence that names columns, and never repeats a value of the record.
        withdrawal: The identity that is left of the record with the opt-ins that are False, which
            can be sent although the record is rejected; None if there is none.
    """

    code: str
    reason: str
    withdrawal: Contact | None = None
