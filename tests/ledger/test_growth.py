"""Four times the people are four times the work, whatever they have in common.

Counted are lines of the target's code and steps of SQLite, so that a busy machine changes nothing.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import threading
import typing as t

import pytest

from tests.ledger.outside import OPT_OUT, consenting, night, person, posts

if t.TYPE_CHECKING:
    import types
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import Record, RunTarget


TIMES = 4
# Four if all is in proportion; sixteen if each is compared with each.
MOST = 6.5

STEPS_AT_ONCE = 50


@pytest.fixture
def settings(settings: Record) -> Record:
    return {**settings, "max_drift_percent": 100}


class Work:
    """What was done."""

    def __init__(self) -> None:
        self.lines = 0
        self.steps = 0

    def trace(self, frame: types.FrameType, _event: str, _argument: object) -> t.Any:
        """Trace the target's own functions alone."""
        return self._count if "/target_mainbrainer/" in frame.f_code.co_filename else None

    def _count(self, _frame: types.FrameType, event: str, _argument: object) -> t.Any:
        self.lines += event == "line"
        return self._count

    def step(self) -> int:
        """Count steps of SQLite, and let it go on."""
        self.steps += STEPS_AT_ONCE
        return 0


@contextlib.contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    """Count the work that is done inside, in all threads that begin meanwhile."""
    work = Work()
    connect = sqlite3.dbapi2.connect

    def connecting(*args: t.Any, **kwargs: t.Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **kwargs)
        connection.set_progress_handler(work.step, STEPS_AT_ONCE)
        return connection

    before = sys.gettrace()
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3.dbapi2, "connect", connecting)
        threading.settrace(work.trace)
        sys.settrace(work.trace)
        try:
            yield work
        finally:
            sys.settrace(before)
            threading.settrace(t.cast("t.Any", before))


def twins(number: int) -> list[list[str]]:
    """One identity that so many keys have, and every night other data."""
    return [
        [person(n, "twin", firstname=f"{name}{n}") for n in range(number)] for name in ("A", "B")
    ]


def unlike_twins(number: int) -> list[list[str]]:
    """The same, but their address is spelt in two ways."""
    return [
        [person(n, ("twin", "TWIN")[n % 2], firstname=f"{name}{n}") for n in range(number)]
        for name in ("A", "B")
    ]


def moving_twins(number: int) -> list[list[str]]:
    """One identity that so many keys have, and all of them another one at once."""
    return [[person(n, name) for n in range(number)] for name in ("old", "new")]


def movers(number: int) -> list[list[str]]:
    """Everybody has another address."""
    return [[person(n, f"{name}{n}") for n in range(number)] for name in ("old", "new")]


def chain(number: int) -> list[list[str]]:
    """Everybody takes the address that the next one leaves; a newcomer takes the last."""
    return [
        [person(n, f"p{n}") for n in range(number)],
        [*(person(n, f"p{n + 1}") for n in range(number)), person(number, "p0")],
    ]


def swappers(number: int) -> list[list[str]]:
    """They swap in pairs."""
    return [[person(n, f"p{n ^ swap}") for n in range(number)] for swap in (0, 1)]


def newcomers(number: int) -> list[list[str]]:
    """Everybody leaves their address to a new person."""
    return [
        [person(n, f"p{n}") for n in range(number)],
        [
            *(person(n, f"new{n}") for n in range(number)),
            *(person(n + number, f"p{n}") for n in range(number)),
        ],
    ]


def merged(number: int) -> list[list[str]]:
    """All but one are gone, in two full reads, and the others have come back once."""
    everybody = consenting(*range(number))
    half = everybody[: number // 2]
    return [everybody, half, half]


def back_and_forth(number: int) -> list[list[str]]:
    """One person changes so many times in one load."""
    return [[person(1, "p")], [person(1, f"p{n}") for n in range(number)]]


# With how many the smaller night is: few, where each takes requests of its own.
CASES: dict[t.Any, int] = {
    twins: 80,
    unlike_twins: 50,
    moving_twins: 20,
    movers: 20,
    chain: 6,
    swappers: 25,
    newcomers: 20,
    merged: 50,
    back_and_forth: 12,
}


@pytest.mark.parametrize("case", CASES)
def test_work_grows_in_proportion(
    run_target: RunTarget,
    crm: RunningSandbox,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    case: Callable[[int], list[list[str]]],
) -> None:
    """Of the second night, and of the nights after it."""
    done: list[tuple[int, int, int]] = []
    for number in (CASES[case], CASES[case] * TIMES):
        config: Record = {
            "ledger_uri": str(tmp_path / f"ledger{number}.db"),
            "rejects_path": str(tmp_path / f"rejects{number}.singer"),
            "max_rejects_percent": 100,
            **(OPT_OUT if case is merged else {}),
        }
        crm.reset()
        first, *later = case(number)
        run_target(*night(*first), **config).ok()
        before = posts(crm)
        with counted(monkeypatch) as work:
            for people in later:
                run_target(*night(*people), **config).ok()
        done.append((work.lines, work.steps, posts(crm) - before))
    (lines, steps, requests), (more_lines, more_steps, more_requests) = done
    assert more_lines < MOST * lines
    assert more_steps < MOST * steps
    assert more_requests <= (TIMES + 1) * max(requests, 1)
