"""The settings of the account, the mapping, consent and the ledger."""

from __future__ import annotations

import typing as t

from singer_sdk import typing as th

from target_mainbrainer.config.kinds import FIELD_MAP, Bounded, choice_of
from target_mainbrainer.config.limits import (
    DEFAULT_API_URL,
    DeletedRecords,
    IdentityChanges,
    InvalidIdentifiers,
    MissingRecords,
    NullValues,
    UnchangedContacts,
    UnchangedOptIn,
    UnmappedColumns,
)

CONTACT_SETTINGS: t.Final = (
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
        FIELD_MAP,
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
                th.Property("field_map", FIELD_MAP),
                th.Property("unmapped_columns", choice_of(UnmappedColumns)),
                th.Property("full_table", th.BooleanType),
                additional_properties=False,
            )
        ),
        default={},
        title="Streams",
        description=(
            "Stream name -> its own `list_id`, `webhook_url`, `field_map` and `unmapped_columns`; "
            "each takes the place of the setting of the same name. `full_table` says that every "
            "run reads the stream in full. Set it when a tap has several streams."
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
        choice_of(UnmappedColumns),
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
        Bounded(1, 999),
        title="Default country code",
        description=(
            "Country calling code, such as 47, of mobile numbers that are written without one. "
            "Set it when any are; they are rejected otherwise."
        ),
    ),
    th.Property(
        "invalid_identifiers",
        choice_of(InvalidIdentifiers),
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
        choice_of(NullValues),
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
        "consent_words",
        th.ObjectType(
            th.Property("yes", th.ArrayType(th.StringType)),
            th.Property("no", th.ArrayType(th.StringType)),
            additional_properties=False,
        ),
        default={},
        title="Consent words",
        description=(
            "Words of the source for yes and no, beside true, yes, y, 1 and their opposites: "
            '`{"yes": ["ja"], "no": ["nei"]}`. Set it when records are rejected as '
            "`invalid_consent`. A word in both is an error."
        ),
    ),
    th.Property(
        "suppression_path",
        th.StringType,
        title="Suppression file",
        description=(
            "Text file with one e-mail address or international mobile number a line: an opt-in "
            "of these people is never sent as true. Set it when others keep a list of people who "
            "must not be written to."
        ),
    ),
    th.Property(
        "deleted_records",
        choice_of(DeletedRecords),
        default="skip",
        title="Deleted records",
        description=(
            "A record whose `_sdc_deleted_at` is set: `skip` it, or `opt_out`, which sends both "
            "opt-ins as false and nothing else. Choose `opt_out` when people who are gone from "
            "the source must not be written to."
        ),
    ),
    # Ledger
    th.Property(
        "ledger_uri",
        th.StringType,
        secret=True,
        title="Ledger",
        description=(
            "Where the run remembers what was delivered: a path of an SQLite file, or a SQLAlchemy "
            "URI of SQLite or PostgreSQL. Set it, so that only what changed is sent and a person "
            "who moves to a new address stays one contact. It holds personal data."
        ),
    ),
    th.Property(
        "unchanged_contacts",
        choice_of(UnchangedContacts),
        default="skip",
        title="Unchanged contacts",
        description=(
            "With a ledger: a contact that is as it was delivered: `skip` it, or `send` it again. "
            "Choose `send` once, when the CRM has lost or changed what it should have."
        ),
    ),
    th.Property(
        "identity_changes",
        choice_of(IdentityChanges),
        default="follow",
        title="Identity changes",
        description=(
            "With a ledger: a person whose e-mail address or mobile number changed: `follow` them "
            "to the contact they have, or `create` a second one, as the API does by itself. Choose "
            "`create` when a key of the source may pass to another person."
        ),
    ),
    th.Property(
        "unchanged_opt_in",
        choice_of(UnchangedOptIn),
        default="send",
        title="Unchanged opt-ins",
        description=(
            "With a ledger: an opt-in that has not changed of a contact that has: `send` it along, "
            "or `omit` it. Choose `omit` when people unsubscribe in MainBrainer and the source "
            "does not hear of it."
        ),
    ),
    th.Property(
        "missing_records",
        choice_of(MissingRecords),
        default="ignore",
        title="Missing records",
        description=(
            "With a ledger: a contact whose record is gone from a stream that was read in full: "
            "`ignore` that, or `opt_out`, which sends both opt-ins as false. Choose `opt_out` when "
            "people who are gone from the source must not be written to."
        ),
    ),
    th.Property(
        "max_drift_percent",
        Bounded(0, 100),
        default=5,
        title="Most drift",
        description=(
            "With a ledger: if more than so many percent of a stream's known contacts (and more "
            "than 10) changed their identity or are missing, none is moved or opted out and the "
            "run fails. Raise it for one run when that many are meant to."
        ),
    ),
)
