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
    """What a MainBrainer plan allows (page "API Usage Guidelines"; API note, section 9).

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

CONTACT_FIELDS: t.Final = (
    *("contact_id", "mobile", "mobile_country", "mobile_country_code", "mobile_number", "email"),
    *("mobile_opt_in", "email_opt_in", "list_id"),
)
"""What a column can be in `field_map`, beside a property."""

_FIELD_MAP: dict[str, t.Any] = {
    "additionalProperties": {
        "type": ["string", "object", "null"],
        "properties": {
            "field": {"type": "string", "enum": [*CONTACT_FIELDS]},
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
) -> t.Any:  # noqa: ANN401 - of whatever type the setting is
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

    The text below a field is its description, for people who have not seen the code: it says when
    to set it.
    """

    # Account
    access_token: str | None = _setting("Access token", begins="Account", secret=True)
    """Bearer token or API key of the MainBrainer account. Set either this, or all of `username`,
    `password` and `private_token`; best as the environment variable
    `TARGET_MAINBRAINER_ACCESS_TOKEN`.
    """

    username: str | None = _setting("User name")
    """E-mail address of the account, exchanged for a token at `auth_url`. Set it, with the next
    two, when you have no ready token.
    """

    password: str | None = _setting("Password", secret=True)
    """Password of the account. Set it with `username` and `private_token`."""

    private_token: str | None = _setting("Private token", secret=True)
    """Private token of the account, from MainBrainer's Configuration > API Documentation > Private
    Token. Set it with `username` and `password`.
    """

    auth_url: str | None = _setting("Token URL")
    """Full URL at which a token is created. Default: `{api_url}/token`. MainBrainer's public pages
    print the path but not the host: set it when `--check` cannot get a token.
    """

    token_validity: t.Literal["Default", "ShortLive", "LongLive"] = _setting(
        "Token validity", default="Default"
    )
    """Kind of token asked for. How long each kind lives is not documented; change it when tokens
    end during a run more often than they can be renewed.
    """

    api_url: str = _setting("API URL", default=DEFAULT_API_URL)
    """Address of the CRM API. Plain http is accepted for a loopback address only, and redirects are
    never followed. Set it for a gateway of your own, or a sandbox that runs as a server.
    """

    sandbox_path: str | None = _setting("Sandbox file")
    """A file: run against a local sandbox that is kept in it. Needs no account, and nothing leaves
    the machine. Needs the extra `sandbox`. Set it to rehearse.
    """

    user_agent: str | None = _setting("User-Agent")
    """User-Agent header of every request. Default: `target-mainbrainer/<version>`. Set it when the
    account's support asks who is calling.
    """

    # Mapping
    field_map: FieldMap = _setting("Field map", begins="Mapping", default={}, **_FIELD_MAP)
    """What each column is: a contact field (`contact_id`, `mobile`, `mobile_country`,
    `mobile_country_code`, `mobile_number`, `email`, `mobile_opt_in`, `email_opt_in`, `list_id`),
    any other text as the name of a property, or null for a column that is never sent (`__NULL__` in
    `meltano.yml`, because Meltano loses a null). An object says more: `{"property_name": "..."}` or
    `{"property_id": "<uuid>"}`; with `"send": "once"` beside it, the property is sent when the
    contact is created and never again. `{"field": "email", "optional": true}` lets a stream come
    without the column; without it, a missing identifier or opt-in is an error. Set it for every
    column that is not named like the field it is.
    """

    streams: Mapping[str, Mapping[str, t.Any]] = _setting("Streams", default={})
    """Stream name -> settings of its own, in the place of the shared ones: `list_id`,
    `webhook_url`, `field_map`, `unmapped_columns`, `default_country_code`, `consent_words`,
    `invalid_identifiers`, `null_values`, `deleted_records`. `full_table` says that every run reads
    the stream in full. Set it when a tap has several streams.
    """

    list_id: str | None = _setting("List ID")
    """UUID of the list the contacts are put in. Set it when they belong in a list; without it
    MainBrainer puts them under All contacts.
    """

    unmapped_columns: UnmappedColumns = _setting("Unmapped columns", default="property")
    """Columns that are no contact field and not in `field_map`: sent as a `property` of their own
    name, or `ignore`d. Choose `ignore` for wide tables, or when a property must be asked for by
    name.
    """

    default_country_code: int | None = _setting("Default country code", minimum=1, maximum=999)
    """Country calling code, such as 47, of mobile numbers that are written without one. Set it when
    any are; they are rejected otherwise.
    """

    invalid_identifiers: InvalidIdentifiers = _setting("Invalid identifiers", default="reject")
    """A mobile number or e-mail address that cannot be one: `reject` the contact, or `drop` the
    value and keep the contact if an identity is left. Choose `drop` when one good identifier is
    enough for you.
    """

    null_values: NullValues = _setting("Null values", default="omit")
    """A property whose value is null: `omit` it, which leaves the CRM's value alone, or `clear` it
    by sending an empty value. Choose `clear` when the source is the only place that properties are
    edited. An identifier is never sent empty.
    """

    # Consent
    consent_words: Mapping[str, list[str]] = _setting(
        "Consent words", begins="Consent", default={}, **_CONSENT_WORDS
    )
    """Words of the source for yes and no, beside true, yes, y, 1 and their opposites: `{"yes":
    ["ja"], "no": ["nei"]}`. Set it when records are rejected as `invalid_consent`. A word in both
    is an error.
    """

    suppression_path: str | None = _setting("Suppression file")
    """Text file with one e-mail address or international mobile number a line: an opt-in of these
    people is never sent as true. Set it when others keep a list of people who must not be written
    to.
    """

    deleted_records: DeletedRecords = _setting("Deleted records", default="skip")
    """A record whose `_sdc_deleted_at` is set: `skip` it, or `opt_out`, which sends both opt-ins as
    false and nothing else. Choose `opt_out` when people who are gone from the source must not be
    written to.
    """

    # Ledger
    ledger_uri: str | None = _setting("Ledger", begins="Ledger", secret=True)
    """Where the run remembers what was delivered: a path of an SQLite file, or a SQLAlchemy URI of
    SQLite or PostgreSQL. Set it, so that only what changed is sent and a person who moves to a new
    address stays one contact. It holds personal data.
    """

    unchanged_contacts: t.Literal["skip", "send"] = _setting("Unchanged contacts", default="skip")
    """With a ledger: a contact that is as it was delivered: `skip` it, or `send` it again. Choose
    `send` once, when the CRM has lost or changed what it should have.
    """

    identity_changes: t.Literal["follow", "create"] = _setting("Identity changes", default="follow")
    """With a ledger: a person whose e-mail address or mobile number changed: `follow` them to the
    contact they have, or `create` a second one, as the API does by itself. Choose `create` when a
    key of the source may pass to another person.
    """

    unchanged_opt_in: t.Literal["send", "omit"] = _setting("Unchanged opt-ins", default="send")
    """With a ledger: an opt-in that has not changed of a contact that has: `send` it along, or
    `omit` it. Choose `omit` when people unsubscribe in MainBrainer and the source does not hear of
    it.
    """

    missing_records: MissingRecords = _setting("Missing records", default="ignore")
    """With a ledger: a person who is missing from a stream with `full_table`, twice in a row:
    `ignore` that, or `opt_out`, which sends both opt-ins as false. Choose `opt_out` when people who
    are gone from the source must not be written to.
    """

    max_drift_percent: int = _setting("Most drift", default=5, minimum=0, maximum=100)
    """With a ledger: if more than so many percent of a stream's known people (and more than 10)
    changed their identity, nobody is moved and the run fails. If so many are missing, or more than
    half, nobody is marked as gone or opted out, and with `missing_records: opt_out` the run fails.
    Raise it for one run when that many are meant to.
    """

    max_new_contacts: int | None = _setting("Most new contacts", minimum=0)
    """With a ledger: the run fails before it creates more than so many contacts, so that a wrong
    join or key costs no invoice. Default: no limit. Set it after the first load; a dry run says how
    many would be created.
    """

    # Delivery
    write_mode: t.Literal["batch", "single"] = _setting(
        "Write mode", begins="Delivery", default="batch"
    )
    """`batch`, or `single`: each contact goes alone to `/contacts/insertupdate`; slow, but the
    answer is about that one contact. Choose `single` to find out what the API says about a few.
    """

    batch_size_rows: int = _setting(
        "Batch size", default=ADVISED_BATCH_SIZE, minimum=1, maximum=MAX_BATCH_SIZE
    )
    """Most contacts in one request, 1 to 1000. MainBrainer advises 100 or fewer and allows 1000.
    Raise it when the day's number of requests is what limits you.
    """

    max_concurrent_requests: int | None = _setting(
        "Requests in flight", minimum=1, maximum=MAX_CONCURRENT_REQUESTS
    )
    """Most requests in flight at once, 1 to 256. Leave it out, and it follows the time that answers
    take: as many as it takes to use all the requests that the plan allows, within 20,000 contacts.
    Set it for a server that cannot answer so many at once.
    """

    rate_limit_plan: str = _setting("Plan", default="freemium", enum=[*PLANS])
    """Plan of the account, for its limits: `freemium` 100, `starter` 150, `pro` 200 requests in 10
    seconds, and 250,000, 500,000, 1,000,000 a day. Set it to the plan you pay for.
    """

    rate_limit_requests: int | None = _setting("Requests in 10 seconds", minimum=0)
    """Own number of requests in 10 seconds instead of the plan's; 0 switches pacing off. Set it
    when other programs use the same token.
    """

    request_timeout_seconds: int = _setting(
        "Request timeout", default=60, minimum=1, maximum=MAX_SECONDS
    )
    """Seconds to wait for an answer before a request counts as lost. Raise it when large batches
    time out.
    """

    retry_max_seconds: int = _setting("Retry limit", default=600, minimum=0, maximum=MAX_SECONDS)
    """Seconds after which one request is given up, all its tries together. Lower it when a failure
    should be known sooner than after ten minutes.
    """

    confirm_batches: t.Literal["none", "report", "require"] = _setting(
        "Confirm batches", default="report"
    )
    """An accepted batch is only queued. `report`: what became of it is asked for and counted in the
    summary; `require`: STATE waits for it; `none`: it is not asked for. Choose `require` when a
    batch that fails afterwards must be sent again by itself.
    """

    confirm_timeout_seconds: int = _setting(
        "Confirmation timeout", default=120, minimum=0, maximum=MAX_SECONDS
    )
    """Seconds to wait at the end of the run for batches still being processed. Raise it when
    batches stay unconfirmed.
    """

    webhook_url: str | None = _setting("Webhook URL")
    """Passed on with every batch; MainBrainer reports there what became of it. Set it when a
    service of yours waits for that; the target does not need it.
    """

    load_method: t.Literal["upsert"] = _setting("Load method", default="upsert")
    """Contacts are always upserted; there is nothing to set."""

    # Rejects
    rejects_path: str | None = _setting("Rejects file", begins="Rejects")
    """File that rejected records are appended to, as a Singer stream that can be corrected and
    loaded again; `{started_at}` in it becomes the start of the run, for a file per run. It holds
    personal data. Set it, or one bad record ends the run.
    """

    max_rejects: int | None = _setting("Most rejections", minimum=0)
    """Above this number of rejected records the run fails. Default: 0, or no limit when
    `rejects_path` is set. Set it when more than a few mean that something is wrong.
    """

    max_rejects_percent: int = _setting(
        "Most rejections in percent", default=50, minimum=0, maximum=100
    )
    """Above this share of a stream's records rejected before sending the run fails; counted from 20
    records of the stream on. Raise it, up to 100, when most of a stream's records are known to be
    of no use.
    """

    # Reports
    report_path: str | None = _setting("Report file", begins="Reports")
    """File that the run's summary is written to as JSON. Set it when a monitor reads the counts."""

    dry_run: bool = _setting("Dry run", default=False)
    """Read, map and compare, and say what a run would do and cost; nothing is sent and nothing is
    written but the report. Set it, or use `--dry-run`, before a first load and after a change of
    the mapping.
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


def _shared(name: str) -> t.Any:  # noqa: ANN401 - of whatever type the setting is
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
