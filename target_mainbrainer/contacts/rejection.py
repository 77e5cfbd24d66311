"""Why a record becomes no contact."""

from __future__ import annotations

import enum
import typing as t


class RejectionCode(enum.StrEnum):
    """What is wrong with a record, in one word: stable, and what rejections are grouped by."""

    NO_IDENTITY = "no_identity"
    INVALID_EMAIL = "invalid_email"
    INVALID_MOBILE = "invalid_mobile"
    NO_COUNTRY_CODE = "no_country_code"
    INVALID_COUNTRY_CODE = "invalid_country_code"
    LEADING_ZERO = "leading_zero"
    INVALID_CONTACT_ID = "invalid_contact_id"
    INVALID_LIST_ID = "invalid_list_id"
    INVALID_CONSENT = "invalid_consent"
    INVALID_PROPERTIES = "invalid_properties"
    AMBIGUOUS_PROPERTY = "ambiguous_property"
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
    """

    code: str
    reason: str
