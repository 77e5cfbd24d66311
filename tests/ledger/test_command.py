"""`mainbrainer-ledger` shows and forgets, and says so in a sentence."""

from __future__ import annotations

import random
import time
import typing as t

import pytest
from click.testing import CliRunner

from target_mainbrainer.ledger.command import main
from target_mainbrainer.ledger.database import open_database
from target_mainbrainer.ledger.ledger import Account, Ledger
from tests.ledger.model import Faults, ModelCRM, Target, parse

if t.TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


def run_nights(uri: str, history: str) -> int:
    """Deliver nights, and return how many contacts the last one sent."""
    database = open_database(uri)
    target = Target(database, ModelCRM(), time.monotonic)
    sent = 0
    for night in parse(history):
        before = target.sent
        target.run(night, Faults(random.Random(0)))  # noqa: S311
        sent = target.sent - before
    database.close()
    return sent


def command(uri: str, *arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(main, ["--ledger-uri", uri, *arguments], input=answer)


def test_it_shows_how_much_is_held_of_each_stream(ledger_uri: str) -> None:
    run_nights(ledger_uri, "k0:x{a} k1:y{a} shops/k9:m{a}")
    lines = command(ledger_uri, "show").output.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [["people", "2", "0"], ["shops", "1", "0"]]


def test_it_shows_what_is_held_of_a_source_key(ledger_uri: str) -> None:
    run_nights(ledger_uri, "k0:x{a}")
    shown = command(ledger_uri, "show", "--key", '"k0"').output
    assert "x@example.com" in shown
    assert "batch" in shown
    assert command(ledger_uri, "show", "--key", '"k1"').output.endswith(
        'does not hold the source key ["k1"].\n'
    )


def test_a_forgotten_source_key_is_sent_again(ledger_uri: str) -> None:
    run_nights(ledger_uri, "k0:x{a} k1:y{a}")
    said = command(ledger_uri, "forget", "--stream", "people", "--key", '{"id": "k0"}')
    assert "has forgotten 1 source key of stream 'people'." in said.output
    assert run_nights(ledger_uri, "k0:x{a} k1:y{a}") == 1


def test_whatever_shares_a_forgotten_identity_is_sent_again(ledger_uri: str) -> None:
    run_nights(ledger_uri, "k0:x{b} k1:x{a}")
    assert "1 source key." in command(ledger_uri, "forget", "--key", '"k1"').output
    assert run_nights(ledger_uri, "k0:x{b}") == 1


def test_a_forgotten_stream_is_sent_again(ledger_uri: str) -> None:
    run_nights(ledger_uri, "k0:x{a} shops/k9:m{a}")
    assert "1 source key of" in command(ledger_uri, "forget", "--stream", "shops").output
    assert run_nights(ledger_uri, "k0:x{a} shops/k9:m{a}") == 1


def test_everything_is_forgotten_only_after_a_yes(ledger_uri: str) -> None:
    run_nights(ledger_uri, "k0:x{a} k1:y{a}")
    assert command(ledger_uri, "forget", answer="n\n").exit_code == 1
    assert "2 source keys." in command(ledger_uri, "forget", answer="y\n").output
    assert "does not hold anything" in command(ledger_uri, "show").output


def test_nothing_of_a_person_is_left_in_the_files(tmp_path: Path) -> None:
    uri = str(tmp_path / "ledger.db")
    run_nights(uri, "k0:x{a} k1:y{a}")
    command(uri, "forget", "--key", '"k0"')
    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"y@example.com" in held
    assert b"x@example.com" not in held


def test_a_stream_that_a_run_delivers_is_not_forgotten(ledger_uri: str) -> None:
    database = open_database(ledger_uri)
    ledger = Ledger(database, Account("tests"), clock=time.monotonic)
    stream = ledger.open_stream("people")
    said = command(ledger_uri, "forget", "--yes")
    assert said.exit_code == 1
    assert "Another run delivers stream 'people'" in said.output
    stream.release()
    assert command(ledger_uri, "forget", "--yes").exit_code == 0
    database.close()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["show", "--key", "k0"], "it is no JSON"),
        (["show"], "There is no ledger at"),
    ],
)
def test_mistakes_end_with_a_sentence(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    uri = str(tmp_path / "ledger.db")
    if "--key" in arguments:
        open_database(uri).close()
    ended = command(uri, *arguments)
    assert ended.exit_code != 0
    assert sentence in ended.output
    assert isinstance(ended.exception, SystemExit)
