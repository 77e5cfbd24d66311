"""What the log says of rejections, when they are settled, and when there are too many."""

from __future__ import annotations

import typing as t

import pytest

from tests.messages import person, record, schema, state
from tests.rounds.sent import in_letters, judging, refusal

if t.TYPE_CHECKING:
    from tests.broken_server import Reply
    from tests.loads import Load
    from tests.messages import Ended, Record


def said_of_rejections(ended: Ended) -> list[str]:
    """Return what the log says of rejected records, most of one kind first."""
    return [line for line in ended.log.splitlines() if "Rejected " in line]


# Names in the log


@pytest.mark.parametrize(
    ("key", "columns", "expected"),
    [
        (["id"], {"id": 4711}, "id=4711"),
        (["a", "b"], {"a": 1, "b": 2}, "a=1 b=2"),
        (["id"], {"id": "4711"}, "id=4711"),
        (["id"], {"id": "0047"}, "id=0047"),
        (["id"], {"id": 4711.0}, "id=4711"),
        *((["id"], {"id": key}, None) for key in (4711.5, 1e300, 298123.0)),
        (["id"], {"id": 4711, "m": 4711.0}, None),
        (["tel"], {"tel": 4711}, None),
        (["nin"], {"nin": 12345678901}, None),
        ([], {"id": 1}, None),
        *((["id"], {"id": key}, None) for key in ("kari@example.com", "a11", True)),
        *((["id"], {"id": key}, None) for key in ("4790812501", 447700900123)),
        *((["id"], {"id": key}, None) for key in ("298123", 298123)),
        *((["id"], {"id": key, "m": "47 11"}, None) for key in ("4711", 4711)),
        *((["id"], columns, None) for columns in ({}, {"id": 4711, "m": 4711})),
    ],
)
def test_a_key_is_shown_only_if_it_says_nothing_about_a_person(
    load: Load, key: list[str], columns: Record, expected: str | None
) -> None:
    """Nor if it stands elsewhere in the record. The Faroe Islands have numbers of six digits."""
    load.keep_rejects()
    names: Record = {name: {} for name in ("id", "a", "b", "tel", "nin", "m", "email")}
    load.settings |= {"default_country_code": 298, "field_map": {"tel": "mobile"}}
    ended = load(schema(names, key=key), record(**columns, email="cut-off@"))
    (line,) = said_of_rejections(ended)
    assert "Rejected 1 of stream 'people', " in line
    assert line.endswith(f" ({expected or 'record 1 of the stream'})")


def test_rejections_are_grouped_with_at_most_five_names(load: Load) -> None:
    """Those whose key is not shown are named by the number of one of them."""
    load.keep_rejects()
    bad = [person(n, email="cut-off@") for n in range(2000)]
    hidden = [record(id=f"{name}@example.com", email=None) for name in ("kari", "olav")]
    columns: Record = {name: {} for name in ("id", "email", "firstname")}
    ended = load(schema(columns), *bad, *hidden, max_rejects_percent=100)
    first, second = said_of_rejections(ended)
    assert "Rejected 2,000 of stream 'people', invalid_email: " in first
    assert first.endswith("(id=0, id=1, id=2, id=3, id=4, ...)")
    assert second.endswith("(record 2,001 of the stream, ...)")


def test_a_server_with_a_new_word_for_each_refusal_does_not_flood_the_log(load: Load) -> None:
    def judge(contacts: list[Record]) -> Reply | None:
        numbers = [int(one["email"][1:].partition("@")[0]) for one in contacts]
        return refusal(f"Because of {in_letters(min(numbers))}") if min(numbers) < 300 else None

    load.keep_rejects()
    load.serve(judging(judge))
    lines = said_of_rejections(load(schema(), *(person(n) for n in range(340))).ok())
    assert len(lines) == 101
    assert "Rejected 200 of stream 'people', refused_422: For various reasons." in lines[0]


# Too many


@pytest.mark.parametrize(
    ("accepted", "rejected", "percent", "fails"),
    [
        *((10, 10, 50, False), (10, 11, 50, True), (0, 19, 50, False), (0, 20, 50, True)),
        *((0, 50, 100, False), (90, 10, 0, True), (30, 30, 50, False)),
    ],
)
def test_a_stream_that_is_mostly_rejected_fails_and_holds_state(
    load: Load, accepted: int, rejected: int, percent: int, fails: bool
) -> None:
    """The records are on file, but what is wrong is the mapping: the next run must see them.

    Those at the beginning hold STATE only until good records follow.
    """
    load.keep_rejects()
    bad = [person(n, email="cut-off@") for n in range(rejected)]
    good = [person(n) for n in range(1000, 1000 + accepted)]
    ended = load(schema(), *bad, state(bookmark=1), *good, max_rejects_percent=percent)
    assert load.rejected_ids() == [*range(rejected)]
    if fails:
        assert ended.failed("'max_rejects_percent'").states == []
        assert [one["code"] for one in ended.report["reasons"]] == ["max_rejects_percent"]
    else:
        assert ended.ok().bookmark == 1
