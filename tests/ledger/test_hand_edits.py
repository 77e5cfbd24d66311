"""People edit MainBrainer by hand, while the source changes too; `tests/years/` does so at random.

Whatever happens, nobody is opted in who has not said so since, each person has one contact or is
named in a warning, and what was corrected by hand stays as long as the source does not change it.
"""

from __future__ import annotations

import typing as t

import pytest

from tests.ledger.outside import REPORT, Night, person

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from tests.messages import Record

MOVED: Record = {"email": "new"}
NAMED: Record = {"firstname": "New"}

Edit: t.TypeAlias = "Callable[[Night], None]"


def corrected(night: Night) -> None:
    night.edit("p1", city="By hand")


def readdressed(night: Night) -> None:
    night.edit("p1", email="hand@example.com")


def deleted(night: Night) -> None:
    night.delete("p1")


def unsubscribed(night: Night) -> None:
    night.unsubscribe("p1")


@pytest.mark.parametrize("opt_in", ["send", "omit"])
@pytest.mark.parametrize(
    ("edit", "later", "faults", "there"),
    [
        pytest.param(corrected, NAMED, "", ["p1"], id="a city stays while a name changes"),
        pytest.param(corrected, MOVED, "", ["new"], id="a city stays with another address"),
        pytest.param(deleted, NAMED, "", ["p1"], id="who was deleted is made anew"),
        pytest.param(readdressed, NAMED, "", ["hand", "p1"], id="an address was corrected"),
        pytest.param(readdressed, MOVED, "", ["hand", "new", "p1"], id="and changes at the source"),
        pytest.param(unsubscribed, NAMED, "lost@1:batch", ["p1"], id="an answer is lost"),
        pytest.param(unsubscribed, MOVED, "late=0.05:batch", ["new"], id="a batch is late"),
    ],
)
def test_edits_by_hand_are_respected(
    night: Night, opt_in: str, edit: Edit, later: Record, faults: str, there: list[str]
) -> None:
    """After the night of the change, and after one more without changes."""
    night.settings |= {**REPORT, "unchanged_opt_in": opt_in, "field_map": {"id": None}}
    consent: Record = {"email_opt_in": True, "city": "Oslo"}
    other = person(2, **consent)
    night(person(1, **consent), other)
    edit(night)
    changed = person(1, **(consent | later))
    named = False
    for config in ({"faults": faults}, {}):
        ended = night(changed, other, **config).ok()
        named |= ended.names(1)
        assert night.addresses == sorted([*there, "p2"])
    assert named or len(there) == 1
    now = night.contacts["new" if later is MOVED else "p1"]
    is_withheld = edit is unsubscribed and opt_in == "omit"
    assert now["email_opt_in"] is not is_withheld
    assert now["properties"]["firstname"] == later.get("firstname", "First1")
    assert now["properties"]["city"] == ("By hand" if edit is corrected else "Oslo")
