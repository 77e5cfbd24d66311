"""The settings say in plain words what is wrong with them, and never repeat a value."""

from __future__ import annotations

import typing as t

import pytest

from target_mainbrainer.errors import SettingsError
from target_mainbrainer.settings.checks import check_config
from target_mainbrainer.settings.declared import (
    CONTACT_FIELDS,
    PLANS,
    SETTINGS,
    Plan,
    Settings,
    StreamSettings,
)
from target_mainbrainer.target import TargetMainBrainer

TOKEN = {"access_token": "made-up-token"}


def problems(**config: t.Any) -> list[str]:
    return list(check_config(config, schema=SETTINGS))


def test_every_setting_is_titled_and_described() -> None:
    for name, setting in SETTINGS["properties"].items():
        assert setting.get("title"), name
        assert setting.get("description"), name


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ({"webhook_url": "https://example.com/\ud800"}, "webhook_url"),
        (
            {"streams": {"a": {"webhook_url": "https://example.com/\ud800"}}},
            "streams.a.webhook_url",
        ),
        ({"field_map": {"title": {"property_name": "\ud800"}}}, "field_map.title.property_name"),
        ({"access_token": "made-up-\ud800"}, "access_token"),
    ],
)
def test_half_a_character_is_a_mistake_in_the_settings(config: t.Any, where: str) -> None:
    """JSON can hold one, and no request can."""
    expected = f"Setting '{where}' contains an unpaired surrogate, which cannot be sent."
    assert problems(**TOKEN | config) == [expected]


@pytest.mark.parametrize(
    "name", ["request_timeout_seconds", "retry_max_seconds", "confirm_timeout_seconds"]
)
def test_no_wait_is_longer_than_can_be_waited_for(name: str) -> None:
    assert problems(**TOKEN, **{name: 10**30}) == [f"Setting '{name}' must be at most 604800."]
    assert problems(**TOKEN, **{name: 604_800}) == []


def test_what_opens_a_door_is_secret() -> None:
    secrets = {name for name, s in SETTINGS["properties"].items() if s.get("secret")}
    assert secrets == {"access_token", "password", "private_token", "ledger_uri"}


def test_settings_hold_what_the_schema_names_and_its_defaults() -> None:
    fields = vars(Settings.from_config({}))
    assert {name: s.get("default") for name, s in SETTINGS["properties"].items()} == fields


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param(
            {},
            "Set either 'access_token' or all of 'username', 'password' and 'private_token'; none "
            "is set. To try a load without an account, set 'sandbox_path'.",
            id="no credentials",
        ),
        pytest.param(
            {"username": "ola@example.com"},
            "Set either 'access_token' or all of 'username', 'password' and 'private_token'; only "
            "'username' is set. To try a load without an account, set 'sandbox_path'.",
            id="half the credentials",
        ),
        pytest.param(
            TOKEN | {"password": "made up"},
            "Settings 'access_token' and 'password' are two kinds of credentials. Set "
            "'access_token', or all of 'username', 'password' and 'private_token'.",
            id="two kinds of credentials",
        ),
        pytest.param(
            {"sandbox_path": "crm.db", "api_url": "https://crm.example.com"},
            "Settings 'sandbox_path' and 'api_url' contradict each other: a sandbox has an "
            "address of its own. Remove one of them.",
            id="sandbox and a server",
        ),
        pytest.param(
            {"acces_token": "made up", "sandbox_path": "crm.db"},
            "There is no setting 'acces_token'. Did you mean 'access_token'?",
            id="misspelt",
        ),
        pytest.param(
            TOKEN | {"streams": {"people": {"lst_id": "x"}}},
            "There is no setting 'lst_id' in 'streams.people'. Did you mean 'list_id'?",
            id="misspelt in a stream",
        ),
        pytest.param(
            TOKEN | {"batch_size_rows": 1001},
            "Setting 'batch_size_rows' must be at most 1000.",
            id="above the API's limit",
        ),
        pytest.param(
            {"access_token": 12345},
            "Setting 'access_token' must be a text.",
            id="a secret of the wrong kind is not repeated",
        ),
        pytest.param(
            TOKEN | {"load_method": "append-only"},
            "Setting 'load_method' must be 'upsert'.",
            id="only upsert",
        ),
        pytest.param(
            TOKEN | {"list_id": "3fa85f64-5717-4562-b3fc-123123d23dds"},
            "Setting 'list_id' is not a UUID.",
            id="bad uuid",
        ),
        pytest.param(
            TOKEN | {"streams": {"people": {"field_map": {"zip": {"property_id": "12"}}}}},
            "Setting 'streams.people.field_map.zip.property_id' is not a UUID.",
            id="bad uuid in a stream's field map",
        ),
        pytest.param(
            TOKEN | {"field_map": {"zip": {"property_id": "12", "property_name": "zip"}}},
            "Setting 'field_map.zip' must name one of 'field', 'property_name' and 'property_id'.",
            id="id and name",
        ),
        pytest.param(
            TOKEN | {"field_map": {"zip": {"optional": True}}},
            "Setting 'field_map.zip' must name one of 'field', 'property_name' and 'property_id'.",
            id="neither a field nor a property",
        ),
        pytest.param(
            TOKEN | {"field_map": {"mail": {"field": "e_mail"}}},
            "Setting 'field_map.mail.field' must be 'contact_id' or 'mobile' or 'mobile_country' "
            "or 'mobile_country_code' or 'mobile_number' or 'email' or 'mobile_opt_in' or "
            "'email_opt_in' or 'list_id'.",
            id="no such field",
        ),
        pytest.param(
            TOKEN | {"ledger_uri": "l.db", "field_map": {"m": {"field": "email", "send": "once"}}},
            "Setting 'field_map.m.send' is for properties only; a contact field is always sent.",
            id="a field sent once",
        ),
        pytest.param(
            TOKEN
            | {"streams": {"a": {"field_map": {"m": {"property_name": "m", "send": "once"}}}}},
            "Setting 'streams.a.field_map.m.send' needs a ledger, and there is none. Set "
            "'ledger_uri', or remove 'streams.a.field_map.m.send'.",
            id="sent once, without a ledger to remember it",
        ),
        pytest.param(
            TOKEN | {"field_map": {"m": {"property_name": "m", "send": "never"}}},
            "Setting 'field_map.m.send' must be 'once'.",
            id="sent in no known way",
        ),
        pytest.param(
            TOKEN | {"max_new_contacts": 10},
            "Setting 'max_new_contacts' needs a ledger, and there is none. Set 'ledger_uri', or "
            "remove 'max_new_contacts'.",
            id="new contacts that nothing could count",
        ),
        pytest.param(
            TOKEN | {"ledger_uri": "l.db", "max_new_contacts": -1},
            "Setting 'max_new_contacts' must be at least 0.",
            id="fewer than no new contacts",
        ),
        pytest.param(
            TOKEN | {"streams": {"people": {"default_country_code": 999}}},
            "Setting 'streams.people.default_country_code' is 999, which no country has.",
            id="impossible country code of a stream",
        ),
        pytest.param(
            TOKEN | {"streams": {"people": {"consent_words": {"yes": ["no"]}}}},
            "Setting 'streams.people.consent_words': 'no' always means the opposite of yes.",
            id="a stream's own words",
        ),
        pytest.param(
            TOKEN | {"consent_words": {"yes": None}},
            "Setting 'consent_words.yes' must be a list.",
            id="no list of words",
        ),
        pytest.param(
            TOKEN | {"default_country_code": 999},
            "Setting 'default_country_code' is 999, which no country has.",
            id="impossible country code",
        ),
        pytest.param(
            TOKEN | {"api_url": "http://crm.example.com"},
            "Setting 'api_url' is plain http, which would send the token and the contacts "
            "unencrypted. Use https; http is accepted for a loopback address only.",
            id="plain http",
        ),
        pytest.param(
            TOKEN | {"api_url": "crm.example.com"},
            "Setting 'api_url' is not a URL; it should look like 'https://apicrm.mainbrainer.com'.",
            id="no url",
        ),
        pytest.param(
            TOKEN | {"api_url": "http://[::1"},
            "Setting 'api_url' is not a URL; it should look like 'https://apicrm.mainbrainer.com'.",
            id="half an address",
        ),
        pytest.param(
            TOKEN | {"api_url": "https://crm.example.com:port"},
            "Setting 'api_url' is not a URL; it should look like 'https://apicrm.mainbrainer.com'.",
            id="no port",
        ),
        *(
            pytest.param(
                TOKEN | {name: f"https://crm.example.com/{rest}"},
                f"Setting '{name}' contains a '?' or '#', but the paths of the API are appended "
                "to it. Give the address alone.",
                id=f"{name} with {rest}",
            )
            for name in ("api_url", "auth_url")
            for rest in ("?key=made-up", "#x", "?", "x#")
        ),
        pytest.param(
            TOKEN | {"missing_records": "opt_out"},
            "Setting 'missing_records' needs a ledger, and there is none. Set 'ledger_uri', or "
            "remove 'missing_records'.",
            id="no ledger",
        ),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(config: dict[str, t.Any], expected: str) -> None:
    assert problems(**config) == [expected]


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "[::1]:9"])
def test_plain_http_may_go_to_loopback(host: str) -> None:
    assert problems(**TOKEN, api_url=f"http://{host}") == []


def test_defaults_that_are_passed_on_need_no_ledger() -> None:
    """Meltano gives every default that `meltano.yml` declares."""
    defaults = {
        name: setting["default"]
        for name, setting in SETTINGS["properties"].items()
        if "default" in setting
    }
    assert problems(**TOKEN, **defaults) == []


def test_empty_texts_count_as_absent() -> None:
    """Meltano and shells leave an empty text behind for a variable that is not set."""
    settings = Settings.from_config(TOKEN | {"username": "", "list_id": ""})
    assert settings.username is None
    assert settings.list_id is None


@pytest.mark.parametrize("stream_maps", [{"__else__": 5}, {"people": {"__else__": "x"}}])
def test_what_the_sdks_schema_cannot_be_asked_about_is_an_error(stream_maps: t.Any) -> None:
    (problem,) = problems(**TOKEN, stream_maps=stream_maps)
    assert problem.startswith("Setting 'stream_maps.")
    assert problem.endswith("__else__' must be null ('__NULL__').")


def test_wrong_settings_do_not_become_settings() -> None:
    with pytest.raises(SettingsError, match="Set either 'access_token'"):
        TargetMainBrainer(config={})


def test_secrets_stay_out_of_the_repr() -> None:
    assert "made-up-token" not in repr(Settings.from_config(TOKEN))


def test_a_streams_own_settings_take_the_place_of_the_shared_ones() -> None:
    settings = Settings.from_config(
        TOKEN
        | {
            "field_map": {"mail": "email"},
            "unmapped_columns": "ignore",
            "streams": {"people": {"field_map": {"phone": "mobile"}}},
        }
    )
    assert settings.for_stream("people").field_map == {"phone": "mobile"}
    assert settings.for_stream("people").unmapped_columns == "ignore"
    assert settings.for_stream("others").field_map == {"mail": "email"}


def test_a_stream_may_have_every_setting_of_streamsettings_of_its_own() -> None:
    own: dict[str, t.Any] = {
        "list_id": "3fa85f64-5717-4562-b3fc-2c963f66afa6",
        "webhook_url": "https://example.com",
        "field_map": {"m": "email"},
        "unmapped_columns": "ignore",
        "default_country_code": 46,
        "consent_words": {"yes": ["ja"]},
        "invalid_identifiers": "drop",
        "null_values": "clear",
        "deleted_records": "opt_out",
        "full_table": True,
    }
    config = TOKEN | {"streams": {"people": own}}
    assert problems(**config) == []
    settings = Settings.from_config(config)
    assert vars(settings.for_stream("people")) == own
    assert vars(settings.for_stream("others")) == vars(StreamSettings())
    described = SETTINGS["properties"]["streams"]["description"]
    assert [name for name in own if f"`{name}`" not in described] == []


def test_a_null_takes_a_shared_setting_away_if_it_has_no_default() -> None:
    """Not every stream belongs in a list, and not all numbers are of one country."""
    shared = {"list_id": "3fa85f64-5717-4562-b3fc-2c963f66afa6", "default_country_code": 47}
    own = dict.fromkeys([*shared, "field_map"])
    config = TOKEN | shared | {"field_map": {"m": "email"}, "streams": {"people": own}}
    assert problems(**config) == []
    people = Settings.from_config(config).for_stream("people")
    assert (people.list_id, people.default_country_code) == (None, None)
    assert people.field_map == {"m": "email"}


@pytest.mark.parametrize(
    "use",
    [
        {"property_name": "title", "send": "once"},
        {"property_id": "3fa85f64-5717-4562-b3fc-2c963f66afa6", "optional": True},
        {"field": "email", "optional": True},
        {"field": "mobile_country"},
        "mobile_country",
    ],
    ids=str,
)
def test_a_column_may_say_more_than_its_name(use: t.Any) -> None:
    config = TOKEN | {"ledger_uri": "ledger.db", "field_map": {"column": use}}
    assert problems(**config) == []
    assert Settings.from_config(config).for_stream("people").field_map == {"column": use}


def test_every_contact_field_is_in_the_words_of_the_field_map() -> None:
    described = SETTINGS["properties"]["field_map"]["description"]
    assert [name for name in CONTACT_FIELDS if f"`{name}`" not in described] == []


def test_no_new_contact_at_all_can_be_asked_for() -> None:
    config = TOKEN | {"ledger_uri": "ledger.db", "max_new_contacts": 0}
    assert problems(**config) == []
    assert Settings.from_config(config).max_new_contacts == 0
    assert Settings.from_config(TOKEN).max_new_contacts is None


def test_faker_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def problem_if_installed(spec: object) -> list[str]:
        monkeypatch.setattr("importlib.util.find_spec", lambda _: spec)
        return list(check_config(TOKEN | {"faker_config": {"seed": 7}}, schema={}))

    assert problem_if_installed(object()) == []
    assert problem_if_installed(None) == [
        "Setting 'faker_config' needs the extra 'faker': 'target-mainbrainer[faker]'."
    ]


def test_a_null_can_be_spelt_where_none_can_be_written() -> None:
    """Meltano drops nulls inside an object, and the column would be sent after all."""
    settings = Settings.from_config(
        TOKEN
        | {
            "field_map": {"note": "__NULL__", "mail": "email"},
            "streams": {"people": {"field_map": {"remark": "__NULL__"}}},
        }
    )
    assert settings.for_stream("others").field_map == {"note": None, "mail": "email"}
    assert settings.for_stream("people").field_map == {"remark": None}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param({}, PLANS["freemium"], id="the smallest plan by default"),
        pytest.param({"rate_limit_plan": "pro"}, Plan(200, 1_000_000), id="pro"),
        pytest.param({"rate_limit_requests": 7}, Plan(7, 250_000), id="own number"),
        pytest.param({"rate_limit_requests": 0}, None, id="pacing off"),
    ],
)
def test_the_plan_to_keep(config: dict[str, t.Any], expected: Plan | None) -> None:
    assert Settings.from_config(TOKEN | config).plan == expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param({}, 0, id="none without a file"),
        pytest.param({"rejects_path": "r.singer"}, None, id="any number with a file"),
        pytest.param({"rejects_path": "r.singer", "max_rejects": 3}, 3, id="as many as it says"),
        pytest.param({"max_rejects": 3}, 3, id="as many as it says, without a file"),
    ],
)
def test_how_many_rejections_a_run_may_have(config: dict[str, t.Any], expected: int) -> None:
    assert Settings.from_config(TOKEN | config).rejects_allowed == expected
