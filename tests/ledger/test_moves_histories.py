"""For any nights of people who share and take identities, each contact is one that is expected.

What fails in such nights is in `tests/years/`.
"""

from __future__ import annotations

import os
import re
import typing as t
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.ledger.outside import M1, M2, Night
from tests.ledgers import forget_everything, on_both_databases
from tests.loads import is_complete
from tests.messages import record, schema, state

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import Record

EXAMPLES = int(os.environ.get("MOVES_EXAMPLES", "5"))
PEOPLE = [1, 2, 3]
X, Y = "x@example.com", "y@example.com"

Identity: t.TypeAlias = "tuple[str | None, str | None]"


class Said(t.NamedTuple):
    """What the source says of one person."""

    key: int
    mobile: str | None
    email: str | None
    consent: bool | None

    @property
    def identity(self) -> Identity:
        return self.mobile, self.email

    @property
    def name(self) -> str:
        return f"Person {self.key}"

    @property
    def line(self) -> str:
        columns: Record = {"mobile": self.mobile, "email": self.email, "email_opt_in": self.consent}
        return record(id=self.key, firstname=self.name, **columns)


def said(key: int) -> st.SearchStrategy[Said]:
    """What is said of a person who may have what others have, or had."""
    return st.builds(
        Said,
        st.just(key),
        st.sampled_from([None, M1, M2]),
        st.sampled_from([None, X, "X@example.com", Y]),
        st.sampled_from([True, True, False, None]),
    ).filter(lambda one: one.identity != (None, None))


@st.composite
def histories(draw: st.DrawFn) -> list[list[Said]]:
    """Return nights, in each of which a person comes once at most."""
    keys = st.lists(st.sampled_from(PEOPLE), max_size=4, unique=True)
    return [[draw(said(key)) for key in draw(keys)] for _ in range(draw(st.integers(2, 4)))]


class Held(t.NamedTuple):
    """One contact of the CRM.

    Attributes:
        name: Of the person it was last sent for; None if only its identity was ever sent.
    """

    name: str | None
    identity: Identity
    consent: bool | None

    def may_be_of(self, said: Said) -> bool:
        """Return whether it was last sent for this person, or has a part that the record has."""
        parts = zip(said.identity, self.identity, strict=True)
        return self.name == said.name or any(part and part == has for part, has in parts)


class Expected:
    """What the CRM should hold, given which people a run has named; nothing has failed in it.

    Attributes:
        contacts: The identity of each contact.
        known: The identity under which each person was delivered last.
    """

    def __init__(self) -> None:
        self.contacts: list[Identity] = []
        self.known: dict[int, Identity] = {}
        self._contact_of: dict[int, int] = {}

    def take(self, night: list[Said], *, not_followed: set[int], set_aside: list[int]) -> None:
        """Take what was delivered in a night: moves first, then who is not followed or new."""
        delivered = [said for said in night if said.key not in set_aside]
        new = [said for said in delivered if said.key not in self.known]
        left = [said for said in delivered if said.key in not_followed]
        for said in delivered:
            if said not in new and said not in left:
                self._follow(said)
        for said in (*left, *new):
            self._upsert(said.key, said.identity)

    def _follow(self, said: Said) -> None:
        before = self.known[said.key]
        after = (said.mobile or before[0], said.email or before[1])
        contact = self._contact_of[said.key]
        if self.contacts[contact] == before:
            self.contacts[contact] = after
            self.known[said.key] = after
        else:  # somebody with the same contact has moved already
            self._upsert(said.key, after)

    def _upsert(self, key: int, identity: Identity) -> None:
        if identity not in self.contacts:
            self.contacts.append(identity)
        self._contact_of[key] = self.contacts.index(identity)
        self.known[key] = identity


@pytest.fixture
def crm(start_crm: Callable[..., RunningSandbox]) -> RunningSandbox:
    return start_crm(plan="unlimited", keep_bodies=False)


LEFT_BEHIND = [
    [Said(2, M2, X, True), Said(3, M1, Y, True)],
    [Said(2, M1, Y, True)],
    [Said(2, M2, X, True), Said(3, M2, X, True)],
    [Said(3, None, X, False), Said(2, M1, X, True)],
]
"""Two people take an identity whose contact was left behind, and one of them says no."""


@on_both_databases
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=histories(), opt_in=st.sampled_from(["send", "omit"]))
@example(history=LEFT_BEHIND, opt_in="send")
def test_whoever_takes_or_shares_what_identity_no_contact_is_lost_or_unexplained(
    night: Night, history: list[list[Said]], opt_in: str
) -> None:
    forget_everything(night.uri)
    night.crm.reset()
    rejects = night.keep_rejects()
    night.settings |= {"max_rejects_percent": 100, "batch_size_rows": 2}
    night.settings |= {"confirm_batches": "report", "unchanged_opt_in": opt_in}
    expected, everything = Expected(), list[Said]()
    for number, people in enumerate(history):
        rejects.unlink(missing_ok=True)
        ended = night(schema(), *(said.line for said in people), state(night=number))
        assert is_complete(ended), ended.errors
        named = re.findall(r"is sent as a new contact \(([^)]*)\)", ended.log)
        not_followed = {int(n) for n in re.findall(r"id=(\d+)", " ".join(named))}
        assert len(not_followed) == ended.count("not_followed")
        everything += people
        expected.take(people, not_followed=not_followed, set_aside=night.rejected_ids())
        contacts = held(night.crm)
        assert Counter(expected.contacts) == Counter(one.identity for one in contacts)
        check_consents(contacts, everything, expected, people)


def held(crm: RunningSandbox) -> list[Held]:
    return [
        Held(
            c["properties"].get("firstname"),
            (
                f"+{c['mobile_country_code']}{c['mobile_number']}" if c["mobile_number"] else None,
                c["email"],
            ),
            c["email_opt_in"],
        )
        for c in crm.contacts()
    ]


def check_consents(
    contacts: Iterable[Held], everything: list[Said], expected: Expected, night: list[Said]
) -> None:
    """No contact has a consent that the source never gave, and every no of a night is in.

    That of people who are set aside, too.
    """
    tonight = {said.key: said.consent for said in night}
    for one in contacts:
        theirs = [key for key, known in expected.known.items() if known == one.identity]
        if one.consent:
            # A contact that was left behind, which a run has named, keeps what was said of it.
            assert any(said.consent and one.may_be_of(said) for said in everything)
        if theirs and all(tonight.get(key) is False for key in theirs):
            assert one.consent is False
