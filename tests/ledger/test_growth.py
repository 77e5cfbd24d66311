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
from tests.loads import cases

TIMES = 4
# Four if all is in proportion; sixteen if each is compared with each.
MOST = 6.5

STEPS_AT_ONCE = 50


def work_of(night: Night, later: list[str]) -> tuple[int, int]:
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
                night(people).ok()
        finally:
            sys.settrace(before)
    return next(lines), next(steps)


def each(number: int, pattern: str) -> str:
    """So many people under a pattern: of their own number, a partner's, the next, and a new one."""
    return ", ".join(pattern.format(n, n ^ 1, n + 1, n + number) for n in range(number))


# With how many the smaller night is: few, where each takes requests of its own.
CASES: dict[str, tuple[int, Callable[[int], list[str]]]] = {
    "twins": (80, lambda n: [each(n, f"{{0}} twin ={x}#") for x in "AB"]),
    "twins in two spellings": (
        25,
        lambda n: [each(n, f"{{0}} t ={x}, {{3}} T ={x}") for x in "AB"],
    ),
    "twins that move together": (20, lambda n: [each(n, "{0} old"), each(n, "{0} new")]),
    "everybody moves": (20, lambda n: [each(n, "{0} old#"), each(n, "{0} new#")]),
    "a chain": (6, lambda n: [each(n, "{0} p{0}"), each(n, "{0} p{2}") + f", {n} p0"]),
    "they swap in pairs": (25, lambda n: [each(n, "{0} p{0}"), each(n, "{0} p{1}")]),
    "newcomers": (20, lambda n: [each(n, "{0} p#"), each(n, "{0} new#, {3} p{0}")]),
    "half of them are gone": (25, lambda n: [each(n, "{0} p#, {3} p#"), *[each(n, "{0} p#")] * 2]),
    "one moves many times": (12, lambda n: ["1 p1", each(n, "1 p{0}")]),
}


@cases("case", *CASES)
def test_work_grows_in_proportion(night: Night, case: str) -> None:
    """Of the second night, and of the nights after it."""
    done: list[tuple[int, int, int]] = []
    fewest, nights_of = CASES[case]
    night.keep_rejects()
    night.settings |= {**OPT_OUT, "max_rejects_percent": 100}
    for number in (fewest, fewest * TIMES):
        night.settings["ledger_uri"] = str(night.folder / f"ledger{number}.db")
        night.crm.reset()
        first, *later = nights_of(number)
        night(first).ok()
        before = night.posts
        work = work_of(night, later)
        done.append((*work, night.posts - before))
    (lines, steps, requests), (more_lines, more_steps, more_requests) = done
    assert more_lines < MOST * lines
    assert more_steps < MOST * steps
    assert more_requests <= (TIMES + 1) * max(requests, 1)
