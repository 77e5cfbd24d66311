"""What is wrong with a configuration, in plain sentences that never repeat a value."""

from __future__ import annotations

import difflib
import ipaddress
import itertools
import json
import os
import stat
import typing as t
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import phonenumbers
from singer_sdk.typing import DEFAULT_JSONSCHEMA_VALIDATOR

from target_mainbrainer.settings.declared import (
    BUILT_IN_WORDS,
    DEFAULT_API_URL,
    NULL_WORD,
    SETTINGS,
    plain_word,
)
from target_mainbrainer.wording import shown

if t.TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from jsonschema import ValidationError

    from target_mainbrainer.settings.declared import ConsentWords

KINDS: t.Final = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}
"""What a JSON schema's types are called in sentences."""

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
    # Looked at first: the SDK's schema cannot be asked about it.
    if maps := list(_bad_else(given.get("stream_maps"))):
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


def _bad_else(maps: object) -> Iterator[str]:
    """Find an `__else__` of the setting `stream_maps` that is not null.

    The SDK's schema has a text in the place of a schema there, at which a validator raises.
    """
    own = maps if isinstance(maps, dict) else {}
    for place, what in (("", maps), *((f".{stream}", what) for stream, what in own.items())):
        if isinstance(what, dict) and what.get("__else__") not in (None, NULL_WORD):
            yield (
                f"Setting 'stream_maps{place}.__else__' must be null ('{NULL_WORD}'), or be left "
                "out."
            )


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


def consent_word_problems(place: str, own: ConsentWords) -> Iterator[str]:
    """Say which words of the setting contradict each other, or mean nothing.

    >>> list(consent_word_problems("consent_words", {"yes": ["ja"], "no": ["JA "]}))
    ["Setting 'consent_words': 'ja' stands for both yes and no."]
    """
    given = {answer: {plain_word(word) for word in own.get(answer, ())} for answer in ("yes", "no")}
    if "" in given["yes"] | given["no"]:
        yield f"Setting '{place}': a blank is no word. An empty consent always means nothing."
    for word in sorted(given["yes"] & given["no"]):
        yield f"Setting '{place}': '{shown(word)}' stands for both yes and no."
    for answer, is_yes in (("yes", True), ("no", False)):
        for word in sorted(given[answer]):
            if BUILT_IN_WORDS.get(word, is_yes) is not is_yes:
                yield f"Setting '{place}': '{shown(word)}' always means the opposite of {answer}."


def is_loopback(host: str) -> bool:
    """Tell whether a host can only be this machine.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost")
    (True, True, True)
    >>> is_loopback("localhost.example.com"), is_loopback("127.0.0.1.example.org")
    (False, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# Files

FILE_SETTINGS = ("sandbox_path", "suppression_path", "ledger_uri", "rejects_path", "report_path")
_COMPANIONS = {
    "sandbox_path": ("-wal", "-shm", "-journal"),
    "ledger_uri": ("-wal", "-shm", "-journal"),
}


def check_files(given: Mapping[str, t.Any]) -> Iterator[str]:
    """Say which settings name what can be no file of theirs, and which name one file twice."""
    paths: dict[str, Path] = {}
    for name in FILE_SETTINGS:
        text = _path_in(name, given.get(name))
        if text is None:
            continue
        if problem := _problem_of(text):
            yield f"Setting '{name}' {problem}."
        else:
            paths[name] = Path(text)
    for (one, path), (other, other_path) in itertools.combinations(paths.items(), 2):
        if _are_same(path, other_path):
            yield (
                f"Settings '{one}' and '{other}' name the same file, which would be destroyed. "
                "Give each a file of its own."
            )
        elif any(_are_same(Path(f"{path}{end}"), other_path) for end in _COMPANIONS.get(one, ())):
            yield (
                f"Setting '{other}' names a companion of the database of '{one}', which would be "
                "destroyed. Give each a file of its own."
            )


def check_configuration_files(
    given: Mapping[str, t.Any], configuration_files: Iterable[Path]
) -> Iterator[str]:
    """Say which settings name a file that the settings themselves come from."""
    configuration_files = list(configuration_files)
    for name in FILE_SETTINGS:
        text = _path_in(name, given.get(name))
        if text and any(_are_same(Path(text), path) for path in configuration_files):
            yield (
                f"Setting '{name}' names the configuration file itself, which would be destroyed. "
                "Give it a file of its own."
            )


def _path_in(name: str, value: object) -> str | None:
    """Return the path that a setting holds, None if it names no file.

    >>> _path_in("ledger_uri", "sqlite:///ledger.db"), _path_in("ledger_uri", "ledger.db")
    ('ledger.db', 'ledger.db')
    >>> _path_in("ledger_uri", "postgresql://localhost/ledger") is None
    True
    """
    if not isinstance(value, str) or not value:
        return None
    if name == "ledger_uri" and "://" in value:
        scheme, _, rest = value.partition("://")
        path = rest.partition("?")[0].removeprefix("/")
        return path if scheme.startswith("sqlite") and path not in {"", ":memory:"} else None
    return value


def _problem_of(text: str) -> str:
    """Return why a text cannot be the path of a file, "" if it can."""
    if "\0" in text:
        return "holds a NUL, which no path may"
    try:
        os.fsencode(text)
        mode = Path(text).stat().st_mode
    except UnicodeError:
        return "holds half a character, which no path may"
    except OSError:
        return ""  # it may be made yet; if not, the part that opens it says so
    if stat.S_ISDIR(mode):
        return "names a folder, not a file"
    if not stat.S_ISREG(mode):
        return "names a device or a pipe, which keeps nothing: it must be a regular file"
    return ""


def _are_same(one: Path, other: Path) -> bool:
    """Return whether two paths lead to one file, by whatever links, also if it is not there yet."""
    try:
        if one.exists() and other.exists():
            return one.samefile(other)
        return os.path.realpath(one) == os.path.realpath(other)
    except OSError:
        return False


# The environment

PREFIX = "TARGET_MAINBRAINER_"

_NO_SETTINGS = {"LOGLEVEL"}
"""What the SDK reads under our prefix beside settings. Meltano's own begin with another `_`."""

_BOOLEANS = {"true", "1", "yes", "on", "false", "0", "no", "off"}
_KINDS_READ = {"integer", "boolean", "object", "array"}


def misspelt(
    environ: Mapping[str, str], *, schema: Mapping[str, t.Any], given: Container[str] = ()
) -> Iterator[str]:
    """Say which variables belong to no setting, whether the environment is read or not.

    Meltano reads variables itself and hands settings over in a file: it passes by what it does not
    know. It also makes a variable of every setting in `meltano.yml`; those are in `given`, and are
    not told twice when they are misspelt.

    >>> schema = {"properties": {"batch_size_rows": {"type": ["integer", "null"]}}}
    >>> list(misspelt({"TARGET_MAINBRAINER_BATCHSIZE_ROWS": "7"}, schema=schema))
    ["There is no setting 'TARGET_MAINBRAINER_BATCHSIZE_ROWS'. Did you mean \
'TARGET_MAINBRAINER_BATCH_SIZE_ROWS'?"]
    """
    settings = _settings_by_variable(schema)
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and not (
            variable in settings
            or variable.removeprefix(PREFIX).lower() in given
            or _is_no_setting(variable, settings)
        ):
            near = difflib.get_close_matches(variable, settings, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            yield f"There is no setting '{variable}'.{hint}"


def misread(environ: Mapping[str, str], *, schema: Mapping[str, t.Any]) -> Iterator[str]:
    """Say which variables cannot be read as the kind of value that their setting is.

    >>> schema = {"properties": {"batch_size_rows": {"type": ["integer", "null"]}}}
    >>> list(misread({"TARGET_MAINBRAINER_BATCH_SIZE_ROWS": "many"}, schema=schema))
    ["Setting 'TARGET_MAINBRAINER_BATCH_SIZE_ROWS' must be a whole number."]
    """
    settings = _settings_by_variable(schema)
    for variable in sorted(environ.keys() & settings.keys()):
        yield from _misread(variable, environ[variable], settings[variable])


def _settings_by_variable(schema: Mapping[str, t.Any]) -> dict[str, Mapping[str, t.Any]]:
    return {f"{PREFIX}{name.upper()}": setting for name, setting in schema["properties"].items()}


def _is_no_setting(variable: str, settings: Mapping[str, t.Any]) -> bool:
    """Return whether a variable is one of Meltano's or the SDK's, or a member of an object."""
    name = variable.removeprefix(PREFIX)
    is_member = any(
        variable.startswith(f"{known}_") and "object" in setting.get("type", ())
        for known, setting in settings.items()
    )
    return name.startswith("_") or name in _NO_SETTINGS or is_member


def _misread(variable: str, value: str, setting: Mapping[str, t.Any]) -> Iterator[str]:
    kinds = set(setting.get("type", ())) & _KINDS_READ
    if not kinds:
        return
    kind = kinds.pop()
    if kind == "boolean":
        # The SDK takes whatever it does not know for false.
        if value.lower() not in {*_BOOLEANS, ""}:
            yield f"Setting '{variable}' must be {KINDS[kind]}."
        return
    try:
        int(value) if kind == "integer" else json.loads(value)
    except (ValueError, RecursionError):
        form = "" if kind == "integer" else ", written as JSON"
        yield f"Setting '{variable}' must be {KINDS[kind]}{form}."


def not_read(
    environ: Mapping[str, str], config: Mapping[str, t.Any], *, schema: Mapping[str, t.Any]
) -> Iterator[str]:
    """Say that there are variables for settings that are not given, if the environment is not read.

    Meltano sets variables, too, but of settings that it gives in a file as well.
    """
    unread = [
        f"{PREFIX}{name.upper()}"
        for name in schema["properties"]
        if name not in config and environ.get(f"{PREFIX}{name.upper()}")
    ]
    if unread:
        variables = f"'{unread[0]}'"
        if len(unread) > 1:
            variables += f" and {len(unread) - 1} more"
        yield (
            f"The environment was not read, although it holds {variables}. Add '--config ENV' to "
            "read it, too."
        )
