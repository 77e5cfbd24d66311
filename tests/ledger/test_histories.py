"""For any nights and faults the CRM ends with a ledger as it ends when everything is sent."""

from __future__ import annotations

import os
import typing as t

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ledgers import forget_everything, on_both_databases
from tests.loads import is_complete
from tests.messages import record, schema, state

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.ledger.outside import Night
    from tests.messages import Record

EXAMPLES = int(os.environ.get("LEDGER_HISTORIES", "8"))
REFUSED = "bad@example.com"
STREAMS = ("people", "others")
COLUMNS: Record = {name: {} for name in ("id", "email", "mobile", "email_opt_in", "firstname")}
IDENTITIES: list[Record] = [
    *({"email": "x@example.com"}, {"email": "X@example.com"}, {"email": "y@example.com"}),
    {"mobile": "+4790812501"},
    {"mobile": "+4790812501", "email": "x@example.com"},
    {"email": REFUSED},
]
FAULTS = ["lost@p0.5:batch", "reset@p0.5:batch", "503@p0.3", "fail@p0.5:batch", "stuck@p0.5:batch"]

Records: t.TypeAlias = "list[tuple[str, int, Record, bool, str]]"
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


def held(crm: RunningSandbox, night: Records | None = None) -> set[tuple[object, ...]]:
    """Return what the CRM holds of everybody, or of those that a night names and it takes."""
    named = {(one.get("mobile", ""), one.get("email")) for _, _, one, _, _ in night or []}
    found: set[tuple[object, ...]] = set()
    for one in crm.contacts(settle=False):
        number = one["mobile_number"]
        mobile = f"+{one['mobile_country_code']}{number}" if number else ""
        if night is None or (mobile, one["email"]) in named:
            name = one["properties"].get("firstname")
            found.add((mobile, one["email"], one["email_opt_in"], name))
    return found


@pytest.fixture
def crm(start_crm: Callable[..., RunningSandbox]) -> RunningSandbox:
    return start_crm(plan="unlimited", refuse_email="bad", keep_bodies=False)


@on_both_databases
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=histories())
def test_any_nights_end_as_if_everything_had_been_sent(
    night: Night,
    start_crm: Callable[..., RunningSandbox],
    history: list[tuple[Records, list[str]]],
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
        assert has_failed or held(night.crm) == held(plain)
    last = history[-1][0]
    for _ in range(2):
        deliver(last, [])
    assert held(night.crm, last) == held(plain, last)
    plain.close()
