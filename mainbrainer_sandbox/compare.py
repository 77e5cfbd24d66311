"""Differences between two sandbox files: by field in a summary, and contact by contact.

Contacts are matched by what the CRM matches them on, mobile and e-mail together,
because contact ids are only the order in which contacts came. Several contacts of
one identity are matched in that order. Both files are read in order, so
memory does not grow with them.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from mainbrainer_sandbox.views import consent_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mainbrainer_sandbox.views import View

    Row = dict[str, Any]

_FIELDS = ("mobile_opt_in", "email_opt_in", "lists")
_PROPERTY = "property "


class Difference(msgspec.Struct):
    """A contact that differs.

    Attributes:
        change: `added` is only in the second file, `removed` only in the first.
        ids: The contact's id in the first and in the second file.
        fields: What differs, as `[field, before, after]`; a property as `property NAME`.
    """

    change: Literal["added", "removed", "changed"]
    mobile: str | None
    email: str | None
    ids: tuple[int | None, int | None]
    fields: list[tuple[str, Any, Any]]


def summary(differences: Iterable[Difference]) -> tuple[int, list[str]]:
    """Return how many contacts differ, and the counts by field, a line each."""
    counts, fields = Counter(added=0, removed=0, changed=0), Counter[str]()
    for one in differences:
        counts[one.change] += 1
        if one.change == "changed":
            fields.update(itertools.starmap(_change, one.fields))
    lines = [", ".join(f"{number:,} {change}" for change, number in counts.items())]
    lines += [f"{what}: {count:,}" for what, count in fields.most_common()]
    return counts.total(), lines


def _change(field: str, before: str | None, after: str | None) -> str:
    """Return how a field has changed; of a property, without its values."""
    if not field.startswith(_PROPERTY):
        return f"{field} {before} -> {after}"
    return f"{field} {'added' if before is None else 'removed' if after is None else 'changed'}"


def compare(first: View, second: View) -> Iterator[Difference]:
    """Return the differences between two sandbox files."""
    for before, after in _pairs(first.by_identity(), second.by_identity()):
        fields = list(_differing_fields(before, after))
        if before is not None and after is not None and not fields:
            continue
        one = before or after or {}
        yield Difference(
            "added" if before is None else "removed" if after is None else "changed",
            one["mobile"],
            one["email"],
            (before["id"] if before else None, after["id"] if after else None),
            fields,
        )


def _identity(contact: Row) -> tuple[int, int, str, int]:
    """Return what a contact is matched and sorted by; its id only if it has nothing else."""
    country, number = contact["mobile_country_code"] or 0, contact["mobile_number"] or 0
    email = contact["email"] or ""
    return country, number, email, 0 if number or email else contact["id"]


def _pairs(first: Iterable[Row], second: Iterable[Row]) -> Iterator[tuple[Row | None, Row | None]]:
    """Return contacts of equal identity together, and the others alone."""
    merged = heapq.merge(
        ((_identity(one), 0, one) for one in first),
        ((_identity(one), 1, one) for one in second),
        key=lambda found: found[:2],
    )
    for _, group in itertools.groupby(merged, lambda found: found[0]):
        sides: tuple[list[Row], list[Row]] = [], []
        for _, side, contact in group:
            sides[side].append(contact)
        yield from itertools.zip_longest(*sides)


def _differing_fields(before: Row | None, after: Row | None) -> Iterator[tuple[str, Any, Any]]:
    """Return what differs between two contacts, or all of a contact that is alone."""
    for field in _FIELDS:
        was, is_now = _text(before, field), _text(after, field)
        if was != is_now:
            yield field, was, is_now
    old, new = (one["properties"] if one else {} for one in (before, after))
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield f"{_PROPERTY}{name}", old.get(name), new.get(name)


def _text(contact: Row | None, field: str) -> str | None:
    if contact is None:
        return None
    if field == "lists":
        return " ".join(sorted(contact[field])) or "All contacts"
    return consent_text(contact[field])
