"""The settings of a run, frozen: one field for each setting in the schema, with its default."""

# ruff: noqa: RUF009 - `_setting` returns a field; what it is given is its name

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from target_mainbrainer.config.limits import PLANS, Plan
from target_mainbrainer.config.schema import SETTINGS

if t.TYPE_CHECKING:
    from collections.abc import Mapping

    from target_mainbrainer.config.limits import (
        ConfirmBatches,
        DeletedRecords,
        FieldMap,
        IdentityChanges,
        InvalidIdentifiers,
        MissingRecords,
        NullValues,
        UnchangedContacts,
        UnchangedOptIn,
        UnmappedColumns,
        WriteMode,
    )

NULL_WORD = "__NULL__"
"""What stands for a null where none can be written; the SDK's stream maps know it too.

Meltano 4.4 drops nulls inside an object of `meltano.yml`, so that a column mapped to null would
be sent after all.
"""


def _setting(name: str) -> t.Any:  # noqa: ANN401 - of whatever kind the setting is
    """Return a field with the default that the schema gives; a secret stays out of `repr`."""
    setting = SETTINGS["properties"][name]
    return field(
        default_factory=lambda: setting.get("default"), repr=not setting.get("secret", False)
    )


def _with_nulls(field_map: FieldMap | None) -> FieldMap:
    return {column: None if use == NULL_WORD else use for column, use in (field_map or {}).items()}


@dataclass(frozen=True)
class StreamSettings:
    """The settings that hold for one stream, its own entry in `streams` applied."""

    list_id: str | None = _setting("list_id")
    webhook_url: str | None = _setting("webhook_url")
    field_map: FieldMap = _setting("field_map")
    unmapped_columns: UnmappedColumns = _setting("unmapped_columns")
    default_country_code: int | None = _setting("default_country_code")
    consent_words: Mapping[str, list[str]] = _setting("consent_words")
    invalid_identifiers: InvalidIdentifiers = _setting("invalid_identifiers")
    null_values: NullValues = _setting("null_values")
    deleted_records: DeletedRecords = _setting("deleted_records")
    full_table: bool = False


@dataclass(frozen=True)
class Settings:
    """The settings of a run; one field per setting, None where there is no value.

    Secrets are kept out of `repr`.
    """

    access_token: str | None = _setting("access_token")
    username: str | None = _setting("username")
    password: str | None = _setting("password")
    private_token: str | None = _setting("private_token")
    auth_url: str | None = _setting("auth_url")
    token_validity: str = _setting("token_validity")
    api_url: str = _setting("api_url")
    sandbox_path: str | None = _setting("sandbox_path")
    user_agent: str | None = _setting("user_agent")
    list_id: str | None = _setting("list_id")
    webhook_url: str | None = _setting("webhook_url")
    field_map: FieldMap = _setting("field_map")
    streams: Mapping[str, Mapping[str, t.Any]] = _setting("streams")
    unmapped_columns: UnmappedColumns = _setting("unmapped_columns")
    default_country_code: int | None = _setting("default_country_code")
    consent_words: Mapping[str, list[str]] = _setting("consent_words")
    suppression_path: str | None = _setting("suppression_path")
    invalid_identifiers: InvalidIdentifiers = _setting("invalid_identifiers")
    null_values: NullValues = _setting("null_values")
    deleted_records: DeletedRecords = _setting("deleted_records")
    ledger_uri: str | None = _setting("ledger_uri")
    unchanged_contacts: UnchangedContacts = _setting("unchanged_contacts")
    identity_changes: IdentityChanges = _setting("identity_changes")
    unchanged_opt_in: UnchangedOptIn = _setting("unchanged_opt_in")
    missing_records: MissingRecords = _setting("missing_records")
    max_drift_percent: int = _setting("max_drift_percent")
    write_mode: WriteMode = _setting("write_mode")
    batch_size_rows: int = _setting("batch_size_rows")
    max_concurrent_requests: int | None = _setting("max_concurrent_requests")
    rate_limit_plan: str = _setting("rate_limit_plan")
    rate_limit_requests: int | None = _setting("rate_limit_requests")
    request_timeout_seconds: int = _setting("request_timeout_seconds")
    retry_max_seconds: int = _setting("retry_max_seconds")
    confirm_batches: ConfirmBatches = _setting("confirm_batches")
    confirm_timeout_seconds: int = _setting("confirm_timeout_seconds")
    rejects_path: str | None = _setting("rejects_path")
    max_rejects: int | None = _setting("max_rejects")
    max_rejects_percent: int = _setting("max_rejects_percent")
    report_path: str | None = _setting("report_path")
    dry_run: bool = _setting("dry_run")

    @classmethod
    def from_config(cls, config: Mapping[str, t.Any]) -> Settings:
        """Make settings of a configuration that `check_config` has found nothing wrong with.

        Empty texts count as absent, because that is what an unset variable leaves behind. What is
        not a setting of ours is one of the SDK's, and left to it.
        """
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
        """Return the settings of one stream; a null there takes a shared list or webhook away."""
        fields = StreamSettings.__dataclass_fields__
        shared = {name: getattr(self, name) for name in fields if hasattr(self, name)}
        own = {
            name: value
            for name, value in self.streams.get(stream, {}).items()
            if value != "" and (value is not None or name in {"list_id", "webhook_url"})
        }
        return StreamSettings(**(shared | own))
