"""Four times the people are four times the work, even if they share identities.

Counted are lines of the target's code and steps of SQLite, so that a busy machine changes nothing.
"""

import sqlite3
import sys
import types
import typing as t
from collections.abc import Callable
from itertools import count

from tests.ledger.outside import OPT_OUT, Night
from tests.ledger.people import consenting, person
from tests.loads import cases

TIMES = 4
# Four if all is in proportion; sixteen if each is compared with each.
MOST = 6.5

STEPS_AT_ONCE = 50


def work_of(night: Night, later: list[list[str]]) -> tuple[int, int]:
    """Return how many lines of the target nights run in this thread, and steps of SQLite."""
    connect, lines, steps, before = sqlite3.dbapi2.connect, count(), count(), sys.gettrace()

    def connecting(*args: t.Any, **kwargs: t.Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **kwargs)
        connection.set_progress_handler(lambda: next(steps) * 0, STEPS_AT_ONCE)
        return connection

    def trace(frame: types.FrameType, *_: object) -> t.Any:
        if "/target_mainbrainer/" not in frame.f_code.co_filename:
            return None
        next(lines)
        return trace

    with night.patch.context() as patched:
        patched.setattr(sqlite3.dbapi2, "connect", connecting)
        sys.settrace(trace)
        try:
            for people in later:
                night(*people).ok()
        finally:
            sys.settrace(before)
    return next(lines), next(steps)


def nights(number: int, *patterns: str, more: list[str] | None = None) -> list[list[str]]:
    """So many people under these patterns of an address, one night after the other.

    A pattern may name a person's own number, that of a partner, and the next one. In the last
    night there are more people.
    """

    def named(n: int, pattern: str) -> str:
        return person(n, pattern.format(n, n ^ 1, n + 1))

    found = [[named(n, pattern) for n in range(number)] for pattern in patterns]
    return [*found[:-1], [*found[-1], *(more or [])]]


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


def newcomers(number: int) -> list[list[str]]:
    """Everybody leaves their address to a new person."""
    new = [person(n + number, f"p{n}") for n in range(number)]
    return nights(number, "p{0}", "new{0}", more=new)


# With how many the smaller night is: few, where each takes requests of its own.
CASES: dict[str, tuple[int, Callable[[int], list[list[str]]]]] = {
    "twins": (80, lambda n: twins(n, "twin")),
    "twins spelt in two ways": (50, lambda n: twins(n, "twin", "TWIN")),
    "twins that move together": (20, lambda n: nights(n, "old", "new")),
    "everybody moves": (20, lambda n: nights(n, "old{0}", "new{0}")),
    "a chain": (6, lambda n: nights(n, "p{0}", "p{2}", more=[person(n, "p0")])),
    "they swap in pairs": (25, lambda n: nights(n, "p{0}", "p{1}")),
    "newcomers": (20, newcomers),
    "half of them are gone": (50, merged),
    "one moves many times": (12, lambda n: [[person(1)], [person(1, f"p{k}") for k in range(n)]]),
}


@cases("case", *CASES)
def test_work_grows_in_proportion(night: Night, case: str) -> None:
    """Of the second night, and of the nights after it."""
    done: list[tuple[int, int, int]] = []
    fewest, nights_of = CASES[case]
    night.keep_rejects()
    night.settings |= {"max_drift_percent": 100, "max_rejects_percent": 100}
    night.settings |= OPT_OUT if nights_of is merged else {}
    for number in (fewest, fewest * TIMES):
        night.settings["ledger_uri"] = str(night.folder / f"ledger{number}.db")
        night.crm.reset()
        first, *later = nights_of(number)
        night(*first).ok()
        before = night.posts
        work = work_of(night, later)
        done.append((*work, night.posts - before))
    (lines, steps, requests), (more_lines, more_steps, more_requests) = done
    assert more_lines < MOST * lines
    assert more_steps < MOST * steps
    assert more_requests <= (TIMES + 1) * max(requests, 1)
