"""Every choice the sandbox leaves to its user, with the default and the reason for it.

MainBrainer's public pages contradict each other or are silent in many places
(sections 11 and 12 of the API note). Each such place is one switch here. The
default is the reading under which a rehearsal warns rather than reassures,
and the help of each says that the real behaviour is unknown.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
import typing
from typing import Any, Literal
from zoneinfo import ZoneInfo

UNKNOWN = "What the real API does is unknown."

Group = Literal["limits", "unknown", "planted", "sandbox"]

PLANS: dict[str, tuple[int, int] | None] = {
    # Burst in any 10 seconds, and a day (section 9).
    "freemium": (100, 250_000),
    "starter": (150, 500_000),
    "pro": (200, 1_000_000),
    "unlimited": None,
}


class SwitchError(ValueError):
    """A switch does not exist, or cannot have this value."""


def _switch(default: Any, group: Group, text: str) -> Any:  # noqa: ANN401 - dataclasses.field
    if group == "unknown":
        text = f"{text} {UNKNOWN}"
    return dataclasses.field(default=default, metadata={"help": text, "group": group})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """All switches; each field is one, named as on the command line."""

    # -- documented limits ---------------------------------------------------------------
    plan: Literal["freemium", "starter", "pro", "unlimited"] = _switch(
        "freemium", "limits", "Plan whose documented rate limits hold."
    )
    burst: int = _switch(
        0, "limits", "Requests allowed in 10 seconds, instead of the plan's; 0 takes the plan's."
    )
    daily: int = _switch(
        0, "limits", "Requests allowed in a day, instead of the plan's; 0 takes the plan's."
    )
    account_time_zone: str = _switch(
        "UTC", "limits", "Time zone of the account; the daily limit starts anew at its midnight."
    )
    limit_window: Literal["sliding", "fixed"] = _switch(
        "sliding",
        "unknown",
        "Whether the burst is counted in any 10 seconds (stricter) or in fixed blocks of 10.",
    )
    limit_refused: Literal["count", "free"] = _switch(
        "count", "unknown", "Whether a call answered 429 counts towards the limit (stricter)."
    )
    retry_after: Literal["seconds", "date", "none"] = _switch(
        "seconds", "unknown", "Form of the Retry-After header of a 429, if there is one."
    )

    # -- how requests are read -----------------------------------------------------------
    key_casing: Literal["lenient", "openapi", "portal"] = _switch(
        "lenient",
        "unknown",
        "Spelling of request keys that is understood: any, only the OpenAPI's ('propertyFields', "
        "'webHookUrl'), or only the portal's ('propertyfields', 'webhookUrl'). A key spelt "
        "otherwise is ignored, as a strict JSON reader would.",
    )
    paths: Literal["lenient", "strict"] = _switch(
        "lenient",
        "unknown",
        "Whether paths are matched in any case and with a trailing slash, or only as printed.",
    )
    user_agent: Literal["optional", "required"] = _switch(
        "optional", "unknown", "Whether a request without a User-Agent is refused with 400."
    )
    content_type: Literal["required", "optional"] = _switch(
        "required", "unknown", "Whether a body that is not application/json is refused with 415."
    )
    uuid_check: Literal["lists", "all", "none"] = _switch(
        "lists",
        "unknown",
        "Which uuids must be well formed: list ids, property ids too, or none. The API page's own "
        "sample holds a malformed property id, so property ids are not checked by default.",
    )
    null_values: Literal["ignore", "clear", "reject"] = _switch(
        "ignore", "unknown", "What null does to an identifier, an opt-in or a property value."
    )
    empty_values: Literal["clear", "ignore", "reject"] = _switch(
        "clear", "unknown", "What an empty property value does to the property."
    )
    empty_identifiers: Literal["ignore", "clear", "reject"] = _switch(
        "ignore",
        "unknown",
        "What an empty e-mail address does; the API page's own sample sends one.",
    )
    too_many_status: Literal[400, 406, 413, 422] = _switch(
        400, "unknown", "Answer to more than 1000 contacts in a request."
    )
    empty_batch: Literal["refuse", "accept"] = _switch(
        "refuse", "unknown", "Whether a batch without contacts is refused with 400."
    )

    # -- what is refused, and how it is said ---------------------------------------------
    invalid_contact: Literal["refuse", "skip"] = _switch(
        "refuse",
        "unknown",
        "Whether a contact that is wrong stops its whole batch, as one page says, or is skipped "
        "when the batch is processed, as the status of a batch suggests.",
    )
    refusal_status: Literal["by_cause", "400", "422"] = _switch(
        "by_cause",
        "unknown",
        "Status of a refused batch: 400 for a wrong JSON type and 422 for a wrong content, or "
        "always the same.",
    )
    refusal_names: Literal["all", "first", "none"] = _switch(
        "all",
        "unknown",
        "Which contacts a refusal names in its message and its invalid lists.",
    )
    error_body: Literal["envelope", "problem", "html", "empty"] = _switch(
        "envelope",
        "unknown",
        "Body of an error: the API's envelope, RFC 7807 problem details, a web page, nothing.",
    )
    duplicates: Literal["merge", "create_both", "refuse"] = _switch(
        "merge",
        "unknown",
        "What two contacts of one identity in one batch do: the later updates the earlier, each "
        "creates a contact, or the batch is refused.",
    )
    clash: Literal["allow", "conflict"] = _switch(
        "allow",
        "unknown",
        "Whether an update by contact id that takes another contact's mobile and e-mail is "
        "answered 409.",
    )
    unknown_contact_id: Literal["create", "create_new_id", "report", "refuse"] = _switch(
        "create",
        "unknown",
        "What a contact id nobody has does: it creates a contact that keeps the id, or one with "
        "a new id (so every further load creates another), or it is listed as invalid and "
        "skipped, or refused.",
    )
    unknown_property: Literal["create", "ignore", "report", "refuse"] = _switch(
        "create",
        "unknown",
        "What an unknown property does: it is created, ignored, ignored and listed as invalid, "
        "or refused.",
    )
    property_names: Literal["exact", "ignore_case"] = _switch(
        "exact", "unknown", "Whether 'Street' and 'street' are two properties or one."
    )
    known_properties: str = _switch(
        "firstname,lastname,interest,company,Street,city,state",
        "unknown",
        "Properties the account has, as NAME or NAME=UUID, with commas between.",
    )
    unknown_list_status: Literal[400, 404, 422] = _switch(
        422, "unknown", "Answer to a list id that is not among the known lists."
    )

    # -- what processing does ------------------------------------------------------------
    opt_in_on_insert: Literal["none", "true"] = _switch(
        "none",
        "unknown",
        "Consent of a new contact that was sent without: 'no consent' (nothing is sent to it), "
        "or true as 'default = true' on the same page could mean.",
    )
    opt_in_on_update: Literal["keep", "reset"] = _switch(
        "keep",
        "unknown",
        "Consent of a known contact that is sent without: kept, because three pages say that "
        "omitted fields remain as they were, or reset to 'no consent', because one says so.",
    )
    email_match: Literal["exact", "ignore_case"] = _switch(
        "exact",
        "unknown",
        "Whether A@example.com finds a@example.com. By default it does not, so that a rehearsal "
        "shows the duplicates that would be billed.",
    )
    country_code_match: Literal["yes", "no"] = _switch(
        "yes", "unknown", "Whether the country code takes part in finding a contact by mobile."
    )
    contact_list: Literal["inner", "outer", "both"] = _switch(
        "inner",
        "unknown",
        "Which list wins if a contact names another list than its batch does.",
    )

    # -- how it answers ------------------------------------------------------------------
    response_shape: Literal["pages", "openapi", "portal"] = _switch(
        "pages",
        "unknown",
        "Spelling of answers: each as its own page prints it (a batch as the portal does, one "
        "contact as the OpenAPI reference does), or all in one of the two.",
    )
    batch_id: Literal["present", "absent"] = _switch(
        "present", "unknown", "Whether the answer to an accepted batch holds its id."
    )
    single_answer: Literal["contact_id", "null"] = _switch(
        "contact_id",
        "unknown",
        "Whether one contact is processed before its answer, which then holds its id, or queued "
        "like a batch. It is queued in any case while a batch before it is held up.",
    )
    status_codes: str = _switch(
        "0,1,2,3",
        "unknown",
        "Numbers of the batch states queued, processing, completed, failed.",
    )
    status_texts: str = _switch(
        "Queued,Processing,Completed,Failed",
        "unknown",
        "Words for the batch states queued, processing, completed, failed.",
    )
    unknown_status: Literal[404, 400] = _switch(
        404, "unknown", "Answer to the status of a batch that does not exist."
    )
    expires_in: Literal["minutes", "seconds"] = _switch(
        "minutes", "unknown", "Unit of 'expires_in' in the answer of POST /token."
    )
    token_lifetime_seconds: float = _switch(
        0,
        "unknown",
        "Lifetime of tokens; 0 takes it from their validity: two hours for Default, ten minutes "
        "for ShortLive, thirty days for LongLive.",
    )

    # -- planted trouble -----------------------------------------------------------------
    refuse_property: str = _switch(
        "", "planted", "Refuse every contact that has the property of this name."
    )
    refuse_value: str = _switch(
        "", "planted", "With refuse_property: only if the property has this value."
    )
    refuse_email: str = _switch(
        "", "planted", "Refuse every contact whose e-mail address starts with this text."
    )
    refuse_status: Literal[422, 400, 409] = _switch(
        422, "planted", "Status of a refusal planted by refuse_property or refuse_email."
    )
    refuse_message: str = _switch(
        "The contact is refused.", "planted", "Reason given in a planted refusal."
    )
    skip_property: str = _switch(
        "", "planted", "Accept, and then skip, every contact that has the property of this name."
    )
    known_lists: str = _switch(
        "", "planted", "Ids of the account's lists, with commas between; empty takes every list id."
    )
    account_status: Literal[0, 402, 403, 406, 409, 422] = _switch(
        0,
        "planted",
        "Answer every batch and contact so, as to an account without rights; 0 does not.",
    )
    account_message: str = _switch(
        "This account cannot do this.", "planted", "Message that goes with account_status."
    )

    # -- the sandbox itself --------------------------------------------------------------
    processing_delay_seconds: float = _switch(
        0, "sandbox", "Time between the acceptance of a batch and its processing."
    )
    webhooks: Literal["loopback", "anywhere", "none"] = _switch(
        "loopback",
        "sandbox",
        "Where webhooks are delivered. By default nothing leaves this machine; a webhook for "
        "elsewhere is only noted.",
    )

    def __post_init__(self) -> None:
        _check(self)

    def limits(self) -> tuple[int | None, int | None]:
        """Return the burst and the daily limit in force, None where there is none.

        >>> Switches(plan="starter", burst=7).limits()
        (7, 500000)
        """
        burst, daily = PLANS[self.plan] or (None, None)
        return self.burst or burst, self.daily or daily

    def changed(self, **changes: object) -> Switches:
        """Return these switches with some set anew; text is converted to what a switch takes.

        Raises:
            SwitchError: There is no such switch, or it cannot have this value.

        >>> Switches().changed(clash="conflict", refuse_status="409").refuse_status
        409
        """
        converted: dict[str, Any] = {name: convert(name, value) for name, value in changes.items()}
        return dataclasses.replace(self, **converted)


@dataclasses.dataclass(frozen=True, slots=True)
class Declared:
    """What is known of one switch without its value.

    Attributes:
        choices: The values it can have, or () for free text or numbers.
        kind: The type of its values.
    """

    name: str
    default: Any
    help: str
    group: Group
    choices: tuple[Any, ...]
    kind: type


def _declare() -> dict[str, Declared]:
    hints = typing.get_type_hints(Switches)
    found = {}
    for field in dataclasses.fields(Switches):
        hint = hints[field.name]
        choices = typing.get_args(hint)
        found[field.name] = Declared(
            name=field.name,
            default=field.default,
            help=field.metadata["help"],
            group=field.metadata["group"],
            choices=choices,
            kind=type(choices[0]) if choices else hint,
        )
    return found


DECLARED = _declare()


def convert(name: str, value: object) -> object:
    """Return a value as the switch takes it, from text if need be.

    >>> convert("burst", "20")
    20
    """
    declared = DECLARED.get(name)
    if declared is None:
        message = f"There is no switch '{name}'. There are: {', '.join(sorted(DECLARED))}."
        raise SwitchError(message)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        message = f"The switch '{name}' takes text or a number."
        raise SwitchError(message)
    try:
        converted = declared.kind(value)
    except ValueError:
        message = f"The switch '{name}' takes a number."
        raise SwitchError(message) from None
    if declared.choices and converted not in declared.choices:
        allowed = ", ".join(str(choice) for choice in declared.choices)
        message = f"The switch '{name}' takes one of: {allowed}."
        raise SwitchError(message)
    return converted


_STATES = 4
_SPLIT = re.compile(r"\s*,\s*")


def words(text: str) -> list[str]:
    """Return the parts of a list written with commas.

    >>> words("a, b,,c")
    ['a', 'b', 'c']
    """
    return [word for word in _SPLIT.split(text.strip()) if word]


def zone_of(name: str) -> dt.tzinfo:
    """Return a time zone; UTC is known even where the system has no list of zones."""
    return dt.UTC if name == "UTC" else ZoneInfo(name)


def _check(switches: Switches) -> None:
    for name, declared in DECLARED.items():
        if declared.choices and getattr(switches, name) not in declared.choices:
            convert(name, getattr(switches, name))
    for name in ("burst", "daily", "token_lifetime_seconds", "processing_delay_seconds"):
        if not 0 <= getattr(switches, name) < 1e12:  # noqa: PLR2004 - any bound shuts out inf, nan
            message = f"The switch '{name}' takes a number that is not negative."
            raise SwitchError(message)
    codes = words(switches.status_codes)
    if len(codes) != _STATES or not all(re.fullmatch(r"-?\d{1,9}", code) for code in codes):
        message = "The switch 'status_codes' takes four whole numbers with commas between."
        raise SwitchError(message)
    if len(words(switches.status_texts)) != _STATES:
        message = "The switch 'status_texts' takes four words with commas between."
        raise SwitchError(message)
    try:
        zone_of(switches.account_time_zone)
    except (OSError, ValueError, LookupError):
        message = "The switch 'account_time_zone' takes a zone's name, such as 'Europe/Oslo'."
        raise SwitchError(message) from None
