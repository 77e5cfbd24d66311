"""Refusals are read in any form, and the contacts that they name are found."""

from __future__ import annotations

import contextlib
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer.api.answers import (
    Refused,
    UnreadableResponseError,
    decode_accepted,
    decode_refusal,
    decode_status,
    decode_token,
)
from target_mainbrainer.contacts import Contact, Mobile, PropertyRef

LIST_ID = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
ZIP_ID = "8e8b8450-dc1b-4360-8109-7067337b42cb"


def people(count: int) -> list[Contact]:
    return [
        Contact(
            contact_id=70_000 + number,
            email=f"person{number}@example.com",
            mobile=Mobile(44, 7700900000 + number),
            properties={PropertyRef(None, "zip"): f"zip-{number}"},
        )
        for number in range(count)
    ]


def find_suspects(refusal: Refused, contacts: list[Contact]) -> list[int]:
    return dataclasses.replace(refusal, contacts=contacts).suspects


TRACE = "00-982607166a542147b435be3a847ddd71-fc75498eb9f09d48-00"
ZIP_6 = {"propertyId": None, "propertyName": "ZIP", "propertyValue": "zip-6"}
PROBLEM = {
    "type": "https://tools.ietf.org/html/rfc9110#section-15.5.1",
    "title": "One or more validation errors occurred.",
    "status": 400,
    "traceId": TRACE,
    "errors": {
        "$.createUpdateContacts[3].mobileNumber": ["The JSON value could not be converted."],
        "createUpdateContacts[5].propertyFields[1].propertyValue": ["Too long."],
    },
}


@pytest.mark.parametrize(
    ("body", "message", "named"),
    [
        ({"status": "Error", "message": "No person4@example.com."}, "No person4@example.com.", [4]),
        (
            {"message": "Bad mobile", "data": {"message": "+44 7700 900 002 is not a mobile"}},
            "Bad mobile; +44 7700 900 002 is not a mobile",
            [2],
        ),
        ({"message": "No", "data": {"InvalidContactIds": ["70001", "70007"]}}, "No", [1, 7]),
        ({"data": {"invalidPropertiesList": [ZIP_6]}}, "", [6]),
        ({"data": {"InvalidProperties": ["zip"]}}, "", []),  # all of them have it
        (
            PROBLEM,
            (
                "One or more validation errors occurred.; $.createUpdateContacts[3].mobileNumber: "
                "The JSON value could not be converted.; createUpdateContacts[5].propertyFields[1]."
                "propertyValue: Too long."
            ),
            [3, 5],
        ),
        ("Contact 4 is bad", "Contact 4 is bad", []),  # an ordinal in prose
        ({"message": "List not found"}, "List not found", []),
        ({"errors": {"createUpdateContacts[99].email": "x"}}, None, []),
        *(({}, "", []), (None, "", [])),
    ],
)
def test_a_refusal_names_its_suspects(body: object, message: str | None, named: list[int]) -> None:
    refusal = decode_refusal(422, json.dumps(body).encode(), "application/json")
    assert find_suspects(refusal, people(10)) == named
    assert refusal.status == 422
    assert TRACE not in refusal.unredacted
    if message is not None:
        assert refusal.unredacted == message


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (
            b"<html><head><title>400 Bad &amp; Request</title><style>a{}</style></head></html>",
            "text/html",
            "400 Bad & Request",
        ),
        *((b"", "", ""), (b"<p>Not here</p>", "", "")),
        (b"Email is not\r\nvalid", "text/plain", "Email is not valid"),
        (b'{"message": "Bad', "application/json", ""),
        (b"\xff\xfe\x00\x01", "application/octet-stream", ""),
    ],
)
def test_a_refusal_may_come_in_any_form(body: bytes, content_type: str, message: str) -> None:
    assert decode_refusal(400, body, content_type) == Refused(400, message)


def test_a_suspect_is_found_in_whatever_case_and_form_it_is_named() -> None:
    """But whoever is all there is is no suspect; and nobody is shown by a refusal."""
    for body in (
        b'{"message": "PERSON0@EXAMPLE.COM"}',
        b"<title>No</title><p>person0@example.com:",
    ):
        refusal = decode_refusal(422, body)
        assert find_suspects(refusal, people(2)) == [0]
        assert find_suspects(refusal, people(1)) == []
        assert "example" not in repr(refusal).casefold()
        capitals = [Contact(email="Person0@Example.com"), *people(3)[1:]]
        assert find_suspects(refusal, capitals) == [0]


def test_a_property_is_meant_by_its_id_where_both_have_one() -> None:
    by_id = Contact(properties={PropertyRef(ZIP_ID.upper(), "postcode"): "0236"})
    others = [Contact(properties={PropertyRef(LIST_ID, "zip"): "0236"}), Contact()]
    for named in ({"propertyid": ZIP_ID, "propertyname": "zip"}, ZIP_ID):
        body = json.dumps({"data": {"InvalidProperties": [named]}}).encode()
        assert find_suspects(decode_refusal(422, body), [*others, by_id]) == [2]


KEYS = ["status", "Message", "data", "errors", "InvalidProperties", "invalidContactIdList"]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(KEYS), inner),
)


@given(_JSON)
def test_no_json_breaks_the_reading(answer: object) -> None:
    body = json.dumps(answer).encode()
    refusal = decode_refusal(400, body)
    assert len(refusal.unredacted) <= 4000
    assert "\n" not in refusal.unredacted
    find_suspects(refusal, people(3))
    for read in (decode_status, decode_token):
        with contextlib.suppress(UnreadableResponseError):
            read(body)
    with contextlib.suppress(UnreadableResponseError):
        decode_accepted(202, body)


@given(st.binary(max_size=200), st.sampled_from(["", "text/html", "application/json"]))
def test_no_bytes_break_the_reading(body: bytes, content_type: str) -> None:
    assert len(decode_refusal(400, body, content_type).unredacted) <= 4000


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "body",
    [
        *(b"a" * 4_000_000, b"<" * 4_000_000, b"<script " * 500_000),
        *(b'{"message": "%s"}' % (two * 2_000_000) for two in (b"a.", b"1 ", b"a@")),
    ],
    ids=lambda body: body[:16].decode(),
)
def test_no_refusal_takes_long_to_read(body: bytes) -> None:
    assert len(decode_refusal(422, body, "text/html").unredacted) <= 4000
