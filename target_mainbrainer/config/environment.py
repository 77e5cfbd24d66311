"""What is wrong with the environment's variables, in sentences that never repeat a value."""

from __future__ import annotations

import difflib
import json
import typing as t

from target_mainbrainer.config.kinds import KINDS

if t.TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

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
