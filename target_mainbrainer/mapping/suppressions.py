"""Addresses and numbers to which consent is never sent, even if the source says yes."""

from __future__ import annotations

import csv
import typing as t
from collections.abc import Iterable, Iterator

from target_mainbrainer.contacts import OPT_INS, Contact, Identity, Mobile, fold_email
from target_mainbrainer.mapping.identifiers import parse_email, parse_mobile
from target_mainbrainer.mapping.values import InvalidValueError
from target_mainbrainer.words import examples, plain_name

_COLUMNS = {"email", "mobile", "mobilenumber"}

NO_OPT_INS: t.Final[frozenset[str]] = frozenset()
"""One for all contacts: each empty set would take 216 bytes."""


class Suppressions:
    """E-mail addresses and mobile numbers of people to whom no opt-in is sent as true.

    A listed address or number withholds both opt-ins of its contact. False is always sent.
    """

    def __init__(self, emails: Iterable[str] = (), mobiles: Iterable[Mobile] = ()) -> None:
        self._emails = frozenset(map(fold_email, emails))
        self._mobiles = frozenset(mobiles)

    def withheld(self, contact: Contact, *others: Contact | Identity) -> frozenset[str]:
        """Return the opt-ins that are true and must not be sent.

        A contact is recognised by the address and the number that it carries itself, in any
        spelling, or that `others` carry: with a contact id alone it is not.

        >>> from target_mainbrainer.contacts import Contact
        >>> suppressions = Suppressions(emails=["Kari@example.com"])
        >>> sorted(
        ...     suppressions.withheld(
        ...         Contact(email="kari@example.com", email_opt_in=True, mobile_opt_in=True)
        ...     )
        ... )
        ['email_opt_in', 'mobile_opt_in']

        Args:
            contact: As it would be sent.
            others: Further identities of the same person, such as an old address.
        """
        if not (self._emails or self._mobiles) or not any(map(self._lists, (contact, *others))):
            return NO_OPT_INS
        return frozenset(str(name) for name in OPT_INS if getattr(contact, name) is True)

    def _lists(self, person: Contact | Identity) -> bool:
        if person.email is not None and fold_email(person.email) in self._emails:
            return True
        return person.mobile in self._mobiles


def parse_suppressions(lines: Iterable[str]) -> Suppressions:
    """Read one e-mail address or international mobile number a line, or a CSV file.

    A file whose first line names a column `email`, `mobile` or `mobile_number` is read by these
    columns. Blank lines and those that start with `#` are left out.

    >>> from target_mainbrainer.contacts import Contact, Mobile
    >>> found = parse_suppressions(["# unsubscribed", "kari@example.com", "+44 7700 900123"])
    >>> found.withheld(Contact(mobile=Mobile(44, 7700900123), mobile_opt_in=True))
    frozenset({'mobile_opt_in'})
    >>> found = parse_suppressions(["Name;E-mail", "Nordmann, Kari;kari@example.com"])
    >>> found.withheld(Contact(email="kari@example.com", email_opt_in=True))
    frozenset({'email_opt_in'})

    Raises:
        ValueError: Lines contain neither; the message names their numbers, and nothing in them.
            Or a quote is not closed, or nothing is written there, or only the names of columns.
    """
    emails: list[str | None] = []
    mobiles: list[Mobile | None] = []
    bad: list[int] = []
    for number, value in _values(iter(lines)):
        try:
            if "@" in value:
                emails.append(parse_email(value))
            else:
                mobiles.append(parse_mobile(value))
        except InvalidValueError:
            bad.append(number)
    if bad:
        lines_named = examples([f"line {number:,}" for number in bad[:5]], len(bad))
        raise ValueError(
            "it has something else than an e-mail address or an international mobile number, such "
            f"as +47 and its digits{lines_named}"
        )
    if not (emails or mobiles):
        raise ValueError(
            "it is empty, as after an export that failed; if the list has no entries, begin the "
            "file with a line that starts with '#'"
        )
    return Suppressions(filter(None, emails), filter(None, mobiles))


def _values(lines: Iterator[str]) -> Iterator[tuple[int, str]]:
    """Yield every address or number with the number of its line, and "" for a comment."""
    for number, line in enumerate(lines, start=1):
        text = line.strip().removeprefix("\ufeff")
        if not text:
            continue
        if text.startswith("#"):
            yield number, ""
            continue
        delimiter = next((mark for mark in ";\t" if mark in text), ",")
        header = next(csv.reader([text], delimiter=delimiter))
        places = [at for at, name in enumerate(header) if plain_name(name.strip()) in _COLUMNS]
        if places:
            rows = csv.reader(lines, delimiter=delimiter, strict=True)
            yield from _cells(rows, places, number)
            return
        yield number, text


def _cells(rows: t.Any, places: list[int], header: int) -> Iterator[tuple[int, str]]:  # noqa: ANN401
    """Yield what is written in the columns at these places, else in any column of the row."""
    begun = header
    try:
        for row in rows:
            begun = header + rows.line_num
            cells = [text.strip() for text in row]
            written = list(filter(None, (cells[at] for at in places if at < len(cells))))
            yield from ((begun, text) for text in written or filter(None, cells))
    except csv.Error:
        raise ValueError(
            f"a quote in or after line {begun + 1:,} is not closed, or has text after it, so the "
            "people below it cannot be read"
        ) from None
