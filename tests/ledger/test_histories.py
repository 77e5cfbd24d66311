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
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import Record, RunTarget

EXAMPLES = int(os.environ.get("LEDGER_HISTORIES", "8"))
REFUSED = "bad@example.com"
PEOPLE: Record = {name: {} for name in ("id", "email", "mobile", "email_opt_in", "firstname")}
IDENTITIES: list[Record] = [
    {"email": "x@example.com"},
    {"email": "X@example.com"},
    {"email": "y@example.com"},
    {"mobile": "+4790812501"},
    {"mobile": "+4790812501", "email": "x@example.com"},
    {"email": REFUSED},
]
FAULTS = ["lost@p0.5:batch", "reset@p0.5:batch", "503@p0.3", "fail@p0.5:batch", "stuck@p0.5:batch"]

Night: t.TypeAlias = "list[tuple[str, Record]]"

records = st.tuples(
    st.sampled_from(["people", "people", "others"]),
    st.builds(
        lambda key, identity, opt_in, name: {
            "id": key,
            "email_opt_in": opt_in,
            "firstname": name,
            **identity,
        },
        st.integers(1, 3),
        st.sampled_from(IDENTITIES),
        st.booleans(),
        st.sampled_from(["a", "b"]),
    ),
)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[Night, list[str]]]:
    """Return nights, and the faults of each."""
    snapshots = draw(st.lists(st.lists(records, max_size=5), min_size=1, max_size=3))
    night = st.tuples(
        st.sampled_from(snapshots), st.lists(st.sampled_from(FAULTS), max_size=2, unique=True)
    )
    return draw(st.lists(night, min_size=2, max_size=4))


def lines_of(night: Night) -> list[str]:
    streams = [schema(PEOPLE, stream=stream) for stream in ("people", "others")]
    return [*streams, *(record(stream, **columns) for stream, columns in night), state(n=1)]


def held(crm: RunningSandbox, night: Night | None = None) -> set[tuple[object, ...]]:
    """Return what the CRM holds of everybody, or of those that a night names and it takes."""
    named = {
        (columns.get("mobile", ""), columns.get("email"))
        for _, columns in night or []
        if columns.get("email") != REFUSED
    }
    return {
        (mobile, one["email"], one["email_opt_in"], one["properties"].get("firstname"))
        for one in crm.contacts(settle=False)
        for mobile in [
            f"+{one['mobile_country_code']}{one['mobile_number']}" if one["mobile_number"] else ""
        ]
        if night is None or (mobile, one["email"]) in named
    }


def check(
    run_target: RunTarget,
    crm: RunningSandbox,
    plain: RunningSandbox,
    uri: str,
    folder: Path,
    history: list[tuple[Night, list[str]]],
) -> None:
    common = {
        "rejects_path": str(folder / "rejects.singer"),
        "max_rejects_percent": 100,
        "retry_max_seconds": 0,
        "batch_size_rows": 2,
        "confirm_batches": "report",
        "confirm_timeout_seconds": 0,
    }
    full = {"streams": {name: {"full_table": True} for name in ("people", "others")}}
    forget_everything(uri)
    for one in (crm, plain):
        one.reset()

    patient = common | {"retry_max_seconds": 600, "confirm_timeout_seconds": 60}
    account = {"api_url": plain.url, "access_token": plain.token, "ledger_uri": ""}

    def deliver(night: Night, *, is_clean: bool) -> None:
        own = patient if is_clean else common
        ended = run_target(
            *lines_of(night), ledger_uri=uri, identity_changes="create", **(own | full)
        )
        assert is_complete(ended) or not is_clean, ended.errors
        crm.set_faults()
        crm.settle()
        assert is_complete(run_target(*lines_of(night), **(patient | account)))
        plain.settle()

    for number, (night, faults) in enumerate(history):
        crm.set_faults(*faults, seed=number)
        deliver(night, is_clean=not faults)
        if not any(faults for _, faults in history[: number + 1]):
            assert held(crm) == held(plain)
    last = history[-1][0]
    for _ in range(2):
        deliver(last, is_clean=True)
    assert held(crm, last) == held(plain, last)


SLOW = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def both(start_crm: Callable[..., RunningSandbox]) -> tuple[RunningSandbox, RunningSandbox]:
    """Start one CRM that is fed with a ledger, and one without."""
    options = {"plan": "unlimited", "refuse_email": "bad", "keep_bodies": False}
    return start_crm(**options), start_crm(**options)


@pytest.fixture
def crm(both: tuple[RunningSandbox, RunningSandbox]) -> RunningSandbox:
    return both[0]


@on_both_databases
@SLOW
@given(history=histories())
def test_any_nights_end_as_if_everything_had_been_sent(
    run_target: RunTarget,
    both: tuple[RunningSandbox, RunningSandbox],
    ledger_uri: str,
    tmp_path: Path,
    history: list[tuple[Night, list[str]]],
) -> None:
    check(run_target, *both, ledger_uri, tmp_path, history)
