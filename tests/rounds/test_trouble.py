"""Every contact lands through passing trouble; lasting trouble ends the run, and loses nothing."""

from __future__ import annotations

import threading
import time
import typing as t
from collections import Counter

import pytest

from tests import broken_server
from tests.broken_server import BrokenServer
from tests.loads import emails, people

if t.TYPE_CHECKING:
    from mainbrainer_sandbox.running import RunningSandbox
    from tests.broken_server import Serve
    from tests.messages import RunTarget


pytestmark = pytest.mark.usefixtures("hasty")


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(["500@p0.05", "502@p0.05", "503@p0.05"], id="5xx"),
        pytest.param(["reset@p0.1"], id="reset"),
        pytest.param(["lost@p0.1"], id="applied, and the answer lost"),
        pytest.param(["hang@4,9"], id="hanging"),
        pytest.param(["cut@p0.1"], id="cut JSON"),
        pytest.param(["429@3,7", "429=1@11"], id="429"),
        pytest.param(["408@p0.1"], id="408"),
        pytest.param(["413@1-3:batch"], id="413"),
        pytest.param(["noid"], id="no batch id"),
        pytest.param(
            ["503@p0.05", "reset@p0.02", "lost@p0.01", "hang@17", "latency=0-0.02", "429@23"],
            id="everything at once",
        ),
    ],
)
def test_every_contact_lands_through_passing_trouble(
    run_target: RunTarget, crm: RunningSandbox, faults: list[str]
) -> None:
    crm.set_faults(*faults)
    ended = run_target(*people(600), batch_size_rows=20, request_timeout_seconds=1).ok()
    assert ended.states[-1] == {"bookmark": 600}
    assert emails(crm) == {f"p{n}@example.com" for n in range(1, 601)}
    assert len(crm.contacts()) == 600, "sent twice is not there twice"
    met = {request.fault for request in crm.requests()} - {None}
    assert met or ended.report["retries"], "no request was met by a fault, so this shows nothing"


@pytest.mark.parametrize("form", ["seconds", "date", "none"])
def test_a_limit_that_others_have_used_up_is_waited_for(
    run_target: RunTarget, crm: RunningSandbox, form: str
) -> None:
    crm.set_switches(retry_after=form)
    crm.set_faults("429=2@2,5", "429@8")
    run_target(*people(1000)).ok()
    assert len(crm.contacts()) == 1000
    assert Counter(request.status for request in crm.requests())[429] == 3


def test_tokens_that_end_all_the_time_are_renewed(
    run_target: RunTarget, settings: dict[str, t.Any], crm: RunningSandbox
) -> None:
    crm.set_switches(token_lifetime_seconds=0.8)
    crm.set_faults("latency=0.25")
    del settings["access_token"]
    who = crm.credentials
    run_target(
        *people(2000),
        username=who.username,
        password=who.password,
        private_token=who.private_token,
        max_concurrent_requests=2,
    ).ok()
    assert len(crm.contacts()) == 2000
    assert sum(request.path == "/token" for request in crm.requests()) > 2


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        pytest.param(["html@4-999"], "not MainBrainer's", id="a proxy's page"),
        pytest.param(["503@4-999"], "was given up after", id="503 for good"),
        pytest.param(["reset@4-999"], "was given up after", id="a dead network"),
        pytest.param(["hang@4-999"], "was given up after", id="silence"),
        pytest.param(["cut@4-999"], "was given up after", id="cut JSON for good"),
        pytest.param(["429@4-999"], "was given up after", id="429 for good"),
        pytest.param(["401@4-999"], "refused the access token", id="401"),
        pytest.param(["lost@4-999"], "was given up after", id="every answer lost"),
        pytest.param(["403@4-999"], "403", id="403"),
        pytest.param(["404@4-999"], "Check 'api_url'", id="404"),
        pytest.param(["406@4-999"], "406", id="406"),
        pytest.param(["302@4-999"], "Redirects are", id="a redirect"),
    ],
)
def test_lasting_trouble_ends_the_run_with_one_error_and_state_where_it_should_be(
    run_target: RunTarget, crm: RunningSandbox, faults: list[str], words: str
) -> None:
    crm.set_faults(*faults)
    ended = run_target(
        *people(1000), retry_max_seconds=2, request_timeout_seconds=1, max_concurrent_requests=2
    )
    assert ended.code == 1
    assert words in ended.error
    last = ended.states[-1]["bookmark"] if ended.states else 0
    assert last >= 100
    assert {f"p{n}@example.com" for n in range(1, last + 1)} <= emails(crm)
    assert (ended.counts["accepted"], ended.counts["rejected"]) == (300, 0), (
        "unknown is never success"
    )


def test_the_first_error_is_the_one_that_is_told(run_target: RunTarget, serve: Serve) -> None:
    """Of two requests in flight, the one answered later was sent first."""
    is_refused = threading.Event()

    def answer(request: broken_server.Request) -> broken_server.Reply:
        if request.number == 1:
            assert is_refused.wait(10)
            time.sleep(0.5)  # until the other answer has arrived, which nothing tells
            return broken_server.reply(404)
        if request.number == 2:
            is_refused.set()
            return broken_server.reply(403)
        return broken_server.OK

    serve(answer)
    ended = run_target(*people(1000), max_concurrent_requests=2)
    assert ended.code == 1
    assert "403" in ended.error
    assert "404" not in ended.error


@pytest.mark.parametrize("status", [307, 308, 302])
def test_a_redirect_carries_nothing_to_another_host(run_target: RunTarget, status: int) -> None:
    with BrokenServer(lambda _: broken_server.OK) as elsewhere:
        away = broken_server.redirect(status, f"{elsewhere.url}/contacts/batch")
        with BrokenServer(lambda _: away) as server:
            ended = run_target(*people(300), api_url=server.url, access_token="secret-token")
    assert ended.code == 1
    assert "Redirects are never followed" in ended.error
    assert elsewhere.requests == []
    assert ended.states == []


def test_a_token_endpoint_that_fails_ends_the_run_before_anything_is_sent(
    run_target: RunTarget, settings: dict[str, t.Any], crm: RunningSandbox
) -> None:
    crm.set_faults("500:token")
    del settings["access_token"]
    ended = run_target(
        *people(300), username="u", password="p", private_token="t", retry_max_seconds=1
    )
    assert ended.code == 1
    assert "POST /token was given up" in ended.error
    assert {request.path for request in crm.requests()} == {"/token"}
    assert ended.states == []


def test_a_lost_answer_is_asked_for_again(run_target: RunTarget, crm: RunningSandbox) -> None:
    """The CRM has the batch twice then, which changes nothing."""
    crm.set_faults("lost@1")
    ended = run_target(*people(100)).ok()
    assert len(crm.contacts()) == 100
    assert [request.contacts for request in crm.requests()] == [100, 100]
    assert ended.counts["accepted"] == 100
    assert ended.report["retries"] == 1
