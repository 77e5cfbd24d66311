"""What is asked, what came back, and what that means."""

from __future__ import annotations

import json

import pytest

from target_mainbrainer import errors
from target_mainbrainer.api.answers import Accepted, Refused
from target_mainbrainer.api.requests import encode_contact
from target_mainbrainer.contacts import Contact, PropertyRef
from target_mainbrainer.settings.declared import Plan
from tests import broken_server as server
from tests.api.helpers import (
    BATCH,
    BODY,
    CREDENTIALS,
    ECHO,
    PERSON,
    SINGLE,
    TOKEN,
    Connect,
    FakeTime,
    Listener,
    Serve,
    failure,
    issue_tokens,
)
from tests.broken_server import OK, Reply, Request, reply


def test_a_batch_goes_out_as_documented(serve: Serve, connect: Connect) -> None:
    crm = serve(OK)
    assert connect(crm).send_batch(*BATCH) == Accepted(batch_id="ce2c2e48")
    (request,) = crm.requests
    assert (request.method, request.path) == ("POST", "/contacts/batch")
    assert request.body == BODY
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("target-mainbrainer/0")
    assert "python" not in str(request.headers)


def test_a_single_contact_goes_to_its_own_endpoint(serve: Serve, connect: Connect) -> None:
    crm = serve(reply(202, {"status": "Success", "data": {"contactId": "70001234567"}}))
    client = connect(crm, user_agent="nightly/1")
    assert client.send_contact(PERSON) == Accepted()
    assert (crm.requests[0].path, crm.requests[0].body) == ("/contacts/insertupdate", SINGLE)
    assert crm.requests[0].headers["user-agent"] == "nightly/1"


def test_a_batchs_status_is_asked_under_its_quoted_id(serve: Serve, connect: Connect) -> None:
    crm = serve(reply(200, {"id": "x", "status": 3, "processedObj": {"inserted": {"count": 7}}}))
    status = connect(crm).batch_status("a/../b c?d")
    assert status is not None
    assert status.inserted == 7
    assert crm.requests[0].path == "/contacts/a%2F..%2Fb%20c%3Fd/Status"
    assert crm.requests[0].method == "GET"
    assert "content-type" not in crm.requests[0].headers


@pytest.mark.parametrize("status", [400, 409, 422])
def test_a_refusal_is_an_answer(status: int, serve: Serve, connect: Connect) -> None:
    crm = serve(reply(status, {"message": f"{PERSON.email} is not valid"}))
    client = connect(crm)
    other = Contact(email="ola.nordmann@example.org")
    batch = client.send_batch([other, PERSON], [encode_contact(other), *BATCH[1]])
    assert isinstance(batch, Refused)
    assert batch.suspects == [1]
    alone = client.send_contact(PERSON)
    assert isinstance(alone, Refused)
    assert alone.suspects == [], "there is nobody else"
    assert batch.words == alone.words == (status, "… is not valid")


def test_equal_reasons_have_equal_words_whatever_contact_they_name(
    serve: Serve, connect: Connect
) -> None:
    def refuse(request: Request) -> Reply:
        name = json.loads(request.body)["createUpdateContacts"][0]["propertyfields"][0]
        value = name["propertyvalue"]
        return reply(422, {"message": f"{value}: propertyfields[0].propertyvalue is '{value}'"})

    client = connect(serve(refuse))
    words = set()
    for first_name in ("Ola", "Kari"):
        person = Contact(properties={PropertyRef(None, "firstname"): first_name})
        refused = client.send_batch([person], [encode_contact(person)])
        assert isinstance(refused, Refused)
        words.add(refused.message)
    assert words == {"…: property 'firstname' is …"}
    # A place that was not sent stays a place.
    client = connect(serve(reply(400, {"message": "propertyFields[7].propertyName is unknown"})))
    refused = client.send_batch(*BATCH)
    assert isinstance(refused, Refused)
    assert refused.words == (400, "propertyFields[7].propertyName is unknown")


def test_a_413_asks_for_less_until_there_is_no_less(serve: Serve, connect: Connect) -> None:
    client = connect(serve(reply(413, {"message": "too much"})))
    both = client.send_batch([PERSON] * 2, BATCH[1] * 2)
    assert isinstance(both, Refused)
    assert both.is_too_large
    for refused in (client.send_batch(*BATCH), client.send_contact(PERSON)):
        assert isinstance(refused, Refused)
        assert (refused.words, refused.is_too_large) == ((413, "too much"), False)


@pytest.mark.parametrize("status", [402, 403, 404, 405, 406, 410, 415, 451])
def test_any_other_4xx_is_about_the_request(status: int, serve: Serve, connect: Connect) -> None:
    crm = serve(reply(status, {"message": ECHO}))
    message = failure(errors.RequestRefusedError, lambda: connect(crm).send_batch(*BATCH))
    assert message.startswith(f"MainBrainer refused POST /contacts/batch with {status} ")
    assert "saying: No … with …, …, … in …." in message
    assert "The contacts are not the cause. " in message
    assert len(crm.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_never_carries_anything_elsewhere(
    status: int, serve: Serve, connect: Connect
) -> None:
    elsewhere = serve(OK)
    location = f"http://user:pw@localhost:{elsewhere.host.split(':')[1]}/x?token={TOKEN}"
    crm = serve(server.redirect(status, location))
    for ask in (
        lambda: connect(crm).send_batch(*BATCH),
        lambda: connect(crm).send_contact(PERSON),
        lambda: connect(crm, **CREDENTIALS).send_contact(PERSON),
    ):
        message = failure(errors.ProtocolError, ask)
        assert "Redirects are never followed" in message
        assert "pw" not in message
    assert connect(crm).batch_status("x") is None
    assert not elsewhere.requests


@pytest.mark.parametrize("location", ["", "//[broken", "/elsewhere", "http://[::1"])
def test_an_odd_redirect_is_told_as_well(location: str, serve: Serve, connect: Connect) -> None:
    crm = serve(server.redirect(302, location))
    message = failure(errors.ProtocolError, lambda: connect(crm).send_batch(*BATCH))
    assert f"{crm.host} answered 302 Found to POST /contacts/batch" in message


@pytest.mark.parametrize(
    "odd",
    [
        *(server.PAGE, reply(200, {"login": "please"}), reply(202, [1]), reply(304)),
        reply(202, b"Accepted", content_type="text/plain"),
    ],
    ids=["a proxy's page", "another API", "a list", "304", "text"],
)
def test_what_is_not_the_apis_ends_the_run(odd: Reply, serve: Serve, connect: Connect) -> None:
    crm = serve(odd)
    nowhere = connect(crm, api_url="http://127.0.0.1:99999")
    for client, host in ((connect(crm), crm.host), (nowhere, "127.0.0.1:99999")):
        for ask in (lambda c=client: c.send_batch(*BATCH), lambda c=client: c.send_contact(PERSON)):
            message = failure(errors.ProtocolError, ask)
            assert host in message
            assert "Check 'api_url'" in message


EMPTY_CHUNKS = b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"


@pytest.mark.parametrize("empty", [reply(202), reply(204), Reply(EMPTY_CHUNKS)])
def test_an_empty_answer_is_accepted_but_untrackable(
    empty: Reply, serve: Serve, connect: Connect
) -> None:
    crm = serve(empty)
    client = connect(crm)
    assert client.send_batch(*BATCH) == Accepted(batch_id=None)
    assert client.send_contact(PERSON) == Accepted()
    assert (len(crm.requests), crm.connections) == (2, 1)


@pytest.mark.parametrize(
    "answer",
    [*map(reply, (500, 404, 401, 429)), server.PAGE, server.RESET, reply(200, {"odd": 1})],
)
def test_a_status_that_cannot_be_read_fails_nothing(
    answer: Reply, serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    crm = serve(answer)
    assert connect(crm).batch_status("ce2c2e48") is None
    assert len(crm.requests) == 1
    assert not fake.waits


def test_a_status_takes_a_permit_as_any_request(
    serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    client = connect(serve(reply(200, {"status": 1})), plan=Plan(burst=10, daily=1000))
    began = fake.now
    assert all(client.batch_status("ce2c2e48") for _ in range(11))
    assert fake.now > began + 10


def test_a_status_ends_with_the_run(serve: Serve, connect: Connect, fake: FakeTime) -> None:
    client = connect(serve(OK))
    fake.stopped = True
    failure(errors.InterruptedRunError, lambda: client.batch_status("x"))


@pytest.mark.parametrize(
    "answer",
    [reply(200, {"id": "x", "status": 0}), reply(404), reply(400, {"title": "No such batch"})],
)
def test_the_check_changes_nothing_and_says_what_it_found(
    answer: Reply, serve: Serve, connect: Connect
) -> None:
    issue = issue_tokens()
    crm = serve(lambda request: issue(request) if request.path == "/token" else answer)
    assert connect(crm).check() == (
        f"{crm.host} answers and does not refuse the access token. Whether it may write contacts "
        "only shows when one is written."
    )
    said = connect(crm, **CREDENTIALS).check()
    assert said.startswith(f"{crm.host} issued an access token for the credentials. ")
    assert {request.method for request in crm.requests if request.path != "/token"} == {"GET"}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (reply(401), errors.AuthError),
        (reply(403), errors.RequestRefusedError),
        (server.PAGE, errors.ProtocolError),
        (reply(404, b"<p>nginx</p>", content_type="text/html"), errors.ProtocolError),
        (server.redirect(302, "https://example.org"), errors.ProtocolError),
        (reply(503), errors.TransientError),
    ],
)
def test_the_check_fails_where_a_run_would(
    answer: Reply, kind: type[Exception], serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    began = fake.now
    failure(kind, lambda: connect(serve(answer)).check())
    assert fake.now <= began + 31


def test_everything_asked_is_counted(serve: Serve, connect: Connect, heard: Listener) -> None:
    issue = issue_tokens()
    crm = serve(lambda request: reply(503) if request.number == 1 else issue(request))
    client = connect(crm, **CREDENTIALS)
    client.send_batch(*BATCH)
    client.send_contact(PERSON)
    client.batch_status("ce2c2e48")
    assert client.stats.requests == len(crm.requests) == 5
    assert client.stats.retries == 1
    posts = {"POST /token": 1, "POST /contacts/batch": 2, "POST /contacts/insertupdate": 1}
    assert client.stats.by_endpoint == posts | {"GET /contacts/{id}/Status": 1}
    client.close()
    metrics = [line for line in heard.lines if line.startswith("METRIC")]
    assert len(metrics) == 4
    assert all("http_request_count" in line for line in metrics)


# --- Odd but not shown


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (reply(202, b"x", content_type=f"text/{TOKEN}"), "and a body of type 'text/…' that is not"),
        (server.redirect(302, f"https://{TOKEN}.example.com/"), "Redirects are never followed"),
    ],
)
def test_headers_are_redacted(answer: Reply, said: str, serve: Serve, connect: Connect) -> None:
    message = failure(errors.ProtocolError, lambda: connect(serve(answer)).send_batch(*BATCH))
    assert said in message


@pytest.mark.parametrize("token", ["abc4def", "twelveletter", "tokenofthirtycharactersandonly"])
def test_a_token_that_looks_like_a_word_is_not_repeated(
    token: str, serve: Serve, connect: Connect
) -> None:
    crm = serve(reply(403, {"message": f"Not with {token}, {token.upper()} or x{token}x"}))
    client = connect(crm, access_token=token)
    message = failure(errors.RequestRefusedError, lambda: client.send_batch(*BATCH))
    assert token not in message.casefold()
    assert "saying: Not with …, … or x…x. The contacts are not the cause." in message
