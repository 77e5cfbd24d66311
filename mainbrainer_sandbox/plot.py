"""Requests over time against the limit, as the numbers an SVG needs. No I/O."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

BUCKET_SECONDS = 10
_WIDTH, _HEIGHT = 900, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 888, 24, 224
_BARS = 120
_GRID_LINES = 4


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
    the busiest 10 seconds in it: a limit that was touched stays visible.
    """
    if not buckets:
        return None
    first, last = buckets[0].start, buckets[-1].start
    spans = (last - first) // BUCKET_SECONDS + 1
    step = -(-spans // _BARS)
    bars: dict[int, Bucket] = {}
    for bucket in buckets:
        place = (bucket.start - first) // BUCKET_SECONDS // step
        if place not in bars or bars[place].total < bucket.total:
            bars[place] = bucket
    count = max(-(-spans // step), 12)
    highest = max(bucket.total for bucket in buckets)
    top = _round_up(max(highest, burst or 0) * 1.1)
    width = (_RIGHT - _LEFT) / count

    def height(value: float) -> float:
        return round(value / top * (_BOTTOM - _TOP), 2)

    rects = []
    for place, bucket in bars.items():
        base = float(_BOTTOM)
        parts = {
            "ok": bucket.total - bucket.limited - bucket.bad,
            "limited": bucket.limited,
            "bad": bucket.bad,
        }
        for kind, number in parts.items():
            if number:
                base -= height(number)
                rects.append(
                    {
                        "kind": kind,
                        "x": round(_LEFT + place * width + width * 0.1, 2),
                        "y": round(base, 2),
                        "width": round(width * 0.8, 2),
                        "height": height(number),
                    }
                )
    lines = [
        {
            "y": round(_BOTTOM - height(top * n / _GRID_LINES), 2),
            "label": f"{top * n // _GRID_LINES:,}",
        }
        for n in range(_GRID_LINES + 1)
    ]
    seconds = step * BUCKET_SECONDS
    each = "10 seconds" if step == 1 else f"the busiest 10 seconds of {duration(seconds)}"
    against = f"The plan allows {burst:,} in any 10 seconds." if burst else "There is no limit."
    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        "left": _LEFT,
        "right": _RIGHT,
        "bottom": _BOTTOM,
        "bars": rects,
        "lines": lines,
        "limit": (
            {"y": round(_BOTTOM - height(burst), 2), "label": f"limit: {burst:,} in 10 seconds"}
            if burst
            else None
        ),
        "ticks": [
            {"x": _LEFT, "label": clock(first), "anchor": "start"},
            {
                "x": (_LEFT + _RIGHT) / 2,
                "label": clock(first + count * seconds / 2),
                "anchor": "middle",
            },
            {"x": _RIGHT, "label": f"{clock(first + count * seconds)} UTC", "anchor": "end"},
        ],
        "caption": f"Each bar is {each}.",
        "description": (
            f"From {clock(first)} to {clock(last + BUCKET_SECONDS)} UTC. "
            f"At most {highest:,} requests in 10 seconds. {against}"
        ),
    }


def _round_up(value: float) -> int:
    """Return the next number that four grid lines divide well.

    >>> [_round_up(value) for value in (0.4, 7, 110, 2300)]
    [4, 8, 120, 2400]
    """
    size = 4
    while True:
        for factor in (1, 2, 3, 5, 6):
            if value <= size * factor:
                return size * factor
        size *= 10


def duration(seconds: int) -> str:
    """Return a length of time in words.

    >>> duration(90), duration(7200)
    ('90 seconds', '2 hours')
    """
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size and seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"


def clock(seconds: float) -> str:
    """Return the time of day.

    >>> clock(0)
    '00:00:00'
    """
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%H:%M:%S}"
