"""Addresses and numbers to which consent is never sent, whatever the source says."""

from __future__ import annotations

import typing as t
import unicodedata

import msgspec

from target_mainbrainer.mapping.identifiers import parse_email, parse_mobile
from target_mainbrainer.mapping.values import InvalidValueError

if t.TYPE_CHECKING:
    from collections.abc import Iterable

    from target_mainbrainer.contacts import Contact, Mobile

_MOST_LINES_NAMED = 5


class Suppressions:
    """E-mail addresses and mobile numbers whose opt-in is never sent as true.

    A line holds back the opt-in of its own kind: an address that of e-mail, a number that of SMS,
    as people unsubscribe from the one or the other. False is always sent.
    """

    def __init__(self, emails: Iterable[str] = (), mobiles: Iterable[Mobile] = ()) -> None:
        self._emails = frozenset(map(_plain, emails))
        self._mobiles = frozenset(mobiles)
        self._numbers = frozenset(mobile.number for mobile in self._mobiles)

    def withhold(self, contact: Contact) -> tuple[Contact, int]:
        """Return a contact without the opt-ins that must not be sent, and how many those were.

        A contact is recognised by the address and the number that it carries itself: with a
        contact id alone it is not.

        >>> from target_mainbrainer.contacts import Contact
        >>> suppressions = Suppressions(emails=["Kari@example.com"])
        >>> held, count = suppressions.withhold(
        ...     Contact(email="kari@example.com", email_opt_in=True, mobile_opt_in=True)
        ... )
        >>> held.email_opt_in, held.mobile_opt_in, count
        (None, True, 1)
        """
        withheld: dict[str, None] = {}
        if contact.email_opt_in and contact.email and _plain(contact.email) in self._emails:
            withheld["email_opt_in"] = None
        if contact.mobile_opt_in and contact.mobile and self._has(contact.mobile):
            withheld["mobile_opt_in"] = None
        if not withheld:
            return contact, 0
        return msgspec.structs.replace(contact, **withheld), len(withheld)

    def _has(self, mobile: Mobile) -> bool:
        """Return whether a number is listed. Without its country code it may be any country's."""
        if mobile.country_code is None:
            return mobile.number in self._numbers
        return mobile in self._mobiles


def _plain(email: str) -> str:
    return unicodedata.normalize("NFC", email.strip()).casefold()


def parse_suppressions(lines: Iterable[str]) -> Suppressions:
    """Read one e-mail address or international mobile number a line.

    Blank lines and those that start with `#` are left out.

    >>> from target_mainbrainer.contacts import Contact, Mobile
    >>> found = parse_suppressions(["# unsubscribed", "kari@example.com", "+44 7700 900123"])
    >>> found.withhold(Contact(mobile=Mobile(44, 7700900123), mobile_opt_in=True))[1]
    1

    Raises:
        ValueError: Lines are neither; its text names their numbers, and nothing that they hold.
    """
    emails: list[str] = []
    mobiles: list[Mobile] = []
    bad: list[int] = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            if "@" in text:
                emails.append(t.cast("str", parse_email(text)))
            else:
                mobiles.append(t.cast("Mobile", parse_mobile(text)))
        except InvalidValueError:
            bad.append(number)
    if bad:
        named = ", ".join(f"{number:,}" for number in bad[:_MOST_LINES_NAMED])
        more = f" and {len(bad) - _MOST_LINES_NAMED:,} more" if len(bad) > _MOST_LINES_NAMED else ""
        message = (
            f"line{'s' if len(bad) > 1 else ''} {named}{more} hold{'' if len(bad) > 1 else 's'} "
            "neither an e-mail address nor an international mobile number such as +47 and its "
            "digits"
        )
        raise ValueError(message)
    return Suppressions(emails, mobiles)
