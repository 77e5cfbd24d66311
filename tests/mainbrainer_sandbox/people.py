"""People to send."""

from __future__ import annotations

from typing import Any

A, B = {"email": "a@example.com"}, {"email": "b@example.com"}


def prop(name: str, value: Any = "x") -> list[dict[str, Any]]:
    return [{"propertyName": name, "propertyValue": value}]


ADA: dict[str, Any] = {
    "email": "ada@example.com",
    "emailOptIn": True,
    "propertyFields": prop("city", "Oslo") + prop("note", 'a "quoted",\nsecond line\x1b[31m'),
}
BOB: dict[str, Any] = {"mobileCountryCode": 44, "mobileNumber": 7700900001, "mobileOptIn": False}
