"""What a response names as invalid: contacts and properties, in whatever form it names them.

Responses that accept a batch and those that refuse it carry the same two lists under several
names (API note, sections 4.2 and 5). No page says what an entry looks like.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from target_mainbrainer.api.lenient_json import all_named, folded, integer_of, items_of, text_of

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from target_mainbrainer.contacts import PropertyRef

_CONTACTS = ("invalidcontactids", "invalidcontactidlist")
_PROPERTIES = ("invalidproperties", "invalidpropertieslist")
_ID_KEYS = ("contactid", "contactids", "id", "ids")
_BETWEEN = re.compile(r"[,;\s]+")
_DEEPEST = 5


@dataclass(frozen=True)
class InvalidContacts:
    """The contacts that a response names as invalid; none of them is "fine" (API note, C5).

    Attributes:
        ids: Those named by an integer, in whatever way it is written.
        unreadable: How many entries name a contact in another way: an e-mail address, a UUID.
    """

    ids: frozenset[int] = frozenset()
    unreadable: int = 0


class InvalidProperty(t.NamedTuple):
    """A property that a response complains about, as far as the response names it."""

    property_id: str | None
    name: str | None
    value: str | None = None


def invalid_contacts(data: Mapping[str, t.Any]) -> InvalidContacts:
    """Return the contacts that the `data` of a response names as invalid.

    >>> invalid_contacts({"InvalidContactIds": [17, "18,19", {"contactId": "20"}, "a@b.example"]})
    InvalidContacts(ids=frozenset({17, 18, 19, 20}), unreadable=1)
    """
    entries = [
        entry
        for value in all_named(data, *_CONTACTS)
        if value != ""
        for item in items_of(value)
        for entry in _entries(item)
    ]
    ids = frozenset(entry for entry in entries if entry is not None)
    return InvalidContacts(ids, sum(entry is None for entry in entries))


def _entries(item: object, depth: int = 0) -> Iterator[int | None]:
    """Yield the ids in one entry of a list, None for each that is no integer."""
    if depth < _DEEPEST and isinstance(item, list):
        for inner in item:
            yield from _entries(inner, depth + 1)
    elif depth < _DEEPEST and isinstance(item, dict) and item:
        # Either an object that holds an id, or ids as keys, with what is wrong as values.
        for inner in all_named(item, *_ID_KEYS) or list(item):
            yield from _entries(inner, depth + 1)
    elif isinstance(item, str) and item.strip():
        yield from map(integer_of, filter(None, _BETWEEN.split(item.strip())))
    else:
        yield integer_of(item)


def invalid_properties(data: Mapping[str, t.Any]) -> tuple[InvalidProperty, ...]:
    """Return the properties that the `data` of a response names as invalid.

    >>> invalid_properties({"invalidProperties": ["zip", {"propertyId": "8e8b"}]})
    ... # doctest: +NORMALIZE_WHITESPACE
    (InvalidProperty(property_id=None, name='zip', value=None),
     InvalidProperty(property_id='8e8b', name=None, value=None))
    """
    return tuple(
        found
        for value in all_named(data, *_PROPERTIES)
        for item in items_of(value)
        if (found := _invalid_property(item)) is not None
    )


def _invalid_property(item: object) -> InvalidProperty | None:
    if isinstance(item, dict):
        named = folded(item)
        value = named.get("propertyvalue")
        return InvalidProperty(
            text_of(named.get("propertyid")) or None,
            text_of(named.get("propertyname")) or None,
            value if isinstance(value, str) else None,
        )
    text = text_of(item)
    return InvalidProperty(None, text) if text else None


def properties_sent(
    named: Iterable[InvalidProperty], sent: Iterable[PropertyRef]
) -> tuple[frozenset[str], int]:
    """Return the names or ids of the properties meant, as we sent them, and how many are unknown.

    What a response calls a property may be anything, a person's data too. Only what was in the
    request may be shown; everything else is a number.

    >>> from target_mainbrainer.contacts import PropertyRef
    >>> named = [InvalidProperty(None, "ZIP"), InvalidProperty(None, "Kari Nordmann")]
    >>> properties_sent(named, [PropertyRef(None, "zip")])
    (frozenset({'zip'}), 1)
    """
    refs = set(sent)
    shown: set[str] = set()
    unknown = 0
    for one in set(named):
        meant = {ref.name or ref.property_id or "" for ref in refs if is_meant(ref, one)}
        shown |= meant
        unknown += not meant
    return frozenset(shown), unknown


def is_meant(ref: PropertyRef, named: InvalidProperty) -> bool:
    """Return whether a response means this property: by id where both have one, else by name.

    Where a response lists bare texts, an id looks like a name.
    """
    property_id, name = ((part or "").casefold() for part in ref)
    if property_id and named.property_id:
        return property_id == named.property_id.casefold()
    return bool(named.name) and (named.name or "").casefold() in (property_id, name)
