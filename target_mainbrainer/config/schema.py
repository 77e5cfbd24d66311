"""The settings' JSON schema: the one source of names, kinds, defaults and descriptions.

`--about`, the docs, `meltano.yml` and the plugin file follow it, `Settings` takes its defaults from
it, and the tests hold all of them to it.
"""

from __future__ import annotations

import typing as t

from singer_sdk import typing as th

from target_mainbrainer.config.schema_contacts import CONTACT_SETTINGS
from target_mainbrainer.config.schema_runs import RUN_SETTINGS

GROUPS: t.Final = {
    "Account": "access_token",
    "Mapping": "field_map",
    "Consent": "consent_words",
    "Ledger": "ledger_uri",
    "Delivery": "write_mode",
    "Rejects": "rejects_path",
    "Reports": "report_path",
}
"""The groups that documents show the settings in, each with the first setting of it.

A group goes on to the beginning of the next one. Every description says when to set it.
"""

SETTINGS = th.PropertiesList(
    *CONTACT_SETTINGS,
    *RUN_SETTINGS,
    additional_properties=False,
).to_dict()
