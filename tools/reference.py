"""Generates documents from what the code declares: `make format` writes, `make docs` checks.

The settings stand in `docs/settings.md`, in the plugin file that `meltano add --from-ref` reads,
and in the demo's own `meltano.yml`; the counts stand in `docs/report.md`. What is installed, an
address in git or a version, is copied from README: the release workflow changes it there.
"""

from __future__ import annotations

import copy
import json
import re
import sys
import textwrap
import tomllib
import typing as t
from pathlib import Path

from target_mainbrainer.report.counts import COUNTS, DETAILS
from target_mainbrainer.settings.declared import GROUPS, SETTINGS
from target_mainbrainer.target import TargetMainBrainer

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

REPOSITORY = Path(__file__).parent.parent
MELTANO_YML = REPOSITORY / "meltano.yml"
PLUGIN_YML = REPOSITORY / "plugins" / "loaders" / "target-mainbrainer.yml"
SETTINGS_MD = REPOSITORY / "docs" / "settings.md"
REPORT_MD = REPOSITORY / "docs" / "report.md"
DATABASES_MD = REPOSITORY / "docs" / "databases.md"
README_MD = REPOSITORY / "README.md"

_GENERATED = "<!-- From here on `make format` writes this page, from the settings' schema. -->"
_COUNTS = "<!-- `make format` writes this table, from the counts' own words. -->"
_END = "<!-- End of the table. -->"

_COMMANDS = (
    "  ledger:",
    "    executable: mainbrainer-ledger",
    "    description: Show or forget what was delivered",
    "  sandbox:",
    "    executable: mainbrainer-sandbox",
    "    description: Look into a rehearsal",
)
"""For `meltano invoke target-mainbrainer:ledger`. They find their database in the environment.

`--check` and `--dry-run` are not among them: Meltano 4.4 gives a command no configuration file, and
flattens objects in the environment, so that `streams` and `field_map` would be misread.
"""


# Settings as people meet them

FIRST = ("access_token", "field_map", "default_country_code", "rejects_path", "ledger_uri")
SDK_GROUP = "Every target of the Singer SDK has"
_REQUIRED = (
    "Required is one of `access_token`, `sandbox_path`, or `username` with `password` and "
    "`private_token`."
)

_SENTENCE = re.compile(r"(?<=\.)\s")
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

    @property
    def kind_in_words(self) -> str:
        """What can be set."""
        words = " or ".join(f"`{choice}`" for choice in self.choices)
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
        default = setting.default
        if default is not None:
            default = f"`{default if isinstance(default, str) else json.dumps(default)}`"
        cells = (f"`{setting.name}`", setting.kind_in_words, default or "", setting.description)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


# For Meltano


def meltano_yml(text: str) -> str:
    """Return `meltano.yml` with the loader's capabilities and settings as they are now."""
    head, loader = text.split("\n  - name: target-mainbrainer\n", maxsplit=1)
    parts = {
        "commands": _COMMANDS,
        "capabilities": [f"- {ability.value}" for ability in TargetMainBrainer.capabilities],
        "settings": [line for setting in settings() for line in _declaration(setting)],
    }
    for key, lines in parts.items():
        before, rest = loader.split(f"\n    {key}:", maxsplit=1)
        after = re.sub(r"\A[^\n]*(\n    (- |  )[^\n]*)+", "", rest)
        part = textwrap.indent("\n".join(lines), " " * 4)
        loader = f"{before}\n    {key}:\n{part}{after}"
    return f"{head}\n  - name: target-mainbrainer\n{loader}"


def source_in(readme: str) -> str:
    """Return where README installs the target from: ` @ git+...` or `==...`."""
    return str(re.findall(r"'target-mainbrainer\[sandbox\]([^']+)'", readme)[0])


def plugin_yml(readme: str) -> str:
    """Return the definition of the loader in MeltanoHub's format."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    repository = project["urls"]["Homepage"]
    pythons = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    lines = [
        "# The loader's definition in MeltanoHub's format, for `meltano add --from-ref`.",
        "# `make format` writes it, from the settings' schema.",
        "name: target-mainbrainer",
        "namespace: target_mainbrainer",
        "variant: target-mainbrainer",
        "label: MainBrainer",
        "description: Upserts the records of any tap as contacts into the MainBrainer CRM.",
        f"docs: {project['urls']['Documentation']}",
        f"repo: {repository}",
        "# The inner quotes keep the extra and the address together: Meltano splits at blanks.",
        f"pip_url: \"'target-mainbrainer[sandbox]{source_in(readme)}'\"",
        "executable: target-mainbrainer",
        "maintenance_status: active",
        "quality: unknown # the Hub says what it is",
        "keywords: [meltano_sdk, CRM, reverse ETL]",
        f"supported_python_versions: {json.dumps(pythons)}",
        "capabilities:",
        # `structured-logging` is what lets Meltano show a warning as a warning.
        *(f"- {ability.value}" for ability in TargetMainBrainer.capabilities),
        "commands:",
        *_COMMANDS,
        "settings_group_validation:",
        "- [access_token]",
        "- [username, password, private_token]",
        "- [sandbox_path]",
        "settings:",
    ]
    for group, members in groups().items():
        lines += ["", f"# {group}"]
        lines += [line for setting in members for line in _declaration(setting)]
    return "\n".join(lines) + "\n"


def _declaration(setting: Setting) -> Iterator[str]:
    """Yield a setting as Meltano declares it: `meltano add` copies it into the user's project.

    Defaults, choices and help are the target's own; docs/settings.md shows them.
    """
    yield f"- name: {setting.name}"
    yield f"  kind: {'string' if setting.choices else setting.kind}"
    if setting.is_secret:
        yield "  sensitive: true"
    yield f"  description: {json.dumps(setting.summary, ensure_ascii=False)}"


# For the docs


def settings_md(text: str) -> str:
    """Return `docs/settings.md` with its tables as the settings are now."""
    before, _ = text.split(_GENERATED, maxsplit=1)
    return f"{before}{_GENERATED}\n\n{tables('##')}\n"


def databases_md(text: str, readme: str) -> str:
    """Return `docs/databases.md` with the target installed as in README."""
    install = rf"\1{source_in(readme)}'"
    return re.sub(r"('target-mainbrainer\[sandbox,postgres\])[^']+'", install, text)


def report_md(text: str) -> str:
    """Return `docs/report.md` with the table of the counts as they are now."""
    before, rest = text.split(f"{_COUNTS}\n", maxsplit=1)
    _, after = rest.split(_END, maxsplit=1)
    rows = ["| Count | What it is |", "|---|---|"]
    rows += [f"| `{name}` | {meaning} |" for name, meaning in COUNTS.items()]
    rows += [f"| `{name}` | {meaning} |" for name, meaning in DETAILS.items()]
    return f"{before}{_COUNTS}\n\n" + "\n".join(rows) + f"\n\n{_END}{after}"


def main() -> int:
    """Bring the documents up to date, or with `--check` say which are not."""
    readme = README_MD.read_text(encoding="utf-8")
    documents = {
        DATABASES_MD: databases_md(DATABASES_MD.read_text(encoding="utf-8"), readme),
        MELTANO_YML: meltano_yml(MELTANO_YML.read_text(encoding="utf-8")),
        PLUGIN_YML: plugin_yml(readme),
        REPORT_MD: report_md(REPORT_MD.read_text(encoding="utf-8")),
        SETTINGS_MD: settings_md(SETTINGS_MD.read_text(encoding="utf-8")),
    }
    stale = [
        path
        for path, text in documents.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if "--check" in sys.argv[1:]:
        for path in stale:
            name = path.relative_to(REPOSITORY)
            sys.stderr.write(f"{name} does not show the settings as they are: `make format`.\n")
        return int(bool(stale))
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(documents[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
