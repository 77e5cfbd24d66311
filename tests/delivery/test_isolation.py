"""Exactly the bad contacts are set aside, and no contact for a fault of the request."""

from __future__ import annotations

import random
import typing as t

import pytest

from tests import broken_server
from tests.broken_server import BrokenServer
from tests.loads import add_up, emails, people, rejected
from tests.messages import record, schema, state

if t.TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import RunTarget

LIST = "3fa85f64-5717-4562-b3fc-2c963f66afa6"


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
    pytest.param({"faults": ["422"]}, id="account 422"),
    pytest.param({"faults": ["409"], "error_body": "empty"}, id="account 409, no words"),
    pytest.param({"faults": ["403"]}, id="account 403"),
    pytest.param({"faults": ["402"], "error_body": "html"}, id="account 402, html"),
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
    crm = start_crm(plan="unlimited", faults=["422"])
    path = tmp_path / "rejects.singer"
    ended = run_target(
        *people(500),
        api_url=crm.url,
        access_token=crm.token,
        batch_size_rows=size,
        rejects_path=str(path),
    )
    assert ended.code == 1
    assert "the contacts are not at fault" in ended.error
    assert path.read_text() == ""
    assert len(crm.requests()) <= 30


def test_a_few_contacts_refused_alike_are_still_rejected_at_the_end(
    run_target: RunTarget, start_crm: Callable[..., RunningSandbox], tmp_path: Path
) -> None:
    """Fewer than ten cannot accuse the request, but a night without one accepted is not OK."""
    crm = start_crm(plan="unlimited", refuse_email="bad")
    ended = run_target(
        *people(7, every=7, bad=range(8)),
        api_url=crm.url,
        access_token=crm.token,
        rejects_path=str(tmp_path / "rejects.singer"),
    )
    assert ended.code == 1
    assert ended.report["reasons"][0]["code"] == "nothing_accepted"
    assert ended.report["streams"]["people"]["rejected"] == 7


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
    """What passed before it proves nothing, nor does a contact that was being searched for."""
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
    assert "the contacts are not at fault" in ended.error
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


NEIGHBOURS = [
    pytest.param(range(1, 11), 10, id="the first 10, batches of 10"),
    pytest.param(range(1, 31), 5, id="the first 30, batches of 5"),
    pytest.param(range(1, 151), 100, id="the first 150, batches of 100"),
    pytest.param(range(1, 31), 1, id="the first 30, batches of 1"),
    pytest.param(range(151, 351), 100, id="200 in the middle"),
    pytest.param(range(451, 501), 20, id="the last 50"),
]


@pytest.mark.parametrize(("bad", "size"), NEIGHBOURS)
@pytest.mark.parametrize("mode", ["batch", "single"])
def test_bad_neighbours_never_end_a_good_run(  # noqa: PLR0917
    run_target: RunTarget,
    start_crm: Callable[..., RunningSandbox],
    tmp_path: Path,
    bad: range,
    size: int,
    mode: str,
) -> None:
    """They are refused alike and one after the other, but not all at hand are."""
    crm = start_crm(plan="unlimited", refuse_email="bad")
    path = tmp_path / "rejects.singer"
    ended = run_target(
        *people(500, bad=bad),
        api_url=crm.url,
        access_token=crm.token,
        batch_size_rows=size,
        write_mode=mode,
        rejects_path=str(path),
    )
    assert ended.code == 0, ended.errors
    add_up(ended)
    assert ended.states[-1] == {"bookmark": 500}
    assert {line["record"]["id"] for line in rejected(path)} == set(bad)
    assert ended.report["streams"]["people"]["accepted"] == 500 - len(bad)
    assert emails(crm) == {f"p{n}@example.com" for n in range(1, 501) if n not in bad}


def test_a_witness_is_never_sent_again_once_newer_data_of_it_is_in(
    run_target: RunTarget, start_crm: Callable[..., RunningSandbox], tmp_path: Path
) -> None:
    """Every contact that passed comes a second time before the bad neighbours do."""
    crm = start_crm(plan="unlimited", refuse_email="bad")
    columns = {"id": {"type": "integer"}, "email": {}, "firstname": {}}
    lines = [
        record(id=n, email=f"p{n}@example.com", firstname=word)
        for word in ("old", "new")
        for n in range(40)
    ]
    lines += [record(id=n, email=f"bad{n}@example.com", firstname="x") for n in range(40, 60)]
    ended = run_target(
        schema(columns),
        *lines,
        api_url=crm.url,
        access_token=crm.token,
        batch_size_rows=20,
        rejects_path=str(tmp_path / "rejects.singer"),
    )
    assert ended.code == 0, ended.errors
    assert {c["properties"]["firstname"] for c in crm.contacts()} == {"new"}
    assert ended.report["streams"]["people"]["rejected"] == 20


@pytest.mark.parametrize("last", [1, 7, 40])
def test_a_fault_that_begins_with_the_last_contacts_blames_none_of_them(
    run_target: RunTarget, start_crm: Callable[..., RunningSandbox], tmp_path: Path, last: int
) -> None:
    """However few they are: a contact that passed before shows that it is not their fault."""
    crm = start_crm(plan="unlimited", faults=["422@6-99999"])
    path = tmp_path / "rejects.singer"
    ended = run_target(
        *people(500 + last, every=500),
        api_url=crm.url,
        access_token=crm.token,
        max_concurrent_requests=1,
        rejects_path=str(path),
    )
    assert ended.code == 1
    assert "the contacts are not at fault" in ended.error
    assert rejected(path) == []
    assert ended.states[-1] == {"bookmark": 500}


# --- Merged contacts, and conflicts


def test_a_bad_record_of_a_person_takes_no_good_one_with_it(
    run_target: RunTarget, start_crm: Callable[..., RunningSandbox], tmp_path: Path
) -> None:
    """An opt-out, then a bad record of the same person, then another good one."""
    crm = start_crm(plan="unlimited", refuse_property="bad")
    columns = {"id": {"type": "integer"}, "email": {}, "email_opt_in": {}, "bad": {}, "city": {}}
    path = tmp_path / "rejects.singer"
    ended = run_target(
        schema(columns),
        record(id=0, email="p0@example.com"),
        record(id=1, email="ola@example.com", email_opt_in=False),
        record(id=2, email="ola@example.com", bad="yes", city="Bergen"),
        record(id=3, email="ola@example.com", city="Oslo"),
        state(bookmark=3),
        api_url=crm.url,
        access_token=crm.token,
        rejects_path=str(path),
    )
    assert ended.code == 0, ended.errors
    add_up(ended)
    assert [line["record"]["id"] for line in rejected(path)] == [2]
    (ola,) = [c for c in crm.contacts() if c["email"] == "ola@example.com"]
    assert ola["email_opt_in"] is False
    assert ola["properties"] == {"city": "Oslo", "id": "3"}
    assert ended.states == [{"bookmark": 3}]


def test_a_conflict_is_tried_once_more_before_it_counts(run_target: RunTarget) -> None:
    """Refused with its batch, refused alone, and taken the next time."""
    refusal = broken_server.reply(409, {"status": "Error", "message": "Busy"})
    with BrokenServer(broken_server.script(refusal, refusal, after=broken_server.OK)) as server:
        ended = run_target(*people(1, every=1), api_url=server.url, access_token="made-up")
    assert ended.code == 0, ended.errors
    paths = [request.path for request in server.requests]
    assert paths == ["/contacts/batch", "/contacts/insertupdate", "/contacts/insertupdate"]


def test_a_conflict_that_stays_is_a_refusal(run_target: RunTarget) -> None:
    refusal = broken_server.reply(409, {"status": "Error", "message": "Busy"})
    with BrokenServer(broken_server.script(*[refusal] * 3, after=broken_server.OK)) as server:
        ended = run_target(*people(1, every=1), api_url=server.url, access_token="made-up")
    assert ended.code == 1
    assert ended.report["streams"]["people"]["rejected_by_code"] == {"refused_409": 1}
