"""How MainBrainer finds, creates and changes contacts: no server, no file, no clock.

This is what happens after a batch was accepted. Rests on section 8 of the API
note; where the pages leave a choice, a switch decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mainbrainer_sandbox.switches import Switches

INT64 = 2**63 - 1
# The names that the samples of the API pages use.
DEFAULT_PROPERTIES = ("firstname", "lastname", "interest", "company", "Street", "city", "state")


class Sent(msgspec.Struct, array_like=True, gc=False):
    """A contact as a request sends it, after reading: what is None was not sent.

    Attributes:
        properties: Property key to new value; None clears the property.
        list_id: The list it joins besides "All contacts".
    """

    contact_id: int | None = None
    country: int | None = None
    number: int | None = None
    email: str | None = None
    mobile_opt_in: bool | None = None
    email_opt_in: bool | None = None
    properties: dict[str, str | None] = {}
    list_id: str | None = None


class Contact(msgspec.Struct, gc=False):
    """A contact as the CRM has it; an opt-in of None is "no consent"."""

    id: int
    country: int | None = None
    number: int | None = None
    email: str | None = None
    mobile_opt_in: bool | None = None
    email_opt_in: bool | None = None
    properties: dict[str, str] = {}
    lists: list[str] = []


class Properties:
    """The properties of an account: what a request calls them, and what they are shown as.

    Args:
        known: Names and ids to the name that the property is shown as, or else its id.
        parent: Properties to look in as well; what is added stays out of them, so
            that a request that is refused in the end has created nothing.
    """

    def __init__(
        self, known: Mapping[str, str] | None = None, parent: Properties | None = None
    ) -> None:
        self.known = dict(known or {})
        self._parent = parent

    def find(self, given: str | None) -> str | None:
        """Return what the property with a name or an id is shown as, or None."""
        if given is None:
            return None
        found = self.known.get(given)
        return self._parent.find(given) if found is None and self._parent else found

    def create(self, property_id: str | None, name: str | None) -> str:
        """Add a property; a known name that comes with an id keeps its property."""
        shown = self.find(name) or name or property_id or ""
        self.known |= {given: shown for given in (property_id, name) if given is not None}
        return shown


def identity_key(country: int | None, number: int | None, email: str | None) -> str:
    """Return what the CRM matches contacts on.

    The three documented rules (mobile and e-mail: their combination; mobile
    alone: that mobile and a null e-mail; e-mail alone: that e-mail and a null
    mobile) are one: two contacts are the same if both fields are, null included.
    Whether casing matters is unknown; here it does, which shows the duplicates.

    >>> identity_key(44, 7700900001, None) == identity_key(44, 7700900001, "a@example.com")
    False
    """
    return f"{country or ''}|{number or ''}|{email or ''}"


class Applied(msgspec.Struct):
    """What processing a batch has done.

    Attributes:
        inserted, updated: Contact ids, one for each contact sent, in the order sent.
        skipped: The ids of skipped contacts that were sent with one.
        skip_reasons: Why contacts were skipped, one for each.
        touched: Contacts that were created or changed, as they are in the end.
        history: For each such change the contact's id and `changes_between`.
        clashes: Places in the batch whose change gave a contact another one's identity.
        unknown_ids: Places in the batch that were sent with an id that no contact has.
    """

    inserted: list[int] = []
    updated: list[int] = []
    skipped: list[int] = []
    skip_reasons: list[str] = []
    touched: dict[int, Contact] = {}
    history: list[tuple[int, dict[str, Any]]] = []
    clashes: list[int] = []
    unknown_ids: list[int] = []


class Known:
    """The contacts that a batch can touch, found by id or by identity."""

    def __init__(self, contacts: Iterable[Contact]) -> None:
        self.by_id: dict[int, Contact] = {}
        self._ids: dict[str, set[int]] = {}
        for contact in contacts:
            self.put(contact)

    def put(self, contact: Contact) -> None:
        """Make a contact known, in place of the one with its id."""
        before = self.by_id.get(contact.id)
        if before is not None:
            self._ids[_key(before)].remove(contact.id)
        self.by_id[contact.id] = contact
        self._ids.setdefault(_key(contact), set()).add(contact.id)

    def with_identity(self, one: Sent | Contact) -> int | None:
        """Return the oldest contact with an identity; which one the CRM takes is unknown."""
        return min(self._ids.get(_key(one), ()), default=None)


def _key(one: Sent | Contact) -> str:
    return identity_key(one.country, one.number, one.email)


def keys_to_look_up(batch: Sequence[Sent], found: Iterable[Contact]) -> set[str]:
    """Return the identities whose contacts `apply` must know.

    Args:
        batch: The contacts sent.
        found: The contacts that have an id that the batch sends.
    """
    keys = set()
    contacts = {one.id: one for one in found}
    for sent in batch:
        if sent.contact_id is None:
            keys.add(_key(sent))
        else:
            before = contacts.get(sent.contact_id, Contact(sent.contact_id))
            contacts[sent.contact_id] = after = upserted(before, sent)
            keys.add(_key(after))
    return keys


def apply(
    batch: Sequence[Sent],
    known: Known,
    switches: Switches,
    new_ids: Callable[[], int],
    *,
    skip_first: int = 0,
) -> Applied:
    """Process a batch against the contacts it can touch, in the order sent.

    Args:
        batch: The contacts sent.
        known: The contacts with an id or an identity of the batch; is changed.
        switches: Decide where the pages leave a choice.
        new_ids: Returns an id that no contact has.
        skip_first: How many contacts to skip, whatever they are.
    """
    run = _Run(known, switches, new_ids)
    for place, sent in enumerate(batch):
        contact_id = known.with_identity(sent) if sent.contact_id is None else sent.contact_id
        if place < skip_first:
            run.skip(sent, "The sandbox was told to skip it.")
        elif contact_id is None:
            run.create(sent, new_ids())
        elif contact_id in known.by_id:
            run.update(place, sent, known.by_id[contact_id])
        else:
            run.unknown_id(place, sent, contact_id)
    return run.done


class _Run:
    """One batch being processed."""

    def __init__(self, known: Known, switches: Switches, new_ids: Callable[[], int]) -> None:
        self.done = Applied()
        self._known = known
        self._switches = switches
        self._new_ids = new_ids

    def skip(self, sent: Sent, reason: str) -> None:
        self.done.skip_reasons.append(reason)
        if sent.contact_id is not None:
            self.done.skipped.append(sent.contact_id)

    def unknown_id(self, place: int, sent: Sent, contact_id: int) -> None:
        self.done.unknown_ids.append(place)
        policy = self._switches.unknown_contact_id
        if policy == "create":
            self.create(sent, contact_id)
        elif policy == "create_new_id":
            self.create(sent, self._new_ids())
        else:
            self.skip(sent, "No contact has this contact id.")

    def create(self, sent: Sent, contact_id: int) -> None:
        consent = True if self._switches.opt_in_on_insert == "true" else None
        empty = Contact(contact_id, mobile_opt_in=consent, email_opt_in=consent)
        self.done.inserted.append(contact_id)
        self._put(empty, upserted(empty, sent), is_new=True)

    def update(self, place: int, sent: Sent, contact: Contact) -> None:
        after = upserted(contact, sent, resets=self._switches.opt_in_on_update == "reset")
        if _key(after) != _key(contact) and self._known.with_identity(after) is not None:
            self.done.clashes.append(place)
            if self._switches.clash == "conflict":
                self.skip(sent, "Another contact has this mobile and e-mail.")
                return
        self.done.updated.append(contact.id)
        if after != contact:
            self._put(contact, after)

    def _put(self, before: Contact, after: Contact, *, is_new: bool = False) -> None:
        self._known.put(after)
        self.done.touched[after.id] = after
        self.done.history.append((after.id, changes_between(before, after, is_new=is_new)))


def upserted(contact: Contact, sent: Sent, *, resets: bool = False) -> Contact:
    """Return a contact as it is once this was applied; what is not sent stays as it was.

    Args:
        contact: What the CRM has.
        sent: What a request sends.
        resets: Whether an opt-in that is not sent is reset, nonetheless, to "no consent".
    """
    properties, lists = contact.properties, contact.lists
    if sent.properties:
        merged = {**properties, **sent.properties}
        properties = {key: value for key, value in merged.items() if value is not None}
    if sent.list_id is not None and sent.list_id not in lists:
        lists = [*lists, sent.list_id]
    has_mobile = sent.number is not None

    def consent(had: bool | None, has: bool | None) -> bool | None:  # noqa: FBT001
        return had if has is None and not resets else has

    return Contact(
        contact.id,
        sent.country if has_mobile else contact.country,
        sent.number if has_mobile else contact.number,
        contact.email if sent.email is None else sent.email,
        consent(contact.mobile_opt_in, sent.mobile_opt_in),
        consent(contact.email_opt_in, sent.email_opt_in),
        properties,
        lists,
    )


def changes_between(before: Contact, after: Contact, *, is_new: bool = False) -> dict[str, Any]:
    """Return what differs as `{field: [from, to]}`; of a new contact, without its properties."""
    changes: dict[str, Any] = {"id": [None, after.id]} if is_new else {}
    was, is_now = (mobile_text(one.country, one.number) for one in (before, after))
    if was != is_now:
        changes["mobile"] = [was, is_now]
    for field in ("email", "mobile_opt_in", "email_opt_in", "lists"):
        had, has = getattr(before, field), getattr(after, field)
        if had != has:
            changes[field] = [had, has]
    if not is_new and before.properties != after.properties:
        had, has = before.properties, after.properties
        changes["properties"] = {
            name: [had.get(name), has.get(name)]
            for name in {**had, **has}
            if had.get(name) != has.get(name)
        }
    return changes


def mobile_text(country: int | None, number: int | None) -> str | None:
    """Return a mobile number as people write it.

    >>> mobile_text(44, 7700900001)
    '+44 7700900001'
    """
    return None if number is None else f"+{country} {number}"
