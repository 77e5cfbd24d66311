"""The API's JSON: spelt as its pages spell it, and read however it comes."""

from __future__ import annotations

import contextlib
import json
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer.api import wire
from target_mainbrainer.contacts.contact import Contact, Mobile, PropertyRef

LIST_ID = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
ZIP_ID = "8e8b8450-dc1b-4360-8109-7067337b42cb"

JENNIFER = Contact(
    contact_id=234567,
    mobile=Mobile(47, 90812501),
    email="apitest@example.com",
    mobile_opt_in=True,
    email_opt_in=True,
    properties={
        PropertyRef(LIST_ID, "firstname"): "jennifer",
        PropertyRef(None, "lastname"): "merg",
        PropertyRef(ZIP_ID, None): "0236",
    },
)
MARK = Contact(mobile=Mobile(47, 93454496), mobile_opt_in=False)


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


# --- Requests


def test_a_batch_is_spelt_as_on_the_batch_page() -> None:
    body = wire.encode_batch(
        [wire.encode_contact(JENNIFER), wire.encode_contact(MARK)],
        list_id=LIST_ID,
        webhook_url="https://webhook-url.example.com",
    )
    assert json.loads(body) == {
        "listId": LIST_ID,
        "createUpdateContacts": [
            {
                "contactId": 234567,
                "mobileCountryCode": 47,
                "mobileNumber": 90812501,
                "mobileOptIn": True,
                "email": "apitest@example.com",
                "emailOptIn": True,
                "propertyfields": [
                    {
                        "propertyid": LIST_ID,
                        "propertyname": "firstname",
                        "propertyvalue": "jennifer",
                    },
                    {"propertyname": "lastname", "propertyvalue": "merg"},
                    {"propertyid": ZIP_ID, "propertyvalue": "0236"},
                ],
            },
            {"mobileCountryCode": 47, "mobileNumber": 93454496, "mobileOptIn": False},
        ],
        "webhookUrl": "https://webhook-url.example.com",
    }


def test_a_single_contact_is_spelt_as_on_its_own_page() -> None:
    assert json.loads(wire.encode_single(JENNIFER, list_id=LIST_ID)) == {
        "listId": LIST_ID,
        "contactId": 234567,
        "mobileCountryCode": 47,
        "mobileNumber": 90812501,
        "mobileOptIn": True,
        "email": "apitest@example.com",
        "emailOptIn": True,
        "propertyFields": [
            {"propertyId": LIST_ID, "propertyName": "firstname", "propertyValue": "jennifer"},
            {"propertyName": "lastname", "propertyValue": "merg"},
            {"propertyId": ZIP_ID, "propertyValue": "0236"},
        ],
    }


def test_what_is_absent_is_left_out_and_what_is_cleared_is_not() -> None:
    contact = Contact(email="a@example.com", properties={PropertyRef(None, "zip"): ""})
    assert json.loads(wire.encode_contact(contact)) == {
        "email": "a@example.com",
        "propertyfields": [{"propertyname": "zip", "propertyvalue": ""}],
    }
    assert json.loads(wire.encode_single(contact)) == {
        "email": "a@example.com",
        "propertyFields": [{"propertyName": "zip", "propertyValue": ""}],
    }


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=8), st.emails())
def test_any_text_survives_the_wire(properties: dict[str, str], email: str) -> None:
    contact = Contact(
        email=email, properties={PropertyRef(None, name): v for name, v in properties.items()}
    )
    (read,) = json.loads(wire.encode_batch([wire.encode_contact(contact)]))["createUpdateContacts"]
    fields = read.get("propertyfields", [])
    assert read["email"] == email
    assert {item["propertyname"]: item["propertyvalue"] for item in fields} == properties


def test_the_values_of_a_request_are_found_again_in_its_body() -> None:
    body = wire.encode_batch([wire.encode_contact(JENNIFER)], list_id=LIST_ID)
    secrets = wire.encode_credentials(
        username="ola@example.com", password="made up", private_token="made-up", validity="Default"
    )
    assert set(wire.values_sent(body)) == {
        "234567",
        "90812501",
        "apitest@example.com",
        "jennifer",
        "merg",
        "0236",
    }
    assert set(wire.values_sent(wire.encode_single(JENNIFER))) == set(wire.values_sent(body))
    assert set(wire.values_sent(secrets)) == {"ola@example.com", "made up", "made-up"}
    assert list(wire.values_sent(None)) == []


# --- Answers

PORTAL_ANSWER = b"""{
    "status": "Success",
    "message": "Batch request accepted",
    "data": {
        "BatchId": "ce2c2e48-47e4-4aa0-b4e7-c9deebe29852",
        "Processed": null,
        "ContactId": null,
        "InvalidProperties": [],
        "InvalidContactIds": [],

    }
}"""


def test_the_batch_pages_own_sample_is_read_trailing_comma_and_all() -> None:
    answer = wire.decode_batch_answer(202, PORTAL_ANSWER)
    assert answer == wire.BatchAccepted(batch_id="ce2c2e48-47e4-4aa0-b4e7-c9deebe29852")


def test_the_openapi_shape_is_read() -> None:
    answer = wire.decode_batch_answer(
        202,
        json.dumps(
            {
                "status": "Success",
                "message": "string",
                "data": {
                    "batchId": "ce2c2e48",
                    "processed": "string",
                    "contactId": "string",
                    "status": 0,
                    "message": "string",
                    "invalidPropertiesList": [
                        {"propertyId": ZIP_ID, "propertyName": "zip", "propertyValue": "0236"}
                    ],
                    "invalidContactIdList": ["17", 18],
                    "balance": {},
                },
            }
        ).encode(),
    )
    assert answer == wire.BatchAccepted(
        batch_id="ce2c2e48",
        invalid_contact_ids=frozenset({17, 18}),
        invalid_properties=(wire.InvalidProperty(ZIP_ID, "zip", "0236"),),
    )


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"status": "Success", "data": None}, id="data null"),
        pytest.param({"status": "Success"}, id="no data"),
        pytest.param({"Status": "success", "Data": {"BatchId": ""}}, id="empty, PascalCase"),
        pytest.param({"message": "Batch request accepted"}, id="message only"),
    ],
)
def test_a_batch_without_an_id_is_accepted(answer: dict[str, t.Any]) -> None:
    assert wire.decode_batch_answer(202, json.dumps(answer).encode()) == wire.BatchAccepted()


@pytest.mark.parametrize("status", ["Failed", "Error", False, 422])
def test_a_202_that_says_it_failed_is_a_refusal(status: object) -> None:
    body = json.dumps({"status": status, "message": "No such list", "data": {}}).encode()
    for read in (wire.decode_batch_answer, wire.decode_contact_answer):
        refusal = read(202, body)
        assert isinstance(refusal, wire.Refusal)
        assert (refusal.status, refusal.message) == (202, "No such list")


@pytest.mark.parametrize(
    ("body", "cut_off"),
    [
        pytest.param(b"<html><body>Sign in</body></html>", False, id="html"),
        pytest.param(b'{"status": "Success", "data": {"Batch', True, id="cut off"),
        pytest.param(PORTAL_ANSWER[:-1], True, id="cut off behind the trailing comma"),
        pytest.param(b"", True, id="nothing"),
        pytest.param(b'{"status": oops}', False, id="malformed"),
        pytest.param(b"[1, 2]", False, id="a list"),
        pytest.param(b"null", False, id="null"),
        pytest.param(b"{}", False, id="nothing of the API's"),
        pytest.param(b'{"login_url": "https://example.org"}', False, id="another API's"),
        pytest.param(b'{"status": "\xff"}', False, id="not utf-8"),
        pytest.param(b"[" * 100_000, False, id="absurdly deep"),
    ],
)
def test_what_is_not_the_apis_is_told_from_what_is_cut_off(body: bytes, *, cut_off: bool) -> None:
    with pytest.raises(wire.UnreadableAnswerError) as caught:
        wire.decode_batch_answer(202, body)
    assert caught.value.cut_off is cut_off


def test_a_single_answer_has_its_id_as_text() -> None:
    body = b'{"status": "Success", "data": {"contactId": "234567", "invalidContactIdList": ["9"]}}'
    assert wire.decode_contact_answer(202, body) == wire.ContactAccepted(
        contact_id=234567, invalid_contact_ids=frozenset({9})
    )
    nameless = b'{"status": "Success", "data": {"contactId": "string"}}'
    assert wire.decode_contact_answer(202, nameless) == wire.ContactAccepted()


PROCESSED = {
    "inserted": {"count": 3, "contactIds": [1, 2, 3]},
    "updated": {"count": "5", "contactIds": None},
    "skipped": {"count": 1, "contactIds": ["9"]},
}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(
            {"id": "x", "status": 2, "statusText": "Done", "processedObj": PROCESSED}, id="crm"
        ),
        pytest.param(
            {"Id": "x", "Status": 2, "StatusText": "Done", "ProcessedObj": PROCESSED},
            id="the siblings' PascalCase",
        ),
        pytest.param(
            {
                "status": "Success",
                "data": {"status": "2", "statusText": "Done", "processedObj": PROCESSED},
            },
            id="in an envelope",
        ),
    ],
)
def test_a_status_is_read_in_any_spelling(answer: dict[str, t.Any]) -> None:
    status = wire.decode_status(json.dumps(answer).encode())
    assert status == wire.BatchStatus(
        inserted=3,
        updated=5,
        skipped=1,
        skipped_ids=frozenset({9}),
        status=2,
        status_text="Done",
    )
    assert status.processed == 9


def test_a_failed_batch_says_why() -> None:
    body = b'{"status": 9, "statusFailedReason": "Out of contacts", "processedObj": null}'
    assert wire.decode_status(body).failed_reason == "Out of contacts"
    assert wire.decode_status(b'{"status": 0, "statusFailedReason": null}').failed_reason == ""
    with pytest.raises(wire.UnreadableAnswerError):
        wire.decode_status(b'{"error": "not found"}')


TOKEN = {
    "access_token": "made-up",
    "token_type": "Bearer",
    "expires_in": 120,
    "issued": "2020-05-29T04:21:56.0000000+00:00",
    "expires": "2020-05-29T06:21:56.0000000+00:00",
}


@pytest.mark.parametrize(
    ("changes", "lifetime"),
    [
        pytest.param({}, 7200, id="expires less issued"),
        pytest.param({"expires": "2020-05-29T06:21:56.5000000Z"}, 7200.5, id="7 digits and a Z"),
        pytest.param({"issued": None}, 120, id="expires_in as seconds"),
        pytest.param({"issued": "yesterday", "expires_in": "90"}, 90, id="unreadable date"),
        pytest.param({"issued": "2020-05-29T04:21:56"}, 120, id="one with a zone, one without"),
        pytest.param({"expires": TOKEN["issued"]}, 120, id="no time at all"),
        pytest.param({"issued": None, "expires_in": None}, None, id="not said"),
        pytest.param({"issued": None, "expires_in": -5}, None, id="negative"),
    ],
)
def test_a_tokens_life(changes: dict[str, object], lifetime: float | None) -> None:
    token = wire.decode_token(json.dumps(TOKEN | changes).encode())
    assert token == wire.Token("made-up", lifetime)
    assert "made-up" not in repr(token)


def test_an_answer_without_a_token_is_unreadable() -> None:
    for body in (b'{"access_token": ""}', b'{"message": "hello"}', b'{"access_token": 5}'):
        with pytest.raises(wire.UnreadableAnswerError):
            wire.decode_token(body)
    assert wire.decode_token(b'{"data": {"accessToken": "x"}}').value == "x"


# --- Refusals

TRACE = "00-982607166a542147b435be3a847ddd71-fc75498eb9f09d48-00"
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
        pytest.param(
            {"status": "Error", "message": "Contact person4@example.com is not valid."},
            "Contact person4@example.com is not valid.",
            [4],
            id="e-mail in the message",
        ),
        pytest.param(
            {"message": "Bad mobile", "data": {"message": "+44 7700 900 002 is not a mobile"}},
            "Bad mobile; +44 7700 900 002 is not a mobile",
            [2],
            id="mobile, spaced",
        ),
        pytest.param(
            {"message": "Error", "data": {"InvalidContactIds": ["70001", "70007"]}},
            "Error",
            [1, 7],
            id="contact ids",
        ),
        pytest.param(
            {
                "data": {
                    "invalidPropertiesList": [
                        {"propertyId": None, "propertyName": "ZIP", "propertyValue": "zip-6"}
                    ]
                }
            },
            "",
            [6],
            id="a property with its value",
        ),
        pytest.param(
            {"data": {"InvalidProperties": ["zip"]}}, "", [], id="a property that all of them have"
        ),
        pytest.param(
            PROBLEM,
            "One or more validation errors occurred.; $.createUpdateContacts[3].mobileNumber: The "
            "JSON value could not be converted.; createUpdateContacts[5].propertyFields[1]."
            "propertyValue: Too long.",
            [3, 5],
            id="problem details",
        ),
        pytest.param(
            {
                "title": "Validation failed",
                "errors": [{"detail": "Bad", "pointer": "#/createUpdateContacts/8/email"}],
            },
            "Validation failed; Bad; #/createUpdateContacts/8/email",
            [8],
            id="problem details, JSON pointer",
        ),
        pytest.param({"errors": {"[2].email": ["Bad."]}}, "[2].email: Bad.", [2], id="bare path"),
        pytest.param([{"contactId": 70009, "error": "gone"}], "gone", [9], id="a list of errors"),
        pytest.param("Contact 4 is bad", "Contact 4 is bad", [], id="an ordinal in prose"),
        pytest.param({"message": "List not found"}, "List not found", [], id="names nobody"),
        pytest.param({"errors": {"createUpdateContacts[99].email": "x"}}, None, [], id="no such"),
        pytest.param({}, "", [], id="empty object"),
        pytest.param(None, "", [], id="null"),
    ],
)
def test_a_refusal_names_its_suspects(body: object, message: str | None, named: list[int]) -> None:
    refusal = wire.decode_refusal(422, json.dumps(body).encode(), "application/json")
    assert wire.find_suspects(refusal, people(10)) == named
    assert refusal.status == 422
    assert TRACE not in refusal.message
    if message is not None:
        assert refusal.message == message


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        pytest.param(b"", "", "", id="empty"),
        pytest.param(
            b"<html><head><title>400 Bad &amp; Request</title><style>a{}</style></head></html>",
            "text/html",
            "400 Bad & Request",
            id="html with a title",
        ),
        pytest.param(b"<p>Not  here</p>", "", "Not here", id="html without"),
        pytest.param(b"Email is not\r\nvalid", "text/plain", "Email is not valid", id="plain"),
        pytest.param(b'{"message": "Bad', "application/json", "", id="cut off"),
        pytest.param(b"\xff\xfe\x00\x01", "application/octet-stream", "", id="binary"),
    ],
)
def test_a_refusal_may_come_in_any_form(body: bytes, content_type: str, message: str) -> None:
    assert wire.decode_refusal(400, body, content_type) == wire.Refusal(400, message)


def test_html_may_name_a_suspect_too() -> None:
    page = b"<html><title>Error</title><p>person3@example.com: invalid</p></html>"
    assert wire.find_suspects(wire.decode_refusal(400, page, "text/html"), people(5)) == [3]


def test_whoever_is_all_there_is_is_no_suspect() -> None:
    refusal = wire.decode_refusal(422, b'{"message": "person0@example.com is not valid"}')
    assert wire.find_suspects(refusal, people(1)) == []
    assert wire.find_suspects(refusal, people(2)) == [0]


def test_a_refusal_does_not_show_its_message_by_itself() -> None:
    refusal = wire.decode_refusal(422, b'{"message": "person0@example.com is not valid"}')
    assert "example" not in repr(refusal)


def test_a_property_is_meant_by_its_id_where_both_have_one() -> None:
    by_id = Contact(properties={PropertyRef(ZIP_ID.upper(), "postcode"): "0236"})
    others = [Contact(properties={PropertyRef(LIST_ID, "zip"): "0236"}), Contact()]
    body = {"data": {"InvalidProperties": [{"propertyid": ZIP_ID, "propertyname": "zip"}]}}
    refusal = wire.decode_refusal(422, json.dumps(body).encode())
    assert wire.find_suspects(refusal, [*others, by_id]) == [2]
    by_text = wire.decode_refusal(
        422, json.dumps({"data": {"InvalidProperties": [ZIP_ID]}}).encode()
    )
    assert wire.find_suspects(by_text, [*others, by_id]) == [2]


KEYS = ["status", "Message", "data", "errors", "InvalidProperties", "invalidContactIdList"]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(KEYS), inner),
)


@given(_JSON)
def test_no_json_breaks_the_reading(answer: object) -> None:
    body = json.dumps(answer).encode()
    refusal = wire.decode_refusal(400, body)
    assert len(refusal.message) <= 1000
    assert "\n" not in refusal.message
    wire.find_suspects(refusal, people(3))
    for read in (wire.decode_status, wire.decode_token):
        with contextlib.suppress(wire.UnreadableAnswerError):
            read(body)
    with contextlib.suppress(wire.UnreadableAnswerError):
        wire.decode_batch_answer(202, body)


@given(st.binary(max_size=200), st.sampled_from(["", "text/html", "application/json"]))
def test_no_bytes_break_the_reading(body: bytes, content_type: str) -> None:
    assert len(wire.decode_refusal(400, body, content_type).message) <= 1000
