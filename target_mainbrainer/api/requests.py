"""The bodies of requests, spelt exactly as on the page of their endpoint (API note, C1 and C2).

The two pages spell their fields differently, so each endpoint has its own. Nothing in here knows
a network, a clock or Singer.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterable

import msgspec

from target_mainbrainer.contacts import Contact
from target_mainbrainer.settings.declared import Settings

_OwnFields: t.TypeAlias = tuple[
    int | None, int | None, int | None, bool | None, str | None, bool | None
]
_encode: t.Final = msgspec.json.Encoder().encode

# gc=False: these live for the length of one encode call and cannot refer back to themselves.


class _BatchProperty(msgspec.Struct, gc=False, omit_defaults=True):
    property_id: str | None = msgspec.field(name="propertyid", default=None)
    name: str | None = msgspec.field(name="propertyname", default=None)
    value: str | None = msgspec.field(name="propertyvalue", default=None)


class _SingleProperty(msgspec.Struct, gc=False, omit_defaults=True, rename="camel"):
    property_id: str | None = None
    property_name: str | None = None
    property_value: str | None = None


class _Contact(msgspec.Struct, gc=False, omit_defaults=True, rename="camel"):
    contact_id: int | None = None
    mobile_country_code: int | None = None
    mobile_number: int | None = None
    mobile_opt_in: bool | None = None
    email: str | None = None
    email_opt_in: bool | None = None


class _BatchContact(_Contact, gc=False, omit_defaults=True, rename="camel"):
    properties: list[_BatchProperty] | None = msgspec.field(name="propertyfields", default=None)


class _Batch(msgspec.Struct, gc=False, omit_defaults=True, rename="camel"):
    list_id: str | None = None
    create_update_contacts: list[_BatchContact] = []
    webhook_url: str | None = None


class _SingleContact(_Contact, gc=False, omit_defaults=True, rename="camel"):
    property_fields: list[_SingleProperty] | None = None
    list_id: str | None = None


def encode_batch(
    contacts: Iterable[Contact], list_id: str | None = None, webhook_url: str | None = None
) -> bytes:
    """Return the body of a batch request, spelt as on the batch page.

    What is absent is left out, because an omitted field "will remain as it was" (API note,
    section 8.2), and a null or empty one may mean anything. The list is the batch's (C19).

    >>> from target_mainbrainer.contacts import Contact, Mobile, PropertyRef
    >>> lastname = {PropertyRef(None, "lastname"): "merg"}
    >>> print(encode_batch([Contact(mobile=Mobile(47, 90812501), properties=lastname)]).decode())
    ... # doctest: +NORMALIZE_WHITESPACE
    {"createUpdateContacts":[{"mobileCountryCode":47,"mobileNumber":90812501,"propertyfields":[{"propertyname":"lastname","propertyvalue":"merg"}]}]}
    """
    sent = [
        _BatchContact(
            *_own_fields(contact),
            [_BatchProperty(id_, name, text) for (id_, name), text in contact.properties.items()]
            or None,
        )
        for contact in contacts
    ]
    return _encode(_Batch(list_id or None, sent, webhook_url or None))


def encode_single(contact: Contact, *, list_id: str | None = None) -> bytes:
    """Return the body for `/contacts/insertupdate`, spelt as on its own page.

    >>> from target_mainbrainer.contacts import Contact
    >>> encode_single(Contact(email="apitest@example.com", email_opt_in=False))
    b'{"email":"apitest@example.com","emailOptIn":false}'
    """
    properties = [_SingleProperty(*ref, value) for ref, value in contact.properties.items()]
    return _encode(_SingleContact(*_own_fields(contact), properties or None, list_id))


def _own_fields(contact: Contact) -> _OwnFields:
    """Return the fields of `_Contact`."""
    mobile = contact.mobile
    return (
        contact.contact_id,
        None if mobile is None else mobile.country_code,
        None if mobile is None else mobile.number,
        contact.mobile_opt_in,
        contact.email,
        contact.email_opt_in,
    )


def encode_credentials(settings: Settings) -> bytes:
    """Return the body for `POST /token`, spelt as in its schema (API note, section 7 and C14)."""
    return _encode(
        {
            "userName": settings.username,
            "password": settings.password,
            "privateToken": settings.private_token,
            "validity": settings.token_validity,
        }
    )
