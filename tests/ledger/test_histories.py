"""For any nights the CRM ends with a ledger as it ends without one, and as is expected."""

import os
import re
import typing as t
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from mainbrainer_sandbox.running import RunningSandbox
from tests.ledger.outside import M1, M2, Night
from tests.ledgers import forget_everything, on_both_databases
from tests.loads import is_complete
from tests.messages import Record, record, schema, state

EXAMPLES = int(os.environ.get("LEDGER_HISTORIES", "8"))
SLOW = settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
STREAMS = ("people", "others")
COLUMNS: Record = {name: {} for name in ("id", "email", "mobile", "email_opt_in", "firstname")}
IDENTITIES: list[Record] = [
    *({"email": "x@example.com"}, {"email": "X@example.com"}, {"email": "y@example.com"}),
    {"mobile": "+4790812501"},
    {"mobile": "+4790812501", "email": "x@example.com"},
    {"email": "bad@example.com"},
]
FAULTS = ["lost@p0.5:batch", "reset@p0.5:batch", "503@p0.3", "fail@p0.5:batch", "stuck@p0.5:batch"]

Records: t.TypeAlias = list[tuple[str, int, Record, bool, str]]
"""Each with its stream, its key, its identity, its consent, and the first name."""

records = st.tuples(
    st.sampled_from(["people", "people", "others"]),
    st.integers(1, 3),
    st.sampled_from(IDENTITIES),
    st.booleans(),
    st.sampled_from(["a", "b"]),
)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[Records, list[str]]]:
    """Return nights, and the faults of each."""
    snapshots = draw(st.lists(st.lists(records, max_size=5), min_size=1, max_size=3))
    faults = st.lists(st.sampled_from(FAULTS), max_size=2, unique=True)
    return draw(st.lists(st.tuples(st.sampled_from(snapshots), faults), min_size=2, max_size=4))


def lines_of(night: Records) -> list[str]:
    people = [
        record(stream, id=key, email_opt_in=opt_in, firstname=name, **identity)
        for stream, key, identity, opt_in, name in night
    ]
    return [*(schema(COLUMNS, stream=stream) for stream in STREAMS), *people, state(n=1)]


Identity: t.TypeAlias = tuple[str | None, str | None]


class Held(t.NamedTuple):
    """One contact of the CRM.

    Attributes:
        name: Of the person it was last sent for; None if only its identity was ever sent.
    """

    name: str | None
    identity: Identity
    consent: bool | None

    def may_be_of(self, said: "Said") -> bool:
        """Return whether it was last sent for this person, or has a part that the record has."""
        parts = zip(said.identity, self.identity, strict=True)
        return self.name == said.name or any(part and part == has for part, has in parts)


def held(crm: RunningSandbox) -> list[Held]:
    found = []
    for one in crm.contacts():
        number = one["mobile_number"]
        mobile = f"+{one['mobile_country_code']}{number}" if number else None
        name, consent = one["properties"].get("firstname"), one["email_opt_in"]
        found.append(Held(name, (mobile, one["email"]), consent))
    return found


@pytest.fixture
def crm(start_crm: Callable[..., RunningSandbox]) -> RunningSandbox:
    return start_crm(plan="unlimited", refuse_email="bad", keep_bodies=False)


@on_both_databases
@SLOW
@given(history=histories())
def test_any_nights_end_as_if_everything_had_been_sent(
    night: Night, start_crm: Callable[..., RunningSandbox], history: list[tuple[Records, list[str]]]
) -> None:
    """The other CRM is fed without a ledger and without faults."""
    plain = start_crm(plan="unlimited", refuse_email="bad", keep_bodies=False)
    account = {"api_url": plain.url, "access_token": plain.token, "ledger_uri": ""}
    full = {"streams": {name: {"full_table": True} for name in STREAMS}}
    hasty = {"retry_max_seconds": 0, "confirm_timeout_seconds": 0}
    night.keep_rejects()
    night.settings |= {"max_rejects_percent": 100, "batch_size_rows": 2}
    night.settings["confirm_batches"] = "report"
    forget_everything(night.uri)
    night.crm.reset()

    def deliver(people: Records, faults: list[str]) -> None:
        own: Record = full | (hasty if faults else {})
        ended = night(*lines_of(people), identity_changes="create", **own)
        assert is_complete(ended) or faults, ended.errors
        night.crm.set_faults()
        night.crm.settle()
        assert is_complete(night(*lines_of(people), **account))
        plain.settle()

    has_failed = False
    for number, (people, faults) in enumerate(history):
        night.crm.set_faults(*faults, seed=number)
        deliver(people, faults)
        has_failed |= bool(faults)
        assert has_failed or {*held(night.crm)} == {*held(plain)}
    last = history[-1][0]
    for _ in range(2):
        deliver(last, [])
    named = {(one.get("mobile"), one.get("email")) for _, _, one, _, _ in last}
    ours, theirs = (
        {one for one in held(crm) if one.identity in named} for crm in (night.crm, plain)
    )
    assert ours == theirs
    plain.close()


# People who share and take identities; what fails in such nights is in tests/years/


PEOPLE = [1, 2, 3]
X, Y = "x@example.com", "y@example.com"


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
def moves(draw: st.DrawFn) -> list[list[Said]]:
    """Return nights, in each of which a person comes once at most."""
    keys = st.lists(st.sampled_from(PEOPLE), max_size=4, unique=True)
    return [[draw(said(key)) for key in draw(keys)] for _ in range(draw(st.integers(2, 4)))]


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


LEFT_BEHIND = [
    [Said(2, M2, X, True), Said(3, M1, Y, True)],
    [Said(2, M1, Y, True)],
    [Said(2, M2, X, True), Said(3, M2, X, True)],
    [Said(3, None, X, False), Said(2, M1, X, True)],
]
"""Two people take an identity whose contact was left behind, and one of them says no."""


@on_both_databases
@SLOW
@given(history=moves(), opt_in=st.sampled_from(["send", "omit"]))
@example(history=LEFT_BEHIND, opt_in="send")
def test_no_contact_is_lost_or_odd(night: Night, history: list[list[Said]], opt_in: str) -> None:
    """No contact is lost or unexplained when people take or share identities."""
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
        # No contact has a consent that the source never gave, and every no of a night is in, that
        # of people who are set aside, too.
        tonight = {said.key: said.consent for said in people}
        for one in contacts:
            theirs = [key for key, known in expected.known.items() if known == one.identity]
            if one.consent:
                # A contact that was left behind, which a run has named, keeps what was said of it.
                assert any(said.consent and one.may_be_of(said) for said in everything)
            if theirs and all(tonight.get(key) is False for key in theirs):
                assert one.consent is False
