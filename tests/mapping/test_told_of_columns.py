"""What the user is told of how columns are used."""

from __future__ import annotations

import typing as t

import pytest

from target_mainbrainer.mapping.mapper import compile_mapping
from target_mainbrainer.settings.declared import StreamSettings
from tests.mapping.one_record import UUID, mapping


def test_the_summary_says_how_every_column_is_used() -> None:
    field_map = {"fname": "firstname", "zip": {"property_id": UUID}, "secret": None}
    columns = ["id", "email", "mobileOptIn", "fname", "zip", "secret", "city", "_sdc_x"]
    schema: dict[str, t.Any] = {"properties": {column: {} for column in columns}}
    stream = compile_mapping("people", schema, ["id"], StreamSettings(field_map=field_map))
    assert stream.summary == [
        "email: 'email'",
        "mobile_opt_in: 'mobileOptIn'",
        f"properties of another name: 'fname' -> 'firstname', 'zip' -> {UUID}",
        "properties of the same name: 'id', 'city'",
        "not sent (null in 'field_map'): 'secret'",
        "not sent (Singer metadata): '_sdc_x'",
        "told apart by: 'id'",
    ]
    assert stream.warnings == []


def test_the_summary_names_what_is_sent_once() -> None:
    field_map = {"src": {"property_name": "source", "send": "once"}, "zip": "postcode"}
    assert mapping("email", "src", "zip", field_map=field_map).summary == [
        "email: 'email'",
        "properties of another name: 'zip' -> 'postcode'",
        "properties sent once, when the contact is created: 'src' -> 'source'",
    ]


def test_a_wide_stream_stays_readable() -> None:
    summary = mapping("email", *(f"column_{number}" for number in range(80))).summary
    assert len(summary) < 15
    assert all(len(line) <= 100 for line in summary)


@pytest.mark.parametrize(
    ("columns", "field_map", "warning"),
    [
        pytest.param(
            ["email", "first_name"],
            {"firstname": "firstname"},
            "'field_map' names column 'firstname', which the stream does not have. Did you mean "
            "'first_name'?",
            id="misspelt column",
        ),
        pytest.param(
            ["email"],
            {"zip": "zip"},
            "'field_map' names column 'zip', which the stream does not have.",
            id="no such column",
        ),
        pytest.param(
            ["id", "e_mail_address"],
            {},
            "no column can identify a contact, so its records will be rejected. Map one to "
            "'email', 'mobile' or 'contact_id', such as: \"field_map\": {\"e_mail_address\": "
            '"email"}.',
            id="no identifier",
        ),
        pytest.param(
            ["zip"],
            {},
            "no column can identify a contact, so its records will be rejected. Map one to "
            "'email', 'mobile' or 'contact_id', such as: \"field_map\": {\"<column>\": "
            '"email"}.',
            id="nothing that looks like one",
        ),
        pytest.param(
            ["email", "cc"],
            {"cc": "mobile_country_code"},
            "column 'cc' is the mobile country code, but no column is 'mobile_number', so it is "
            "not sent.",
            id="country code alone",
        ),
        pytest.param(
            ["email", "mobile_country"],
            {},
            "column 'mobile_country' is the country of the mobile number, but no column is "
            "'mobile', so it is not used.",
            id="country alone",
        ),
        pytest.param(
            ["email", "unsubscribed"],
            {"unsubscribed": "email_opt_in"},
            "column 'unsubscribed' is mapped to 'email_opt_in', but by its name a yes there means "
            "no: it would sign up everybody who has opted out. Unless a stream map has turned it "
            "round already, turn it round with one (docs/mapping.md).",
            id="a no for a yes",
        ),
        pytest.param(
            ["email", "contactID"],
            {},
            "column 'contactID' counts as MainBrainer's own id of a contact because of its name. "
            "If it is another system's id, its records overwrite other people's contacts: set it "
            "to null or a property in 'field_map', else to 'contact_id'.",
            id="perhaps another system's id",
        ),
        pytest.param(["contact_id"], {"contact_id": "contact_id"}, None, id="an id on purpose"),
        pytest.param(
            ["email", "phone"],
            {"phone": "Mobile"},
            "column 'phone' is sent as a property named 'Mobile', because the contact field is "
            "spelt 'mobile'.",
            id="nearly a contact field",
        ),
        pytest.param([], {}, None, id="nothing announced"),
    ],
)
def test_a_doubtful_mapping_is_warned_about(
    columns: list[str], field_map: dict[str, t.Any], warning: str | None
) -> None:
    expected = [f"Stream 'people': {warning}"] if warning else []
    assert mapping(*columns, field_map=field_map).warnings == expected
