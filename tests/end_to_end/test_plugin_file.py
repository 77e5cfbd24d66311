"""The plugin file is in MeltanoHub's format, and declares the loader as `meltano.yml` does.

That `meltano add --from-ref` takes it, and that what it names can be installed, is shown by the
commands of `docs/first-night.md`.
"""

from __future__ import annotations

import shlex
import typing as t

import jsonschema
import pytest
import yaml

from target_mainbrainer.settings.declared import SETTINGS
from tests.projects import REPOSITORY

PLUGIN_FILE = REPOSITORY / "plugins" / "loaders" / "target-mainbrainer.yml"
PLUGIN: dict[str, t.Any] = yaml.safe_load(PLUGIN_FILE.read_text(encoding="utf-8"))

# What the Hub's schemas (meltano/hub, folder `schemas`) allow of a loader. They are closed: a key
# or a kind that is not listed there is refused.
TEXT, BOOLEAN = {"type": "string", "minLength": 1}, {"type": "boolean"}


def closed(required: str, texts: str, **more: object) -> dict[str, object]:
    """Return the schema of an object with these members that are texts, and some others."""
    members = dict.fromkeys(texts.split(), TEXT) | more
    known = {"properties": members, "additionalProperties": False}
    return known | {"type": "object", "required": required.split()}


def list_of(items: object) -> dict[str, object]:
    return {"type": "array", "items": items}


KINDS = """
oauth hidden password date_iso8601 file email integer options object array boolean string decimal
"""
CAPABILITIES = """
about stream-maps activate-version batch soft-delete hard-delete datatype-failsafe
schema-flattening target-schema validate-records structured-logging
"""
STATUSES = ["active", "beta", "development", "inactive", "unknown"]
SETTING = closed(
    "name",
    "name label placeholder description tooltip documentation env docs",
    hidden=BOOLEAN,
    sensitive=BOOLEAN,
    aliases=list_of(TEXT),
    value={},
    kind={"enum": KINDS.split()},
    options=list_of({"type": "object", "properties": {"label": TEXT, "value": TEXT}}),
)
LOADER = closed(
    "name namespace variant quality",
    "name namespace variant label description pip_url executable python log_parser definition "
    "next_steps settings_preamble usage prereq",
    **{key: {"pattern": "^https://"} for key in ("repo", "docs", "logo_url", "domain_url")},
    quality={"enum": ["gold", "silver", "bronze", "unknown"]},
    maintenance_status={"enum": STATUSES},
    keywords=list_of(TEXT),
    supported_python_versions={"items": {"pattern": r"^3\.\d+$"}},
    capabilities=list_of({"enum": CAPABILITIES.split()}),
    commands={"type": "object"},
    settings_group_validation={"items": list_of(TEXT)},
    settings=list_of(SETTING),
)


def test_the_hub_would_take_it() -> None:
    jsonschema.Draft202012Validator(LOADER).validate(PLUGIN)


@pytest.mark.parametrize(
    "wrong",
    [{"version": 1}, {"settings": [{"name": "a", "kind": "number"}]}, {"quality": "best"}],
    ids=["another key", "another kind", "another word"],
)
def test_the_copy_of_the_hubs_rules_is_closed(wrong: dict[str, t.Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(LOADER).validate(PLUGIN | wrong)


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
