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


Identity = tuple[int | None, int | None, str | None]


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
        history: For each such change the contact's id and `{field: [from, to]}`; a
            creation has the identity and the consents, not the properties.
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
        self._by_key: dict[str, list[int]] = {}
        for contact in contacts:
            self.add(contact)

    def add(self, contact: Contact) -> None:
        """Make a contact known by its id and its identity."""
        self.by_id[contact.id] = contact
        self._by_key.setdefault(_key(contact), []).append(contact.id)

    def forget_identity(self, contact: Contact) -> None:
        """Forget a contact's identity, before it changes."""
        self._by_key[_key(contact)].remove(contact.id)

    def with_identity(self, *identity: *Identity) -> int | None:
        """Return the oldest contact with an identity; which one the CRM takes is unknown."""
        ids = self._by_key.get(identity_key(*identity))
        return min(ids) if ids else None


def _key(contact: Contact) -> str:
    return identity_key(contact.country, contact.number, contact.email)


def keys_to_look_up(batch: Sequence[Sent], found: Iterable[Contact]) -> set[str]:
    """Return the identities whose contacts `apply` must know.

    Args:
        batch: The contacts sent.
        found: The contacts that have an id that the batch sends.
    """
    keys = set()
    after: dict[int, Identity] = {one.id: (one.country, one.number, one.email) for one in found}
    for sent in batch:
        if sent.contact_id is None:
            keys.add(identity_key(sent.country, sent.number, sent.email))
        else:
            identity = identity_after(after.get(sent.contact_id, (None, None, None)), sent)
            after[sent.contact_id] = identity
            keys.add(identity_key(*identity))
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
        contact_id = sent.contact_id
        if place < skip_first:
            run.skip(sent, "The sandbox was told to skip it.")
            continue
        if contact_id is None:
            contact_id = known.with_identity(sent.country, sent.number, sent.email)
            if contact_id is None:
                run.create(sent, new_ids())
                continue
        contact = known.by_id.get(contact_id)
        if contact is not None:
            run.update(place, sent, contact)
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
        self._consent = True if switches.opt_in_on_insert == "true" else None

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
        contact = Contact(
            contact_id,
            sent.country,
            sent.number,
            sent.email,
            self._consent if sent.mobile_opt_in is None else sent.mobile_opt_in,
            self._consent if sent.email_opt_in is None else sent.email_opt_in,
            {key: value for key, value in sent.properties.items() if value is not None},
            [sent.list_id] if sent.list_id else [],
        )
        self.done.inserted.append(contact_id)
        self.done.touched[contact_id] = contact
        self._known.add(contact)
        changes = {
            "id": [None, contact_id],
            "mobile": [None, mobile_text(contact.country, contact.number)],
            "email": [None, contact.email],
            "mobile_opt_in": [None, contact.mobile_opt_in],
            "email_opt_in": [None, contact.email_opt_in],
        }
        self.done.history.append((contact_id, changes))

    def update(self, place: int, sent: Sent, contact: Contact) -> None:
        changes = _changes(contact, sent, self._switches)
        moves = "mobile" in changes or "email" in changes
        if moves:
            after = identity_after((contact.country, contact.number, contact.email), sent)
            other = self._known.with_identity(*after)
            if other is not None and other != contact.id:
                self.done.clashes.append(place)
                if self._switches.clash == "conflict":
                    self.skip(sent, "Another contact has this mobile and e-mail.")
                    return
        self.done.updated.append(contact.id)
        if not changes:
            return
        if moves:
            self._known.forget_identity(contact)
        _change(contact, sent, changes)
        if moves:
            self._known.add(contact)
        self.done.touched[contact.id] = contact
        self.done.history.append((contact.id, changes))


def identity_after(before: Identity, sent: Sent) -> Identity:
    """Return country code, number and e-mail as they are once this was applied."""
    country, number, email = before
    if sent.number is not None:
        country, number = sent.country, sent.number
    if sent.email is not None:
        email = sent.email
    return country, number, email


def _changes(contact: Contact, sent: Sent, switches: Switches) -> dict[str, Any]:
    """Return what would change as `{field: [from, to]}`; what is not sent stays as it is."""
    changes: dict[str, Any] = {}
    country, number, email = identity_after((contact.country, contact.number, contact.email), sent)
    if (country, number) != (contact.country, contact.number):
        before = mobile_text(contact.country, contact.number)
        changes["mobile"] = [before, mobile_text(country, number)]
    if email != contact.email:
        changes["email"] = [contact.email, email]
    resets = switches.opt_in_on_update == "reset"
    for field in ("mobile_opt_in", "email_opt_in"):
        had, has = getattr(contact, field), getattr(sent, field)
        if had is not has and (has is not None or resets):
            changes[field] = [had, has]
    have = contact.properties
    properties = {
        key: [have.get(key), value]
        for key, value in sent.properties.items()
        if have.get(key) != value
    }
    if properties:
        changes["properties"] = properties
    if sent.list_id is not None and sent.list_id not in contact.lists:
        changes["lists"] = [contact.lists, [*contact.lists, sent.list_id]]
    return changes


def _change(contact: Contact, sent: Sent, changes: dict[str, Any]) -> None:
    if "mobile" in changes or "email" in changes:
        contact.country, contact.number, contact.email = identity_after(
            (contact.country, contact.number, contact.email), sent
        )
    if "mobile_opt_in" in changes:
        contact.mobile_opt_in = sent.mobile_opt_in
    if "email_opt_in" in changes:
        contact.email_opt_in = sent.email_opt_in
    if "properties" in changes:
        merged = contact.properties | {key: to for key, (_, to) in changes["properties"].items()}
        contact.properties = {key: value for key, value in merged.items() if value is not None}
    if "lists" in changes:
        contact.lists = changes["lists"][1]


def mobile_text(country: int | None, number: int | None) -> str | None:
    """Return a mobile number as people write it.

    >>> mobile_text(44, 7700900001)
    '+44 7700900001'
    """
    return None if number is None else f"+{country} {number}"
