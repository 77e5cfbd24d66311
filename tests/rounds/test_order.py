"""The newest record of a person is the last one that the CRM is told."""

from __future__ import annotations

import itertools
import random
import typing as t

import pytest

from tests.messages import record, schema
from tests.rounds.sent import sent, value_of

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from mainbrainer_sandbox.running import RunningSandbox
    from mainbrainer_sandbox.store import Request
    from tests.messages import Record, RunTarget

LIST = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
OTHER_LIST = "00000000-0000-4000-8000-000000000001"


def families(count: int, seed: int) -> Iterator[dict[str, t.Any]]:
    """Records of people who share numbers and addresses, some of them known by their id."""
    dice = random.Random(seed)
    for n in range(count):
        family, member = dice.randrange(60), dice.randrange(3)
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


def may_be_one(one: Record, other: Record) -> bool:
    """Tell whether two contacts may be the same one, as far as their requests say.

    MainBrainer matches the combination of address and number, so a number alone and the same
    number with an address are two people, unless one of them is known by its id.
    """
    ids = [contact.get("contactId") for contact in (one, other)]
    number, other_number = (contact.get("mobileNumber") for contact in (one, other))
    email, other_email = ((contact.get("email") or "").casefold() for contact in (one, other))
    if None not in ids:
        return ids[0] == ids[1]
    if ids == [None, None]:
        return (number, email) == (other_number, other_email)
    return bool((number and number == other_number) or (email and email == other_email))


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("seed", range(2))
def test_nobody_is_overtaken_by_their_own_past(
    run_target: RunTarget, crm: RunningSandbox, seed: int
) -> None:
    """20 in flight, random latencies, retries, refusals and halves."""
    crm.set_switches(refuse_property="bad")
    crm.set_faults("latency=0-0.1", "503@p0.1", "reset@p0.05", "413@p0.05:batch", seed=seed)
    records = list(families(160, seed))
    dice = random.Random(seed)
    for columns in records:
        if dice.random() < 0.02:
            columns["bad"] = "yes"
    columns = {"contact_id": {}, "email": {}, "mobile": {}, "seq": {"type": "string"}, "bad": {}}
    run_target(
        schema(columns, key=()),
        *(record(**columns) for columns in records),
        batch_size_rows=2,
        max_concurrent_requests=20,
        max_rejects=160,
    ).ok()
    overlaps = 0
    for (one, contacts), (other, others) in itertools.combinations(sent(crm), 2):
        if one.overlaps(other):
            overlaps += 1
            assert not any(may_be_one(a, b) for a in contacts for b in others)
    assert overlaps, "without requests side by side this shows nothing"
    # Of every identity, the newest record that was not refused has been written last.
    newest: dict[t.Any, int] = {}
    for request, contacts in sent(crm):
        for contact in contacts if request.status == 202 else ():
            identity = contact.get("contactId") or (
                contact.get("mobileNumber"),
                contact.get("email"),
            )
            seq = int(value_of(contact, "seq") or "")
            assert newest.get(identity, -1) <= seq
            newest[identity] = seq


OLA = "ola@example.com"
NUMBER = "+4790812501"
PAIRS = [
    pytest.param({"email": OLA}, {"email": OLA}, id="spelt alike"),
    pytest.param({"email": "Ola@example.com"}, {"email": OLA}, id="another case"),
    pytest.param(
        {"email": "ola@b\u00fccher.example"},
        {"email": "ola@xn--bcher-kva.example"},
        id="a domain in punycode",
    ),
    pytest.param({"mobile": NUMBER}, {"mobile": "90812501"}, id="without a country code"),
    pytest.param({"mobile": NUMBER}, {"mobile": "0047 908 12 501"}, id="00 and spaces"),
    pytest.param({"contact_id": 7}, {"contact_id": 7, "email": OLA}, id="by id"),
    pytest.param({"contact_id": 7, "email": OLA}, {"email": OLA}, id="by id, then by address"),
    pytest.param({"email": OLA}, {"contact_id": 7, "email": OLA}, id="by address, then by id"),
    pytest.param({"mobile": NUMBER}, {"contact_id": 7, "mobile": NUMBER}, id="by number, then id"),
]


@pytest.mark.parametrize(("first", "second"), PAIRS)
@pytest.mark.parametrize("way", ["one stream", "two streams", "two lists"])
def test_the_last_word_on_a_person_wins(
    run_target: RunTarget, crm: RunningSandbox, first: Record, second: Record, way: str
) -> None:
    """However they are spelt, and whichever stream and list they come in."""
    crm.set_faults("latency=0.2@1")
    streams = ("a", "b") if way == "two streams" else ("a", "a")
    lists = (LIST, OTHER_LIST) if way == "two lists" else (None, None)
    columns: Record = {name: {} for name in ("contact_id", "email", "mobile", "seq", "list")}
    words = [
        record(stream, seq=str(seq), **columns, **({"list": place} if place else {}))
        for seq, columns, stream, place in zip(
            range(2), (first, second), streams, lists, strict=True
        )
    ]
    ended = run_target(
        *(schema(columns, stream=stream, key=()) for stream in "ab"),
        *words,
        record(streams[1], email="p1@example.com", **({"list": lists[1]} if lists[1] else {})),
        field_map={"list": "list_id"},
        default_country_code=47,
        batch_size_rows=2,
        max_concurrent_requests=4,
    ).ok()
    requests: dict[str, Request] = {}
    for request, contacts in sent(crm):
        for contact in contacts:
            if (seq := value_of(contact, "seq")) is not None:
                requests[seq] = request
    if "0" in requests:
        assert requests["0"].number != requests["1"].number
        assert requests["0"].ended <= requests["1"].started
    else:
        assert ended.report["streams"][streams[0]]["merged"] == 1


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
    run_target(
        schema(CONSENT, stream="a"),
        schema(CONSENT, stream="b"),
        *before,
        record("a", id=1, email="Ola@example.com", email_opt_in=True),
        record("b", id=1, email="ola@example.com", email_opt_in=False),
        record("b", id=2, email="p2@example.com"),
        batch_size_rows=2,
        max_concurrent_requests=4,
    ).ok()
    bodies = [request.body["createUpdateContacts"] for request in crm.requests()]
    order = [c["emailOptIn"] for body in bodies for c in body if "emailOptIn" in c]
    assert order == [True, False]


def test_an_opt_out_for_another_list_is_never_overtaken(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    run_target(
        schema(CONSENT),
        record(id=1, email="ola@example.com", email_opt_in=True, list=LIST),
        record(id=1, email="ola@example.com", email_opt_in=False, list=OTHER_LIST),
        record(id=2, email="p2@example.com", list=OTHER_LIST),
        field_map={"list": "list_id"},
        batch_size_rows=2,
        max_concurrent_requests=4,
    ).ok()
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
    run_target(schema(CONSENT, stream="a"), schema(CONSENT, stream="b"), *lines).ok()
    assert len(crm.requests()) == 2
