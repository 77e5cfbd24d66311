"""The choices that a rehearsal or a test can make, each with its default and the reason for it.

MainBrainer's public pages contradict each other or are silent in places (sections
11 to 13 of the API note). A place whose answer matters to a rehearsal is a switch.
The default is the reading under which a rehearsal warns rather than reassures.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

UNKNOWN = "What the real API does is unknown."

Group = Literal["limits", "unknown", "simulated"]

GROUPS: dict[Group, str] = {
    "limits": "Documented limits",
    "unknown": "Where the documentation is silent or contradicts itself",
    "simulated": "Simulated refusals",
}
PLANS: dict[str, tuple[int, int] | None] = {
    # Requests in any 10 seconds, and in a day (section 9).
    "freemium": (100, 250_000),
    "starter": (150, 500_000),
    "pro": (200, 1_000_000),
    "unlimited": None,
}


class SwitchError(ValueError):
    """A switch does not exist, or cannot have this value."""


def _switch(default: Any, group: Group, text: str) -> Any:  # noqa: ANN401 - dataclasses.field
    """Declare a switch by its default, or by all it can be, beginning with the default."""
    choices = default if isinstance(default, tuple) else ()
    if group == "unknown":
        text = f"{text} {UNKNOWN}"
    default = choices[0] if choices else default
    metadata = {"group": group, "help": text, "choices": choices}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """All switches; each field is one, named as on the command line."""

    plan: str = _switch(
        ("freemium", "starter", "pro", "unlimited"),
        "limits",
        "Plan whose documented rate limits apply, per access token.",
    )
    burst: int = _switch(0, "limits", "Requests allowed in 10 seconds; 0 means those of the plan.")
    daily: int = _switch(0, "limits", "Requests allowed in a day (UTC); 0 means those of the plan.")
    retry_after: str = _switch(
        ("seconds", "date", "none"),
        "unknown",
        "Form of the Retry-After header of a 429.",
    )
    token_lifetime_seconds: float = _switch(
        0.0,
        "unknown",
        "Lifetime of tokens; 0 means that of their validity: two hours for Default, ten minutes "
        "for ShortLive, thirty days for LongLive.",
    )
    opt_in_on_insert: str = _switch(
        ("none", "true"),
        "unknown",
        "Opt-in of a new contact that was sent without one: 'no consent', or true, as "
        "'default = true' on the same page could mean.",
    )
    opt_in_on_update: str = _switch(
        ("keep", "reset"),
        "unknown",
        "Opt-in of a known contact that is sent without one: kept, as three pages say, or reset to "
        "'no consent', as one page says.",
    )
    empty_values: str = _switch(
        ("clear", "ignore", "refuse"),
        "unknown",
        "Effect of an empty value on a property.",
    )
    unknown_contact_id: str = _switch(
        ("create", "create_new_id", "report", "refuse"),
        "unknown",
        "Effect of an unused contact id: create a contact with it, create one with a new id (so "
        "that every load creates another), report it as invalid and skip it, or refuse it.",
    )
    unknown_property: str = _switch(
        ("create", "ignore", "report", "refuse"),
        "unknown",
        "Effect of an unknown property: create it, ignore it, ignore and report it as invalid, or "
        "refuse the contact.",
    )
    clash: str = _switch(
        ("allow", "conflict"),
        "unknown",
        "Answer to an update by contact id that would give a contact the mobile and e-mail of "
        "another: allow it, or 409.",
    )
    refusal_names: str = _switch(
        ("all", "first", "none"),
        "unknown",
        "Contacts that a refusal names in its message and its lists of invalid contacts.",
    )
    error_body: str = _switch(
        ("envelope", "problem", "html", "empty"),
        "unknown",
        "Body of an error: the API's envelope, RFC 7807 problem details, a web page, nothing.",
    )
    refuse_email: str = _switch(
        "", "simulated", "Refuse every contact whose e-mail address starts with this text."
    )
    refuse_property: str = _switch(
        "", "simulated", "Refuse every contact that has the property of this name."
    )
    refuse_value: str = _switch(
        "", "simulated", "With refuse_property: only if the property has this value."
    )
    known_lists: str = _switch(
        "",
        "simulated",
        "Ids of the account's lists, separated by commas; any other is refused. Empty allows all.",
    )

    def limits(self) -> tuple[int | None, int | None]:
        """Return the burst and the daily limit in force, None where there is none.

        >>> Switches(plan="starter", burst=7).limits()
        (7, 500000)
        """
        burst, daily = PLANS[self.plan] or (None, None)
        return self.burst or burst, self.daily or daily

    def changed(self, **changes: object) -> Switches:
        """Return these switches with some changed; text is converted to the type of the switch.

        Raises:
            SwitchError: There is no such switch, or it cannot have this value.

        >>> Switches().changed(clash="conflict", burst="20").burst
        20
        """
        converted: dict[str, Any] = {name: _convert(name, value) for name, value in changes.items()}
        return dataclasses.replace(self, **converted)


DECLARED = {field.name: field for field in dataclasses.fields(Switches)}


def _convert(name: str, value: object) -> object:
    """Return a value in the type of the switch, converted from text if need be."""
    try:
        declared: Any = DECLARED[name]
        converted = type(declared.default)(value)
        allowed = declared.metadata["choices"] or (converted,)
        # Any bound shuts out infinity and what is no number.
        is_possible = converted in allowed and (isinstance(converted, str) or 0 <= converted < 1e12)  # noqa: PLR2004
    except (KeyError, TypeError, ValueError):
        is_possible = False
    if not is_possible:
        raise SwitchError(
            f"There is no switch '{name}', or it cannot be '{value}'; 'mainbrainer-sandbox serve "
            "--help' has the switches."
        )
    return converted
