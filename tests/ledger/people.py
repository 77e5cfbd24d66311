"""Records of people whose addresses are made of their numbers."""

import typing as t

from tests.loads import PEOPLE, record

COLUMNS = PEOPLE | {"mobile_opt_in": {"type": ["boolean", "null"]}}
M1 = "+4790000001"


def person(number: t.Any, email: str | None = "", stream: str = "people", **more: t.Any) -> str:
    """A record of a person; the address is only its first part, and made of the number if empty."""
    address = f"{email or f'p{number}'}@example.com" if email is not None else None
    columns = {"id": number, "email": address, "firstname": f"First{number}"} | more
    return record(stream, **columns)


def consenting(*numbers: int, **more: t.Any) -> list[str]:
    """Records of people who have given the consent to e-mail."""
    return [person(number, email_opt_in=True, **more) for number in numbers]


def moved(*numbers: int, **more: t.Any) -> list[str]:
    """The records of people whose addresses are other ones now."""
    return [person(n, f"new{n}", **{"email_opt_in": True, **more}) for n in numbers]
