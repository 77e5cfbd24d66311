"""One contact as the API takes it, and the parts that it is made of.

No `repr` in here shows a contact's data, so that no log, traceback or debugger line can leak it
by accident.
"""

from __future__ import annotations

import typing as t

import msgspec
from typing_extensions import override

if t.TYPE_CHECKING:
    from collections.abc import Iterator

HIDDEN = "<hidden>"


# Structs of `msgspec` are made several times as fast as named tuples. `gc=False` spares the garbage
# collector a look at everything that waits; it is safe because nothing in here can point back.


class Mobile(msgspec.Struct, frozen=True, gc=False):
    """A mobile number as the API takes it: two integers (API note, section 8.5).

    Attributes:
        country_code: Such as 47, or None if neither the record nor a setting says it.
        number: The national number.
    """

    country_code: int | None
    number: int

    @override
    def __repr__(self) -> str:
        return f"Mobile({HIDDEN})"

    @override
    def __rich_repr__(self) -> list[tuple[str, t.Any]]:
        """Keep pretty printers from showing the number after all."""
        return []

    def __iter__(self) -> Iterator[int | None]:
        """Yield country code and number, for those who want them as a pair."""
        yield self.country_code
        yield self.number


class PropertyRef(t.NamedTuple):
    """What a property is addressed by; the id decides when both are there (API note, 4.1)."""

    property_id: str | None
    name: str | None

    @property
    def address(self) -> tuple[str, str]:
        """What two references to the same property have in common.

        Whether MainBrainer tells `Street` from `street` is not documented (API note, section
        8.6), so names are compared as written.

        >>> PropertyRef("8E8B", "zip").address == PropertyRef("8e8b", None).address
        True
        """
        if self.property_id is not None:
            return "id", self.property_id.lower()
        return "name", self.name or ""


class Contact(msgspec.Struct, frozen=True, gc=False):
    """One contact to be upserted. What is None is not sent, and stays as it is in the CRM.

    Attributes:
        contact_id: The CRM's own id.
        mobile: The mobile number.
        email: The e-mail address as written in the source.
        mobile_opt_in: Consent to SMS; None if the source does not say.
        email_opt_in: Consent to e-mail; None if the source does not say.
        properties: Property values in sending order; an empty text clears the value.
        list_id: Only from a column that is mapped to `list_id`; else the stream's list counts.
    """

    contact_id: int | None = None
    mobile: Mobile | None = None
    email: str | None = None
    mobile_opt_in: bool | None = None
    email_opt_in: bool | None = None
    properties: dict[PropertyRef, str] = {}
    list_id: str | None = None

    @override
    def __repr__(self) -> str:
        names = [name for name in self.__struct_fields__ if name != "properties"]
        shown = [f"{name}={HIDDEN}" for name in names if getattr(self, name) is not None]
        if self.properties:
            shown.append(f"properties=<{len(self.properties)} hidden>")
        return f"Contact({', '.join(shown)})"

    @override
    def __rich_repr__(self) -> list[tuple[str, t.Any]]:
        """Keep pretty printers from showing the values after all."""
        return []
