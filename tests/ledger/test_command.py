"""`mainbrainer-ledger` shows what is known of a person, and forgets it on request."""

import contextlib
import json
import re
import sqlite3
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from target_mainbrainer.errors import LedgerError
from target_mainbrainer.ledger.content import Account
from target_mainbrainer.ledger.database import open_database
from target_mainbrainer.ledger.ledger import Ledger
from tests.ledger.outside import FULL, Moment, Night, on_both_databases, rehearsal
from tests.loads import PEOPLE, Record, cases, person, record, schema, state, wait_until

DAY = 86_400
RUN = "0000cafe"
COLUMNS: Record = {**PEOPLE, "branch": {}, "id": {}}
TITLES = ("known", "gone", "missing", "changing", "unknown", "no opt in")


def load(night: Night, *people: str, stream: str = "people", **more: t.Any) -> int:
    """Run the target on these records of a stream, and return how many were accepted."""
    lines = [json.dumps({**json.loads(line), "stream": stream}) for line in people]
    columns = schema(COLUMNS, stream=stream, key=more.pop("key", ("id",)))
    ended = night.run(columns, *lines, state(), **more).ok()
    return int(ended.report["streams"][stream]["accepted"])


def counts(night: Night, stream: str = "people", *options: str) -> dict[str, str]:
    """Return the row of a stream in the table of `show`."""
    lines = [line.split() for line in night.show(*options).splitlines()]
    (line,) = [line for line in lines if line[:1] == [stream]]
    return dict(zip(TITLES, line[1:], strict=False))


@contextlib.contextmanager
def open_ledger(uri: str, account: str = "one") -> Iterator[Ledger]:
    """Open a ledger as a run does."""
    with (
        contextlib.closing(open_database(uri)) as database,
        contextlib.closing(Ledger(database, Account(account), RUN)) as ledger,
    ):
        yield ledger


# show


@on_both_databases
def test_it_shows_how_much_is_known_of_each_stream(night: Night) -> None:
    load(night, person(1, email_opt_in=True), person(2))
    load(night, person(9), stream="shops")
    assert [*counts(night).values()] == ["2", "0", "0", "0", "0", "1"]
    for options in ([], ["--stream", "shops"]):
        assert counts(night, "shops", *options)["known"] == "1"


@on_both_databases
def test_it_shows_who_is_missing_and_who_is_gone(night: Night) -> None:
    known = [person(number) for number in range(1, 21)]
    load(night, *known, **FULL)
    load(night, *known[1:], **FULL)
    assert counts(night)["missing"] == "1"
    assert "missed           1 full read in a row" in night.show("--key", "1")
    load(night, *known[1:], **FULL)
    assert (counts(night)["gone"], counts(night)["known"]) == ("1", "19")
    assert "gone             yes" in night.show("--key", "1")


@on_both_databases
def test_it_shows_one_persons_memory(night: Night) -> None:
    """Why is 4711 so? Identity, consent, content, when, the run, and the batch's id."""
    run = night(person(4711, email_opt_in=True), person(2)).report["run"]
    shown = night.show("--stream", "people", "--key", "4711")
    for line in (
        '["4711"]',
        'identity         [null,null,"p4711@example.com"]',
        "content          known: 3 fields",
        "e-mail opt-in    yes, given in batch ",
        "mobile opt-in    never delivered",
    ):
        assert line in shown
    assert re.search(rf"delivered +20.* UTC in batch [0-9a-f-]{{36}} of run {run}\n", shown)
    assert "p2@example.com" not in shown


@on_both_databases
def test_it_shows_since_when_and_by_which_run_a_contact_is_open(night: Night) -> None:
    """While the run goes on, and after it has died in the middle of a changed address."""
    night.between()
    night(person(1))
    (known,) = night.crm.contacts()
    gate = night.gate()
    process = night.start(person(1, firstname="B"))
    wait_until(lambda: gate.seen)
    found = re.search("being sent by run ([0-9a-f]{8}) since 20", night.show("--key", "1"))
    assert found
    assert night.show().splitlines()[2].endswith("now")
    gate.open()
    assert found[1] in process.ended().ok().log
    killed = night.killed(person(1, email="new@example.com"), at=Moment("POST", 2, "before"))
    run = re.search("Run ([0-9a-f]{8})", killed.log)
    assert run
    for arguments in (["--key", "1"], ["--email", "p1@example.com"]):
        shown = night.show(*arguments)
        assert "content          unknown, open since 20" in shown
        assert f"run {run[1]} ended before its outcome" in shown
        assert 'earlier identity [null,null,"p1@example.com"]' in shown
        assert f"contact_id       {known['id']} gets the new identity" in shown
    assert (counts(night)["changing"], counts(night)["unknown"]) == ("1", "1")
    assert "1 source key and 2 identities" in night.forget("--key", "1")


KEYS: list[tuple[t.Any, list[str]]] = [
    (4711, ["4711", '"4711"', "4711.0", "[4711]", '{"id": 4711}', '["4711"]']),
    *(("K-1", ["K-1", '"K-1"', '["K-1"]']), ("007", ["007", '"007"'])),
    *(("true", ['"true"', "true"]), (True, ["true"]), ("1e5", ["1e5"])),
    *((47.5, ["47.5", "47.50", '{"id": 47.50}']), (4711.0, ["4711.0", "4711"])),
    *((number, [str(number)]) for number in (9007199254740993, int("1234567890" * 3))),
    (1e16, ["1e16", "1e+16"]),
    ("2026-11-01T00:00:00+00:00", ['"2026-11-01T00:00:00+00:00"']),
    ("Ærø 'x' \"y\"", [json.dumps("Ærø 'x' \"y\"")]),
]


@cases("key spellings", *KEYS)
def test_a_key_is_found_in_any_spelling(night: Night, key: t.Any, spellings: list[str]) -> None:
    for spelling in spellings:
        load(night, record(id=key, email="ola@example.com"), person(1))
        shown = night.show("--key", spelling)
        assert "ola@example.com" in shown, spelling
        assert "p1@example.com" not in shown
        night.forget("--stream", "people", "--key", spelling)
        assert not left_in_files(night.uri, "ola@example.com")


@on_both_databases
def test_a_key_of_an_aliased_stream_is_found_by_its_plain_value(night: Night) -> None:
    night(person(1), person(11), stream_maps={"people": {"__alias__": "customers"}})
    for stream in ("customers", "people as customers"):
        shown = night.show("--stream", stream, "--key", "1")
        assert "people as customers" in shown
        assert "p1@example.com" in shown
        assert "p11@example.com" not in shown
    assert "1 source key and 1 identity" in night.forget("--key", "1")
    night.finds_nothing("show", "--key", "1")
    assert "p11@example.com" in night.show("--key", "11")
    night.forget("--stream", "customers")
    night.finds_nothing("show", "--key", "11")


@on_both_databases
def test_streams_under_one_alias_have_keys_of_their_own(night: Night) -> None:
    """Both people of the key 1 change their address, and stay one contact each."""
    maps = {name: {"__alias__": "customers"} for name in ("a", "b")}
    for day in (1, 2):
        some = [(name, record(name, id=1, email=f"{name}{day}@example.com")) for name in maps]
        lines = [line for name, one in some for line in (schema(stream=name), one)]
        night.run(*lines, state(), stream_maps=maps).ok()
    assert {one["email"] for one in night.crm.contacts()} == {"a2@example.com", "b2@example.com"}
    assert "1 source key and 1 identity" in night.forget("--stream", "a as customers")


@on_both_databases
def test_people_are_found_by_their_address(night: Night) -> None:
    """In any case; those of a stream without keys have nothing else."""
    night(record(id=1, email="Ola@Example.com", mobile="+47 90812501"), person(2))
    load(night, person(3), stream="letters", key=())
    for arguments in (["--email", "ola@example.com"], ["--mobile", "90812501"]):
        assert '["1"]' in night.show(*arguments)
        assert '["2"]' not in night.show(*arguments)
    shown = night.show("--email", "P3@example.com")
    assert "source key       none" in shown
    assert "content          known" in shown
    assert "without a source key: 1 contact" in night.show()


def test_what_is_not_known_ends_with_a_sentence_without_the_data(night: Night) -> None:
    night(person(1))
    for name in ("show", "forget"):
        for option in ("--key", "--email"):
            said = night.finds_nothing(name, option, "nobody@example.com")
            assert "nobody@example.com" not in said
        night.finds_nothing(name, "--stream", "peple")
    night.finds_nothing("show", "--account", "7")


# forget


@on_both_databases
@cases(
    "arguments said sent_again",
    ("--stream people --key 2", "1 source key and 1 identity.", 1),
    ("--email P2@example.com", "1 source key and 1 identity.", 1),
    # Somebody else has the identity, who is neither forgotten nor sent again.
    ("--stream people --key 1", "1 source key and 0 identities.", 0),
    ("--stream people", "2 source keys and 1 identity.", 1),
    # What it has delivered belongs to no source key.
    ("--stream letters", "0 source keys and 2 identities.", 2),
    ("", "4 source keys and 5 identities.", 5),
)
def test_the_forgotten_is_resent(night: Night, arguments: str, said: str, sent_again: int) -> None:
    """Everything is forgotten only after a yes; there is nothing to be forgotten twice."""

    def deliver() -> int:
        shops, letters = [person(3), person(1)], [person(4), person(5)]
        people = load(night, person(1), person(2)) + load(night, *shops, stream="shops")
        return people + load(night, *letters, stream="letters", key=())

    deliver()
    options = arguments.split()
    if not options:
        night.finds_nothing("forget")
        assert counts(night)["known"] == "2"
    assert f"has forgotten {said}" in night.forget(*options, answer=None if options else "y\n")
    night.finds_nothing("show", *options)
    night.finds_nothing("forget", "--yes", *options)
    assert (deliver(), deliver()) == (sent_again, 0)


def test_people_not_seen_for_long_are_forgotten(night: Night) -> None:
    """When a person was last seen is known to the week, and in doubt it was later."""
    night(person(1), person(2))
    began = time.time()
    night.days_later(6)
    night(person(2))  # which is not written, as it is less than a week later

    def before(days: float) -> tuple[str, str]:
        return "--last-seen-before", time.strftime("%Y-%m-%d", time.gmtime(began + days * DAY))

    for days in (0, 6, 7):
        night.finds_nothing("forget", *before(days))
    night.days_later(10)
    night(person(2))
    assert "1 source key and 1 identity." in night.forget(*before(8))
    night.finds_nothing("show", "--key", "1")
    assert night.show("--key", "2")


@cases("option", "--stream", "--key", "--email")
def test_an_empty_option_does_not_mean_everything(night: Night, option: str) -> None:
    """Such as a variable of a shell script that is not set."""
    night(person(1))
    night.finds_nothing("forget", option, "", "--yes")
    night.finds_nothing("forget", "--stream", "people", option, "")
    assert counts(night)["known"] == "1"


@on_both_databases
def test_one_account_is_forgotten_and_another_stays(night: Night) -> None:
    """A rehearsal in a sandbox beside the real thing."""
    load(night, person(1))
    load(night, person(1), **rehearsal(night.folder / "rehearsal.db"))
    assert night.show("--key", "1").count("source key") == 2
    assert "1 source key and 1 identity." in night.forget("--account", "2")
    assert "Account 1: http" in night.show()
    assert "sandbox" not in night.show()
    assert load(night, person(1)) == 0


@on_both_databases
def test_contacts_known_by_id_are_compared_once_the_others_are_forgotten(night: Night) -> None:
    """While an account has both kinds, every contact is sent."""
    night(person(1), person(2))
    columns = PEOPLE | {"contact_id": {"type": "integer"}}
    lines = [schema(columns), person(1, contact_id=1), state()]
    night.run(*lines)
    assert night.run(*lines).count("accepted") == 1
    night.forget("--key", "2")
    night.forget("--email", "p1@example.com")
    load(night, person(3), stream="shops")
    night.forget("--stream", "shops")
    night.run(*lines)
    assert night.run(*lines).count("accepted") == 0


def test_a_part_of_a_key_is_no_key(night: Night) -> None:
    some = [record(branch=branch, id=7, email=f"{branch}@example.com") for branch in ("a", "b")]
    load(night, *some, key=("id", "branch"))
    night.finds_nothing("forget", "--key", "7")
    assert "1 source key " in night.forget("--key", '{"id": 7, "branch": "a"}')
    assert "b@example.com" in night.show("--key", '["b", 7]')


def left_in_files(uri: str, text: str) -> bool:
    path = Path(uri)
    return any(text.encode() in file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


def test_nothing_of_a_person_is_left_in_the_files(night: Night) -> None:
    """If a reader keeps the bytes, a warning names it; the next call clears the file."""
    night(person(1), person(2))
    night(person(1, email="later@example.com"), person(2))
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
    load(night, person(1), stream="shops")
    gate = night.gate()
    process = night.start(person(1, firstname="B"))
    wait_until(lambda: gate.seen)
    said = night.finds_nothing("forget", "--stream", "people")
    assert "Another run delivers stream 'people'" in said
    night.finds_nothing("forget", "--yes")
    assert counts(night, "shops")["known"] == "1"
    gate.open()
    process.ended().ok()
    night.forget("--yes")


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
