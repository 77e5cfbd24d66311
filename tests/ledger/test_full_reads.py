"""Full reads and missing people: nothing follows from what did not come once."""

import json
import typing as t
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ledger.outside import FULL, OPT_OUT, Night
from tests.ledger.people import COLUMNS, consenting, moved, person
from tests.loads import Record, batch, cases, record, schema, state

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
    return batch(path.as_uri())


# Fault 1

EIGHT = range(1, 9)
HIDDEN = person(1, firstname="hidden")
ONE = consenting(1)

# What comes before the STATE, and after it; with nothing after it there is none.
QUIET_NIGHTS: dict[str, Callable[[Path], tuple[list[str], list[str]]]] = {
    "the old version and no record": lambda _: ([], [activate(1)]),
    "a resumed read with nothing left": lambda _: ([], [activate(2)]),
    "the changed record is filtered out": lambda _: (versioned(1, HIDDEN), [activate(1)]),
    "one record in a BATCH file": lambda at: ([batch_file(at, *consenting(1))], [activate(1)]),
    "one record without a version": lambda _: (consenting(1), [activate(1)]),
    "the tap dies after the version": lambda _: ([activate(4), *versioned(4, *ONE)], []),
    "a new version and one record": lambda _: (versioned(5, *ONE), [activate(5)]),
}


@cases("missing_records", "opt_out", "ignore")
@cases("quiet", *QUIET_NIGHTS)
def test_only_a_setting_makes_a_read_full(night: Night, quiet: str, missing_records: str) -> None:
    """ACTIVATE_VERSION has no effect: no person is opted out or forgotten.

    That no person is forgotten shows when their addresses change: they stay one contact each.
    """
    maps = {"people": {"__filter__": "firstname != 'hidden'"}}
    night.settings |= {**DRIFTING, "missing_records": missing_records, "stream_maps": maps}
    night.run(*night.lines(*versioned(1, *consenting(*EIGHT))), activate(1))
    for _ in range(3):
        people, behind = QUIET_NIGHTS[quiet](night.folder)
        lines = night.lines(*people)
        night.run(*lines, *behind).ok() if behind else night.run(*lines[:-1]).ok()
    assert night.opted_out == set()
    night(*moved(*EIGHT))
    assert night.addresses == [f"new{n}" for n in EIGHT]


def test_an_empty_full_read_opts_no_contact_out_and_fails(night: Night) -> None:
    """More than half of a stream is missing: with `opt_out` the run fails, every time."""
    night.settings |= OPT_OUT
    night(*consenting(*EIGHT))
    for _ in range(3):
        ended = night().failed("8 are missing, more than 'max_drift_percent' (100) or half")
        assert "forget them with 'mainbrainer-ledger forget'" in ended.error
        assert night.opted_out == set()
    night(*consenting(*EIGHT)).ok()
    assert night.opted_in == {f"p{n}" for n in EIGHT}


# Fault 2


@cases("nights", [(), (), ()], [(1, 2), (3, 4), (5, 6)])
def test_a_wrong_setting_costs_no_contact(night: Night, nights: list[tuple[int, ...]]) -> None:
    """`full_table` on a stream that is read by its changes, of which there may be none: it warns.

    No person is gone or forgotten.
    """
    night(*consenting(*range(60)))
    for changed in nights:
        ended = night(*consenting(*changed, firstname="New"), **FULL).ok()
        assert any("missing" in line for line in ended.warnings)
        assert ended.count("gone") == 0
    new = range(40, 50)
    night(*moved(*new), **DRIFTING)
    assert night.opted_in == {f"new{n}" if n in new else f"p{n}" for n in range(60)}


def test_a_stream_with_bookmarks_that_is_said_to_be_read_in_full_is_warned_of(night: Night) -> None:
    """The tap's SCHEMA message announces that it reads changes."""
    bookmarked = json.dumps(json.loads(schema()) | {"bookmark_properties": ["id"]})
    ended = night.run(bookmarked, person(1), **FULL)
    assert any("full_table" in line for line in ended.warnings)


# Fault 3

NAMES: Record = {name: {"type": ["string", "null"]} for name in ("email", "city")}
CITY = schema(NAMES | {"id": {"type": ["integer", "null"]}, "email_opt_in": {"type": "boolean"}})


def resident(number: int | None, city: str | None = "Oslo", email: str = "") -> str:
    email = email or f"p{number}@example.com"
    return record("people", id=number, email=email, city=city, email_opt_in=True)


@cases(
    "there",
    pytest.param(resident(2, None), id="its stream map fails"),
    pytest.param(resident(2, "nowhere"), id="a stream map leaves it out"),
    pytest.param(resident(2, email="not an address"), id="it cannot be mapped"),
    pytest.param(resident(None, email="other@example.com"), id="its key is null"),
    pytest.param(resident(None, email="not an address"), id="neither key nor address"),
)
def test_who_is_in_the_source_is_not_missing(night: Night, there: str) -> None:
    """A record that could not be mapped has come; one without a key makes the read incomplete."""
    night.keep_rejects()
    maps = {"people": {"city": "city.upper()", "__filter__": "city != 'nowhere'"}}
    night.settings |= {**OPT_OUT, "stream_maps": maps, "max_rejects_percent": 100}
    others = [resident(n) for n in (1, 3, 4)]
    night.run(CITY, resident(2), *others)
    for _ in range(3):
        assert night.run(CITY, there, *others).ok().count("gone") == 0
    assert night.opted_out == set()


# Fault 4

HUNDRED = range(100)


def test_a_tap_that_ends_early_once_costs_no_consent(night: Night) -> None:
    """A person is gone who is missing in two full reads in a row, and not before."""
    night.settings |= OPT_OUT
    night(*consenting(*HUNDRED))
    for last in (97, 100, 97, 100, 95, 100):
        ended = night(*consenting(*range(last))).ok()
        assert (ended.count("missing"), ended.count("gone")) == (100 - last, 0)
        assert night.opted_out == set()


@cases(
    "back fault",
    pytest.param({"email": "new9"}, "503", id="the run fails before the move"),
    pytest.param({"email_opt_in": "perhaps"}, "", id="the record cannot be mapped"),
)
def test_a_return_ends_the_row_of_absences(night: Night, back: Record, fault: str) -> None:
    """Even if the record is rejected or not delivered, the person is in the source."""
    night.keep_rejects()
    night.settings |= {**OPT_OUT, "retry_max_seconds": 0, "max_rejects_percent": 100}
    stay = consenting(1, 2, 3)
    night(*stay, person(9, email_opt_in=True))
    night(*stay)
    night(*stay, person(9, **{"email_opt_in": True, **back}), faults=fault)
    ended = night(*stay)
    assert (ended.count("missing"), ended.count("gone")) == (1, 0)
    assert night.opted_out == set()


def test_a_rejects_file_that_is_loaded_again_is_no_full_read(night: Night) -> None:
    """Most of a stream is in it after a batch that failed; the others are in the source still."""
    path = night.keep_rejects()
    night.settings |= {**OPT_OUT, "max_rejects_percent": 100}
    night(*consenting(*range(30))).ok()
    night(*(person(n, email_opt_in="perhaps") for n in range(25)), *consenting(*range(25, 30)))
    again = path.read_text().splitlines()
    for lines in (again, again, [one.replace('"perhaps"', "true") for one in again]):
        path.unlink(missing_ok=True)
        ended = night.run(*lines).ok()
        assert (ended.count("missing"), ended.count("gone")) == (0, 0)
        assert "or come from a rejects file, so nobody counts as missing." in ended.log
    assert night.opted_out == set()


def test_who_is_missing_in_two_full_reads_in_a_row_is_opted_out_once(night: Night) -> None:
    """On both channels, and once; a person who comes back is as in the source."""
    night.settings |= OPT_OUT
    both: Record = {"mobile": "+4790000009", "mobile_opt_in": True, "email_opt_in": True}
    gone, stay = person(9, **both), consenting(1, 2, 3)
    night(*stay, gone)
    night(*stay)
    assert night.opted_out == set()
    assert night(*stay).count("gone") == 1
    contact = night.contacts["p9"]
    assert (contact["email_opt_in"], contact["mobile_opt_in"]) == (False, False)
    sent = night.posts
    ended = night(*stay)
    assert (night.posts, ended.count("gone")) == (sent, 0)
    night(*stay, gone)
    assert night.opted_out == set()


def test_who_moves_and_is_back_in_one_night_has_not_moved(night: Night) -> None:
    """Else they would count with the missing, of whom one more is too many here."""
    night.settings |= OPT_OUT | {"max_drift_percent": 0}
    night(*consenting(*range(30)))
    rest = [person(0, "new0", email_opt_in=True), *consenting(*range(20))]
    night(*rest)
    assert night(*rest).count("gone") == 10
    assert night.opted_out == {f"p{n}" for n in range(20, 30)}


def test_a_run_that_fails_is_no_full_read(night: Night) -> None:
    """Its input did not end whole, so that no person was missing in it."""
    night.settings |= OPT_OUT
    night(*consenting(*HUNDRED))
    assert night.run(*night.lines(*consenting(*range(97)))[:-1], "{half a li").code == 1
    night(*consenting(*range(97))).ok()
    assert night.opted_out == set()


# Fault 5


# Fault 6


def renamed(stream: str = "people", key: t.Any = int, column: str = "id") -> list[str]:
    """Twenty people in a stream of this name, under keys of this kind."""
    columns: Record = {column: {}, "email": {}, "firstname": {}, "email_opt_in": {}}
    people = [
        record(stream, email=f"p{n}@example.com", email_opt_in=True, **{column: key(n)})
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


@cases("renaming", *RENAMINGS)
def test_other_keys_for_the_same_people_send_nothing(night: Night, renaming: str) -> None:
    """What was delivered is kept by identity, for all streams.

    The old keys are still held to be there: who changes then is followed, or is a second contact,
    which is named in a warning.
    """
    night.settings |= {"field_map": {"id": None, "number": None}, **DRIFTING}
    night.run(*renamed())
    sent = night.posts
    for _ in range(3):
        night.run(*RENAMINGS[renaming]).ok()
    assert night.posts == sent
    assert len(night.crm.contacts()) == 20
    ended = night.run(*(line.replace("p7@", "new7@") for line in RENAMINGS[renaming])).ok()
    assert "new7" in night.addresses
    if len(night.addresses) > 20:
        said = " ".join(ended.warnings)
        assert any(words in said for words in ("not be followed", "left behind", "second contact"))


def test_people_whose_keys_are_of_another_kind_now_are_not_opted_out(night: Night) -> None:
    """Their old keys are missing; but a person with a new key has their identity."""
    night.settings |= {**OPT_OUT, "field_map": {"id": None}}
    night.run(*renamed())
    for _ in range(3):  # the old keys are missing, which may fail these runs
        night.run(*RENAMINGS["numbers become text"])
    assert night.opted_in == {f"p{n}" for n in range(20)}


def test_a_dropped_stream_is_forgotten_after_thirty_days(night: Night) -> None:
    """Who goes from the stream that took its place is opted out, and who changes is followed."""
    both: Record = {name: {"full_table": True} for name in ("people", "customers")}
    night.settings |= {**OPT_OUT, "streams": both}
    night.run(*renamed())
    for day in (1, 40):
        night.days_later(day)
        night.run(*renamed("customers"))
    lines = [line.replace("p7@", "new7@") for line in renamed("customers") if "p8@" not in line]
    for day in (41, 42):
        night.days_later(day)
        night.run(*lines).ok()
    assert night.opted_out == {"p8"}
    assert "new7" in night.addresses
    assert "p7" not in night.addresses


# Fault 7


# Fault 8

DELETED = {"_sdc_deleted_at": "2026-11-01T00:00:00Z"}


@cases("nulls", {}, {"email": None, "firstname": None})
def test_a_deletion_with_its_key_alone_opts_the_person_out(night: Night, nulls: Record) -> None:
    """As log-based taps write it: it is the person that the ledger knows under the key."""
    night.keep_rejects()
    night.settings["deleted_records"] = "opt_out"
    night(*consenting(1, 2))
    assert night(record(id=1, **nulls, **DELETED)).ok().count("rejected") == 0
    assert (night.opted_in, night.opted_out) == ({"p2"}, {"p1"})


USERS: Record = {"stream": "users", "email_opt_in": True}
NEW = {
    "in the same round": ("p2", consenting(1)),
    "while an earlier round is sent": ("p2", [*consenting(1), person(1, **USERS)]),
    "when the owner of the address has left it": ("new2", [*consenting(1, email="p2"), *moved(2)]),
}


@pytest.mark.parametrize("case", NEW)
def test_who_is_new_and_deleted_in_one_run_has_no_consent(night: Night, case: str) -> None:
    """The ledger does not know the key yet. Found by year 97020."""
    night.settings |= {"confirm_batches": "report", "deleted_records": "opt_out"}
    night(*consenting(2))
    yes, lines = NEW[case]
    streams = [schema(COLUMNS, stream=name) for name in ("people", "users")]
    name = "users" if "users" in lines[-1] else "people"
    night(*streams, *lines, record(name, id=1, **DELETED)).ok()
    assert night.opted_in == {yes}


def test_a_no_of_a_rejected_record_reaches_who_is_new_in_the_same_run(night: Night) -> None:
    night.keep_rejects()
    night(*consenting(2))
    night(*consenting(1), record(id=1, email="p1", email_opt_in=False)).ok()
    assert (night.opted_in, night.opted_out) == ({"p2"}, {"p1"})
