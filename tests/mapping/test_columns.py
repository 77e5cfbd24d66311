"""What a column is: a field of the contact, a property, or nothing."""

from __future__ import annotations

import typing as t

import pytest

from target_mainbrainer.contacts import Contact, Mobile, PropertyRef
from target_mainbrainer.errors import MappingError
from tests.mapping.one_record import EMAIL, UUID, mapped, mapping, named, ola


@pytest.mark.parametrize("column", ["email", "Email", "EMAIL", "e_mail", "e-mail"])
def test_a_column_named_like_a_contact_field_is_that_field(column: str) -> None:
    assert mapped({column: "ola@example.com"}) == Contact(email="ola@example.com")


def test_camel_case_is_understood() -> None:
    record = {
        "contactId": "7",
        "mobileCountryCode": 47,
        "mobileNumber": "90812501",
        "mobileOptIn": "yes",
        "Email-Opt-In": 0,
        "listId": UUID,
    }
    assert mapped(record) == Contact(
        contact_id=7,
        mobile=Mobile(47, 90812501),
        mobile_opt_in=True,
        email_opt_in=False,
        list_id=UUID,
    )


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param("email", Contact(email="kari@example.com"), id="a contact field"),
        pytest.param(
            "second_mail",
            ola(properties=named(second_mail="kari@example.com")),
            id="a property",
        ),
        pytest.param(
            {"property_name": "email"},
            ola(properties=named(email="kari@example.com")),
            id="a property named like a field",
        ),
        pytest.param(
            {"property_id": UUID},
            ola(properties={PropertyRef(UUID, None): "kari@example.com"}),
            id="a property by its id",
        ),
        pytest.param(None, ola(), id="never sent"),
    ],
)
def test_field_map_says_what_a_column_is(target: t.Any, expected: Contact) -> None:
    record = EMAIL | {"mail": "kari@example.com"}
    field_map = {"mail": target} | ({"email": None} if target == "email" else {})
    assert mapped(record, field_map=field_map) == expected


def test_field_map_overrides_a_name_that_says_otherwise() -> None:
    record = {"mobile": "ola@example.com", "email": "+47 908 12 501"}
    contact = mapped(record, field_map={"mobile": "email", "email": "mobile"})
    assert contact == Contact(mobile=Mobile(47, 90812501), email="ola@example.com")


@pytest.mark.parametrize("column", ["phone", "e_mail_address", "id", "optin", "mail", "Mobile No"])
def test_nothing_else_is_guessed_to_be_an_identifier(column: str) -> None:
    assert mapped(EMAIL | {column: "x"}) == ola(properties={PropertyRef(None, column): "x"})


def test_an_object_may_name_a_field() -> None:
    field_map: dict[str, t.Any] = {"mail": {"field": "email", "optional": True}}
    assert mapped({"mail": "ola@example.com"}, field_map=field_map) == ola()


MAPPED: dict[str, t.Any] = {"mail": "email", "phone": "mobile", "ok": "email_opt_in", "zip": "zip"}


@pytest.mark.parametrize(
    ("columns", "missing"),
    [
        (["mail", "phone"], "'field_map' maps column 'ok' to the contact's email_opt_in"),
        (["mail", "ok"], "'field_map' maps column 'phone' to the contact's mobile"),
        (["zip", "ok", "phone"], "'field_map' maps column 'mail' to the contact's email"),
    ],
)
def test_a_stream_that_lacks_an_identifier_or_opt_in_is_an_error(
    columns: list[str], missing: str
) -> None:
    with pytest.raises(MappingError, match=missing):
        mapping(*columns, field_map=MAPPED)


def test_the_error_about_a_missing_column_names_the_way_out() -> None:
    with pytest.raises(MappingError) as caught:
        mapping("mail", "Phone", field_map={"mail": "email", "phone": "mobile"})
    assert str(caught.value) == (
        "Stream 'people': 'field_map' maps column 'phone' to the contact's mobile, but the "
        "stream, which has 'mail', has no such column. Did you mean 'Phone'? If the column may be "
        'missing, map it to {"field": "mobile", "optional": true}.'
    )


def test_a_missing_column_is_no_error_if_it_may_be_missing_or_nothing_is_there() -> None:
    optional = MAPPED | {
        "ok": {"field": "email_opt_in", "optional": True},
        "phone": {"field": "mobile", "optional": True},
    }
    stream = mapping("mail", "zip", field_map=optional)
    assert stream.warnings == []
    assert mapping("email", field_map=MAPPED).warnings  # another stream altogether
    assert len(mapping("mail", "phone", "ok", field_map=MAPPED).warnings) == 1  # a property


def test_a_byte_order_mark_in_the_first_columns_name_is_named() -> None:
    with pytest.raises(MappingError) as caught:
        mapping("\ufeffemail", "zip")
    assert str(caught.value) == (
        "Stream 'people': the name of column 'email' starts with a byte order mark (U+FEFF), as "
        "Windows programs write it at the start of a file. Set the tap's 'encoding' to "
        "'utf-8-sig'."
    )
    assert mapped({"\ufeffmail": "ola@example.com"}, field_map={"\ufeffmail": "email"}) == ola()


def test_unmapped_columns_can_be_left_out() -> None:
    record = EMAIL | {"zip": "0236", "fname": "Ola"}
    contact = mapped(record, unmapped_columns="ignore", field_map={"fname": "firstname"})
    assert contact == ola(properties=named(firstname="Ola"))


def test_metadata_is_never_sent_unless_mapped() -> None:
    record = EMAIL | {"_sdc_filename": "a.csv", "_sdc_worksheet": "x", "_sdc_extra": "y"}
    contact = mapped(record, field_map={"_sdc_filename": "source"})
    assert contact == ola(properties=named(source="a.csv"))


def test_properties_keep_the_order_of_the_record() -> None:
    contact = mapped({"b": "1", "email": "ola@example.com", "a": "2"})
    assert isinstance(contact, Contact)
    assert [ref.name for ref in contact.properties] == ["b", "a"]


@pytest.mark.parametrize(
    ("columns", "field_map", "message"),
    [
        pytest.param(
            ["email", "Email"],
            {},
            "Stream 'people': columns 'email' and 'Email' would all be the contact's email. In "
            "'field_map', set those that are not to null, or to another property.",
            id="two names for one field",
        ),
        pytest.param(
            ["email", "mail"],
            {"mail": "email"},
            "Stream 'people': columns 'email' and 'mail' would all be the contact's email. In "
            "'field_map', set those that are not to null, or to another property.",
            id="a name and field_map",
        ),
        pytest.param(
            ["zip", "postcode", "email"],
            {"postcode": "zip"},
            "Stream 'people': columns 'zip' and 'postcode' would all be property 'zip'. In "
            "'field_map', set those that are not to null, or to another property.",
            id="two columns for one property",
        ),
        pytest.param(
            ["zip", "postcode"],
            {"zip": {"property_id": UUID}, "postcode": {"property_id": UUID.upper()}},
            f"Stream 'people': columns 'zip' and 'postcode' would all be property {UUID}. In "
            "'field_map', set those that are not to null, or to another property.",
            id="two columns for one property id",
        ),
        pytest.param(
            ["mobile", "mobile_number"],
            {},
            "Stream 'people': column 'mobile' is the whole mobile number, and column "
            "'mobile_number' is the number without its country code. In 'field_map', set one of "
            "them to null.",
            id="whole and in parts",
        ),
        pytest.param(
            ["mobile", "mobileCountryCode"],
            {},
            "Stream 'people': column 'mobile' is the whole mobile number, and column "
            "'mobileCountryCode' is its country code again. In 'field_map', set 'mobile' to "
            "'mobile_number' if its numbers are national, or 'mobileCountryCode' to null.",
            id="whole and country code",
        ),
        pytest.param(
            ["mobile_number", "mobile_country_code", "mobile_country"],
            {},
            "Stream 'people': column 'mobile_country_code' is the mobile country code, and column "
            "'mobile_country' is the country that it would follow from. In 'field_map', set one "
            "of them to null.",
            id="country twice",
        ),
        pytest.param(
            ["email", ""],
            {},
            "Stream 'people': column '' would be a property without a name. Give it one in "
            "'field_map', or set it to null there.",
            id="no name",
        ),
        pytest.param(
            ["email", "\ud800"],
            {},
            r"Stream 'people': column '\ud800' would be a property whose name cannot be written "
            "as UTF-8. Give it another in 'field_map', or set it to null there.",
            id="half a character",
        ),
    ],
)
def test_a_contradictory_mapping_is_said_at_once(
    columns: list[str], field_map: dict[str, t.Any], message: str
) -> None:
    with pytest.raises(MappingError) as caught:
        mapping(*columns, field_map=field_map)
    assert str(caught.value) == message
