"""The settings of a run, each declared once: a field of `Settings`, with its words below it.

The JSON schema is made of these fields; `--about`, docs/settings.md, `meltano.yml` and the plugin
file are made of the schema.
"""

# ruff: noqa: RUF009 - `_setting` and `_shared` return fields

from __future__ import annotations

import ast
import inspect
import itertools
import typing as t
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from target_mainbrainer.contacts import MAPPABLE_FIELDS

DEFAULT_API_URL = "https://apicrm.mainbrainer.com"
"""The host of the two CRM pages (`BATCH` and `SINGLE` in the API note, section 2)."""

ADVISED_BATCH_SIZE = 100
MAX_BATCH_SIZE = 1000
"""More contacts than this the batch page does not allow in one request."""

MAX_CONCURRENT_REQUESTS = 256
MAX_SECONDS = 7 * 86_400
"""The longest wait that can be set; far longer ones cannot even be waited for."""

NULL_WORD = "__NULL__"
"""Stands for null where none can be written; the SDK's stream maps know it too.

Meltano 4.4 drops nulls inside an object of `meltano.yml`, so that a column mapped to null would
be sent after all.
"""

UnmappedColumns = t.Literal["property", "ignore"]
InvalidIdentifiers = t.Literal["reject", "drop"]
NullValues = t.Literal["omit", "clear"]
DeletedRecords = t.Literal["skip", "opt_out"]
MissingRecords = t.Literal["ignore", "opt_out"]
FieldMap: t.TypeAlias = Mapping[str, str | Mapping[str, t.Any] | None]
ConsentWords: t.TypeAlias = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Plan:
    """Limits of a MainBrainer plan (page "API Usage Guidelines"; API note, section 9).

    Attributes:
        burst: Requests in any 10 seconds.
        daily: Requests in a day.
    """

    burst: int
    daily: int


PLANS: Mapping[str, Plan] = {
    "freemium": Plan(burst=100, daily=250_000),
    "starter": Plan(burst=150, daily=500_000),
    "pro": Plan(burst=200, daily=1_000_000),
}

_FIELD_MAP: dict[str, t.Any] = {
    "additionalProperties": {
        "type": ["string", "object", "null"],
        "properties": {
            "field": {"type": "string", "enum": [*MAPPABLE_FIELDS]},
            "property_name": {"type": "string"},
            "property_id": {"type": "string"},
            "send": {"type": "string", "enum": ["once"]},
            "optional": {"type": "boolean"},
        },
        "additionalProperties": False,
    },
}
_WORDS = {"type": "array", "items": {"type": "string"}}
_CONSENT_WORDS: dict[str, t.Any] = {
    "properties": {"yes": _WORDS, "no": _WORDS},
    "additionalProperties": False,
}

BUILT_IN_WORDS: t.Final[Mapping[str, bool]] = {
    **dict.fromkeys(("true", "yes", "y", "1"), True),
    **dict.fromkeys(("false", "no", "n", "0"), False),
}


def plain_word(word: str) -> str:
    """Return a word of consent without what does not count in it: case, and the blanks around it.

    >>> plain_word(" JA ")
    'ja'
    """
    return word.strip().casefold()


def all_words(own: ConsentWords) -> dict[str, bool]:
    """Return the built-in words and those of the setting `consent_words`, with what they mean.

    >>> words = all_words({"yes": ["Ja"], "no": ["Nei"]})
    >>> words["ja"], words["nei"], words["yes"]
    (True, False, True)
    """
    words = dict(BUILT_IN_WORDS)
    for answer, is_yes in (("yes", True), ("no", False)):
        words |= {plain_word(word): is_yes for word in own.get(answer, ())}
    return words


def _setting(
    title: str,
    *,
    begins: str | None = None,
    default: object = None,
    secret: bool = False,
    **schema: object,
) -> t.Any:  # noqa: ANN401 - of the setting's type
    """Return the field of a setting.

    Args:
        title: Its name for people.
        begins: The group whose first setting it is; a group extends to the next one's first.
        default: Its value when nothing is set.
        secret: Whether it is a credential, or may contain one; it stays out of `repr` then.
        schema: More of its JSON schema, beside what its type says.
    """
    words: dict[str, object] = {"title": title}
    if default is not None:
        words["default"] = default
    if secret:
        words |= {"secret": True, "writeOnly": True}
    metadata = {"begins": begins, "schema": schema, "words": words}
    return field(default_factory=lambda: default, repr=not secret, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """The settings of a run; None where there is no value.

    The text below a field is its description, for people who have not seen the code. Its first
    sentence stands alone in Meltano; the others say when to set it.
    """

    # Account
    access_token: str | None = _setting("Access token", begins="Account", secret=True)
    """Bearer token or API key of the MainBrainer account. Set either this, or all of `username`,
    `password` and `private_token`. Keep it in the environment: `TARGET_MAINBRAINER_ACCESS_TOKEN`.
    """

    username: str | None = _setting("User name")
    """E-mail address of the account. Set it with `password` and `private_token` if you have no
    ready token; the three are exchanged for one at `auth_url`.
    """

    password: str | None = _setting("Password", secret=True)
    """Password of the account. Set it with `username` and `private_token`."""

    private_token: str | None = _setting("Private token", secret=True)
    """Private token of the account. MainBrainer shows it under Configuration > API Documentation >
    Private Token. Set it with `username` and `password`.
    """

    auth_url: str | None = _setting("Token URL")
    """Full URL at which a token is created. Default: `{api_url}/token`. MainBrainer's public pages
    print the path but not the host; set it if `--check` cannot get a token.
    """

    token_validity: t.Literal["Default", "ShortLive", "LongLive"] = _setting(
        "Token validity", default="Default"
    )
    """Kind of token to request. How long each kind is valid is not documented; change it if tokens
    expire during a run more often than they can be renewed.
    """

    api_url: str = _setting("API URL", default=DEFAULT_API_URL)
    """Address of the CRM API. Set it for a gateway of your own, or for a sandbox that runs as a
    server. Plain http is accepted for a loopback address only, and redirects are never followed.
    """

    sandbox_path: str | None = _setting("Sandbox file")
    """File of a local sandbox to load into instead of an account. Set it to rehearse: no account is
    needed, and nothing leaves the machine. It requires the extra `sandbox`.
    """

    user_agent: str | None = _setting("User-Agent")
    """User-Agent header of every request. Default: `target-mainbrainer/<version>`. Set it if
    MainBrainer's support asks who is calling.
    """

    # Mapping
    field_map: FieldMap = _setting("Field map", begins="Mapping", default={}, **_FIELD_MAP)
    """Which field of the contact each column is. A column can be a contact field (`contact_id`,
    `mobile`, `mobile_country`, `mobile_country_code`, `mobile_number`, `email`, `mobile_opt_in`,
    `email_opt_in`, `list_id`), a property (any other name), or null, which means that it is never
    sent. In `meltano.yml` write `__NULL__`, because Meltano drops a null. An object can say more:
    `{"property_name": "..."}` or `{"property_id": "<uuid>"}`; with `"send": "once"` added, the
    property is sent when the contact is created and never again. If a stream lacks a column that is
    mapped to an identifier or an opt-in, the run fails; `{"field": "email", "optional": true}`
    allows it. Set it for every column that is not named like its field.
    """

    streams: Mapping[str, Mapping[str, t.Any]] = _setting("Streams", default={})
    """Settings of single streams, by the name of the stream. Each of them overrides the shared
    setting: `list_id`, `webhook_url`, `field_map`, `unmapped_columns`, `default_country_code`,
    `consent_words`, `invalid_identifiers`, `null_values`, `deleted_records`. `full_table` set to
    true says that every run reads the stream in full. Set it if a tap has several streams.
    """

    list_id: str | None = _setting("List ID")
    """UUID of the list that contacts are added to. Set it if they belong in a list; without it,
    MainBrainer puts them under All contacts.
    """

    unmapped_columns: UnmappedColumns = _setting("Unmapped columns", default="property")
    """What to do with a column that is neither a contact field nor in `field_map`. `property` sends
    it as a property of its own name; `ignore` does not send it. Choose `ignore` for wide tables.
    """

    default_country_code: int | None = _setting("Default country code", minimum=1, maximum=999)
    """Country calling code of numbers that are written without one, such as 47. Set it if there are
    any; without it, they are rejected.
    """

    invalid_identifiers: InvalidIdentifiers = _setting("Invalid identifiers", default="reject")
    """What to do with an invalid mobile number or e-mail address. `reject` rejects the contact;
    `drop` leaves the value out, and keeps the contact if the other identifier is valid. Choose
    `drop` if one of them is enough for you.
    """

    null_values: NullValues = _setting("Null values", default="omit")
    """What to do with a property that is null. `omit` leaves MainBrainer's value as it is; `clear`
    sends an empty value. Choose `clear` if properties are edited at the source only. An identifier
    is never sent empty.
    """

    # Consent
    consent_words: Mapping[str, list[str]] = _setting(
        "Consent words", begins="Consent", default={}, **_CONSENT_WORDS
    )
    """Words of the source for yes and no. They are added to true, yes, y, 1 and their opposites:
    `{"yes": ["ja"], "no": ["nei"]}`. Set it if records are rejected as `invalid_consent`. The same
    word on both sides is an error.
    """

    suppression_path: str | None = _setting("Suppression file")
    """File of people whose opt-ins must never be sent as true. One e-mail address or international
    mobile number a line, or a CSV file with the columns `email` and `mobile`. Set it if
    unsubscriptions are kept outside the source.
    """

    deleted_records: DeletedRecords = _setting("Deleted records", default="skip")
    """What to do with a record whose `_sdc_deleted_at` is set. `skip` leaves it out; `opt_out`
    sends both opt-ins as false, and nothing else. Choose `opt_out` if people who are deleted at the
    source must not be written to.
    """

    # Ledger
    ledger_uri: str | None = _setting("Ledger", begins="Ledger", secret=True)
    """Database that remembers what was delivered. A path of an SQLite file, or a URI of PostgreSQL.
    Set it, so that only changes are sent, and so that a person whose address changes stays one
    contact. The database is personal data.
    """

    unchanged_contacts: t.Literal["skip", "send"] = _setting("Unchanged contacts", default="skip")
    """What to do with a contact that has not changed. With a ledger, `skip` does not send it;
    `send` sends it in full. Choose `send` for one run if contacts in MainBrainer were lost or must
    be overwritten.
    """

    identity_changes: t.Literal["follow", "create"] = _setting("Identity changes", default="follow")
    """What to do if a person's e-mail address or number changes. With a ledger, `follow` updates
    the contact that the person has; `create` creates a second one, as the API does by itself.
    Choose `create` if a source key can pass from one person to another.
    """

    unchanged_opt_in: t.Literal["send", "omit"] = _setting("Unchanged opt-ins", default="send")
    """What to do with an unchanged opt-in of a changed contact. With a ledger, `send` sends it
    along; `omit` leaves it out. Choose `omit` if people unsubscribe in MainBrainer and the source
    is not told.
    """

    missing_records: MissingRecords = _setting("Missing records", default="ignore")
    """What to do with people missing from two full reads in a row. `ignore` does nothing; `opt_out`
    sends both opt-ins as false. It needs a ledger, and applies to streams with `full_table`. Choose
    `opt_out` if people who are no longer in the source must not be written to.
    """

    max_drift_percent: int = _setting("Most drift", default=5, minimum=0, maximum=100)
    """Largest share of people that may change or be missing, in percent. With a ledger: if more of
    the known people, and more than ten, have a changed identity, the run fails before it updates
    any of them. If so many are missing, or more than half of the stream, none counts as gone, and
    with `missing_records: opt_out` the run fails. Raise it for one run if the changes are real.
    """

    max_new_contacts: int | None = _setting("Most new contacts", minimum=0)
    """Largest number of contacts that a run may create. With a ledger, the run fails before it
    creates more, so that a wrong join or key does not cost money. Default: no limit. Set it after
    the first load; a dry run says how many would be created.
    """

    # Delivery
    write_mode: t.Literal["batch", "single"] = _setting(
        "Write mode", begins="Delivery", default="batch"
    )
    """How contacts are sent. `batch` sends many in a request; `single` sends each one alone to
    `/contacts/insertupdate`, which is slow, but its answer applies to that contact alone. Choose
    `single` to find out what the API says about a few contacts.
    """

    batch_size_rows: int = _setting(
        "Batch size", default=ADVISED_BATCH_SIZE, minimum=1, maximum=MAX_BATCH_SIZE
    )
    """Largest number of contacts in a request, 1 to 1000. MainBrainer recommends at most 100. Raise
    it if the daily number of requests limits you.
    """

    max_concurrent_requests: int = _setting(
        "Requests in flight",
        default=MAX_CONCURRENT_REQUESTS,
        minimum=1,
        maximum=MAX_CONCURRENT_REQUESTS,
    )
    """Largest number of requests in flight, 1 to 256. The plan allows fewer, unless answers take
    long. Set it for a server that cannot answer so many at once.
    """

    rate_limit_plan: str = _setting("Plan", default="freemium", enum=[*PLANS])
    """Plan of the account, which sets the limits. `freemium`: 100 requests in 10 seconds and
    250,000 a day; `starter`: 150 and 500,000; `pro`: 200 and 1,000,000. Set it to the plan you pay
    for.
    """

    rate_limit_requests: int | None = _setting("Requests in 10 seconds", minimum=0)
    """Requests in 10 seconds, instead of the plan's number. 0 means no limit. Set it if other
    programs use the same token.
    """

    request_timeout_seconds: int = _setting(
        "Request timeout", default=60, minimum=1, maximum=MAX_SECONDS
    )
    """Seconds to wait for an answer before a request counts as lost. Raise it if large batches time
    out.
    """

    retry_max_seconds: int = _setting("Retry limit", default=600, minimum=0, maximum=MAX_SECONDS)
    """Seconds after which a request is given up, including all retries. Lower it if you want to
    know about a failure sooner than after ten minutes.
    """

    confirm_batches: t.Literal["none", "report", "require"] = _setting(
        "Confirm batches", default="report"
    )
    """How far to follow a batch that was accepted. MainBrainer applies a batch some time after it
    has accepted it. `report` asks how it ended and counts that; `require` also lets STATE wait for
    it; `none` does not ask. Choose `require` if a batch that fails afterwards must be sent again by
    the next run.
    """

    confirm_timeout_seconds: int = _setting(
        "Confirmation timeout", default=120, minimum=0, maximum=MAX_SECONDS
    )
    """Seconds to wait at the end of the run for the next batch to be applied. Raise it if batches
    stay unconfirmed.
    """

    webhook_url: str | None = _setting("Webhook URL")
    """URL that MainBrainer calls when it has applied a batch. Set it if a service of yours needs
    that; the target does not.
    """

    load_method: t.Literal["upsert"] = _setting("Load method", default="upsert")
    """Contacts are always upserted; there is nothing to set."""

    # Rejects
    rejects_path: str | None = _setting("Rejects file", begins="Rejects")
    """File that rejected records are appended to. It is a Singer stream that can be corrected and
    loaded again. `{started_at}` in the path becomes the start of the run, for one file per run. The
    file contains personal data. Set it; without it, one bad record ends the run.
    """

    max_rejects: int | None = _setting("Most rejections", minimum=0)
    """Number of rejected records above which the run fails. Default: 0, or no limit if
    `rejects_path` is set. Set it if more than a few mean that something is wrong.
    """

    max_rejects_percent: int = _setting(
        "Most rejections in percent", default=50, minimum=0, maximum=100
    )
    """Largest share of a stream's records that may be rejected, in percent. Above it the run fails.
    Rejections by MainBrainer do not count, and a stream of fewer than 20 records is not judged.
    Raise it, up to 100, if most of a stream's records are known to be useless.
    """

    # Reports
    report_path: str | None = _setting("Report file", begins="Reports")
    """File that the report of the run is written to, as JSON. Set it if something monitors the
    runs.
    """

    dry_run: bool = _setting("Dry run", default=False)
    """Report what a run would do and cost, and send nothing. Only the report is written. Set
    it, or use `--dry-run`, before the first load and after a change of the mapping.
    """

    @classmethod
    def from_config(cls, config: Mapping[str, t.Any]) -> Settings:
        """Return the settings of a configuration that `check_config` has found nothing wrong with.

        Empty texts count as absent, because that is what an unset variable leaves behind. The SDK's
        own settings are left to it.
        """
        known = cls.__dataclass_fields__
        return cls(**{k: v for k, v in config.items() if k in known and v not in ("", None)})

    @property
    def token_url(self) -> str:
        """The address at which a token is created."""
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
        """The number of rejections that a run may have, or None for any number."""
        if self.max_rejects is not None:
            return self.max_rejects
        return None if self.rejects_path else 0

    def for_stream(self, stream: str) -> StreamSettings:
        """Return the settings of one stream.

        A null in its own entry takes away a shared setting that has no default, such as the list.
        """
        declared = fields(StreamSettings)
        values = {one.name: getattr(self, one.name) for one in declared if one.name in vars(self)}
        for one in declared:
            value = self.streams.get(stream, {}).get(one.name, "")
            if value != "" and (value is not None or "default" not in one.metadata["words"]):
                values[one.name] = value
        values["field_map"] = {
            column: None if use == NULL_WORD else use for column, use in values["field_map"].items()
        }
        return StreamSettings(**values)


def _shared(name: str) -> t.Any:  # noqa: ANN401 - of the setting's type
    """Return a field like that of the setting of the same name, for a stream."""
    shared = Settings.__dataclass_fields__[name]
    return field(default_factory=shared.default_factory, metadata=shared.metadata)


@dataclass(frozen=True)
class StreamSettings:
    """The settings of one stream, each of which its own entry in `streams` may set."""

    list_id: str | None = _shared("list_id")
    webhook_url: str | None = _shared("webhook_url")
    field_map: FieldMap = _shared("field_map")
    unmapped_columns: UnmappedColumns = _shared("unmapped_columns")
    default_country_code: int | None = _shared("default_country_code")
    consent_words: ConsentWords = _shared("consent_words")
    invalid_identifiers: InvalidIdentifiers = _shared("invalid_identifiers")
    null_values: NullValues = _shared("null_values")
    deleted_records: DeletedRecords = _shared("deleted_records")
    full_table: bool = _setting("Full table", default=False)


# The schema

_JSON_TYPES = {str: "string", int: "integer", bool: "boolean", Mapping: "object"}


def _schema_of(hint: t.Any) -> dict[str, t.Any]:  # noqa: ANN401 - any type
    """Return the JSON schema of a field's type; null is always allowed, and means "not set"."""
    if t.get_origin(hint) is t.Literal:
        return {"type": ["string", "null"], "enum": [*t.get_args(hint)]}
    kinds = [hint, t.get_origin(hint), *t.get_args(hint)]
    return {"type": [next(_JSON_TYPES[kind] for kind in kinds if kind in _JSON_TYPES), "null"]}


def _schemas(declared: type) -> dict[str, dict[str, t.Any]]:
    """Return the JSON schema of each field, without words and default."""
    types = t.get_type_hints(declared)
    return {
        one.name: _schema_of(types[one.name]) | one.metadata["schema"] for one in fields(declared)
    }


def descriptions(declared: type) -> dict[str, str]:
    """Return the texts below the fields of a class, which Python itself does not keep.

    There are none where only compiled files are installed; they are missing from `--about` there.
    """
    try:
        (tree,) = ast.parse(inspect.getsource(declared)).body
    except OSError:
        return {}
    found = {}
    for pair in itertools.pairwise(t.cast("ast.ClassDef", tree).body):
        match pair:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = " ".join(text.split())
            case _:
                pass
    return found


def _settings_schema() -> dict[str, t.Any]:
    properties = _schemas(Settings)
    properties["streams"]["additionalProperties"] = {
        "type": "object",
        "properties": _schemas(StreamSettings),
        "additionalProperties": False,
    }
    texts = descriptions(Settings)
    for one in fields(Settings):
        description = {"description": texts.get(one.name, "")}
        properties[one.name] |= one.metadata["words"] | description
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


SETTINGS: t.Final = _settings_schema()
"""The JSON schema of all settings."""

GROUPS: t.Final[Mapping[str, str]] = {
    one.metadata["begins"]: one.name for one in fields(Settings) if one.metadata["begins"]
}
"""The groups that documents show the settings in, each with its first setting."""
