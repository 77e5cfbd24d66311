"""The simulation finds faults: each of these was once in the code, or may come back.

Each is put back by a change of the source. A year that finds it stands beside it; as any change of
the target may shift what happens in a year, others are tried if that one does not find it any more.
"""

from __future__ import annotations
import __future__

import functools
import importlib
import inspect
import sys
import textwrap
import typing as t

import pytest

from tests.years.simulate import rule_of, simulate


class Change(t.NamedTuple):
    """A change of one function."""

    place: str
    old: str
    new: str


class Fault(t.NamedTuple):
    """A fault, and a year in which it shows.

    Attributes:
        changes: How it is put back.
        seed: Of the year that is tried first.
    """

    name: str
    changes: list[Change]
    seed: int = 300


LEDGER = "target_mainbrainer.ledger.ledger:Ledger"
MOVES = "target_mainbrainer.rounds.moves"
PLAN = "target_mainbrainer.rounds.plan"
NIGHTS = 60
YEARS = range(300, 360)
"""Tried if the year beside a fault does not find it any more."""

FAULTS = [
    Fault(
        "content stays known while it is sent",
        [
            Change(
                f"{LEDGER}.mark",
                "_MARK.write(connection, [(r.id, mark, now, r.unsure_at) for r in known])",
                "known and connection.exec_driver_sql('UPDATE mainbrainer_contacts SET "
                "open_mark = ?1, open_at = ?2 WHERE id = ?3', [(mark, now, r.id) for r in known])\n"
                "    for r in known: r.open_mark = mark",
            ),
            Change(f"{PLAN}:_why_unknown", "if row.open_mark is not None:", "if False:"),
        ],
        seed=304,
    ),
    Fault(
        "consent is forgotten with the content of a batch that did not end well",
        [
            Change(
                f"{LEDGER}.forget_content",
                "is_one =",
                "rows and connection.exec_driver_sql('UPDATE mainbrainer_contacts SET "
                "email_said = NULL, "
                "mobile_said = NULL WHERE id = ?1', [(row,) for row in rows])\n"
                "    is_one =",
            )
        ],
        seed=312,
    ),
    Fault(
        "a yes is raised again after a lost answer",
        [
            Change(
                f"{PLAN}:note_delivery",
                "value = getattr(upsert.outgoing, name)",
                "value = getattr(upsert.outgoing, name)\n"
                "        if upsert.may_be_applied: value = setattr(row, SAID[name], None)",
            )
        ],
        seed=310,
    ),
    Fault(
        "who is missing once is gone",
        [Change("target_mainbrainer.rounds.missing:Missing._count", "READS_UNTIL_GONE", "1")],
        seed=301,
    ),
    Fault(
        "a rename is believed without a status",
        [
            Change(
                f"{MOVES}:Moves._move",
                "not has_failed and status is not None and mover.contact_id in status.updated_ids",
                "not has_failed",
            )
        ],
        seed=303,
    ),
    Fault(
        "a run that was taken over goes on",
        [
            Change(f"{LEDGER}.is_fresh", "return ", "return True or "),
            Change(
                "target_mainbrainer.ledger.lease:renew",
                "if connection.execute(query).rowcount != count:",
                "if connection.execute(query).rowcount < 0:",
            ),
        ],
        seed=301,
    ),
    Fault(
        "the suppression list does not know old addresses",
        [
            Change(
                f"{PLAN}:compare",
                "rules.suppressed(upsert.contact, *others)",
                "rules.suppressed(upsert.contact)",
            )
        ],
        seed=303,
    ),
    Fault(
        "STATE does not wait for the records before it",
        [
            Change(
                "target_mainbrainer.singer.state:StateTracker.take_due",
                "self._closed[0].settled == self._closed[0].read",
                "True",
            )
        ],
        seed=301,
    ),
    Fault(
        "a try of which the end is unknown is forgotten",
        [
            Change(
                f"{LEDGER}.settle",
                "if row.unsure_at is not None or self.is_mixed:",
                "if self.is_mixed:",
            )
        ],
        seed=330,
    ),
    Fault(
        "an old yes is sent again",
        [Change(f"{PLAN}:compare", "if rules.omits_old_yes:", "if False:")],
        seed=345,
    ),
    Fault(
        "the yes of the old address does not count for a contact that moves",
        [
            Change(
                f"{PLAN}:compare", "_said(attribute, row, also_rows)", "_said(attribute, row, ())"
            )
        ],
        seed=308,
    ),
    Fault(
        "the records of a failed batch are not set aside",
        [
            Change(
                "target_mainbrainer.rounds.booking:Booking._book_failure",
                "if not self._statuses.keeps_records:",
                "if True:",
            )
        ],
        seed=322,
    ),
    Fault(
        "skipped contacts count as delivered",
        [
            Change(
                "target_mainbrainer.rounds.statuses:end_of_batch",
                "return BatchEnd.SKIPPED",
                "return BatchEnd.CONFIRMED",
            )
        ],
        seed=302,
    ),
    Fault(
        "content is not forgotten with a batch that did not end well",
        [Change(f"{LEDGER}.forget_content", "connection.execute(", "(lambda _: None)(")],
        seed=302,
    ),
    Fault(
        "a no is not sent to somebody who had said nothing",
        [
            Change(
                f"{PLAN}:_to_say", "value is not said[name]", "bool(value) is not bool(said[name])"
            )
        ],
        seed=303,
    ),
    Fault(
        "permits are not counted",
        [
            Change(
                "target_mainbrainer.api.limits:Quota.take",
                "(surplus := len(self.occupied) - plan.burst) >= 0",
                "(surplus := 0) > 0",
            )
        ],
        seed=302,
    ),
    Fault(
        "what was known of an address that was left counts for who comes to it",
        [
            Change(
                f"{MOVES}:Moves._end_moves",
                "self._ledger.delete_rows(connection, forgotten)",
                "pass",
            )
        ],
        seed=313,
    ),
    Fault(
        "no mover waits for an address that is being left",
        [
            Change(
                f"{MOVES}:next_steps",
                "if any(other in waiting and waiting[other].before == mover.after",
                "if any(False and other in waiting and waiting[other].before == mover.after",
            )
        ],
        seed=301,
    ),
    Fault(
        "contacts that were made anew are not completed",
        [
            Change(
                "target_mainbrainer.rounds.load:Load.finish",
                "for one in self._booking.recreated.rounds():",
                "for one in ():",
            )
        ],
        seed=306,
    ),
    Fault(
        "a part that the source has lost is left out",
        [
            Change(
                f"{MOVES}:follow",
                "email=contact.email or newest.email or previous.email",
                "email=contact.email",
            )
        ],
        seed=375,
    ),
    Fault(
        "who is gone is opted out though another has the address",
        [
            Change(
                "target_mainbrainer.rounds.missing:Missing._opt_outs",
                "all(owner.id in ids for owner in owners[one])",
                "True",
            )
        ],
        seed=301,
    ),
    Fault(
        "a record that cannot be mapped has not come",
        [
            Change(
                "target_mainbrainer.rounds.load:Load.note_unsent",
                "self._open.unsent.add((stream, key))",
                "pass",
            )
        ],
        seed=303,
    ),
    Fault(
        "of two keys of a person who moves one is left behind",
        [
            Change(
                f"{MOVES}:next_steps",
                "any(moved.get(other) == mover.spelling for other in others)",
                "False",
            )
        ],
        seed=308,
    ),
    Fault(
        "the id of a contact that moves is not kept",
        [
            Change(
                f"{MOVES}:Moves._note_ids",
                "self._ledger.write(lambda connection: people.save(connection, some))",
                "pass",
            )
        ],
        seed=309,
    ),
]


def put_back(monkeypatch: pytest.MonkeyPatch, change: Change) -> None:
    """Change the source of a function."""
    name, _, path = change.place.partition(":")
    module = importlib.import_module(name)
    *owners, attribute = path.split(".")
    owner: t.Any = module
    for one in owners:
        owner = getattr(owner, one)
    found = inspect.getattr_static(owner, attribute)
    function: t.Any = found.fget if isinstance(found, property) else found
    source = SOURCES.get(change.place) or textwrap.dedent(inspect.getsource(function))
    assert change.old in source, (change.place, change.old)
    SOURCES[change.place] = source = source.replace(change.old, change.new)
    space: dict[str, t.Any] = {}
    flags = __future__.annotations.compiler_flag
    exec(compile(source, name, "exec", flags=flags, dont_inherit=True), vars(module), space)  # noqa: S102
    monkeypatch.setattr(owner, attribute, space[attribute])
    for other in list(sys.modules.values()):  # `from module import function`
        if getattr(other, "__name__", "").startswith("target_mainbrainer") and (
            vars(other).get(attribute) is function
        ):
            monkeypatch.setattr(other, attribute, space[attribute])


SOURCES: dict[str, str] = {}
"""Of the functions that were changed in the test that is going on."""


@functools.cache
def is_unbroken(seed: int) -> bool:
    return not simulate(seed, NIGHTS).broken


@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: one.name)
def test_a_year_finds_it(fault: Fault) -> None:
    """The same year without the fault breaks nothing."""
    for seed in (fault.seed, *YEARS):
        with pytest.MonkeyPatch.context() as patch:
            SOURCES.clear()
            for change in fault.changes:
                put_back(patch, change)
            broken = simulate(seed, NIGHTS).broken
        crashed = [one for one in broken if rule_of(one) == "a run ends with a fault of its own"]
        assert not crashed, "what is put back is no code that runs"
        if broken and is_unbroken(seed):
            return
    pytest.fail(f"No year of {YEARS} finds it.")
