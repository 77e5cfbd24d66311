"""Rejected records are set aside, counted, and can be corrected and loaded."""

from __future__ import annotations

import typing as t

import pytest

from target_mainbrainer.target import TargetMainBrainer
from tests.loads import emails, people, rejected
from tests.messages import person, record, schema, state

if t.TYPE_CHECKING:
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import Record, RunTarget

LIST = "3fa85f64-5717-4562-b3fc-2c963f66afa6"


def test_rejections_can_be_corrected_and_loaded(
    run_target: RunTarget, crm: RunningSandbox, tmp_path: Path, rejects: Path
) -> None:
    """Refused by us and by the API, of two streams, one of which changed its schema."""
    crm.set_switches(refuse_email="bad")
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
    run_target(*lines, **reach).ok()
    assert len(rejected(rejects)) == 5
    assert emails(crm) == {"p4@example.com"}
    again = tmp_path / "again.singer"
    lines = [*rejects.read_text().splitlines(), schema(), person(4)]
    run_target(*lines, rejects_path=str(again), **reach).ok()
    # Batches run side by side, so those that the API refuses come in any order.
    assert sorted((line["record"] for line in rejected(again)), key=str) == sorted(
        (line["record"] for line in rejected(rejects)), key=str
    )
    assert all(line.count('"rejection"') <= 1 for line in again.read_text().splitlines())
    corrected = again.read_text().replace("bad", "good").replace("nonsense", "ola@example.org")
    corrected = corrected.replace('"email": null', '"email": "kari@example.org"')
    run_target(*corrected.splitlines(), **reach).ok()
    assert emails(crm) == {
        "p4@example.com",
        "good1@example.com",
        "good3@example.com",
        "good5@example.com",
        "ola@example.org",
        "kari@example.org",
    }


@pytest.mark.parametrize(
    ("is_kept", "allowed", "bad", "code", "bookmark"),
    [
        (False, None, 0, 0, 90),
        (False, None, 1, 1, 50),
        (False, 0, 1, 1, 50),
        (False, 2, 2, 0, 20),
        (False, 2, 3, 1, 20),
        (True, None, 9, 0, 90),
        (True, 2, 2, 0, 90),
        (True, 2, 3, 1, 50),
        (True, 0, 1, 1, 50),
    ],
)
def test_how_many_rejections_a_run_survives(
    run_target: RunTarget,
    tmp_path: Path,
    is_kept: bool,
    allowed: int | None,
    bad: int,
    code: int,
    bookmark: int,
) -> None:
    """STATE 20 comes before all of them, 50 before the last, 90 at the end."""
    lines = [person(n) for n in range(100)]
    lines[30 : 30 + bad] = [person(n, email=None) for n in range(bad)]
    lines.insert(29 + bad, state(bookmark=50))
    lines.insert(20, state(bookmark=20))
    config: Record = {} if allowed is None else {"max_rejects": allowed}
    if is_kept:
        config["rejects_path"] = str(tmp_path / "rejects.singer")
    ended = run_target(schema(), *lines, state(bookmark=90), **config)
    assert ended.code == code, ended.errors
    assert ended.states[-1] == {"bookmark": bookmark}
    assert (ended.counts["rejected"], ended.counts["undelivered"]) == (bad, 0)
    if ended.code:
        assert "'max_rejects'" in ended.error
        assert ended.counts["read"] == 30 + bad, "reading has stopped"
    else:
        assert ("are not kept" in ended.log) == (bad > 0 and not is_kept)


def test_too_many_refusals_of_the_api_stop_the_reading_too(
    run_target: RunTarget, crm: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("target_mainbrainer.rounds.round.MAX_CONTACTS", 1000)
    crm.set_switches(refuse_email="bad")
    crm.set_faults("latency=0.02")
    ended = run_target(*people(9000, bad=range(100, 200, 7)), max_concurrent_requests=2)
    assert ended.code == 1
    assert "'max_rejects'" in ended.error
    assert ended.counts["read"] < 9000
    assert ended.states[-1] == {"bookmark": 50}


def test_a_rejects_file_that_keeps_nothing_is_a_settings_error(run_target: RunTarget) -> None:
    ended = run_target(
        schema(),
        *(person(n) for n in range(10)),
        state(bookmark=10),
        person(11, email=None),
        state(bookmark=11),
        rejects_path="/dev/full",
    )
    assert ended.code == 1
    assert ended.error == (
        "Setting 'rejects_path' names a device or a pipe, which keeps nothing: it must be a "
        "regular file."
    )
    assert ended.states == []


def test_the_rejects_file_is_not_read_while_it_is_written(
    settings: dict[str, t.Any], tmp_path: Path
) -> None:
    path = tmp_path / "rejects.singer"
    path.write_text(f"{schema()}\n{person(1, email=None)}\n")
    target = TargetMainBrainer(config=settings | {"rejects_path": str(path)})
    with path.open() as source, pytest.raises(Exception, match="is the rejects file itself"):
        target.run(source)
    assert len(path.read_text().splitlines()) == 2


def test_the_no_of_a_record_that_does_not_fit_its_schema_is_not_lost(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """After the stream map, which alone knows what a yes in the column means."""
    columns: dict[str, t.Any] = {
        "id": {},
        "email": {},
        "unsubscribed": {"type": "boolean"},
        "zip": {"type": "string"},
    }
    people = [
        record(id=n, email=f"p{n}@example.com", unsubscribed=no, zip=155)
        for n, no in enumerate([True, False])
    ]
    maps = {"people": {"email_opt_in": "'no' if unsubscribed else ''"}}
    run_target(schema(columns), *people, stream_maps=maps, max_rejects=2)
    assert [(c["email"], c["email_opt_in"]) for c in crm.contacts()] == [("p0@example.com", False)]
