"""The settings of a run, frozen: one field for each setting in the schema."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from target_mainbrainer.config.checks import check_config
from target_mainbrainer.config.limits import (
    ADVISED_BATCH_SIZE,
    DEFAULT_API_URL,
    PLANS,
    ConfirmBatches,
    DeletedRecords,
    FieldMap,
    InvalidIdentifiers,
    NullValues,
    Plan,
    UnmappedColumns,
    WriteMode,
)
from target_mainbrainer.config.schema import SETTINGS
from target_mainbrainer.errors import SettingsError

if t.TYPE_CHECKING:
    from collections.abc import Mapping

NULL_WORD = "__NULL__"
"""What stands for a null where none can be written; the SDK's stream maps know it too.

Meltano 4.4 drops nulls inside an object of `meltano.yml`, so that a column mapped to null would
be sent after all.
"""


def _with_nulls(field_map: FieldMap | None) -> FieldMap:
    return {column: None if use == NULL_WORD else use for column, use in (field_map or {}).items()}


@dataclass(frozen=True)
class StreamSettings:
    """The settings that hold for one stream, its own entry in `streams` applied."""

    list_id: str | None = None
    webhook_url: str | None = None
    field_map: FieldMap = field(default_factory=dict)
    unmapped_columns: UnmappedColumns = "property"
    default_country_code: int | None = None
    invalid_identifiers: InvalidIdentifiers = "reject"
    null_values: NullValues = "omit"
    deleted_records: DeletedRecords = "skip"


@dataclass(frozen=True)
class Settings:
    """The settings of a run, checked; one field per setting, None where there is no value.

    Secrets are kept out of `repr`.
    """

    access_token: str | None = field(default=None, repr=False)
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    private_token: str | None = field(default=None, repr=False)
    auth_url: str | None = None
    token_validity: str = "Default"  # noqa: S105 - a kind of token, not a token
    api_url: str = DEFAULT_API_URL
    sandbox_path: str | None = None
    user_agent: str | None = None
    list_id: str | None = None
    webhook_url: str | None = None
    field_map: FieldMap = field(default_factory=dict)
    streams: Mapping[str, Mapping[str, t.Any]] = field(default_factory=dict)
    unmapped_columns: UnmappedColumns = "property"
    default_country_code: int | None = None
    invalid_identifiers: InvalidIdentifiers = "reject"
    null_values: NullValues = "omit"
    deleted_records: DeletedRecords = "skip"
    write_mode: WriteMode = "batch"
    batch_size_rows: int = ADVISED_BATCH_SIZE
    max_concurrent_requests: int = 24
    rate_limit_plan: str = "freemium"
    rate_limit_requests: int | None = None
    request_timeout_seconds: int = 60
    retry_max_seconds: int = 600
    confirm_batches: ConfirmBatches = "report"
    confirm_timeout_seconds: int = 120
    rejects_path: str | None = None
    max_rejects: int | None = None
    report_path: str | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, t.Any]) -> Settings:
        """Make settings of a configuration that `check_config` found nothing wrong with.

        Empty texts count as absent, because that is what an unset variable leaves behind.

        Raises:
            SettingsError: The configuration is wrong after all.
        """
        if problems := list(check_config(config, schema=SETTINGS, builtin=True)):
            raise SettingsError(problems)
        known = {name for name in cls.__dataclass_fields__ if name in config}
        given = {name: config[name] for name in known if config[name] not in ("", None)}
        if "field_map" in given:
            given["field_map"] = _with_nulls(given["field_map"])
        given["streams"] = {
            stream: own
            | ({"field_map": _with_nulls(own["field_map"])} if "field_map" in own else {})
            for stream, own in given.get("streams", {}).items()
        }
        return cls(**given)

    @property
    def token_url(self) -> str:
        """Where a token is created."""
        return self.auth_url or f"{self.api_url.rstrip('/')}/token"

    @property
    def plan(self) -> Plan | None:
        """The limits to keep, or None when pacing is switched off."""
        plan = PLANS[self.rate_limit_plan]
        if self.rate_limit_requests is None:
            return plan
        if self.rate_limit_requests == 0:
            return None
        return Plan(burst=self.rate_limit_requests, daily=plan.daily)

    @property
    def rejects_allowed(self) -> int | None:
        """How many rejections a run may have, or None for any number."""
        if self.max_rejects is not None:
            return self.max_rejects
        return None if self.rejects_path else 0

    def for_stream(self, stream: str) -> StreamSettings:
        """Return the settings of one stream."""
        own = {key: value for key, value in self.streams.get(stream, {}).items() if value != ""}
        shared = {name: getattr(self, name) for name in StreamSettings.__dataclass_fields__}
        return StreamSettings(**(shared | own))
