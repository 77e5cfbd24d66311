"""What records can hold, for the property-based tests."""

import decimal
import typing as t

from hypothesis import strategies as st

from target_mainbrainer.contacts import MAPPABLE_FIELDS


def nested(
    leaf: st.SearchStrategy[t.Any], names: st.SearchStrategy[str], leaves: int = 5
) -> st.SearchStrategy[t.Any]:
    """Return these values, and lists and dictionaries of them, some levels deep."""
    several = lambda one: st.lists(one, max_size=3) | st.dictionaries(names, one, max_size=3)  # noqa: E731
    return st.recursive(leaf, several, max_leaves=leaves)


ODD_TEXTS = ["\ud800", "\udfff half", "\0", "x" * 10_000, "\U0001f600", " ", ""]
ANY_TEXT = st.text(st.characters(exclude_categories=[])) | st.sampled_from(
    [*ODD_TEXTS, "\u202e\u0645\u0631\u062d\u0628\u0627"]
)
"""Lone surrogates, NUL, right-to-left text, emoji and very long texts included."""

ANY_DECIMAL = st.decimals(allow_nan=None, allow_infinity=None) | st.sampled_from(
    [decimal.Decimal(text) for text in ("1E+999999", "-1E-999999", "sNaN", "12.50", "1.0", "-0.0")]
)

PLAIN: st.SearchStrategy[t.Any] = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), ANY_DECIMAL, ANY_TEXT),
    *(st.datetimes(), st.dates(), st.times(), st.uuids(), st.binary()),
    st.integers(min_value=2**62, max_value=2**70),
    st.builds(lambda: 10**5000),  # its repr would raise
)

MEANT = st.sampled_from(
    [
        *["ola@example.com", " Kari@Example.org ", '"a b"@example.com', "4790812501.0"],
        *["+47 908 12 501", "+44 7700 900123", "07700 900123", "+225 07 00 00 00 00"],
        *["+1 202 555 0123 ext. 7", "\uff0b\uff14\uff17" + "\uff19" * 8],
        *[90812501, 47, "47", "yes", "No", "1", "subscribed", "2026-01-31T00:00:00Z"],
        *["3fa85f64-5717-4562-b3fc-2c963f66afa6", [{"propertyname": "x", "propertyvalue": "Oslo"}]],
        '[{"propertyId": "x", "propertyValue": 12.50}]',
    ]
)
"""Values with a chance to get past the first check."""

DEEP: t.Any = []
for _ in range(20_000):
    DEEP = [DEEP]

VALUES = MEANT | nested(PLAIN, ANY_TEXT, leaves=8)

OTHER_NAMES = ["Email", "contactId", "propertyfields", "_sdc_deleted_at", "_sdc_filename"]
COLUMNS = st.sampled_from([*MAPPABLE_FIELDS, *OTHER_NAMES, "phone", "id", ""]) | ANY_TEXT
TARGETS: st.SearchStrategy[t.Any] = st.one_of(
    st.none(),
    st.sampled_from([*MAPPABLE_FIELDS]),
    ANY_TEXT,
    st.builds(lambda name: {"property_name": name}, ANY_TEXT),
    st.builds(lambda ref: {"property_id": str(ref)}, st.uuids()),
)
RECORDS = st.dictionaries(COLUMNS, VALUES, max_size=10)
LIKELY_RECORDS = st.fixed_dictionaries(
    {"email": st.just("ola@example.com")},
    optional=dict.fromkeys(["propertyfields", "note", "more", "_sdc_deleted_at"], VALUES)
    | {"mobile": MEANT, "mobile_opt_in": MEANT | st.booleans(), "email_opt_in": VALUES},
)
"""Records that have a chance to become contacts, with anything else in them."""
