"""Faults of settings are named in plain words, and no value is repeated."""

import typing as t
from pathlib import Path

import pytest
from click.testing import CliRunner

from target_mainbrainer import cli
from target_mainbrainer.settings import declared
from target_mainbrainer.settings.checks import check_config, misread, misspelt, not_read
from target_mainbrainer.settings.declared import PLANS, SETTINGS, Plan, Settings, StreamSettings
from tests.loads import Load, cases

TOKEN: dict[str, t.Any] = {"access_token": "made-up-token"}
UUID = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
CREDENTIALS = "Set either 'access_token' or all of 'username', 'password' and 'private_token'"
NO = "There is no setting"
LEDGER = "' needs a ledger. Set 'ledger_uri', or remove"
CODE = "' is 999, which no country has."


def problems(**config: t.Any) -> list[str]:
    return list(check_config(config, schema=SETTINGS))


def test_what_opens_a_door_is_secret() -> None:
    secrets = {name for name, s in SETTINGS["properties"].items() if s.get("secret")}
    assert secrets == {"access_token", "password", "private_token", "ledger_uri"}


def test_settings_hold_what_the_schema_names_and_its_defaults() -> None:
    fields = vars(Settings.from_config({}))
    assert {name: s.get("default") for name, s in SETTINGS["properties"].items()} == fields


def field(**use: object) -> dict[str, object]:
    """Settings with a ledger and one entry in `field_map`."""
    return TOKEN | {"ledger_uri": "l.db", "field_map": {"m": use}}


def people(**own: object) -> dict[str, object]:
    """Settings of the stream `people`."""
    return TOKEN | {"streams": {"people": own}}


NOT_ONE = "Setting 'field_map.m' must name one of 'field', 'property_name' and 'property"
OWN = "streams.people."
TWO = "Settings 'sandbox_path' and 'api_url' contradict each other: a sandbox has an"
NO_UUID = f"Setting '{OWN}field_map.zip.property_id' is not a UUID."
ONE_OF = "Setting 'field_map.m.field' must be 'contact_id' or 'mobile' or 'mobile_country_code'"
FIELD = "Setting 'field_map.m.send' is for properties only; a contact field is always sent."
PROPERTY_ONCE = {"field_map": {"m": {"property_name": "m", "send": "once"}}}
ONCE_NEEDS = f"Setting '{OWN}field_map.m.send{LEDGER} '{OWN}field_map.m.send'."
WORD = f"Setting '{OWN}consent_words': 'no' stands for both yes and no."
NO_URL = "must be a URL such as 'https://apicrm.mainbrainer.com', without"


@cases(
    "config expected",
    ({}, f"{CREDENTIALS}; you have set none of them. To try a load without an account, set "),
    ({"username": "ola@example.com"}, f"{CREDENTIALS}; you have set 'username'. To try"),
    (TOKEN | {"password": "x"}, f"{CREDENTIALS}; you have set 'access_token' and 'password'."),
    ({"sandbox_path": "crm.db", "api_url": "https://crm.example.com"}, TWO),
    ({"acces_token": "x", "sandbox_path": "c"}, f"{NO} 'acces_token'. Did you mean 'access_t"),
    (people(lst_id="x"), f"{NO} 'lst_id' in 'streams.people'. Did you mean 'list_id'?"),
    (TOKEN | {"x": 1}, f"{NO} 'x'."),
    (field(property_name="m", sent="once"), f"{NO} 'sent' in 'field_map.m'. Did you mean"),
    (TOKEN | {"consent_words": {"yess": ["ja"]}}, f"{NO} 'yess' in 'consent_words'. Did you"),
    (TOKEN | {"batch_size_rows": 1001}, "Setting 'batch_size_rows' must be at most 1000."),
    *(
        (TOKEN | {f"{name}_seconds": 604_801}, f"Setting '{name}_seconds' must be at most 604800.")
        for name in ("request_timeout", "retry_max", "confirm_timeout")
    ),
    ({"access_token": 12345}, "Setting 'access_token' must be a text."),
    (TOKEN | {"load_method": "append-only"}, "Setting 'load_method' must be 'upsert'."),
    (TOKEN | {"list_id": "3fa85f64-57"}, "Setting 'list_id' is not a UUID."),
    (people(field_map={"zip": {"property_id": "12"}}), NO_UUID),
    *((field(property_id="12", property_name="zip"), NOT_ONE), (field(optional=True), NOT_ONE)),
    *((field(field="e_mail"), ONE_OF), (field(field="email", send="once"), FIELD)),
    (people(**PROPERTY_ONCE), ONCE_NEEDS),
    (field(property_name="m", send="never"), "Setting 'field_map.m.send' must be 'once'."),
    *(
        (TOKEN | {name: value}, f"Setting '{name}{LEDGER} '{name}'.")
        for name, value in (("max_new_contacts", 10), ("missing_records", "opt_out"))
    ),
    (TOKEN | {"max_rejects": -1}, "Setting 'max_rejects' must be at least 0."),
    (TOKEN | {"default_country_code": 999}, f"Setting 'default_country_code{CODE}"),
    (people(default_country_code=999), f"Setting '{OWN}default_country_code{CODE}"),
    (people(consent_words={"yes": ["no"]}), WORD),
    *(
        (TOKEN | {"consent_words": words}, f"Setting 'consent_words': {problem}")
        for words, problem in (
            ({"yes": ["0"]}, "'0' stands for both yes and no"),
            ({"yes": [" "]}, "a blank is not a word"),
        )
    ),
    (TOKEN | {"consent_words": {"yes": None}}, "Setting 'consent_words.yes' must be a list."),
    *(
        (TOKEN | {"api_url": url}, f"Setting 'api_url' {NO_URL}")
        for url in (
            *("crm.example.com", "http://[::1", "https://crm.example.com:port"),
            *("http://crm.example.com", "http://localhost.example.com", "https://x:y@example.com"),
            *("http://127.0.0.1.example.org", "http://127.0.0.1@example.com"),
            "http://127.0.0.1:65536",
        )
    ),
    *(
        (TOKEN | {name: f"https://crm.example.com/{rest}"}, f"Setting '{name}' {NO_URL}")
        for name in ("api_url", "auth_url")
        for rest in ("?key=made-up", "#x", "?", "x#")
    ),
    ids=str,
)
def test_what_is_wrong_is_said_in_a_sentence(config: t.Any, expected: str) -> None:
    (problem,) = problems(**config)
    assert problem.startswith(expected)


@cases(
    "url",
    *("http://127.0.0.1:8080", "http://localhost", "HTTP://[::1]:9", "https://[2001:db8::7]"),
    *("https://crm.bücher.example/v1/", "HTTPS://CRM.example.com:443"),
)
def test_plain_http_may_go_to_loopback_and_https_anywhere(url: str) -> None:
    assert problems(**TOKEN, api_url=url) == []


def test_defaults_that_are_passed_on_need_no_ledger() -> None:
    """Meltano gives every default that `meltano.yml` declares; words may be repeated, too."""
    given = SETTINGS["properties"].items()
    assert problems(**TOKEN, **{name: s["default"] for name, s in given if "default" in s}) == []
    assert problems(**TOKEN, ledger_uri="ledger.db", max_new_contacts=0) == []
    assert problems(**TOKEN, consent_words={"yes": ["YES", "ja"], "no": ["0"]}) == []


def test_empty_texts_count_as_absent() -> None:
    """Meltano and shells leave an empty text behind for a variable that is not set."""
    settings = Settings.from_config(TOKEN | {"username": "", "list_id": ""})
    assert (settings.username, settings.list_id) == (None, None)


def test_secrets_stay_out_of_the_repr() -> None:
    assert "made-up-token" not in repr(Settings.from_config(TOKEN))


def test_a_streams_own_settings_take_the_place_of_the_shared_ones() -> None:
    """A null takes one away if it has no default: not every stream belongs in a list."""
    own: dict[str, t.Any] = {"field_map": {"phone": "mobile"}, "list_id": None}
    own["default_country_code"] = None
    shared: dict[str, t.Any] = {"field_map": {"mail": "email"}, "unmapped_columns": "ignore"}
    shared |= {"default_country_code": 47, "list_id": UUID}
    config = TOKEN | shared | {"streams": {"people": own, "others": {"field_map": None}}}
    assert problems(**config) == []
    settings = Settings.from_config(config)
    people, others = settings.for_stream("people"), settings.for_stream("others")
    assert (people.field_map, people.unmapped_columns) == ({"phone": "mobile"}, "ignore")
    assert (people.list_id, people.default_country_code) == (None, None)
    assert (others.field_map, others.list_id) == ({"mail": "email"}, UUID)


def test_a_stream_may_have_every_setting_of_streamsettings_of_its_own() -> None:
    own: dict[str, t.Any] = {"list_id": UUID, "webhook_url": "https://example.com"}
    own |= {"field_map": {"m": "email"}, "unmapped_columns": "ignore", "full_table": True}
    own |= {"default_country_code": 46, "consent_words": {"yes": ["ja"]}, "null_values": "clear"}
    own |= {"invalid_identifiers": "drop", "deleted_records": "opt_out"}
    assert problems(**people(**own)) == []
    settings = Settings.from_config(people(**own))
    assert vars(settings.for_stream("people")) == own
    assert vars(settings.for_stream("others")) == vars(StreamSettings())
    described = SETTINGS["properties"]["streams"]["description"]
    assert [name for name in own if f"`{name}`" not in described] == []


@cases(
    "use",
    *({"property_name": "title", "send": "once"}, {"property_id": UUID, "optional": True}),
    *({"field": "email", "optional": True}, {"field": "mobile_country"}, "mobile_country"),
    ids=str,
)
def test_an_entry_of_field_map_may_be_an_object(use: t.Any) -> None:
    config = TOKEN | {"ledger_uri": "ledger.db", "field_map": {"column": use}}
    assert problems(**config) == []
    assert Settings.from_config(config).for_stream("people").field_map == {"column": use}


NO_FAKER = "Setting 'faker_config' needs the extra 'faker': 'target-mainbrainer[faker]'."


@cases("found problems", (object(), []), (None, [NO_FAKER]))
def test_faker_needs_its_extra(load: Load, found: object, problems: list[str]) -> None:
    load.patch.setattr("importlib.util.find_spec", lambda _: found)
    config = TOKEN | {"faker_config": {"seed": 7}}
    assert list(check_config(config, schema={})) == problems


def test_a_null_can_be_spelt_where_none_can_be_written() -> None:
    """Meltano drops nulls inside an object, and the column would be sent after all."""
    own = people(field_map={"remark": "__NULL__"})
    settings = Settings.from_config(own | {"field_map": {"note": "__NULL__", "mail": "email"}})
    assert settings.for_stream("others").field_map == {"note": None, "mail": "email"}
    assert settings.for_stream("people").field_map == {"remark": None}


@cases(
    "config plan",
    *(({}, PLANS["freemium"]), ({"rate_limit_plan": "pro"}, Plan(200, 1_000_000))),
    *(({"rate_limit_requests": 7}, Plan(7, 250_000)), ({"rate_limit_requests": 0}, None)),
    ids=str,
)
def test_limits_of_a_run(config: t.Any, plan: Plan | None) -> None:
    """How many rejections it may have is shown by the histories of `rounds/test_outcomes.py`."""
    assert Settings.from_config(TOKEN | config).plan == plan


def test_without_source_files_there_are_no_descriptions_and_no_error() -> None:
    assert declared.descriptions(type("Compiled", (), {})) == {}


# Variables of the environment: what is misspelt or forgotten is said, never ignored


def misread_in(**environ: str) -> list[str]:
    variables = {f"TARGET_MAINBRAINER_{name}": value for name, value in environ.items()}
    return [*misspelt(variables, schema=SETTINGS), *misread(variables, schema=SETTINGS)]


NO_TRUTH = ["Setting 'TARGET_MAINBRAINER_DRY_RUN' must be true or false."]


@cases(
    "variable value said",
    # An extra of Meltano's, the SDK's level of the log, a member of an object, and a setting.
    *((one, "x", []) for one in ("_LOAD_SCHEMA", "LOGLEVEL", "STREAMS_PEOPLE_LIST_ID", "LIST_ID")),
    *(("DRY_RUN", value, NO_TRUTH) for value in ("ture", "2", "ja")),
    *(
        ("DRY_RUN", value, [])
        for value in ("true", "False", "1", "0", "Yes", "no", "on", "off", "")
    ),
)
def test_a_variable_has_a_name_and_value_of_ours(variable: str, value: str, said: object) -> None:
    """A truth that is none is not taken for false: a dry run that is not one would send."""
    assert misread_in(**{variable: value}) == said


FILE, ENV = ["--config", "config.json"], ["--config", "ENV"]
NOT_READ = "not read, although it contains 'TARGET_MAINBRAINER_LIST_ID'. Add '--config ENV' to read"
UNKNOWN = "There is no setting 'TARGET_MAINBRAINER_ACCES_TOKEN'. Did you mean 'TARGET_MAINBRAINER"
JSON = "' must be an object, written as JSON."


@cases(
    "variable arguments code said",
    # Whether anything is missing or not: a dry run that is none would send.
    *(("LIST_ID=made-up", [], 1, NOT_READ), ("LIST_ID=made-up", FILE, 0, NOT_READ)),
    # Also where settings come in a file only, as from Meltano.
    *(("ACCES_TOKEN=made-up", given, 1, UNKNOWN) for given in (FILE, FILE + ENV)),
    ("BATCH_SIZE_ROWS=made-up", ENV, 1, "BATCH_SIZE_ROWS' must be a whole number."),
    *((f"{name}=made-up", ENV, 1, f"{name}{JSON}") for name in ("FIELD_MAP", "STREAM_MAPS")),
    ids=str,
)
def test_faults_of_variables(
    load: Load, variable: str, arguments: list[str], code: int, said: str
) -> None:
    Path("config.json").write_text('{"sandbox_path": "crm.db"}')
    name, _, value = variable.partition("=")
    load.patch.setenv(f"TARGET_MAINBRAINER_{name}", value)
    assert CliRunner().invoke(cli.command(), arguments, input="").exit_code == code
    assert said in load.caplog.text
    assert value not in load.caplog.text


def test_variables_that_a_file_gives_too_are_nothing_to_speak_of() -> None:
    """Meltano sets both."""
    environ = {"TARGET_MAINBRAINER_LIST_ID": "x", "OTHER": "y"}
    assert list(not_read(environ, {"list_id": "x"}, schema=SETTINGS)) == []


# Files that the settings name

OURS = ["sandbox_path", "suppression_path", "ledger_uri", "rejects_path", "report_path"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@cases("one", *OURS)
@cases("other", *OURS)
@cases("spelling", *("a.file", "./a.file", "x/../a.file", "sqlite:///a.file", "link"))
def test_no_two_settings_can_name_one_file(one: str, other: str, spelling: str) -> None:
    Path("link").symlink_to("a.file")
    same = problems(**TOKEN, **{one: "a.file"} | {other: spelling})
    assert [problem for problem in same if "name the same file" in problem] == same
    assert bool(same) is (one != other)
