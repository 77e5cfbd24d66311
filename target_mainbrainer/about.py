"""The settings as `--about` and the docs show them: in their groups, with when to set each."""

from __future__ import annotations

import copy
import json
import re
import textwrap
import typing as t

from singer_sdk.about import AboutFormatter

from target_mainbrainer.settings.declared import GROUPS, SETTINGS
from target_mainbrainer.target import TargetMainBrainer

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

FIRST = ("access_token", "field_map", "default_country_code", "rejects_path", "ledger_uri")
SDK_GROUP = "Shared by all targets of the Singer SDK"
_REQUIRED = (
    "One of these is required: `access_token`, `sandbox_path`, or `username` with `password` and "
    "`private_token`."
)

_SENTENCE = re.compile(r"(?<=\.)\s")
_WIDTH = 98
_KINDS = {
    "string": "text",
    "integer": "whole number",
    "boolean": "true or false",
    "object": "object",
    "array": "list",
}


class Setting(t.NamedTuple):
    """One setting, or one member of an object, as people meet it.

    Attributes:
        name: A member of an object is joined to it with a dot.
        kind: Meltano's name for its type. There is no `number`, which Meltano does not know.
        choices: The values it can have, if they are few.
    """

    name: str
    label: str
    description: str
    kind: str
    choices: list[str]
    default: object
    is_secret: bool

    @property
    def summary(self) -> str:
        """The first sentence of the description, without its period."""
        return _SENTENCE.split(self.description, maxsplit=1)[0].removesuffix(".")

    def kind_in_words(self, mark: str = "") -> str:
        """Return what can be set, with a mark around each of a few values."""
        words = " or ".join(f"{mark}{choice}{mark}" for choice in self.choices)
        return f"{'secret ' if self.is_secret else ''}{words or _KINDS[self.kind]}"


def groups() -> dict[str, list[Setting]]:
    """Return all settings by group, in the order of the schema; the SDK's own come last."""
    schema = copy.deepcopy(TargetMainBrainer.config_jsonschema)
    TargetMainBrainer.append_builtin_config(schema)
    group_of = _groups_by_name(schema["properties"])
    found: dict[str, list[Setting]] = {}
    for name, setting in schema["properties"].items():
        found.setdefault(group_of[name], []).extend(_settings(name, setting))
    return found


def settings() -> list[Setting]:
    """Return all settings, in the order of the schema."""
    return [setting for members in groups().values() for setting in members]


def _groups_by_name(names: Iterable[str]) -> dict[str, str]:
    starts = {first: group for group, first in GROUPS.items()}
    found = {}
    group = ""
    for name in names:
        group = starts.get(name, group) if name in SETTINGS["properties"] else SDK_GROUP
        found[name] = group
    return found


def _settings(name: str, schema: Mapping[str, t.Any]) -> Iterator[Setting]:
    """Yield a setting, or in its place its members if they have words of their own."""
    members = schema.get("properties") or {}
    if members and all("title" in member for member in members.values()):
        for member, inner in members.items():
            yield from _settings(f"{name}.{member}", inner)
        return
    types = schema.get("type", "string")  # left out where it is one of several
    kinds = [types] if isinstance(types, str) else types
    choices = list(schema.get("enum", ()))
    yield Setting(
        name,
        schema["title"],
        schema["description"],
        "options" if choices else next(kind for kind in kinds if kind in _KINDS),
        choices,
        schema.get("default"),
        bool(schema.get("secret")),
    )


def written(default: object) -> str:
    """Return a default as it is set."""
    return default if isinstance(default, str) else json.dumps(default)


def tables(heading: str) -> str:
    """Return all settings in Markdown: those to set first, then a table for each group.

    Args:
        heading: The mark of a heading, such as `##`.
    """
    first = (
        f"{_REQUIRED} Most projects set these first: {', '.join(f'`{name}`' for name in FIRST)}."
    )
    parts = [f"{heading} {group}\n\n{_table(members)}" for group, members in groups().items()]
    return "\n\n".join([first, *parts])


def _table(members: Iterable[Setting]) -> str:
    rows = ["| Setting | Kind | Default | What it does, and when to set it |", "|---|---|---|---|"]
    for setting in members:
        default = "" if setting.default is None else f"`{written(setting.default)}`"
        cells = (f"`{setting.name}`", setting.kind_in_words("`"), default, setting.description)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def about(output_format: str | None) -> str:
    """Return what `--about` prints, in a format that the SDK knows."""
    info = TargetMainBrainer._get_about_info()  # noqa: SLF001 - the SDK has no other way to it
    formatter = AboutFormatter.get_formatter(output_format or "text")
    if output_format == "json":
        properties = info.settings["properties"]
        for name, group in _groups_by_name(properties).items():
            properties[name] = {**properties[name], "group": group}
        return formatter.format_about(info)
    # The SDK's own list of settings is flat; only what stands before it is used.
    heading = "## Settings\n" if output_format == "markdown" else "Settings:\n"
    before = formatter.format_about(info).split(heading, maxsplit=1)[0]
    if output_format == "markdown":
        return f"{before}{heading}\n{tables('###')}"
    return f"{before}{heading}{''.join(_text(info.env_var_prefix))}"


def _text(prefix: str) -> Iterator[str]:
    yield f"  {_REQUIRED.replace('`', '')}\n"
    yield f"  Most projects set these first: {', '.join(FIRST)}.\n"
    yield f"  Each can be an environment variable: {prefix}FIELD_MAP for field_map.\n"
    for group, members in groups().items():
        yield f"\n{group}\n"
        for setting in members:
            default = "" if setting.default is None else f", default {written(setting.default)}"
            yield f"  {setting.name} ({setting.kind_in_words()}{default})\n"
            lines = textwrap.wrap(setting.description, _WIDTH - 6, break_on_hyphens=False)
            yield "".join(f"      {line}\n" for line in lines)
