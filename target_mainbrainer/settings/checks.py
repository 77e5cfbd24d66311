"""Problems of a configuration, in plain sentences that never repeat a secret.

Values, and variables of the environment. A problem that could be seen here must not end a run after
its first contact. Whether a file is of the kind that a setting names is seen where it is opened.
"""

from __future__ import annotations

import difflib
import fnmatch
import importlib.util
import itertools
import json
import os.path
import re
import typing as t
from collections.abc import Container, Iterable, Iterator, Mapping

import phonenumbers
from singer_sdk.typing import DEFAULT_JSONSCHEMA_VALIDATOR

from target_mainbrainer.settings.declared import (
    BUILT_IN_WORDS,
    DEFAULT_API_URL,
    NULL_WORD,
    SETTINGS,
    ConsentWords,
    plain_word,
)
from target_mainbrainer.words import KINDS, did_you_mean, is_uuid, listed, shown

_FILES = ("sandbox_path", "suppression_path", "ledger_uri", "rejects_path", "report_path")
_NAMES = [*SETTINGS["properties"]]
_OF_THE_LEDGER = _NAMES[_NAMES.index("ledger_uri") + 1 : _NAMES.index("write_mode")]
_URL = re.compile(
    r"(https://([\w.-]+|\[[\da-f:.]+\])|https?://(localhost|127\.0\.0\.1|\[::1\]))"
    r"(:(?P<port>\d{1,5}))?(/[^?#\s]*)?",
    re.IGNORECASE,
)
_NEEDS_LEDGER = "Setting '{0}' needs a ledger. Set 'ledger_uri', or remove '{0}'."


def check_config(config: Mapping[str, t.Any], *, schema: Mapping[str, t.Any]) -> Iterator[str]:
    """Return a sentence for each problem of a configuration.

    Args:
        config: The configuration as given, without its defaults.
        schema: The JSON schema of all settings: `SETTINGS`, and the SDK's own.
    """
    given = {name: value for name, value in config.items() if value not in ("", None)}
    return map(shown, _problems(given, schema))


def _problems(given: Mapping[str, t.Any], schema: Mapping[str, t.Any]) -> Iterator[str]:
    try:
        errors = list(DEFAULT_JSONSCHEMA_VALIDATOR(schema).iter_errors(given))
    except Exception:  # noqa: BLE001 - the SDK's schema is no schema there, and fails in any way
        yield f"Setting 'stream_maps': '__else__' must be null ('{NULL_WORD}')."
        return
    for error in errors:
        yield from _sentences(error)
    if not errors:
        yield from _contradictions(given)
        yield from _bad_values(given)


def _sentences(error: t.Any) -> Iterator[str]:  # noqa: ANN401 - of `jsonschema`
    """Return sentences for a finding of the schema's, which would repeat the value itself."""
    where, wanted = ".".join(map(str, error.absolute_path)), error.validator_value
    match error.validator:
        case "additionalProperties":
            known = error.schema["properties"]
            for name in sorted(error.instance.keys() - known.keys()):
                yield _unknown(name, known, f" in '{where}'" if where else "")
        case "type":
            kinds = [wanted] if isinstance(wanted, str) else wanted
            names = " or ".join(KINDS[kind] for kind in kinds if kind != "null")
            yield f"Setting '{where}' must be {names}."
        case "enum":
            names = " or ".join(f"'{name}'" for name in wanted)
            yield f"Setting '{where}' must be {names}."
        case "minimum" | "maximum":
            most = "least" if error.validator == "minimum" else "most"
            yield f"Setting '{where}' must be at {most} {wanted}."
        case _:
            yield f"Setting '{where}' does not fit ({error.validator})."


def _unknown(name: str, known: Iterable[str], place: str = "") -> str:
    return f"There is no setting '{name}'{place}.{did_you_mean(name, known)}"


def _contradictions(given: Mapping[str, t.Any]) -> Iterator[str]:
    """Return the problems of settings that do not go together."""
    trio = ["username", "password", "private_token"]
    found = [name for name in ("access_token", *trio) if name in given]
    needs_none = "sandbox_path" in given or given.get("dry_run")  # which sends no request
    if found not in (["access_token"], trio) and (not needs_none or "access_token" in found):
        yield (
            "Set either 'access_token' or all of 'username', 'password' and 'private_token'; you "
            f"have set {listed(found) or 'none of them'}. To try a load without an account, set "
            "'sandbox_path'."
        )
    if given.get("flattening_enabled") and "flattening_max_depth" not in given:
        yield "Setting 'flattening_enabled' needs 'flattening_max_depth' beside it, such as 1."
    if given.get("faker_config") and not importlib.util.find_spec("faker"):
        yield "Setting 'faker_config' needs the extra 'faker': 'target-mainbrainer[faker]'."
    for name in ("api_url", "auth_url") if "sandbox_path" in given else ():
        if given.get(name, DEFAULT_API_URL) != DEFAULT_API_URL:
            yield (
                f"Settings 'sandbox_path' and '{name}' contradict each other: a sandbox has an "
                "address of its own. Remove one of them."
            )
    for name in _OF_THE_LEDGER if "ledger_uri" not in given else ():
        default = SETTINGS["properties"][name].get("default")
        if given.get(name, default) != default:  # Meltano passes defaults on
            yield _NEEDS_LEDGER.format(name)


# Values


def _bad_values(given: Mapping[str, t.Any]) -> Iterator[str]:
    paths = {one: re.sub(r"^sqlite[+\w]*:///", "", given[one]) for one in _FILES if one in given}
    files = {name: os.path.realpath(shown(path)) for name, path in paths.items()}  # not with NUL
    for one, other in itertools.combinations(files, 2):
        if files[one] == files[other]:
            yield f"Settings '{one}' and '{other}' name the same file. Give each one of its own."
    for name in ("api_url", "auth_url"):
        url = _URL.fullmatch(given.get(name, DEFAULT_API_URL))
        if url is None or int(url["port"] or 0) >= 1 << 16:
            yield (
                f"Setting '{name}' must be a URL such as '{DEFAULT_API_URL}', without a user name, "
                "a password, '?' and '#', and with a port of at most 65535. Plain http, which is "
                "not encrypted, is accepted for a loopback address only."
            )
    has_ledger = "ledger_uri" in given
    yield from _bad_stream_values("", given, has_ledger=has_ledger)
    for stream, own in given.get("streams", {}).items():
        yield from _bad_stream_values(f"streams.{stream}.", own, has_ledger=has_ledger)


def _bad_stream_values(
    prefix: str, given: Mapping[str, t.Any], *, has_ledger: bool
) -> Iterator[str]:
    """Return the problems of settings that a stream may have of its own."""
    yield from consent_word_problems(f"{prefix}consent_words", given.get("consent_words") or {})
    if given.get("list_id") and not is_uuid(given["list_id"]):
        yield f"Setting '{prefix}list_id' is not a UUID."
    code = given.get("default_country_code")
    if code is not None and code not in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        yield f"Setting '{prefix}default_country_code' is {code}, which no country has."
    for column, use in (given.get("field_map") or {}).items():
        if not isinstance(use, dict):
            continue
        place = f"{prefix}field_map.{column}"
        if len(use.keys() & {"field", "property_name", "property_id"}) != 1:
            yield f"Setting '{place}' must name one of 'field', 'property_name' and 'property_id'."
        elif "property_id" in use and not is_uuid(use["property_id"]):
            yield f"Setting '{place}.property_id' is not a UUID."
        if "send" in use and "field" in use:
            yield f"Setting '{place}.send' is for properties only; a contact field is always sent."
        elif "send" in use and not has_ledger:
            yield _NEEDS_LEDGER.format(f"{place}.send")


def consent_word_problems(place: str, own: ConsentWords) -> Iterator[str]:
    """Return the problems of words of consent: contradictions, and words without a meaning.

    >>> list(consent_word_problems("consent_words", {"yes": ["ja"], "no": ["JA "]}))
    ["Setting 'consent_words': 'ja' stands for both yes and no."]
    """
    yes, no = (
        {plain_word(word) for word in own.get(answer, ())}
        | {word for word, is_yes in BUILT_IN_WORDS.items() if is_yes is (answer == "yes")}
        for answer in ("yes", "no")
    )
    if "" in yes | no:
        yield f"Setting '{place}': a blank is not a word. An empty opt-in never means yes or no."
    for word in sorted(yes & no):
        yield f"Setting '{place}': '{shown(word)}' stands for both yes and no."


# The environment

_PREFIX = "TARGET_MAINBRAINER_"
_BOOLEANS = ("true", "1", "yes", "on", "false", "0", "no", "off", "")
_READERS: dict[str, t.Callable[[str], object]] = {
    "boolean": lambda text: _BOOLEANS.index(text.lower()),  # the SDK reads any other as false
    "integer": int,
    "object": json.loads,
    "array": json.loads,
}
"""Functions that raise ValueError at what is not of a kind."""


def misspelt(
    environ: Mapping[str, str], *, schema: Mapping[str, t.Any], given: Container[str] = ()
) -> Iterator[str]:
    """Return a sentence for each variable of ours that belongs to no setting, read or not.

    Meltano reads variables itself, hands settings over in a file, and passes by what it does not
    know. It also makes a variable of every setting in `meltano.yml`; those are in `given`, and a
    misspelt one has its sentence already.

    >>> schema = {"properties": {"batch_size_rows": {"type": ["integer", "null"]}}}
    >>> list(misspelt({"TARGET_MAINBRAINER_BATCHSIZE_ROWS": "7"}, schema=schema))
    ["There is no setting 'TARGET_MAINBRAINER_BATCHSIZE_ROWS'. Did you mean \
'TARGET_MAINBRAINER_BATCH_SIZE_ROWS'?"]
    """
    settings = _by_variable(schema)
    # What begins with another `_` is Meltano's, LOGLEVEL the SDK's; members of an object follow it.
    objects = [f"{name}_" for name, one in settings.items() if "object" in one.get("type", ())]
    known = (f"{_PREFIX}_", f"{_PREFIX}LOGLEVEL", *objects)
    for variable in sorted(environ.keys() - settings.keys()):
        name = variable.removeprefix(_PREFIX)
        if name != variable and name.lower() not in given and not variable.startswith(known):
            yield _unknown(variable, settings)


def misread(environ: Mapping[str, str], *, schema: Mapping[str, t.Any]) -> Iterator[str]:
    """Return a sentence for each variable that cannot be read as its setting's kind of value.

    >>> schema = {"properties": {"batch_size_rows": {"type": ["integer", "null"]}}}
    >>> list(misread({"TARGET_MAINBRAINER_BATCH_SIZE_ROWS": "many"}, schema=schema))
    ["Setting 'TARGET_MAINBRAINER_BATCH_SIZE_ROWS' must be a whole number."]
    """
    settings = _by_variable(schema)
    for variable in sorted(environ.keys() & settings.keys()):
        kind = settings[variable].get("type", ["string"])[0]
        try:
            _READERS.get(kind, str)(environ[variable])
        except (ValueError, RecursionError):
            form = ", written as JSON" if kind in {"object", "array"} else ""
            yield f"Setting '{variable}' must be {KINDS[kind]}{form}."


def not_read(
    environ: Mapping[str, str], config: Mapping[str, t.Any], schema: Mapping[str, t.Any]
) -> Iterator[str]:
    """Return a sentence if variables are set for settings not given, and none was read.

    Meltano sets variables, too, but of settings that it gives in a file as well.
    """
    unread = [
        variable
        for variable in _by_variable(schema)
        if environ.get(variable) and variable.removeprefix(_PREFIX).lower() not in config
    ]
    if unread:
        yield (
            f"The environment was not read, although it contains '{unread[0]}'. Add '--config ENV' "
            "to read it, too; in Meltano, name it below 'settings'."
        )


def misnamed(setting: str, named: Iterable[str], came: Iterable[str]) -> Iterator[str]:
    """Return a sentence for each stream that a setting names, and a similar one came instead.

    >>> list(misnamed("streams", ["peoples", "orders"], ["people"]))
    ["'streams' has an entry for stream 'peoples', and there was none. If it is for 'people', \
which was read without, correct the name."]
    """
    others = set(came) - set(named)
    for name in sorted(set(named) - set(came)):
        if fnmatch.filter(others, name):
            continue  # a stream map may be for all streams whose names have something in common
        for near in difflib.get_close_matches(name, others, n=1):
            yield (
                f"'{setting}' has an entry for stream '{shown(name)}', and there was none. If it "
                f"is for '{shown(near)}', which was read without, correct the name."
            )


def _by_variable(schema: Mapping[str, t.Any]) -> dict[str, Mapping[str, t.Any]]:
    return {f"{_PREFIX}{name.upper()}": setting for name, setting in schema["properties"].items()}
