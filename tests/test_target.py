"""Singer lines in; requests, STATE, log and exit code out."""

from __future__ import annotations

import gzip
import json
import typing as t
from pathlib import Path

import pytest

from tests.messages import PEOPLE, person, record, schema, state

if t.TYPE_CHECKING:
    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import RunTarget


SAMPLE = Path(__file__).parent / "mainbrainer_sandbox" / "samples" / "batch-request.json"


def bodies(crm: RunningSandbox) -> list[dict[str, t.Any]]:
    return [request.body for request in crm.requests() if request.path == "/contacts/batch"]


def emails(crm: RunningSandbox) -> list[str]:
    return [contact["email"] for contact in crm.contacts()]


def test_records_arrive_as_contacts_and_state_follows(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    ended = run_target(schema(), *(person(n) for n in range(250)), state(bookmark=250))
    assert ended.code == 0
    assert ended.states == [{"bookmark": 250}]
    assert len(crm.contacts()) == 250
    assert sorted(len(body["createUpdateContacts"]) for body in bodies(crm)) == [50, 100, 100]


def test_a_second_run_updates_and_inserts_nothing(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    for inserted, updated in ((30, 0), (0, 30)):
        ended = run_target(schema(), *map(person, range(30)), confirm_batches="require")
        assert ended.code == 0
        counts = ended.report["streams"]["people"]
        assert (counts["inserted"], counts["updated"]) == (inserted, updated)
    assert len(crm.contacts()) == 30


def test_the_batch_of_the_api_page_is_reproduced(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """The page's sample request, but for the empty e-mail address, which is left out (C21)."""
    sample = json.loads(SAMPLE.read_text())
    columns: dict[str, t.Any] = {key: {} for key in sample["createUpdateContacts"][0]}
    ended = run_target(
        schema(columns, key=()),
        *(record(**contact) for contact in sample["createUpdateContacts"]),
        list_id=sample["listId"],
        webhook_url=sample["webhookUrl"],
    )
    assert ended.code == 0, ended.errors
    del sample["createUpdateContacts"][1]["email"]
    assert bodies(crm) == [sample]


def test_a_stream_can_go_to_a_list_of_its_own(run_target: RunTarget, crm: RunningSandbox) -> None:
    one, two = (f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2))
    ended = run_target(
        schema(),
        schema(stream="members"),
        person(1),
        record("members", id=2, email="m@example.org"),
        list_id=one,
        streams={"members": {"list_id": two}},
    )
    assert ended.code == 0
    sent = {body["listId"]: body["createUpdateContacts"][0]["email"] for body in bodies(crm)}
    assert sent == {one: "p1@example.com", two: "m@example.org"}


def test_a_column_can_say_which_list_each_contact_goes_to(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    lists = [f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2)]
    ended = run_target(
        schema({"id": {"type": "integer"}, "email": {}, "list": {}}),
        *(record(id=n, email=f"p{n}@example.com", list=lists[n % 2]) for n in range(10)),
        field_map={"list": "list_id"},
    )
    assert ended.code == 0
    assert sorted(len(body["createUpdateContacts"]) for body in bodies(crm)) == [5, 5]
    assert {body["listId"] for body in bodies(crm)} == set(lists)


@pytest.mark.parametrize("encoding", ["none", "gzip"])
def test_batch_messages_end_as_the_same_contacts(
    run_target: RunTarget, crm: RunningSandbox, tmp_path: Path, encoding: str
) -> None:
    lines = "".join(json.dumps(json.loads(person(n))["record"]) + "\n" for n in range(150))
    path = tmp_path / "people.jsonl"
    path.write_bytes(gzip.compress(lines.encode()) if encoding == "gzip" else lines.encode())
    message = {
        "type": "BATCH",
        "stream": "people",
        "encoding": {"format": "jsonl", "compression": encoding},
        "manifest": [path.as_uri()],
    }
    ended = run_target(schema(), json.dumps(message), state(bookmark=1))
    assert ended.code == 0, ended.errors
    assert ended.states == [{"bookmark": 1}]
    assert len(crm.contacts()) == 150


def test_stream_maps_run_before_us(run_target: RunTarget, crm: RunningSandbox) -> None:
    ended = run_target(
        schema(),
        person(1),
        person(2),
        stream_maps={"people": {"email": "email.upper()", "__filter__": "id == 2"}},
    )
    assert ended.code == 0, ended.errors
    assert emails(crm) == ["P2@EXAMPLE.COM"]


def test_a_stream_that_a_map_removes_is_not_even_looked_at(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    ended = run_target(
        schema({"mail": {}, "e": {}}, stream="noise"),
        record("noise", mail="x@example.com"),
        schema(),
        person(1),
        stream_maps={"noise": None},
        field_map={"mail": "email", "e": "email"},
    )
    assert ended.code == 0, ended.errors
    assert emails(crm) == ["p1@example.com"]


def test_a_schema_may_change_in_the_middle(run_target: RunTarget, crm: RunningSandbox) -> None:
    """What came under the old schema arrives first."""
    wider = {"id": {"type": "integer"}, "email": {}, "city": {}}
    ended = run_target(
        schema({"id": {"type": "integer"}, "email": {}}),
        record(id=1, email="kari@example.com"),
        schema(wider),
        record(id=1, email="kari@example.com", city="Bergen"),
        state(bookmark=2),
    )
    assert ended.code == 0
    assert ended.states == [{"bookmark": 2}]
    (kari,) = crm.contacts()
    assert kari["properties"]["city"] == "Bergen"


def test_dropped_identifiers_are_counted_and_said(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    people = [person(1, mobile="12"), person(2, mobile="+44 7700 900123")]
    ended = run_target(schema(), *people, invalid_identifiers="drop")
    assert ended.code == 0
    assert "Left out 1 identifier of stream 'people' and kept the contacts" in ended.log
    counts = ended.report["streams"]["people"]
    assert (counts["accepted"], sum(counts["dropped_by_code"].values())) == (2, 1)
    assert len(crm.contacts()) == 2


@pytest.mark.parametrize(
    ("value", "states"),
    [
        ('{"bookmark":1}', [{"bookmark": 1}]),
        ("{}", []),  # which would wipe the bookmarks
        ('{"a":0.1234567890123456789}', [{"a": 0.1234567890123456789}]),
    ],
)
def test_without_records_state_is_passed_on_and_no_contact_is_sent(
    run_target: RunTarget, crm: RunningSandbox, value: str, states: list[object]
) -> None:
    ended = run_target(schema(), f'{{"type":"STATE","value":{value}}}')
    assert (ended.code, ended.states) == (0, states)
    assert all(request.method == "GET" for request in crm.requests())


def test_metadata_columns_can_be_mapped(run_target: RunTarget, crm: RunningSandbox) -> None:
    ended = run_target(
        schema(),
        person(1),
        add_record_metadata=True,
        field_map={"_sdc_received_at": "last_synced", "id": None},
    )
    assert ended.code == 0, ended.errors
    (contact,) = crm.contacts()
    assert set(contact["properties"]) == {"firstname", "last_synced"}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([person(1)], "came before the stream's SCHEMA message"),
        (["kari@example.com"], "Line 1 of the input is not valid JSON"),
        ([schema({"a": {}, "b": {}}), "x"], "'a' and 'b'"),
        (
            [schema({"id": {}, "email": {}, "a\ud800": {}})],
            "'a\\ud800' would be a property whose n",
        ),
    ],
    ids=["no schema", "no JSON", "two columns for one field", "half a character"],
)
def test_a_mistake_is_said_in_one_sentence(
    run_target: RunTarget, lines: list[str], expected: str
) -> None:
    ended = run_target(*lines, field_map={"a": "email", "b": "email"})
    assert ended.code == 1
    assert expected in ended.error
    assert "kari" not in ended.log
    assert "Traceback" not in ended.log


def test_words_of_the_source_are_consent_if_a_setting_says_so(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    ended = run_target(
        schema(PEOPLE | {"email_opt_in": {}}),
        person(1, email_opt_in="JA "),
        person(2, email_opt_in="nei"),
        person(3, email_opt_in="yes"),
        consent_words={"yes": ["ja"], "no": ["Nei"]},
    )
    assert ended.code == 0, ended.errors
    sent = {c["email"]: c.get("emailOptIn") for c in bodies(crm)[0]["createUpdateContacts"]}
    assert sent == {"p1@example.com": True, "p2@example.com": False, "p3@example.com": True}


def test_a_yes_is_never_sent_to_who_is_in_the_suppression_file(
    run_target: RunTarget, crm: RunningSandbox, tmp_path: Path
) -> None:
    path = tmp_path / "suppressed.txt"
    path.write_text("# unsubscribed\nP1@Example.com\np2@example.com\n\n+44 7700 900003\n")
    ended = run_target(
        schema(PEOPLE | {"mobile_opt_in": {}}),
        person(1, email_opt_in=True, mobile="+44 7700 900001", mobile_opt_in=True),
        person(2, email_opt_in=False),
        person(3, email_opt_in=True, mobile="+44 7700 900003", mobile_opt_in=True),
        person(4, email_opt_in=True),
        suppression_path=str(path),
    )
    assert ended.code == 0, ended.errors
    sent = [
        (c["email"][:2], c.get("emailOptIn"), c.get("mobileOptIn"))
        for c in bodies(crm)[0]["createUpdateContacts"]
    ]
    assert sent[:2] == [("p1", None, None), ("p2", False, None)]
    assert sent[2:] == [("p3", None, None), ("p4", True, None)]
    assert ended.report["streams"]["people"]["opt_ins_withheld"] == 4


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"p1@example.com\n90812501\n", "line 2 contains neither an e-mail address nor"),
        (b"\xff\xfe", "it is not written in UTF-8"),
        (None, "'{path}' cannot be read (No such file or directory)."),
    ],
)
def test_a_suppression_file_that_cannot_be_read_ends_the_run_before_it_begins(
    run_target: RunTarget,
    crm: RunningSandbox,
    tmp_path: Path,
    content: bytes | None,
    problem: str,
) -> None:
    path = tmp_path / "suppressed.txt"
    if content is not None:
        path.write_bytes(content)
    ended = run_target(schema(), person(1), suppression_path=str(path))
    assert ended.code == 1
    assert ended.error.startswith(f"Setting 'suppression_path': {problem.format(path=path)}")
    assert "9081" not in ended.log
    assert crm.requests() == []


def test_contacts_that_would_be_billed_twice_are_counted_and_named(run_target: RunTarget) -> None:
    ended = run_target(
        schema(),
        person(1),
        person(2, email="p1@example.com", mobile="+44 7700 900002"),
        person(3, email="P1@EXAMPLE.COM"),
        person(4, mobile="+44 7700 900002"),
        person(5),
        dry_run=True,
    )
    assert ended.code == 0, ended.errors
    found = ended.report["duplicates"]
    assert (found["email"], found["mobile"]) == (3, 2)
    assert "3 share an e-mail address with another one; 2 share a mobile number" in ended.log
    assert "of 'people' have the same e-mail address" in ended.log


@pytest.mark.parametrize("mark", ["\u200b", "\t", "\n", "\u202e", "\0"])
def test_a_column_name_that_does_not_print_is_sent_as_it_is_and_shown_escaped(
    run_target: RunTarget, crm: RunningSandbox, mark: str
) -> None:
    ended = run_target(
        schema({"id": {}, "email": {}, f"a{mark}b": {}}),
        record("people", **{"id": 1, "email": "kari@example.com", f"a{mark}b": "x"}),
    )
    assert ended.code == 0, ended.errors
    (contact,) = crm.contacts()
    assert contact["properties"][f"a{mark}b"] == "x"
    assert mark.encode("unicode_escape").decode() in ended.log
    assert f"a{mark}b" not in ended.log


def test_a_stream_name_that_does_not_print_is_shown_escaped(run_target: RunTarget) -> None:
    """In every line of the log, the names of loggers among them."""
    name = "a\u202eb"
    ended = run_target(schema(stream=name), record(name, id=1, email="cut-off@"))
    assert r"Columns of stream 'a\u202eb':" in ended.log
    assert r"Rejected 1 of stream 'a\u202eb'" in ended.log
    assert "\u202e" not in ended.log
