"""Singer lines in; requests, contacts, STATE and exit code out, whatever goes wrong in between."""

from __future__ import annotations

import io
import itertools
import json
import re
import threading
import typing as t
from collections import Counter

import pytest

import mainbrainer_sandbox as sandbox
from target_mainbrainer.api.client import MainBrainerClient
from target_mainbrainer.delivery import buffer, delivery, queue
from target_mainbrainer.delivery.outcomes import Outcomes
from target_mainbrainer.target import TargetMainBrainer
from tests import broken_server
from tests.broken_server import BrokenServer
from tests.loads import add_up, emails, people
from tests.messages import person, record, schema
from tests.waiting import wait_until

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import RunTarget

LIST = "3fa85f64-5717-4562-b3fc-2c963f66afa6"


@pytest.mark.usefixtures("hasty")
def test_every_record_ends_in_exactly_one_outcome(
    run_target: RunTarget, start_crm: Callable[..., RunningSandbox], tmp_path: Path
) -> None:
    crm = start_crm(
        plan="unlimited", refuse_email="bad", faults=["503@p0.1", "lost@p0.05", "reset@p0.05"]
    )
    lines = people(300, bad={7, 8, 120})
    lines += [person(n) for n in range(250, 281)]  # again: merged or sent anew
    lines += [person(n, email=None) for n in (301, 302)]  # nothing to be matched on
    lines += [person(n, _sdc_deleted_at="2026-01-01T00:00:00Z") for n in (303, 304, 305)]
    lines += [schema(stream="members"), record("members", id=1, email="m@example.org")]
    ended = run_target(
        *lines,
        api_url=crm.url,
        access_token=crm.token,
        rejects_path=str(tmp_path / "rejects.singer"),
    )
    assert ended.code == 0, ended.errors
    add_up(ended)
    counts = ended.report["streams"]["people"]
    assert counts["read"] == 336
    assert counts["accepted"] + counts["merged"] == 297 + 31
    assert counts["rejected_by_code"] == {"refused_422": 3, "no_identity": 2}
    assert (counts["omitted"], counts["undelivered"]) == (3, 0)
    assert ended.report["streams"]["members"]["accepted"] == 1
    assert ended.states[-1] == {"bookmark": 300}


def test_a_run_that_has_lost_count_fails_loudly(
    run_target: RunTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = Outcomes.accepted

    def forget_one(self: Outcomes, batch: t.Any, *args: t.Any, **kind: t.Any) -> t.Any:
        taken = book(self, batch, *args, **kind)
        batch.stream.report.accepted -= 1
        return taken

    monkeypatch.setattr(Outcomes, "accepted", forget_one)
    ended = run_target(*people(20))
    assert ended.code == 1
    assert "do not add up: 20 records read, 19 accounted for" in ended.error


def test_the_sdks_metrics_count_records_and_batches(run_target: RunTarget) -> None:
    ended = run_target(*people(250))
    metrics = [
        json.loads(text.partition("METRIC: ")[2])
        for text in ended.log.splitlines()
        if "METRIC: " in text
    ]
    totals: Counter[str] = Counter()
    for metric in metrics:
        if metric["type"] == "counter":
            totals[metric["metric"]] += metric["value"]
    assert totals == {"record_count": 250, "batch_count": 3, "http_request_count": 3}


def test_progress_is_told_in_one_line(
    run_target: RunTarget,
    start_crm: Callable[..., RunningSandbox],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery, "PROGRESS_INTERVAL_SECONDS", 0.1)
    monkeypatch.setattr(delivery, "TICK_SECONDS", 0.05)
    crm = start_crm(plan="unlimited", faults=["latency=0.3@2-9"])
    ended = run_target(
        *people(250), api_url=crm.url, access_token=crm.token, rate_limit_requests=100
    )
    (told, *_) = [line for line in ended.log.splitlines() if "contacts a second, " in line]
    assert re.search(
        r"\d+ accepted, 0 rejected, \d+ contacts a second, \d+% of the plan's requests used", told
    )


def test_the_server_never_sees_more_than_the_plan_allows(
    run_target: RunTarget, start_crm: Callable[..., RunningSandbox]
) -> None:
    """And a wait is explained."""
    crm = start_crm(plan="unlimited", burst=15, faults=["latency=0-0.1"])
    ended = run_target(
        *people(20 * 100),
        api_url=crm.url,
        access_token=crm.token,
        rate_limit_requests=15,
    )
    assert ended.code == 0, ended.errors
    times = sorted(request.started for request in crm.requests())
    assert len(times) == 20
    assert all(later - early >= 10 for early, later in zip(times, times[15:], strict=False))
    assert "Waiting" in ended.log
    assert "limit of requests in 10 seconds" in ended.log


@pytest.mark.usefixtures("hasty")
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
    run_target: RunTarget,
    start_crm: Callable[..., RunningSandbox],
    faults: list[str],
) -> None:
    crm = start_crm(plan="unlimited", faults=faults)
    ended = run_target(
        *people(600),
        api_url=crm.url,
        access_token=crm.token,
        batch_size_rows=20,
        request_timeout_seconds=1,
    )
    assert ended.code == 0, ended.errors
    assert ended.states[-1] == {"bookmark": 600}
    assert emails(crm) == {f"p{n}@example.com" for n in range(1, 601)}
    assert len(crm.contacts()) == 600, "sent twice is not there twice"
    met = {request.fault for request in crm.requests()} - {None}
    assert met or ended.report["retries"], "no request was met by a fault, so this shows nothing"


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("form", ["seconds", "date", "none"])
def test_a_limit_that_others_have_used_up_is_waited_for(
    run_target: RunTarget, start_crm: Callable[..., RunningSandbox], form: str
) -> None:
    crm = start_crm(plan="unlimited", retry_after=form, faults=["429=2@2,5", "429@8"])
    ended = run_target(*people(1000), api_url=crm.url, access_token=crm.token)
    assert ended.code == 0, ended.errors
    assert len(crm.contacts()) == 1000
    assert Counter(request.status for request in crm.requests())[429] == 3


def test_tokens_that_end_all_the_time_are_renewed(
    run_target: RunTarget, settings: dict[str, t.Any], start_crm: Callable[..., RunningSandbox]
) -> None:
    crm = start_crm(plan="unlimited", token_lifetime_seconds=0.8, faults=["latency=0.25"])
    del settings["access_token"]
    who = crm.credentials
    ended = run_target(
        *people(2000),
        api_url=crm.url,
        username=who.username,
        password=who.password,
        private_token=who.private_token,
        max_concurrent_requests=2,
    )
    assert ended.code == 0, ended.errors
    assert len(crm.contacts()) == 2000
    assert sum(request.path == "/token" for request in crm.requests()) > 2


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("faults", "words"),
    [
        pytest.param(["html@4-999"], "is not MainBrainer's", id="a proxy's page"),
        pytest.param(["503@4-999"], "was given up after", id="503 for good"),
        pytest.param(["reset@4-999"], "was given up after", id="a dead network"),
        pytest.param(["hang@4-999"], "was given up after", id="silence"),
        pytest.param(["cut@4-999"], "was given up after", id="cut JSON for good"),
        pytest.param(["429@4-999"], "was given up after", id="429 for good"),
        pytest.param(["401@4-999"], "refused the access token", id="401"),
        pytest.param(["403@4-999"], "The contacts are not the cause", id="403"),
        pytest.param(["404@4-999"], "Check 'api_url'", id="404"),
        pytest.param(["406@4-999"], "The contacts are not the cause", id="406"),
        pytest.param(["302@4-999"], "Redirects are never", id="a redirect"),
    ],
)
def test_lasting_trouble_ends_the_run_with_one_error_and_state_where_it_should_be(
    run_target: RunTarget,
    start_crm: Callable[..., RunningSandbox],
    faults: list[str],
    words: str,
) -> None:
    crm = start_crm(plan="unlimited", faults=faults)
    ended = run_target(
        *people(1000),
        api_url=crm.url,
        access_token=crm.token,
        retry_max_seconds=2,
        request_timeout_seconds=1,
        max_concurrent_requests=2,
    )
    assert ended.code == 1
    assert words in ended.error
    add_up(ended)
    last = ended.states[-1]["bookmark"] if ended.states else 0
    assert last >= 100
    assert {f"p{n}@example.com" for n in range(1, last + 1)} <= emails(crm)
    assert ended.report["streams"]["people"]["rejected"] == 0


def test_the_first_error_is_the_one_that_is_told(
    run_target: RunTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two requests in flight, the one answered later was sent first."""
    is_refused = threading.Event()
    tick = delivery.Delivery.tick

    def tick_when_both_have_failed(self: delivery.Delivery) -> None:
        if is_refused.is_set():
            for thread in threading.enumerate():
                if thread.name == "sender":
                    thread.join(10)
        tick(self)

    monkeypatch.setattr(delivery.Delivery, "tick", tick_when_both_have_failed)

    def is_one_sender_left() -> bool:
        return [thread.name for thread in threading.enumerate()].count("sender") == 1

    def answer(request: broken_server.Request) -> broken_server.Reply:
        if request.number == 1:
            assert is_refused.wait(10)
            wait_until(is_one_sender_left, "the other answer has not arrived")
            return broken_server.reply(404)
        if request.number == 2:
            is_refused.set()
            return broken_server.reply(403)
        return broken_server.OK

    with BrokenServer(answer) as server:
        ended = run_target(
            *people(1000),
            api_url=server.url,
            access_token="made-up",
            max_concurrent_requests=2,
        )
    assert ended.code == 1
    assert len(server.requests) == 3
    assert "403" in ended.error


@pytest.mark.parametrize("status", [307, 308, 302])
def test_a_redirect_carries_nothing_to_another_host(run_target: RunTarget, status: int) -> None:
    with BrokenServer(lambda _: broken_server.OK) as elsewhere:
        away = broken_server.redirect(status, f"{elsewhere.url}/contacts/batch")
        with BrokenServer(lambda _: away) as server:
            ended = run_target(*people(300), api_url=server.url, access_token="secret-token")
    assert ended.code == 1
    assert "a redirect to" in ended.error
    assert elsewhere.requests == []
    assert ended.states == []


@pytest.mark.usefixtures("hasty")
def test_a_token_endpoint_that_fails_ends_the_run_before_anything_is_sent(
    run_target: RunTarget,
    settings: dict[str, t.Any],
    start_crm: Callable[..., RunningSandbox],
) -> None:
    crm = start_crm(plan="unlimited", faults=["500:token"])
    del settings["access_token"]
    ended = run_target(
        *people(300),
        api_url=crm.url,
        username="u",
        password="p",
        private_token="t",
        retry_max_seconds=1,
    )
    assert ended.code == 1
    assert "POST /token was given up" in ended.error
    assert {request.path for request in crm.requests()} == {"/token"}
    assert ended.states == []


class Endless:
    """Lines that are made when they are read; a file without a descriptor."""

    def fileno(self) -> int:
        raise io.UnsupportedOperation

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.read_so_far = 0

    def __iter__(self) -> t.Self:
        return self

    def __next__(self) -> str:
        self.read_so_far += 1
        return f"{next(self._lines)}\n"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("mode", ["none", "require"])
def test_the_reader_never_runs_ahead_of_a_slow_server(
    settings: dict[str, t.Any],
    crm: RunningSandbox,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
) -> None:
    """That, and nothing else, keeps the memory flat; the million is in `make bench`."""
    crm.set_faults("latency=0.02:batch")
    monkeypatch.setattr(queue, "MIN_CONTACTS", 0)
    source = Endless(iter(people(6_000, every=10**9)))
    delivered = itertools.count()
    ahead: list[int] = []
    post = MainBrainerClient.post_batch

    def count(self: MainBrainerClient, body: bytes, *, size: int) -> t.Any:
        answer = post(self, body, size=size)
        ahead.append(source.read_so_far - size * next(delivered))
        return answer

    monkeypatch.setattr(MainBrainerClient, "post_batch", count)
    own = {"batch_size_rows": 50, "max_concurrent_requests": 3, "confirm_batches": mode}
    TargetMainBrainer(config=settings | own).run(t.cast("t.Any", source))
    places = 3 + queue.READY_BATCHES
    assert len(ahead) == 120
    assert max(ahead) <= (places + 3) * 50 + 1


def test_many_records_of_one_contact_do_not_pile_up(
    run_target: RunTarget, monkeypatch: pytest.MonkeyPatch, crm: RunningSandbox
) -> None:
    monkeypatch.setattr(buffer, "MAX_BUFFER_BYTES", 10_000)
    lines = [person(1, firstname=f"First{n}") for n in range(1000)]
    ended = run_target(schema(), *lines)
    assert ended.code == 0
    assert len(crm.requests()) == pytest.approx(len("".join(lines)) / 10_000, rel=0.2)
    (contact,) = crm.contacts()
    assert contact["properties"]["firstname"] == "First999"


def test_the_sandbox_of_a_rehearsal_is_closed_with_the_run(
    run_target: RunTarget, settings: dict[str, t.Any], tmp_path: Path
) -> None:
    settings.clear()
    path = tmp_path / "rehearsal.db"
    ended = run_target(*people(150), sandbox_path=str(path))
    assert ended.code == 0, ended.errors
    with sandbox.start(path) as crm:
        assert len(crm.contacts()) == 150
