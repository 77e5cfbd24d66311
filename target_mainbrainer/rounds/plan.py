"""Compares the contacts of a round with what the ledger knows, and decides what is sent. Pure.

`docs/design-notes.md` names the history behind each rule.
"""

from __future__ import annotations

import typing as t
from collections.abc import Callable, Mapping, Sequence

import msgspec

from target_mainbrainer.contacts import Contact, Identity, PropertyRef
from target_mainbrainer.ledger.content import Hashes, Row, changed_fields, names_of, union
from target_mainbrainer.rounds.batches import Kind
from target_mainbrainer.rounds.round import Finding, Upsert, without

MOBILE, EMAIL = "mobile_opt_in", "email_opt_in"
SAID: t.Final = {MOBILE: "mobile_said", EMAIL: "email_said"}
RAISED: t.Final = {MOBILE: "mobile_raised_in", EMAIL: "email_raised_in"}


class Rules(t.NamedTuple):
    """How a run's settings bear on the comparison.

    Attributes:
        hashes: With the ledger's seed.
        sends_all: Unchanged contacts are sent, too (`unchanged_contacts: send`).
        omits_old_yes: An opt-in that was delivered as true is not sent again
            (`unchanged_opt_in: omit`).
        is_mixed: Some contacts of the account are known by `contact_id` and others are not.
        suppressed: Returns which opt-ins of a contact must not be sent as true, given all
            identities of its person.
    """

    hashes: Hashes
    sends_all: bool
    omits_old_yes: bool
    is_mixed: bool
    suppressed: Callable[..., frozenset[str]]


def hashes_of(upsert: Upsert, hashes: Hashes) -> tuple[int, ...]:
    """Return the hashes of all identities under which a contact may be known.

    One with a `contact_id` may have been delivered without it before: its consent is the same.
    """
    contact = upsert.contact
    own = hashes.identity(contact)
    if contact.contact_id is None or (contact.mobile is None and contact.email is None):
        return (own,)
    return own, hashes.identity(Contact(mobile=contact.mobile, email=contact.email))


def compare(
    upsert: Upsert,
    hashes: tuple[int, ...],
    rows: Mapping[int, Row],
    rules: Rules,
    *,
    old_rows: Sequence[Row] = (),
    others: tuple[Contact | Identity, ...] = (),
) -> Finding:
    """Decide what is sent of a contact, and note it in the contact.

    Args:
        upsert: The contact; its kind, row, fields, outgoing and withheld are set.
        hashes: `hashes_of` it.
        rows: What is known, by hash of the identity.
        rules: The run's.
        old_rows: What is known of the identities that its person had before; it counts for a
            contact that gets another identity.
        others: These identities; the suppression list applies to them, too.
    """
    own, *also = hashes
    spelling = rules.hashes.spelling(upsert.contact)
    row = rows.get(own) or Row(None, own, spelling)
    is_moving = upsert.moving_id is not None
    # Any other contact is a new one under a new identity.
    before = old_rows if is_moving or upsert.renamed_from is not None else ()
    also_rows = (*(rows[one] for one in also if one in rows), *before)
    said = {name: _said(attribute, row, also_rows) for name, attribute in SAID.items()}
    suppressed = rules.suppressed(upsert.contact, *others)
    upsert.row = row
    upsert.withheld = suppressed
    if rules.omits_old_yes:
        upsert.withheld |= {
            name for name in SAID if said[name] and not _is_raised_anew(upsert, name)
        }
    for one in before:  # tries that may still be applied take it back
        row.unsure_at = max(row.unsure_at or 0, one.unsure_at or 0, one.open_at or 0) or None
    exists = row.delivered_at is not None
    contact = _without_once(upsert, is_new=not any(one.delivered_at for one in (row, *before)))
    fields = rules.hashes.fields(contact, upsert.destination.list_id)
    upsert.fields = fields.entries
    is_same_spelling = row.spelling == spelling
    if not is_same_spelling:
        row.spelling, row.fields = spelling, None
    base = _contact_before(row, before) if is_moving else row
    # To the new identity, too: an interrupted change of address may have brought other data.
    reason = _why_unknown(base, rules, is_same_spelling=is_same_spelling) or _why_unknown(
        row, rules, is_same_spelling=is_same_spelling
    )
    _note_said(row, said, is_known=not reason)
    refs = [] if reason or base.fields is None else changed_fields(base.fields, fields)
    must_say = _to_say(contact, said, suppressed)
    found = Finding(emptied=_emptied(upsert, said), suppressed=suppressed)
    if exists and not is_moving and not reason and not refs and not must_say:
        if not rules.sends_all:
            return found._replace(is_unchanged=True)
        reason = "unchanged_contacts is 'send'"
    is_certain = exists and is_same_spelling and row.unsure_at is None
    upsert.kind = Kind.UPDATE if is_certain else Kind.OTHER
    is_new = not exists and row.unsure_at is None and row.open_mark is None
    if is_new and contact.contact_id is None:
        upsert.kind = Kind.CREATE
    is_known = base.delivered_at is not None and not reason
    if is_known and not rules.sends_all and not _is_ambiguous(contact):
        contact = _only(contact, refs)
    upsert.outgoing = without(contact, upsert.withheld)
    if is_moving:
        upsert.kind = Kind.OTHER
        upsert.outgoing = msgspec.structs.replace(upsert.outgoing, contact_id=upsert.moving_id)
        return found
    if not exists or reason:
        return found._replace(reason=reason if exists else "")
    return found._replace(changed=(*names_of(refs), *must_say))


def _note_said(row: Row, said: Mapping[str, bool | None], *, is_known: bool) -> None:
    """Note what was said of a contact; a no may be lost with the content, and is said again."""
    for name, attribute in SAID.items():
        is_lost = said[name] is False and not is_known
        setattr(row, attribute, None if is_lost else said[name])


def _contact_before(row: Row, old_rows: Sequence[Row]) -> Row:
    """Return what is known of a contact that moves: under its old identity, if there is one."""
    return old_rows[0] if len(old_rows) == 1 else Row(None, row.hash, row.spelling)


def _said(attribute: str, row: Row, also: Sequence[Row]) -> bool | None:
    """Return the last opt-in that was delivered to a person, under any identity."""
    for one in (row, *also):
        value: bool | None = getattr(one, attribute)
        if value is not None:
            return value
    return None


def _without_once(upsert: Upsert, *, is_new: bool) -> Contact:
    """Return a contact without the properties that only a new one gets, unless it is new."""
    contact = upsert.contact
    if is_new or upsert.stream is None or not (once := upsert.stream.once):
        return contact
    kept = {ref: text for ref, text in contact.properties.items() if ref not in once}
    return msgspec.structs.replace(contact, properties=kept)


def _to_say(
    contact: Contact, said: Mapping[str, bool | None], suppressed: frozenset[str]
) -> list[str]:
    """Return the opt-ins of a contact that differ from those last delivered."""
    return [
        name
        for name in SAID
        if (value := getattr(contact, name)) is not None
        and value is not said[name]
        and not (value and name in suppressed)
    ]


def _emptied(upsert: Upsert, said: Mapping[str, bool | None]) -> tuple[str, ...]:
    """Return the opt-ins that a contact had, and for which its source has no value by now."""
    mapped = frozenset() if upsert.stream is None else upsert.stream.opt_ins
    return tuple(
        name
        for name in SAID
        if name in mapped and getattr(upsert.contact, name) is None and said[name] is not None
    )


def _is_raised_anew(upsert: Upsert, name: str) -> bool:
    """Return whether the source says no and then yes in one round, so that the yes is a new one."""
    return any(getattr(one.contact, name) is False and not one.is_deletion for one in upsert.parts)


def _why_unknown(row: Row, rules: Rules, *, is_same_spelling: bool) -> str:
    """Return why it is not known what the CRM holds, "" if it is known."""
    if rules.is_mixed:
        return "some contacts are known by contact_id, and others are not"
    if row.open_mark is not None:
        return "an earlier try was interrupted"
    if row.fields is not None or row.delivered_at is None:
        return ""
    if row.unsure_at is not None:
        return "an earlier try may still be applied"
    return "a batch did not end well" if is_same_spelling else "its address is spelt differently"


def _is_ambiguous(contact: Contact) -> bool:
    """Return whether two properties may be one to the CRM: then the order of both counts."""
    names = [(ref.name or ref.property_id or "").casefold() for ref in contact.properties]
    return len(set(names)) < len(names)


def _only(contact: Contact, refs: list[PropertyRef | str]) -> Contact:
    """Return a contact with only these fields, its identity and its opt-ins."""
    names = set(refs)
    by_id = contact.contact_id is not None
    return Contact(
        contact.contact_id,
        contact.mobile if not by_id or "mobile" in names else None,
        contact.email if not by_id or "email" in names else None,
        contact.mobile_opt_in,
        contact.email_opt_in,
        {ref: text for ref, text in contact.properties.items() if ref in names},
        contact.list_id,
    )


def leave_out_older(upsert: Upsert, row: Row, hashes: Hashes) -> None:
    """Leave out of a contact that is completed what a later record of this run has changed."""
    contact = upsert.contact
    fields = hashes.fields(contact, upsert.destination.list_id)
    changed = [] if row.fields is None else changed_fields(row.fields, fields)
    properties = {ref: text for ref, text in contact.properties.items() if ref not in changed}
    withdrawn = {
        name: None
        for name, said in SAID.items()
        if getattr(row, said) is not getattr(contact, name)
    }
    if row.open_mark is not None or (row.fields is None and row.batch != upsert.since):
        properties, withdrawn = {}, dict.fromkeys(SAID)  # the later one was sent whole
    upsert.contact = msgspec.structs.replace(contact, properties=properties, **withdrawn)
    outgoing = t.cast("Contact", upsert.outgoing)
    upsert.outgoing = msgspec.structs.replace(outgoing, properties=properties, **withdrawn)
    if properties:
        upsert.fields = hashes.fields(upsert.outgoing, upsert.destination.list_id).entries


def note_delivery(upsert: Upsert, hashes: Hashes, batch: int, now: int) -> None:
    """Note in a contact's row that it was accepted; the row is written when its round is settled.

    Args:
        upsert: A contact of a round, or a part of one.
        hashes: With the ledger's seed.
        batch: The number of the batch.
        now: Seconds since the epoch.
    """
    row = upsert.row
    if row is None:
        return
    if upsert.fields is None:
        upsert.fields = hashes.fields(upsert.contact, upsert.destination.list_id).entries
    if upsert.since is not None:  # recreated: it may lack what is not sent now
        row.fields = upsert.fields
    elif upsert.fields or row.delivered_at is None:
        row.fields = union(row.fields or b"", upsert.fields)
    row.delivered_at, row.batch = now, batch
    if upsert.may_be_applied:
        row.unsure_at = row.open_at
    for name in SAID:
        value = getattr(upsert.outgoing, name)
        if value is not None:
            if value and not getattr(row, SAID[name]):
                setattr(row, RAISED[name], batch)
            setattr(row, SAID[name], value)
