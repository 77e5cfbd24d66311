"""The token: created, renewed, refused."""

import json
import threading

import pytest

from target_mainbrainer.errors import AuthError, ProtocolError, RequestRefusedError, TransientError
from tests import broken_server as server
from tests.api.helpers import ACCEPTED, BATCH, CREDENTIALS, ECHO, Api, SlowLimiter
from tests.broken_server import Reply, Request, reply
from tests.loads import cases


def test_credentials_are_exchanged_for_a_token(api: Api) -> None:
    auth, crm = api.serve(api.issue_tokens()), api.serve(api.issue_tokens())
    client = api.client(crm, auth_url=f"{auth.url}/token", **CREDENTIALS)
    for _ in range(2):
        client.send_batch(*BATCH)
    assert [request.token for request in crm.requests] == ["issued-token-1"] * 2
    (asked,) = auth.requests
    known = {"userName": CREDENTIALS["username"], "password": CREDENTIALS["password"]}
    known |= {"privateToken": CREDENTIALS["private_token"], "validity": "Default"}
    assert json.loads(asked.body) == known


def test_twenty_threads_that_meet_a_401_renew_once(api: Api) -> None:
    together = threading.Barrier(20, timeout=60)
    issue = api.issue_tokens(is_good=lambda token: token == "issued-token-2")

    def answer(request: Request) -> Reply:
        if request.token == "issued-token-1":
            together.wait()
        return issue(request)

    assert api.in_threads(20, api.client(answer, **CREDENTIALS)) == []
    assert (len(api.token_requests()), len(api.crm.requests)) == (2, 2 + 20 + 20)


REFUSED = "MainBrainer refused the access token (401 on POST /contacts/batch)"


def test_a_token_that_is_refused_ends_it_at_once_or_after_one_renewal(api: Api) -> None:
    message = api.fails(AuthError, api.client(reply(401, {"message": ECHO})))
    assert message.startswith(f"{REFUSED}. Check that 'access_token', or else the credentials, are")
    assert len(api.crm.requests) == 1
    never = api.issue_tokens(is_good=lambda _: False)
    message = api.fails(AuthError, api.client(never, **CREDENTIALS))
    assert message.startswith(REFUSED)
    assert len(api.crm.requests) == 4


def test_a_token_endpoint_that_fails_is_asked_again(api: Api) -> None:
    issue = api.issue_tokens()
    faults = [reply(500), server.RESET, server.CUT_JSON, reply(429)]
    client = api.client(lambda r: faults[r.number] if r.number < 4 else issue(r), **CREDENTIALS)
    assert client.send_batch(*BATCH) == ACCEPTED
    assert len(api.token_requests()) == 5


@cases("status", 400, 401, 403, 409, 422)
def test_refused_credentials_end_it_for_all_threads(api: Api, status: int) -> None:
    client = api.client(reply(status, {"message": "Wrong made-up password"}), **CREDENTIALS)
    assert api.in_threads(20, client) == [AuthError] * 20
    assert len(api.crm.requests) == 1
    message = api.fails(AuthError, client)
    assert message.startswith(f"MainBrainer refused the credentials ({status} ")
    assert "saying: Wrong …). Check 'username', 'password' and 'private_token'." in message


def test_a_token_endpoint_that_stays_down_is_given_up_once(api: Api) -> None:
    client = api.client(reply(500), retry_max_seconds=30, **CREDENTIALS)
    assert api.in_threads(5, client) == [TransientError] * 5
    assert api.world.passed < 40, "the time for retries passes once"
    asked = len(api.crm.requests)
    message = api.fails(TransientError, client)
    assert f"POST /token was given up after {asked} tries in 30 s." in message


def test_a_wrong_token_address_is_named(api: Api) -> None:
    missing = api.client(reply(404, b"<p>Not found</p>"), **CREDENTIALS)
    assert "Set 'auth_url' to the full address" in api.fails(RequestRefusedError, missing)
    message = api.fails(ProtocolError, api.client(server.PAGE, **CREDENTIALS))
    assert "POST /token with 200 OK and a body of type 'text/html'" in message


# --- Lives of tokens


@cases(
    "takes life at tokens",
    pytest.param(0, 7200, [0, 7139, 7141, 14_280, 14_282], [1, 1, 2, 2, 3], id="a minute"),
    pytest.param(50, 7200, [0, 7141], [1, 2], id="counted from the question on"),
    pytest.param(0, 100, [0, 79, 81], [1, 1, 2], id="a fifth of a short life"),
    pytest.param(90, 60, [0, 90, 90], [1, 1, 1], id="ended on arrival"),
)
def test_a_tokens_life(api: Api, takes: float, life: int, at: list[int], tokens: list[int]) -> None:
    """It is renewed so long before it ends.

    A slow token endpoint may have counted from the beginning of the exchange. A token that has
    ended on arrival is used for a second, as its end may be wrong; asking again at once would bring
    another like it.
    """
    issue, world = api.issue_tokens(lifetime=life), api.world

    def answer(request: Request) -> Reply:
        world.now += takes if request.path == "/token" else 0
        return issue(request)

    client, asked = api.client(answer, **CREDENTIALS), []
    for moment in at:
        world.now = world.start + moment
        assert client.send_batch(*BATCH) == ACCEPTED
        asked.append(len(api.token_requests()))
    assert asked == tokens


def test_a_token_is_renewed_five_times_at_most(api: Api) -> None:
    """Tokens that had to wait for a permit may have ended meanwhile, but not for ever."""
    issue = api.issue_tokens(is_good=lambda _: False, lifetime=1)
    client = api.client(issue, limiter=SlowLimiter(api.world, seconds=2), **CREDENTIALS)
    assert api.fails(AuthError, client).startswith(REFUSED)
    assert len(api.token_requests()) == 6
