"""What an oracle remembers of people and runs, and how it reads identities."""

from __future__ import annotations

import typing as t
from collections import defaultdict
from dataclasses import dataclass, field

from tests.years.crm import REFUSED

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mainbrainer_sandbox.rules import Contact, Sent

Identity: t.TypeAlias = "tuple[str | None, int | None]"
Written: t.TypeAlias = "tuple[str | None, str | None]"
Columns: t.TypeAlias = "dict[str, t.Any]"


def identity_of(columns: Columns) -> Identity:
    """Return the identity of a record, folded."""
    email, mobile = columns.get("email"), columns.get("mobile")
    return email and email.lower(), mobile and int(mobile[3:])


@dataclass
class Said:
    """What the source has said of a person, in all records that a run has read.

    Attributes:
        last: Its last record.
        no_at: When a run last read a no, for each opt-in.
        missed: Full reads in a row in which it did not come.
        is_deleted: It came with nothing but its key the last time.
        before: The identity that it had before the last one.
        began: That, and its last record, when the run began that has read it last.
        is_rejected: Its last record was rejected, so that it has not moved.
        came_at: When its last record was read.
        is_scattered: A run that failed, or whose batch has failed, has left a contact of it behind,
            so that either may be its.
        is_stuck: So was the last one that could be mapped.
        sent_as: The identities with which data of it was sent.
        sent_alone: The addresses with which data was sent that is of no other person.
        is_absent: Its contact was deleted or given another address by hand, and the source has
            changed nothing since.
        moved: It has come with another identity than before.
        doubtful: The opt-ins that were last sent in a night in which batches may be lost, with the
            identity if it is known: a yes is not said again, even if the CRM never applied it.
        is_unsure: It is sent whole again, until a day after it was last sent in such a night.
    """

    emails: set[str] = field(default_factory=set)
    mobiles: set[int] = field(default_factory=set)
    last: Columns | None = None
    no_at: dict[str, float] = field(default_factory=dict)
    city_at: float = 0.0
    missed: int = 0
    is_deleted: bool = False
    before: Identity = (None, None)
    began: tuple[Identity, Columns] | None = None
    is_rejected: bool = False
    is_stuck: bool = False
    is_scattered: bool = False
    came_at: float = 0.0
    sent_as: set[Identity] = field(default_factory=set)
    sent_alone: set[str | None] = field(default_factory=set)
    is_absent: bool = False
    moved: bool = False
    doubtful: set[tuple[str, Identity | None]] = field(default_factory=set)
    is_unsure: bool = False
    unsure_at: float = 0.0


@dataclass
class Run:
    """One run of the target.

    Attributes:
        streams: Those that it delivers.
        records: The records it has read, each with its key.
        marks: How many records stood before each STATE of its input.
        sent: The people for whom it has sent a request.
        sent_data: Those of whom it has sent more than an opt-in.
        sent_to: The identity to which it has sent them last, without a contact id: with data, or as
            the one that they have now.
        movers: The people who came with another address or number than before.
        said: The opt-ins that it has sent, each with a person and an identity, in a night in which
            batches may be lost, and that were not sent in such a night before.
        tried: Those of whom it has sent data without a yes.
        joined: Those with an address that belongs to no person.
        is_certain: Nothing was to go wrong in its night.
        unsure: The people of whom it did not know how an earlier run had ended.
    """

    config: dict[str, t.Any]
    is_certain: bool
    streams: tuple[str, ...]
    records: list[tuple[int, Columns]] = field(default_factory=list)
    marks: dict[int, int] = field(default_factory=dict)
    by_key: dict[int, list[Columns]] = field(default_factory=lambda: defaultdict(list))
    rejected: set[int] = field(default_factory=set)
    sent: set[int] = field(default_factory=set)
    sent_data: set[int] = field(default_factory=set)
    sent_to: dict[int, Written] = field(default_factory=dict)
    movers: set[int] = field(default_factory=set)
    said: set[tuple[int, str, Identity]] = field(default_factory=set)
    tried: set[int] = field(default_factory=set)
    joined: set[int] = field(default_factory=set)
    unsure: set[int] = field(default_factory=set)

    def has_moved(self, key: int) -> bool:
        """Return whether a person has come with several addresses in this run."""
        return len({identity_of(row) for row in self.by_key[key]}) > 1


def has_yes(sent: Sent) -> bool:
    return sent.email_opt_in is True or sent.mobile_opt_in is True


def identity_in(one: Sent | Contact) -> Identity:
    return folded((one.email, one.mobile_number))


def written(one: Sent | Contact) -> Written:
    """Return an address and a number as a record has them."""
    code, number = one.mobile_country_code, one.mobile_number
    return one.email, None if number is None else f"+{code}{number}"


def folded(identity: Identity) -> Identity:
    return (identity[0] or "").lower() or None, identity[1]


def is_bad(email: str) -> bool:
    """Return whether the CRM refuses an address."""
    return email.startswith(REFUSED)


def is_refused(columns: Columns) -> bool:
    return is_bad(columns.get("email") or "")


def covers(identity: Identity, other: Identity) -> bool:
    """Return whether an identity has all parts of another one, which may have lost one."""
    return all(lost in {None, part} for part, lost in zip(identity, other, strict=True))


def is_rival(one: Sent, other: Sent) -> bool:
    """Return whether a contact has the address or the number of another one, and other data."""
    (email, mobile), theirs = identity_in(one), identity_in(other)
    has_part = (email and email == theirs[0]) or (mobile and mobile == theirs[1])
    is_same = (email, mobile) == theirs and one.properties == other.properties
    return bool(has_part) and not is_same


def kept(before: Identity, after: Identity) -> Identity:
    """Return what the CRM holds of somebody who may have lost a part: it keeps that."""
    return after[0] or before[0], after[1] or before[1]


def moves(before: Identity, after: Identity) -> bool:
    """Return whether somebody has another address; a part that is only lost stays in the CRM."""
    return kept(before, after) != before


def rejected_in(lines: Iterable[dict[str, t.Any]]) -> Iterator[tuple[int, Columns]]:
    """Yield the source keys in a rejects file, each with what is said of its rejection."""
    for line in lines:
        if line["type"] == "RECORD":
            yield int(line["record"]["id"]), line["rejection"]
