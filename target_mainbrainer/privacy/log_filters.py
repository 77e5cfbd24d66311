"""Keeps other people's loggers from telling what only the CRM should know.

All places known to say too much, at any level:

- `singer_sdk.mapper` at DEBUG: what each expression of a stream map makes of each record;
- `urllib3` at DEBUG: the address of every request, a line each; as a WARNING: what it cannot
  parse of a response's headers, as the server wrote it;
- the SDK's reader, which repeats a line it cannot read: `singer.reader.MessageReader` does not;
- the SDK's validator, which repeats the value: `compile_validator` does not;
- the SDK's settings check, likewise: `TargetMainBrainer._validate_config` does not;
- tracebacks, whose last line is the error's own text: `errors.explain` tells kind and place only,
  of whatever ends a thread, too.
"""

from __future__ import annotations

import logging
import threading

from target_mainbrainer.privacy.explaining import explain

_QUIETED = {"singer_sdk.mapper": logging.INFO, "urllib3": logging.CRITICAL}

logger = logging.getLogger("target-mainbrainer")


def quiet_loggers() -> None:
    """Let no logger show contact data, whatever level the user has set."""
    for name, level in _QUIETED.items():
        other = logging.getLogger(name)
        other.setLevel(max(other.getEffectiveLevel(), level))


def quiet_threads() -> None:
    """Let no dying thread of this process show contact data."""
    threading.excepthook = _tell


def _tell(died: threading.ExceptHookArgs) -> None:
    if died.exc_value is not None:
        for sentence in explain(died.exc_value):
            logger.error("%s", sentence)
