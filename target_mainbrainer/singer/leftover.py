"""Input that a failed run no longer wants: read and dropped, so that the tap can end by itself.

A target that ends while the tap still writes breaks its pipe: the tap fails, too, and the reason
for it all is buried under its complaints.
"""

from __future__ import annotations

import io
import os
import select
import stat
import time
import typing as t

if t.TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_SECONDS = 30.0
_READ_BYTES = 1 << 18
_PAUSE_SECONDS = 0.2


def drop_leftover(source: t.IO[str] | None, *, is_over: Callable[[], bool]) -> bool:
    """Read to the end of a pipe and drop what comes, for half a minute at most.

    Args:
        source: The input; only pipes are read.
        is_over: Whether to stop before.

    Returns:
        Whether nothing more can come.
    """
    try:
        descriptor = source.fileno()  # type: ignore[union-attr] # no input at all has none
        mode = os.fstat(descriptor).st_mode
    except (io.UnsupportedOperation, ValueError, OSError, AttributeError):
        return True
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return True
    deadline = time.monotonic() + LONGEST_SECONDS
    try:
        while not is_over() and time.monotonic() < deadline:
            if select.select([descriptor], [], [], _PAUSE_SECONDS)[0] and not os.read(
                descriptor, _READ_BYTES
            ):
                return True
    except (OSError, ValueError):
        return True
    return False
