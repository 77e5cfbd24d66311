"""What the CRM matches a contact on, and what two upserts of one contact come to."""

from __future__ import annotations

import typing as t

import msgspec
from typing_extensions import override

from target_mainbrainer.contacts.contact import HIDDEN, Contact, Mobile

if t.TYPE_CHECKING:
    from collections.abc import Hashable


class Identity(msgspec.Struct, frozen=True, gc=False):
    """What the CRM matches a contact on: its id, or else mobile and e-mail together."""

    contact_id: int | None = None
    mobile: Mobile | None = None
    email: str | None = None

    @override
    def __repr__(self) -> str:
        shown = (f"{name}={_hide(getattr(self, name))}" for name in self.__struct_fields__)
        return f"Identity({', '.join(shown)})"

    @override
    def __rich_repr__(self) -> list[tuple[str, t.Any]]:
        """Keep pretty printers from showing the values after all."""
        return []


def _hide(value: object) -> str | None:
    return None if value is None else HIDDEN


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


def identifiers_of(contact: Contact) -> tuple[Hashable, ...]:
    """Return every identifier alone, in a form that errs on the side of "the same".

    Two contacts that share one of these may be the same record to the CRM, so they must never
    be in flight together. E-mail addresses lose their case and the mobile number its country
    code, because it is unknown whether they count for the CRM (API note, section 8.1).

    An address is a text and a number an integer, which keeps the two apart and is quick to look
    up; a contact id, which would be an integer too, says what it is.

    >>> identifiers_of(Contact(email="Ola@Example.com", mobile=Mobile(47, 90812501), contact_id=7))
    (('contact_id', 7), 90812501, 'ola@example.com')
    """
    identifiers: list[Hashable] = []
    if contact.contact_id is not None:
        identifiers.append(("contact_id", contact.contact_id))
    if contact.mobile is not None:
        identifiers.append(contact.mobile.number)
    if contact.email is not None:
        identifiers.append(contact.email.strip().casefold())
    return tuple(identifiers)


def merge(earlier: Contact, later: Contact) -> Contact:
    """Return the one upsert that does what two in a row would do.

    Fields of the later one win, and what only the earlier one had stays, because the API leaves
    omitted fields as they are (API note, section 8.2). That holds field by field: a later
    number without a country code keeps the earlier one's code.

    A property that the later contact has too moves to its place there. So the last word is
    spoken last, even if the CRM should take two references (`Street` and `street`, a name and
    an id) for one property.

    Both must have the same identity and go to the same list. Whether what lies between the two
    in the input allows it is for the caller to say.

    >>> merged = merge(
    ...     Contact(contact_id=7, email="a@example.com", email_opt_in=True),
    ...     Contact(contact_id=7, email_opt_in=False),
    ... )
    >>> merged.email, merged.email_opt_in
    ('a@example.com', False)
    """
    replaced = {ref.address for ref in later.properties}
    kept = {ref: text for ref, text in earlier.properties.items() if ref.address not in replaced}
    return Contact(
        contact_id=_later(earlier.contact_id, later.contact_id),
        mobile=_merge_mobile(earlier.mobile, later.mobile),
        email=_later(earlier.email, later.email),
        mobile_opt_in=_later(earlier.mobile_opt_in, later.mobile_opt_in),
        email_opt_in=_later(earlier.email_opt_in, later.email_opt_in),
        properties=kept | later.properties,
        list_id=_later(earlier.list_id, later.list_id),
    )


_T = t.TypeVar("_T")


def _later(earlier: _T | None, later: _T | None) -> _T | None:
    return earlier if later is None else later


def _merge_mobile(earlier: Mobile | None, later: Mobile | None) -> Mobile | None:
    if earlier is None or later is None:
        return _later(earlier, later)
    return Mobile(_later(earlier.country_code, later.country_code), later.number)
