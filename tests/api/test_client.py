"""What is asked, what came back, and what that means."""

import json

from target_mainbrainer import errors
from target_mainbrainer.api.answers import Accepted, Refused
from target_mainbrainer.api.requests import encode_single
from target_mainbrainer.contacts import Contact, Mobile, PropertyRef
from tests import broken_server as server
from tests.api.helpers import ACCEPTED, BATCH, BODY, CREDENTIALS, ECHO, PERSON, TOKEN, Api
from tests.broken_server import OK, Reply, Request, redirect, reply
from tests.loads import cases


def refused(answer: Accepted | Refused) -> Refused:
    assert isinstance(answer, Refused)
    return answer


def test_a_batch_goes_out_as_documented(api: Api) -> None:
    assert api.client(OK).send_batch(*BATCH) == ACCEPTED
    (request,) = api.crm.requests
    assert (request.method, request.path) == ("POST", "/contacts/batch")
    assert request.body == BODY
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("target-mainbrainer/0")
    assert "python" not in str(request.headers)


def test_a_single_contact_goes_to_its_own_endpoint(api: Api) -> None:
    answer = reply(202, {"status": "Success", "data": {"contactId": "70001234567"}})
    assert api.client(answer, user_agent="nightly/1").send_contact(PERSON) == Accepted()
    (request,) = api.crm.requests
    assert (request.path, request.body) == ("/contacts/insertupdate", encode_single(PERSON))
    assert request.headers["user-agent"] == "nightly/1"


def test_a_batchs_status_is_asked_under_its_quoted_id(api: Api) -> None:
    answer = reply(200, {"id": "x", "status": 3, "processedObj": {"inserted": {"count": 7}}})
    status = api.client(answer).batch_status("a/../b c?d")
    assert status is not None
    assert status.inserted == 7
    (request,) = api.crm.requests
    assert (request.method, request.path) == ("GET", "/contacts/a%2F..%2Fb%20c%3Fd/Status")
    assert "content-type" not in request.headers


@cases("status", 400, 409, 422)
def test_a_refusal_is_an_answer(api: Api, status: int) -> None:
    client = api.client(reply(status, {"message": f"{PERSON.email} is not valid"}))
    other = Contact(email="ola.nordmann@example.org")
    batch = refused(client.send_batch([other, PERSON]))
    alone = refused(client.send_contact(PERSON))
    assert (batch.suspects, alone.suspects) == ([1], []), "alone, there is no other contact"
    assert batch.words == alone.words == (status, "… is not valid")


def test_equal_reasons_have_equal_words_for_any_contact(api: Api) -> None:
    def refuse(request: Request) -> Reply:
        name = json.loads(request.body)["createUpdateContacts"][0]["propertyfields"][0]
        value = name["propertyvalue"]
        return reply(422, {"message": f"{value}: propertyfields[0].propertyvalue is '{value}'"})

    client, words = api.client(refuse), set()
    for first_name in ("Ola", "Kari"):
        person = Contact(properties={PropertyRef(None, "firstname"): first_name})
        words.add(refused(client.send_batch([person])).words.message)
    assert words == {"…: property 'firstname' is …"}
    # A place that was not sent stays a place.
    client = api.client(reply(400, {"message": "propertyFields[7].propertyName is unknown"}))
    place = (400, "propertyFields[7].propertyName is unknown")
    assert refused(client.send_batch(*BATCH)).words == place


@cases("status", 402, 403, 404, 405, 406, 410, 415, 451)
def test_any_other_4xx_is_about_the_request(api: Api, status: int) -> None:
    client = api.client(reply(status, {"message": f"{ECHO}."}))
    message = api.fails(errors.RequestRefusedError, client)
    assert message.startswith(f"MainBrainer refused POST /contacts/batch with {status} ")
    assert "saying: No … with …, …, … in …. The contacts are not the cause. " in message
    assert len(api.crm.requests) == 1


@cases("status", 301, 302, 303, 307, 308)
def test_a_redirect_never_carries_anything_elsewhere(api: Api, status: int) -> None:
    elsewhere = api.serve(OK)
    location = f"http://user:pw@localhost:{elsewhere.host.split(':')[1]}/x?token={TOKEN}"
    client = api.client(redirect(status, location))
    credentials = api.client(api.crm, **CREDENTIALS)
    for does in (client, lambda: client.send_contact(PERSON), credentials):
        message = api.fails(errors.ProtocolError, does)
        assert "Redirects are never followed" in message
        assert "pw" not in message
    assert client.batch_status("x") is None
    assert not elsewhere.requests


@cases("location", "", "//[broken", "/elsewhere", "http://[::1")
def test_an_odd_redirect_is_an_error_too(api: Api, location: str) -> None:
    message = api.fails(errors.ProtocolError, api.client(redirect(302, location)))
    assert f"{api.crm.host} answered 302 Found to POST /contacts/batch" in message


@cases(
    "odd",
    *(server.PAGE, reply(200, {"login": "please"}), reply(202, [1]), reply(304)),
    *(reply(202, b"x", content_type=kind) for kind in ("text/plain", f"text/{TOKEN}")),
    ids=["a proxy's page", "another API", "a list", "304", "text", "a token as its type"],
)
def test_what_is_not_the_apis_ends_the_run(api: Api, odd: Reply) -> None:
    client = api.client(odd)
    nowhere = api.client(api.crm, api_url="http://127.0.0.1:99999")
    for one, host in ((client, api.crm.host), (nowhere, "127.0.0.1:99999")):
        for does in (one, lambda one=one: one.send_contact(PERSON)):
            message = api.fails(errors.ProtocolError, does)
            assert host in message
            assert "Check 'api_url'" in message
    assert "cannot be sent to 127.0.0.1:99999 (InvalidURL)." in message


EMPTY_CHUNKS = b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"


@cases("empty", reply(202), reply(204), Reply(EMPTY_CHUNKS))
def test_an_empty_answer_is_accepted_but_untrackable(api: Api, empty: Reply) -> None:
    client = api.client(empty)
    assert client.send_batch(*BATCH) == client.send_contact(PERSON) == Accepted(batch_id=None)
    assert (len(api.crm.requests), api.crm.connections) == (2, 1)


@cases(
    "answer", *map(reply, (500, 404, 401, 429)), server.PAGE, server.RESET, reply(200, {"odd": 1})
)
def test_a_status_that_cannot_be_read_fails_nothing(api: Api, answer: Reply) -> None:
    assert api.client(answer).batch_status("ce2c2e48") is None
    assert (len(api.crm.requests), api.world.waits) == (1, [])


def test_a_status_ends_with_the_run(api: Api) -> None:
    client, api.world.stopped = api.client(OK), True
    api.fails(errors.InterruptedRunError, lambda: client.batch_status("x"))


@cases(
    "answer kind",
    *((reply(401), errors.AuthError), (reply(403), errors.RequestRefusedError)),
    *((server.PAGE, errors.ProtocolError), (reply(503), errors.TransientError)),
    (reply(404, b"<p>nginx</p>", content_type="text/html"), errors.ProtocolError),
    (redirect(302, "https://example.org"), errors.ProtocolError),
)
def test_the_check_fails_where_a_run_would(api: Api, answer: Reply, kind: type[Exception]) -> None:
    api.fails(kind, api.client(answer).check)
    if kind is errors.TransientError:
        api.fails(kind, api.client(answer, **CREDENTIALS).check)
    assert api.world.passed <= 2 * 31


def test_everything_asked_is_counted(api: Api) -> None:
    issue = api.issue_tokens()
    client = api.client(lambda r: reply(503) if r.number == 1 else issue(r), **CREDENTIALS)
    client.send_batch(*BATCH)
    client.send_contact(PERSON)
    client.batch_status("ce2c2e48")
    assert client.limiter.requests.total() == len(api.crm.requests) == 5
    assert client.limiter.retries == 1
    posts = {"POST /token": 1, "POST /contacts/batch": 2, "POST /contacts/insertupdate": 1}
    assert client.limiter.requests == posts | {"GET /contacts/{id}/Status": 1}


# A body is spelt as its page spells it; that of batches in `test_target.py`


LIST_ID = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
ZIP_ID = "8e8b8450-dc1b-4360-8109-7067337b42cb"
REFS = [PropertyRef(LIST_ID, "firstname"), PropertyRef(None, "lastname"), PropertyRef(ZIP_ID, None)]
PROPERTIES = dict(zip(REFS, ["jennifer", "", "0236"], strict=True))
EMAIL = "apitest@example.com"
JENNIFER = Contact(234567, Mobile(47, 90812501), EMAIL, True, True, PROPERTIES)
NUMBER = {"contactId": 234567, "mobileCountryCode": 47, "mobileNumber": 90812501}
FIELDS = {**NUMBER, "mobileOptIn": True, "email": EMAIL, "emailOptIn": True}


def test_a_single_contact_is_spelt_as_on_its_own_page() -> None:
    sent = (LIST_ID, "firstname", "jennifer"), (None, "lastname", ""), (ZIP_ID, None, "0236")
    names = ("propertyId", "propertyName", "propertyValue")
    properties = [{n: v for n, v in zip(names, one, strict=True) if v is not None} for one in sent]
    expected = {"listId": LIST_ID, **FIELDS, "propertyFields": properties}
    assert json.loads(encode_single(JENNIFER, list_id=LIST_ID)) == expected
