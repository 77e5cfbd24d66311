"""Singer lines in; requests, contacts, STATE and exit code out, whatever goes wrong in between."""

from __future__ import annotations

import io
import itertools
import json
import random
import re
import typing as t
from collections import Counter

import pytest

import mainbrainer_sandbox as sandbox
from target_mainbrainer.api import requester
from target_mainbrainer.api.client import MainBrainerClient
from target_mainbrainer.api.retry import pause_before_retry
from target_mainbrainer.delivery import status_polling, workers
from target_mainbrainer.target import TargetMainBrainer
from tests import broken_server
from tests.broken_server import BrokenServer
from tests.messages import person, record, schema, state

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from mainbrainer_sandbox.store import Request
    from tests.messages import Ended, RunTarget

LIST = "3fa85f64-5717-4562-b3fc-2c963f66afa6"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pause before retries as long as ever, but in hundredths of seconds."""

    def pause(error: Exception, **so_far: t.Any) -> float | None:
        seconds = pause_before_retry(error, **so_far)
        return None if seconds is None else seconds / 100

    monkeypatch.setattr(requester, "pause_before_retry", pause)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for the status of a batch at once and often."""
    monkeypatch.setattr(status_polling, "FIRST_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(status_polling, "LONGEST_PAUSE_SECONDS", 0.1)


def people(count: int, *, every: int = 50, bad: t.Container[int] = ()) -> list[str]:
    """A schema and so many people, with STATE in between; the bad ones have a bad address."""
    lines = [schema()]
    for n in range(1, count + 1):
        lines.append(person(n, email=f"bad{n}@example.com") if n in bad else person(n))
        if n % every == 0:
            lines.append(state(bookmark=n))
    return lines


def emails(crm: RunningSandbox) -> set[str]:
    return {contact["email"] for contact in crm.contacts()}


def rejected(path: Path) -> list[dict[str, t.Any]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if line["type"] == "RECORD"]


def add_up(ended: Ended) -> None:
    """Every record of every stream has exactly one outcome."""
    for counts in ended.report["streams"].values():
        outcomes = [counts[name] for name in ("accepted", "merged", "rejected", "omitted")]
        assert sum(outcomes) + counts["undelivered"] == counts["read"]
        assert counts["undelivered"] >= 0


# --- Counts


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
    book = workers.Delivery._book

    def forget_one(self: t.Any, batch: t.Any, entries: t.Any, answer: t.Any, **kind: t.Any) -> None:
        book(self, batch, entries, answer, **kind)
        batch.source.report.accepted -= 1

    monkeypatch.setattr(workers.Delivery, "_book", forget_one)
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
    monkeypatch.setattr(workers, "PROGRESS_INTERVAL_SECONDS", 0.1)
    monkeypatch.setattr(workers, "TICK_SECONDS", 0.05)
    crm = start_crm(plan="unlimited", faults=["latency=0.3@2-9"])
    ended = run_target(
        *people(250), api_url=crm.url, access_token=crm.token, rate_limit_requests=100
    )
    (told, *_) = [line for line in ended.log.splitlines() if "contacts a second, " in line]
    assert re.search(
        r"\d+ accepted, 0 rejected, \d+ contacts a second, \d+% of the plan's requests used", told
    )


# --- Order


def families(count: int, seed: int) -> Iterator[dict[str, t.Any]]:
    """Records of people who share numbers and addresses, some of them known by their id."""
    dice = random.Random(seed)  # noqa: S311 - no secret
    for n in range(count):
        family, member = dice.randrange(25), dice.randrange(3)
        columns: dict[str, t.Any] = {"seq": str(n)}
        match dice.randrange(5):
            case 0:
                columns |= {"contact_id": 900 + family}
            case 1:
                columns |= {"contact_id": 900 + family, "email": f"f{family}@example.com"}
            case 2:
                columns |= {"mobile": f"+4790000{family:03}"}
            case 3:
                columns |= {"email": f"f{family}m{member}@example.com"}
            case _:
                columns |= {
                    "mobile": f"+4790000{family:03}",
                    "email": f"f{family}m{member}@example.com",
                }
        yield columns


def identifiers(request: Request) -> set[t.Any]:
    contacts = request.body.get("createUpdateContacts", [request.body])
    found = [
        {contact.get("email"), contact.get("contactId"), contact.get("mobileNumber")}
        for contact in contacts
    ]
    return set().union(*found) - {None}


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("seed", range(2))
def test_nobody_is_overtaken_by_their_own_past(
    run_target: RunTarget, start_crm: Callable[..., RunningSandbox], seed: int
) -> None:
    """20 in flight, random latencies, retries, refusals and halves."""
    crm = start_crm(
        plan="unlimited",
        refuse_property="bad",
        faults=["latency=0-0.1", "503@p0.1", "reset@p0.05", "413@p0.05:batch"],
        seed=seed,
    )
    records = list(families(160, seed))
    dice = random.Random(seed)  # noqa: S311 - no secret
    for columns in records:
        if dice.random() < 0.02:
            columns["bad"] = "yes"
    columns = {
        "contact_id": {},
        "email": {},
        "mobile": {},
        "seq": {"type": "string"},
        "bad": {},
    }
    ended = run_target(
        schema(columns, key=()),
        *(record(**columns) for columns in records),
        api_url=crm.url,
        access_token=crm.token,
        batch_size_rows=5,
        max_concurrent_requests=20,
        max_rejects=160,
    )
    assert ended.code == 0, ended.errors
    add_up(ended)
    sent = [request for request in crm.requests() if request.body]
    overlaps = 0
    for one, other in itertools.combinations(sent, 2):
        if one.overlaps(other):
            overlaps += 1
            assert not identifiers(one) & identifiers(other)
    assert overlaps > 10, "without requests side by side this shows nothing"
    # Of every identity, the newest record that was not refused has been written last.
    taken = [request.body for request in sent if request.status == 202]
    contacts = [contact for body in taken for contact in body.get("createUpdateContacts", [body])]
    newest: dict[t.Any, int] = {}
    for contact in contacts:
        identity = contact.get("contactId") or (contact.get("mobileNumber"), contact.get("email"))
        # The two pages of the API spell it in two ways, and each is asked as its page does.
        seq = next(
            int(value)
            for fields in (contact.get("propertyfields") or contact["propertyFields"],)
            for part in fields
            for key, value in part.items()
            if key.lower() == "propertyvalue" and value.isdecimal()
        )
        assert newest.get(identity, -1) < seq
        newest[identity] = seq


# --- Isolation


@pytest.mark.parametrize("names", ["none", "first", "all"])
@pytest.mark.parametrize("body", ["envelope", "problem", "html", "empty"])
def test_exactly_the_bad_ones_are_set_aside(
    run_target: RunTarget,
    start_crm: Callable[..., RunningSandbox],
    tmp_path: Path,
    body: str,
    names: str,
) -> None:
    """1.35 %, some of them neighbours; each was refused alone before it is blamed."""
    crm = start_crm(plan="unlimited", refuse_email="bad", error_body=body, refusal_names=names)
    bad = {5, *random.Random(3).sample(range(1, 1201), 10), 700, 701, 702, 703, 1200}  # noqa: S311 - no secret
    path = tmp_path / "rejects.singer"
    ended = run_target(
        *people(1200, bad=bad),
        api_url=crm.url,
        access_token=crm.token,
        rejects_path=str(path),
    )
    assert ended.code == 0, ended.errors
    assert ended.states[-1] == {"bookmark": 1200}
    assert {line["record"]["id"] for line in rejected(path)} == bad
    assert len(rejected(path)) == len(bad)
    assert emails(crm) == {f"p{n}@example.com" for n in range(1, 1201) if n not in bad}
    alone = {
        request.body["email"]
        for request in crm.requests()
        if request.path == "/contacts/insertupdate" and request.status == 422
    }
    assert alone == {f"bad{n}@example.com" for n in bad}
    named = names != "none" and body in {"envelope", "problem"}
    assert len(crm.requests()) <= (70 if named else 190), "one by one, and halving, are more"


FAULTS_OF_THE_REQUEST = [
    pytest.param({"known_lists": "8c5f64fa-0000-4562-b3fc-2c963f66afa6"}, id="wrong list"),
    pytest.param({"account_status": 422}, id="account 422"),
    pytest.param({"account_status": 409, "error_body": "empty"}, id="account 409, no words"),
    pytest.param({"account_status": 403}, id="account 403"),
    pytest.param({"account_status": 402, "error_body": "html"}, id="account 402, html"),
]


@pytest.mark.parametrize("switches", FAULTS_OF_THE_REQUEST)
@pytest.mark.parametrize("mode", ["batch", "single"])
def test_a_request_at_fault_blames_nobody(
    run_target: RunTarget,
    start_crm: Callable[..., RunningSandbox],
    tmp_path: Path,
    switches: dict[str, t.Any],
    mode: str,
) -> None:
    crm = start_crm(plan="unlimited", **switches)
    path = tmp_path / "rejects.singer"
    ended = run_target(
        *people(2000),
        api_url=crm.url,
        access_token=crm.token,
        list_id=LIST,
        rejects_path=str(path),
        write_mode=mode,
    )
    assert ended.code == 1
    assert "MainBrainer refuse" in ended.error
    assert ended.states == []
    assert path.read_text() == ""
    assert len(crm.requests()) <= 30
    add_up(ended)


@pytest.mark.parametrize("size", [1, 5, 9])
def test_batches_too_small_for_ten_witnesses_blame_nobody_either(
    run_target: RunTarget, start_crm: Callable[..., RunningSandbox], tmp_path: Path, size: int
) -> None:
    crm = start_crm(plan="unlimited", account_status=422)
    path = tmp_path / "rejects.singer"
    ended = run_target(
        *people(500),
        api_url=crm.url,
        access_token=crm.token,
        batch_size_rows=size,
        rejects_path=str(path),
    )
    assert ended.code == 1
    assert "the fault is not the contacts'" in ended.error
    assert path.read_text() == ""
    assert len(crm.requests()) <= 30


def test_a_few_contacts_refused_alike_are_still_rejected_at_the_end(
    run_target: RunTarget, start_crm: Callable[..., RunningSandbox], tmp_path: Path
) -> None:
    """Fewer than ten cannot accuse the request: that may be how they are."""
    crm = start_crm(plan="unlimited", refuse_email="bad")
    ended = run_target(
        *people(7, every=7, bad=range(8)),
        api_url=crm.url,
        access_token=crm.token,
        rejects_path=str(tmp_path / "rejects.singer"),
    )
    assert ended.code == 0
    assert ended.report["streams"]["people"]["rejected"] == 7
    assert ended.states == [{"bookmark": 7}]


@pytest.mark.parametrize(("in_flight", "most"), [(1, 30), (4, 30), (20, 60)])
@pytest.mark.parametrize("first", [13, 14, 15])
def test_a_fault_that_begins_in_the_middle_blames_nobody_either(  # noqa: PLR0917
    run_target: RunTarget,
    start_crm: Callable[..., RunningSandbox],
    tmp_path: Path,
    first: int,
    in_flight: int,
    most: int,
) -> None:
    """Whatever passed before it, and whoever was just being searched for, proves nothing."""
    crm = start_crm(
        plan="unlimited", refuse_email="bad", faults=[f"422@{first}-99999", "latency=0.01-0.03"]
    )
    path = tmp_path / "rejects.singer"
    ended = run_target(
        *people(3000, bad={520}),
        api_url=crm.url,
        access_token=crm.token,
        rejects_path=str(path),
        max_concurrent_requests=in_flight,
    )
    assert ended.code == 1
    assert "the fault is not the contacts'" in ended.error
    assert {line["record"]["id"] for line in rejected(path)} <= {520}
    assert len(crm.requests()) - first + 1 <= most
    last = ended.states[-1]["bookmark"] if ended.states else 0
    assert {f"p{n}@example.com" for n in range(1, last + 1) if n != 520} <= emails(crm)


def test_one_list_at_fault_does_not_accuse_another(
    run_target: RunTarget, start_crm: Callable[..., RunningSandbox]
) -> None:
    """The other list's contacts that are in flight land; the run ends."""
    other = "00000000-0000-4000-8000-000000000001"
    crm = start_crm(plan="unlimited", known_lists=LIST)
    columns = {"id": {"type": "integer"}, "email": {}, "list": {}}
    lines = [
        record(id=n, email=f"p{n}@example.com", list=LIST if n % 2 else other) for n in range(400)
    ]
    ended = run_target(
        schema(columns),
        *lines,
        api_url=crm.url,
        access_token=crm.token,
        field_map={"list": "list_id"},
    )
    assert ended.code == 1
    assert other in ended.error
    assert ended.report["streams"]["people"]["rejected"] == 0


# --- Pacing


def test_the_server_never_sees_more_than_the_plan_allows(
    run_target: RunTarget, start_crm: Callable[..., RunningSandbox]
) -> None:
    """And a wait is explained. A whole minute of it is in tools/prove.py."""
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


# --- Faults that pass


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
    crm = start_crm(plan="unlimited", token_lifetime_seconds=0.3, faults=["latency=0.05"])
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


# --- Faults that end the run


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
        pytest.param(["403@4-999"], "No contact is to blame", id="403"),
        pytest.param(["404@4-999"], "Check 'api_url'", id="404"),
        pytest.param(["406@4-999"], "No contact is to blame", id="406"),
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


@pytest.mark.parametrize("status", [307, 308, 302])
def test_a_redirect_carries_nothing_to_another_host(run_target: RunTarget, status: int) -> None:
    with BrokenServer(lambda _: broken_server.OK) as elsewhere:
        away = broken_server.redirect(status, f"{elsewhere.url}/contacts/batch")
        with BrokenServer(lambda _: away) as server:
            ended = run_target(*people(300), api_url=server.url, access_token="secret-token")
    assert ended.code == 1
    assert "a redirect to 127.0.0.1" in ended.error
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


# --- Confirmation


@pytest.mark.parametrize(
    ("options", "code", "bookmark", "words"),
    [
        pytest.param({}, 0, 300, "", id="at once"),
        pytest.param({"faults": ["late=0.5:batch"]}, 0, 300, "", id="late"),
        pytest.param({"faults": ["late=0.3"]}, 0, 300, "", id="all late"),
        pytest.param({"faults": ["odd"]}, 0, 300, "", id="unknown words"),
        pytest.param({"faults": ["503@p0.5:status"]}, 0, 300, "", id="status hard to get"),
        pytest.param({"faults": ["stuck@3:batch"]}, 1, 200, "not confirmed", id="never"),
        pytest.param({"faults": ["fail@2:batch"]}, 1, 100, "failed", id="a failure"),
        pytest.param({"faults": ["skip=2@2:batch"]}, 1, 100, "skipped contacts", id="skips"),
        pytest.param({"faults": ["noid@2:batch"]}, 1, 100, "without a batch id", id="no id"),
        pytest.param({"faults": ["404:status"]}, 1, 0, "not confirmed", id="no status"),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_required_confirmation_holds_state(  # noqa: PLR0917 - a table of cases
    run_target: RunTarget,
    start_crm: Callable[..., RunningSandbox],
    options: dict[str, t.Any],
    code: int,
    bookmark: int,
    words: str,
) -> None:
    crm = start_crm(plan="unlimited", **options)
    ended = run_target(
        *people(300),
        api_url=crm.url,
        access_token=crm.token,
        confirm_batches="require",
        confirm_timeout_seconds=2,
        max_concurrent_requests=1,  # so that batches come in order
    )
    assert ended.code == code, ended.errors
    assert (ended.states[-1]["bookmark"] if ended.states else 0) == bookmark
    if code:
        assert words in ended.error


@pytest.mark.parametrize(
    ("faults", "counts"),
    [
        pytest.param(["stuck@3:batch"], {"inserted": 200, "unconfirmed": 100}, id="never"),
        pytest.param(["fail@2:batch"], {"inserted": 200, "failed": 100}, id="a failure"),
        pytest.param(["skip=2@2:batch"], {"inserted": 298, "skipped": 2}, id="skips"),
        pytest.param(["noid@2:batch"], {"inserted": 200, "untracked": 100}, id="no id"),
        pytest.param(["404:status"], {"unreadable": 300}, id="no status"),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_reported_confirmation_counts_and_fails_nothing(
    run_target: RunTarget,
    start_crm: Callable[..., RunningSandbox],
    faults: list[str],
    counts: dict[str, int],
) -> None:
    crm = start_crm(plan="unlimited", faults=faults)
    ended = run_target(
        *people(300),
        api_url=crm.url,
        access_token=crm.token,
        confirm_batches="report",
        confirm_timeout_seconds=2,
    )
    assert ended.code == 0, ended.errors
    assert ended.states[-1] == {"bookmark": 300}
    found = ended.report["streams"]["people"]
    assert {name: found[name] for name in counts} == counts


@pytest.mark.usefixtures("impatient")
def test_contacts_sent_one_by_one_are_taken_but_untracked(run_target: RunTarget) -> None:
    """There is no batch whose status could be asked for."""
    ended = run_target(*people(50), write_mode="single", confirm_batches="require")
    assert ended.code == 0, ended.errors
    assert ended.states[-1] == {"bookmark": 50}
    assert ended.report["streams"]["people"]["untracked"] == 50


# --- Rejections


def test_rejections_can_be_corrected_and_loaded(
    run_target: RunTarget, start_crm: Callable[..., RunningSandbox], tmp_path: Path
) -> None:
    """Refused by us and by the API, of two streams, one of which changed its schema."""
    crm = start_crm(plan="unlimited", refuse_email="bad")
    path = tmp_path / "rejects.singer"
    wider = {"id": {"type": "integer"}, "email": {}, "city": {"type": "string"}}
    lines = [
        schema(),
        schema({"id": {}, "email": {}}, stream="members"),
        person(1, email="bad1@example.com"),
        record("members", id=1, email="nonsense"),
        person(2, email=None),
        schema(wider),
        record(id=3, email="bad3@example.com", city="Oslo"),
        person(4),
        record("members", id=2, email="bad5@example.com"),
    ]
    reach: dict[str, t.Any] = {"api_url": crm.url, "access_token": crm.token}
    ended = run_target(*lines, rejects_path=str(path), **reach)
    assert ended.code == 0, ended.errors
    assert len(rejected(path)) == 5
    assert emails(crm) == {"p4@example.com"}
    again = tmp_path / "again.singer"
    once_more = run_target(*path.read_text().splitlines(), rejects_path=str(again), **reach)
    assert once_more.code == 0, once_more.errors
    assert [line["record"] for line in rejected(again)] == [
        line["record"] for line in rejected(path)
    ] or len(rejected(again)) == 5
    assert all(line.count('"rejection"') <= 1 for line in again.read_text().splitlines())
    corrected = again.read_text().replace("bad", "good").replace("nonsense", "ola@example.org")
    corrected = corrected.replace('"email": null', '"email": "kari@example.org"')
    ended = run_target(*corrected.splitlines(), **reach)
    assert ended.code == 0, ended.errors
    assert emails(crm) == {
        "p4@example.com",
        "good1@example.com",
        "good3@example.com",
        "good5@example.com",
        "ola@example.org",
        "kari@example.org",
    }


class Case(t.NamedTuple):
    """So many bad records, in a run that allows so many, and how it ends."""

    kept: bool
    allowed: int | None
    bad: int
    code: int
    bookmark: int


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            Case(kept=False, allowed=None, bad=0, code=0, bookmark=90), id="none, nothing allowed"
        ),
        pytest.param(
            Case(kept=False, allowed=None, bad=1, code=1, bookmark=50), id="one, nothing allowed"
        ),
        pytest.param(
            Case(kept=False, allowed=0, bad=1, code=1, bookmark=50),
            id="one, nothing allowed by name",
        ),
        pytest.param(
            Case(kept=False, allowed=2, bad=2, code=0, bookmark=20),
            id="as many as allowed, kept nowhere",
        ),
        pytest.param(
            Case(kept=False, allowed=2, bad=3, code=1, bookmark=20), id="one more, kept nowhere"
        ),
        pytest.param(
            Case(kept=True, allowed=None, bad=9, code=0, bookmark=90), id="a file and no limit"
        ),
        pytest.param(
            Case(kept=True, allowed=2, bad=2, code=0, bookmark=90), id="as many as allowed, on file"
        ),
        pytest.param(
            Case(kept=True, allowed=2, bad=3, code=1, bookmark=50), id="one more, on file"
        ),
        pytest.param(
            Case(kept=True, allowed=0, bad=1, code=1, bookmark=50),
            id="on file, but nothing allowed",
        ),
    ],
)
def test_how_many_rejections_a_run_survives(
    run_target: RunTarget, tmp_path: Path, case: Case
) -> None:
    """STATE 20 comes before all of them, 50 before the last, 90 at the end."""
    lines = [person(n) for n in range(100)]
    lines[30 : 30 + case.bad] = [person(n, email=None) for n in range(case.bad)]
    lines.insert(29 + case.bad, state(bookmark=50))
    lines.insert(20, state(bookmark=20))
    settings: dict[str, t.Any] = {"max_rejects": case.allowed}
    if case.kept:
        settings["rejects_path"] = str(tmp_path / "rejects.singer")
    ended = run_target(
        schema(),
        *lines,
        state(bookmark=90),
        **{key: value for key, value in settings.items() if value is not None},
    )
    assert ended.code == case.code, ended.errors
    assert ended.states[-1] == {"bookmark": case.bookmark}
    counts = ended.report["streams"]["people"]
    assert (counts["rejected"], counts["undelivered"]) == (case.bad, 0)
    if ended.code:
        assert "'max_rejects'" in ended.error
        assert counts["read"] == 30 + case.bad, "reading has stopped"
    else:
        assert ("kept nowhere" in ended.log) == (case.bad > 0 and not case.kept)


def test_too_many_refusals_of_the_api_stop_the_reading_too(
    run_target: RunTarget, start_crm: Callable[..., RunningSandbox]
) -> None:
    crm = start_crm(plan="unlimited", refuse_email="bad", faults=["latency=0.02"])
    ended = run_target(
        *people(20_000, bad=range(100, 200, 7)),
        api_url=crm.url,
        access_token=crm.token,
        max_concurrent_requests=2,
    )
    assert ended.code == 1
    assert "'max_rejects'" in ended.error
    counts = ended.report["streams"]["people"]
    assert counts["read"] < 20_000
    assert counts["undelivered"] == 0, "what was read is delivered"
    assert ended.states[-1] == {"bookmark": 50}


def test_a_full_disk_holds_state_and_ends_the_run(run_target: RunTarget) -> None:
    ended = run_target(
        schema(),
        *(person(n) for n in range(10)),
        state(bookmark=10),
        person(11, email=None),
        state(bookmark=11),
        rejects_path="/dev/full",
    )
    assert ended.code == 1
    assert "The rejects file '/dev/full' cannot be written" in ended.error
    assert {"bookmark": 11} not in ended.states
    assert "read  accepted" in ended.log, "the summary comes all the same"


def test_the_rejects_file_is_not_read_while_it_is_written(
    settings: dict[str, t.Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rejects.singer"
    path.write_text(f"{schema()}\n{person(1, email=None)}\n")
    target = TargetMainBrainer(config=settings | {"rejects_path": str(path)})
    with path.open() as source, pytest.raises(Exception, match="is the rejects file itself"):
        target.run(source)
    assert len(path.read_text().splitlines()) == 2
    assert caplog.records is not None


# --- Memory


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
    """That, and nothing else, keeps the memory flat; the million is in tools/prove.py."""
    crm.set_faults("latency=0.02:batch")
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
    places = 3 + workers.PLACES_BEYOND_SENDERS
    assert len(ahead) == 120
    assert max(ahead) <= (places + 3) * 50 + 1


def test_many_records_of_one_contact_do_not_pile_up(
    run_target: RunTarget, monkeypatch: pytest.MonkeyPatch, crm: RunningSandbox
) -> None:
    from target_mainbrainer import sinks  # noqa: PLC0415

    monkeypatch.setattr(sinks, "MOST_BYTES", 10_000)
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
