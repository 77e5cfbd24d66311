"""People who move, and what the CRM holds of them."""

from __future__ import annotations

import typing as t

from tests.messages import person, schema, state

if t.TYPE_CHECKING:
    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import Ended

Held: t.TypeAlias = "tuple[str | None, str | None, bool | None, str | None]"


def one(
    number: int,
    email: str | None = None,
    mobile: str | None = None,
    *,
    consent: bool | None = None,
    **more: t.Any,
) -> str:
    """A person; the address is only its first part."""
    address = None if email is None else f"{email}@example.com"
    return person(number, email=address, mobile=mobile, email_opt_in=consent, **more)


def night(*people: str) -> list[str]:
    return [schema(), *people, state(bookmark=len(people))]


def counts(ended: Ended) -> dict[str, int]:
    """Return the counts of the stream that are not 0, but for new ones."""
    found: dict[str, t.Any] = ended.counts
    return {name: n for name, n in found.items() if n and type(n) is int and name != "created"}


def held(crm: RunningSandbox) -> list[Held]:
    """Return number, first part of the address, consent and first name of every contact."""
    return [
        (
            f"+{c['mobile_country_code']}{c['mobile_number']}" if c["mobile_number"] else None,
            c["email"] and c["email"].partition("@")[0],
            c["email_opt_in"],
            c["properties"].get("firstname"),
        )
        for c in crm.contacts()
    ]
