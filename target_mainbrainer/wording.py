"""Names of streams and columns in sentences for people."""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from collections.abc import Sequence


def shown(text: str) -> str:
    """Return a name as it can be printed anywhere: lone surrogates and controls escaped."""
    return "".join(
        mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in text
    )


def listed(names: Sequence[str]) -> str:
    """Return names as an enumeration.

    >>> listed(["a", "b", "c"])
    "'a', 'b' and 'c'"
    """
    quoted = [f"'{shown(name)}'" for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def is_utf8(text: str) -> bool:
    r"""Return whether UTF-8 can carry a text: all but half a character (a lone surrogate).

    >>> is_utf8("zero\u200bwidth"), is_utf8("\ud800")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
