"""Years of nights from a seed: whatever happens, what is promised holds."""

from __future__ import annotations

import subprocess
import typing as t

import pytest

from tests.years import simulate as years
from tests.years.oracle import WITHOUT_EXCEPTION
from tests.years.simulate import Kept, command, shortened, simulate

if t.TYPE_CHECKING:
    from collections.abc import Collection

YEARS = range(12)
NIGHTS = 60
KNOWN = range(9014, 9034)
"""Years in which every rule holds, those with excuses too."""


def first_seed() -> int:
    """Return a seed that each commit has of its own, and a fixed one where there is no git."""
    git = ["git", "rev-parse", "HEAD"]
    found = subprocess.run(git, capture_output=True, text=True, check=False)
    return int(found.stdout[:6] or "1", 16)


def check(seed: int, only: Collection[str] = ()) -> None:
    if broken := simulate(seed, NIGHTS, only=only).broken:
        least = shortened(seed, NIGHTS, broken[0])
        pytest.fail("\n".join([*broken, command(seed, NIGHTS, least)]))


@pytest.mark.parametrize("year", YEARS)
def test_the_rules_without_exception_hold_in_any_year(year: int) -> None:
    """A failure names the command that replays its shortest history."""
    check(first_seed() + year, WITHOUT_EXCEPTION)


@pytest.mark.parametrize("seed", KNOWN)
def test_all_guarantees_hold_in_these_years(seed: int) -> None:
    """People edit, the machine sleeps, batches are lost: each person is one contact, as said."""
    check(seed)


def test_a_year_replays_byte_for_byte() -> None:
    """All that was sent, answered, logged and written is the same again."""
    once, again = simulate(KNOWN[0], 25), simulate(KNOWN[0], 25)
    assert once.nights > 20
    assert once.injected
    assert (once.digest, once.injected) == (again.digest, again.injected)
    assert simulate(KNOWN[1], 25).digest != once.digest


def test_a_broken_year_is_shortened_to_what_breaks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One person and one event are left of a year in which a name must not change."""

    def run(year: years.Year) -> years.Outcome:
        kept = year._kept
        is_broken = kept.has("p3") and kept.has("n7") and kept.has("7.0")
        return years.Outcome(broken=["night 7: a name has changed: 3"] if is_broken else [])

    monkeypatch.setattr(years.Year, "run", run)
    least = shortened(5, 20, "night 7: a name has changed: 3")
    assert least == Kept(["p3", "n7", "7.0"])
    assert command(5, 20, Kept(least)) == "make years SEED=5 NIGHTS=20 ONLY='7.0 n7 p3'"
