"""A record becomes the right contact, or a rejection that says why; never anything else."""

from __future__ import annotations

import typing as t

import pytest

from target_mainbrainer.contacts import Contact, Mobile, PropertyRef, Rejection
from target_mainbrainer.mapping.mapper import Omitted
from tests.mapping.one_record import EMAIL, UUID, D, mapped, mapping, named, ola
from tests.strategies import DEEP


def test_the_samples_of_the_batch_page_keep_their_meaning() -> None:
    """The API page's own contacts, as records of columns that are named like its fields."""
    bad_id = "3fa85f64-5717-4562-b3fc-123123d23dds"  # as printed, and not ours to judge
    jennifer = {
        "contactId": 234567,
        "mobileCountryCode": 47,
        "mobileNumber": 90812501,
        "mobileOptIn": True,
        "email": "apitest@mainbrainer.com",
        "emailOptIn": True,
        "propertyfields": [
            {"propertyid": UUID, "propertyname": "firstname", "propertyvalue": "jennifer"},
            {"propertyname": "lastname", "propertyvalue": "merg"},
            {"propertyname": "Street", "propertyvalue": "16 Av Street"},
            {"propertyid": bad_id, "propertyvalue": "0236"},
        ],
    }
    mark = {
        "mobileCountryCode": 47,
        "mobileNumber": 93454496,
        "mobileOptIn": True,
        "email": "",
        "propertyfields": [
            {"propertyid": UUID, "propertyname": "firstname", "propertyvalue": "Mark"},
            {"propertyid": bad_id, "propertyvalue": "0234"},
        ],
    }
    stream = mapping(*jennifer)
    assert stream.map_record(jennifer) == Contact(
        234567,
        Mobile(47, 90812501),
        "apitest@mainbrainer.com",
        mobile_opt_in=True,
        email_opt_in=True,
        properties={
            PropertyRef(UUID, "firstname"): "jennifer",
            PropertyRef(None, "lastname"): "merg",
            PropertyRef(None, "Street"): "16 Av Street",
            PropertyRef(bad_id, None): "0236",
        },
    )
    assert stream.map_record(mark) == Contact(
        mobile=Mobile(47, 93454496),
        mobile_opt_in=True,
        properties={PropertyRef(UUID, "firstname"): "Mark", PropertyRef(bad_id, None): "0234"},
    )


@pytest.mark.parametrize(
    ("record", "config", "mobile"),
    [
        pytest.param(
            {"mobile_country_code": None, "mobile_number": 7}, {}, Mobile(None, 7), id="unknown"
        ),
        pytest.param(
            {"mobile_number": 7}, {"default_country_code": 47}, Mobile(47, 7), id="default"
        ),
        pytest.param(
            {"mobile_country_code": "46", "mobile_number": "7"},
            {"default_country_code": 47},
            Mobile(46, 7),
            id="the column counts",
        ),
        pytest.param(
            {"mobile_country_code": "junk", "mobile_number": ""}, {}, None, id="no number"
        ),
    ],
)
def test_a_number_in_parts_takes_its_country_code_from_column_or_default(
    record: dict[str, t.Any], config: dict[str, t.Any], mobile: Mobile | None
) -> None:
    assert mapped(EMAIL | record, **config) == ola(mobile=mobile)


@pytest.mark.parametrize(
    ("record", "mobile"),
    [
        pytest.param({"mobile": "908 12 501"}, Mobile(47, 90812501), id="no country"),
        pytest.param(
            {"mobile": "07700 900123", "mobile_country": "GB"}, Mobile(44, 7700900123), id="ISO"
        ),
        pytest.param(
            {"mobile": "07700 900123", "mobile_country": " gb "}, Mobile(44, 7700900123), id="case"
        ),
        pytest.param(
            {"mobile": "07700 900123", "mobile_country": "+44"}, Mobile(44, 7700900123), id="code"
        ),
        pytest.param(
            {"mobile": "908 12 501", "mobile_country": ""}, Mobile(47, 90812501), id="empty"
        ),
        pytest.param(
            {"mobile": "+46 70 174 06 05", "mobile_country": "Sverige"},
            Mobile(46, 701740605),
            id="the number has its own",
        ),
        pytest.param(
            {"mobile": 701740605, "mobile_country": "SE"}, Mobile(46, 701740605), id="integer"
        ),
        pytest.param(
            {"mobile_number": "701740605", "mobile_country": "SE"},
            Mobile(46, 701740605),
            id="national",
        ),
        pytest.param({"mobile": "", "mobile_country": "Sverige"}, None, id="no number"),
    ],
)
def test_a_country_beside_the_number_completes_it(
    record: dict[str, t.Any], mobile: Mobile | None
) -> None:
    assert mapped(EMAIL | record, default_country_code=47) == ola(mobile=mobile)


def test_a_country_that_is_none_is_named_by_its_column() -> None:
    record = EMAIL | {"mobile": "070 174 06 05", "mobile_country": "Sverige"}
    assert mapped(record, default_country_code=47) == Rejection(
        "invalid_country_code",
        "Column 'mobile_country' is not the ISO code of a country such as NO.",
    )


def test_the_mapping_knows_what_is_sent_once_and_which_opt_ins_there_are() -> None:
    field_map = {
        "source": {"property_name": "first_source", "send": "once"},
        "shop": {"property_id": UUID, "send": "once"},
        "zip": {"property_name": "zip"},
        "ok": {"field": "email_opt_in", "optional": True},
    }
    stream = mapping("email", "source", "zip", "ok", field_map=field_map)
    assert stream.once == {PropertyRef(None, "first_source"), PropertyRef(UUID, None)}
    assert stream.opt_ins == {"email_opt_in"}
    assert mapping("email", "mobileOptIn", "email_opt_in").opt_ins == {
        "email_opt_in",
        "mobile_opt_in",
    }
    assert not mapping("email").once
    assert not mapping("email").opt_ins
    record = EMAIL | {"source": "shop", "ok": "yes"}
    assert stream.map_record(record) == ola(
        email_opt_in=True, properties=named(first_source="shop")
    )


def test_a_row_of_a_csv_file_is_understood() -> None:
    """Its tap calls every column a text, and leaves empty cells empty."""
    row = {
        "Contact-ID": "",
        "Email": " Ola@Example.com ",
        "Mobile": "90812501",
        "Mobile-Opt-In": "",
        "Email-Opt-In": "TRUE",
        "City": "Troms\u00f8",
        "_sdc_filename": "people.csv",
        "_sdc_deleted_at": "",
    }
    assert mapped(row, default_country_code=47) == Contact(
        mobile=Mobile(47, 90812501),
        email="Ola@Example.com",
        email_opt_in=True,
        properties=named(City="Troms\u00f8"),
    )


def test_values_of_all_kinds_become_text() -> None:
    record = EMAIL | {"n": 1, "d": D("12.50"), "b": True, "a": ["x", "y"], "o": {"zip": "0236"}}
    assert mapped(record) == ola(
        properties=named(n="1", d="12.50", b="true", a="x;y", o='{"zip":"0236"}')
    )


def test_absent_null_and_empty_are_three_things() -> None:
    record = EMAIL | {"null": None, "empty": ""}
    stream = ["email", "absent", "null", "empty"]
    omits = mapping(*stream).map_record(record)
    clears = mapping(*stream, null_values="clear").map_record(record)
    assert omits == ola(properties=named(empty=""))
    assert clears == ola(properties=named(null="", empty=""))


def test_a_null_identifier_or_consent_is_never_cleared() -> None:
    record = EMAIL | {"mobile": None, "contact_id": None, "email_opt_in": None, "list_id": None}
    assert mapped(record, null_values="clear") == ola()


def test_a_null_inside_a_property_array_follows_the_same_policy() -> None:
    record = EMAIL | {"propertyfields": [{"propertyname": "zip", "propertyvalue": None}]}
    assert mapped(record) == ola()
    assert mapped(record, null_values="clear") == ola(properties=named(zip=""))


@pytest.mark.parametrize(
    ("record", "code", "reason"),
    [
        pytest.param(
            {"email": " ", "mobile": None, "zip": "0236"},
            "no_identity",
            "Nothing identifies the contact: columns 'email' and 'mobile' are empty.",
            id="empty identifiers",
        ),
        pytest.param(
            {"contactId": "", "zip": "0236"},
            "no_identity",
            "Nothing identifies the contact: column 'contactId' is empty.",
            id="one empty identifier",
        ),
        pytest.param(
            {"zip": "0236"},
            "no_identity",
            "No column of the stream can identify a contact.",
            id="no identifiers",
        ),
        pytest.param(
            EMAIL | {"mobile": "0236"},
            "no_country_code",
            "Column 'mobile' has a number without a country code; set 'default_country_code', "
            "or have it written with + and the country code.",
            id="no country code",
        ),
        pytest.param(
            EMAIL | {"mobile": "+225 07 00 00 00 00"},
            "leading_zero",
            "Column 'mobile' has a number that really starts with a zero, and MainBrainer takes "
            "it as an integer, which cannot; map the column to a property instead.",
            id="leading zero",
        ),
        pytest.param({"Email": "ola"}, "invalid_email", "Column 'Email' has no '@'.", id="e-mail"),
        pytest.param(
            EMAIL | {"contact_id": "A7"},
            "invalid_contact_id",
            "Column 'contact_id' is not a contact id: it should be a positive whole number.",
            id="contact id",
        ),
        pytest.param(
            EMAIL | {"mobile_opt_in": "subscribed"},
            "invalid_consent",
            "Column 'mobile_opt_in' says neither yes nor no; it should be true, yes, y or 1, or "
            "false, no, n or 0, or a word of 'consent_words', or empty if nothing is known.",
            id="consent",
        ),
        pytest.param(
            EMAIL | {"listid": "newsletter"},
            "invalid_list_id",
            "Column 'listid' is not the UUID of a list.",
            id="list id",
        ),
        pytest.param(
            EMAIL | {"mobile_number": 7, "mobile_country_code": "NO"},
            "invalid_country_code",
            "Column 'mobile_country_code' is not a country calling code such as 47.",
            id="country code",
        ),
        pytest.param(
            EMAIL | {"note": "\ud800"},
            "unsendable_text",
            "Column 'note' contains an unpaired surrogate, which cannot be written as UTF-8.",
            id="half a character",
        ),
        pytest.param(
            EMAIL | {"note": DEEP},
            "unsendable_value",
            "Column 'note' is nested too deeply.",
            id="endless nesting",
        ),
        pytest.param(
            EMAIL
            | {"zip": "0236", "propertyfields": [{"propertyname": "zip", "propertyvalue": "1"}]},
            "ambiguous_property",
            "Column 'propertyfields' gives a second value to one property.",
            id="two values for one property",
        ),
        pytest.param(
            EMAIL
            | {
                "propertyfields": [
                    {"propertyname": "zip", "propertyvalue": "0236"},
                    {"propertyname": "zip", "propertyvalue": "0237"},
                ]
            },
            "ambiguous_property",
            "Column 'propertyfields' gives a second value to one property.",
            id="two values for one property inside the array",
        ),
        pytest.param(
            EMAIL | {"propertyfields": "x"},
            "invalid_properties",
            "Column 'propertyfields' is not an array of properties in the API's own shape, each "
            "with 'propertyname' or 'propertyid', and 'propertyvalue'.",
            id="property array",
        ),
        pytest.param(
            EMAIL | {"propertyfields": [{"propertyname": "zip", "propertyvalue": float("nan")}]},
            "not_a_number",
            "Column 'propertyfields' contains NaN or an infinity, which cannot be written in "
            "JSON; let the tap send null instead.",
            id="a value inside the array",
        ),
    ],
)
def test_a_rejection_says_what_is_wrong_and_no_value(
    record: dict[str, t.Any], code: str, reason: str
) -> None:
    assert mapped(record) == Rejection(code, reason)


def test_a_bad_identifier_can_be_dropped_if_another_is_left() -> None:
    dropped: list[Rejection] = []
    record = {"email": "ola", "mobile": "+47 908 12 501", "contact_id": None}
    stream = mapping(*record, invalid_identifiers="drop", on_drop=dropped.append)
    assert stream.map_record(record) == Contact(mobile=Mobile(47, 90812501))
    assert stream.map_record(record | {"mobile": "1"}) == Rejection(
        "no_country_code",
        "Column 'mobile' has a number without a country code; set 'default_country_code', or "
        "have it written with + and the country code.",
    )
    assert stream.map_record(record | {"mobile": None}) == Rejection(
        "invalid_email", "Column 'email' has no '@'."
    )
    assert [rejection.code for rejection in dropped] == ["invalid_email"]


def test_a_bad_contact_id_is_never_dropped() -> None:
    """Without it the contact would be another one."""
    rejection = mapped(EMAIL | {"contact_id": "x"}, invalid_identifiers="drop")
    assert isinstance(rejection, Rejection)
    assert rejection.code == "invalid_contact_id"


@pytest.mark.parametrize(("said", "sent"), [("yes", None), ("no", False), (None, None)])
def test_consent_to_a_dropped_number_is_not_sent(said: str | None, sent: bool | None) -> None:
    """The CRM may have another number, without a consent; a refusal does no harm."""
    record = EMAIL | {"mobile": "1", "mobile_opt_in": said, "email_opt_in": "yes"}
    contact = mapped(record, invalid_identifiers="drop")
    assert contact == ola(mobile_opt_in=sent, email_opt_in=True)


DELETED = EMAIL | {"zip": "0236", "email_opt_in": True, "_sdc_deleted_at": "2026-01-31T00:00:00Z"}


def test_a_deleted_record_is_skipped_or_opted_out() -> None:
    assert mapped(DELETED) is Omitted.DELETED
    assert mapped(DELETED, deleted_records="opt_out") == ola(
        mobile_opt_in=False, email_opt_in=False
    )


@pytest.mark.parametrize(
    "unset",
    [None, "", " ", False, D(0), "0", "false", "FALSE", "null"],
    ids=repr,
)
def test_a_record_without_a_date_of_deletion_is_not_deleted(unset: object) -> None:
    assert isinstance(mapped(EMAIL | {"_sdc_deleted_at": unset}), Contact)


def test_a_deleted_record_without_an_identifier_cannot_be_opted_out() -> None:
    record = {"email": None, "id": 7, "_sdc_deleted_at": "2026-01-31T00:00:00Z"}
    assert mapped(record) is Omitted.DELETED
    assert mapped(record, deleted_records="opt_out") is Omitted.DELETED_WITHOUT_IDENTITY
    rejection = mapped(record | {"email": "ola"}, deleted_records="opt_out")
    assert isinstance(rejection, Rejection)
    assert rejection.code == "invalid_email"
    without = mapped({"email": None, "id": 7})
    assert isinstance(without, Rejection)
    assert without.reason == "Nothing identifies the contact: column 'email' is empty."


@pytest.mark.parametrize(
    "row",
    [{"email": "", "name": " "}, {"email": None}, {"zip": "\t", "_sdc_filename": "people.csv"}],
)
def test_an_empty_row_is_left_out(row: dict[str, t.Any]) -> None:
    assert mapped(row) is Omitted.EMPTY


@pytest.mark.parametrize(
    "row", [{"email": "", "name": "Ola"}, {"email": None, "id": 0}, {"_sdc_filename": "x"}, {}]
)
def test_a_row_with_any_value_is_no_empty_row(row: dict[str, t.Any]) -> None:
    outcome = mapped(row)
    assert isinstance(outcome, Rejection)
    assert outcome.code == "no_identity"


@pytest.mark.parametrize(
    ("record", "withdrawal"),
    [
        pytest.param(
            EMAIL | {"mobile": "1", "email_opt_in": "no"}, ola(email_opt_in=False), id="number"
        ),
        pytest.param(
            EMAIL | {"mobile": "1", "email_opt_in": "yes", "mobile_opt_in": 0, "zip": "0236"},
            ola(mobile_opt_in=False),
            id="only the no, and no property",
        ),
        pytest.param(
            EMAIL | {"mobile": "+4790812501", "note": "\ud800", "email_opt_in": "no"},
            ola(mobile=Mobile(47, 90812501), email_opt_in=False),
            id="a property",
        ),
        pytest.param(
            {"email": "ola", "mobile": "+4790812501", "email_opt_in": "no"},
            Contact(mobile=Mobile(47, 90812501), email_opt_in=False),
            id="an address",
        ),
        pytest.param(
            EMAIL | {"mobile_opt_in": "perhaps", "email_opt_in": "no"},
            ola(email_opt_in=False),
            id="the other consent",
        ),
        pytest.param(EMAIL | {"mobile": "1", "email_opt_in": "yes"}, None, id="a yes"),
        pytest.param(EMAIL | {"mobile": "1", "email_opt_in": None}, None, id="nothing said"),
        pytest.param(
            {"mobile": "1", "mobile_opt_in": "no"},
            Contact(mobile_opt_in=False),
            id="nobody left, whom the ledger may know",
        ),
        pytest.param(
            {"mobile": "", "email_opt_in": "no"},
            Contact(email_opt_in=False),
            id="no identifier at all",
        ),
        pytest.param(EMAIL | {"contact_id": "x", "email_opt_in": "no"}, None, id="another contact"),
        pytest.param(
            EMAIL | {"mobile": "1", "_sdc_deleted_at": "2026-01-31"},
            ola(mobile_opt_in=False, email_opt_in=False),
            id="deleted",
        ),
    ],
)
def test_the_no_of_a_rejected_record_is_not_lost(
    record: dict[str, t.Any], withdrawal: Contact | None
) -> None:
    rejection = mapped(record, deleted_records="opt_out")
    assert isinstance(rejection, Rejection)
    assert rejection.withdrawal == withdrawal


@pytest.mark.parametrize("column", ["_sdc_path", "__sdc_row", "_smart_source_file"])
def test_what_a_tap_adds_to_a_record_is_not_sent(column: str) -> None:
    """Tap-google-sheets and tap-spreadsheets-anywhere have names of their own for it."""
    assert mapped(EMAIL | {column: 5}) == ola()
    assert mapped({"email": "", column: 5}) is Omitted.EMPTY


def test_a_list_of_one_is_its_value() -> None:
    assert mapped({"email": ["ola@example.com"], "mobile": []}) == ola()
    found = mapped({"mobile": ["+47 908 12 501"], "email": [" "]})
    assert found == Contact(mobile=Mobile(47, 90812501))


@pytest.mark.parametrize("column", ["email", "mobile"])
@pytest.mark.parametrize("value", [["+4790812501", "a@example.com"], [{"value": "x"}], {"a": 1}])
def test_a_list_of_several_is_rejected_as_such(column: str, value: object) -> None:
    rejection = mapped({column: value})
    assert isinstance(rejection, Rejection)
    assert rejection.reason == (
        f"Column '{column}' contains several values; choose one with a stream map."
    )


def test_a_number_is_no_list_however_long_it_is() -> None:
    rejection = mapped(EMAIL | {"list_id": 10**5000})
    assert isinstance(rejection, Rejection)
    assert rejection.code == "invalid_list_id"
