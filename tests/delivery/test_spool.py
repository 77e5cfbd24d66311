"""Records wait on disk, not in memory, and leave nothing behind."""

from __future__ import annotations

import random
import typing as t

import pytest

from target_mainbrainer.delivery import spool
from target_mainbrainer.delivery.spool import Spool
from target_mainbrainer.errors import DeliveryError
from target_mainbrainer.singer.records import SourceRecord, StateInterval

if t.TYPE_CHECKING:
    from pathlib import Path


def records(first: int, count: int) -> list[SourceRecord]:
    return [
        SourceRecord(StateInterval(), n, b'{"n": %d}\n' % n) for n in range(first, first + count)
    ]


def test_what_is_kept_comes_back_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "SEGMENT_BYTES", 500)
    kept_records = Spool(tmp_path)
    chance = random.Random(1)  # noqa: S311 - no secret
    open_batches: dict[int, t.Any] = {}
    for number in range(300):
        open_batches[number] = kept_records.keep(records(number * 10, 10))
        if chance.random() < 0.6:
            ended = chance.choice(list(open_batches))
            spooled = open_batches.pop(ended)
            if chance.random() < 0.5:
                kept_records.forget(spooled)
                continue
            found = kept_records.take(spooled)
            assert [(r.number, r.line) for r in found] == [
                (r.number, r.line) for r in records(ended * 10, 10)
            ]
    assert list(tmp_path.iterdir()) == [], "the files have no name that could be left behind"
    kept_records.close()


def test_a_spool_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="cannot be kept"):
        Spool(tmp_path / "gone").keep(records(0, 1))
