"""The simulation finds faults: each of these was once in the code, or may come back.

Each is put back by a change of the source. A year that finds it stands beside it; as any change of
the target may shift what happens in a year, others are tried if that one does not find it any more.
"""

from __future__ import annotations
import __future__

import functools
import importlib
import inspect
import re
import sys
import textwrap
import typing as t

import pytest

from tests.years.simulate import rule_of, simulate

if t.TYPE_CHECKING:
    from collections.abc import Iterator


class Change(t.NamedTuple):
    """A change of one function."""

    place: str
    old: str
    new: str


class Fault(t.NamedTuple):
    """A fault, how it is put back, and the seed of the year that is tried first."""

    name: str
    seed: int
    changes: list[Change]


NIGHTS = 60
YEARS = range(300, 360)
"""Tried if the year beside a fault does not find it any more."""

FAULTS = """
content stays known while it is sent; year 304
  ledger.ledger:Ledger.mark
- _MARK.write(connection, [(r.id, mark, now, r.unsure_at) for r in known])
+ known and connection.exec_driver_sql(
+         'UPDATE mainbrainer_contacts SET open_mark = ?1, open_at = ?2 WHERE id = ?3',
+         [(mark, now, r.id) for r in known])
+     for r in known: r.open_mark = mark
  rounds.plan:_why_unknown
- if row.open_mark is not None:
+ if False:
consent is forgotten with the content of a batch that did not end well; year 314
  ledger.ledger:Ledger.forget_content
- fields=None
+ fields=None, email_said=None, mobile_said=None
a yes is raised again after a lost answer; year 313
  rounds.plan:note_delivery
- value = getattr(upsert.outgoing, name)
+ value = getattr(upsert.outgoing, name)
+         if upsert.may_be_applied: value = setattr(row, SAID[name], None)
who is missing once is gone; year 301
  rounds.missing:Missing._count
- READS_UNTIL_GONE
+ 1
a rename is believed without a status; year 368
  rounds.moves:Moves._move
- not has_failed and status is not None and mover.contact_id in status.updated_ids
+ not has_failed
a run that was taken over goes on; year 315
  ledger.ledger:Ledger.is_fresh
- return
+ return True or
  ledger.lease:renew
- if connection.execute(query).rowcount != count:
+ if connection.execute(query).rowcount < 0:
the suppression list does not know old addresses; year 334
  rounds.plan:compare
- rules.suppressed(upsert.contact, *others)
+ rules.suppressed(upsert.contact)
STATE does not wait for the records before it; year 301
  singer.state:StateTracker.take_due
- self._closed[0].settled == self._closed[0].read
+ True
a try of which the end is unknown is forgotten; year 301
  ledger.ledger:Ledger.settle
- if row.unsure_at is not None or self.is_mixed:
+ if self.is_mixed:
an old yes is sent again; year 345
  rounds.plan:compare
- if rules.omits_old_yes:
+ if False:
the yes of the old address does not count for a contact that moves; year 308
  rounds.plan:compare
- _said(attribute, row, also_rows)
+ _said(attribute, row, ())
the records of a failed batch are not set aside; year 322
  rounds.booking:Booking._book_failure
- if not self._statuses.keeps_records:
+ if True:
skipped contacts count as delivered; year 324
  rounds.statuses:end_of_batch
- return BatchEnd.SKIPPED
+ return BatchEnd.CONFIRMED
content is not forgotten with a batch that did not end well; year 324
  ledger.ledger:Ledger.forget_content
- update_each(
+ (lambda *_, **__: None)(
a no is not sent to somebody who had said nothing; year 303
  rounds.plan:_to_say
- value is not said[name]
+ bool(value) is not bool(said[name])
permits are not counted; year 302
  api.limits:Quota.take
- (surplus := len(self.occupied) - plan.burst) >= 0
+ (surplus := 0) > 0
what was known of an address that was left counts for who comes to it; year 313
  rounds.moves:Moves._end_moves
- self._ledger.delete_rows(connection, forgotten)
+ pass
no mover waits for an address that is being left; year 313
  rounds.moves:next_steps
- if any(other in waiting and waiting[other].before == mover.after
+ if any(False and other in waiting and waiting[other].before == mover.after
contacts that were recreated are not completed; year 304
  rounds.load:Load.finish
- for one in self._booking.recreated.rounds():
+ for one in ():
a part that the source has lost is left out; year 325
  rounds.moves:follow
- email=contact.email or newest.email or previous.email
+ email=contact.email
who is gone is opted out though another has the address; year 302
  rounds.missing:Missing._opt_outs
- all(owner.id in ids for owner in owners[one])
+ True
a record that cannot be mapped has not come; year 303
  rounds.load:Load.note_unsent
- self._open.unsent.add((stream, key))
+ pass
of two keys of a person who moves one is left behind; year 325
  rounds.moves:next_steps
- any(moved.get(other) == mover.spelling for other in others)
+ False
the id of a contact that moves is not kept; year 317
  rounds.moves:Moves._note_ids
- self._ledger.write(lambda connection: people.save(connection, some))
+ pass
"""


def told(text: str) -> Iterator[Fault]:
    """Yield faults: each has its name and a year, and for each function what becomes what."""
    for fault in re.split(r"\n(?=[a-zA-Z])", text.strip()):
        title, *changes = re.split(r"\n  (?=\w)", fault)
        name, seed = title.split("; year ")
        found = []
        for change in changes:
            place, *lines = change.split("\n")
            old, new = ("\n".join(one[2:] for one in lines if one[0] == sign) for sign in "-+")
            found.append(Change(f"target_mainbrainer.{place}", old, new))
        yield Fault(name, int(seed), found)


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


@pytest.mark.parametrize("fault", [*told(FAULTS)], ids=lambda one: one.name)
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
