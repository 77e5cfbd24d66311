"""Writes the settings down for people: in `meltano.yml`, and for the README, which calls it by cog.

`make format` brings both up to date, and `make lint` fails when they are not.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import sys
import textwrap
import typing as t
from pathlib import Path

from target_mainbrainer.config.schema import SETTINGS
from target_mainbrainer.target import TargetMainBrainer

if t.TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MELTANO_YML = Path(__file__).parent.parent / "meltano.yml"
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
        is_own: Whether it is ours, and not one that every target of the Singer SDK has.
    """

    name: str
    schema: Mapping[str, t.Any]
    is_own: bool

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
        """Whether it opens a door."""
        return bool(self.schema.get("secret"))

    @property
    def default(self) -> t.Any:
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


def settings() -> list[Setting]:
    """Return every setting; an object whose members are known is given by its members."""
    schema = copy.deepcopy(TargetMainBrainer.config_jsonschema)
    TargetMainBrainer.append_builtin_config(schema)
    return [
        Setting(name, member, is_own=name in SETTINGS["properties"])
        for name, member in _members(schema["properties"])
    ]


def _members(
    properties: Mapping[str, t.Any], prefix: str = ""
) -> Iterator[tuple[str, Mapping[str, t.Any]]]:
    for name, schema in properties.items():
        inner = schema.get("properties") or {}
        if inner and "__else__" not in inner:  # stream maps are open, but for that
            yield from _members(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", schema


def meltano_yml(text: str) -> str:
    """Return `meltano.yml` with the loader's capabilities and settings as they are now."""
    head, loader = text.split("\n  - name: target-mainbrainer\n", maxsplit=1)
    parts = {
        "capabilities": [f"- {ability.value}" for ability in TargetMainBrainer.capabilities],
        "settings": [line for setting in settings() for line in _declaration(setting)],
    }
    for key, lines in parts.items():
        before, rest = loader.split(f"\n    {key}:", maxsplit=1)
        after = re.sub(r"\A[^\n]*(\n    [- ][^\n]*)+", "", rest)
        part = textwrap.indent("\n".join(lines), " " * 4)
        loader = f"{before}\n    {key}:\n{part}{after}"
    return f"{head}\n  - name: target-mainbrainer\n{loader}"


def _declaration(setting: Setting) -> Iterator[str]:
    """Yield a setting as Meltano declares it, its keys in the order Meltano writes them."""
    yield f"- name: {setting.name}"
    yield f"  kind: {setting.kind}"
    # A default address would contradict 'sandbox_path' if it were ever another than ours.
    is_default_written = setting.default not in (None, {}, []) and setting.name != "api_url"
    if is_default_written:
        yield f"  value: {_as_written(setting.default)}"
    yield f"  label: {setting.label}"
    yield "  description: >-"
    yield textwrap.fill(
        setting.description,
        _WIDTH - 4,
        initial_indent=" " * 4,
        subsequent_indent=" " * 4,
        break_long_words=False,
        break_on_hyphens=False,
    )
    if setting.choices:
        yield "  options:"
        for choice in setting.choices:
            yield f"  - label: {choice}"
            yield f"    value: {choice}"
    if setting.default and not is_default_written:
        yield f"  placeholder: {setting.default}"
    if setting.is_secret:
        yield "  sensitive: true"


def settings_table(*, own: bool) -> str:
    """Return the settings as a table for the README: ours, or those of every SDK target."""
    rows = ["| Setting | Kind | Default | What it does |", "|---|---|---|---|"]
    for setting in settings():
        if setting.is_own is own:
            kind = " or ".join(f"`{choice}`" for choice in setting.choices) or _KINDS[setting.kind]
            secret = "secret " if setting.is_secret else ""
            default = "" if setting.default is None else f"`{_as_written(setting.default)}`"
            cells = (f"`{setting.name}`", f"{secret}{kind}", default, setting.description)
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _as_written(default: object) -> str:
    return default if isinstance(default, str) else json.dumps(default)


def main() -> int:
    """Bring `meltano.yml` up to date, or with `--check` say whether it is."""
    before = MELTANO_YML.read_text(encoding="utf-8")
    after = meltano_yml(before)
    if "--check" in sys.argv[1:]:
        if before != after:
            sys.stderr.write("meltano.yml does not show the settings as they are: `make format`.\n")
        return int(before != after)
    MELTANO_YML.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
