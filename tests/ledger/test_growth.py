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

from tests.ledger.outside import OPT_OUT, Night, consenting, person

if t.TYPE_CHECKING:
    import types
    from collections.abc import Callable, Iterator

TIMES = 4
# Four if all is in proportion; sixteen if each is compared with each.
MOST = 6.5

STEPS_AT_ONCE = 50


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


def addresses(*names: str, number: int) -> list[list[str]]:
    """So many people under these patterns of an address, one night after the other."""
    return [[person(n, name.format(n)) for n in range(number)] for name in names]


def twins(number: int, *spellings: str) -> list[list[str]]:
    """One identity that so many keys have, and every night other data."""
    return [
        [person(n, spellings[n % len(spellings)], firstname=f"{x}{n}") for n in range(number)]
        for x in "AB"
    ]


def merged(number: int) -> list[list[str]]:
    """Half of them are gone, in two full reads."""
    everybody = consenting(*range(number))
    return [everybody, *[everybody[: number // 2]] * 2]


# With how many the smaller night is: few, where each takes requests of its own.
CASES: dict[str, tuple[int, Callable[[int], list[list[str]]]]] = {
    "twins": (80, lambda number: twins(number, "twin")),
    "twins spelt in two ways": (50, lambda number: twins(number, "twin", "TWIN")),
    "twins that move together": (20, lambda number: addresses("old", "new", number=number)),
    "everybody moves": (20, lambda number: addresses("old{}", "new{}", number=number)),
    "everybody takes the next one's address, and a newcomer the last": (
        6,
        lambda number: [
            *addresses("p{}", number=number),
            [*(person(n, f"p{n + 1}") for n in range(number)), person(number, "p0")],
        ],
    ),
    "they swap in pairs": (
        25,
        lambda number: [[person(n, f"p{n ^ swap}") for n in range(number)] for swap in (0, 1)],
    ),
    "everybody leaves their address to a new person": (
        20,
        lambda number: [
            *addresses("p{}", number=number),
            addresses("new{}", number=number)[0]
            + [person(n + number, f"p{n}") for n in range(number)],
        ],
    ),
    "half of them are gone": (50, merged),
    "one person changes many times in one load": (
        12,
        lambda number: [[person(1, "p")], [person(1, f"p{n}") for n in range(number)]],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_work_grows_in_proportion(night: Night, case: str) -> None:
    """Of the second night, and of the nights after it."""
    done: list[tuple[int, int, int]] = []
    count, nights = CASES[case]
    night.keep_rejects()
    night.settings |= {"max_drift_percent": 100, "max_rejects_percent": 100}
    night.settings |= OPT_OUT if nights is merged else {}
    for number in (count, count * TIMES):
        night.settings["ledger_uri"] = str(night.folder / f"ledger{number}.db")
        night.crm.reset()
        first, *later = nights(number)
        night(*first).ok()
        before = night.posts
        with counted(night.patch) as work:
            for people in later:
                night(*people).ok()
        done.append((work.lines, work.steps, night.posts - before))
    (lines, steps, requests), (more_lines, more_steps, more_requests) = done
    assert more_lines < MOST * lines
    assert more_steps < MOST * steps
    assert more_requests <= (TIMES + 1) * max(requests, 1)
