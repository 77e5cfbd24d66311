"""A run that is killed at any moment costs nothing but what it sends again."""

import re

import pytest

from tests.ledger.outside import FULL, OMIT, Moment, Night, on_both_databases
from tests.ledger.people import one
from tests.loads import cases, person, schema, state


def people(names: dict[int, str]) -> list[str]:
    """Return a full read of people, by number and first name, with STATE in between."""
    lines = [schema()]
    for number, name in names.items():
        lines.append(person(number, firstname=name))
        if number % 4 == 0:
            lines.append(state(bookmark=number))
    return lines


def names(night: Night) -> dict[int, str]:
    return {int(n[1:]): one["properties"]["firstname"] for n, one in night.contacts.items()}


MOMENTS = [
    *(Moment("POST", number, when) for number in (1, 2) for when in ("before", "after")),
    *(Moment("POST", number, "answered") for number in (1, 2, 3)),
    *(Moment("GET", 1, when) for when in ("before", "after")),
    Moment("STATE", 1),
]


@on_both_databases
@cases("moment", *MOMENTS, ids=lambda moment: " ".join(map(str, moment)))
def test_a_kill_at_any_moment_costs_nothing(night: Night, moment: Moment) -> None:
    first = {n: f"First{n}" for n in range(1, 21)} | {99: "Gone"}
    changed = {n: f"Other{n}" if n % 2 else f"First{n}" for n in range(1, 25)}
    night.settings |= {**FULL, "batch_size_rows": 5}
    night.between()
    night.run(*people(first)).ok()
    confirm = "report" if moment.what == "GET" else "none"
    killed = night.killed(*people(changed), at=moment, confirm_batches=confirm)
    found = names(night)
    assert all(found[n] == changed[n] for n in range(1, killed.bookmark + 1))
    for _ in range(2):  # what was on its way may come again for a while
        night.run(*people(changed)).ok()
        assert names(night) == changed | {99: "Gone"}


def test_what_was_not_on_its_way_is_not_sent_again(night: Night) -> None:
    """A kill is no reason to send everything."""
    everybody = {n: f"First{n}" for n in range(1, 41)}
    night.settings |= {**FULL, "batch_size_rows": 5}
    night.between()
    night.run(*people(everybody)).ok()
    one_changed = people(everybody | {1: "Other"})
    night.killed(*one_changed, at=Moment("POST", 1, "before"))
    ended = night.run(*one_changed).ok()
    assert (ended.report["requests"], ended.count("unchanged")) == (1, 39)


# A move asks three things one after the other.

FIND, ASK, RENAME = ("POST", 1), ("GET", 1), ("POST", 2)
IN_A_MOVE = [
    *((*FIND, "before", "b"), (*FIND, "after", "c"), (*FIND, "answered", "a")),
    *((*ASK, "before", "b"), (*ASK, "after", "a"), (*ASK, "answered", "c")),
    *((*RENAME, "before", "a"), (*RENAME, "after", "b")),
    *((*RENAME, "after", "c"), (*RENAME, "answered", "b")),
    *(("STATE", 1, "answered", "a"), ("STATE", 1, "answered", "c")),
]
"""The moment, and where the person is by the next run: at "b", as when it was killed, or not."""

ON_POSTGRESQL = [(*ASK, "after", "b"), (*ASK, "answered", "c"), (*RENAME, "after", "a")]


@pytest.mark.parametrize(
    ("ledger_uri", "what", "number", "when", "later"),
    [("sqlite", *case) for case in IN_A_MOVE] + [("postgresql", *case) for case in ON_POSTGRESQL],
    indirect=["ledger_uri"],
)
def test_a_kill_in_a_move(night: Night, what: str, number: int, when: str, later: str) -> None:
    """A kill at any moment of a move makes no second contact."""
    night.settings |= OMIT
    night.between()
    night(one(1, "a", consent=True))
    night.killed(one(1, "b", consent=True), at=Moment(what, number, when))
    consent = later == "b"
    night(one(1, later, consent=consent)).ok()
    assert night.held == [(None, later, consent, "First1")]


def test_a_second_contact_is_named_before_it_is_made(night: Night) -> None:
    """The run that makes it may be killed at once, and the next one cannot know."""
    night.between()
    night(one(1, "a", consent=True))
    night.delete("a")
    killed = night.killed(one(1, "b", consent=True), at=Moment("POST", 2, "after"))
    assert night.addresses == ["a", "b"]
    assert re.search(r"Sent as new, .* \(id=1\)", killed.log)
