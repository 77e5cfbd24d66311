"""What is wrong with a configuration, in plain sentences that never repeat a value."""

from __future__ import annotations

import difflib
import typing as t
import uuid
from urllib.parse import urlsplit

import phonenumbers
from singer_sdk.typing import DEFAULT_JSONSCHEMA_VALIDATOR

from target_mainbrainer.config.addresses import is_loopback
from target_mainbrainer.config.consent_words import consent_word_problems
from target_mainbrainer.config.files import FILE_SETTINGS, check_files
from target_mainbrainer.config.kinds import KINDS
from target_mainbrainer.config.limits import DEFAULT_API_URL
from target_mainbrainer.config.schema import SETTINGS
from target_mainbrainer.config.stream_maps import stream_map_problems
from target_mainbrainer.words import shown

if t.TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jsonschema import ValidationError

NEED_LEDGER = (
    "unchanged_contacts",
    "identity_changes",
    "unchanged_opt_in",
    "missing_records",
    "max_drift_percent",
)
"""What means nothing without a ledger; a default that Meltano passes on is no wish."""


def check_config(config: Mapping[str, t.Any], *, schema: Mapping[str, t.Any]) -> Iterator[str]:
    """Say in plain sentences what is wrong with a configuration; no value is ever repeated.

    Args:
        config: The configuration as given, without its defaults.
        schema: The JSON schema to hold it to: `SETTINGS`, and the SDK's own settings.
    """
    return map(shown, _problems(config, schema))


def _problems(config: Mapping[str, t.Any], schema: Mapping[str, t.Any]) -> Iterator[str]:
    given = {name: value for name, value in config.items() if value not in ("", None)}
    # Looked at first: the SDK's schema of this setting is none that can be asked about it.
    if maps := list(stream_map_problems(config.get("stream_maps"))):
        yield from maps
        return
    errors = list(DEFAULT_JSONSCHEMA_VALIDATOR(schema).iter_errors(given))
    for error in errors:
        yield from _sentences(error)
    if not errors:
        yield from _contradictions(given)
        yield from _without_ledger(given)
        yield from _half_characters(given)
        yield from _bad_values(given)
        yield from check_files(given)


def _sentences(error: ValidationError) -> Iterator[str]:
    """Turn one finding of the schema's into sentences that name the setting, not its value."""
    where = ".".join(str(step) for step in error.absolute_path)
    wanted: t.Any = error.validator_value
    match error.validator:
        case "additionalProperties":
            schema: t.Any = error.schema
            known = list(schema["properties"])
            given: t.Any = error.instance
            for name in sorted(set(given) - set(known)):
                near = difflib.get_close_matches(name, known, n=1)
                hint = f" Did you mean '{near[0]}'?" if near else ""
                place = f" in '{where}'" if where else ""
                yield f"There is no setting '{name}'{place}.{hint}"
        case "type":
            kinds = [wanted] if isinstance(wanted, str) else wanted
            names = " or ".join(KINDS[kind] for kind in kinds if kind != "null")
            yield f"Setting '{where}' must be {names}."
        case "enum":
            names = " or ".join(f"'{name}'" for name in wanted if name is not None)
            yield f"Setting '{where}' must be {names}."
        case "minimum":
            yield f"Setting '{where}' must be at least {wanted}."
        case "maximum":
            yield f"Setting '{where}' must be at most {wanted}."
        case "minProperties" | "maxProperties":
            yield f"Setting '{where}' must name a 'property_name' or a 'property_id', not both."
        case _:
            yield f"Setting '{where}' does not fit ({error.validator})."


def _contradictions(given: Mapping[str, t.Any]) -> Iterator[str]:
    trio = ("username", "password", "private_token")
    some = [name for name in trio if name in given]
    if "access_token" in given and some:
        yield (
            f"Settings 'access_token' and '{some[0]}' are two kinds of credentials. Set "
            "'access_token', or all of 'username', 'password' and 'private_token'."
        )
    elif (
        not given.keys() & {"access_token", "sandbox_path"}
        and len(some) < len(trio)
        and not given.get("dry_run")  # which sends no request
    ):
        only = f"only {_listed(some)} {'is' if len(some) == 1 else 'are'} set" if some else ""
        yield (
            "Set either 'access_token' or all of 'username', 'password' and 'private_token'"
            f"; {only or 'none is set'}. To try a load without an account, set 'sandbox_path'."
        )
    if given.get("flattening_enabled") and "flattening_max_depth" not in given:
        yield "Setting 'flattening_enabled' needs 'flattening_max_depth' beside it, such as 1."
    if "sandbox_path" in given:
        for name in ("api_url", "auth_url"):
            if given.get(name, DEFAULT_API_URL) != DEFAULT_API_URL:
                yield (
                    f"Settings 'sandbox_path' and '{name}' contradict each other: a sandbox has "
                    "an address of its own. Remove one of them."
                )


def _without_ledger(given: Mapping[str, t.Any]) -> Iterator[str]:
    """Say which settings do nothing without a ledger, if there is none."""
    if "ledger_uri" in given:
        return
    for name in NEED_LEDGER:
        if given.get(name, _default(name)) != _default(name):
            yield (
                f"Setting '{name}' needs a ledger, and there is none. Set 'ledger_uri', or remove "
                f"'{name}'."
            )


def _default(name: str) -> t.Any:  # noqa: ANN401 - of whatever kind the setting is
    return SETTINGS["properties"][name].get("default")


def _listed(names: list[str]) -> str:
    return " and ".join(f"'{name}'" for name in names)


def _half_characters(value: object, where: str = "") -> Iterator[str]:
    """Say which texts hold what UTF-8 cannot write, so that no request could be made with them."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in FILE_SETTINGS:  # a path is looked at as such
                yield from _half_characters(inner, f"{where}.{name}" if where else name)
    elif isinstance(value, list):
        for inner in value:
            yield from _half_characters(inner, where)
    elif isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            yield f"Setting '{where}' holds half a character, which cannot be sent."


def _bad_values(given: Mapping[str, t.Any]) -> Iterator[str]:
    yield from consent_word_problems("consent_words", given.get("consent_words", {}))
    for name in ("api_url", "auth_url"):
        if name in given:
            yield from _bad_url(name, given[name])
    code = given.get("default_country_code")
    if code is not None and code not in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        yield f"Setting 'default_country_code' is {code}, which is no country's calling code."
    own = given.get("streams", {})
    places = [("", given), *((f"streams.{stream}.", values) for stream, values in own.items())]
    for prefix, values in places:
        if values.get("list_id") and not is_uuid(values["list_id"]):
            yield f"Setting '{prefix}list_id' is not a UUID."
        for column, use in (values.get("field_map") or {}).items():
            if isinstance(use, dict) and not is_uuid(use.get("property_id", _ANY_UUID)):
                yield f"Setting '{prefix}field_map.{column}.property_id' is not a UUID."


_ANY_UUID = "00000000-0000-0000-0000-000000000000"


def is_uuid(text: str) -> bool:
    """Tell whether a text is a UUID in the usual spelling, hyphens included.

    >>> is_uuid("3fa85f64-5717-4562-b3fc-2c963f66afa6")
    True
    >>> is_uuid("3fa85f64-5717-4562-b3fc-123123d23dds")
    False
    """
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _bad_url(name: str, url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
        _ = parts.port, url.encode()
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        yield f"Setting '{name}' is not a URL; it should look like '{DEFAULT_API_URL}'."
    elif parts.username or parts.password:
        yield f"Setting '{name}' holds a user name or password. Use the settings for credentials."
    elif "?" in url or "#" in url:  # even with nothing behind it
        yield (
            f"Setting '{name}' has a '?' or '#' in it, and what is asked would be put behind it. "
            "Give the address alone."
        )
    elif parts.scheme == "http" and not is_loopback(parts.hostname):
        yield (
            f"Setting '{name}' is plain http, which would send the token and the contacts "
            "unencrypted. Use https; http is accepted for a loopback address only."
        )
