"""MainBrainer's own ids: of a contact, and of a list."""

from __future__ import annotations

import re

from target_mainbrainer.contacts.rejection import RejectionCode
from target_mainbrainer.mapping.numbers import INT64_MAX, positive_integer
from target_mainbrainer.mapping.values import InvalidValueError


def parse_contact_id(value: object) -> int | None:
    """Return the CRM's own id of a contact: a positive int64, digits in text too.

    >>> parse_contact_id("234567"), parse_contact_id(234567), parse_contact_id(" ")
    (234567, 234567, None)

    Raises:
        InvalidValueError: It is none.
    """
    return positive_integer(
        value,
        INT64_MAX,
        RejectionCode.INVALID_CONTACT_ID,
        "is no contact id: it should be a positive whole number",
    )


_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def parse_list_id(value: object) -> str | None:
    """Return the UUID of the list that a contact goes to.

    >>> parse_list_id("3fa85f64-5717-4562-b3fc-2c963f66afa6")
    '3fa85f64-5717-4562-b3fc-2c963f66afa6'

    Raises:
        InvalidValueError: It is no UUID.
    """
    text = "" if value is None else str(value).strip()
    if text and not _UUID.fullmatch(text):
        raise InvalidValueError(RejectionCode.INVALID_LIST_ID, "is not the UUID of a list")
    return text or None
