"""Two people to send."""

from __future__ import annotations

from typing import Any

ADA: dict[str, Any] = {
    "email": "ada@example.com",
    "emailOptIn": True,
    "propertyFields": [
        {"propertyName": "city", "propertyValue": "Oslo"},
        {"propertyName": "note", "propertyValue": 'a "quoted",\nsecond line\x1b[31m'},
    ],
}
BOB: dict[str, Any] = {"mobileCountryCode": 44, "mobileNumber": 7700900001, "mobileOptIn": False}
