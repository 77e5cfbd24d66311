"""The settings' JSON schema: the one source of names, kinds, defaults and descriptions.

`--about`, the docs, `meltano.yml` and the plugin file follow it, and the tests hold them to it.
"""

from __future__ import annotations

import typing as t

from singer_sdk import typing as th

from target_mainbrainer.config.limits import (
    ADVISED_BATCH_SIZE,
    DEFAULT_API_URL,
    MAX_BATCH_SIZE,
    PLANS,
    ConfirmBatches,
    DeletedRecords,
    InvalidIdentifiers,
    NullValues,
    UnmappedColumns,
    WriteMode,
)


def _choices(literal: object) -> list[str]:
    return list(t.get_args(literal))


class _Bounded(th.IntegerType):
    """An integer within bounds."""

    def __init__(self, minimum: int, maximum: int | None = None) -> None:
        super().__init__(minimum=minimum, maximum=maximum)


_FIELD_MAP = th.ObjectType(
    additional_properties=th.CustomType(
        {
            "type": ["string", "object", "null"],
            "properties": {
                "property_id": {"type": "string"},
                "property_name": {"type": "string"},
            },
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
        }
    )
)

GROUPS: t.Final = {
    "Account": "access_token",
    "Mapping": "field_map",
    "Consent": "deleted_records",
    "Ledger": "ledger_uri",
    "Delivery": "write_mode",
    "Rejects": "rejects_path",
    "Reports": "report_path",
}
"""The groups that documents show the settings in, each with the first setting of it.

A group goes on to the beginning of the next one. Every description says when to set it.
"""

SETTINGS = th.PropertiesList(
    # Account
    th.Property(
        "access_token",
        th.StringType,
        secret=True,
        title="Access token",
        description=(
            "Bearer token or API key of the MainBrainer account. Set either this, or all of "
            "`username`, `password` and `private_token`; best as the environment variable "
            "`TARGET_MAINBRAINER_ACCESS_TOKEN`."
        ),
    ),
    th.Property(
        "username",
        th.StringType,
        title="User name",
        description=(
            "E-mail address of the account, exchanged for a token at `auth_url`. Set it, with the "
            "next two, when you have no ready token."
        ),
    ),
    th.Property(
        "password",
        th.StringType,
        secret=True,
        title="Password",
        description=("Password of the account. Set it with `username` and `private_token`."),
    ),
    th.Property(
        "private_token",
        th.StringType,
        secret=True,
        title="Private token",
        description=(
            "Private token of the account, from MainBrainer's Configuration > API Documentation > "
            "Private Token. Set it with `username` and `password`."
        ),
    ),
    th.Property(
        "auth_url",
        th.StringType,
        title="Token URL",
        description=(
            "Full URL at which a token is created. Default: `{api_url}/token`. MainBrainer's "
            "public pages print the path but not the host: set it when `--check` cannot get a "
            "token."
        ),
    ),
    th.Property(
        "token_validity",
        th.StringType(allowed_values=["Default", "ShortLive", "LongLive"]),
        default="Default",
        title="Token validity",
        description=(
            "Kind of token asked for. How long each kind lives is not documented; change it when "
            "tokens end during a run more often than they can be renewed."
        ),
    ),
    th.Property(
        "api_url",
        th.StringType,
        default=DEFAULT_API_URL,
        title="API URL",
        description=(
            "Address of the CRM API. Plain http is accepted for a loopback address only, and "
            "redirects are never followed. Set it for a gateway of your own, or a sandbox that "
            "runs as a server."
        ),
    ),
    th.Property(
        "sandbox_path",
        th.StringType,
        title="Sandbox file",
        description=(
            "A file: run against a local sandbox that is kept in it. Needs no account, and "
            "nothing leaves the machine. Needs the extra `sandbox`. Set it to rehearse."
        ),
    ),
    th.Property(
        "user_agent",
        th.StringType,
        title="User-Agent",
        description=(
            "User-Agent header of every request. Default: `target-mainbrainer/<version>`. Set it "
            "when the account's support asks who is calling."
        ),
    ),
    # Mapping
    th.Property(
        "field_map",
        _FIELD_MAP,
        default={},
        title="Field map",
        description=(
            "What each column is: a contact field (`contact_id`, `mobile`, `mobile_country_code`, "
            "`mobile_number`, `email`, `mobile_opt_in`, `email_opt_in`, `list_id`), any other "
            'text as the name of a property, `{"property_name": "..."}`, `{"property_id": '
            '"<uuid>"}`, or null for a column that is never sent (`__NULL__` in `meltano.yml`, '
            "because Meltano loses a null). Set it for every column that is not named like the "
            "field it is."
        ),
    ),
    th.Property(
        "streams",
        th.ObjectType(
            additional_properties=th.ObjectType(
                th.Property("list_id", th.StringType),
                th.Property("webhook_url", th.StringType),
                th.Property("field_map", _FIELD_MAP),
                th.Property(
                    "unmapped_columns", th.StringType(allowed_values=_choices(UnmappedColumns))
                ),
                additional_properties=False,
            )
        ),
        default={},
        title="Streams",
        description=(
            "Stream name -> its own `list_id`, `webhook_url`, `field_map` and `unmapped_columns`; "
            "each takes the place of the setting of the same name. Set it when a tap has several "
            "streams."
        ),
    ),
    th.Property(
        "list_id",
        th.StringType,
        title="List ID",
        description=(
            "UUID of the list the contacts are put in. Set it when they belong in a list; without "
            "it MainBrainer puts them under All contacts."
        ),
    ),
    th.Property(
        "unmapped_columns",
        th.StringType(allowed_values=_choices(UnmappedColumns)),
        default="property",
        title="Unmapped columns",
        description=(
            "Columns that are no contact field and not in `field_map`: sent as a `property` of "
            "their own name, or `ignore`d. Choose `ignore` for wide tables, or when a property "
            "must be asked for by name."
        ),
    ),
    th.Property(
        "default_country_code",
        _Bounded(1, 999),
        title="Default country code",
        description=(
            "Country calling code, such as 47, of mobile numbers that are written without one. "
            "Set it when any are; they are rejected otherwise."
        ),
    ),
    th.Property(
        "invalid_identifiers",
        th.StringType(allowed_values=_choices(InvalidIdentifiers)),
        default="reject",
        title="Invalid identifiers",
        description=(
            "A mobile number or e-mail address that cannot be one: `reject` the contact, or "
            "`drop` the value and keep the contact if an identity is left. Choose `drop` when one "
            "good identifier is enough for you."
        ),
    ),
    th.Property(
        "null_values",
        th.StringType(allowed_values=_choices(NullValues)),
        default="omit",
        title="Null values",
        description=(
            "A property whose value is null: `omit` it, which leaves the CRM's value alone, or "
            "`clear` it by sending an empty value. Choose `clear` when the source is the only "
            "place that properties are edited. An identifier is never sent empty."
        ),
    ),
    # Consent
    th.Property(
        "deleted_records",
        th.StringType(allowed_values=_choices(DeletedRecords)),
        default="skip",
        title="Deleted records",
        description=(
            "A record whose `_sdc_deleted_at` is set: `skip` it, or `opt_out`, which sends both "
            "opt-ins as false and nothing else. Choose `opt_out` when people who are gone from "
            "the source must not be written to."
        ),
    ),
    # Ledger
    # Delivery
    th.Property(
        "write_mode",
        th.StringType(allowed_values=_choices(WriteMode)),
        default="batch",
        title="Write mode",
        description=(
            "`batch`, or `single`: each contact goes alone to `/contacts/insertupdate`; slow, but "
            "the answer is about that one contact. Choose `single` to find out what the API says "
            "about a few."
        ),
    ),
    th.Property(
        "batch_size_rows",
        _Bounded(1, MAX_BATCH_SIZE),
        default=ADVISED_BATCH_SIZE,
        title="Batch size",
        description=(
            "Most contacts in one request, 1 to 1000. MainBrainer advises 100 or fewer and allows "
            "1000. Raise it when the day's number of requests is what limits you."
        ),
    ),
    th.Property(
        "max_concurrent_requests",
        _Bounded(1, 64),
        default=24,
        title="Requests in flight",
        description=(
            "Most requests in flight at once, 1 to 64. The largest plan needs 20 when a request "
            "takes one second; the rest makes up for what takes longer. Lower it for a server that "
            "cannot answer so many."
        ),
    ),
    th.Property(
        "rate_limit_plan",
        th.StringType(allowed_values=list(PLANS)),
        default="freemium",
        title="Plan",
        description=(
            "Plan of the account, for its limits: `freemium` 100, `starter` 150, `pro` 200 "
            "requests in 10 seconds, and 250,000, 500,000, 1,000,000 a day. Set it to the plan "
            "you pay for."
        ),
    ),
    th.Property(
        "rate_limit_requests",
        _Bounded(0),
        title="Requests in 10 seconds",
        description=(
            "Own number of requests in 10 seconds instead of the plan's; 0 switches pacing off. "
            "Set it when other programs use the same token."
        ),
    ),
    th.Property(
        "request_timeout_seconds",
        _Bounded(1),
        default=60,
        title="Request timeout",
        description=(
            "Seconds to wait for an answer before a request counts as lost. Raise it when large "
            "batches time out."
        ),
    ),
    th.Property(
        "retry_max_seconds",
        _Bounded(0),
        default=600,
        title="Retry limit",
        description=(
            "Seconds after which one request is given up, all its tries together. Lower it when a "
            "failure should be known sooner than after ten minutes."
        ),
    ),
    th.Property(
        "confirm_batches",
        th.StringType(allowed_values=_choices(ConfirmBatches)),
        default="report",
        title="Confirm batches",
        description=(
            "An accepted batch is only queued. `report`: what became of it is asked for and "
            "counted in the summary; `require`: STATE waits for it; `none`: it is not asked for. "
            "Choose `require` when a batch that fails afterwards must be sent again by itself."
        ),
    ),
    th.Property(
        "confirm_timeout_seconds",
        _Bounded(0),
        default=120,
        title="Confirmation timeout",
        description=(
            "Seconds to wait at the end of the run for batches still being processed. Raise it "
            "when batches stay unconfirmed."
        ),
    ),
    th.Property(
        "webhook_url",
        th.StringType,
        title="Webhook URL",
        description=(
            "Passed on with every batch; MainBrainer reports there what became of it. Set it when "
            "a service of yours waits for that; the target does not need it."
        ),
    ),
    # Ours instead of the SDK's own, which would also promise `append-only` and `overwrite`.
    th.Property(
        "load_method",
        th.StringType(allowed_values=["upsert"]),
        default="upsert",
        title="Load method",
        description=("Contacts are always upserted; there is nothing to set."),
    ),
    # Rejects
    th.Property(
        "rejects_path",
        th.StringType,
        title="Rejects file",
        description=(
            "File that rejected records are appended to, as a Singer stream that can be corrected "
            "and loaded again. It holds personal data. Set it, or one bad record ends the run."
        ),
    ),
    th.Property(
        "max_rejects",
        _Bounded(0),
        title="Most rejections",
        description=(
            "Above this number of rejected records the run fails. Default: 0, or no limit when "
            "`rejects_path` is set. Set it when more than a few mean that something is wrong."
        ),
    ),
    # Reports
    th.Property(
        "report_path",
        th.StringType,
        title="Report file",
        description=(
            "File that the run's summary is written to as JSON. Set it when a monitor reads the "
            "counts."
        ),
    ),
    additional_properties=False,
).to_dict()
