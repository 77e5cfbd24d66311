"""Records' keys are readable and their own, and STATE is never ahead of what is settled."""

import json
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer.singer.reader import decode_json
from target_mainbrainer.singer.records import SourceRecord, source_key_reader
from target_mainbrainer.singer.state import StateTracker
from tests.cases import cases
from tests.strategies import ANY_TEXT


@cases(
    "record key",
    ({"a": 1, "b": "x"}, '["x",1]'),
    ({"b": "å", "a": Decimal("1.50")}, '["å",1.50]'),
    ({"b": True, "a": [1, 2]}, "[true,[1,2]]"),
    ({"b": "\ud800", "a": 1}, '["\\ud800", 1]'),
    ({"b": "", "a": 0}, '["",0]'),
    ({"a": 1}, None),
    ({"a": 1, "b": None}, None),
)
def test_the_values_of_the_key_stand_in_order(record: dict[str, object], key: str | None) -> None:
    assert source_key_reader(["b", "a"])(record) == key


def test_without_key_properties_there_is_no_key() -> None:
    assert source_key_reader([])({"id": 1}) is None


def test_streams_under_one_alias_have_keys_of_their_own() -> None:
    one, other = (source_key_reader(["id"], stream)({"id": 1}) for stream in ("a", "b"))
    assert (one, other) == ('["a",1]', '["b",1]')


@given(st.lists(ANY_TEXT | st.integers() | st.booleans(), min_size=1, max_size=3))
def test_different_keys_are_different_texts(values: list[object]) -> None:
    record = {str(n): value for n, value in enumerate(values)}
    key = source_key_reader(list(record))(record)
    assert key is not None
    assert decode_json(key.encode("utf-8", "surrogatepass")) == json.loads(json.dumps(values))


# STATE is never ahead of what is settled


@given(st.data(), st.lists(st.integers(0, 5), max_size=12))
def test_a_state_is_due_when_its_records_are_settled(data: st.DataObject, sizes: list[int]) -> None:
    """A STATE is due exactly when all records before it are settled."""
    state_tracker = StateTracker()
    source_records = []
    for number, size in enumerate(sizes):
        for _ in range(size):
            state_tracker.interval.read += 1
            source_records.append((number, SourceRecord(state_tracker.interval, 1, b"")))
        state_tracker.close_interval({"bookmark": number})
    settled: list[int] = []
    written = -1
    for number, source_record in [(-1, None), *data.draw(st.permutations(source_records))]:
        if source_record is not None:
            state_tracker.settle([source_record])
            settled.append(number)
        due = state_tracker.take_due()
        open_epochs = [n for n, size in enumerate(sizes) if settled.count(n) < size]
        newest = (open_epochs[0] if open_epochs else len(sizes)) - 1
        if newest > written:
            assert due == {"bookmark": newest}
            written = newest
        else:
            assert due is None
