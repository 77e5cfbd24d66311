"""Answers are read in every spelling that the pages have, and in others; what they name is found.

What a response names as invalid is never "all fine", even if it cannot be read.
"""

import contextlib
import json
import typing as t
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer.api import answers
from target_mainbrainer.api.answers import Accepted, InvalidContacts, InvalidProperty, Refused
from target_mainbrainer.api.answers import UnreadableResponseError as Unreadable
from target_mainbrainer.api.http import Response
from target_mainbrainer.contacts import Contact, Mobile, PropertyRef
from tests.loads import cases

LIST_ID = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
ZIP_ID = "8e8b8450-dc1b-4360-8109-7067337b42cb"
KEYS = ["status", "Message", "data", "errors", "InvalidProperties", "invalidContactIdList"]
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(KEYS), inner),
)

SAMPLES = Path(__file__).parents[1] / "mainbrainer_sandbox" / "samples"
PORTAL_ANSWER = (SAMPLES / "batch-response.txt").read_bytes()


def encoded(answer: object) -> bytes:
    return json.dumps(answer).encode()


def decode_accepted(body: bytes) -> Accepted | Refused:
    return answers.decode_accepted(Response(202, body))


def refusal_of(body: bytes, content_type: str = "", contacts: Sequence[Contact] = ()) -> Refused:
    return answers.decode_refusal(Response(422, body, content_type), contacts)


def test_the_batch_pages_own_sample_is_read_trailing_comma_and_all() -> None:
    answer = decode_accepted(PORTAL_ANSWER)
    assert answer == Accepted(batch_id="ce2c2e48-47e4-4aa0-b4e7-c9deebe29852")


def test_the_openapi_shape_is_read() -> None:
    data = {"batchId": "ce2c2e48", "processed": "string", "contactId": "string", "status": 0}
    invalid = [{"propertyId": ZIP_ID, "propertyName": "zip", "propertyValue": "0236"}]
    lists = {"invalidPropertiesList": invalid, "invalidContactIdList": ["17", 18], "balance": {}}
    body = encoded({"status": "Success", "message": "string", "data": {**data, **lists}})
    properties = (InvalidProperty(ZIP_ID, "zip", "0236"),)
    contacts = InvalidContacts(frozenset({17, 18}))
    assert decode_accepted(body) == Accepted("ce2c2e48", contacts, properties)


@cases(
    "answer",
    *({"status": "Success", "data": None}, {"status": "Success"}),
    *({"Status": "success", "Data": {"BatchId": ""}}, {"message": "Batch request accepted"}),
    {"status": "Success", "data": {"BatchId": "x" * 201}},  # too long to be asked for
)
def test_a_batch_without_an_id_is_accepted(answer: dict[str, t.Any]) -> None:
    assert decode_accepted(encoded(answer)) == Accepted()


@cases("status", "Failed", "Error")
def test_a_202_with_a_failed_status_is_a_refusal(status: object) -> None:
    answer = {"status": status, "message": "No such list", "data": {}}
    refusal = decode_accepted(encoded(answer))
    assert isinstance(refusal, Refused)
    assert (refusal.status, refusal.unredacted) == (202, "No such list")


@cases(
    "body cut_off",
    *((body, True) for body in (b'{"status": "Success", "data": {"Batch', b"")),
    *((PORTAL_ANSWER[:-1], True), (b'{"status": oops}', False), (b"[1, 2]", False)),
    *((b"<html><body>Sign in</body></html>", False), (b'{"status": "\xff"}', False)),
    *((b'{"login_url": "https://example.org"}', False), (b"[" * 100_000, False)),
    *((b"null", False), (b"{}", False)),
    ids=lambda value: repr(value)[:50],
)
def test_foreign_answers_differ_from_cut_off_ones(body: bytes, *, cut_off: bool) -> None:
    with pytest.raises(Unreadable) as caught:
        decode_accepted(body)
    assert caught.value.cut_off is cut_off


def test_a_single_answer_names_its_contact_and_no_batch() -> None:
    body = b'{"status": "Success", "data": {"contactId": "234567", "invalidContactIdList": ["9"]}}'
    named = InvalidContacts(frozenset({9}))
    assert decode_accepted(body) == Accepted(invalid_contacts=named)


# Statuses and tokens

PROCESSED: dict[str, object] = {"inserted": {"count": 3, "contactIds": [1, 2, 3]}}
PROCESSED |= {"updated": {"count": "5", "contactIds": None}}
PROCESSED |= {"skipped": {"count": 1, "contactIds": ["9"]}}


@cases(
    "answer",
    {"id": "x", "status": 2, "statusText": "Done", "processedObj": PROCESSED},
    {"Id": "x", "Status": 2, "StatusText": "Done", "ProcessedObj": PROCESSED},
    ids=["camelCase", "PascalCase, as its siblings"],
)
def test_a_status_is_read_in_any_spelling(answer: dict[str, t.Any]) -> None:
    status = answers.decode_status(encoded(answer))
    ids = {"inserted_ids": frozenset({1, 2, 3}), "skipped_ids": frozenset({9})}
    assert status == answers.BatchStatus(inserted=3, updated=5, skipped=1, **ids)  # type: ignore[arg-type]
    assert status.processed == 9


@cases("body", b'{"hello": "world"}', b'{"error": "not found"}')
def test_what_is_no_status_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(Unreadable):
        answers.decode_status(body)


def test_a_status_names_the_contacts_it_counts() -> None:
    status = answers.decode_status(
        b'{"status": 1, "processedObj": {"Updated": {"count": 1, "ContactIds": ["7", 8, "x"]}}}'
    )
    assert (status.updated, status.updated_ids) == (3, frozenset({7, 8}))
    assert status.inserted_ids == frozenset()


@cases(
    "reason said",
    *(({"code": 7}, '{"code":7}'), (["Out of contacts"], '["Out of contacts"]')),
    *(("Out of contacts",) * 2, ([], ""), (False, ""), ("  ", ""), (None, "")),
)
def test_a_reason_for_a_failure_may_have_any_form(reason: object, said: str) -> None:
    """No page describes it."""
    body = encoded({"status": 3, "statusFailedReason": reason, "processedObj": PROCESSED})
    assert answers.decode_status(body).failed_reason == said


TOKEN = {"access_token": "made-up", "token_type": "Bearer", "expires_in": 120}
TOKEN |= {"issued": "2020-05-29T04:21:56.0000000+00:00"}
TOKEN |= {"expires": "2020-05-29T06:21:56.0000000+00:00"}


@cases(
    "changes lifetime",
    *(({}, 7200), ({"expires": "2020-05-29T06:21:56.5000000Z"}, 7200.5)),
    *(({"issued": None}, 120), ({"issued": "yesterday", "expires_in": "90"}, 90)),
    ({"issued": "2020-05-29T04:21:56"}, 120),  # one with a zone, one without
    ({"expires": TOKEN["issued"]}, 120),
    *(({"issued": None, "expires_in": odd}, None) for odd in (None, -5, 10**400, "1e400")),
    ids=lambda value: str(value)[:60],
)
def test_a_tokens_life(changes: dict[str, object], lifetime: float | None) -> None:
    token = answers.decode_token(encoded(TOKEN | changes))
    assert token == answers.Token("made-up", lifetime)
    assert "made-up" not in repr(token)


@cases("answer", {"access_token": ""}, {"message": "x"}, {"access_token": 5})
def test_an_answer_without_a_token_is_unreadable(answer: dict[str, object]) -> None:
    with pytest.raises(Unreadable):
        answers.decode_token(encoded(answer))
    assert answers.decode_token(b'{"accessToken": "x"}').value == "x"


# What is named as invalid


@cases(
    "entries ids odd",
    *(([1005], {1005}, 0), (1005, {1005}, 0), (["1005", " 7 "], {1005, 7}, 0)),
    *(([{"contactId": 1005}], set(), 1), ({"1005": "gone"}, set(), 1)),
    *((["kari@example.com", 1005], {1005}, 1), ([ZIP_ID], set(), 1), ([10**30], set(), 1)),
    *(([None, True, 1005.5, {}], set(), 4), ([], set(), 0), (None, set(), 0), ("", set(), 0)),
)
@cases("key", "InvalidContactIds", "invalidContactIdList", "invalid_contact_ids")
def test_contacts_are_named_in_any_form(key: str, entries: object, ids: set[int], odd: int) -> None:
    body = encoded({"status": "Success", "data": {"BatchId": "b", key: entries}})
    assert decode_accepted(body) == Accepted("b", InvalidContacts(frozenset(ids), odd))


def test_both_lists_count_if_both_are_there() -> None:
    named = answers.invalid_contacts({"invalidcontactids": [1], "invalidcontactidlist": [2, "x"]})
    assert named == InvalidContacts(frozenset({1, 2}), 1)


@given(ANY_JSON)
def test_an_entry_is_read_or_counted(entry: object) -> None:
    named = answers.invalid_contacts({"invalidcontactids": [entry]})
    assert named.ids or named.unreadable


def test_only_properties_that_were_sent_are_named() -> None:
    sent = [PropertyRef(None, "zip"), PropertyRef(ZIP_ID, "street"), PropertyRef(LIST_ID, None)]
    forged = "kari@example.com\nERROR forged"
    names = ["ZIP", LIST_ID, forged, "Kari", "Kari", None]
    named = [InvalidProperty(ZIP_ID.upper(), "x"), *(InvalidProperty(None, one) for one in names)]
    assert answers.properties_sent(named, sent) == (frozenset({"zip", "street", LIST_ID}), 3)


def test_properties_are_named_in_any_form() -> None:
    with_value = {"PropertyId": ZIP_ID, "propertyName": "zip", "property_value": "0236"}
    for named, found in (
        ({"invalidproperties": "zip"}, [InvalidProperty(None, "zip")]),
        ({"invalidpropertieslist": [{}, 7]}, [InvalidProperty(None, n) for n in (None, "7")]),
        ({"invalidproperties": [with_value]}, [InvalidProperty(ZIP_ID, "zip", "0236")]),
    ):
        assert answers.invalid_properties(named) == tuple(found)


# Refusals, and the contacts that they name


def people(count: int) -> list[Contact]:
    def person(n: int) -> Contact:
        properties = {PropertyRef(None, "zip"): f"zip-{n}"}
        mobile, email = Mobile(44, 7700900000 + n), f"person{n}@example.com"
        return Contact(70_000 + n, mobile, email, properties=properties)

    return [*map(person, range(count))]


TRACE = "00-982607166a542147b435be3a847ddd71-fc75498eb9f09d48-00"
ZIP_6 = {"propertyId": None, "propertyName": "ZIP", "propertyValue": "zip-6"}
IN_DATA = "+44 7700 900 002 is not a mobile"
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
SAID = (
    "One or more validation errors occurred.; $.createUpdateContacts[3].mobileNumber: The JSON "
    "value could not be converted.; createUpdateContacts[5].propertyFields[1].propertyValue: Too "
    "long."
)


@cases(
    "body message named",
    ({"status": "Error", "message": "No person4@example.com."}, "No person4@example.com.", [4]),
    ({"message": "Bad", "data": {"message": IN_DATA}}, f"Bad; {IN_DATA}", [2]),
    ({"message": "No", "data": {"InvalidContactIds": ["70001", "70007"]}}, "No", [1, 7]),
    ({"data": {"invalidPropertiesList": [ZIP_6]}}, "", [6]),
    ({"data": {"InvalidProperties": ["zip"]}}, "", []),  # all of them have it
    (PROBLEM, SAID, [3, 5]),
    ("Contact 4 is bad", "Contact 4 is bad", []),  # an ordinal in prose
    ({"message": "List not found"}, "List not found", []),
    ({"errors": {"createUpdateContacts[99].email": "x"}}, None, []),
    *(({}, "", []), (None, "", [])),
)
def test_a_refusal_names_its_suspects(body: object, message: str | None, named: list[int]) -> None:
    refusal = refusal_of(encoded(body), "application/json", people(10))
    assert (refusal.status, refusal.suspects) == (422, named)
    assert TRACE not in refusal.unredacted
    if message is not None:
        assert refusal.unredacted == message


PAGE = b"<html><head><title>400 Bad &amp; Request</title><style>a{}</style></head></html>"


@cases(
    "body content_type message",
    *((PAGE, "text/html", "400 Bad & Request"), (b"", "", ""), (b"<p>Not here</p>", "", "")),
    (b"Email is not\r\nvalid", "text/plain", "Email is not valid"),
    (b"Sorry! <title>Blocked by a firewall</title>", "text/html", "Blocked by a firewall"),
    (b'{"message": "Bad', "application/json", ""),
    (b"\xff\xfe\x00\x01", "application/octet-stream", ""),
)
def test_a_refusal_may_come_in_any_form(body: bytes, content_type: str, message: str) -> None:
    assert refusal_of(body, content_type) == Refused(422, message, suspects=[])


@cases("body", b'{"message": "PERSON0@EXAMPLE.COM"}', b"<title>No</title><p>person0@example.com:")
def test_a_suspect_is_found_in_any_case_and_form(body: bytes) -> None:
    """The only contact of a request is no suspect; a refusal shows no contact data."""
    capitals = [Contact(email="Person0@Example.com"), *people(3)[1:]]
    refusals = [refusal_of(body, "", contacts) for contacts in (people(2), people(1), capitals)]
    assert [refusal.suspects for refusal in refusals] == [[0], [], [0]]
    assert "example" not in repr(refusals).casefold()


@cases("named", {"propertyid": ZIP_ID, "propertyname": "zip"}, ZIP_ID)
def test_a_property_is_meant_by_its_id_where_both_have_one(named: object) -> None:
    by_id = Contact(properties={PropertyRef(ZIP_ID.upper(), "postcode"): "0236"})
    others = [Contact(properties={PropertyRef(LIST_ID, "zip"): "0236"}), Contact()]
    body = encoded({"data": {"InvalidProperties": [named]}})
    assert refusal_of(body, "", [*others, by_id]).suspects == [2]


# Any answer at all


@given(ANY_JSON)
def test_no_json_breaks_the_reading(answer: object) -> None:
    body = encoded(answer)
    refusal = refusal_of(body, "", people(3))
    assert len(refusal.unredacted) <= 4000
    assert "\n" not in refusal.unredacted
    for read in (answers.decode_status, answers.decode_token, decode_accepted):
        with contextlib.suppress(Unreadable):
            read(body)


@given(st.binary(max_size=200), st.sampled_from(["", "text/html", "application/json"]))
def test_no_bytes_break_the_reading(body: bytes, content_type: str) -> None:
    assert len(refusal_of(body, content_type).unredacted) <= 4000


@pytest.mark.timeout(20)
@cases(
    "body",
    *(b"a" * 4_000_000, b"<" * 4_000_000, b"<script " * 500_000),
    *(b'{"message": "%s"}' % (two * 2_000_000) for two in (b"a.", b"1 ", b"a@")),
    *(b'"\\' * 2_000_000, b"{" * 4_000_000, b", " * 2_000_000),
    b'{"status": ' + b"9" * 4_000_000,
    ids=lambda body: body[:16].decode(),
)
def test_no_body_takes_long_to_read(body: bytes) -> None:
    assert len(refusal_of(body, "text/html", people(10)).unredacted) <= 4000
    with contextlib.suppress(Unreadable):
        decode_accepted(body)
