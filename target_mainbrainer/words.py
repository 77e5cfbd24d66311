"""Names, lists and numbers in sentences for people."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

KINDS = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
}
"""The types of a JSON schema in sentences."""

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def shown(text: str) -> str:
    """Return a name as it can be printed anywhere: lone surrogates and controls escaped."""
    return "".join(
        mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in text
    )


def plain_name(name: str) -> str:
    """Return a name without case, `_` and `-`, which do not count.

    >>> plain_name("mobile-opt-in") == plain_name("mobileOptIn") == plain_name("MOBILE_OPT_IN")
    True
    """
    return name.casefold().replace("_", "").replace("-", "")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question after a sentence about a name that is not known, "" if none is similar.

    >>> did_you_mean("emial", ["email", "mobile"])
    " Did you mean 'email'?"
    """
    by_plain_name = {plain_name(one): one for one in known}
    near = difflib.get_close_matches(plain_name(name), by_plain_name, n=1)
    return f" Did you mean '{shown(by_plain_name[near[0]])}'?" if near else ""


def listed(names: Sequence[str]) -> str:
    """Return names as an enumeration.

    >>> listed(["a", "b", "c"])
    "'a', 'b' and 'c'"
    """
    quoted = [f"'{shown(name)}'" for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def examples(names: Sequence[str], total: int) -> str:
    """Return a few names of many as an addition to a sentence; "" if there are none.

    >>> examples(["id=1", "id=2"], 5), examples(["id=1"], 1), examples([], 5)
    (' (id=1, id=2, ...)', ' (id=1)', '')
    """
    more = ", ..." if total > len(names) else ""
    return f" ({', '.join(names)}{more})" if names else ""


def is_utf8(text: str) -> bool:
    r"""Return whether a text can be written as UTF-8; one with an unpaired surrogate cannot.

    >>> is_utf8("zero\u200bwidth"), is_utf8("\ud800")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_uuid(text: str) -> bool:
    """Return whether a text is a UUID in the usual spelling, hyphens included.

    >>> is_uuid("3fa85f64-5717-4562-b3fc-2c963f66afa6")
    True
    >>> is_uuid("3fa85f64-5717-4562-b3fc-123123d23dds")
    False
    """
    return _UUID.fullmatch(text) is not None


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun.

    >>> counted(1, "request"), counted(2_000, "request"), counted(0, "batch", "batches")
    ('1 request', '2,000 requests', '0 batches')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
