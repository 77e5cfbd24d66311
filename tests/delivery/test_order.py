"""The newest record of a person is the last one that the CRM is told."""

from __future__ import annotations

import itertools
import random
import typing as t

import pytest

from tests.loads import add_up
from tests.messages import record, schema

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mainbrainer_sandbox.running import RunningSandbox
    from mainbrainer_sandbox.store import Request
    from tests.messages import RunTarget

LIST = "3fa85f64-5717-4562-b3fc-2c963f66afa6"


def families(count: int, seed: int) -> Iterator[dict[str, t.Any]]:
    """Records of people who share numbers and addresses, some of them known by their id."""
    dice = random.Random(seed)  # noqa: S311 - no secret
    for n in range(count):
        family, member = dice.randrange(25), dice.randrange(3)
        columns: dict[str, t.Any] = {"seq": str(n)}
        match dice.randrange(5):
            case 0:
                columns |= {"contact_id": 900 + family}
            case 1:
                columns |= {"contact_id": 900 + family, "email": f"f{family}@example.com"}
            case 2:
                columns |= {"mobile": f"+4790000{family:03}"}
            case 3:
                columns |= {"email": f"f{family}m{member}@example.com"}
            case _:
                columns |= {
                    "mobile": f"+4790000{family:03}",
                    "email": f"f{family}m{member}@example.com",
                }
        yield columns


def identifiers(request: Request) -> set[t.Any]:
    contacts = request.body.get("createUpdateContacts", [request.body])
    found = [
        {contact.get("email"), contact.get("contactId"), contact.get("mobileNumber")}
        for contact in contacts
    ]
    return set().union(*found) - {None}


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("seed", range(2))
def test_nobody_is_overtaken_by_their_own_past(
    run_target: RunTarget, start_crm: Callable[..., RunningSandbox], seed: int
) -> None:
    """20 in flight, random latencies, retries, refusals and halves."""
    crm = start_crm(
        plan="unlimited",
        refuse_property="bad",
        faults=["latency=0-0.1", "503@p0.1", "reset@p0.05", "413@p0.05:batch"],
        seed=seed,
    )
    records = list(families(160, seed))
    dice = random.Random(seed)  # noqa: S311 - no secret
    for columns in records:
        if dice.random() < 0.02:
            columns["bad"] = "yes"
    columns = {
        "contact_id": {},
        "email": {},
        "mobile": {},
        "seq": {"type": "string"},
        "bad": {},
    }
    ended = run_target(
        schema(columns, key=()),
        *(record(**columns) for columns in records),
        api_url=crm.url,
        access_token=crm.token,
        batch_size_rows=5,
        max_concurrent_requests=20,
        max_rejects=160,
    )
    assert ended.code == 0, ended.errors
    add_up(ended)
    sent = [request for request in crm.requests() if request.body]
    overlaps = 0
    for one, other in itertools.combinations(sent, 2):
        if one.overlaps(other):
            overlaps += 1
            assert not identifiers(one) & identifiers(other)
    assert overlaps > 10, "without requests side by side this shows nothing"
    # Of every identity, the newest record that was not refused has been written last.
    taken = [request.body for request in sent if request.status == 202]
    contacts = [contact for body in taken for contact in body.get("createUpdateContacts", [body])]
    newest: dict[t.Any, int] = {}
    for contact in contacts:
        identity = contact.get("contactId") or (contact.get("mobileNumber"), contact.get("email"))
        # The two pages of the API spell it in two ways, and each is asked as its page does.
        seq = next(
            int(value)
            for fields in (contact.get("propertyfields") or contact["propertyFields"],)
            for part in fields
            for key, value in part.items()
            if key.lower() == "propertyvalue" and value.isdecimal()
        )
        assert newest.get(identity, -1) < seq
        newest[identity] = seq


CONSENT = {"id": {"type": "integer"}, "email": {}, "email_opt_in": {}, "list": {}}


def consent_of(crm: RunningSandbox, email: str) -> list[bool | None]:
    return [c["email_opt_in"] for c in crm.contacts() if c["email"] == email]


@pytest.mark.parametrize(
    "before", [[], [record("b", id=9, email="p9@example.com")]], ids=["one waits", "both wait"]
)
def test_an_opt_out_on_another_stream_is_never_overtaken(
    run_target: RunTarget, crm: RunningSandbox, before: list[str]
) -> None:
    """The opt-in waits for its batch to fill up while that of the opt-out goes off full."""
    ended = run_target(
        schema(CONSENT, stream="a"),
        schema(CONSENT, stream="b"),
        *before,
        record("a", id=1, email="Ola@example.com", email_opt_in=True),
        record("b", id=1, email="ola@example.com", email_opt_in=False),
        record("b", id=2, email="p2@example.com"),
        batch_size_rows=2,
        max_concurrent_requests=4,
    )
    assert ended.code == 0, ended.errors
    add_up(ended)
    bodies = [request.body["createUpdateContacts"] for request in crm.requests()]
    order = [c["emailOptIn"] for body in bodies for c in body if "emailOptIn" in c]
    assert order == [True, False]


def test_an_opt_out_for_another_list_is_never_overtaken(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    other = "00000000-0000-4000-8000-000000000001"
    ended = run_target(
        schema(CONSENT),
        record(id=1, email="ola@example.com", email_opt_in=True, list=LIST),
        record(id=1, email="ola@example.com", email_opt_in=False, list=other),
        record(id=2, email="p2@example.com", list=other),
        field_map={"list": "list_id"},
        batch_size_rows=2,
        max_concurrent_requests=4,
    )
    assert ended.code == 0, ended.errors
    assert consent_of(crm, "ola@example.com") == [False]


def test_streams_that_share_nobody_fill_their_batches_side_by_side(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """Only contacts that meet send a batch off before it is full."""
    lines = [
        record(stream, id=n, email=f"{stream}{n}@example.com")
        for n in range(100)
        for stream in "ab"
    ]
    ended = run_target(schema(CONSENT, stream="a"), schema(CONSENT, stream="b"), *lines)
    assert ended.code == 0, ended.errors
    assert len(crm.requests()) == 2
