"""Responses are read in every spelling that the pages have."""

from __future__ import annotations

import json
import typing as t

import pytest

from target_mainbrainer.api.answers import (
    Accepted,
    BatchStatus,
    InvalidContacts,
    InvalidProperty,
    Refused,
    Token,
    UnreadableResponseError,
    decode_accepted,
    decode_status,
    decode_token,
)

ZIP_ID = "8e8b8450-dc1b-4360-8109-7067337b42cb"


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
    answer = decode_accepted(202, PORTAL_ANSWER)
    assert answer == Accepted(batch_id="ce2c2e48-47e4-4aa0-b4e7-c9deebe29852")


def accepted(answer: object) -> object:
    return decode_accepted(202, json.dumps(answer).encode())


def test_the_openapi_shape_is_read() -> None:
    data = {"batchId": "ce2c2e48", "processed": "string", "contactId": "string", "status": 0}
    invalid = [{"propertyId": ZIP_ID, "propertyName": "zip", "propertyValue": "0236"}]
    lists = {"invalidPropertiesList": invalid, "invalidContactIdList": ["17", 18], "balance": {}}
    answer = accepted({"status": "Success", "message": "string", "data": {**data, **lists}})
    assert answer == Accepted(
        batch_id="ce2c2e48",
        invalid_contacts=InvalidContacts(frozenset({17, 18})),
        invalid_properties=(InvalidProperty(ZIP_ID, "zip", "0236"),),
    )


@pytest.mark.parametrize(
    "answer",
    [
        *({"status": "Success", "data": None}, {"status": "Success"}),
        *({"Status": "success", "Data": {"BatchId": ""}}, {"message": "Batch request accepted"}),
        {"status": "Success", "data": {"BatchId": "x" * 201}},  # which nobody can ask for
    ],
)
def test_a_batch_without_an_id_is_accepted(answer: dict[str, t.Any]) -> None:
    assert accepted(answer) == Accepted()


@pytest.mark.parametrize("status", ["Failed", "Error"])
def test_a_202_that_says_it_failed_is_a_refusal(status: object) -> None:
    refusal = accepted({"status": status, "message": "No such list", "data": {}})
    assert isinstance(refusal, Refused)
    assert (refusal.status, refusal.unredacted) == (202, "No such list")


@pytest.mark.parametrize(
    ("body", "cut_off"),
    [
        *((b"<html><body>Sign in</body></html>", False), (b'{"status": "\xff"}', False)),
        *(
            (b'{"status": "Success", "data": {"Batch', True),
            (PORTAL_ANSWER[:-1], True),
            (b"", True),
        ),
        *((b'{"status": oops}', False), (b"[1, 2]", False), (b"null", False), (b"{}", False)),
        *((b'{"login_url": "https://example.org"}', False), (b"[" * 100_000, False)),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_what_is_not_the_apis_is_told_from_what_is_cut_off(body: bytes, *, cut_off: bool) -> None:
    with pytest.raises(UnreadableResponseError) as caught:
        decode_accepted(202, body)
    assert caught.value.cut_off is cut_off


def test_a_single_answer_names_its_contact_and_no_batch() -> None:
    body = b'{"status": "Success", "data": {"contactId": "234567", "invalidContactIdList": ["9"]}}'
    assert decode_accepted(202, body) == Accepted(invalid_contacts=InvalidContacts(frozenset({9})))


PROCESSED = {
    "inserted": {"count": 3, "contactIds": [1, 2, 3]},
    "updated": {"count": "5", "contactIds": None},
    "skipped": {"count": 1, "contactIds": ["9"]},
}


@pytest.mark.parametrize(
    "answer",
    [
        {"id": "x", "status": 2, "statusText": "Done", "processedObj": PROCESSED},
        {"Id": "x", "Status": 2, "StatusText": "Done", "ProcessedObj": PROCESSED},
    ],
    ids=["camelCase", "PascalCase, as its siblings"],
)
def test_a_status_is_read_in_any_spelling(answer: dict[str, t.Any]) -> None:
    status = decode_status(json.dumps(answer).encode())
    assert status == BatchStatus(
        inserted=3,
        updated=5,
        skipped=1,
        inserted_ids=frozenset({1, 2, 3}),
        skipped_ids=frozenset({9}),
    )
    assert status.processed == 9


def test_what_is_no_status_is_said_to_be_none() -> None:
    for body in (b'{"hello": "world"}', b'{"error": "not found"}'):
        with pytest.raises(UnreadableResponseError, match="none of the fields of a batch status"):
            decode_status(body)


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
        ({}, 7200),
        ({"expires": "2020-05-29T06:21:56.5000000Z"}, 7200.5),
        ({"issued": None}, 120),
        ({"issued": "yesterday", "expires_in": "90"}, 90),
        ({"issued": "2020-05-29T04:21:56"}, 120),  # one with a zone, one without
        ({"expires": TOKEN["issued"]}, 120),
        ({"issued": None, "expires_in": None}, None),
        ({"issued": None, "expires_in": -5}, None),
    ],
)
def test_a_tokens_life(changes: dict[str, object], lifetime: float | None) -> None:
    token = decode_token(json.dumps(TOKEN | changes).encode())
    assert token == Token("made-up", lifetime)
    assert "made-up" not in repr(token)


def test_an_answer_without_a_token_is_unreadable() -> None:
    for body in (b'{"access_token": ""}', b'{"message": "hello"}', b'{"access_token": 5}'):
        with pytest.raises(UnreadableResponseError):
            decode_token(body)
    assert decode_token(b'{"accessToken": "x"}').value == "x"


# --- What no page describes


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("Out of contacts", "Out of contacts"),
        *(({"code": 7}, '{"code":7}'), (["Out of contacts"], '["Out of contacts"]')),
        *(([], ""), (False, ""), ("  ", ""), (None, "")),
    ],
)
def test_a_reason_for_a_failure_may_have_any_form(reason: object, said: str) -> None:
    body = json.dumps({"status": 3, "statusFailedReason": reason, "processedObj": PROCESSED})
    assert decode_status(body.encode()).failed_reason == said


@pytest.mark.parametrize("life", [b"1" + b"0" * 400, b'"1e400"', b"-1"])
def test_a_life_that_no_token_can_have_is_no_life(life: bytes) -> None:
    assert decode_token(b'{"access_token": "x", "expires_in": ' + life + b"}") == Token("x")


def test_a_status_names_the_contacts_it_counts() -> None:
    status = decode_status(
        b'{"status": 1, "processedObj": {"Updated": {"count": 1, "ContactIds": ["7", 8, "x"]}}}'
    )
    assert (status.updated, status.updated_ids) == (3, frozenset({7, 8}))
    assert status.inserted_ids == frozenset()


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "body",
    [
        *(b'"\\' * 2_000_000, b"{" * 4_000_000, b", " * 2_000_000),
        b'{"status": ' + b"9" * 4_000_000,
    ],
    ids=lambda body: repr(body[:16]),
)
def test_no_body_takes_long_to_read(body: bytes) -> None:
    with pytest.raises(UnreadableResponseError):
        decode_accepted(202, body)
