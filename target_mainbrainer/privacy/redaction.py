"""Make what a server says safe for the log.

A refusal may repeat anything that was sent: names, addresses, a token. What a message is worth
to a reader (which field, what is wrong with it) survives; what could be a person's does not.
"""

from __future__ import annotations

import html
import re
import typing as t

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from target_mainbrainer.contacts.contact import Contact

MARK = "…"
LONGEST = 200
SHORTEST_VALUE = 3
"""Shorter values stand in any text by chance: taking out every "no" would spoil the message."""

_URL = re.compile(
    r"(?P<host>\bhttps?://)(?:[^\s/?#\"'<>]*@)?(?P<rest>[^\s?#\"'<>]*)[?#][^\s\"'<>]*"
)
_UNSAFE = re.compile(
    r"""
      [^\s"'<>(),;]+ @ [^\s"'<>(),;:]+        # e-mail addresses, and nearly
    | (?i: bearer | basic ) \s+ [^\s"',;]+    # credentials
    | (?<![\w-]) (?= [\w+/=.~-]*\d ) [\w+/=.~-]{20,}    # tokens and ids: long, with a digit
    | [\w+/=~-]{40,}                          # tokens without a digit
    | [+]? \d (?: [ ().\-/]{0,2} \d ){3,}     # phone numbers, dates, any four digits
    """,
    re.VERBOSE,
)
_QUOTED = re.compile(r"""(?<!\w)(["'`])(.+?)\1(?!\w)|[“«„](.+?)[”»“]""")
_OWN_NAMES = frozenset(
    [
        "contactid",
        "createupdatecontacts",
        "email",
        "emailoptin",
        "listid",
        "mobilecountrycode",
        "mobilenumber",
        "mobileoptin",
        "propertyfields",
        "propertyid",
        "propertyname",
        "propertyvalue",
        "webhookurl",
    ]
)


def redact(text: str, values: Iterable[str] = ()) -> str:
    """Return one line of at most 200 characters in which nothing of a person or secret is left.

    E-mail addresses, numbers of four digits and more, anything like a token, whatever stands in
    quotes (except names of the API's own fields), the queries of URLs and every given value
    become `…`.

    >>> redact("The 'email' field: 'ola@example.com' is not valid for +47 908 12 501.")
    "The 'email' field: … is not valid for …."
    >>> redact("Jennifer has no mobile", values=["jennifer"])
    '… has no mobile'

    Args:
        text: What a server said.
        values: What must not be seen, in any case; values under three characters are passed over.
    """
    wanted = {_plain(spelt) for value in values for spelt in (value, html.unescape(value))}
    longest_first = sorted(wanted, key=lambda value: (-len(value), value))
    hidden = [value.casefold() for value in longest_first if len(value) >= SHORTEST_VALUE]
    safe = _plain(text)
    # What is taken out may bring together what stood apart; every round but the last shortens.
    while (safer := _once(safe, hidden)) != safe:
        safe = safer
    return safe


def values_of(contacts: Iterable[Contact]) -> Iterator[str]:
    """Yield every value of these contacts in the spellings a server may give it back in."""
    for contact in contacts:
        if contact.contact_id is not None:
            yield str(contact.contact_id)
        if contact.email is not None:
            yield contact.email
            yield contact.email.rpartition("@")[0]
        if contact.mobile is not None:
            country_code, number = contact.mobile
            yield str(number)
            if country_code is not None:
                yield f"{country_code}{number}"
        yield from contact.properties.values()


def _plain(text: str) -> str:
    """Return a text as one line of printable characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _once(text: str, hidden: Iterable[str]) -> str:
    text = _plain(html.unescape(text))
    for value in hidden:
        text = _without(text, value)
    text = _URL.sub(rf"\g<host>\g<rest>?{MARK}", text)
    text = _QUOTED.sub(_unquote, text)
    text = _UNSAFE.sub(MARK, text)
    text = _plain(re.sub(rf"{MARK}+", MARK, text))
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + MARK


def _unquote(match: re.Match[str]) -> str:
    inside = match[2] or ""
    return match[0] if inside.lower() in _OWN_NAMES else MARK


def _without(text: str, value: str) -> str:
    """Take a casefolded value out of a text, whatever the case it has there.

    >>> _without("Strasse, STRASSE and Straße", "strasse")
    '…, … and …'
    """
    folded = text.casefold()
    if value not in folded:
        return text
    if len(folded) != len(text):
        # Some letters fold into two: find what each folded letter was before.
        source_record = [place for place, char in enumerate(text) for _ in char.casefold()]
    else:
        source_record = list(range(len(text)))
    parts, done, start = [], 0, folded.find(value)
    while start >= 0:
        end = start + len(value)
        parts += [text[done : max(done, source_record[start])], MARK]
        done = source_record[end - 1] + 1
        start = folded.find(value, end)
    return "".join(parts) + text[done:]
