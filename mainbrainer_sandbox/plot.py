"""Requests over time against the limit, as the numbers an SVG needs. No I/O."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import msgspec

BUCKET_SECONDS = 10
_BARS = 120
_GRID_LINES = 4
# The drawing, in the units of the SVG.
LEFT, RIGHT, TOP, BOTTOM = 56, 888, 24, 224


class Bucket(msgspec.Struct):
    """The requests of one 10 seconds.

    Attributes:
        start: When it begins, in seconds since the epoch.
        limited: How many were answered 429.
        bad: How many were answered otherwise than 2xx or 429, or not at all.
    """

    start: int
    total: int
    limited: int = 0
    bad: int = 0


def plot(buckets: list[Bucket], burst: int | None) -> dict[str, Any] | None:
    """Return where bars, lines and labels go, or None if there is nothing to plot.

    A time too long for one bar each 10 seconds gets bars of more, each as high as
    the busiest 10 seconds in it: a limit that was reached stays visible.
    """
    if not buckets:
        return None
    first, last = buckets[0].start, buckets[-1].start
    spans = (last - first) // BUCKET_SECONDS + 1
    step = -(-spans // _BARS)
    count = max(-(-spans // step), 12)
    highest = max(bucket.total for bucket in buckets)
    room = max(highest, burst or 0) * 1.1
    between = grid_step(room)
    grid = range(0, math.ceil(room / between) * between + 1, between)
    top = grid[-1]
    width = (RIGHT - LEFT) / count
    bars: dict[int, Bucket] = {}
    for bucket in buckets:
        place = (bucket.start - first) // BUCKET_SECONDS // step
        if place not in bars or bars[place].total < bucket.total:
            bars[place] = bucket

    def y(value: float) -> float:
        return round(BOTTOM - value / top * (BOTTOM - TOP), 2)

    rects = []
    for place, bucket in bars.items():
        x, below = round(LEFT + (place + 0.1) * width, 2), 0
        ok = bucket.total - bucket.limited - bucket.bad
        for kind, number in (("ok", ok), ("limited", bucket.limited), ("bad", bucket.bad)):
            above = below + number
            if number:
                size = {"width": round(width * 0.8, 2), "height": round(y(below) - y(above), 2)}
                rects.append({"kind": kind, "x": x, "y": y(above), **size})
            below = above
    end = first + count * step * BUCKET_SECONDS
    ticks = ((LEFT, first, "start"), ((LEFT + RIGHT) / 2, (first + end) / 2, "middle"))
    busiest = f"the busiest 10 of {step * BUCKET_SECONDS:,}"
    return {
        "bars": rects,
        "lines": [{"y": y(value), "label": f"{value:,}"} for value in grid],
        "limit": {"y": y(burst), "label": f"limit: {burst:,} in 10 seconds"} if burst else None,
        "ticks": [
            {"x": x, "label": clock(moment), "anchor": anchor}
            for x, moment, anchor in (*ticks, (RIGHT, end, "end"))
        ],
        "caption": f"Each bar is {'10' if step == 1 else busiest} seconds, in UTC.",
        "description": (
            f"From {clock(first)} to {clock(last + BUCKET_SECONDS)} UTC. "
            f"At most {highest:,} requests in 10 seconds; the limit is {burst or 'none'}."
        ),
    }


def grid_step(highest: float) -> int:
    """Return a round number of requests between two grid lines.

    >>> [grid_step(highest) for highest in (1, 33, 110, 165, 220, 1_100)]
    [1, 10, 50, 50, 100, 500]
    """
    least = max(highest / _GRID_LINES, 1)
    power: int = 10 ** int(math.log10(least))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= least)


def clock(seconds: float) -> str:
    """Return the time of day.

    >>> clock(0)
    '00:00:00'
    """
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%H:%M:%S}"
