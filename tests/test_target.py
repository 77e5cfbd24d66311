"""Singer lines in; requests, STATE, log and exit code out."""

import json
from pathlib import Path

from tests.loads import Load, cases, person, record, schema

SAMPLE = Path(__file__).parent / "mainbrainer_sandbox" / "samples" / "batch-request.json"
LISTS = [f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2)]


def test_the_batch_of_the_api_page_is_reproduced(load: Load) -> None:
    """The sample request, but for a proper id of a property and no empty e-mail address (C21)."""
    sample = json.loads(SAMPLE.read_text())
    contacts = sample["createUpdateContacts"]
    rows = []
    for contact in contacts:
        *properties, by_id = contact.pop("propertyfields")
        named = [one for one in properties if "propertyid" not in one]
        values = {one["propertyname"]: one["propertyvalue"] for one in named}
        rows.append(contact | values | {"zip": by_id["propertyvalue"]})
        contact["propertyfields"] = [*named, by_id | {"propertyid": LISTS[0]}]
    lines = [schema(" ".join(rows[0]), key=()), *(record(**row) for row in rows)]
    own = {"list_id": sample["listId"], "webhook_url": sample["webhookUrl"]}
    load.ok(*lines, **own, field_map={"zip": {"property_id": LISTS[0]}})
    del contacts[1]["email"]
    assert load.bodies == [sample]


def test_a_stream_can_go_to_a_list_of_its_own(load: Load) -> None:
    own = {"members": {"list_id": LISTS[1]}}
    load.ok("1 p1, members:2 m", list_id=LISTS[0], streams=own)
    lists = {"p1@example.com": [LISTS[0]], "m@example.com": [LISTS[1]]}
    assert load.all_of("lists") == lists


@cases(
    "value states",
    *(('{"bookmark":1}', [{"bookmark": 1}]), ("{}", [])),  # {} would wipe the bookmarks
    ('{"a":0.1234567890123456789}', [{"a": 0.1234567890123456789}]),
)
def test_state_without_records(load: Load, value: str, states: list[object]) -> None:
    """Without records, STATE is passed on and no contact is sent."""
    assert load.ok(schema(), f'{{"type":"STATE","value":{value}}}').states == states
    assert [request.method for request in load.crm.requests()] == ["GET"], "is the account right?"


def test_metadata_columns_can_be_mapped(load: Load) -> None:
    field_map = {"_sdc_received_at": "last_synced", "id": None}
    load.ok("1 p1", add_record_metadata=True, field_map=field_map)
    assert load.contact["properties"].keys() == {"firstname", "last_synced"}


@cases(
    "content problem",
    (b"p1@example.com\n90812501\n", "it has something else than an e-mail address"),
    *((text, "it is not a text in UTF-8; save it as UTF-8") for text in (b"\xff\xfeo\0", b"\xe5")),
    *((text, "it is empty, as after an export that failed") for text in (b"\n \n", b"id,email\n")),
    (b'name,email\nA,a@example.com\n"B,b@example.com\nC,p1@example.com\n', "a quote in or"),
    (None, "No such file or directory."),
)
def test_an_unreadable_suppression_file(load: Load, content: bytes | None, problem: str) -> None:
    """A suppression file that cannot be read ends the run before it begins."""
    path = load.folder / "suppressed.txt"
    if content is not None:
        path.write_bytes(content)
    ended = load.fails("1 p1", suppression_path=str(path))
    assert ended.error.startswith(f"Setting 'suppression_path': '{path}': {problem}")
    assert "9081" not in ended.log
    assert load.crm.requests() == []


@cases("mark", "\u200b", "\t", "\n", "\u202e", "\0")
def test_a_column_name_that_does_not_print_is_shown_escaped(load: Load, mark: str) -> None:
    """A column name that does not print is sent as it is and shown escaped."""
    name = f"a{mark}b"
    ended = load.ok(schema({"id": {}, "email": {}, name: {}}), person(1, **{name: "x"}))
    assert load.contact["properties"][name] == "x"
    assert mark.encode("unicode_escape").decode() in ended.log
    assert name not in ended.log


def test_a_stream_name_that_does_not_print_is_shown_escaped(load: Load) -> None:
    """In every line of the log, the names of loggers among them."""
    name = "a\u202eb"
    ended = load.run(schema(stream=name), record(name, id=1, email="cut-off@"))
    assert r"Columns of stream 'a\u202eb':" in ended.log
    assert r"Rejected 1 of stream 'a\u202eb'" in ended.log
    assert "\u202e" not in ended.log


def test_settings_of_a_stream_that_never_came_are_told_if_a_similar_one_came(load: Load) -> None:
    """Only then: a configuration may serve several taps."""
    for setting, entry in {"streams": {"deleted_records": "opt_out"}, "stream_maps": {}}.items():
        given = {setting: {"peoples": entry, "orders": entry}}
        log = load.ok("1 p1", **given).log
        assert f"'{setting}' has an entry for stream 'peoples', and there was none. If it " in log
        assert "orders" not in log
        given[setting]["people"] = entry
        assert "peoples" not in load.ok(schema(), **given).log
    assert "has an entry" not in load.ok(schema(), stream_maps={"peop*": {}}).log
