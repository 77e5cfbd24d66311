"""The schema tells people what they need: its groups, and when to set what."""

import re

from target_mainbrainer.settings import declared
from target_mainbrainer.settings.declared import CONTACT_FIELDS, SETTINGS, Settings

NAMES = list(SETTINGS["properties"])
WHEN = re.compile(r"\b(set|choose|raise|lower|change|nothing to set)\b", re.IGNORECASE)


def test_every_description_says_when_to_set_it() -> None:
    described = {name: SETTINGS["properties"][name]["description"] for name in NAMES}
    silent = [name for name, text in described.items() if not WHEN.search(text)]
    assert silent == []
    assert all(setting["title"] for setting in SETTINGS["properties"].values())
    fields = described["field_map"]
    assert [name for name in CONTACT_FIELDS if f"`{name}`" not in fields] == []


def test_the_text_below_a_field_is_its_description() -> None:
    assert declared.descriptions(Settings).keys() == SETTINGS["properties"].keys()
    assert SETTINGS["properties"]["password"]["description"] == (
        "Password of the account. Set it with `username` and `private_token`."
    )


def test_without_source_files_there_are_no_descriptions_and_no_error() -> None:
    assert declared.descriptions(type("Compiled", (), {})) == {}
