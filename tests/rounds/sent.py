"""Contacts as requests carry them, to either of the API's two endpoints."""

import json
import typing as t
from collections.abc import Callable

from mainbrainer_sandbox.running import RunningSandbox
from mainbrainer_sandbox.store import Request
from tests import broken_server
from tests.broken_server import Reply
from tests.loads import Record


def contacts_in(request: Request | broken_server.Request) -> list[Record]:
    """Return the contacts that a request carries; none if it is of another kind."""
    body = request.body
    if request.method != "POST" or not request.path.startswith("/contacts") or not body:
        return []
    decoded = json.loads(body) if isinstance(body, bytes) else body
    return t.cast("list[Record]", decoded.get("createUpdateContacts", [decoded]))


def sent(crm: RunningSandbox) -> list[tuple[Request, list[Record]]]:
    """Return the requests that carry contacts, each with these."""
    found = ((request, contacts_in(request)) for request in crm.requests())
    return [(request, contacts) for request, contacts in found if contacts]


def refused_alone(crm: RunningSandbox) -> set[str]:
    """Return the addresses that were refused while they were alone in a request."""
    return {c[0]["email"] for request, c in sent(crm) if len(c) == 1 and request.status == 422}


def value_of(contact: Record, name: str) -> str | None:
    """Return a property's value; the API's two pages spell properties in two ways."""
    lower = {key.lower(): value for key, value in contact.items()}
    for one in lower.get("propertyfields") or ():
        parts = {key.lower(): value for key, value in one.items()}
        if parts.get("propertyname") == name:
            return t.cast("str | None", parts.get("propertyvalue"))
    return None


def may_be_one(one: Record, other: Record) -> bool:
    """Return whether two contacts may be the same one, as far as their requests show.

    MainBrainer matches the combination of address and number, so a number alone and the same
    number with an address are two people, unless one of them is known by its id.
    """
    ids = [contact.get("contactId") for contact in (one, other)]
    number, other_number = (contact.get("mobileNumber") for contact in (one, other))
    email, other_email = ((contact.get("email") or "").casefold() for contact in (one, other))
    if None not in ids:
        return ids[0] == ids[1]
    if ids == [None, None]:
        return (number, email) == (other_number, other_email)
    return bool((number and number == other_number) or (email and email == other_email))


def refusal(words: str = "No", status: int = 422) -> Reply:
    """Refuse a request as the API does, without naming a contact."""
    return broken_server.reply(status, {"status": "Error", "message": words})


def in_letters(number: int) -> str:
    """Return a word of its own for a number; numbers in a server's words are not repeated."""
    return "".join("abcdefghij"[int(digit)] for digit in str(number))


def judging(judge: Callable[[list[Record]], Reply | None]) -> t.Any:
    """Answer each request as its contacts deserve; None accepts them."""
    return lambda request: judge(contacts_in(request)) or broken_server.OK
