"""What `--about` prints: the settings in their groups, with what each does and when to set it."""

from __future__ import annotations

import copy
import dataclasses
import json
import textwrap
import typing as t

from singer_sdk.about import AboutFormatter

from target_mainbrainer.settings.declared import GROUPS, SETTINGS
from target_mainbrainer.target import TargetMainBrainer

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

FIRST = ("access_token", "field_map", "default_country_code", "rejects_path", "ledger_uri")
"""What everybody sets first."""

FIRST_GROUP = "The five that everybody sets first"
SDK_GROUP = "Every target of the Singer SDK has"

_WIDTH = 98
_KINDS = {
    "string": "text",
    "integer": "whole number",
    "boolean": "true or false",
    "object": "object",
    "array": "list",
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting as its reader meets it.

    Attributes:
        name: As it is set; members of an object are joined to it with a dot.
        schema: Its JSON schema.
        group: The group it is shown in.
    """

    name: str
    schema: Mapping[str, t.Any]
    group: str

    @property
    def kind(self) -> str:
        """What Meltano calls it. There is no `number`, which Meltano does not know."""
        if self.choices:
            return "options"
        types = self.schema.get("type", "string")  # left out where it is one of several
        named = [types] if isinstance(types, str) else types
        return next(kind for kind in named if kind in _KINDS)

    @property
    def choices(self) -> list[str]:
        """The values it can have, if they are few."""
        return list(self.schema.get("enum", []))

    @property
    def is_secret(self) -> bool:
        """Whether it is a credential."""
        return bool(self.schema.get("secret"))

    @property
    def default(self) -> object:
        """Its default, or None."""
        return self.schema.get("default")

    @property
    def label(self) -> str:
        """What it is called."""
        return str(self.schema["title"])

    @property
    def description(self) -> str:
        """What it does."""
        return str(self.schema["description"])

    def kind_in_words(self, mark: str = "") -> str:
        """Return what can be set, with a mark around each of a few values."""
        words = " or ".join(f"{mark}{choice}{mark}" for choice in self.choices)
        return f"{'secret ' if self.is_secret else ''}{words or _KINDS[self.kind]}"


def settings() -> list[Setting]:
    """Return every setting; an object whose members are known is given by its members."""
    schema = copy.deepcopy(TargetMainBrainer.config_jsonschema)
    TargetMainBrainer.append_builtin_config(schema)
    group_of = _groups_by_name(schema["properties"])
    return [
        Setting(name, member, group_of[name.partition(".")[0]])
        for name, member in _members(schema["properties"])
    ]


def _groups_by_name(names: Iterable[str]) -> dict[str, str]:
    starts = {first: group for group, first in GROUPS.items()}
    found = {}
    group = ""
    for name in names:
        group = starts.get(name, group) if name in SETTINGS["properties"] else SDK_GROUP
        found[name] = group
    return found


def _members(
    properties: Mapping[str, t.Any], prefix: str = ""
) -> Iterator[tuple[str, Mapping[str, t.Any]]]:
    for name, schema in properties.items():
        inner = schema.get("properties") or {}
        if inner and all("title" in member for member in inner.values()):
            yield from _members(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", schema


def groups() -> dict[str, list[Setting]]:
    """Return the settings by group, in the schema's order and the SDK's own last."""
    found: dict[str, list[Setting]] = {}
    for setting in settings():
        found.setdefault(setting.group, []).append(setting)
    return found


def written(default: object) -> str:
    """Return a default as it is set."""
    return default if isinstance(default, str) else json.dumps(default)


def tables(heading: str) -> str:
    """Return all settings in Markdown: a heading and a table for each group.

    Args:
        heading: What a heading begins with, such as `##`.
    """
    by_name = {setting.name: setting for setting in settings()}
    parts = {FIRST_GROUP: [by_name[name] for name in FIRST]} | groups()
    return "\n\n".join(f"{heading} {group}\n\n{_table(parts[group])}" for group in parts)


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
    # The SDK's own list of settings is flat: what stands before it is kept.
    heading = "## Settings\n" if output_format == "markdown" else "Settings:\n"
    before = formatter.format_about(info).split(heading, maxsplit=1)[0]
    if output_format == "markdown":
        return f"{before}{heading}\n{tables('###')}"
    return f"{before}{heading}{''.join(_text(info.env_var_prefix))}"


def _text(prefix: str) -> Iterator[str]:
    yield f"  Everybody sets these first: {', '.join(FIRST)}.\n"
    yield f"  Each can be an environment variable: {prefix}FIELD_MAP for field_map.\n"
    for group, members in groups().items():
        yield f"\n{group}\n"
        for setting in members:
            default = "" if setting.default is None else f", default {written(setting.default)}"
            yield f"  {setting.name} ({setting.kind_in_words()}{default})\n"
            lines = textwrap.wrap(setting.description, _WIDTH - 6, break_on_hyphens=False)
            yield "".join(f"      {line}\n" for line in lines)
