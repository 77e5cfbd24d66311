"""The token: created, renewed, refused."""

from __future__ import annotations

import json
import threading
import typing as t

import pytest

from target_mainbrainer import errors
from target_mainbrainer.api.answers import Accepted
from target_mainbrainer.settings.declared import Plan
from tests import broken_server as server
from tests.api.helpers import (
    BATCH,
    CREDENTIALS,
    ECHO,
    Connect,
    FakeTime,
    Serve,
    SlowLimiter,
    failure,
    in_threads,
    issue_tokens,
    token_requests,
)
from tests.broken_server import Reply, Request, reply

if t.TYPE_CHECKING:
    from collections.abc import Callable


def test_credentials_are_exchanged_for_a_token(serve: Serve, connect: Connect) -> None:
    crm, auth = serve(issue_tokens()), serve(issue_tokens())
    client = connect(crm, auth_url=f"{auth.url}/token", **CREDENTIALS)
    client.send_batch(*BATCH)
    client.send_batch(*BATCH)
    assert [request.token for request in crm.requests] == ["issued-token-1"] * 2
    (asked,) = auth.requests
    assert json.loads(asked.body) == {
        "userName": CREDENTIALS["username"],
        "password": CREDENTIALS["password"],
        "privateToken": CREDENTIALS["private_token"],
        "validity": "Default",
    }


def test_twenty_threads_that_meet_a_401_renew_once(serve: Serve, connect: Connect) -> None:
    together = threading.Barrier(20, timeout=10)
    issue = issue_tokens(is_good=lambda token: token == "issued-token-2")

    def answer(request: Request) -> Reply:
        if request.token == "issued-token-1":
            together.wait()
        return issue(request)

    crm = serve(answer)
    client = connect(crm, **CREDENTIALS)
    assert in_threads(20, lambda: client.send_batch(*BATCH)) == []
    assert len(token_requests(crm)) == 2
    assert len(crm.requests) == 2 + 20 + 20


REFUSED = "MainBrainer refused the access token (401 on POST /contacts/batch)"


def test_a_token_that_is_refused_ends_it_at_once_or_after_one_renewal(
    serve: Serve, connect: Connect
) -> None:
    crm = serve(reply(401, {"message": ECHO}))
    message = failure(errors.AuthError, lambda: connect(crm).send_batch(*BATCH))
    assert message.startswith(f"{REFUSED}. Check that 'access_token' is complete, belongs to")
    assert len(crm.requests) == 1
    crm = serve(issue_tokens(is_good=lambda _: False))
    message = failure(errors.AuthError, lambda: connect(crm, **CREDENTIALS).send_batch(*BATCH))
    assert message.startswith(f"{REFUSED} after one renewal. Check that the credentials belong to")
    assert len(crm.requests) == 4


@pytest.mark.parametrize("says", [7200, 3, 1])
@pytest.mark.parametrize("lives", [1.5, 3.0])
def test_tokens_that_end_every_few_seconds_stop_nothing(
    says: int, lives: float, serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    """With a budget so small that a token may end while its user waits for a turn."""
    issued: dict[str, float] = {}
    issue = issue_tokens(
        is_good=lambda token: fake.now < issued.setdefault(token, fake.now) + lives, lifetime=says
    )

    def answer(request: Request) -> Reply:
        if request.path == "/token":
            issued[f"issued-token-{len(issued) + 1}"] = fake.now
        return issue(request)

    crm = serve(answer)
    client = connect(crm, plan=Plan(burst=4, daily=100_000), **CREDENTIALS)
    for _ in range(40):
        client.send_batch(*BATCH)
        fake.now += 0.4
    posts = len(crm.requests) - len(token_requests(crm))
    assert len(token_requests(crm)) <= 41
    assert posts <= 80


def test_a_token_endpoint_that_fails_is_asked_again(serve: Serve, connect: Connect) -> None:
    issue = issue_tokens()
    faults = [reply(500), server.RESET, server.CUT_JSON, reply(429)]
    crm = serve(lambda r: faults[r.number] if r.number < len(faults) else issue(r))
    answer = connect(crm, **CREDENTIALS).send_batch(*BATCH)
    assert answer == Accepted(batch_id="ce2c2e48")
    assert len(token_requests(crm)) == 5


@pytest.mark.parametrize("status", [400, 401, 403, 409, 422])
def test_refused_credentials_end_it_for_all_threads(
    status: int, serve: Serve, connect: Connect
) -> None:
    crm = serve(reply(status, {"message": f"Wrong {CREDENTIALS['password']}"}))
    client = connect(crm, **CREDENTIALS)
    raised = in_threads(20, lambda: client.send_batch(*BATCH))
    assert [type(error) for error in raised] == [errors.AuthError] * 20
    assert len(crm.requests) == 1
    message = failure(errors.AuthError, lambda: client.send_batch(*BATCH))
    assert message.startswith(f"MainBrainer refused the credentials ({status} ")
    assert "saying: Wrong …). Check 'username', 'password' and 'private_token'." in message


def test_a_token_endpoint_that_stays_down_is_given_up_once(
    serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    crm = serve(reply(500))
    client = connect(crm, retry_max_seconds=30, **CREDENTIALS)
    began = fake.now
    raised = in_threads(5, lambda: client.send_batch(*BATCH))
    assert [type(error) for error in raised] == [errors.TransientError] * 5
    assert fake.now - began < 40, "the time for retries passes once"
    asked = len(crm.requests)
    message = failure(errors.TransientError, lambda: client.send_batch(*BATCH))
    assert f"POST /token was given up after {asked} tries in 30 s." in message


def test_a_wrong_token_address_is_told(serve: Serve, connect: Connect) -> None:
    missing = connect(serve(reply(404, b"<p>Not found</p>")), **CREDENTIALS)
    message = failure(errors.RequestRefusedError, lambda: missing.send_batch(*BATCH))
    assert "Set 'auth_url' to the full address" in message
    page = connect(serve(server.PAGE), **CREDENTIALS)
    message = failure(errors.ProtocolError, lambda: page.send_batch(*BATCH))
    assert "POST /token with 200 OK and a body of type 'text/html'" in message


# --- Lives of tokens


def slow_tokens(fake: FakeTime, *, seconds: float, lifetime: int) -> Callable[[Request], Reply]:
    """Be a server that takes its time to issue tokens."""
    issue = issue_tokens(lifetime=lifetime)

    def answer(request: Request) -> Reply:
        fake.now += seconds if request.path == "/token" else 0
        return issue(request)

    return answer


def test_a_token_is_renewed_a_minute_before_it_ends(
    serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    crm = serve(issue_tokens(lifetime=7200))
    client = connect(crm, **CREDENTIALS)
    asked = fake.now
    renewed = []
    for moment in (0, 7139, 7141, 7141 + 7139, 7141 + 7141):
        fake.now = asked + moment
        client.send_batch(*BATCH)
        renewed.append(len(token_requests(crm)))
    assert renewed == [1, 1, 2, 2, 3]


def test_a_tokens_life_begins_when_it_is_asked_for(
    serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    """A slow token endpoint may have counted from the beginning of the exchange."""
    crm = serve(slow_tokens(fake, seconds=50, lifetime=7200))
    client = connect(crm, **CREDENTIALS)
    asked = fake.now
    client.send_batch(*BATCH)
    fake.now = asked + 7141
    client.send_batch(*BATCH)
    assert len(token_requests(crm)) == 2


def test_a_token_that_has_ended_on_arrival_is_used_for_a_second(
    serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    """Its end may have been told wrongly; asking again at once would bring another like it."""
    crm = serve(slow_tokens(fake, seconds=90, lifetime=60))
    client = connect(crm, **CREDENTIALS)
    for _ in range(3):
        assert client.send_batch(*BATCH) == Accepted(batch_id="ce2c2e48")
    assert len(token_requests(crm)) == 1


def test_a_token_is_renewed_five_times_at_most(
    serve: Serve, connect: Connect, fake: FakeTime
) -> None:
    """Tokens that had to wait for a permit may have ended meanwhile, but not for ever."""
    crm = serve(issue_tokens(is_good=lambda _: False, lifetime=1))
    client = connect(crm, rate_limiter=SlowLimiter(fake, seconds=2), **CREDENTIALS)
    message = failure(errors.AuthError, lambda: client.send_batch(*BATCH))
    assert "after 5 renewals" in message
    assert len(token_requests(crm)) == 6
