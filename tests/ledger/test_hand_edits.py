"""Histories in which people edit MainBrainer by hand, while the source changes too.

Whatever happens, nobody is opted in who has not said so since, each person has one contact or is
named in a warning, and what was corrected by hand stays as long as the source does not change it.
"""

from __future__ import annotations

import itertools
import typing as t
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.ledger.outside import names
from tests.messages import record, schema, state

if t.TYPE_CHECKING:
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.ledger.outside import Contact
    from tests.messages import Ended, RunTarget

HISTORIES = 5
"""How many are tried for each setting; a campaign may set it higher."""

PEOPLE = range(4)
COLUMNS = {
    "id": {"type": "integer"},
    "email": {"type": "string"},
    "firstname": {"type": "string"},
    "city": {"type": "string"},
    "email_opt_in": {"type": "boolean"},
}
AT_THE_SOURCE = ("name", "address", "yes", "no")
BY_HAND = ("edit city", "edit address", "delete", "unsubscribe")
FAULTS = ("", "lost@1:batch", "503@1:batch", "late=0.05:batch")
UNSURE_AFTER = ("lost@1:batch", "503@1:batch")
"""What was sent may be applied once more for a day: a status that names it proves nothing."""

Event: t.TypeAlias = "tuple[str, int]"
Night: t.TypeAlias = "tuple[list[Event], str]"

events = st.tuples(st.sampled_from(AT_THE_SOURCE + BY_HAND), st.sampled_from(PEOPLE))
nights = st.lists(
    st.tuples(st.lists(events, max_size=4), st.sampled_from(FAULTS)), min_size=2, max_size=5
)


@dataclass
class Person:
    """A person, as the source has them, and what is known of their contacts.

    Attributes:
        addresses: All they ever had, by hand or at the source; the source's last.
        has_unsubscribed: In MainBrainer, since the source's yes was last new.
        is_excused: A warning has named them, so that they may have two contacts.
        is_changed: The source has changed something since the contact was edited by hand.
        is_unsure: It was sent in a night from which it stays unknown what the CRM has applied.
        may_be_unseen: Its address was edited, or it was deleted, while that is so.
        city_of: The contact whose city was corrected by hand, as long as it must stay so.
    """

    number: int
    address: str
    name: str = "First"
    consent: bool = True
    addresses: set[str] = field(default_factory=set)
    has_unsubscribed: bool = False
    is_excused: bool = False
    is_changed: bool = True
    is_unsure: bool = False
    may_be_unseen: bool = False
    city_of: int | None = None

    @property
    def line(self) -> str:
        return record(
            id=self.number,
            email=self.address,
            firstname=self.name,
            city="Oslo",
            email_opt_in=self.consent,
        )


class World:
    """The source, the people who work in MainBrainer, and what must hold.

    Attributes:
        cities_stay: Whether cities that were corrected by hand must still be so.
    """

    def __init__(self, crm: RunningSandbox, omit: bool) -> None:
        self._crm = crm
        self._omit = omit
        self._new = itertools.count()
        self.cities_stay = True
        self.people = [Person(n, f"p{n}@example.com") for n in PEOPLE]
        for one in self.people:
            one.addresses.add(one.address)

    def contacts_of(self, person: Person) -> list[Contact]:
        return [one for one in self._crm.contacts() if one["email"] in person.addresses]

    def happens(self, what: str, person: Person) -> None:
        """Let something happen, if it can."""
        fresh = f"x{next(self._new)}"
        if what in AT_THE_SOURCE:
            self._at_the_source(what, person, fresh)
            return
        contacts = self.contacts_of(person)
        if len(contacts) != 1:
            return
        contact = contacts[0]
        person.is_changed = False
        person.may_be_unseen |= person.is_unsure and what in {"edit address", "delete"}
        if what == "edit city":
            self._crm.edit(contact["id"], city=f"City {fresh}")
            person.city_of = contact["id"]
        elif what == "edit address":
            person.addresses.add(f"{fresh}@example.com")
            self._crm.edit(contact["id"], email=f"{fresh}@example.com")
        elif what == "delete":
            self._crm.delete(contact["id"])
        elif contact["email_opt_in"]:
            self._crm.edit(contact["id"], email_opt_in=False)
            person.has_unsubscribed = True

    def _at_the_source(self, what: str, person: Person, fresh: str) -> None:
        is_said_already = what in {"yes", "no"} and person.consent == (what == "yes")
        person.is_changed |= not is_said_already
        if what == "name":
            person.name = fresh
        elif what == "address":
            person.address = f"{fresh}@example.com"
            person.addresses.add(person.address)
        else:
            if what == "yes" and not person.consent:
                person.has_unsubscribed = False
            person.consent = what == "yes"

    def becomes_unsure(self) -> None:
        """Expect nothing of statuses in a night in which answers are lost, and after it."""
        for person in self.people:
            person.is_unsure = True
            contacts = self.contacts_of(person)
            person.may_be_unseen |= person.address not in {one["email"] for one in contacts}

    def check(self, ended: Ended) -> None:
        """Compare what the CRM holds with what may be."""
        everybody = {address for person in self.people for address in person.addresses}
        assert {contact["email"] for contact in self._crm.contacts()} <= everybody
        for person in self.people:
            person.is_excused |= names(ended, person.number)
            contacts = self.contacts_of(person)
            may_have_two = person.is_excused or person.may_be_unseen
            assert len(contacts) <= 1 or may_have_two
            if person.is_changed:
                assert person.address in {contact["email"] for contact in contacts}
            may_be_written_to = person.consent and not (person.has_unsubscribed and self._omit)
            if not may_have_two and not may_be_written_to:
                assert not any(contact["email_opt_in"] for contact in contacts)
            for contact in contacts:
                is_edited = contact["id"] == person.city_of and not may_have_two
                if is_edited and self.cities_stay:
                    assert contact["properties"]["city"].startswith("City")


@pytest.mark.parametrize("unchanged_opt_in", ["send", "omit"])
@given(history=nights)
@example(history=[([("edit city", 1)], ""), ([("name", 1)], "")])
@example(history=[([("edit city", 1)], ""), ([("address", 1)], "")])
@example(history=[([("delete", 1)], ""), ([("name", 1)], "")])
@example(history=[([("edit address", 1)], ""), ([("name", 1)], "")])
@example(history=[([("edit address", 1)], ""), ([("address", 1)], "")])
@example(history=[([("unsubscribe", 1)], ""), ([("name", 1)], "lost@1:batch"), ([("name", 1)], "")])
@example(history=[([("unsubscribe", 1), ("address", 1)], "late=0.05:batch"), ([("name", 2)], "")])
@settings(
    max_examples=HISTORIES,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
def test_edits_by_hand_are_respected(
    run_target: RunTarget,
    crm: RunningSandbox,
    tmp_path: Path,
    unchanged_opt_in: str,
    history: list[Night],
) -> None:
    """After each night of a history; one more night without changes ends it."""
    config = {
        "ledger_uri": str(tmp_path / "ledger.db"),
        "unchanged_opt_in": unchanged_opt_in,
        "confirm_batches": "report",
    }
    for file in tmp_path.glob("ledger.db*"):
        file.unlink()
    crm.reset()
    world = World(crm, omit=unchanged_opt_in == "omit")
    for changes, fault in [([], ""), *history, ([], "")]:
        for what, number in changes:
            world.happens(what, world.people[number])
        if fault in UNSURE_AFTER:
            world.becomes_unsure()
            world.cities_stay = False
        crm.set_faults(*filter(None, [fault]))
        lines = [schema(COLUMNS), *(one.line for one in world.people), state()]
        ended = run_target(*lines, **config)
        crm.set_faults()
        assert ended.code == 0, ended.errors
        world.check(ended)
