"""How MainBrainer finds, creates and changes contacts: no server, no file, no clock.

This happens after a batch was accepted. It rests on section 8 of the API note; where the
pages leave a choice, a switch decides.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mainbrainer_sandbox.switches import Switches

INT64 = 2**63 - 1
# What people can edit of a contact besides its properties.
EDITABLE = {"mobile", "email", "mobile_opt_in", "email_opt_in"}
_OPT_INS = {"true": True, "false": False, "": None}
# The names that the samples of the API pages use.
_NAMES = ("firstname", "lastname", "interest", "company", "Street", "city", "state")
DEFAULT_PROPERTIES = {name: name for name in _NAMES}


class Sent(msgspec.Struct, array_like=True, gc=False):
    """A contact as a request sends it, after reading: what is None was not sent.

    Attributes:
        properties: Property key to new value; None clears the property.
        list_id: The list it joins besides "All contacts".
    """

    contact_id: int | None = None
    mobile_country_code: int | None = None
    mobile_number: int | None = None
    email: str | None = None
    mobile_opt_in: bool | None = None
    email_opt_in: bool | None = None
    properties: dict[str, str | None] = {}
    list_id: str | None = None


class Contact(msgspec.Struct, gc=False):
    """A contact as the CRM has it; an opt-in of None is "no consent"."""

    id: int
    mobile_country_code: int | None = None
    mobile_number: int | None = None
    email: str | None = None
    mobile_opt_in: bool | None = None
    email_opt_in: bool | None = None
    properties: dict[str, str] = {}
    lists: list[str] = []


def identity_of(one: Sent | Contact) -> str:
    """Return what the CRM matches contacts on.

    The three documented rules (mobile and e-mail: their combination; mobile
    alone: that mobile and a null e-mail; e-mail alone: that e-mail and a null
    mobile) are one: two contacts are the same if both fields are, null included.
    Whether casing matters is unknown; here it does, which shows the duplicates.

    >>> identity_of(Sent(email="a@example.com")) == identity_of(Contact(7, email="A@example.com"))
    False
    """
    return f"{one.mobile_country_code or ''}|{one.mobile_number or ''}|{one.email or ''}"


class Applied(msgspec.Struct):
    """The result of processing a batch.

    Attributes:
        inserted, updated: Contact ids, one for each contact sent, in the order sent.
        skipped: The ids of skipped contacts that were sent with one.
        skip_reasons: Why contacts were skipped, one for each.
        touched: Contacts that were created or changed, as they are in the end.
        history: For each such change the contact's id, and the contact before it; None if new.
        clashes: Places in the batch whose change gave a contact another one's identity.
        unknown_ids: Places in the batch that were sent with an id that no contact has.
    """

    inserted: list[int] = []
    updated: list[int] = []
    skipped: list[int] = []
    skip_reasons: list[str] = []
    touched: dict[int, Contact] = {}
    history: list[tuple[int, Contact | None]] = []
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
            self._ids[identity_of(before)].remove(contact.id)
        self.by_id[contact.id] = contact
        self._ids.setdefault(identity_of(contact), set()).add(contact.id)

    def with_identity(self, one: Sent | Contact) -> int | None:
        """Return the oldest contact with an identity; which one the CRM updates is unknown."""
        return min(self._ids.get(identity_of(one), ()), default=None)


def identities_to_look_up(batch: Sequence[Sent], found: Iterable[Contact]) -> set[str]:
    """Return the identities whose contacts `apply` must know.

    Args:
        batch: The contacts sent.
        found: The contacts that have an id that the batch sends.
    """
    identities = set()
    contacts = {one.id: one for one in found}
    for sent in batch:
        if sent.contact_id is None:
            identities.add(identity_of(sent))
        else:
            before = contacts.get(sent.contact_id, Contact(sent.contact_id))
            contacts[sent.contact_id] = after = upserted(before, sent)
            identities.add(identity_of(after))
    return identities


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
        skip_first: How many contacts to skip, of any kind.
    """
    done = Applied()
    for place, sent in enumerate(batch):
        contact_id = known.with_identity(sent) if sent.contact_id is None else sent.contact_id
        before = None if contact_id is None else known.by_id.get(contact_id)
        after: Contact | str
        if place < skip_first:
            after = "A fault set in the sandbox skips it."
        elif before is not None:
            after = upserted(before, sent, resets=switches.opt_in_on_update == "reset")
            is_moved = identity_of(after) != identity_of(before)
            if is_moved and known.with_identity(after) is not None:
                done.clashes.append(place)
                if switches.clash == "conflict":
                    after = "Another contact has this mobile and e-mail."
        else:
            if contact_id is not None:
                done.unknown_ids.append(place)
            after = _created(sent, contact_id, switches, new_ids)
        if isinstance(after, str):
            done.skip_reasons.append(after)
            done.skipped += [] if sent.contact_id is None else [sent.contact_id]
            continue
        (done.updated if before else done.inserted).append(after.id)
        if after != before:
            known.put(after)
            done.touched[after.id] = after
            done.history.append((after.id, before))
    return done


def _created(
    sent: Sent, contact_id: int | None, switches: Switches, new_ids: Callable[[], int]
) -> Contact | str:
    """Return a new contact, or why there is none."""
    policy = switches.unknown_contact_id
    if contact_id is not None and not policy.startswith("create"):
        return "No contact has this contact id."
    if contact_id is None or policy == "create_new_id":
        contact_id = new_ids()
    consent = True if switches.opt_in_on_insert == "true" else None
    return upserted(Contact(contact_id, mobile_opt_in=consent, email_opt_in=consent), sent)


def upserted(contact: Contact, sent: Sent, *, resets: bool = False) -> Contact:
    """Return a contact as it is once this was applied; what is not sent stays as it was.

    Args:
        contact: What the CRM has.
        sent: What a request sends.
        resets: Whether an opt-in that is not sent is reset to "no consent".
    """
    properties, lists = contact.properties, contact.lists
    if sent.properties:
        merged = {**properties, **sent.properties}
        properties = {key: value for key, value in merged.items() if value is not None}
    if sent.list_id is not None and sent.list_id not in lists:
        lists = [*lists, sent.list_id]
    number = contact if sent.mobile_number is None else sent

    def consent(had: bool | None, has: bool | None) -> bool | None:  # noqa: FBT001
        return had if has is None and not resets else has

    return Contact(
        contact.id,
        number.mobile_country_code,
        number.mobile_number,
        contact.email if sent.email is None else sent.email,
        consent(contact.mobile_opt_in, sent.mobile_opt_in),
        consent(contact.email_opt_in, sent.email_opt_in),
        properties,
        lists,
    )


def edited(contact: Contact, changes: dict[str, Any]) -> Contact:
    """Return a contact after an edit by hand; None or "" empties a field.

    Args:
        contact: The contact before.
        changes: New values of properties by name, and of the fields in `EDITABLE`. The mobile
            number is written as `mobile_text` writes it; an opt-in can be "true" or "false".

    Raises:
        ValueError: A value cannot be one of its field.

    >>> edited(Contact(1, email="a@example.com"), {"mobile": "+44 7700900001"}).mobile_number
    7700900001
    """
    fields: dict[str, Any] = {"properties": dict(contact.properties)}
    for name, value in changes.items():
        text = "" if value is None else str(value)
        if name == "mobile":
            shape = re.fullmatch(r"(?:\+([1-9]\d{0,2}) (\d{3,14}))?", text)
            if shape is None:
                raise ValueError("A mobile number is written '+44 7700900001'.")
            country, number = (int(part) if part else None for part in shape.groups())
            fields |= {"mobile_country_code": country, "mobile_number": number}
        elif name == "email":
            fields[name] = text or None
        elif name in EDITABLE:
            if text.lower() not in _OPT_INS:
                raise ValueError("An opt-in is true, false, or empty for no consent.")
            fields[name] = _OPT_INS[text.lower()]
        elif text:
            fields["properties"][name] = text
        else:
            fields["properties"].pop(name, None)
    return msgspec.structs.replace(contact, **fields)


def mobile_text(contact: Contact) -> str | None:
    """Return a contact's mobile number as people write it.

    >>> mobile_text(Contact(1, 44, 7700900001))
    '+44 7700900001'
    """
    if contact.mobile_number is None:
        return None
    return f"+{contact.mobile_country_code} {contact.mobile_number}"
