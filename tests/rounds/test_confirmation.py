"""A 202 only queues: what becomes of batches is asked for, and never assumed."""

from __future__ import annotations

import re
import typing as t

import pytest

from target_mainbrainer.words import counted
from tests import broken_server
from tests.loads import emails, people, rejected
from tests.messages import person, record, schema, state

if t.TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.broken_server import Serve
    from tests.messages import RunTarget


pytestmark = pytest.mark.usefixtures("hasty")


@pytest.mark.parametrize(
    ("options", "code", "bookmark", "words"),
    [
        pytest.param({}, 0, 300, "", id="at once"),
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
def test_required_confirmation_holds_state(
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


def test_required_confirmation_that_never_comes_is_not_awaited_for_ever(
    run_target: RunTarget, crm: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded: when STATE waits for so many, no more are sent."""
    monkeypatch.setattr("target_mainbrainer.rounds.round.MAX_CONTACTS", 20)
    monkeypatch.setattr("target_mainbrainer.rounds.load.MAX_UNCONFIRMED", 50)
    crm.set_faults("stuck:batch")
    ended = run_target(*people(300), confirm_batches="require", confirm_timeout_seconds=1)
    assert ended.code == 1
    assert "has confirmed no batch for 1 s" in ended.error
    assert len(emails(crm)) < 100
    assert ended.states == []


def test_contacts_sent_one_by_one_are_taken_but_untracked(run_target: RunTarget) -> None:
    """There is no batch whose status could be asked for."""
    ended = run_target(*people(50), write_mode="single", confirm_batches="require").ok()
    assert ended.states[-1] == {"bookmark": 50}
    assert ended.counts["untracked"] == 50


# --- A batch that fails after it was accepted


def test_the_records_of_a_batch_that_fails_go_to_the_rejects_file(
    run_target: RunTarget, crm: RunningSandbox, tmp_path: Path
) -> None:
    """They can be loaded again; the other batches are not touched, and STATE goes on."""
    crm.set_faults("fail@2:batch")
    reach: dict[str, t.Any] = {"api_url": crm.url, "access_token": crm.token}
    folder = tmp_path / "rejected"
    folder.mkdir()
    path = folder / "rejects.singer"
    ended = run_target(
        *people(150),
        person(101, firstname="again"),
        *people(300)[154:],
        **reach,
        confirm_batches="report",
        max_concurrent_requests=1,
        rejects_path=str(path),
    ).ok()
    assert ended.states[-1] == {"bookmark": 300}
    assert ended.counts["rejected_by_code"] == {"batch_failed": ended.counts["rejected"]}
    assert ended.counts["accepted"] + ended.counts["merged"] == 301 - ended.counts["rejected"]
    lines = rejected(path)
    assert len(lines) == ended.counts["rejected"] >= 100
    assert {line["rejection"]["code"] for line in lines} == {"batch_failed"}
    assert all("MainBrainer said: " in line["rejection"]["reason"] for line in lines)
    failed = {line["record"]["id"] for line in lines}
    assert emails(crm) == {f"p{n}@example.com" for n in range(1, 301) if n not in failed}
    assert [file.name for file in folder.iterdir()] == [path.name]
    crm.set_faults()
    run_target(*path.read_text().splitlines(), **reach).ok()
    assert emails(crm) == {f"p{n}@example.com" for n in range(1, 301)}


@pytest.mark.usefixtures("rejects")
def test_failed_batches_count_towards_the_rejects_allowed(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    crm.set_faults("fail@2:batch")
    ended = run_target(*people(300), confirm_batches="report", max_rejects=99)
    assert ended.code == 1
    assert "'max_rejects'" in ended.error


def test_without_a_rejects_file_a_batch_that_fails_fails_the_run(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    crm.set_faults("fail@2:batch")
    ended = run_target(*people(300), confirm_batches="report")
    assert ended.code == 1
    assert re.search(r"1 batch of 100 contacts \([0-9a-f]{8}\) failed after", ended.error)
    assert ended.states[-1] == {"bookmark": 300}
    assert (ended.counts["accepted"], ended.counts["rejected_by_code"]) == (
        200,
        {"batch_failed": 100},
    )


# --- Polling and the budget


def test_questions_that_are_not_required_wait_for_no_permit(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """Sending has used all of them; what could not be asked for in time is unconfirmed."""
    ended = run_target(
        *people(500), confirm_batches="report", confirm_timeout_seconds=1, rate_limit_requests=5
    ).ok()
    assert ended.states[-1] == {"bookmark": 500}
    assert ended.counts["accepted"] == 500
    assert ended.counts["unconfirmed"] + ended.counts["inserted"] == 500
    assert len(crm.contacts()) == 500


def test_required_questions_wait_for_permits(run_target: RunTarget, crm: RunningSandbox) -> None:
    ended = run_target(
        *people(30, every=10),
        batch_size_rows=10,
        confirm_batches="require",
        confirm_timeout_seconds=60,
        rate_limit_requests=3,
    ).ok()
    assert ended.states[-1] == {"bookmark": 30}
    assert ended.counts["inserted"] == 30
    times = sorted(request.started for request in crm.requests())
    assert all(later - early >= 10 for early, later in zip(times, times[3:], strict=False))


# --- Contacts that a 202 names as invalid


class Naming:
    """Accepts a batch, names contacts of it as invalid, and says how it has ended."""

    def __init__(self, named: t.Any, processed: dict[str, t.Any]) -> None:
        self.named = named
        self.processed = processed

    def __call__(self, request: broken_server.Request) -> broken_server.Reply:
        if request.method == "GET":
            return broken_server.reply(200, {"id": "b", "processedObj": self.processed})
        data = {"BatchId": "ce2c2e48", "InvalidContactIds": self.named}
        return broken_server.reply(202, {"status": "Success", "data": data})


KNOWN = {"id": {"type": "integer"}, "contact_id": {"type": "integer"}, "firstname": {}}
TEN = [record(id=n, contact_id=1000 + n, firstname="x") for n in range(10)]

NAMED = [
    pytest.param([1005], 1, 0, id="integers"),
    pytest.param(["1005", "1006"], 2, 0, id="texts"),
    pytest.param([{"contactId": 1005}], 0, 1, id="an object"),
    pytest.param(["p5@example.com"], 0, 1, id="an address"),
    pytest.param([999, 1005], 1, 1, id="one that was never sent"),
    pytest.param(["3fa85f64-5717-4562-b3fc-2c963f66afa6"], 0, 1, id="a uuid"),
    pytest.param([None, {}, True], 0, 3, id="nothing that could be read"),
]


@pytest.mark.parametrize(("named", "found", "unmatched"), NAMED)
@pytest.mark.parametrize("mode", ["report", "require"])
def test_a_contact_named_invalid_on_the_202_is_rejected_or_told(
    run_target: RunTarget,
    serve: Serve,
    rejects: Path,
    named: t.Any,
    found: int,
    unmatched: int,
    mode: str,
) -> None:
    """What can be matched is set aside; what cannot is told, and with `require` fails the run."""
    processed = {"updated": {"count": 10 - found}, "skipped": {"count": found}}
    serve(Naming(named, processed))
    ended = run_target(
        schema(KNOWN), *TEN, state(bookmark=10), confirm_batches=mode, confirm_timeout_seconds=2
    )
    assert (ended.counts["accepted"], ended.counts["rejected"]) == (10 - found, found)
    assert {line["rejection"]["code"] for line in rejected(rejects)} <= {"unknown_contact_id"}
    is_told = f"named {counted(unmatched, 'contact')} of stream 'people' as invalid" in ended.log
    assert is_told == bool(unmatched)
    fails = mode == "require" and unmatched > 0
    assert ended.code == int(fails), ended.errors
    assert ended.states == ([] if fails else [{"bookmark": 10}])
