"""`mainbrainer-ledger` shows what is known of a person, and forgets it on request."""

import contextlib
import json
import re
import sqlite3
import subprocess
import sys
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from target_mainbrainer.errors import LedgerError
from target_mainbrainer.ledger.content import Account
from target_mainbrainer.ledger.database import open_database
from target_mainbrainer.ledger.ledger import Ledger
from tests.histories import histories, play
from tests.ledger.outside import Moment, Night, on_both_databases
from tests.loads import cases, person, record, schema, state, wait_until

DAY = 86_400


@contextlib.contextmanager
def open_ledger(uri: str, account: str = "one") -> Iterator[Ledger]:
    """Open a ledger as a run does."""
    with (
        contextlib.closing(open_database(uri)) as database,
        contextlib.closing(Ledger(database, Account(account), "0000cafe")) as ledger,
    ):
        yield ledger


@histories("""
it shows how much is known of each stream: known, gone, missing, changing, unknown and no opt-in *
  1 p1 yes, 2 p2, shops:9 p9; show ? row people 2 0 0 0 0 1, row shops 1;
  show --stream shops ? row shops 1
it shows who is missing and who is gone *
  set full; 1-20 p#; 2-20 p#; show ? row people 20 0 1; show --key 1 ?
  says missed 1 full read in a row; 2-20 p#; show ? row people 19 1; show --key 1 ? says gone yes
it shows one person's memory
  4711 p4711 yes, 2 p2; show --stream people --key 4711 ? says "4711", says content known: 3 fields,
  says null,null,"p4711@example.com", says e-mail opt-in yes,
  says mobile opt-in never delivered, hides p2@example.com
a key of an aliased stream is found by its plain value *
  set stream_maps={"people":{"__alias__":"customers"}}; 1 p1, 11 p11;
  show --stream [customers|"people as customers"] --key 1 ? says people as customers,
  says p1@example.com, hides p11@example.com; forget --key 1 ? says 1 source key and 1 identity;
  show --key 1 ? nothing; show --key 11 ? says p11@example.com; forget --stream customers;
  show --key 11 ? nothing
streams under one alias have keys of their own *
  set stream_maps={"a":{"__alias__":"c"},"b":{"__alias__":"c"}}; a:1 a1, b:1 b1; a:1 a2, b:1 b2
  ? there a2 b2; forget --stream "a as c" ? says 1 source key and 1 identity
people are found by their address, in any case; those of a stream without keys have nothing else *
  1 email=Ola@Example.com +1, 2 p2, letters:3 p3 keyless;
  show [--email ola@example.com|--mobile 90000001] ? says "1", hides "2";
  show --email P3@example.com ? says source key none, says content known
whose identity somebody else has is forgotten alone, and neither is sent again *
  1-2 p#, shops:1 p1; forget --stream people --key 1 ? says 1 source key and 0 identities;
  again ? 0 delivered
what a stream without keys has delivered belongs to no key, and is forgotten with all of it *
  1 p1, letters:4-5 p# keyless; forget [--stream letters ? says 0 source keys and 2 identities;
  again ? 2 delivered|--yes ? says 1 source key and 3 identities; forget --yes ? nothing;
  again ? 3 delivered]; again ? 0 delivered
what is not known ends with a sentence without the data
  1 p1; [show|forget] [--key|--email] unknown@example.com ? nothing, hides unknown@example.com;
  show --stream peple ? nothing; forget --stream peple ? nothing; show --account 7 ? nothing
one account is forgotten and another stays: a rehearsal in a sandbox beside the real thing *
  1 p1; at rehearsal.db; again; forget --account 2 ? says 1 source key and 1 identity.;
  show ? says Account 1: http, hides rehearsal; at home; again ? 1 unchanged
a zero at the end of a fraction makes another key
  1 id=4711.1 p1, 2 id=4711.10 p2; forget --key 4711.10 ? says 1 source key; show --key 4711.1 ?
  says p1@example.com
an empty option, such as a variable of a script that is not set, does not mean everything
  1 p1; forget [--stream|--key|--email] "" --yes ? nothing; show ? row people 1
nor beside another one
  1 p1; forget --stream people [--key|--email] "" --yes ? nothing; show ? row people 1
contacts known by id are compared once the others are forgotten: with both kinds all are sent *
  1-2 p#; 1 p1 contact_id:1; again ? 1 accepted; forget --key 2; forget --email p1@example.com;
  shops:3 p3; forget --stream shops; 1 p1 contact_id:1; again ? 0 accepted
""")
def test_what_is_shown_and_forgotten(night: Night, story: str) -> None:
    """By stream, key and address, in the words and numbers of the command."""
    play(night, story)


@on_both_databases
def test_it_shows_the_run_of_the_last_delivery(night: Night) -> None:
    run = night("4711 p4711").report["run"]
    shown = night.says("show", "--key", "4711")
    assert re.search(rf"delivered +20.* UTC by run {run}\n", shown)


@on_both_databases
def test_it_shows_since_when_and_by_which_run_a_contact_is_open(night: Night) -> None:
    """While the run goes on, and after it has died in the middle of a changed address."""
    night.between()
    night("1 p1")
    (known,) = night.crm.contacts()
    gate = night.gate()
    process = night.start("1 p1 =B")
    wait_until(lambda: gate.seen)
    found = re.search("being sent by run ([0-9a-f]{8}) since 20", night.says("show", "--key", "1"))
    assert found
    assert night.says("show").splitlines()[2].endswith("now")
    gate.open()
    assert found[1] in process.ended().ok().log
    killed = night.killed("1 new", at=Moment("POST", 2, "before"))
    run = re.search("Run ([0-9a-f]{8})", killed.log)
    assert run
    for arguments in (["--key", "1"], ["--email", "p1@example.com"]):
        shown = night.says("show", *arguments)
        assert "content          unknown, open since 20" in shown
        assert f"run {run[1]} ended before its outcome" in shown
        assert 'earlier identity [null,null,"p1@example.com"]' in shown
        assert f"contact_id       {known['id']} gets the new identity" in shown
    assert night.says("show").splitlines()[2].split()[4:6] == ["1", "1"]
    assert "1 source key and 2 identities" in night.says("forget", "--key", "1")


KEYS: list[tuple[t.Any, list[str]]] = [
    (4711, ["4711", '"4711"', "4711.0", "[4711]", '{"id": 4711}', '["4711"]']),
    *(("K-1", ["K-1", '"K-1"', '["K-1"]']), ("007", ["007", '"007"'])),
    *(("true", ['"true"', "true"]), (True, ["true"]), ("1e5", ["1e5"])),
    *((47.5, ["47.5", '{"id": 47.5}']), (4711.0, ["4711.0", "4711"])),
    *((number, [str(number)]) for number in (9007199254740993, int("1234567890" * 3))),
    (1e16, ["1e16", "1e+16"]),
    ("2026-11-01T00:00:00+00:00", ['"2026-11-01T00:00:00+00:00"']),
    ("Ærø 'x' \"y\"", [json.dumps("Ærø 'x' \"y\"")]),
]


@cases("key spellings", *KEYS)
def test_a_key_is_found_in_any_spelling(night: Night, key: t.Any, spellings: list[str]) -> None:
    for spelling in spellings:
        columns = schema({"id": {}, "email": {}})
        night.run(columns, record(id=key, email="ola@example.com"), person(1)).ok()
        shown = night.says("show", "--key", spelling)
        assert "ola@example.com" in shown, spelling
        assert "p1@example.com" not in shown
        night.says("forget", "--stream", "people", "--key", spelling)
        assert not left_in_files(night.uri, "ola@example.com")


# forget


def test_everything_is_forgotten_only_after_a_yes(night: Night) -> None:
    night("1 p1")
    night.finds_nothing("forget")
    assert "1 source key" in night.says("forget", answer="y\n")


def test_people_not_seen_for_long_are_forgotten(night: Night) -> None:
    """When a person was last seen is known to the week, and in doubt it was later."""
    night("1-2 p#")
    began = time.time()

    def forget_before(days: int) -> str:
        day = time.strftime("%Y-%m-%d", time.gmtime(began + days * DAY))
        return night.command("forget", "--last-seen-before", day).output

    night.days_later(6)
    night("2 p2")  # which is not written, as it is less than a week later
    assert "has forgotten" not in forget_before(7)
    night.days_later(10)
    night("2 p2")
    assert "has forgotten 1 source key and 1 identity." in forget_before(8)
    assert night.says("show", "--key", "2")


def test_a_full_disk_ends_it_with_a_sentence(night: Night) -> None:
    night("1 p1")
    command = [str(Path(sys.executable).with_name("mainbrainer-ledger")), "--ledger-uri", night.uri]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run([*command, "show"], check=False, stdout=full, stderr=subprocess.PIPE)
    assert ended.stderr == b"Error: The system says: No space left on device.\n"


def test_a_part_of_a_key_is_no_key(night: Night) -> None:
    some = [record(branch=branch, id=7, email=f"{branch}@example.com") for branch in ("a", "b")]
    night.run(schema("id branch email", key=("id", "branch")), *some, state()).ok()
    night.finds_nothing("forget", "--key", "7")
    night.finds_nothing("forget", "--key", "[" * 100_000)
    assert "1 source key " in night.says("forget", "--key", '{"id": 7, "branch": "a"}')
    assert "b@example.com" in night.says("show", "--key", '["b", 7]')


def left_in_files(uri: str, text: str) -> bool:
    path = Path(uri)
    return any(text.encode() in file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


def test_nothing_of_a_person_is_left_in_the_files(night: Night) -> None:
    """If a reader keeps the bytes, a warning names it; the next call clears the file."""
    night("1-2 p#")
    night("1 later, 2 p2")
    with contextlib.closing(sqlite3.connect(night.uri, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM mainbrainer_people").fetchone()
        said = night.finds_nothing("forget", "--key", "1")
        reader.execute("ROLLBACK")
    assert "has forgotten 1 source key" in said
    assert "can still be read in the file" in said
    night.finds_nothing("forget", "--key", "1")
    for email, is_left in (("p1", False), ("later", False), ("p2", True)):
        assert left_in_files(night.uri, f"{email}@example.com") is is_left


@on_both_databases
def test_nothing_is_forgotten_while_a_run_delivers(night: Night) -> None:
    night.between()
    night("shops:1 p1")
    gate = night.gate()
    process = night.start("1 p1 =B")
    wait_until(lambda: gate.seen)
    said = night.finds_nothing("forget", "--stream", "people")
    assert "Another run delivers stream 'people'" in said
    night.finds_nothing("forget", "--yes")
    assert "  shops  " in night.says("show")
    gate.open()
    process.ended().ok()
    night.says("forget", "--yes")


@on_both_databases
def test_a_run_whose_account_was_forgotten_as_it_began_ends_with_a_sentence(night: Night) -> None:
    """Its number is not given to another account."""
    for _ in range(2):
        with open_ledger(night.uri) as ledger:
            number = ledger.account
            ledger.open_stream("people")
    with open_ledger(night.uri) as ledger:
        night.finds_nothing("forget", "--yes")  # there is no person to be forgotten
        with open_ledger(night.uri, "other") as other:
            assert other.account > number
            with pytest.raises(LedgerError, match="was forgotten while this run was starting"):
                ledger.open_stream("people")
