"""The newest record of a person is the last one that the CRM gets; older ones are merged."""

import itertools

import pytest

from tests.loads import Load, Record, cases, record, schema
from tests.rounds.sent import contacts_in, judging, may_be_one, refusal, sent, value_of

LIST = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
OTHER_LIST = "00000000-0000-4000-8000-000000000001"


OLA: Record = {"email": "ola@example.com"}
NUMBER: Record = {"mobile": "+4790812501"}
SEVEN: Record = {"contact_id": 7}
PAIRS = [
    pytest.param(OLA, OLA, id="spelt alike"),
    pytest.param({"email": "Ola@example.com"}, OLA, id="another case"),
    pytest.param(NUMBER, {"mobile": "90812501"}, id="without a country code"),
    pytest.param(SEVEN, SEVEN | OLA, id="by id"),
    pytest.param(SEVEN | OLA, OLA, id="by id, then by address"),
    pytest.param(OLA, SEVEN | OLA, id="by address, then by id"),
    pytest.param(NUMBER, SEVEN | NUMBER, id="by number, then id"),
]


@cases("first second", *PAIRS)
@cases("way", "one stream", "two streams", "two lists")
def test_the_last_word_on_people_wins(load: Load, first: Record, second: Record, way: str) -> None:
    """In any spelling, stream and list.

    The first waits for its batch to fill up while that of the second, full with another, goes off.
    """
    streams = ("a", "b") if way == "two streams" else ("a", "a")
    lists: list[Record] = [{"list": LIST}, {"list": OTHER_LIST}] if way == "two lists" else [{}, {}]
    load.settings |= {"batch_size_rows": 2, "max_concurrent_requests": 4}
    lines = [schema("contact_id email mobile seq list", stream=s, key=()) for s in "ab"]
    lines.append(record(streams[0], seq="0", **first, **lists[0]))
    lines.append(record(streams[1], seq="1", **second, **lists[1]))
    lines.append(record(streams[1], email="p1@example.com", **lists[1]))
    load.settings |= {"field_map": {"list": "list_id"}, "default_country_code": 47}
    ended = load(*lines, faults="latency=0.2@1").ok()
    everything = [(request, one) for request, contacts in sent(load.crm) for one in contacts]
    requests = {value_of(contact, "seq"): request for request, contact in everything}
    if "0" in requests:
        assert requests["0"].number != requests["1"].number
        assert requests["0"].ended <= requests["1"].started
    else:
        assert (way, ended.report["streams"]["a"]["merged"]) == ("one stream", 1)


# Records of one person become one contact, which is what two upserts in a row would make


def test_no_request_has_anybody_twice(load: Load) -> None:
    """Nor two who may be the same person: MainBrainer gives no order within a request."""
    people: list[Record] = [
        *({"contact_id": 7}, {"contact_id": 7, **OLA}, {"contact_id": 8, **NUMBER}),
        *(OLA, {"email": "Ola@example.com"}, NUMBER, OLA | NUMBER, {"email": "kari@example.com"}),
    ]
    pairs = itertools.chain(*itertools.permutations(people, 2))
    load(
        schema("id contact_id email mobile"), *(record(id=n, **one) for n, one in enumerate(pairs))
    ).ok()
    for _, contacts in sent(load.crm):
        for one, other in itertools.combinations(contacts, 2):
            assert not may_be_one(one, other)


def test_a_contact_keeps_its_address_until_a_record_that_finds_it_by_that_is_in(load: Load) -> None:
    """With a number, an address alone would not find it any more."""
    people = SEVEN | OLA, OLA | {"city": "Oslo"}, SEVEN | NUMBER
    load(schema("contact_id email mobile city", key=()), *(record(**one) for one in people)).ok()
    (contact,) = load.crm.contacts()
    assert contact["email"] == OLA["email"]
    assert (contact["mobile_number"], contact["properties"]["city"]) == (90812501, "Oslo")


def test_one_bad_record_of_a_hundred_of_a_person_costs_few_requests(load: Load) -> None:
    """The good ones are written in their order."""
    load.keep_rejects()
    load.crm.set_switches(refuse_property="bad", refusal_names="none")
    load("999 kari, 0-62 ola, 63 ola bad=yes, 64-99 ola").ok()
    assert load.rejected_ids() == [63]
    landed = [c for request, contacts in sent(load.crm) if request.status == 202 for c in contacts]
    all_ids = [value_of(one, "id") or "" for one in landed if one["email"] == "ola@example.com"]
    written = [*map(int, all_ids)]
    assert written == sorted(written)
    assert written[-1] == 99
    assert len(load.crm.requests()) <= 22


def test_a_merged_contact_is_taken_apart_only_after_it_was_refused_alone(load: Load) -> None:
    server = load.serve(judging(lambda contacts: refusal() if len(contacts) > 1 else None))
    load("1 ola city=Oslo, 9 kari, 3 ola").ok()
    contacts = [one for request in server.requests for one in contacts_in(request)]
    olas = [one for one in contacts if one["email"] == "ola@example.com"]
    found = {(value_of(one, "id"), value_of(one, "city")) for one in olas}
    assert found == {("3", "Oslo")}
