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
from target_mainbrainer.api.http import Response
from target_mainbrainer.contacts import Contact, Mobile, PropertyRef
from tests.loads import cases
from tests.strategies import nested

LIST_ID = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
ZIP_ID = "8e8b8450-dc1b-4360-8109-7067337b42cb"
KEYS = ["status", "Message", "data", "errors", "InvalidProperties", "invalidContactIdList"]
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ANY_JSON = nested(PLAIN, st.text() | st.sampled_from(KEYS), leaves=20)

SAMPLES = Path(__file__).parents[1] / "mainbrainer_sandbox" / "samples"
PORTAL_ANSWER = (SAMPLES / "batch-response.txt").read_bytes()


def encoded(answer: object) -> bytes:
    return json.dumps(answer).encode()


def decode_accepted(body: bytes) -> Accepted | Refused:
    return answers.decode_accepted(Response(202, body))


def refusal_of(body: bytes, content_type: str = "", contacts: Sequence[Contact] = ()) -> Refused:
    return answers.decode_refusal(Response(422, body, content_type), contacts)


SUCCESS: dict[str, object] = {"status": "Success"}
FAILED = {"status": "Failed", "message": "No such list", "data": {}}
INVALID = [{"propertyId": ZIP_ID, "propertyName": "zip", "propertyValue": "0236"}]
OPENAPI: dict[str, object] = {"batchId": "ce2c2e48", "processed": "string", "status": 0}
OPENAPI |= {"invalidPropertiesList": INVALID, "invalidContactIdList": ["17", 18], "balance": {}}
FOUND = InvalidContacts(frozenset({17, 18})), (InvalidProperty(ZIP_ID, "zip", "0236"),)
SINGLE = b'{"status": "Success", "data": {"contactId": "234567", "invalidContactIdList": ["9"]}}'
PROCESSED: dict[str, object] = {"inserted": {"count": 3, "contactIds": [1, 2, 3]}}
PROCESSED |= {"updated": {"count": "5", "contactIds": None}}
PROCESSED |= {"skipped": {"count": 1, "contactIds": ["9"]}}
IDS = frozenset({1, 2, 3}), frozenset[int](), frozenset({9})
NAMED = b'{"status": 1, "processedObj": {"Updated": {"count": 1, "ContactIds": ["7", 8, "x"]}}}'
REASONS: list[tuple[object, str]] = [({"code": 7}, '{"code":7}'), (["No"], '["No"]'), ("No", "No")]
REASONS += [([], ""), (False, ""), ("  ", ""), (None, "")]
TOKEN: dict[str, object] = {"access_token": "made-up", "token_type": "Bearer", "expires_in": 120}
ISSUED = "2020-05-29T04:21:56.0000000+00:00"
TOKEN |= {"issued": ISSUED, "expires": "2020-05-29T06:21:56.0000000+00:00"}
LIVES: list[tuple[t.Any, float | None]] = [
    *[({}, 7200), ({"expires": "2020-05-29T06:21:56.5Z"}, 7200.5), ({"expires": ISSUED}, 120)],
    *[({"issued": None}, 120), ({"issued": "yesterday", "expires_in": "90"}, 90)],
    *[({"issued": None, "expires_in": odd}, None) for odd in (None, -5, 10**400, "1e400")],
    ({"issued": "2020-05-29T04:21:56"}, 120),
]


def reads(name: str, body: object) -> object:
    """Return how an answer is read: `cut off` or `foreign` if it cannot be."""
    decode: dict[str, t.Callable[[bytes], object]] = {
        "accepted": decode_accepted,
        "refusal": refusal_of,
        "status": answers.decode_status,
        "token": answers.decode_token,
    }
    try:
        return decode[name](body if isinstance(body, bytes) else encoded(body))
    except answers.UnreadableResponseError as error:
        return "cut off" if error.cut_off else "foreign"


@cases(
    "name body expected",
    # The batch page's own sample is read, trailing comma and all, and the shape of OpenAPI.
    ("accepted", PORTAL_ANSWER, Accepted("ce2c2e48-47e4-4aa0-b4e7-c9deebe29852")),
    ("accepted", SUCCESS | {"message": "string", "data": OPENAPI}, Accepted("ce2c2e48", *FOUND)),
    # An answer about one contact names it, and no batch; one with an id too long to be asked for.
    ("accepted", SINGLE, Accepted(invalid_contacts=InvalidContacts(frozenset({9})))),
    ("accepted", SUCCESS | {"data": {"BatchId": "x" * 201}}, Accepted()),
    *(("accepted", SUCCESS | data, Accepted()) for data in ({}, {"data": None})),
    ("accepted", {"Status": "success", "Data": {"BatchId": ""}}, Accepted()),
    ("accepted", {"message": "Batch request accepted"}, Accepted()),
    # A 202 with a failed status is a refusal.
    *(
        ("accepted", FAILED | {"status": s}, Refused(202, "No such list", suspects=[]))
        for s in ("Failed", "Error")
    ),
    # Foreign answers differ from those that are cut off, which were sent by MainBrainer.
    *(("accepted", body, "cut off") for body in (b'{"status": "Success", "data": {"Batch', b"")),
    ("accepted", PORTAL_ANSWER[:-1], "cut off"),
    *(("accepted", body, "foreign") for body in (b'{"status": oops}', b"[1, 2]", b"null", b"{}")),
    *(("accepted", body, "foreign") for body in (b"<html><body>Sign in</body>", b"[" * 100_000)),
    *(("accepted", body, "foreign") for body in (b'{"status": "\xff"}', {"login_url": "x"})),
    # A status may be spelt like its siblings, and names the contacts that it counts.
    ("status", {"id": "x", "processedObj": PROCESSED}, answers.BatchStatus(3, 5, 1, *IDS)),
    ("status", {"Id": "x", "ProcessedObj": PROCESSED}, answers.BatchStatus(3, 5, 1, *IDS)),
    ("status", NAMED, answers.BatchStatus(updated=3, updated_ids=frozenset({7, 8}))),
    *(("status", body, "foreign") for body in ({"hello": "world"}, {"error": "not found"})),
    # The reason for a failure may have any form, as no page describes it.
    *(
        (
            "status",
            {"statusFailedReason": reason, "processedObj": PROCESSED},
            answers.BatchStatus(3, 5, 1, *IDS, said),
        )
        for reason, said in REASONS
    ),
    # A token's life; some have times with a zone and without one, or that are none.
    *(
        ("token", TOKEN | changes, answers.Token("made-up", lifetime))
        for changes, lifetime in LIVES
    ),
    *(
        ("token", no, "foreign")
        for no in ({"access_token": ""}, {"message": 1}, {"access_token": 5})
    ),
    ("token", {"accessToken": "x"}, answers.Token("x", None)),
    ids=lambda value: repr(value)[-300:],
)
def test_answers_are_read(name: str, body: object, expected: object) -> None:
    read = reads(name, body)
    assert read == expected
    assert "made-up" not in repr(read)


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
        "createUpdateContacts[5].propertyFields[1].propertyValue": ["Too long.", "Odd.", "Bad."],
    },
}
SAID = (
    "One or more validation errors occurred.; $.createUpdateContacts[3].mobileNumber: The JSON "
    "value could not be converted.; createUpdateContacts[5].propertyFields[1].propertyValue: Too "
    "long.; createUpdateContacts[5].propertyFields[1].propertyValue: Odd."
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
    *(({}, "", []), (None, "", []), ({"error_description": "No"}, "No", [])),
)
def test_a_refusal_names_its_suspects(body: object, message: str | None, named: list[int]) -> None:
    refusal = refusal_of(encoded(body), "application/json", people(10))
    assert (refusal.status, refusal.suspects) == (422, named)
    assert TRACE not in refusal.unredacted
    assert message in {None, refusal.unredacted}


PAGE = b"<html><head><title>400 Bad &amp; Request</title><style>a{}</style></head></html>"


@cases(
    "body content_type message",
    *((PAGE, "text/html", "400 Bad & Request"), (b" \n" + PAGE, "", "400 Bad & Request")),
    *((b"", "", ""), (b"<p>Not here</p>", "", ""), (b' {"message": "Bad', "", "")),
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


@given(ANY_JSON.map(encoded) | st.binary(max_size=200), st.sampled_from(["", "text/html"]))
def test_nothing_breaks_the_reading(body: bytes, content_type: str) -> None:
    refusal = refusal_of(body, content_type, people(3))
    assert len(refusal.unredacted) <= 4000
    assert "\n" not in refusal.unredacted
    for read in (answers.decode_status, answers.decode_token, decode_accepted):
        with contextlib.suppress(answers.UnreadableResponseError):
            read(body)


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
    with contextlib.suppress(answers.UnreadableResponseError):
        decode_accepted(body)
