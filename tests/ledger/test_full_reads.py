"""Full reads and missing people: nothing follows from what did not come once."""

from __future__ import annotations

import json
import typing as t

import pytest

from tests.ledger.outside import (
    FULL,
    OPT_OUT,
    Moment,
    addresses,
    by_address,
    consenting,
    count,
    days_later,
    ledger_command,
    night,
    opted_in,
    opted_out,
    person,
    posts,
    run_killed,
    warnings,
)
from tests.messages import record, schema, state

if t.TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.ledger.outside import Between
    from tests.messages import Record, RunTarget


DRIFTING: Record = {"max_drift_percent": 100}


def activate(version: int = 1) -> str:
    return json.dumps({"type": "ACTIVATE_VERSION", "stream": "people", "version": version})


def versioned(version: int, *people: str) -> list[str]:
    """Records as taps write them that number their full reads."""
    return [json.dumps(json.loads(one) | {"version": version}) for one in people]


def batch_file(folder: Path, *people: str) -> str:
    """A BATCH message, and the file that it names."""
    path = folder / "batch.jsonl"
    path.write_text("".join(json.dumps(json.loads(one)["record"]) + "\n" for one in people))
    message = {
        "type": "BATCH",
        "stream": "people",
        "encoding": {"format": "jsonl", "compression": "none"},
        "manifest": [path.as_uri()],
    }
    return json.dumps(message)


# Fault 1

EIGHT = range(1, 9)

QUIET_NIGHTS: dict[str, Callable[[Path], list[str]]] = {
    "the old version and no record": lambda _: [*night(), activate(1)],
    "a resumed read with nothing left": lambda _: [schema(), state(), activate(2)],
    "the changed record is filtered out": lambda _: [
        *night(*versioned(1, person(1, firstname="hidden"))),
        activate(1),
    ],
    "one record in a BATCH file": lambda folder: [
        *night(batch_file(folder, *consenting(1))),
        activate(1),
    ],
    "one record without a version": lambda _: [*night(*consenting(1)), activate(1)],
    "a new version and no record": lambda _: [*night(), activate(3)],
    "the version comes first and the tap dies": lambda _: [
        schema(),
        activate(4),
        *versioned(4, *consenting(1)),
    ],
    "a new version and one record": lambda _: [*night(*versioned(5, *consenting(1))), activate(5)],
}


@pytest.mark.parametrize("missing_records", ["opt_out", "ignore"])
@pytest.mark.parametrize("quiet", QUIET_NIGHTS)
def test_only_a_setting_says_that_a_stream_was_read_in_full(
    run_target: RunTarget, crm: RunningSandbox, tmp_path: Path, quiet: str, missing_records: str
) -> None:
    """ACTIVATE_VERSION says nothing: nobody is opted out, and nobody is forgotten.

    That nobody is forgotten shows when their addresses change: they stay one contact each.
    """
    config = {
        "missing_records": missing_records,
        **DRIFTING,
        "stream_maps": {"people": {"__filter__": "firstname != 'hidden'"}},
    }
    run_target(*night(*versioned(1, *consenting(*EIGHT))), activate(1), **config)
    for _ in range(3):
        run_target(*QUIET_NIGHTS[quiet](tmp_path), **config).ok()
    assert opted_out(crm) == set()
    moved = [person(n, f"new{n}", email_opt_in=True) for n in EIGHT]
    run_target(*night(*moved), **config)
    assert addresses(crm) == [f"new{n}" for n in EIGHT]


def test_an_empty_full_read_opts_nobody_out_and_fails_the_run(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """More than half of a stream is missing: with `opt_out` the run fails, every time."""
    run_target(*night(*consenting(*EIGHT)), **OPT_OUT)
    for _ in range(3):
        ended = run_target(*night(), **OPT_OUT)
        assert ended.code == 1
        assert "8 are missing, more than half of the stream" in ended.error
        assert "forget them with 'mainbrainer-ledger forget'" in ended.error
        assert opted_out(crm) == set()
    run_target(*night(*consenting(*EIGHT)), **OPT_OUT).ok()
    assert opted_in(crm) == {f"p{n}" for n in EIGHT}


def test_an_empty_full_read_warns_if_nobody_is_to_be_opted_out(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """And nobody is gone."""
    run_target(*night(*consenting(*EIGHT)), **FULL)
    for _ in range(3):
        ended = run_target(*night(), **FULL).ok()
        assert any("missing" in line for line in warnings(ended))
        assert count(ended, "gone") == 0
    run_target(*night(person(1, "new1", email_opt_in=True)), **DRIFTING)
    assert addresses(crm) == ["new1", *(f"p{n}" for n in EIGHT if n > 1)]


# Fault 2


def test_a_setting_that_is_wrong_costs_nobody_their_contact(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """`full_table` on a stream that is read by its changes: it warns, and forgets nobody."""
    everybody = range(60)
    run_target(*night(*consenting(*everybody)))
    for changed in ((1, 2), (3, 4), (5, 6)):
        ended = run_target(*night(*consenting(*changed, firstname="New")), **FULL).ok()
        assert any("missing" in line for line in warnings(ended))
    moved = [person(n, f"new{n}", email_opt_in=True) for n in range(40, 50)]
    run_target(*night(*moved), **DRIFTING)
    assert len(crm.contacts()) == len(everybody)
    assert {f"new{n}" for n in range(40, 50)} <= set(addresses(crm))


def test_a_stream_with_bookmarks_that_is_said_to_be_read_in_full_is_warned_of(
    run_target: RunTarget,
) -> None:
    """The tap's SCHEMA message says that it reads changes."""
    bookmarked = json.dumps(json.loads(schema()) | {"bookmark_properties": ["id"]})
    ended = run_target(bookmarked, person(1), **FULL)
    assert any("full_table" in line for line in warnings(ended))


# Fault 3

CITY = {
    "id": {"type": ["integer", "null"]},
    "email": {"type": "string"},
    "city": {"type": ["string", "null"]},
    "email_opt_in": {"type": "boolean"},
}


def resident(number: int | None, city: str | None = "Oslo", **more: t.Any) -> str:
    columns = {"email": f"p{number}@example.com", "city": city, "email_opt_in": True} | more
    return record("people", id=number, **columns)


STREAM_MAPS: Record = {"people": {"city": "city.upper()", "__filter__": "city != 'nowhere'"}}


@pytest.mark.parametrize(
    "there",
    [
        pytest.param(resident(2, None), id="its stream map fails"),
        pytest.param(resident(2, "nowhere"), id="a stream map leaves it out"),
        pytest.param(resident(2, email="not an address"), id="it cannot be mapped"),
        pytest.param(resident(None, email="other@example.com"), id="its key is null"),
        pytest.param(resident(None, email="not an address"), id="neither key nor address"),
    ],
)
def test_who_is_in_the_source_is_not_missing(
    run_target: RunTarget, crm: RunningSandbox, tmp_path: Path, there: str
) -> None:
    """A record that could not be mapped has come; one without a key makes the read incomplete."""
    config = {
        **OPT_OUT,
        "stream_maps": STREAM_MAPS,
        "rejects_path": str(tmp_path / "rejects.singer"),
        "max_rejects_percent": 100,
    }
    others = [resident(n) for n in (1, 3, 4)]
    run_target(schema(CITY), resident(2), *others, **config)
    for _ in range(3):
        ended = run_target(schema(CITY), there, *others, **config).ok()
        assert count(ended, "gone") == 0
    assert opted_out(crm) == set()


# Fault 4

HUNDRED = range(100)


def test_a_tap_that_ends_early_once_costs_nobody_their_consent(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """A person is gone who is missing in two full reads in a row, and not before."""
    run_target(*night(*consenting(*HUNDRED)), **OPT_OUT)
    for last in (97, 100, 97, 100, 95, 100):
        ended = run_target(*night(*consenting(*range(last))), **OPT_OUT).ok()
        assert count(ended, "missing") == 100 - last
        assert count(ended, "gone") == 0
        assert opted_out(crm) == set()


@pytest.mark.usefixtures("rejects")
@pytest.mark.parametrize(
    ("back", "fault"),
    [
        pytest.param({"email": "new9"}, ("503",), id="the run fails before the move"),
        pytest.param({"email_opt_in": "perhaps"}, (), id="the record cannot be mapped"),
    ],
)
def test_who_came_in_between_was_not_missing_twice_in_a_row(
    run_target: RunTarget, crm: RunningSandbox, back: Record, fault: tuple[str, ...]
) -> None:
    """Whatever happens to the record: the person is in the source."""
    config = {**OPT_OUT, "retry_max_seconds": 0, "max_rejects_percent": 100}
    stay = consenting(1, 2, 3)
    run_target(*night(*stay, person(9, email_opt_in=True)), **config)
    run_target(*night(*stay), **config)
    crm.set_faults(*fault)
    run_target(*night(*stay, person(9, **{"email_opt_in": True, **back})), **config)
    crm.set_faults()
    ended = run_target(*night(*stay), **config)
    assert (count(ended, "missing"), count(ended, "gone")) == (1, 0)
    assert opted_out(crm) == set()


def test_who_is_missing_in_two_full_reads_in_a_row_is_opted_out_once(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """On both channels, and once; who comes back is as the source says."""
    both: Record = {"mobile": "+4790000009", "mobile_opt_in": True, "email_opt_in": True}
    gone, stay = person(9, **both), consenting(1, 2, 3)
    run_target(*night(*stay, gone), **OPT_OUT)
    run_target(*night(*stay), **OPT_OUT)
    assert opted_out(crm) == set()
    ended = run_target(*night(*stay), **OPT_OUT)
    assert count(ended, "gone") == 1
    contact = by_address(crm)["p9"]
    assert (contact["email_opt_in"], contact["mobile_opt_in"]) == (False, False)
    sent = posts(crm)
    ended = run_target(*night(*stay), **OPT_OUT)
    assert (posts(crm), count(ended, "gone")) == (sent, 0)
    run_target(*night(*stay, gone), **OPT_OUT)
    assert opted_out(crm) == set()


def test_a_run_that_fails_is_no_full_read(run_target: RunTarget, crm: RunningSandbox) -> None:
    """Its input did not end whole, so that nobody was missing in it."""
    run_target(*night(*consenting(*HUNDRED)), **OPT_OUT)
    assert run_target(*night(*consenting(*range(97)))[:-1], "{half a li", **OPT_OUT).code == 1
    run_target(*night(*consenting(*range(97))), **OPT_OUT).ok()
    assert opted_out(crm) == set()


def test_a_tap_that_ends_halfway_makes_nobody_a_second_contact(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """Nobody is forgotten by itself."""
    run_target(*night(*consenting(*HUNDRED)), **FULL)
    run_target(*night(*consenting(*range(50))), **FULL)
    moved = [person(n, f"new{n}", email_opt_in=True) for n in range(60, 64)]
    unmoved = [n for n in HUNDRED if n not in range(60, 64)]
    run_target(*night(*consenting(*unmoved), *moved), **FULL)
    assert len(crm.contacts()) == 100
    assert {f"new{n}" for n in range(60, 64)} <= set(addresses(crm))


# Fault 5


def test_two_customers_merged_at_the_source_have_one_contact_that_may_be_written_to(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """The contact of the one that stays gets the data; the other is opted out.

    Number 1 is gone, and number 2 has its address: two contacts with one identity could never be
    told apart again, and her later no would reach one of them.
    """
    others = consenting(*range(10, 20))
    run_target(*night(*others, *consenting(1, 2)), **OPT_OUT)
    merged = person(2, "p1", email_opt_in=True, firstname="Merged")
    for _ in range(3):
        run_target(*night(*others, merged), **OPT_OUT).ok()
    found = by_address(crm)
    assert found["p1"]["properties"]["firstname"] == "Merged"
    assert opted_in(crm) & {"p1", "p2"} == {"p1"}
    run_target(*night(*others, person(2, "p1", email_opt_in=False)), **OPT_OUT)
    assert opted_in(crm) & {"p1", "p2"} == set()


# Fault 6


def renamed(stream: str = "people", key: t.Any = int, column: str = "id") -> list[str]:
    """Twenty people in a stream of this name, under keys of this kind."""
    columns: Record = {column: {}, "email": {}, "firstname": {}, "email_opt_in": {}}
    people = [
        record(
            stream,
            **{column: key(n)},
            email=f"p{n}@example.com",
            firstname=f"First{n}",
            email_opt_in=True,
        )
        for n in range(20)
    ]
    return [schema(columns, stream=stream, key=[column]), *people, state(bookmark=20)]


RENAMINGS: dict[str, list[str]] = {
    "the stream": renamed("customers"),
    "numbers become text": renamed(key=str),
    "numbers become decimals": renamed(key=float),
    "another spelling": renamed(key="C-{:05}".format),
    "other values": renamed(key=lambda n: n + 1000),
    "the key's column": renamed(column="number"),
}


@pytest.mark.parametrize("renaming", RENAMINGS)
def test_other_keys_for_the_same_people_send_nothing(
    run_target: RunTarget, crm: RunningSandbox, renaming: str
) -> None:
    """What was delivered is kept by identity, whoever delivered it.

    The old keys are still held to be there: who changes then is followed, or is a second contact,
    which is named in a warning.
    """
    mapped: Record = {"field_map": {"id": None, "number": None}, **DRIFTING}
    run_target(*renamed(), **mapped)
    sent = posts(crm)
    for _ in range(3):
        run_target(*RENAMINGS[renaming], **mapped).ok()
    assert posts(crm) == sent
    assert len(crm.contacts()) == 20
    moved = [line.replace("p7@", "new7@") for line in RENAMINGS[renaming]]
    ended = run_target(*moved, **mapped).ok()
    seen = addresses(crm)
    assert "new7" in seen
    if len(seen) > 20:
        said = " ".join(warnings(ended))
        assert any(words in said for words in ("not be followed", "left behind", "second contact"))


def test_a_stream_under_another_name_is_shown_beside_the_old_one(
    run_target: RunTarget, ledger_uri: str
) -> None:
    """So that it can be seen, and forgotten."""
    run_target(*renamed())
    run_target(*renamed("customers"))
    shown = ledger_command(ledger_uri, "show").stdout
    assert "people" in shown
    assert "customers" in shown


def test_people_whose_keys_are_of_another_kind_now_are_not_opted_out(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """Their old keys are missing; but somebody with a new key has their identity."""
    mapped = {**OPT_OUT, "field_map": {"id": None}}
    run_target(*renamed(), **mapped)
    for _ in range(3):  # the old keys are missing, which may fail these runs
        run_target(*RENAMINGS["numbers become text"], **mapped)
    assert opted_in(crm) == {f"p{n}" for n in range(20)}


def test_a_stream_that_is_not_delivered_any_more_holds_nobody_after_thirty_days(
    run_target: RunTarget, crm: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who goes from the stream that took its place is opted out, and who changes is followed."""
    both: Record = {"streams": {name: {"full_table": True} for name in ("people", "customers")}}
    config = {**OPT_OUT, **both}
    run_target(*renamed(), **config)
    days_later(monkeypatch, 1)
    run_target(*renamed("customers"), **config)
    days_later(monkeypatch, 40)
    run_target(*renamed("customers"), **config)
    lines = [line.replace("p7@", "new7@") for line in renamed("customers") if "p8@" not in line]
    for day in (41, 42):
        days_later(monkeypatch, day)
        run_target(*lines, **config).ok()
    assert opted_out(crm) == {"p8"}
    assert "new7" in addresses(crm)
    assert "p7" not in addresses(crm)


# Fault 7


def test_who_is_gone_after_a_kill_is_opted_out_under_both_addresses(
    run_target: RunTarget, crm: RunningSandbox, between: Between, settings: Record, tmp_path: Path
) -> None:
    """With `create` the new address is a contact of its own, of which the run has not heard."""
    config = {**settings, **OPT_OUT, "api_url": between.url, "identity_changes": "create"}
    others = consenting(*range(10, 20))
    run_target(*night(*others, *consenting(1)), **config)
    lines = night(*others, person(1, "new1", email_opt_in=True))
    run_killed(config, lines, tmp_path, between, Moment("POST", 1, "after"))
    assert opted_in(crm) >= {"p1", "new1"}
    for _ in range(3):
        run_target(*night(*others), **config).ok()
    assert opted_in(crm) == {f"p{n}" for n in range(10, 20)}


# Fault 8

DELETED = {"_sdc_deleted_at": "2026-11-01T00:00:00Z"}


@pytest.mark.parametrize(
    "deletion",
    [
        pytest.param(record(id=1, **DELETED), id="with its key alone"),
        pytest.param(record(id=1, email=None, firstname=None, **DELETED), id="with nulls"),
    ],
)
def test_a_deletion_with_its_key_alone_opts_the_person_out(
    run_target: RunTarget, crm: RunningSandbox, tmp_path: Path, deletion: str
) -> None:
    """As log-based taps write it: it is the person that the ledger knows under the key."""
    config = {"deleted_records": "opt_out", "rejects_path": str(tmp_path / "rejects.singer")}
    run_target(*night(*consenting(1, 2)), **config)
    ended = run_target(*night(deletion), **config).ok()
    assert count(ended, "rejected") == 0
    assert opted_in(crm) == {"p2"}
    assert opted_out(crm) == {"p1"}


@pytest.mark.parametrize("more", [{}, {"email": "p9@example.com", "email_opt_in": True}])
def test_a_deletion_of_somebody_never_delivered_creates_no_contact(
    run_target: RunTarget, crm: RunningSandbox, tmp_path: Path, more: Record
) -> None:
    """It would be billed."""
    config = {"deleted_records": "opt_out", "rejects_path": str(tmp_path / "rejects.singer")}
    run_target(*night(*consenting(1)), **config)
    run_target(*night(record(id=9, **more, **DELETED)), **config).ok()
    assert addresses(crm) == ["p1"]


# Fault 9


def test_who_is_opted_out_because_they_are_gone_was_not_read(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """The counts and the last line say so in words of their own."""
    run_target(*night(*consenting(*range(30))), **OPT_OUT)
    run_target(*night(*consenting(*range(25))), **OPT_OUT)
    ended = run_target(*night(*consenting(*range(25))), **OPT_OUT)
    assert len(opted_out(crm)) == 5
    assert (count(ended, "read"), count(ended, "unchanged")) == (25, 25)
    assert count(ended, "gone") == 5
    assert "30" not in ended.last
    assert "5 contacts are in" not in ended.last
    assert "5" in ended.last
