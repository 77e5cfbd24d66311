"""How MainBrainer finds, creates and changes contacts: no server, no file, no clock.

This is what happens after a batch was accepted. Rests on section 8 of the API
note; every place where the pages leave a choice asks a switch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from mainbrainer_sandbox.switches import Switches, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

INT64 = 2**63 - 1


class Sent(msgspec.Struct, array_like=True, gc=False):
    """A contact as a request sends it, after reading: what is None was not sent.

    Attributes:
        properties: Property key to new value; None clears the property.
        lists: The lists it joins besides "All contacts".
        clears: The fields to empty: `mobile`, `email`, `mobile_opt_in`, `email_opt_in`.
        skip: Why processing will skip it, or None.
    """

    contact_id: int | None = None
    country: int | None = None
    number: int | None = None
    email: str | None = None
    mobile_opt_in: bool | None = None
    email_opt_in: bool | None = None
    properties: dict[str, str | None] = {}
    lists: tuple[str, ...] = ()
    clears: tuple[str, ...] = ()
    skip: str | None = None


class Contact(msgspec.Struct, gc=False):
    """A contact as the CRM has it; an opt-in of None is "no consent"."""

    id: int
    country: int | None = None
    number: int | None = None
    email: str | None = None
    mobile_opt_in: bool | None = None
    email_opt_in: bool | None = None
    properties: dict[str, str] = {}
    lists: tuple[str, ...] = ()


class Property(msgspec.Struct, frozen=True, gc=False):
    """A property of the account; the key under which contacts hold it never changes."""

    key: str
    id: str | None = None
    name: str | None = None


class Properties:
    """The properties an account has, found by id or by name.

    Args:
        known: The properties it starts with.
        ignore_case: Whether names are found in any casing.
        parent: Properties to look in as well; what is added stays out of them, so
            that a request that is refused in the end has created nothing.
    """

    def __init__(
        self,
        known: Iterable[Property] = (),
        *,
        ignore_case: bool = False,
        parent: Properties | None = None,
    ) -> None:
        self.by_key: dict[str, Property] = {}
        self._by_id: dict[str, Property] = {}
        self._by_name: dict[str, Property] = {}
        self._parent = parent
        self.ignore_case: bool = parent.ignore_case if parent else ignore_case
        for one in known:
            self.add(one)

    def add(self, one: Property) -> None:
        """Add a property, or put it in the place of one with the same key."""
        self.by_key[one.key] = one
        if one.id is not None:
            self._by_id[one.id] = one
        if one.name is not None:
            self._by_name[self._fold(one.name)] = one

    def find(self, property_id: str | None, name: str | None) -> Property | None:
        """Return the property meant; an id that is given decides, whatever the name says."""
        if property_id is not None:
            found = self._by_id.get(property_id)
        else:
            found = self._by_name.get(self._fold(name or ""))
        if found is None and self._parent is not None:
            return self._parent.find(property_id, name)
        return found

    def create(self, property_id: str | None, name: str | None) -> Property:
        """Add a property that `find` does not find.

        One that is known by its name alone gets the id, so that a name sent with
        an id and without means one property.
        """
        same_name = None if name is None else self.find(None, name)
        if same_name is not None and same_name.id is None:
            made = Property(same_name.key, property_id, same_name.name)
        elif same_name is None and name is not None:
            made = Property(name, property_id, name)
        else:
            made = Property(f"id {property_id}", property_id, None)
        self.add(made)
        return made

    def _fold(self, name: str) -> str:
        return name.casefold() if self.ignore_case else name


def known_properties(switches: Switches) -> list[Property]:
    """Return the properties that the switch `known_properties` gives the account.

    >>> known_properties(Switches(known_properties="city"))
    [Property(key='city', id=None, name='city')]
    """
    known = []
    for word in words(switches.known_properties):
        name, _, property_id = word.partition("=")
        known.append(Property(name.strip(), property_id.strip().lower() or None, name.strip()))
    return known


def identity_keys(switches: Switches) -> Callable[[int | None, int | None, str | None], str]:
    """Return the function from mobile and e-mail to what the CRM matches them on.

    The three documented rules (mobile and e-mail: their combination; mobile
    alone: that mobile and a null e-mail; e-mail alone: that e-mail and a null
    mobile) are one: two contacts are the same if both fields are, null included.

    >>> key = identity_keys(Switches())
    >>> key(44, 7700900001, None) == key(44, 7700900001, "a@example.com")
    False
    """
    fold = switches.email_match == "ignore_case"
    with_country = switches.country_code_match == "yes"

    def key(country: int | None, number: int | None, email: str | None) -> str:
        if email is not None and fold:
            email = email.casefold()
        return f"{(country or '') if with_country else ''}|{number or ''}|{email or ''}"

    return key


class Applied(msgspec.Struct):
    """What processing a batch has done.

    Attributes:
        inserted, updated: Contact ids, one for each contact sent, in the order sent.
        skipped: The ids of skipped contacts that were sent with one.
        skip_reasons: Why contacts were skipped, one for each.
        new: Contacts that were created, as they are in the end.
        changed: Contacts that were changed, as they are in the end.
        history: For each change of a known contact its id and `{field: [from, to]}`.
        clashes: Places in the batch whose change gave a contact another one's identity.
        unknown_ids: Places in the batch that were sent with an id nobody has.
    """

    inserted: list[int] = []
    updated: list[int] = []
    skipped: list[int] = []
    skip_reasons: list[str] = []
    new: dict[int, Contact] = {}
    changed: dict[int, Contact] = {}
    history: list[tuple[int, dict[str, Any]]] = []
    clashes: list[int] = []
    unknown_ids: list[int] = []


class Known:
    """The contacts a batch can touch, found by id or by identity.

    Args:
        contacts: All that have an id or an identity the batch sends.
        switches: Decide what an identity is.
    """

    def __init__(self, contacts: Iterable[Contact], switches: Switches) -> None:
        self.key_of = identity_keys(switches)
        self.by_id: dict[int, Contact] = {}
        self._by_key: dict[str, list[int]] = {}
        for contact in contacts:
            self.add(contact)

    def add(self, contact: Contact) -> None:
        """Make a contact known."""
        self.by_id[contact.id] = contact
        self.index(contact)

    def index(self, contact: Contact) -> None:
        """Make a contact that is known by its id known by its identity too."""
        key = self.key_of(contact.country, contact.number, contact.email)
        self._by_key.setdefault(key, []).append(contact.id)

    def unindex(self, contact: Contact) -> None:
        """Forget a contact's identity, before it changes."""
        key = self.key_of(contact.country, contact.number, contact.email)
        self._by_key[key].remove(contact.id)

    def same_identity(self, sent: Sent | Contact) -> int | None:
        """Return the oldest contact with the same identity; which one the CRM takes is unknown."""
        ids = self._by_key.get(self.key_of(sent.country, sent.number, sent.email))
        return min(ids) if ids else None


def keys_to_look_up(
    batch: Sequence[Sent], found: Iterable[Contact], switches: Switches
) -> set[str]:
    """Return the identities whose contacts `apply` must know.

    Args:
        batch: The contacts sent.
        found: The contacts that have an id the batch sends.
        switches: Decide what an identity is.
    """
    key = identity_keys(switches)
    keys = set()
    after: dict[int, tuple[int | None, int | None, str | None]] = {
        one.id: (one.country, one.number, one.email) for one in found
    }
    for sent in batch:
        if sent.contact_id is None:
            keys.add(key(sent.country, sent.number, sent.email))
        else:
            identity = identity_after(after.get(sent.contact_id, (None, None, None)), sent)
            after[sent.contact_id] = identity
            keys.add(key(*identity))
    return keys


def apply(
    batch: Sequence[Sent], known: Known, switches: Switches, new_ids: Callable[[], int]
) -> Applied:
    """Process a batch against the contacts it can touch, in the order sent.

    Args:
        batch: The contacts sent.
        known: The contacts with an id or an identity of the batch; is changed.
        switches: Decide where the pages leave a choice.
        new_ids: Returns an id that no contact has.
    """
    run = _Run(known, switches, new_ids)
    for place, sent in enumerate(batch):
        if sent.skip is not None:
            run.skip(sent, sent.skip)
        elif sent.contact_id is None:
            contact_id = known.same_identity(sent)
            if contact_id is None:
                run.create(sent, new_ids())
            else:
                run.update(place, sent, known.by_id[contact_id])
        elif sent.contact_id in known.by_id:
            run.update(place, sent, known.by_id[sent.contact_id])
        else:
            run.unknown_id(place, sent, sent.contact_id)
    return run.done


class _Run:
    """One batch being processed."""

    def __init__(self, known: Known, switches: Switches, new_ids: Callable[[], int]) -> None:
        self.done = Applied()
        self._known = known
        self._switches = switches
        self._new_ids = new_ids
        self._consent = True if switches.opt_in_on_insert == "true" else None
        # A contact of this very batch is found like any other, unless each is to create its own.
        self._finds_new = switches.duplicates != "create_both"

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
        contact = _created(sent, contact_id, self._consent)
        self.done.inserted.append(contact_id)
        self.done.new[contact_id] = contact
        self._known.by_id[contact_id] = contact
        if self._finds_new:
            self._known.index(contact)

    def update(self, place: int, sent: Sent, contact: Contact) -> None:
        is_new = contact.id in self.done.new
        changes = _changes(contact, sent, self._switches)
        moves = "mobile" in changes or "email" in changes
        if moves:
            after = identity_after((contact.country, contact.number, contact.email), sent)
            other = self._known.same_identity(Contact(contact.id, *after))
            if other is not None and other != contact.id:
                self.done.clashes.append(place)
                if self._switches.clash == "conflict":
                    self.skip(sent, "Another contact has this mobile and e-mail.")
                    return
        self.done.updated.append(contact.id)
        if not changes:
            return
        found_by_identity = self._finds_new or not is_new
        if moves and found_by_identity:
            self._known.unindex(contact)
        _change(contact, sent, changes)
        if moves and found_by_identity:
            self._known.index(contact)
        if not is_new:
            self.done.changed[contact.id] = contact
        self.done.history.append((contact.id, changes))


def identity_after(
    before: tuple[int | None, int | None, str | None], sent: Sent
) -> tuple[int | None, int | None, str | None]:
    """Return country code, number and e-mail as they are once this was applied."""
    country, number, email = before
    if sent.number is not None:
        number = sent.number
        if sent.country is not None:  # what is not sent stays as it is (API note, section 8.2)
            country = sent.country
    elif "mobile" in sent.clears:
        country = number = None
    if sent.email is not None:
        email = sent.email
    elif "email" in sent.clears:
        email = None
    return country, number, email


def _created(sent: Sent, contact_id: int, consent: bool | None) -> Contact:  # noqa: FBT001
    return Contact(
        contact_id,
        sent.country if sent.number is not None else None,
        sent.number,
        sent.email,
        consent if sent.mobile_opt_in is None else sent.mobile_opt_in,
        consent if sent.email_opt_in is None else sent.email_opt_in,
        {key: value for key, value in sent.properties.items() if value is not None},
        sent.lists,
    )


def _changes(contact: Contact, sent: Sent, switches: Switches) -> dict[str, Any]:
    """Return what would change as `{field: [from, to]}`; what is not sent stays as it is."""
    changes: dict[str, Any] = {}
    country, number, email = identity_after((contact.country, contact.number, contact.email), sent)
    if (country, number) != (contact.country, contact.number):
        changes["mobile"] = [
            mobile_text(contact.country, contact.number),
            mobile_text(country, number),
        ]
    if email != contact.email:
        changes["email"] = [contact.email, email]
    reset = switches.opt_in_on_update == "reset"
    for field in ("mobile_opt_in", "email_opt_in"):
        had, has = getattr(contact, field), getattr(sent, field)
        if had is not has and (has is not None or reset or field in sent.clears):
            changes[field] = [had, has]
    have = contact.properties
    properties = {
        key: [have.get(key), value]
        for key, value in sent.properties.items()
        if have.get(key) != value
    }
    if properties:
        changes["properties"] = properties
    joined = [one for one in sent.lists if one not in contact.lists]
    if joined:
        changes["lists"] = [list(contact.lists), [*contact.lists, *joined]]
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
        merged = dict(contact.properties)
        for key, (_, value) in changes["properties"].items():
            if value is None:
                merged.pop(key, None)
            else:
                merged[key] = value
        contact.properties = merged
    if "lists" in changes:
        contact.lists = tuple(changes["lists"][1])


def undo(contact: Contact, history: Iterable[dict[str, Any]]) -> Contact:
    """Return a contact as it was created, by undoing its changes, the newest first.

    This is why the file need not hold what an insert wrote.

    >>> undo(Contact(1, email="b@example.com"), [{"email": ["a@example.com", "b@example.com"]}])
    ...     # doctest: +ELLIPSIS
    Contact(id=1, country=None, number=None, email='a@example.com', ...
    """
    was = msgspec.structs.replace(contact, properties=dict(contact.properties))
    for changes in history:
        if "mobile" in changes:
            was.country, was.number = mobile_parts(changes["mobile"][0])
        if "email" in changes:
            was.email = changes["email"][0]
        if "mobile_opt_in" in changes:
            was.mobile_opt_in = changes["mobile_opt_in"][0]
        if "email_opt_in" in changes:
            was.email_opt_in = changes["email_opt_in"][0]
        for key, (before, _) in changes.get("properties", {}).items():
            if before is None:
                was.properties.pop(key, None)
            else:
                was.properties[key] = before
        if "lists" in changes:
            was.lists = tuple(changes["lists"][0])
    return was


def mobile_text(country: int | None, number: int | None) -> str | None:
    """Return a mobile number as people write it.

    >>> mobile_text(44, 7700900001)
    '+44 7700900001'
    """
    return None if number is None else f"+{country} {number}"


def mobile_parts(text: str | None) -> tuple[int | None, int | None]:
    """Return country code and national number of what `mobile_text` has written.

    >>> mobile_parts("+44 7700900001")
    (44, 7700900001)
    """
    if text is None:
        return None, None
    country, _, number = text[1:].partition(" ")
    return (int(country) if country != "None" else None), int(number)
