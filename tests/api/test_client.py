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


def test_a_ready_token_goes_before_credentials(serve: Serve, connect: Connect) -> None:
    crm = serve(OK)
    connect(crm, access_token=TOKEN, **CREDENTIALS).send_batch(*BATCH)
    assert (crm.requests[0].path, crm.requests[0].token) == ("/contacts/batch", TOKEN)


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


def test_a_place_that_was_not_sent_stays_a_place(serve: Serve, connect: Connect) -> None:
    client = connect(serve(reply(400, {"message": "propertyFields[7].propertyName is unknown"})))
    refused = client.send_batch(*BATCH)
    assert isinstance(refused, Refused)
    assert refused.words == (400, "propertyFields[7].propertyName is unknown")


def test_a_batch_names_its_list_and_its_webhook(serve: Serve, connect: Connect) -> None:
    crm = serve(OK)
    client = connect(crm)
    client.send_batch(*BATCH, list_id="a-list", webhook_url="https://hook.example.com")
    client.send_contact(PERSON, list_id="a-list")
    batch, single = (json.loads(request.body) for request in crm.requests)
    assert (batch["listId"], batch["webhookUrl"]) == ("a-list", "https://hook.example.com")
    assert single["listId"] == "a-list"


def test_every_client_has_secrets_of_its_own(serve: Serve, connect: Connect) -> None:
    crm = serve(OK)
    one, other = (connect(crm, access_token=token) for token in ("firsttoken", "othertoken"))
    assert one.redactor.redact("firsttoken, othertoken") == "…, othertoken"
    assert other.redactor.redact("firsttoken, othertoken") == "firsttoken, …"


def test_a_413_asks_for_less_until_there_is_no_less(serve: Serve, connect: Connect) -> None:
    client = connect(serve(reply(413, {"message": "too much"})))
    both = client.send_batch([PERSON] * 2, BATCH[1] * 2)
    assert isinstance(both, Refused)
    assert both.is_too_large
    for refused in (client.send_batch(*BATCH), client.send_contact(PERSON)):
        assert isinstance(refused, Refused)
        assert (refused.words, refused.is_too_large) == ((413, "too much"), False)


def test_a_202_that_says_it_failed_is_a_refusal(serve: Serve, connect: Connect) -> None:
    client = connect(serve(reply(202, {"status": "Error", "message": "No such list"})))
    refused = client.send_batch(*BATCH)
    assert isinstance(refused, Refused)
    assert refused.words == (202, "No such list")


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
        assert "a redirect to localhost. Redirects are never followed" in message
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
        pytest.param(server.PAGE, id="a proxy's page"),
        pytest.param(reply(200, {"login": "please"}), id="another API"),
        pytest.param(reply(202, b"Accepted", content_type="text/plain"), id="text"),
        pytest.param(reply(202, [1]), id="a list"),
        pytest.param(reply(304), id="304"),
    ],
)
def test_what_is_not_the_apis_ends_the_run(odd: Reply, serve: Serve, connect: Connect) -> None:
    crm = serve(odd)
    for ask in (
        lambda: connect(crm).send_batch(*BATCH),
        lambda: connect(crm).send_contact(PERSON),
    ):
        message = failure(errors.ProtocolError, ask)
        assert crm.host in message
        assert "Check 'api_url'" in message


@pytest.mark.parametrize(
    "empty", [pytest.param(reply(202), id="202"), pytest.param(reply(204), id="204")]
)
def test_an_empty_answer_is_accepted_but_untrackable(
    empty: Reply, serve: Serve, connect: Connect
) -> None:
    crm = serve(empty)
    assert connect(crm).send_batch(*BATCH) == Accepted(batch_id=None)
    assert connect(crm).send_contact(PERSON) == Accepted()
    assert len(crm.requests) == 2


def test_an_address_that_cannot_be_asked_is_no_passing_trouble(
    serve: Serve, connect: Connect
) -> None:
    client = connect(serve(OK), api_url="http://127.0.0.1:99999")
    message = failure(errors.ProtocolError, lambda: client.send_batch(*BATCH))
    assert "Check 'api_url'" in message


@pytest.mark.parametrize(
    "answer",
    [
        reply(500),
        reply(404, {"message": "no such batch"}),
        reply(401),
        reply(429),
        server.PAGE,
        server.RESET,
        reply(200, {"odd": 1}),
    ],
)
def test_a_status_that_cannot_be_read_fails_nothing(
    answer: Reply, serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    crm = serve(answer)
    assert connect(crm).batch_status("ce2c2e48") is None
    assert len(crm.requests) == 1
    assert not fake.waits


def test_a_status_takes_only_what_sending_leaves(
    serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    crm = serve(reply(200, {"status": 1}))
    client = connect(crm, plan=Plan(burst=10, daily=1000))
    began = fake.now
    polled = [client.batch_status("ce2c2e48") for _ in range(12)]
    assert [status is not None for status in polled] == [True] * 10 + [False] * 2
    assert fake.now == began
    assert client.batch_status("ce2c2e48", wait=True) is not None
    assert client.batch_status("ce2c2e48", wait=True) is not None
    assert fake.now > began + 10


def test_a_status_ends_with_the_run(serve: Serve, connect: Connect, fake: FakeTime) -> None:
    client = connect(serve(OK))
    fake.stopped = True
    failure(errors.InterruptedRunError, lambda: client.batch_status("x", wait=True))
    assert client.batch_status("x") is None


@pytest.mark.parametrize(
    "answer",
    [
        reply(200, {"id": "x", "status": 0}),
        reply(404),
        reply(400, {"title": "No such batch"}),
        reply(422, b"", content_type=""),
    ],
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
    assert dict(client.stats.by_endpoint) == {
        "POST /token": 1,
        "POST /contacts/batch": 2,
        "POST /contacts/insertupdate": 1,
        "GET /contacts/{id}/Status": 1,
    }
    client.close()
    metrics = [line for line in heard.lines if line.startswith("METRIC")]
    assert len(metrics) == 4
    assert all("http_request_count" in line for line in metrics)


# --- Odd but harmless, and odd but not shown


def test_an_empty_chunked_response_is_accepted(serve: Serve, connect: Connect) -> None:
    empty = b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    crm = serve(Reply(empty))
    client = connect(crm)
    assert [client.send_batch(*BATCH) for _ in range(2)] == [Accepted(), Accepted()]
    assert crm.connections == 1


def test_a_content_type_is_redacted(serve: Serve, connect: Connect) -> None:
    kind = f"text/{PERSON.email}; charset={TOKEN}"
    crm = serve(reply(202, b"Accepted", content_type=kind))
    message = failure(errors.ProtocolError, lambda: connect(crm).send_batch(*BATCH))
    assert "and a body of type '…" in message


def test_a_redirects_host_is_redacted(serve: Serve, connect: Connect) -> None:
    crm = serve(server.redirect(302, f"https://{TOKEN}.example.com/"))
    message = failure(errors.ProtocolError, lambda: connect(crm).send_batch(*BATCH))
    assert "a redirect to …" in message


@pytest.mark.parametrize("token", ["abc4def", "twelveletter", "tokenofthirtycharactersandonly"])
def test_a_token_that_looks_like_a_word_is_not_repeated(
    token: str, serve: Serve, connect: Connect
) -> None:
    crm = serve(reply(403, {"message": f"Not with {token}, {token.upper()} or x{token}x"}))
    client = connect(crm, access_token=token)
    message = failure(errors.RequestRefusedError, lambda: client.send_batch(*BATCH))
    assert token not in message.casefold()
    assert "saying: Not with …, … or x…x. The contacts are not the cause." in message
