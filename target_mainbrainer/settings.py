"""The settings: their schema, what is checked beyond it, and a frozen `Settings` made of them.

The schema is the one source of names, kinds, defaults and descriptions; `--about`, the README
and `meltano.yml` follow it, and the tests hold them to it.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import typing as t
import uuid
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import phonenumbers
from singer_sdk import typing as th
from singer_sdk.typing import DEFAULT_JSONSCHEMA_VALIDATOR

from target_mainbrainer.errors import SettingsError

if t.TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jsonschema import ValidationError

DEFAULT_API_URL = "https://apicrm.mainbrainer.com"
"""The host of the two CRM pages (`BATCH` and `SINGLE` in the API note, section 2)."""

ENVIRONMENT_PREFIX = "TARGET_MAINBRAINER_"
ADVISED_BATCH_SIZE = 100
MAX_BATCH_SIZE = 1000
"""More contacts than this the batch page does not allow in one request."""

UnmappedColumns = t.Literal["property", "ignore"]
InvalidIdentifiers = t.Literal["reject", "drop"]
NullValues = t.Literal["omit", "clear"]
DeletedRecords = t.Literal["skip", "opt_out"]
WriteMode = t.Literal["batch", "single"]
ConfirmBatches = t.Literal["none", "report", "require"]
FieldMap: t.TypeAlias = "Mapping[str, str | Mapping[str, str] | None]"


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

SETTINGS = th.PropertiesList(
    # Account
    th.Property(
        "access_token",
        th.StringType,
        secret=True,
        title="Access token",
        description=(
            "Bearer token or API key of the MainBrainer account. Set either this, or all of "
            "`username`, `password` and `private_token`."
        ),
    ),
    th.Property(
        "username",
        th.StringType,
        title="User name",
        description="E-mail address of the account, exchanged for a token at `auth_url`.",
    ),
    th.Property(
        "password",
        th.StringType,
        secret=True,
        title="Password",
        description="Password of the account.",
    ),
    th.Property(
        "private_token",
        th.StringType,
        secret=True,
        title="Private token",
        description=(
            "Private token of the account, from MainBrainer's Configuration > API Documentation "
            "> Private Token."
        ),
    ),
    th.Property(
        "auth_url",
        th.StringType,
        title="Token URL",
        description=(
            "Full URL at which a token is created. Default: `{api_url}/token`. MainBrainer's "
            "public pages print the path but not the host."
        ),
    ),
    th.Property(
        "token_validity",
        th.StringType(allowed_values=["Default", "ShortLive", "LongLive"]),
        default="Default",
        title="Token validity",
        description="Kind of token asked for. How long each kind lives is not documented.",
    ),
    th.Property(
        "api_url",
        th.StringType,
        default=DEFAULT_API_URL,
        title="API URL",
        description=(
            "Address of the CRM API. Plain http is accepted for a loopback address only, and "
            "redirects are never followed."
        ),
    ),
    th.Property(
        "sandbox_path",
        th.StringType,
        title="Sandbox file",
        description=(
            "A file: run against a local sandbox that is kept in it. Needs no account, and "
            "nothing leaves the machine. Needs the extra `sandbox`."
        ),
    ),
    th.Property(
        "user_agent",
        th.StringType,
        title="User-Agent",
        description="User-Agent header of every request. Default: `target-mainbrainer/<version>`.",
    ),
    # Contacts
    th.Property(
        "list_id",
        th.StringType,
        title="List ID",
        description=(
            "UUID of the list the contacts are put in. Without it MainBrainer puts them under "
            "All contacts."
        ),
    ),
    th.Property(
        "webhook_url",
        th.StringType,
        title="Webhook URL",
        description="Passed on with every batch; MainBrainer reports there what became of it.",
    ),
    th.Property(
        "field_map",
        _FIELD_MAP,
        default={},
        title="Field map",
        description=(
            "What each column is: a contact field (`contact_id`, `mobile`, "
            "`mobile_country_code`, `mobile_number`, `email`, `mobile_opt_in`, `email_opt_in`, "
            "`list_id`), any other text as a property's name, "
            '`{"property_name": "..."}`, `{"property_id": "<uuid>"}`, or null for a column that '
            "is never sent (`__NULL__` in `meltano.yml`, because Meltano loses a null)."
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
            "Stream name -> its own `list_id`, `webhook_url`, `field_map` and "
            "`unmapped_columns`; each takes the place of the setting of the same name."
        ),
    ),
    th.Property(
        "unmapped_columns",
        th.StringType(allowed_values=_choices(UnmappedColumns)),
        default="property",
        title="Unmapped columns",
        description=(
            "Columns that are no contact field and not in `field_map`: sent as a `property` of "
            "their own name, or `ignore`d."
        ),
    ),
    th.Property(
        "default_country_code",
        _Bounded(1, 999),
        title="Default country code",
        description=(
            "Country calling code, such as 47, of mobile numbers that are written without one."
        ),
    ),
    th.Property(
        "invalid_identifiers",
        th.StringType(allowed_values=_choices(InvalidIdentifiers)),
        default="reject",
        title="Invalid identifiers",
        description=(
            "A mobile number or e-mail address that cannot be one: `reject` the contact, or "
            "`drop` the value and keep the contact if an identity is left."
        ),
    ),
    th.Property(
        "null_values",
        th.StringType(allowed_values=_choices(NullValues)),
        default="omit",
        title="Null values",
        description=(
            "A property whose value is null: `omit` it, which leaves the CRM's value alone, or "
            "`clear` it by sending an empty value. An identifier is never sent empty."
        ),
    ),
    th.Property(
        "deleted_records",
        th.StringType(allowed_values=_choices(DeletedRecords)),
        default="skip",
        title="Deleted records",
        description=(
            "A record whose `_sdc_deleted_at` is set: `skip` it, or `opt_out`, which sends both "
            "opt-ins as false and nothing else."
        ),
    ),
    # Delivery
    th.Property(
        "write_mode",
        th.StringType(allowed_values=_choices(WriteMode)),
        default="batch",
        title="Write mode",
        description=(
            "`batch`, or `single`: each contact goes alone to `/contacts/insertupdate`; slow, but "
            "the answer is about that one contact."
        ),
    ),
    th.Property(
        "batch_size_rows",
        _Bounded(1, MAX_BATCH_SIZE),
        default=ADVISED_BATCH_SIZE,
        title="Batch size",
        description=(
            "Most contacts in one request, 1 to 1000. MainBrainer advises 100 or fewer and "
            "allows 1000."
        ),
    ),
    th.Property(
        "max_concurrent_requests",
        _Bounded(1, 64),
        default=24,
        title="Requests in flight",
        description=(
            "Most requests in flight at once, 1 to 64. The largest plan needs 20 when a request "
            "takes one second; the rest makes up for what takes longer."
        ),
    ),
    th.Property(
        "rate_limit_plan",
        th.StringType(allowed_values=list(PLANS)),
        default="freemium",
        title="Plan",
        description=(
            "Plan of the account, for its limits: `freemium` 100, `starter` 150, `pro` 200 "
            "requests in 10 seconds, and 250,000, 500,000, 1,000,000 a day."
        ),
    ),
    th.Property(
        "rate_limit_requests",
        _Bounded(0),
        title="Requests in 10 seconds",
        description=(
            "Own number of requests in 10 seconds instead of the plan's; 0 switches pacing off."
        ),
    ),
    th.Property(
        "request_timeout_seconds",
        _Bounded(1),
        default=60,
        title="Request timeout",
        description="Seconds to wait for an answer before a request counts as lost.",
    ),
    th.Property(
        "retry_max_seconds",
        _Bounded(0),
        default=600,
        title="Retry limit",
        description="Seconds after which one request is given up, all its tries together.",
    ),
    # Outcomes
    th.Property(
        "confirm_batches",
        th.StringType(allowed_values=_choices(ConfirmBatches)),
        default="report",
        title="Confirm batches",
        description=(
            "An accepted batch is only queued. `report`: what became of it is asked for and "
            "counted in the summary; `require`: STATE waits for it; `none`: it is not asked for."
        ),
    ),
    th.Property(
        "confirm_timeout_seconds",
        _Bounded(0),
        default=120,
        title="Confirmation timeout",
        description="Seconds to wait at the end of the run for batches still being processed.",
    ),
    th.Property(
        "rejects_path",
        th.StringType,
        title="Rejects file",
        description=(
            "File that rejected records are appended to, as a Singer stream that can be "
            "corrected and loaded again. It holds personal data."
        ),
    ),
    th.Property(
        "max_rejects",
        _Bounded(0),
        title="Most rejections",
        description=(
            "Above this number of rejected records the run fails. Default: 0, or no limit when "
            "`rejects_path` is set."
        ),
    ),
    th.Property(
        "report_path",
        th.StringType,
        title="Report file",
        description="File that the run's summary is written to as JSON.",
    ),
    # Ours instead of the SDK's own, which would also promise `append-only` and `overwrite`.
    th.Property(
        "load_method",
        th.StringType(allowed_values=["upsert"]),
        default="upsert",
        title="Load method",
        description="Contacts are always upserted.",
    ),
    additional_properties=False,
).to_dict()


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


NULL_WORD = "__NULL__"
"""What stands for a null where none can be written; the SDK's stream maps know it too.

Meltano 4.4 drops nulls inside an object of `meltano.yml`, so that a column mapped to null would
be sent after all.
"""


def _with_nulls(field_map: FieldMap | None) -> FieldMap:
    return {column: None if use == NULL_WORD else use for column, use in (field_map or {}).items()}


def check_config(
    config: Mapping[str, t.Any], *, schema: Mapping[str, t.Any], builtin: bool = False
) -> Iterator[str]:
    """Say in plain sentences what is wrong with a configuration; no value is ever repeated.

    Args:
        config: The configuration as given, or with its defaults filled in.
        schema: The JSON schema to hold it to: `SETTINGS`, or that and the SDK's own settings.
        builtin: Let settings pass that are not in the schema: the SDK's own, checked before.
    """
    given = {name: value for name, value in config.items() if value not in ("", None)}
    if builtin:
        given = {name: value for name, value in given.items() if name in schema["properties"]}
    errors = list(DEFAULT_JSONSCHEMA_VALIDATOR(schema).iter_errors(given))
    for error in errors:
        yield from _sentences(error)
    if not errors:
        yield from _contradictions(given)
        yield from _bad_values(given)


def check_environment(environ: Mapping[str, str], *, schema: Mapping[str, t.Any]) -> Iterator[str]:
    """Say which variables cannot be read as the kind of value that their setting is.

    >>> schema = {"properties": {"batch_size_rows": {"type": ["integer", "null"]}}}
    >>> list(check_environment({"TARGET_MAINBRAINER_BATCH_SIZE_ROWS": "many"}, schema=schema))
    ["Setting 'TARGET_MAINBRAINER_BATCH_SIZE_ROWS' must be a whole number."]
    """
    for name, setting in schema["properties"].items():
        variable = f"{ENVIRONMENT_PREFIX}{name.upper()}"
        kinds = set(setting.get("type", ())) & {"integer", "object", "array"}
        if variable not in environ or not kinds:
            continue
        try:
            int(environ[variable]) if "integer" in kinds else json.loads(environ[variable])
        except ValueError:
            form = "" if "integer" in kinds else ", written as JSON"
            yield f"Setting '{variable}' must be {_KINDS[kinds.pop()]}{form}."


_KINDS = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}


def _sentences(error: ValidationError) -> Iterator[str]:
    """Turn one finding of the schema's into sentences that name the setting, not its value."""
    where = ".".join(str(step) for step in error.absolute_path)
    wanted: t.Any = error.validator_value
    match error.validator:
        case "additionalProperties":
            schema: t.Any = error.schema
            known = list(schema["properties"])
            given: t.Any = error.instance
            for name in sorted(set(given) - set(known)):
                near = difflib.get_close_matches(name, known, n=1)
                hint = f" Did you mean '{near[0]}'?" if near else ""
                place = f" in '{where}'" if where else ""
                yield f"There is no setting '{name}'{place}.{hint}"
        case "type":
            kinds = [wanted] if isinstance(wanted, str) else wanted
            names = " or ".join(_KINDS[kind] for kind in kinds if kind != "null")
            yield f"Setting '{where}' must be {names}."
        case "enum":
            names = " or ".join(f"'{name}'" for name in wanted if name is not None)
            yield f"Setting '{where}' must be {names}."
        case "minimum":
            yield f"Setting '{where}' must be at least {wanted}."
        case "maximum":
            yield f"Setting '{where}' must be at most {wanted}."
        case "minProperties" | "maxProperties":
            yield f"Setting '{where}' must name a 'property_name' or a 'property_id', not both."
        case _:
            yield f"Setting '{where}' does not fit ({error.validator})."


def _contradictions(given: Mapping[str, t.Any]) -> Iterator[str]:
    trio = ("username", "password", "private_token")
    some = [name for name in trio if name in given]
    if "access_token" in given and some:
        yield (
            f"Settings 'access_token' and '{some[0]}' are two kinds of credentials. Set "
            "'access_token', or all of 'username', 'password' and 'private_token'."
        )
    elif "access_token" not in given and "sandbox_path" not in given and len(some) < len(trio):
        only = f"only {_listed(some)} {'is' if len(some) == 1 else 'are'} set" if some else ""
        yield (
            "Set either 'access_token' or all of 'username', 'password' and 'private_token'"
            f"; {only or 'none is set'}. To try a load without an account, set 'sandbox_path'."
        )
    if "sandbox_path" in given:
        for name in ("api_url", "auth_url"):
            if given.get(name, DEFAULT_API_URL) != DEFAULT_API_URL:
                yield (
                    f"Settings 'sandbox_path' and '{name}' contradict each other: a sandbox has "
                    "an address of its own. Remove one of them."
                )


def _listed(names: list[str]) -> str:
    return " and ".join(f"'{name}'" for name in names)


def _bad_values(given: Mapping[str, t.Any]) -> Iterator[str]:
    for name in ("api_url", "auth_url"):
        if name in given:
            yield from _bad_url(name, given[name])
    code = given.get("default_country_code")
    if code is not None and code not in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        yield f"Setting 'default_country_code' is {code}, which is no country's calling code."
    own = given.get("streams", {})
    places = [("", given), *((f"streams.{stream}.", values) for stream, values in own.items())]
    for prefix, values in places:
        if values.get("list_id") and not is_uuid(values["list_id"]):
            yield f"Setting '{prefix}list_id' is not a UUID."
        for column, use in (values.get("field_map") or {}).items():
            if isinstance(use, dict) and not is_uuid(use.get("property_id", _ANY_UUID)):
                yield f"Setting '{prefix}field_map.{column}.property_id' is not a UUID."


_ANY_UUID = "00000000-0000-0000-0000-000000000000"


def is_uuid(text: str) -> bool:
    """Tell whether a text is a UUID in the usual spelling, hyphens included.

    >>> is_uuid("3fa85f64-5717-4562-b3fc-2c963f66afa6")
    True
    >>> is_uuid("3fa85f64-5717-4562-b3fc-123123d23dds")
    False
    """
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _bad_url(name: str, url: str) -> Iterator[str]:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        yield f"Setting '{name}' is not a URL; it should look like '{DEFAULT_API_URL}'."
    elif parts.username or parts.password:
        yield f"Setting '{name}' holds a user name or password. Use the settings for credentials."
    elif parts.scheme == "http" and not is_loopback(parts.hostname):
        yield (
            f"Setting '{name}' is plain http, which would send the token and the contacts "
            "unencrypted. Use https; http is accepted for a loopback address only."
        )


def is_loopback(host: str) -> bool:
    """Tell whether a host can only be this machine.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost")
    (True, True, True)
    >>> is_loopback("localhost.example.com"), is_loopback("127.0.0.1.example.org")
    (False, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
