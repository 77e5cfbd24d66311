"""The plugin file is in MeltanoHub's format; `make docs` writes it from what is declared.

That `meltano add --from-ref` takes it, and that what it names can be installed, is shown by the
commands of `docs/first-night.md`.
"""

import json
import shlex
import typing as t
from pathlib import Path

import jsonschema
import pytest
import yaml

from target_mainbrainer.settings.declared import SETTINGS
from tests.cases import cases
from tests.projects import REPOSITORY

PLUGIN_FILE = REPOSITORY / "plugins" / "loaders" / "target-mainbrainer.yml"
PLUGIN: dict[str, t.Any] = yaml.safe_load(PLUGIN_FILE.read_text(encoding="utf-8"))

# What the Hub's schemas (meltano/hub, folder `schemas`) allow of a loader. They are closed: a key
# or a kind that is not listed there is refused.
SCHEMA = json.loads(Path(__file__).with_name("hub-loader.schema.json").read_text())
HUB = jsonschema.Draft202012Validator(SCHEMA)


def test_the_hub_would_take_it() -> None:
    HUB.validate(PLUGIN)


@cases(
    "wrong",
    {"version": 1},
    {"settings": [{"name": "a", "kind": "number"}]},
    {"quality": "best"},
    ids=["another key", "another kind", "another word"],
)
def test_the_copy_of_the_hubs_rules_is_closed(wrong: dict[str, t.Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        HUB.validate(PLUGIN | wrong)


def test_a_setting_takes_four_lines_of_a_users_project_at_most() -> None:
    """`meltano add` copies them, and wraps what is longer than 80 characters."""
    for setting in PLUGIN["settings"]:
        assert setting.keys() <= {"name", "kind", "sensitive", "description"}
        assert ". " not in setting["description"], setting["name"]
    own = [one for one in PLUGIN["settings"] if one["name"] in SETTINGS["properties"]]
    assert [one["name"] for one in own if len(one["description"]) > 80] == []


def test_what_is_installed_is_one_requirement_with_the_sandbox() -> None:
    """Meltano splits the text at blanks, as a shell does."""
    (requirement,) = shlex.split(PLUGIN["pip_url"])
    name, address = requirement.split(" @ ")
    assert name == "target-mainbrainer[sandbox]"
    assert address == f"git+{PLUGIN['repo']}"
