"""Merged, batched, reordered, refused or lost on the way: the CRM ends the same.

It ends as if every record had been sent alone, in the order of the input, to a server without
faults. The server of the comparison is the sandbox, and what it is sent there is written here,
not by the target.
"""

import json
import typing as t

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from mainbrainer_sandbox.running import RunningSandbox
from tests.loads import Load, Record, record, schema, state

LISTS = [None, "3fa85f64-5717-4562-b3fc-2c963f66afa6", "00000000-0000-4000-8000-000000000001"]
OPT_INS = ("mobile_opt_in", "email_opt_in")
COLUMNS: Record = {
    "seq": {"type": "integer"},
    **{name: {} for name in ("contact_id", "mobile", "email", "city", "bad", "list", *OPT_INS)},
}

FAULTS = ["latency=0-0.02", "503@p0.1", "reset@p0.05", "lost@p0.05", "cut@p0.05", "429=0@p0.03"]


class Case(t.NamedTuple):
    """Records in input order, and how they are loaded."""

    records: list[Record]
    streams: list[str]
    schemas: set[int]
    config: Record
    faults: list[str]

    def lines(self) -> t.Iterator[str]:
        """Singer messages, with a wider schema here and there in between."""
        for stream in sorted(set(self.streams)):
            yield schema(COLUMNS, stream=stream, key=())
        for place, (columns, stream) in enumerate(zip(self.records, self.streams, strict=True)):
            if place in self.schemas:
                yield schema({**COLUMNS, f"more{place}": {}}, stream=stream, key=())
            yield record(stream, seq=place, **columns)
            yield state(bookmark=place)


EMAILS = [None, "ola@example.com", "Ola@example.com", "kari@example.org", "per@example.com"]
MOBILES = [None, "+447700900001", "+447700900002"]
OPTIONS: dict[str, st.SearchStrategy[t.Any]] = {
    **dict.fromkeys(OPT_INS, st.booleans()),
    "city": st.sampled_from(["Oslo", "Bergen", "Hamar"]),
}


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Few people, so that many records are of the same one, and more share an identifier.

    Whether somebody who is named by an id is somebody who is named by an address only the CRM
    knows. Where both are mixed, order holds within one stream and list, one request at a time.
    """
    kind = draw(st.sampled_from(["plain", "plain", "ids", "mixed"]))
    is_mixed = kind == "mixed"
    kinds: dict[str, list[int | None]] = {"plain": [None], "ids": [7, 8]}
    ids = st.sampled_from(kinds.get(kind, [None, None, 7, 8]))
    count = draw(st.integers(1, 40))
    streams = ["a"] if is_mixed else draw(st.sampled_from([["a"], ["a", "b"], ["a", "b", "c"]]))
    lists: list[str | None] = [None] if is_mixed else draw(st.sampled_from([[None], LISTS]))
    email, mobile = st.sampled_from(EMAILS), st.sampled_from(MOBILES)
    person = st.fixed_dictionaries({"email": email, "mobile": mobile, "contact_id": ids})
    people = draw(st.lists(person, min_size=1, max_size=draw(st.sampled_from([1, 3, 20]))))
    more = st.fixed_dictionaries({"list": st.sampled_from(lists)}, optional=OPTIONS)
    records = [draw(st.sampled_from(people)) | draw(more) for _ in range(count)]
    for place in draw(st.sets(st.integers(0, count - 1), max_size=count // 4)):
        records[place]["bad"] = "yes"
    config = {
        "batch_size_rows": draw(st.sampled_from([1, 2, 3, 5, 100])),
        "max_concurrent_requests": 1 if is_mixed else draw(st.sampled_from([1, 2, 8])),
        "write_mode": draw(st.sampled_from(["batch", "batch", "batch", "single"])),
        "confirm_batches": draw(st.sampled_from(["none", "report", "require"])),
    }
    return Case(
        records=records,
        streams=draw(st.lists(st.sampled_from(streams), min_size=count, max_size=count)),
        schemas=draw(st.sets(st.integers(0, count - 1), max_size=3)),
        config=config,
        faults=draw(st.lists(st.sampled_from(FAULTS), max_size=4, unique=True)),
    )


def send_alone(crm: RunningSandbox, columns: Record) -> bool:
    """Send one record as its page says, and return whether it was taken."""
    mobile = columns["mobile"]
    sent = {name: columns[name] for name in ("city", "bad") if name in columns}
    properties = [{"propertyName": name, "propertyValue": sent[name]} for name in sent]
    body = {
        "listId": columns["list"],
        "contactId": columns["contact_id"],
        "mobileCountryCode": mobile and 44,
        "mobileNumber": mobile and int(mobile.removeprefix("+44")),
        "email": columns["email"],
        "mobileOptIn": columns.get("mobile_opt_in"),
        "emailOptIn": columns.get("email_opt_in"),
        "propertyFields": properties or None,
    }
    sent_as = {key: value for key, value in body.items() if value is not None}
    headers = {"Authorization": f"Bearer {crm.token}"}
    url = f"{crm.url}/contacts/insertupdate"
    answer = requests.post(url, json=sent_as, headers=headers, timeout=10)
    assert answer.status_code in {202, 422}, answer.text
    return answer.status_code == 202


def contacts_of(crm: RunningSandbox) -> list[t.Any]:
    """Return what is in the CRM, however it numbers those that it makes, and whenever."""
    found = crm.contacts()
    for contact in found:
        contact.pop("batch", None)
        contact["properties"] = sorted(contact["properties"].items())
        contact["lists"] = sorted(contact.get("lists", ()))
        if contact["id"] >= 1_000_000:
            del contact["id"]
    return sorted(sorted((key, str(value)) for key, value in c.items()) for c in found)


@settings(max_examples=30)
@given(case=cases())
@pytest.mark.usefixtures("hasty")
def test_the_crm_ends_as_if_each_record_had_been_sent_alone(load: Load, case: Case) -> None:
    crm = load.crm
    crm.set_switches(refuse_property="bad")
    crm.reset()
    names = ("email", "mobile", "contact_id")
    expected = [
        place
        for place, columns in enumerate(case.records)
        if not any(columns[name] for name in names) or not send_alone(crm, columns)
    ]
    truth = contacts_of(crm)
    crm.reset()
    load.keep_rejects().unlink(missing_ok=True)
    load.settings["field_map"] = {"seq": None, "list": "list_id"}
    faults = " ".join(case.faults)
    ended = load(*case.lines(), faults=faults, max_rejects_percent=100, **case.config).ok()
    assert sorted(line["record"]["seq"] for line in load.rejected()) == expected
    assert ended.bookmark == len(case.records) - 1
    assert contacts_of(crm) == truth, json.dumps(case.records)
