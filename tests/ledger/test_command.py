"""`mainbrainer-ledger` answers what a person asks, and forgets what it is told to."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import time
import typing as t
from pathlib import Path

import pytest
from click.testing import CliRunner

from target_mainbrainer.contacts import Contact
from target_mainbrainer.errors import LedgerError
from target_mainbrainer.ledger.command import main
from target_mainbrainer.ledger.content import Person, Row
from target_mainbrainer.ledger.database import open_database
from target_mainbrainer.ledger.ledger import Account, Ledger
from tests.ledger.outside import FULL, days_later
from tests.ledgers import on_both_databases
from tests.messages import PEOPLE, person, record, schema, state

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result
    from sqlalchemy import Connection

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import Ended, Record, RunTarget

    Run: t.TypeAlias = Callable[..., Ended]
    Command: t.TypeAlias = Callable[..., Result]

DAY = 86_400
RUN = "0000cafe"
COLUMNS: Record = {**PEOPLE, "id": {}, "shop": {}}


@pytest.fixture
def load(run_target: RunTarget) -> Run:
    """Run the target on these records of a stream; no night may fail."""

    def run(
        *records: str, stream: str = "people", key: t.Iterable[str] = ("id",), **config: t.Any
    ) -> Ended:
        lines = [json.dumps({**json.loads(line), "stream": stream}) for line in records]
        return run_target(schema(COLUMNS, stream=stream, key=key), *lines, state(), **config).ok()

    return run


@pytest.fixture
def command(ledger_uri: str) -> Command:
    """Run the command; its end is always a sentence."""

    def run(*arguments: str, answer: str | None = None) -> Result:
        ended = CliRunner().invoke(main, ["--ledger-uri", ledger_uri, *arguments], input=answer)
        assert ended.exception is None or isinstance(ended.exception, SystemExit)
        assert "Unexpected" not in ended.output
        return ended

    return run


def counts(shown: Result, stream: str = "people") -> dict[str, str]:
    """Return what the table of `show` says about a stream."""
    titles = ("known", "gone", "missing", "changing", "unknown", "no opt in")
    (line,) = [line for line in shown.stdout.splitlines() if line.split()[:1] == [stream]]
    return dict(zip(titles, line.split()[1:], strict=False))


# show


@on_both_databases
def test_it_shows_how_much_is_known_of_each_stream(load: Run, command: Command) -> None:
    load(person(1, email_opt_in=True), person(2))
    load(person(9), stream="shops")
    shown = command("show")
    assert shown.exit_code == 0
    assert counts(shown) == {
        "known": "2",
        "gone": "0",
        "missing": "0",
        "changing": "0",
        "unknown": "0",
        "no opt in": "1",
    }
    assert counts(shown, "shops")["known"] == "1"
    assert counts(command("show", "--stream", "shops"), "shops")["known"] == "1"


@on_both_databases
def test_it_shows_who_is_missing_and_who_is_gone(load: Run, command: Command) -> None:
    known = [person(number) for number in range(1, 21)]
    load(*known, **FULL)
    load(*known[1:], **FULL)
    assert counts(command("show"))["missing"] == "1"
    shown = command("show", "--key", "1").stdout
    assert "missed           1 full read in a row" in shown
    load(*known[1:], **FULL)
    assert counts(command("show"))["gone"] == "1"
    assert counts(command("show"))["known"] == "19"
    assert "gone             yes" in command("show", "--key", "1").stdout


@on_both_databases
def test_it_shows_one_persons_memory(load: Run, command: Command) -> None:
    """Why is 4711 so? Identity, consent, content, when, the run, and the batch's id."""
    run = load(person(4711, email_opt_in=True), person(2)).report["run"]
    shown = command("show", "--stream", "people", "--key", "4711")
    assert shown.exit_code == 0
    for line in (
        '["4711"]',
        'identity         [null,null,"p4711@example.com"]',
        "content          known: 3 fields",
        "e-mail opt-in    yes, given in batch ",
        "mobile opt-in    never delivered",
    ):
        assert line in shown.stdout
    in_batch = rf"delivered +20.* UTC in batch [0-9a-f-]{{36}} of run {run}\n"
    assert re.search(in_batch, shown.stdout)
    assert "p2@example.com" not in shown.stdout


@on_both_databases
def test_it_shows_that_content_is_unknown_after_a_lost_answer(
    load: Run, command: Command, run_target: RunTarget, crm: RunningSandbox
) -> None:
    """All answers of the second run are lost on their way."""
    load(person(1), person(2))
    crm.set_faults("lost:batch")
    lines = [schema(), person(1, firstname="Other"), state()]
    assert run_target(*lines, retry_max_seconds=1).code == 1
    assert counts(command("show"))["unknown"] == "1"
    assert "content          unknown" in command("show", "--key", "1").stdout
    assert "content          known: 3 fields" in command("show", "--key", "2").stdout


@on_both_databases
def test_it_shows_since_when_and_by_which_run_a_contact_is_open(
    command: Command, ledger_uri: str
) -> None:
    """While the run goes on, and after it has died in the middle of a changed address."""
    ledger = Ledger(open_database(ledger_uri), Account("one", "one"), RUN)
    stream = ledger.open_stream("people")
    text, previous = '[null,null,"new@example.com"]', '[null,null,"old@example.com"]'
    row = Row(None, ledger.hashes.identity(Contact(email="new@example.com")), 0)
    one = Person(None, stream, '["1"]', text, row.hash, previous=previous, moving_id=77)

    def begin(connection: Connection) -> None:
        ledger.mark(connection, [row], 1)
        ledger.save_people(connection, [one])

    ledger.write(begin)
    being_sent = f"content          being sent by run {RUN} since 20"
    assert being_sent in command("show", "--key", "1").stdout
    assert command("show").stdout.splitlines()[2].endswith("now")
    ledger.close()
    for arguments in (["--key", "1"], ["--email", "old@example.com"]):
        shown = command("show", *arguments).stdout
        assert "content          unknown, open since 20" in shown
        assert f"run {RUN} ended before its outcome" in shown
        assert 'earlier identity [null,null,"old@example.com"]' in shown
        assert "contact_id       77 gets the new identity" in shown
    assert counts(command("show")) | {"changing": "1", "unknown": "1"} == counts(command("show"))
    assert "1 source key and 1 identity" in command("forget", "--key", "1").stdout


KEYS: list[tuple[t.Any, list[str]]] = [
    (4711, ["4711", '"4711"', "4711.0", "[4711]", '{"id": 4711}', '["4711"]']),
    ("K-1", ["K-1", '"K-1"', '["K-1"]']),
    ("007", ["007", '"007"']),
    ("true", ['"true"', "true"]),
    (47.5, ["47.5", "47.50", '{"id": 47.50}']),
    (12345678901234567890123456789012345, ["12345678901234567890123456789012345"]),
    ("1e5", ["1e5"]),
    (4711.0, ["4711.0", "4711"]),
    (1e16, ["1e16", "10000000000000000"]),
    (True, ["true"]),
    ("2026-11-01T00:00:00+00:00", ['"2026-11-01T00:00:00+00:00"']),
    (9007199254740993, ["9007199254740993"]),
    ("Ærø 'x' \"y\"", [json.dumps("Ærø 'x' \"y\"")]),
]


@pytest.mark.parametrize(("key", "spellings"), KEYS)
def test_a_key_is_found_and_forgotten_however_it_is_written(
    load: Run, command: Command, ledger_uri: str, key: t.Any, spellings: list[str]
) -> None:
    for spelling in spellings:
        load(record(id=key, email="ola@example.com"), record(id=1, email="p1@example.com"))
        shown = command("show", "--key", spelling)
        assert "ola@example.com" in shown.stdout, spelling
        assert "p1@example.com" not in shown.stdout
        assert command("forget", "--stream", "people", "--key", spelling).exit_code == 0
        assert not left_in_files(ledger_uri, "ola@example.com")


@on_both_databases
def test_a_key_of_an_aliased_stream_is_found_by_its_plain_value(
    load: Run, command: Command
) -> None:
    load(person(1), person(11), stream_maps={"people": {"__alias__": "customers"}})
    for key in ("1", '["people", 1]'):
        assert "p1@example.com" in command("show", "--key", key).stdout
        assert "p11@example.com" not in command("show", "--key", key).stdout
    assert "1 source key and 1 identity" in command("forget", "--key", "1").stdout
    assert command("show", "--key", "1").exit_code == 1
    assert "p11@example.com" in command("show", "--key", "11").stdout
    assert command("forget", "--stream", "customers").exit_code == 0
    assert command("show", "--key", "11").exit_code == 1


@on_both_databases
def test_people_are_found_by_their_address(load: Run, command: Command) -> None:
    """Whatever its case; those of a stream without keys have nothing else."""
    both = record(id=1, email="Ola@Example.com", mobile="+47 90812501")
    load(both, person(2))
    load(person(3), stream="letters", key=())
    for arguments in (["--email", "ola@example.com"], ["--mobile", "90812501"]):
        assert '["1"]' in command("show", *arguments).stdout
        assert '["2"]' not in command("show", *arguments).stdout
    shown = command("show", "--email", "P3@example.com").stdout
    assert "source key       none" in shown
    assert "content          known" in shown
    assert "without a source key: 1 contact" in command("show").stdout


def test_what_is_not_known_ends_with_a_sentence_without_the_data(
    load: Run, command: Command
) -> None:
    load(person(1))
    for option, value in (("--key", "nobody@example.com"), ("--email", "nobody@example.com")):
        for name in ("show", "forget"):
            ended = command(name, option, value)
            assert ended.exit_code == 1
            assert "nobody@example.com" not in ended.output
    for name in ("show", "forget"):
        assert command(name, "--stream", "peple").exit_code == 1
    assert command("show", "--account", "7").exit_code == 1


# forget


def sent(ended: Ended, stream: str = "people") -> int:
    return int(ended.report["streams"][stream]["accepted"])


@on_both_databases
def test_a_forgotten_person_is_sent_again(load: Run, command: Command) -> None:
    nights = [person(1), person(2)]
    load(*nights)
    said = command("forget", "--stream", "people", "--key", "1")
    assert said.exit_code == 0
    assert "has forgotten 1 source key and 1 identity." in said.stdout
    assert command("show", "--key", "1").exit_code == 1
    assert sent(load(*nights)) == 1
    assert sent(load(*nights)) == 0


@on_both_databases
def test_an_identity_that_somebody_else_has_stays(load: Run, command: Command) -> None:
    """The other person is neither forgotten nor sent again."""
    same = record(id=2, email="P1@example.com", firstname="First1")
    load(person(1), same)
    assert "1 source key and 0 identities." in command("forget", "--key", "1").stdout
    assert "content          known" in command("show", "--key", "2").stdout
    assert "1 source key and 1 identity." in command("forget", "--key", "2").stdout


@on_both_databases
def test_a_stream_is_forgotten_with_its_people(load: Run, command: Command) -> None:
    load(person(1), person(2))
    load(person(3), person(1), stream="shops")
    said = command("forget", "--stream", "people")
    assert "2 source keys and 1 identity." in said.stdout
    assert "shops" in command("show").stdout
    assert command("show", "--stream", "people").exit_code == 1
    assert command("forget", "--stream", "people").exit_code == 1


@on_both_databases
def test_a_stream_without_keys_is_forgotten(load: Run, command: Command) -> None:
    """What it has delivered belongs to no source key; the contacts of other streams stay."""
    load(person(1), person(2), key=())
    load(person(3), stream="shops")
    assert "0 source keys and 2 identities." in command("forget", "--stream", "people").stdout
    assert "content          known" in command("show", "--key", "3").stdout
    assert sent(load(person(1), person(2), key=())) == 2


def test_people_not_seen_for_long_are_forgotten(
    load: Run, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When somebody was last seen is known to the week, and in doubt it was later."""
    load(person(1), person(2))
    began = time.time()
    days_later(monkeypatch, 6)
    load(person(2))  # which is not written, as it is less than a week later

    def day(days: float) -> str:
        return time.strftime("%Y-%m-%d", time.gmtime(began + days * DAY))

    for days in (0, 6, 7):
        assert command("forget", "--last-seen-before", day(days)).exit_code == 1
    days_later(monkeypatch, 10)
    load(person(2))
    assert "1 source key and 1 identity." in command("forget", "--last-seen-before", day(8)).stdout
    assert command("show", "--key", "1").exit_code == 1
    assert command("show", "--key", "2").exit_code == 0


@on_both_databases
def test_a_person_is_forgotten_by_address(load: Run, command: Command) -> None:
    load(person(1), person(2))
    load(person(1), stream="letters", key=())
    assert "1 source key and 1 identity" in command("forget", "--email", "P1@example.com").stdout
    assert sent(load(person(1), stream="letters", key=()), "letters") == 1
    assert command("show", "--key", "2").exit_code == 0


@on_both_databases
def test_everything_is_forgotten_only_after_a_yes(load: Run, command: Command) -> None:
    load(person(1), person(2))
    assert command("forget", answer="n\n").exit_code == 1
    assert counts(command("show"))["known"] == "2"
    assert "2 source keys and 2 identities." in command("forget", answer="y\n").stdout
    assert command("show").exit_code == 1
    assert command("forget", "--yes").exit_code == 1
    assert sent(load(person(1), person(2))) == 2


@pytest.mark.parametrize("option", ["--stream", "--key", "--email"])
def test_an_empty_option_does_not_mean_everything(load: Run, command: Command, option: str) -> None:
    """Such as a variable of a shell script that is not set."""
    load(person(1))
    assert command("forget", option, "", "--yes").exit_code == 1
    assert command("forget", "--stream", "people", option, "").exit_code == 1
    assert counts(command("show"))["known"] == "1"


@on_both_databases
def test_one_account_is_forgotten_and_another_stays(
    load: Run, command: Command, tmp_path: Path
) -> None:
    """A rehearsal in a sandbox beside the real thing."""
    load(person(1))
    local = {"api_url": "", "access_token": "", "sandbox_path": str(tmp_path / "rehearsal.db")}
    load(person(1), **local)
    assert command("show", "--key", "1").stdout.count("source key") == 2
    assert "1 source key and 1 identity." in command("forget", "--account", "2").stdout
    assert "Account 1: http" in command("show").stdout
    assert "sandbox" not in command("show").stdout
    assert sent(load(person(1))) == 0


@on_both_databases
def test_contacts_known_by_id_are_compared_once_the_others_are_forgotten(
    load: Run, command: Command, run_target: RunTarget
) -> None:
    """While an account has both kinds, every contact is sent."""
    load(person(1), person(2))
    columns = PEOPLE | {"contact_id": {"type": "integer"}}
    night = [schema(columns), record(id=1, contact_id=1, email="p1@example.com"), state()]
    run_target(*night)
    assert sent(run_target(*night)) == 1
    command("forget", "--key", "2")
    command("forget", "--email", "p1@example.com")
    load(person(3), stream="shops")
    command("forget", "--stream", "shops")
    run_target(*night)
    assert sent(run_target(*night)) == 0


def test_a_key_that_several_end_with_is_not_guessed(load: Run, command: Command) -> None:
    shops = [record(shop=shop, id=7, email=f"{shop}@example.com") for shop in ("a", "b")]
    load(*shops, key=("shop", "id"))
    ended = command("forget", "--key", "7")
    assert ended.exit_code == 1
    assert "2 source keys of one stream end with this one" in ended.output
    assert "1 source key " in command("forget", "--key", '{"shop": "a", "id": 7}').stdout
    assert "b@example.com" in command("show", "--key", '["b", 7]').stdout


def left_in_files(uri: str, text: str) -> bool:
    path = Path(uri)
    return any(text.encode() in file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


def test_nothing_of_a_person_is_left_in_the_files(
    load: Run, command: Command, ledger_uri: str
) -> None:
    load(person(1), person(2))
    load(person(1, email="later@example.com"), person(2))
    command("forget", "--key", "1")
    assert not left_in_files(ledger_uri, "p1@example.com")
    assert not left_in_files(ledger_uri, "later@example.com")
    assert left_in_files(ledger_uri, "p2@example.com")


def test_it_says_so_if_a_reader_keeps_the_bytes(
    load: Run, command: Command, ledger_uri: str
) -> None:
    """The person is forgotten all the same, and the next call clears the file."""
    load(person(1), person(2))
    with contextlib.closing(sqlite3.connect(ledger_uri, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM mainbrainer_people").fetchone()
        ended = command("forget", "--key", "1")
        assert ended.exit_code == 1
        assert "has forgotten 1 source key" in ended.output
        assert "can still be read in the file" in ended.output
        reader.execute("ROLLBACK")
    assert command("forget", "--key", "1").exit_code == 1
    assert not left_in_files(ledger_uri, "p1@example.com")


@on_both_databases
def test_nothing_is_forgotten_while_a_run_delivers(
    load: Run, command: Command, ledger_uri: str
) -> None:
    load(person(1))
    ledger = Ledger(open_database(ledger_uri), Account("other", "other"), RUN)
    ledger.open_stream("shops")
    assert command("show").exit_code == 0
    said = command("forget", "--stream", "shops")
    assert said.exit_code == 1
    assert "Another run delivers stream 'shops'" in said.output
    assert command("forget", "--yes").exit_code == 1
    assert counts(command("show"))["known"] == "1"
    ledger.close()
    assert command("forget", "--yes").exit_code == 0


@on_both_databases
def test_a_run_that_began_before_its_account_was_forgotten_ends_with_a_sentence(
    command: Command, ledger_uri: str
) -> None:
    """Its number is not given to another account."""
    for _ in range(2):
        ledger = Ledger(open_database(ledger_uri), Account("one", "one"), RUN)
        number = ledger.account
        ledger.open_stream("people")
        ledger.close()
    ledger = Ledger(open_database(ledger_uri), Account("one", "one"), RUN)
    assert command("forget", "--yes").exit_code == 1  # there is nobody to be forgotten
    other = Ledger(open_database(ledger_uri), Account("other", "other"), RUN)
    assert other.account > number
    with pytest.raises(LedgerError, match="was forgotten while this run was starting"):
        ledger.open_stream("people")
    other.close()
    ledger.close()
