"""Years of nights from a seed, in which what is promised holds."""

from __future__ import annotations

import subprocess
import warnings

import pytest

from tests.years import simulate as years
from tests.years.oracle import WITHOUT_EXCEPTION
from tests.years.simulate import Kept, command, shortened, simulate

NIGHTS = 60
YEARS = 8
GROUPS = range(4)


def first_seed() -> int:
    """Return a seed that each commit has of its own, and a fixed one where there is no git."""
    git = ["git", "rev-parse", "HEAD"]
    found = subprocess.run(git, capture_output=True, text=True, check=False)
    return int(found.stdout[:6] or "1", 16)


@pytest.mark.filterwarnings("always:A year has broken:UserWarning")
@pytest.mark.parametrize("group", GROUPS)
def test_all_guarantees_hold_in_any_year(group: int) -> None:
    """One year in eight may break a rule that has excuses, which may be too few; a warning says so.

    It names the command that replays the year and shortens it, and so does a failure.
    """
    found: list[str] = []
    rules: set[str] = set()
    first = first_seed() + group * YEARS
    for seed in range(first, first + YEARS):
        if broken := simulate(seed, NIGHTS).broken:
            found.append("\n  ".join([command(seed, NIGHTS, Kept()), *broken]))
            rules.update(map(years.rule_of, broken))
    if len(found) > 1 or not WITHOUT_EXCEPTION.isdisjoint(rules):
        pytest.fail("\n".join(found))
    for one in found:
        warnings.warn(f"A year has broken a rule that has excuses: {one}", stacklevel=1)


def test_a_year_replays_byte_for_byte() -> None:
    """All that was sent, answered, logged and written is the same again."""
    once, again = simulate(1, 25), simulate(1, 25)
    assert once.nights > 20
    assert once.injected
    assert (once.digest, once.injected) == (again.digest, again.injected)
    assert simulate(2, 25).digest != once.digest


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
