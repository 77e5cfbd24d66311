"""Merged and sent once is the same as sent one by one, by the sandbox's own rules."""

from __future__ import annotations

import itertools
import typing as t

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from target_mainbrainer.api.requests import encode_batch, encode_contact
from target_mainbrainer.contacts import Contact, Mobile, PropertyRef, identifiers_of, identity_of
from target_mainbrainer.delivery.buffer import ContactBuffer
from target_mainbrainer.singer.records import SourceRecord, StateInterval

if t.TYPE_CHECKING:
    from mainbrainer_sandbox.running import RunningSandbox
    from target_mainbrainer.delivery.pending_contact import PendingContact

INTERVAL = StateInterval()
FIRST_GENERATED_ID = 1_000_000


def contacts(*, contact_ids: st.SearchStrategy[int | None]) -> st.SearchStrategy[Contact]:
    """Few people, so that many share an identity, and more share a mobile or an e-mail."""
    cities = st.sampled_from(["Oslo", "Bergen", "Tromsø"])
    return st.builds(
        Contact,
        contact_id=contact_ids,
        mobile=st.none()
        | st.builds(Mobile, st.just(44), st.sampled_from([7700900001, 7700900002])),
        email=st.sampled_from([None, "ola@example.com", "Ola@example.com", "kari@example.org"]),
        mobile_opt_in=st.sampled_from([None, True, False]),
        email_opt_in=st.sampled_from([None, True, False]),
        properties=st.dictionaries(
            st.sampled_from([PropertyRef(None, "city"), PropertyRef(None, "town")]), cities
        ),
    ).filter(lambda contact: identity_of(contact) is not None)


def batches_of(sequence: list[Contact], size: int = 100) -> list[list[PendingContact]]:
    """Buffer contacts as the sink does."""
    batches: list[list[PendingContact]] = []
    buffer = ContactBuffer()
    for number, contact in enumerate(sequence):
        record = SourceRecord(INTERVAL, number, b"")
        identifiers = identifiers_of(contact)
        if not buffer.add(contact, record, identifiers=identifiers, keys=identifiers):
            batches.append(buffer.contacts)
            buffer = ContactBuffer()
            assert buffer.add(contact, record, identifiers=identifiers, keys=identifiers)
        if len(buffer) >= size:
            batches.append(buffer.contacts)
            buffer = ContactBuffer()
    if len(buffer):
        batches.append(buffer.contacts)
    return batches


def crm_after(crm: RunningSandbox, batches: list[list[Contact]]) -> list[t.Any]:
    """Return what is in the CRM afterwards, however it numbers those that it makes."""
    crm.reset()
    for batch in batches:
        body = encode_batch([encode_contact(contact) for contact in batch])
        answer = requests.post(
            f"{crm.url}/contacts/batch",
            data=body,
            headers={"Authorization": f"Bearer {crm.token}", "Content-Type": "application/json"},
            timeout=10,
        )
        assert answer.status_code == 202
    found = crm.contacts()
    for contact in found:
        contact["properties"] = sorted(contact["properties"].items())
        if contact["id"] >= FIRST_GENERATED_ID:
            del contact["id"]
    return sorted(sorted((key, str(value)) for key, value in c.items()) for c in found)


@pytest.mark.parametrize(
    "contact_ids",
    [
        pytest.param(st.none(), id="without contact ids"),
        pytest.param(st.sampled_from([7, 8]), id="with contact ids"),
        pytest.param(st.sampled_from([None, None, 7, 8]), id="both"),
    ],
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_merged_and_sent_once_is_the_same_as_sent_one_by_one(
    crm: RunningSandbox, contact_ids: st.SearchStrategy[int | None], data: st.DataObject
) -> None:
    sequence = data.draw(st.lists(contacts(contact_ids=contact_ids), min_size=2, max_size=8))
    merged = [[entry.contact for entry in batch] for batch in batches_of(sequence)]
    assert crm_after(crm, merged) == crm_after(crm, [[contact] for contact in sequence])


@given(st.lists(contacts(contact_ids=st.sampled_from([None, 7, 8])), max_size=30))
def test_no_identity_is_twice_in_a_batch_and_no_record_is_lost(sequence: list[Contact]) -> None:
    batches = batches_of(sequence, size=5)
    for batch in batches:
        identities = [identity_of(entry.contact) for entry in batch]
        assert len(identities) == len(set(identities))
        assert len(batch) <= 5
    numbers = [
        source_record.number
        for entry in itertools.chain(*batches)
        for source_record in entry.source_records
    ]
    assert sorted(numbers) == list(range(len(sequence)))


@given(st.lists(contacts(contact_ids=st.sampled_from([None, 7, 8])), max_size=30))
def test_who_may_be_the_same_contact_is_never_in_the_same_batch(sequence: list[Contact]) -> None:
    for batch in batches_of(sequence):
        for one, other in itertools.combinations(batch, 2):
            shares = set(one.identifiers) & set(other.identifiers)
            ids = {one.contact.contact_id, other.contact.contact_id}
            assert not shares or ids == {None}
            assert set(one.identifiers) != set(other.identifiers)


def test_no_contact_shows_in_a_repr() -> None:
    (batch,) = batches_of([Contact(email="ola@example.com")])
    assert "ola" not in repr(batch)


def test_what_waits_shows_no_data() -> None:
    source_record = SourceRecord(INTERVAL, 7, b'{"email": "ola@example.com"}')
    contact = Contact(email="ola@example.com")
    buffer = ContactBuffer()
    identifiers = identifiers_of(contact)
    assert buffer.add(contact, source_record, identifiers=identifiers, keys=identifiers)
    shown = f"{source_record!r} {buffer.contacts[0]!r} {list(source_record.__rich_repr__())}"
    assert "ola" not in shown
