"""For any nights and faults each person is one contact, with the consent that the source says."""

from __future__ import annotations

import os
import re
import typing as t
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, event, example, given, settings
from hypothesis import strategies as st

from tests.ledger.outside import Moment, run_killed
from tests.ledgers import forget_everything, on_both_databases
from tests.loads import is_complete, rejected
from tests.messages import record, schema, state

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.ledger.outside import Between
    from tests.messages import Ended, Record, RunTarget

EXAMPLES = int(os.environ.get("MOVES_EXAMPLES", "3"))
PEOPLE = [1, 2, 3]
M1, M2 = "+4790000001", "+4790000002"
FAULTS = [
    "lost@p0.5:batch",
    "reset@p0.5:batch",
    "503@p0.3",
    "fail@p0.3:batch",
    "stuck@p0.3:batch",
    "noid@p0.3:batch",
    "skip@p0.3:batch",
    "cut@p0.3:batch",
    "503@p0.5:status",
]
KILLS = [
    Moment("POST", 1, "after"),
    Moment("POST", 2, "after"),
    Moment("POST", 2, "answered"),
    Moment("GET", 1, "before"),
    Moment("GET", 1, "after"),
    Moment("GET", 1, "answered"),
    Moment("STATE", 1),
]

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
    def is_refused(self) -> bool:
        return bool(self.email and self.email.startswith("bad"))

    @property
    def line(self) -> str:
        return record(
            id=self.key,
            mobile=self.mobile,
            email=self.email,
            email_opt_in=self.consent,
            firstname=name_of(self.key),
        )


def name_of(key: int) -> str:
    return f"Person {key}"


class Night(t.NamedTuple):
    """One load, and what goes wrong in it.

    Attributes:
        kill: The moment; None if the run is not killed.
    """

    said: list[Said]
    faults: list[str]
    kill: Moment | None


def _said(mobiles: list[str], emails: list[str], key: int) -> st.SearchStrategy[Said]:
    return st.builds(
        Said,
        st.just(key),
        st.sampled_from([None, *mobiles]),
        st.sampled_from([None, *emails]),
        st.sampled_from([True, True, False, None]),
    ).filter(lambda said: said.identity != (None, None))


def own(key: int) -> st.SearchStrategy[Said]:
    """What is said of a person whose addresses and numbers no other has."""
    mobiles = [f"+479000{key}00{n}" for n in range(2)]
    emails = [f"{name}{key}@example.com" for name in ("a", "a", "A", "b", "c", "bad")]
    return _said(mobiles, emails, key)


def shared(key: int) -> st.SearchStrategy[Said]:
    """What is said of a person who may have what others have, or had."""
    return _said([M1, M2], ["x@example.com", "X@example.com", "y@example.com"], key)


FAULTY = st.lists(st.sampled_from(FAULTS), min_size=1, max_size=2, unique=True)


@st.composite
def histories(
    draw: st.DrawFn, said: Callable[[int], st.SearchStrategy[Said]], *, has_faults: bool
) -> list[Night]:
    """Return nights; with faults a source key may come several times in one load."""
    nights = []
    for _ in range(draw(st.integers(2, 4))):
        keys = draw(st.lists(st.sampled_from(PEOPLE), max_size=4, unique=not has_faults))
        faults = draw(st.one_of(st.just([]), FAULTY)) if has_faults else []
        kill = draw(st.sampled_from([*[None] * 15, *KILLS])) if has_faults else None
        nights.append(Night([draw(said(key)) for key in keys], faults, kill))
    return nights


class Load:
    """Delivers nights to one CRM, and remembers what was said and reported."""

    def __init__(
        self, run_target: RunTarget, between: Between, settings: Record, folder: Path
    ) -> None:
        self._run_target = run_target
        self._between = between
        self._crm = between.crm
        self._folder = folder
        self._settings = settings
        self.said: dict[int, list[Said]] = {}
        self.not_followed: list[int] = []
        self.set_aside: list[int] = []

    def deliver(self, night: Night, *, number: int = 0) -> None:
        """Deliver one night, whatever goes wrong in it."""
        lines = [schema(), *(said.line for said in night.said), state(night=number)]
        for said in night.said:
            self.said.setdefault(said.key, []).append(said)
        is_clean = not night.faults and night.kill is None
        patience = {"retry_max_seconds": 600, "confirm_timeout_seconds": 60}
        hasty = {"retry_max_seconds": 0, "confirm_timeout_seconds": 0}
        own = hasty if night.faults else patience
        self._crm.set_faults(*night.faults, seed=number)
        if night.kill is None:
            ended = self._run_target(*lines, **(self._settings | own))
            self._note(ended)
            assert is_complete(ended) or not is_clean, ended.errors
        else:
            run_killed(
                self._settings | own, lines, self._folder, self._between, night.kill, surely=False
            )
        self._crm.set_faults()
        self._crm.settle()

    def _note(self, ended: Ended) -> None:
        counts = ended.report["streams"]["people"]
        named = re.findall(r"is sent as a new contact \(([^)]*)\)", ended.log)
        self.not_followed = [int(n) for n in re.findall(r"id=(\d+)", " ".join(named))]
        assert len(self.not_followed) == counts["not_followed"]
        self.set_aside = []
        file = self._folder / "rejects.singer"
        if file.exists():
            self.set_aside = [one["record"]["id"] for one in rejected(file)]
            file.unlink()

    def everybody(self) -> Night:
        """Return a night in which everybody comes as they came last."""
        return Night([said[-1] for said in self.said.values()], [], None)


class Held(t.NamedTuple):
    """One contact of the CRM.

    Attributes:
        name: Of the person it was last sent for; None if only its identity was ever sent.
    """

    name: str | None
    identity: Identity
    consent: bool | None

    def is_of(self, key: int) -> bool:
        """Return whether it has an address or a number that only this person has."""
        mobile, email = self.identity
        return bool(
            (mobile and mobile.startswith(f"+479000{key}"))
            or (email and email.endswith(f"{key}@example.com"))
        )

    def may_be_of(self, said: Said) -> bool:
        """Return whether it was last sent for this person, or has a part that the record has."""
        parts = zip(said.identity, self.identity, strict=True)
        return self.name == name_of(said.key) or any(part and part == has for part, has in parts)

    def fits(self, said: Said) -> bool:
        """Return whether it has what the source says; it may have a part that the source lost."""
        mobile, email = self.identity
        return said.mobile in {None, mobile} and said.email in {None, email}


def held(crm: RunningSandbox) -> list[Held]:
    return [
        Held(
            one["properties"].get("firstname"),
            (
                f"+{one['mobile_country_code']}{one['mobile_number']}"
                if one["mobile_number"]
                else None,
                one["email"],
            ),
            one["email_opt_in"],
        )
        for one in crm.contacts()
    ]


class Expected:
    """What the CRM should hold, given which people a run has named; nothing has failed in it.

    Attributes:
        contacts: The identity of each contact.
    """

    def __init__(self) -> None:
        self.contacts: list[Identity] = []
        self._contact_of: dict[int, int] = {}
        self._known: dict[int, Identity] = {}

    def identity_of(self, key: int) -> Identity | None:
        """Return the identity under which a person was delivered last."""
        return self._known.get(key)

    def take(self, night: Night, *, not_followed: list[int], set_aside: list[int]) -> None:
        """Take what was delivered in a night: moves first, then who is not followed or new."""
        delivered = [said for said in night.said if said.key not in set_aside]
        new = [said for said in delivered if said.key not in self._known]
        left = [said for said in delivered if said.key in not_followed]
        for said in delivered:
            if said not in new and said not in left:
                self._follow(said)
        for said in (*left, *new):
            self._upsert(said.key, said.identity)

    def _follow(self, said: Said) -> None:
        before = self._known[said.key]
        after = (said.mobile or before[0], said.email or before[1])
        contact = self._contact_of[said.key]
        if self.contacts[contact] == before:
            self.contacts[contact] = after
            self._known[said.key] = after
        else:  # somebody with the same contact has moved already
            self._upsert(said.key, after)

    def _upsert(self, key: int, identity: Identity) -> None:
        if identity not in self.contacts:
            self.contacts.append(identity)
        self._contact_of[key] = self.contacts.index(identity)
        self._known[key] = identity


SLOW = settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def crm(start_crm: Callable[..., RunningSandbox]) -> RunningSandbox:
    return start_crm(plan="unlimited", refuse_email="bad", keep_bodies=False)


@pytest.fixture
def new_load(
    run_target: RunTarget,
    crm: RunningSandbox,
    between: Between,
    settings: Record,
    ledger_uri: str,
    tmp_path: Path,
) -> Callable[..., Load]:
    """Start a history, with an empty CRM and an empty ledger."""

    def new_load(**more: t.Any) -> Load:
        forget_everything(ledger_uri)
        crm.set_faults()
        crm.reset()
        (tmp_path / "rejects.singer").unlink(missing_ok=True)
        common: Record = {
            "api_url": between.url,
            "ledger_uri": ledger_uri,
            "rejects_path": str(tmp_path / "rejects.singer"),
            "max_rejects_percent": 100,
            "batch_size_rows": 2,
            "confirm_batches": "report",
        }
        return Load(run_target, between, settings | common | more, tmp_path)

    return new_load


@on_both_databases
@SLOW
@given(
    history=histories(own, has_faults=True),
    opt_in=st.sampled_from(["send", "omit"]),
    on_update=st.sampled_from(["keep", "keep", "reset"]),
)
def test_whatever_fails_each_person_is_one_contact(
    new_load: Callable[..., Load],
    crm: RunningSandbox,
    history: list[Night],
    opt_in: str,
    on_update: str,
) -> None:
    crm.set_switches(opt_in_on_update=on_update)
    load = new_load(unchanged_opt_in=opt_in)
    times_left: dict[int, int] = dict.fromkeys(PEOPLE, 0)
    for number, night in enumerate([*history, None]):
        load.deliver(night or load.everybody(), number=number)
        for key in load.not_followed:
            times_left[key] += 1
        if night and night.kill and night.faults:  # killed before it named those left behind
            for key in {said.key for said in night.said}:
                times_left[key] += 1
    contacts = held(crm)
    for key, said in load.said.items():
        last = said[-1]
        theirs = [one for one in contacts if one.is_of(key)]
        event(f"contacts of a person: {len(theirs)}, not followed: {bool(times_left[key])}")
        for one in theirs:
            assert one.name in {None, name_of(key)}
            assert one.consent in {None, *(each.consent for each in said)}
        if last.is_refused:
            assert len(theirs) <= 1 + times_left[key]
            continue
        assert 1 <= len(theirs) <= 1 + times_left[key]
        now = [one for one in theirs if one.fits(last)]
        assert now
        if last.consent is False:
            assert any(one.consent is False for one in now)
    assert all(any(one.is_of(key) for key in load.said) for one in contacts)


def nights_of(*nights: Sequence[Said]) -> list[Night]:
    return [Night(list(said), [], None) for said in nights]


X, Y = "x@example.com", "y@example.com"
LEFT_BEHIND = nights_of(
    [Said(2, M2, X, True), Said(3, M1, Y, True)],
    [Said(2, M1, Y, True)],
    [Said(2, M2, X, True), Said(3, M2, X, True)],
    [Said(3, None, X, False), Said(2, M1, X, True)],
)
"""Two people take an identity whose contact was left behind, and one of them says no."""


@on_both_databases
@SLOW
@given(history=histories(shared, has_faults=False), opt_in=st.sampled_from(["send", "omit"]))
@example(history=LEFT_BEHIND, opt_in="send")
def test_whoever_takes_or_shares_what_identity_no_contact_is_lost_or_unexplained(
    new_load: Callable[..., Load], crm: RunningSandbox, history: list[Night], opt_in: str
) -> None:
    load = new_load(unchanged_opt_in=opt_in)
    expected = Expected()
    for number, night in enumerate(history):
        load.deliver(night, number=number)
        expected.take(night, not_followed=load.not_followed, set_aside=load.set_aside)
        event(f"not followed: {len(load.not_followed)}, set aside: {len(load.set_aside)}")
        contacts = held(crm)
        assert Counter(expected.contacts) == Counter(one.identity for one in contacts)
        check_consents(contacts, load, expected, night)


def check_consents(contacts: Iterable[Held], load: Load, expected: Expected, night: Night) -> None:
    """No contact has a consent that the source never gave, and every no of a night is in.

    That of people who are set aside, too.
    """
    tonight = {said.key: said.consent for said in night.said}
    everything_said = [said for of_key in load.said.values() for said in of_key]
    for one in contacts:
        theirs = [key for key in load.said if expected.identity_of(key) == one.identity]
        if one.consent:
            # A contact that was left behind, which a run has named, keeps what was said of it.
            assert any(said.consent and one.may_be_of(said) for said in everything_said)
        if theirs and all(tonight.get(key) is False for key in theirs):
            assert one.consent is False
