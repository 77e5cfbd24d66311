"""What stands in a record for a part that is nested too deeply to be read."""

from __future__ import annotations

import typing as t

from typing_extensions import override


class TooDeep:
    """Stands for what is nested too deeply to be read; no part of it is sent."""

    @override
    def __repr__(self) -> str:
        return "<nested too deeply>"


TOO_DEEP: t.Final = TooDeep()


def holds_too_deep(value: object) -> bool:
    """Return whether a value is, or holds inside, something that was too deep to be read."""
    if isinstance(value, dict):
        return any(map(holds_too_deep, value.values()))
    if isinstance(value, list):
        return any(map(holds_too_deep, value))
    return isinstance(value, TooDeep)
