"""With a ledger the CRM ends as if everything had been sent every night."""

from __future__ import annotations

import contextlib
import os
import random
import time
import typing as t

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typing_extensions import override

from target_mainbrainer.ledger import store
from target_mainbrainer.ledger.database import open_database
from tests.ledger.model import (
    BAD,
    STREAM,
    Faults,
    ModelCRM,
    Record,
    Target,
    parse,
    send_everything,
)

if t.TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from target_mainbrainer.ledger.database import Database
    from tests.postgresql import PostgreSQL


EXAMPLES = int(os.environ.get("MODEL_HISTORIES", "60"))


def no_faults(seed: int = 0) -> Faults:
    return Faults(random.Random(seed))  # noqa: S311 - repeatable


@pytest.mark.parametrize("folds", [False, True], ids=["spelling counts", "spelling is folded"])
@pytest.mark.parametrize(
    "history",
    [
        pytest.param("k0:x{b} k1:x{a} | k1:y k0:x{b}", id="an entry leaves a shared identity"),
        pytest.param("k0:x{b} k1:x{a} | k0:x{b}", id="a key that shared an identity has gone"),
        pytest.param("k:x{a} | k:x{b} k:x{a}", id="a key comes twice in a run"),
        pytest.param("k:x{a} | k:y{b} k:x{a}", id="a key comes twice under two identities"),
        pytest.param("k1:x{b} | k0:X{a} k1:x{b}", id="spelling"),
        pytest.param("k1:m{b} | k0:M{a} k1:m{b}", id="a country code less"),
        pytest.param("k1:7{a} | k0:x{b} | k1:7{a}", id="an id beside an address"),
        pytest.param("k0:x{b} | k1:7{a} k0:x{b} | k0:x{b}", id="an id comes and goes"),
        pytest.param("k:x{a} | k:x{b} | k:x{a}", id="there and back"),
        pytest.param("k:x{a} | k:y{a} | k:x{a}", id="there and back under another identity"),
        pytest.param("old/k:x{a} | new/k:x{b} | old/k:x{a}", id="a renamed stream and back"),
        pytest.param("k:x{a} | j:x{b} | k:x{a}", id="changed key_properties and back"),
        pytest.param("k:x{a@l1} | k:x{a@l2} | k:x{a@l1}", id="a contact changes its list"),
        pytest.param("a/k:x{a@l1} b/k:x{a@l2} | a/k:x{a@l1}", id="a contact in two lists"),
        pytest.param("k:x{a} | k:x{z} | k:x{a}", id="a refusal in between"),
        pytest.param("k:x{z} | k:x{a} | k:x{a}", id="a refusal that is corrected"),
        pytest.param("k0:x{a} k1:x{z} | k0:x{a} k1:y{b} | k0:x{a}", id="a refused sharer moves"),
        pytest.param("k0:x{a} k1:mx{b} | k0:mx{a} k1:x{b} | k0:x{a} k1:mx{b}", id="a swap"),
    ],
)
def test_a_history_ends_as_if_everything_had_been_sent(
    database: Database, history: str, folds: bool
) -> None:
    crm, plain = ModelCRM(folds=folds), ModelCRM(folds=folds)
    target = Target(database, crm, time.monotonic)
    for night in parse(history):
        assert target.run(night, no_faults())
        send_everything(plain, night)
        assert crm.view() == plain.view()


def test_what_has_not_changed_is_not_sent(database: Database) -> None:
    target = Target(database, ModelCRM(), time.monotonic)
    (night,) = parse("k0:x{a} k1:y{a} k2:m{a} k3:mx{a}")
    for _ in range(3):
        target.run(night, no_faults())
    assert target.sent == len(night)
    assert target.compared == ["new"] * 4 + ["unchanged"] * 8


def test_a_changed_contact_is_sent_once(database: Database) -> None:
    target = Target(database, ModelCRM(), time.monotonic)
    first, second = parse("k0:x{a} k1:y{a} | k0:x{b} k1:y{a}")
    target.run(first, no_faults())
    target.compared.clear()
    target.run(second, no_faults())
    target.run(second, no_faults())
    assert target.compared == ["changed", "unchanged", "unchanged", "unchanged"]


def test_ids_beside_addresses_are_never_skipped(database: Database) -> None:
    target = Target(database, ModelCRM(), time.monotonic)
    (night,) = parse("k0:7{a} k1:y{a}")
    for _ in range(3):
        target.run(night, no_faults())
    assert target.sent == 3 * len(night)


def test_an_incremental_read_makes_no_key_stop_holding(database: Database) -> None:
    target = Target(database, ModelCRM(), time.monotonic)
    (night,) = parse("k0:x{a} k1:y{a}")
    target.run(night, no_faults())
    target.run([], no_faults(), is_complete=False)
    target.run(night, no_faults())
    assert target.sent == len(night)


# What fails


class Story:
    """One source key, step by step, over both the CRM and the ledger."""

    def __init__(self, database: Database) -> None:
        self.crm = ModelCRM()
        self.target = Target(database, self.crm, time.monotonic)

    def night(self, text: str, faults: Faults | None = None) -> bool:
        (records,) = parse(text)
        return self.target.run(records, faults or no_faults())

    @property
    def content(self) -> str:
        ((_, content, _),) = self.crm.view([Record("k", "x", "")])
        return t.cast("str", content)


class LosesAnswers(Faults):
    """The answer to the first request is lost, and the run is killed by it.

    Args:
        fate: What becomes of the request.
    """

    def __init__(self, fate: str) -> None:
        super().__init__(Certain(fate))

    @override
    def happens(self) -> bool:
        return True

    @override
    def kill(self) -> None:
        """Let the run come as far as its request."""


class Certain(random.Random):
    """Chooses what it was told to."""

    def __init__(self, chosen: str) -> None:
        super().__init__()
        self._chosen = chosen

    @override
    def choice(self, seq: t.Any) -> t.Any:
        return self._chosen

    @override
    def random(self) -> float:
        return 0.4


def test_a_lost_answer_is_never_taken_for_unchanged(database: Database) -> None:
    """A is delivered, B applied and its answer lost, and the source goes back to A."""
    story = Story(database)
    story.night("k:x{a}")
    assert not story.night("k:x{b}", LosesAnswers("applied"))
    assert story.content == "b"
    story.night("k:x{a}")
    assert story.content == "a"


def test_an_attempt_that_lands_after_a_newer_one_is_made_good(database: Database) -> None:
    story = Story(database)
    story.night("k:x{a}")
    assert not story.night("k:x{b}", LosesAnswers("late"))
    story.night("k:x{a}")
    assert story.content == "b"
    story.night("k:x{a}")
    assert story.content == "a"
    sent = story.target.sent
    story.night("k:x{a}")
    assert story.target.sent == sent


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[list[Record]], float]:
    """Return nights, and how often anything goes wrong at any step of them."""
    identities = draw(
        st.sampled_from(
            [["x", "X", "y"], ["x", "y", "m", "mx"], ["m", "M", "x"], ["x", "y", "7"], ["7", "8"]]
        )
    )
    records = st.builds(
        Record,
        st.sampled_from(["k0", "k1", "k2"]),
        st.sampled_from(identities),
        st.sampled_from(["a", "a", "b", BAD]),
        st.sampled_from([None, None, None, "l"]),
        st.sampled_from([STREAM, STREAM, STREAM, "other"]),
    )
    snapshots = draw(st.lists(st.lists(records, max_size=4), min_size=1, max_size=3))
    nights = draw(st.lists(st.sampled_from(snapshots), min_size=2, max_size=5))
    return nights, draw(st.sampled_from([0.0, 0.05, 0.2]))


@contextlib.contextmanager
def emptied(uri: str) -> Iterator[Database]:
    """Open a database for one history, without waiting for the disk."""
    database = open_database(uri, synchronous="OFF")
    with database.transaction() as connection:
        store.delete_everything(connection)
    try:
        yield database
    finally:
        database.close()


def check(database: Database, nights: list[list[Record]], rate: float, seed: int) -> None:
    """Run a history; its end is that of sending everything."""
    faults = Faults(random.Random(seed), rate)  # noqa: S311
    folds = bool(seed % 2)
    crm, plain = ModelCRM(folds=folds), ModelCRM(folds=folds)
    target = Target(database, crm, time.monotonic)
    for night in nights:
        target.run(night, faults)
        send_everything(plain, night)
        if not rate:
            assert crm.view() == plain.view()
    last = nights[-1]
    for _ in range(3):
        assert target.run(last, no_faults(seed))
        send_everything(plain, last)
    # A contact that is refused now shows what some other night has left, in one of the two or in
    # both: with faults, that night may never have come to its end.
    told = [
        one
        for one in last
        if not any(one_crm.matches(one) & refused(one_crm, last) for one_crm in (crm, plain))
    ]
    assert crm.view(told) == plain.view(told)


def refused(crm: ModelCRM, night: list[Record]) -> set[int]:
    """Return the ids of the contacts that a night names and is refused."""
    return {id_ for record in night if record.content == BAD for id_ in crm.matches(record)}


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=histories(), seed=st.integers(0, 1_000_000))
def test_any_history_ends_as_if_everything_had_been_sent(
    tmp_path: Path, history: tuple[list[list[Record]], float], seed: int
) -> None:
    with emptied(str(tmp_path / "ledger.db")) as database:
        check(database, *history, seed)


@settings(
    max_examples=EXAMPLES // 2,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=histories(), seed=st.integers(0, 1_000_000))
def test_any_history_ends_likewise_on_postgresql(
    postgresql_server: PostgreSQL, history: tuple[list[list[Record]], float], seed: int
) -> None:
    with emptied(postgresql_server.url) as database:
        check(database, *history, seed)
