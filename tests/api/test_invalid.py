"""What a response names as invalid is never "all fine", even if it cannot be read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer.api.answers import (
    Accepted,
    InvalidContacts,
    InvalidProperty,
    decode_accepted,
    invalid_contacts,
    invalid_properties,
    properties_sent,
)
from target_mainbrainer.contacts import PropertyRef

ZIP_ID = "8e8b8450-dc1b-4360-8109-7067337b42cb"


@pytest.mark.parametrize(
    ("entries", "ids", "unreadable"),
    [
        *(([1005], {1005}, 0), (1005, {1005}, 0), (["1005", " 7 "], {1005, 7}, 0)),
        *(([{"contactId": 1005}], set(), 1), ({"1005": "gone"}, set(), 1)),
        *((["kari@example.com", 1005], {1005}, 1), ([ZIP_ID], set(), 1), ([10**30], set(), 1)),
        *(([None, True, 1005.5, {}], set(), 4), ([], set(), 0), (None, set(), 0), ("", set(), 0)),
    ],
)
@pytest.mark.parametrize(
    "key", ["InvalidContactIds", "invalidContactIdList", "invalid_contact_ids"]
)
def test_contacts_are_named_in_any_form(
    key: str, entries: object, ids: set[int], unreadable: int
) -> None:
    body = json.dumps({"status": "Success", "data": {"BatchId": "b", key: entries}}).encode()
    expected = InvalidContacts(frozenset(ids), unreadable)
    assert decode_accepted(202, body) == Accepted("b", invalid_contacts=expected)


def test_both_lists_count_if_both_are_there() -> None:
    named = invalid_contacts({"invalidcontactids": [1], "invalidcontactidlist": [2, "x"]})
    assert named == InvalidContacts(frozenset({1, 2}), 1)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(_JSON)
def test_an_entry_is_read_or_counted(entry: object) -> None:
    named = invalid_contacts({"invalidcontactids": [entry]})
    assert named.ids or named.unreadable


def test_only_properties_that_were_sent_are_named() -> None:
    sent = [PropertyRef(None, "zip"), PropertyRef(ZIP_ID, "street"), PropertyRef(LIST_ID, None)]
    named = [
        InvalidProperty(None, "ZIP"),
        InvalidProperty(ZIP_ID.upper(), "whatever"),
        InvalidProperty(None, LIST_ID),
        InvalidProperty(None, "kari@example.com\nERROR forged"),
        InvalidProperty(None, "Kari"),
        InvalidProperty(None, "Kari"),
        InvalidProperty(None, None),
    ]
    assert properties_sent(named, sent) == (frozenset({"zip", "street", LIST_ID}), 3)


LIST_ID = "3fa85f64-5717-4562-b3fc-2c963f66afa6"


def test_properties_are_named_in_any_form() -> None:
    assert invalid_properties({"invalidproperties": "zip"}) == (InvalidProperty(None, "zip"),)
    assert invalid_properties({"invalidpropertieslist": [{}, 7]}) == (
        InvalidProperty(None, None),
        InvalidProperty(None, "7"),
    )
    with_value = {"PropertyId": ZIP_ID, "propertyName": "zip", "property_value": "0236"}
    assert invalid_properties({"invalidproperties": [with_value]}) == (
        InvalidProperty(ZIP_ID, "zip", "0236"),
    )
