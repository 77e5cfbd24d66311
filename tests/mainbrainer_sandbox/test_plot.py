"""Requests over time, as numbers."""

from __future__ import annotations

from mainbrainer_sandbox.plot import Bucket, plot


def test_a_long_time_is_plotted_by_its_busiest_moments() -> None:
    buckets = [Bucket(n * 10, 5) for n in range(1000)]
    buckets[500] = Bucket(5000, 90, limited=10)
    found = plot(buckets, 100)
    assert found is not None
    assert 100 <= len(found["bars"]) <= 122
    assert found["caption"] == "Each bar is the busiest 10 of 90 seconds, in UTC."
    tallest = max(found["bars"], key=lambda bar: bar["height"])
    assert tallest["kind"] == "ok"
    assert found["limit"]["y"] < tallest["y"]
    assert plot([], 100) is None
    without = plot(buckets, None)
    assert without is not None
    assert without["limit"] is None


def test_grid_lines_are_round_numbers_with_room_above_the_limit() -> None:
    found = plot([Bucket(0, 84)], 100)
    assert found is not None
    assert [line["label"] for line in found["lines"]] == ["0", "50", "100", "150"]
    assert found["limit"]["y"] == found["lines"][2]["y"]
